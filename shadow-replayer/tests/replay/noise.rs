//! What differs beside money, and what differs by itself.

use shadow_recorder::exchange::Exchange;

use crate::candidate::Candidate;
use crate::recording::{booked, exchange, request, response};
use crate::world::World;

/// A reading that books nothing.
fn reading(n: u32, body: &str) -> Exchange {
    let request = request("GET", &format!("/trips/{n}"), "");
    Exchange { request, response: Some(response(200, body)), ..exchange(n) }
}

#[tokio::test]
async fn what_differs_beside_money_is_counted_by_path() {
    let world = World::new(
        "[replay]\ncompare_headers = [\"Content-Type\"]\n[[replay.ignore]]\npath = \"$.at\"\nreason = \"the time\"\n",
    );
    let trip = |fare: &str| format!(r#"{{"at":"now","stops":[{{"fare":{fare}}},{{"fare":2}}]}}"#);
    world.record(vec![reading(0, &trip("1")), reading(1, &trip("1")), exchange(2)]);
    let candidate = Candidate::start(move |asked| async move {
        if asked.method == "POST" {
            return crate::candidate::reply(200, booked("Rides", "4000"));
        }
        crate::candidate::reply(200, trip("3").replace("now", "later"))
    })
    .await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "3 exchanges: 3 matched");
    let rows = world.rows("structure", &said.run());
    assert_eq!(rows.len(), 1, "{rows:?}");
    let shown = ["route", "place", "path", "kind"].map(|column| &*rows[0][column]);
    assert_eq!(shown, ["GET /**", "body", "$.stops[*].fare", "value"]);
    assert!(rows[0]["examples"].contains(r#""primary":"1","shadow":"3""#), "{rows:?}");
}

#[tokio::test]
async fn what_is_ignored_needs_a_reason() {
    let world = World::new(
        "[[replay.ignore]]\npath = \"$.at\"\n[[replay.ignore]]\npath = \"at\"\nreason = \"x\"\n",
    );
    world.record(vec![exchange(0)]);
    let said = world.replay("http://127.0.0.1:9", &[]).await;
    said.expect(64, "[replay.ignore]: `reason` is missing");
    said.expect(64, "`at` is not a JSONPath");
}
