//! Calls that come late, for nobody, to a sink, or while something is over a limit.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Request;
use http_body_util::Full;
use shadow_recorder::exchange::Attribution;
use shadow_recorder::segment::Calls;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::harness::*;

const CONTEXT: &[&str] = &["traceparent", "tracestate"];
const TRACE_ONLY: &[&str] = &["traceparent"];

#[tokio::test(flavor = "multi_thread")]
async fn while_too_many_are_open_no_call_is_taken_for_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let fx = server(async |_| text("1.0870")).await;
    let egress = Egress::default();
    // A permit lets an exchange make its call, the next one lets it answer.
    let gates: Arc<BTreeMap<_, _>> =
        Arc::new(["/a", "/b", "/c", "/d"].map(|name| (name, Semaphore::new(0))).into());
    let (known, held) = (Arc::clone(&egress), Arc::clone(&gates));
    let origin = server(move |request| {
        let (egress, gates) = (Arc::clone(&known), Arc::clone(&held));
        async move {
            let gate = &gates[request.uri().path()];
            gate.acquire().await.unwrap().forget();
            call(&egress, "fx", get(request.uri().path()), &request, TRACE_ONLY).await;
            if request.uri().path() == "/b" {
                call(&egress, "fx", get("/b"), &request, CONTEXT).await;
            }
            gate.acquire().await.unwrap().forget();
            text("answered")
        }
    })
    .await;
    let sidecar =
        Sidecar::start(folder.path(), origin, &[("fx", fx)], "exchanges_open_max = 1").await;
    egress.set(sidecar.egress.clone()).unwrap();
    let at = sidecar.clients;
    let begin = |name: &'static str| {
        let request = Request::get(name).header("traceparent", parent(7)).body(Full::default());
        tokio::spawn(async move { send(at, request.unwrap()).await })
    };
    let dropped = "shadow_recorder_exchanges_dropped_total{reason=\"exchanges_open_max\"}";
    let ambiguous = "shadow_recorder_upstream_calls_total{attribution=\"ambiguous\"}";
    // The second exchange of the trace is one too many.
    let a = begin("/a");
    sidecar.until("shadow_recorder_exchanges_open", 1).await;
    let b = begin("/b");
    sidecar.until(dropped, 1).await;
    gates["/a"].add_permits(2);
    a.await.unwrap();
    sidecar.until("shadow_recorder_exchanges_open", 0).await;
    // The third is recorded, and it did not make the second's call.
    let c = begin("/c");
    sidecar.until("shadow_recorder_exchanges_open", 1).await;
    gates["/b"].add_permits(1);
    sidecar.until(ambiguous, 2).await;
    gates["/c"].add_permits(1);
    sidecar.until(ambiguous, 3).await;
    gates["/b"].add_permits(1);
    b.await.unwrap();
    gates["/c"].add_permits(1);
    c.await.unwrap();
    // What ended earlier is forgotten earlier, so that the fourth is alone.
    sidecar.until("shadow_recorder_exchanges_open", 0).await;
    gates["/d"].add_permits(2);
    begin("/d").await.unwrap();
    let stored = sidecar.stop().await;

    let recorded: Vec<_> =
        stored.exchanges.iter().map(|e| (&*e.request.target, e.upstream.len())).collect();
    assert_eq!(recorded, [("/a", 0), ("/c", 0), ("/d", 1)]);
    let counted = stored.calls();
    let expected = Calls { attributed: 1, ambiguous: 3, sampled_out: 1, ..Calls::default() };
    assert_eq!(counted, expected);
    assert_eq!(stored.tally.dropped, [("exchanges_open_max".to_owned(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_is_attributed_like_any_upstream() {
    const SINK: &str = "sink = true\n[[ledger]]\nroute = \"* /**\"\nsink = \"gl\"\ntransactions = \"$\"\nentries = \"$[*]\"\nline_of_business = \"$.lob\"\ngl_account = \"$.account\"\ncurrency = { value = \"USD\" }\ndebit = \"$.debit\"\ncredit = \"$.credit\"\n";
    let folder = tempfile::tempdir().unwrap();
    let gl = server(async |_| text("posted")).await;
    let egress = Egress::default();
    let known = Arc::clone(&egress);
    let origin = server(move |request| {
        let egress = Arc::clone(&known);
        async move {
            call(&egress, "gl", post("/entries", "[]"), &request, CONTEXT).await;
            call(&egress, "gl", post("/entries", "[]"), &request, TRACE_ONLY).await;
            text(request.headers()["tracestate"].as_bytes().to_vec())
        }
    })
    .await;
    write_config(folder.path(), origin, &[("gl", gl)], "");
    let file = folder.path().join("shadow.toml");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + SINK).unwrap();
    let binary = Command::new(env!("CARGO_BIN_EXE_shadow-recorder"));
    let sidecar = Sidecar::run(folder.path(), binary).await;
    egress.set(sidecar.egress.clone()).unwrap();
    let of_trace = |target: &str| Request::post(target).header("traceparent", parent(7));
    let request = of_trace("/book").body(Full::default()).unwrap();
    let state = send(sidecar.clients, request).await;
    sidecar.until("shadow_recorder_exchanges_open", 0).await;
    // After the linger: by its name it is late, by its trace or without one it is nobody's, and marked it is not kept.
    for (target, state) in [
        ("/late", Some(state.body().to_vec())),
        ("/nobody", None),
        ("/marked", Some(b"shadow=-".to_vec())),
    ] {
        let request = of_trace(target);
        let request = match state {
            Some(state) => request.header("tracestate", state),
            None => request,
        };
        let answer = send(sidecar.egress["gl"], request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.body(), "posted");
    }
    send(sidecar.egress["gl"], get("/nothing")).await;
    let stored = sidecar.stop().await;
    assert_eq!(stored.only().upstream.len(), 2);
    let mut ambient: Vec<_> =
        stored.ambient.iter().map(|a| (&*a.call.request.target, a.attribution)).collect();
    ambient.sort_unstable();
    let expected = [
        ("/late", Attribution::Late),
        ("/nobody", Attribution::Unattributed),
        ("/nothing", Attribution::Unattributed),
    ];
    assert_eq!(ambient, expected);
    assert_eq!(stored.calls().sampled_out, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_limit_of_one_exchange_traffic_flows_and_it_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let fx = server(async |_| text("1.0870")).await;
    let egress = Egress::default();
    let known = Arc::clone(&egress);
    let origin = server(move |request| {
        let egress = Arc::clone(&known);
        async move {
            let calls: usize = request.uri().path()[1..].parse().unwrap();
            for _ in 0..calls {
                let rate = call(&egress, "fx", get("/rate"), &request, CONTEXT).await;
                assert_eq!(rate.body(), "1.0870");
            }
            let mut answer = text(request.headers()["tracestate"].as_bytes().to_vec());
            let length = request.headers().get("x-answer").map_or(0, http::HeaderValue::len);
            answer.headers_mut().insert("x-large", "a".repeat(length).parse().unwrap());
            answer
        }
    })
    .await;
    let limits = "calls_max = 2\nhead_bytes_max = 5000";
    let sidecar = Sidecar::start(folder.path(), origin, &[("fx", fx)], limits).await;
    egress.set(sidecar.egress.clone()).unwrap();
    let of = |target: &str, name: &str, length: usize| {
        let large = "a".repeat(length);
        Request::get(target).header(name, large).body(Full::default()).unwrap()
    };
    assert_eq!(send(sidecar.clients, get("/2")).await.status(), 200);
    assert_eq!(send(sidecar.clients, get("/3")).await.status(), 200);
    let state = send(sidecar.clients, of("/1", "x-request", 5000)).await;
    assert_eq!(state.body(), "shadow=-");
    let answer = send(sidecar.clients, of("/0", "x-answer", 4800)).await;
    assert_eq!(answer.headers()["x-large"].len(), 4800);
    let answer = send(sidecar.clients, get(&format!("/0?{}", "a".repeat(5000)))).await;
    assert_eq!(answer.status(), 200);
    let stored = sidecar.stop().await;
    assert_eq!(stored.exchanges.len(), 2);
    assert_eq!(stored.exchanges[0].upstream.len(), 2);
    let dropped = [("calls_max".to_owned(), 1), ("head_bytes_max".to_owned(), 2)];
    assert_eq!((stored.tally.observed, &stored.tally.dropped), (5, &dropped.into()));
    let expected = Calls { attributed: 2, sampled_out: 1, dropped: 3, ..Calls::default() };
    assert_eq!(stored.calls(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sampled_out_may_still_call_at_a_stop() {
    const NOTHING: &str =
        "sampling_rate = \"0.000000000000001\"\nsampling_key = \"k\"\nlinger = \"2s\"";
    let folder = tempfile::tempdir().unwrap();
    let fx = server(async |_| text("posted")).await;
    let (egress, gate) = (Egress::default(), Arc::new(Semaphore::new(0)));
    let (known, held) = (Arc::clone(&egress), Arc::clone(&gate));
    let (sender, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let origin = server(move |request| {
        let (egress, gate, sender) = (Arc::clone(&known), Arc::clone(&held), sender.clone());
        tokio::spawn(async move {
            gate.acquire().await.unwrap().forget();
            let answer = call(&egress, "fx", get("/late"), &request, TRACE_ONLY).await;
            sender.send(answer.into_body()).unwrap();
        });
        async { text("answered") }
    })
    .await;
    let mut sidecar = Sidecar::start(folder.path(), origin, &[("fx", fx)], NOTHING).await;
    egress.set(sidecar.egress.clone()).unwrap();
    assert_eq!(send(sidecar.clients, get("/")).await.body(), "answered");
    sidecar.signal("-TERM").await;
    let at = sidecar.clients;
    until("no new connection", async || tokio::net::TcpStream::connect(at).await.is_err()).await;
    // Beyond the moment for requests that are still on their way.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    gate.add_permits(1);
    assert_eq!(answers.recv().await.unwrap(), "posted");
    assert!(sidecar.ended().await.success());
    let stored = Stored::read(folder.path());
    assert_eq!((stored.exchanges.len(), stored.ambient.len()), (0, 0));
    assert_eq!((stored.tally.observed, stored.tally.sampled_out), (1, 1));
    assert_eq!(stored.calls(), Calls { sampled_out: 1, ..Calls::default() });
}
