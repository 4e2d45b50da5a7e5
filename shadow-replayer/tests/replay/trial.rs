//! What is tried before the first shard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use shadow_recorder::exchange::Exchange;

use crate::candidate::{Asked, Candidate, Reply, reply};
use crate::recording::{booked, exchange, request};
use crate::world::World;

/// Answers by how often a target was asked before.
async fn remembering(answer: fn(&Asked, u32) -> Reply) -> Candidate {
    let seen: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    Candidate::start(move |asked| {
        let mut seen = seen.lock().unwrap();
        let times = seen.entry(asked.target.clone()).or_default();
        *times += 1;
        let reply = answer(&asked, *times);
        async move { reply }
    })
    .await
}

#[tokio::test]
async fn the_first_exchanges_are_sent_twice_in_two_orders() {
    let world = World::new("[replay]\nin_flight = 1\n[replay.state]\ntrial_exchanges = 3");
    world.record((0..5).map(exchange).collect());
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "5 exchanges: 5 matched");
    assert!(!said.err.contains("in doubt"), "{said:?}");
    let asked: Vec<String> =
        candidate.asked().iter().map(|asked| asked.target.replace("/bookings/", "")).collect();
    assert_eq!(asked.concat(), format!("012{}{}", "210", "01234"));
}

#[tokio::test]
async fn a_candidate_that_remembers_is_in_doubt_and_the_exchange_is_named() {
    let world = World::new("[replay.state]\nmode = \"stateless\"");
    world.record((0..5).map(exchange).collect());
    let candidate = remembering(|asked, times| {
        let again = times > 1 && asked.target == "/bookings/2";
        if again { reply(409, "{}") } else { reply(200, booked("Rides", "4000")) }
    })
    .await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(
        0,
        &format!("in doubt: the candidate is not stateless: exchange {}", exchange(2).id),
    );
}

fn fare(n: u32, fare: &str) -> Exchange {
    let body = format!(r#"{{"fare":{fare}}}"#);
    Exchange { request: request("POST", &format!("/bookings/{n}"), &body), ..exchange(n) }
}

const PROBED: &str = "[replay.probe]\namount = \"$.fare\"\ncount = 2";

#[tokio::test]
async fn a_candidate_whose_money_follows_the_amount_is_seen_by_the_comparison() {
    let world = World::new(PROBED);
    world.record(vec![exchange(0), fare(1, "10.00"), fare(2, "10.00")]);
    let candidate = Candidate::start(|asked| {
        let amount = if asked.body.contains("10.10") { "10.10" } else { "10.00" };
        let reply = reply(200, booked("Rides", "4000").replace("10.00", amount));
        async move { reply }
    })
    .await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "3 exchanges: 3 matched");
    assert!(!said.err.contains("the comparison"), "{said:?}");
    let raised = candidate.asked().iter().filter(|asked| asked.body.contains("10.10")).count();
    assert_eq!(raised, 1, "the first that shows it is enough");
}

#[tokio::test]
async fn a_comparison_that_does_not_see_a_raised_amount_is_in_doubt() {
    let world = World::new(PROBED);
    world.record(vec![fare(1, "10.00"), fare(2, "10.00"), fare(3, "10.00")]);
    let deaf = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&deaf.url(), &[]).await;
    said.expect(0, "in doubt: the comparison is blind: $.fare in the requests was raised by 1 % in 2 exchanges");
    let fails = Candidate::start(|asked| {
        let sound = !asked.body.contains("10.10");
        let reply = if sound { reply(200, booked("Rides", "4000")) } else { reply(422, "{}") };
        async move { reply }
    })
    .await;
    world.replay(&fails.url(), &[]).await.expect(0, "in doubt: the comparison is blind");
    let world = World::new(PROBED);
    world.record(vec![exchange(0)]);
    world.replay(&deaf.url(), &[]).await.expect(0, "the requests have no amount at $.fare");
}
