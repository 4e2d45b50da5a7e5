use shadow_recorder::exchange::Exchange;

use crate::candidate::Candidate;
use crate::recording::{booked, call, exchange};
use crate::world::{World, free_address};

#[tokio::test]
async fn a_range_is_replayed_and_every_exchange_is_in_the_journal() {
    let world = World::new("");
    world.record((0..25).map(exchange).collect());
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "25 exchanges: 25 matched, 0 different");
    let asked = candidate.asked();
    assert_eq!(asked.len(), 25);
    let first = asked.iter().find(|asked| asked.target == "/bookings/0").unwrap();
    assert_eq!((&*first.method, &*first.body), ("POST", r#"{"n":0}"#));
    assert_eq!(first.header("host"), Some("books.internal"));
    assert_eq!(first.header("tracestate"), Some(&*format!("shadow={}", exchange(0).id)));
    let rows = world.rows("exchange", &said.run());
    assert_eq!(rows.len(), 25);
    assert!(rows.iter().all(|row| row["outcome"] == "matched"), "{rows:?}");
}

#[tokio::test]
async fn money_in_another_line_of_business_is_a_difference() {
    let world = World::new("");
    world.record((0..3).map(exchange).collect());
    let candidate = Candidate::always(200, booked("Eats", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "3 exchanges: 0 matched, 3 different");
    let kinds = world.rows("entry", &said.run());
    assert!(kinds.iter().any(|row| row.get("kind").is_some_and(|kind| kind == "reclassified")));
}

#[tokio::test]
async fn an_exchange_whose_recorded_calls_are_not_made_is_not_verified() {
    let listen = free_address();
    let world = World::new(&format!(
        "[[upstream]]\nname = \"fx\"\nlisten = \"{listen}\"\nforward_to = \"http://fx.internal\"\n[replay]\nlinger = \"1ms\""
    ));
    let calls = vec![call("fx", "/rate", "1.1")];
    world.record(vec![Exchange { upstream: calls, ..exchange(0) }]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "1 unverified");
    let rows = world.rows("exchange", &said.run());
    assert!(rows[0]["reason"].starts_with("not recomputed"), "{rows:?}");
}
