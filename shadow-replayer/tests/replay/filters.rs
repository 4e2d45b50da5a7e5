//! What a run is asked to replay, and what becomes of the rest.

use std::collections::BTreeMap;

use crate::candidate::Candidate;
use crate::recording::{booked, exchange, request, response};
use crate::world::World;

fn reasons(rows: &[BTreeMap<String, String>]) -> BTreeMap<&str, usize> {
    let mut reasons = BTreeMap::new();
    for row in rows.iter().filter(|row| row["outcome"] == "filtered") {
        *reasons.entry(&*row["reason"]).or_default() += 1;
    }
    reasons
}

#[tokio::test]
async fn what_a_filter_leaves_out_is_counted_and_its_money_not_examined() {
    let world = World::new("");
    let mut recorded: Vec<_> = (0..4).map(exchange).collect();
    recorded[1].request = request("GET", "/balance", "");
    recorded[2].response = Some(response(200, booked("Eats", "4000")));
    recorded[3].sample.stratum = "rare".into();
    world.record(recorded);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let asked = ["--route", "POST /bookings/*", "--line-of-business", "Rides", "--stratum", "all"];
    let said = world.replay(&candidate.url(), &asked).await;
    said.expect(0, "4 exchanges: 1 matched, 0 different, 0 errored, 0 unverified, 3 filtered");
    assert_eq!(candidate.asked().len(), 1, "what is left out is not sent");
    let rows = world.rows("exchange", &said.run());
    let expected = [
        ("booked in no line of business that was asked for", 1),
        ("of no route that was asked for", 1),
        ("of no stratum that was asked for", 1),
    ];
    assert_eq!(reasons(&rows), expected.into());
    let entries = world.rows("entry", &said.run());
    let unexamined = |row: &&BTreeMap<_, _>| row.get("kind").is_some_and(|k| k == "not_examined");
    assert_eq!(entries.iter().filter(unexamined).count(), 4, "two lines of each booking");
}

#[tokio::test]
async fn a_sub_sample_stands_for_the_rest() {
    let world = World::new("");
    world.record((0..200).map(exchange).collect());
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &["--sample", "0.25"]).await;
    let rows = world.rows("exchange", &said.run());
    let left_out = reasons(&rows)["not in the sub-sample"];
    assert_eq!(candidate.asked().len(), 200 - left_out);
    assert!((25..80).contains(&candidate.asked().len()), "{}", candidate.asked().len());
    // What is estimated by those that were drawn is not counted as not examined.
    let entries = world.rows("entry", &said.run());
    assert_eq!(entries.len(), 2 * candidate.asked().len());
    let again = world.replay(&candidate.url(), &["--sample", "0.25"]).await;
    let drawn = |rows: Vec<BTreeMap<String, String>>| -> Vec<String> {
        let drawn = rows.into_iter().filter(|row| row["outcome"] == "matched");
        drawn.map(|row| row["exchange_id"].clone()).collect()
    };
    assert_eq!(drawn(rows), drawn(world.rows("exchange", &again.run())));
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_is_a_mistake_of_usage() {
    let world = World::new("");
    for (flag, value) in [("--route", "bookings"), ("--sample", "1.5"), ("--sample", "0")] {
        let said = world.replay("http://127.0.0.1:9", &[flag, value]).await;
        said.expect(64, value);
    }
}
