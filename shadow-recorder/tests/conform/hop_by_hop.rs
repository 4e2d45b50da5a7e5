//! Fields that belong to one connection stay on its side, in both directions; all others pass (RFC 9110, section 7.6.1).

use tokio::net::TcpListener;

use crate::group::nothing_dropped;
use crate::harness::Sidecar;
use crate::wire::{Framing, Head, Wire};

/// Sends fields through a recorder in both directions, and returns the heads that arrived.
async fn pass(request: &str, answer: &str) -> (Head, Head) {
    let folder = tempfile::tempdir().unwrap();
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = origin.local_addr().unwrap();
    let sidecar = Sidecar::start(folder.path(), at, &[], "").await;
    let request =
        format!("POST / HTTP/1.1\r\nHost: books\r\n{request}Content-Length: 5\r\n\r\nhello");
    let answer = format!("HTTP/1.1 200 OK\r\n{answer}Content-Length: 2\r\n\r\nok");
    let client = async {
        let mut client = Wire::connect(sidecar.clients).await;
        client.send(request.as_bytes()).await.unwrap();
        let head = client.head().await.unwrap();
        let body = client.body(head.framing(Framing::ToTheEnd).unwrap()).await.unwrap();
        assert_eq!((&*body.bytes, body.whole), (&b"ok"[..], true));
        head
    };
    let server = async {
        let mut server = Wire::of(origin.accept().await.unwrap().0);
        let head = server.head().await.unwrap();
        let body = server.body(head.framing(Framing::Length(0)).unwrap()).await.unwrap();
        assert_eq!((&*body.bytes, body.whole), (&b"hello"[..], true));
        server.send(answer.as_bytes()).await.unwrap();
        (head, server)
    };
    let (at_client, (at_origin, _)) = tokio::join!(client, server);
    let stored = sidecar.stop().await;
    nothing_dropped(&stored);
    assert_eq!(stored.tally.recorded, 1);
    (at_origin, at_client)
}

fn check(head: &Head, absent: &[&str], present: &[(&str, &str)]) {
    for name in absent {
        assert_eq!(head.values(name).count(), 0, "{name} passed: {head:?}");
    }
    for (name, value) in present {
        let values: Vec<_> = head.values(name).collect();
        assert_eq!(values, [value.as_bytes()], "{name}: {head:?}");
    }
    // What Connection says on the far side is about that side's own fields.
    for value in head.values("connection") {
        let text = String::from_utf8_lossy(value).to_lowercase();
        for named in text.split(',').map(str::trim) {
            assert!(["close", "keep-alive", "te"].contains(&named), "Connection: {text}");
        }
    }
}

const HOP: &str = "Connection: close, X-Hop, x-other\r\nX-Hop: 1\r\nX-Other: 1\r\nConnection: X-Third ,,\r\n\
    X-Third: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: odd/1\r\nX-Stays: 1\r\n";
const HOP_NAMES: [&str; 6] =
    ["x-hop", "x-other", "x-third", "keep-alive", "proxy-connection", "upgrade"];

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_connection_stay_on_its_side() {
    let (origin, client) = pass(HOP, HOP).await;
    check(&origin, &HOP_NAMES, &[("x-stays", "1"), ("content-length", "5"), ("host", "books")]);
    check(&client, &HOP_NAMES, &[("x-stays", "1"), ("content-length", "2")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn te_passes_for_trailers_alone() {
    let (origin, _) = pass("TE: gzip;q=1, deflate\r\nConnection: te\r\n", "").await;
    check(&origin, &["te"], &[]);
    let (origin, _) = pass("TE: gzip, trailers\r\nConnection: te\r\n", "").await;
    check(&origin, &[], &[("te", "trailers")]);
    let named = origin.values("connection").any(|value| value.eq_ignore_ascii_case(b"te"));
    assert!(named, "RFC 9110, section 10.1.4: a sender of TE names it in Connection: {origin:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn framing_and_routing_cannot_be_named_away() {
    let named = "Connection: host, content-length, authorization, x-a\r\nX-A: 1\r\n";
    let (origin, client) = pass(named, named).await;
    check(&origin, &["x-a"], &[("host", "books"), ("content-length", "5")]);
    check(&client, &["x-a"], &[("content-length", "2")]);
    // Without Connection, a field of any other name is for the other end.
    let (origin, client) = pass("Trailer: X-Sum\r\nVia: 1.1 a\r\n", "Trailer: X-Sum\r\n").await;
    check(&origin, &[], &[("trailer", "X-Sum"), ("via", "1.1 a")]);
    check(&client, &[], &[("trailer", "X-Sum")]);
}

/// What a client's Connection names is the client's; the recorder's own trace context comes after.
#[tokio::test(flavor = "multi_thread")]
async fn the_recorders_own_context_cannot_be_named_away() {
    let (origin, _) = pass("Connection: traceparent, tracestate\r\n", "").await;
    for name in ["traceparent", "tracestate"] {
        assert_eq!(origin.values(name).count(), 1, "{name}: {origin:?}");
    }
}
