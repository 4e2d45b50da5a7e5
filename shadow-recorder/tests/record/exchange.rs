//! A request through the proxy and what is recorded of it.

use std::io::Write;
use std::sync::Arc;

use http::Request;
use http_body_util::Full;
use shadow_recorder::exchange::{Attribution, End, Omission, header};
use tokio::sync::Barrier;

use crate::harness::*;

const CONTEXT: [&str; 2] = ["traceparent", "tracestate"];
const TRACE_ONLY: [&str; 1] = ["traceparent"];
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_recorded_with_its_calls_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let fx = server(async |request| {
        // The upstream is asked under its own name, not the sidecar's.
        text(format!("{{\"rate\":1.0870,\"host\":{:?}}}", request.headers()["host"]))
    });
    let tax = server(async |request| text(request.into_body()));
    let (fx, tax) = (fx.await, tax.await);
    let egress = Egress::default();
    let known = Arc::clone(&egress);
    let origin = server(move |request| {
        let egress = Arc::clone(&known);
        async move {
            call(&egress, "fx", get("/rate?pair=EURUSD"), &request, &CONTEXT).await;
            let owed = post("/tax", "{\"net\": 1.10}");
            let owed = call(&egress, "tax", owed, &request, &CONTEXT).await;
            let mut answer = text([&owed.body()[..], b"\n"].concat());
            answer.headers_mut().insert("set-cookie", "session=s3cret".parse().unwrap());
            answer.headers_mut().insert("x-seen", request.headers()["tracestate"].clone());
            answer
        }
    })
    .await;
    let sidecar = Sidecar::start(folder.path(), origin, &[("fx", fx), ("tax", tax)], "").await;
    egress.set(sidecar.egress.clone()).unwrap();
    let request = Request::post("/book?day=1")
        .header("authorization", "Bearer s3cret")
        .header("cookie", "session=s3cret")
        .header("x-api-token", "s3cret")
        .header("traceparent", PARENT)
        .header("tracestate", "vendor=1")
        .body(Full::from("{\"amount\": 1.10, \"n\": 1e5}"))
        .unwrap();
    let answer = send(sidecar.clients, request).await;
    assert_eq!(answer.body(), "{\"net\": 1.10}\n");
    assert_eq!(answer.headers()["set-cookie"], "session=s3cret");
    let fx_address = format!("127.0.0.1:{}", fx.port());
    let stored = sidecar.stop().await;

    let exchange = stored.only();
    let seen = format!("shadow={},vendor=1", exchange.id);
    assert_eq!(answer.headers()["x-seen"].to_str().unwrap(), seen);
    assert_eq!((exchange.end, exchange.sequence), (End::Complete, 1));
    assert_eq!(exchange.trace_id, &PARENT[3..35]);
    assert_eq!((&*exchange.service, &*exchange.build), ("ledger", "p1"));
    assert_eq!((&*exchange.request.method, &*exchange.request.target), ("POST", "/book?day=1"));
    assert_eq!(exchange.request.body.text.as_deref(), Some("{\"amount\": 1.10, \"n\": 1e5}"));
    assert_eq!(header(&exchange.request.headers, "tracestate"), Some("vendor=1"));
    let response = exchange.response.as_ref().unwrap();
    assert_eq!((response.status, response.body.text.as_deref()), (200, Some("{\"net\": 1.10}\n")));
    let calls: Vec<_> = exchange.upstream.iter().map(|c| (&*c.name, &*c.request.target)).collect();
    assert_eq!(calls, [("fx", "/rate?pair=EURUSD"), ("tax", "/tax")]);
    let rate = exchange.upstream[0].response.as_ref().unwrap().body.text.as_deref();
    assert_eq!(rate, Some(&*format!("{{\"rate\":1.0870,\"host\":\"{fx_address}\"}}")));
    assert!(exchange.upstream[0].offset_us <= exchange.upstream[1].offset_us);
    assert!(exchange.upstream[1].offset_us <= exchange.duration_us);
    assert!(!stored.text.contains("s3cret"), "{}", stored.text);

    assert_eq!((stored.tally.observed, stored.tally.recorded), (1, 1));
    let last = stored.manifests.last().unwrap();
    assert!(last.last && !last.torn);
    assert_eq!(stored.manifests.iter().map(|m| m.calls.attributed).sum::<u64>(), 2);
    assert!(files(&folder.path().join("spool")).iter().all(|path| path.ends_with("lock")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_be_attributed_with_certainty_is_ambient() {
    let folder = tempfile::tempdir().unwrap();
    let fx = server(async |_| text("1.0870")).await;
    let egress = Egress::default();
    let (known, both) = (Arc::clone(&egress), Arc::new(Barrier::new(2)));
    let origin = server(move |request| {
        let (egress, both) = (Arc::clone(&known), Arc::clone(&both));
        async move {
            if request.uri().path() == "/together" {
                // Both requests of the trace are open while each calls.
                both.wait().await;
                call(&egress, "fx", get("/ambiguous"), &request, &TRACE_ONLY).await;
                both.wait().await;
            } else {
                call(&egress, "fx", get("/alone"), &request, &TRACE_ONLY).await;
                call(&egress, "fx", get("/nothing"), &request, &[]).await;
            }
            text(request.headers()["tracestate"].as_bytes().to_vec())
        }
    })
    .await;
    let sidecar = Sidecar::start(folder.path(), origin, &[("fx", fx)], "").await;
    egress.set(sidecar.egress.clone()).unwrap();
    let of_trace = |target: &str| {
        Request::get(target).header("traceparent", PARENT).body(Full::default()).unwrap()
    };
    let at = sidecar.clients;
    tokio::join!(send(at, of_trace("/together")), send(at, of_trace("/together")));
    sidecar.until("shadow_recorder_exchanges_open", 0).await;
    let state = send(at, of_trace("/one")).await;
    sidecar.until("shadow_recorder_exchanges_open", 0).await;
    let late = Request::get("/late")
        .header("traceparent", PARENT)
        .header("tracestate", state.body().as_ref());
    send(sidecar.egress["fx"], late.body(Full::default()).unwrap()).await;
    let stored = sidecar.stop().await;

    let mut ambient: Vec<_> =
        stored.ambient.iter().map(|a| (a.attribution, &*a.call.request.target)).collect();
    ambient.sort_unstable();
    assert_eq!(
        ambient,
        [
            (Attribution::Ambiguous, "/ambiguous"),
            (Attribution::Ambiguous, "/ambiguous"),
            (Attribution::Unattributed, "/nothing"),
            (Attribution::Late, "/late"),
        ]
    );
    let calls: Vec<usize> = stored.exchanges.iter().map(|e| e.upstream.len()).collect();
    assert_eq!(calls, [0, 0, 1]);
    assert_eq!(stored.exchanges[2].upstream[0].request.target, "/alone");
    let counted = stored.manifests.iter().fold((0, 0, 0, 0), |sum, m| {
        let c = &m.calls;
        (sum.0 + c.attributed, sum.1 + c.ambiguous, sum.2 + c.unattributed, sum.3 + c.late)
    });
    assert_eq!(counted, (1, 2, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_passes_whole_and_is_omitted() {
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |request| text(request.into_body())).await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "body_bytes_max = 1000").await;
    let long = vec![b'a'; 3 << 20];
    let answer = send(sidecar.clients, post("/", long.clone())).await;
    assert!(answer.body() == &long);
    let stored = sidecar.stop().await;
    let exchange = stored.only();
    let response = exchange.response.as_ref().unwrap();
    for body in [&exchange.request.body, &response.body] {
        assert_eq!(body.text, None);
        assert_eq!((body.omitted, body.wire_bytes), (Some(Omission::OverLimit), 3 << 20));
    }
    assert_eq!(exchange.end, End::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_answer_passes_untouched_and_is_recorded_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"{\"amount\":1.10}").unwrap();
    let packed = encoder.finish().unwrap();
    let sent = packed.clone();
    let origin = server(move |_| {
        let mut answer = text(sent.clone());
        answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        async { answer }
    })
    .await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    let answer = send(sidecar.clients, get("/")).await;
    assert_eq!(
        (answer.body().as_ref(), &answer.headers()["content-encoding"]),
        (&*packed, &"gzip".parse().unwrap())
    );
    let stored = sidecar.stop().await;
    let body = &stored.only().response.as_ref().unwrap().body;
    assert_eq!(body.text.as_deref(), Some("{\"amount\":1.10}"));
    assert_eq!((body.coding.as_deref(), body.wire_bytes), (Some("gzip"), packed.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wire_is_as_without_the_recorder() {
    let folder = tempfile::tempdir().unwrap();
    let origin =
        raw_server(&[b"HTTP/1.0 207 Some Thing\r\nX-CaSe: 1\r\nDate: now\r\n\r\n", b"to the end"])
            .await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    // A half-closed client, an answer that ends with its connection, its version, and the case of names.
    let request = b"GET http://books/a%2Fb?x=%20 HTTP/1.1\r\nHost: other\r\n\r\n";
    let answer = send_half_closed(sidecar.clients, request).await;
    let lines: Vec<&str> = answer.split("\r\n").collect();
    assert_eq!(&lines[..3], ["HTTP/1.0 207 Some Thing", "X-CaSe: 1", "Date: now"]);
    assert!(answer.contains("to the end"), "{answer}");
    let old = send_raw(sidecar.clients, b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.ends_with("\r\n\r\nto the end"), "{old}");
    let stored = sidecar.stop().await;
    let targets: Vec<_> =
        stored.exchanges.iter().map(|e| (&*e.request.target, &*e.request.version)).collect();
    assert_eq!(targets, [("/a%2Fb?x=%20", "HTTP/1.1"), ("/", "HTTP/1.0")]);
}
