use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use shadow_recorder::exchange::Exchange;

use crate::candidate::{Candidate, reply};
use crate::recording::{booked, exchange, request};
use crate::world::World;

#[tokio::test]
async fn the_journal_is_in_recorded_order_whoever_answers_first() {
    let world = World::new("[replay]\nin_flight = 8");
    world.record((0..40).map(exchange).collect());
    let candidate = Candidate::start(|asked| async move {
        // Every fifth is slow.
        if asked.target.ends_with(['0', '5']) {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        reply(200, booked("Rides", "4000"))
    })
    .await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "40 exchanges: 40 matched");
    let rows = world.rows("exchange", &said.run());
    let ids: Vec<&str> = rows.iter().map(|row| &*row["exchange_id"]).collect();
    let recorded: Vec<String> = (0..40).map(|n| exchange(n).id.0).collect();
    assert_eq!(ids, recorded);
}

#[tokio::test]
async fn a_refused_exchange_is_sent_again_later() {
    let world = World::new("");
    world.record((0..6).map(exchange).collect());
    let refusals = AtomicU32::new(0);
    let candidate = Candidate::start(move |asked| {
        let refused = asked.target == "/bookings/3" && refusals.fetch_add(1, Ordering::Relaxed) < 2;
        let answer = if refused { reply(503, "") } else { reply(200, booked("Rides", "4000")) };
        async move { answer }
    })
    .await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "6 exchanges: 6 matched");
    said.expect(0, "2 were asked again after 429 or 503");
    assert_eq!(candidate.asked().len(), 8);
}

#[tokio::test]
async fn a_candidate_that_refuses_for_ever_has_failed() {
    let world = World::new("[replay.pace]\nbackoff_tries_max = 1");
    world.record((0..2).map(exchange).collect());
    let candidate = Candidate::always(429, "").await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "2 errored");
    assert_eq!(candidate.asked().len(), 4);
}

#[tokio::test]
async fn exchanges_are_spread_over_a_duration() {
    let world = World::new("[replay.pace]\nrate = \"1000000\"");
    world.record((0..5).map(exchange).collect());
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let began = Instant::now();
    world.replay(&candidate.url(), &["--over", "1s"]).await.expect(0, "5 matched");
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_waits_for_a_free_place_is_late_and_is_said_to_be() {
    let world = World::new("[replay]\nin_flight = 1");
    world.record((0..4).map(exchange).collect());
    let candidate = Candidate::start(|_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        reply(200, booked("Rides", "4000"))
    })
    .await;
    let said = world.replay(&candidate.url(), &["--rate", "1000"]).await;
    said.expect(0, "3 exchanges were sent late because too many were in flight");
}

#[tokio::test]
async fn only_one_pace_can_be_asked_for() {
    let world = World::new("[replay.pace]\nrate = \"5\"\nover = \"1h\"\nfactor = \"0\"");
    let said = world.replay("http://127.0.0.1:9", &[]).await;
    said.expect(64, "more than one pace is given");
    said.expect(64, "`0` is not a factor");
    let said = world.replay("http://127.0.0.1:9", &["--rate", "5", "--over", "1h"]).await;
    said.expect(64, "cannot be used with");
}

#[tokio::test]
async fn a_candidate_is_spoken_to_in_the_recorded_version_of_http() {
    let world = World::new("");
    let version = "HTTP/2.0".to_owned();
    let recorded =
        shadow_recorder::exchange::Request { version, ..request("POST", "/bookings/1", "{}") };
    world.record(vec![exchange(0), Exchange { request: recorded, ..exchange(1) }]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    world.replay(&candidate.url(), &[]).await.expect(0, "2 matched");
    let asked = candidate.asked();
    let of = |target: &str| asked.iter().find(|asked| asked.target == target).unwrap();
    assert_eq!(of("/bookings/0").version, http::Version::HTTP_11);
    assert_eq!(of("/bookings/1").version, http::Version::HTTP_2);
    assert_eq!(of("/bookings/1").authority, "books.internal");
}
