use shadow_recorder::exchange::Exchange;

use crate::candidate::Candidate;
use crate::recording::{booked, call, exchange, request, response};
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
async fn a_further_dimension_is_a_column_and_a_field_that_differs_is_named() {
    let world = World::new(
        r#"
[[ledger]]
route = "POST /trips/*"
transactions = "$.transactions[*]"
entries = "$.entries[*]"
line_of_business = { path = "$.lob", from = "transaction" }
gl_account = "$.account"
currency = { value = "USD" }
debit = "$.debit"
credit = "$.credit"
dimensions = { country = { path = "$.country", optional = true } }
fields = { memo = { path = "$.memo", from = "transaction" } }
"#,
    );
    let answer = |memo: &str| {
        booked("Rides", "4000")
            .replace(r#""account":"1100""#, r#""account":"1100","country":"NL""#)
            .replace(r#""id":"t""#, &format!(r#""memo":"{memo}""#))
    };
    let trip = Exchange {
        request: request("POST", "/trips/7", "{}"),
        response: Some(response(200, answer("a"))),
        ..exchange(0)
    };
    world.record(vec![trip]);
    let candidate = Candidate::always(200, answer("b")).await;
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "0 matched, 1 different");
    let rows = world.rows("entry", &said.run());
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert_eq!((&*row["kind"], &*row["change"]), ("field_changed", "memo: 'a' → 'b'"));
        let country = (row["gl_account"] == "1100").then_some("NL");
        assert_eq!(row.get("country").map(String::as_str), country, "{row:?}");
    }
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
