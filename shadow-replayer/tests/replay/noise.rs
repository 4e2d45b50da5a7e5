//! What differs beside money, and what differs by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use shadow_recorder::exchange::Exchange;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::candidate::{Asked, Candidate, reply};
use crate::recording::{booked, call, exchange, request, response};
use crate::world::{World, free_address};

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
            return reply(200, booked("Rides", "4000"));
        }
        reply(200, trip("3").replace("now", "later"))
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

#[tokio::test]
async fn what_the_control_shows_too_is_the_replays_doing() {
    let world = World::new("");
    world.record(vec![exchange(0), exchange(1)]);
    // Both move the first exchange; the candidate moves the second as well.
    let moving = |moved: &'static [&'static str]| {
        Candidate::start(move |asked: Asked| async move {
            let lob = if moved.contains(&&*asked.target) { "Eats" } else { "Rides" };
            reply(200, booked(lob, "4000"))
        })
    };
    let candidate = moving(&["/bookings/0", "/bookings/1"]).await;
    let control = moving(&["/bookings/0"]).await;
    let said = world.replay(&candidate.url(), &["--control", &control.url()]).await;
    said.expect(0, "2 exchanges: 0 matched, 2 different");
    assert_eq!((candidate.asked().len(), control.asked().len()), (2, 2));
    let trace = |asked: &Asked| asked.header("traceparent").map(str::to_owned);
    assert_ne!(trace(&candidate.asked()[0]), trace(&control.asked()[0]));
    let exchanges = world.rows("exchange", &said.run());
    let shown =
        |n: usize| ["control", "blame"].map(|column| exchanges[n].get(column).map(String::as_str));
    assert_eq!(shown(0), [Some("different"), Some("harness")]);
    assert_eq!(shown(1), [Some("reproduced"), None]);
    let entries = world.rows("entry", &said.run());
    let count = |source: &str, blame: Option<&str>| {
        let is = |row: &&std::collections::BTreeMap<String, String>| {
            row["source"] == source && row.get("blame").map(String::as_str) == blame
        };
        entries.iter().filter(is).count()
    };
    assert_eq!(count("control", None), 2, "what it booked, where it did not reproduce production");
    assert_eq!((count("shadow", Some("harness")), count("shadow", None)), (2, 2));
}

/// Asks the stub at an address for the rate, as a service does that passes its trace context on.
async fn rate(stub: SocketAddr, asked: &Asked) -> String {
    let context = ["traceparent", "tracestate"].map(|name| asked.header(name).unwrap().to_owned());
    let [parent, state] = context;
    let head = format!(
        "GET /rate HTTP/1.1\r\nhost: fx\r\ntraceparent: {parent}\r\ntracestate: {state}\r\nconnection: close\r\n\r\n"
    );
    let mut stream = tokio::net::TcpStream::connect(stub).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_control_has_upstreams_of_its_own() {
    let (own, controls) = (free_address(), free_address());
    let upstream = format!(
        "[[upstream]]\nname = \"fx\"\nlisten = \"{own}\"\nforward_to = \"http://fx.internal\"\n"
    );
    let world = World::new(&upstream);
    let calls = vec![call("fx", "/rate", "1.1")];
    world.record(vec![Exchange { upstream: calls, ..exchange(0) }]);
    let asking = |stub| {
        Candidate::start(move |asked: Asked| async move {
            let lob = if rate(stub, &asked).await.ends_with("1.1") { "Rides" } else { "Eats" };
            reply(200, booked(lob, "4000"))
        })
    };
    let (candidate, control) = (asking(own).await, asking(controls).await);
    let said = world.replay(&candidate.url(), &["--control", &control.url()]).await;
    said.expect(64, "set [replay.control_stub] fx to an address");
    world.configure(&format!("{upstream}[replay.control_stub]\nfx = \"{own}\""));
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(64, "the control needs an address of its own for fx");
    let url = control.url();
    world.configure(&format!(
        "{upstream}[replay]\ncontrol = \"{url}\"\n[replay.control_stub]\nfx = \"{controls}\""
    ));
    let said = world.replay(&candidate.url(), &[]).await;
    said.expect(0, "1 matched");
    assert_eq!(world.rows("exchange", &said.run())[0]["control"], "reproduced");
}

#[tokio::test]
async fn a_candidate_that_differs_from_itself_is_in_doubt() {
    let world = World::new("");
    world.record(vec![exchange(0)]);
    let times = Arc::new(AtomicU32::new(0));
    let candidate = Candidate::start(move |_| {
        let lob = if times.fetch_add(1, Ordering::Relaxed) == 0 { "Rides" } else { "Eats" };
        async move { reply(200, booked(lob, "4000")) }
    })
    .await;
    let said = world.replay(&candidate.url(), &["--twice"]).await;
    said.expect(0, "1 matched");
    said.expect(
        0,
        "in doubt: asked twice, the candidate booked different money in Eats / 4000 (USD)",
    );
    assert_eq!(candidate.asked().len(), 2);
    assert_eq!(world.rows("exchange", &said.run())[0]["second"], "different");
}

#[tokio::test]
async fn a_control_that_is_not_there_fails_the_run() {
    let world = World::new("[replay]\ncandidate_wait = \"1ms\"");
    world.record(vec![exchange(0)]);
    let candidate = Candidate::always(200, booked("Rides", "4000")).await;
    let said =
        world.replay(&candidate.url(), &["--control", &format!("http://{}", free_address())]).await;
    said.expect(2, "the control was never reachable");
}
