//! Stopping, being killed, and starting again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shadow_recorder::exchange::End;
use tokio::sync::Semaphore;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_at_sigterm_is_answered_and_recorded() {
    const N: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let origin = server(move |request| {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            text(request.into_body())
        }
    })
    .await;
    let mut sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    let at = sidecar.clients;
    let requests: Vec<_> = (0..N)
        .map(|n| tokio::spawn(async move { send(at, post("/", n.to_string())).await }))
        .collect();
    sidecar.until("shadow_recorder_exchanges_open", N as u64).await;
    sidecar.signal("-TERM").await;
    until("no new connection", async || tokio::net::TcpStream::connect(at).await.is_err()).await;
    // Beyond the moment for requests that are still on their way.
    tokio::time::sleep(Duration::from_millis(400)).await;
    gate.add_permits(N);
    for (n, request) in requests.into_iter().enumerate() {
        assert_eq!(request.await.unwrap().body(), &n.to_string());
    }
    assert!(sidecar.ended().await.success());
    let stored = Stored::read(folder.path());
    assert_eq!((stored.tally.observed, stored.tally.recorded), (N as u64, N as u64));
    assert!(stored.exchanges.iter().all(|exchange| exchange.end == End::Complete));
    assert!(stored.manifests.iter().any(|manifest| manifest.last));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlasts_the_grace_is_cut_off_and_recorded_as_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |_| std::future::pending().await).await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "grace = \"300ms\"").await;
    let at = sidecar.clients;
    let request =
        tokio::spawn(async move { send_raw(at, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await });
    sidecar.until("shadow_recorder_exchanges_open", 1).await;
    let stored = sidecar.stop().await;
    assert_eq!(request.await.unwrap(), "");
    assert_eq!((stored.only().end, &stored.only().response), (End::Truncated, &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_synced_before_a_kill_is_stored_once_by_the_next_start() {
    const N: u64 = 50;
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |request| text(request.into_body())).await;
    let mut killed = Sidecar::start(folder.path(), origin, &[], "").await;
    for n in 0..N {
        send(killed.clients, post("/", n.to_string())).await;
    }
    killed.until("shadow_recorder_exchanges_recorded_total", N).await;
    killed.signal("-KILL").await;
    assert!(!killed.ended().await.success());
    assert!(files(&folder.path().join("store")).is_empty());
    // As after a write that the kill interrupted.
    let spooled = files(&folder.path().join("spool"))
        .into_iter()
        .find(|f| f.to_string_lossy().ends_with(".zst"));
    let mut torn = std::fs::read(spooled.as_ref().unwrap()).unwrap();
    torn.extend_from_slice(&torn.clone()[..20]);
    std::fs::write(spooled.unwrap(), torn).unwrap();

    let started = Sidecar::start(folder.path(), origin, &[], "").await;
    send(started.clients, post("/", "after")).await;
    started.until("shadow_recorder_segments_committed_total", 1).await;
    let stored = started.stop().await;
    let bodies: BTreeSet<_> =
        stored.exchanges.iter().map(|e| e.request.body.text.clone().unwrap()).collect();
    let expected = (0..N).map(|n| n.to_string()).chain(["after".to_owned()]).collect();
    assert_eq!(bodies, expected);
    assert_eq!(stored.exchanges.len() as u64, N + 1);
    let mut ends: Vec<_> = stored.manifests.iter().map(|m| (m.exchanges, m.last, m.torn)).collect();
    ends.sort_unstable();
    assert_eq!(ends, [(1, true, false), (N, true, true)]);
    assert_ne!(stored.manifests[0].boot, stored.manifests[1].boot);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_keeps_the_segments_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |request| text(request.into_body())).await;
    let store = folder.path().join("store");
    std::fs::write(&store, "a file where the store should be").unwrap();
    let mut sidecar =
        Sidecar::start(folder.path(), origin, &[], "segment_age_max = \"100ms\"").await;
    assert_eq!(send(sidecar.clients, post("/", "1")).await.body(), "1");
    sidecar.until("shadow_recorder_exchanges_recorded_total", 1).await;
    sidecar.signal("-TERM").await;
    assert_eq!(sidecar.ended().await.code(), Some(70));

    std::fs::remove_file(&store).unwrap();
    let next = Sidecar::start(folder.path(), origin, &[], "").await;
    let stored = next.stop().await;
    assert_eq!(stored.only().request.body.text.as_deref(), Some("1"));
    // Gapless, the boot that failed to store ends with its own mark.
    let boot = &stored.manifests[0].boot;
    let mut sequences: Vec<u64> =
        stored.manifests.iter().filter(|m| m.boot == *boot).map(|m| m.sequence).collect();
    sequences.sort_unstable();
    assert!(sequences.iter().copied().eq(1..=sequences.len() as u64), "{sequences:?}");
    assert_eq!(stored.manifests.iter().filter(|m| m.last && !m.torn).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_after_the_last_answer_still_finds_its_exchange_at_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let fx = server(async |_| text("posted")).await;
    let (egress, gate) = (Egress::default(), Arc::new(Semaphore::new(0)));
    let (known, held) = (Arc::clone(&egress), Arc::clone(&gate));
    let origin = server(move |request| {
        let (egress, gate) = (Arc::clone(&known), Arc::clone(&held));
        tokio::spawn(async move {
            gate.acquire().await.unwrap().forget();
            call(&egress, "fx", get("/late"), &request, &["traceparent", "tracestate"]).await;
        });
        async { text("answered") }
    })
    .await;
    let mut sidecar = Sidecar::start(folder.path(), origin, &[("fx", fx)], "linger = \"2s\"").await;
    egress.set(sidecar.egress.clone()).unwrap();
    send(sidecar.clients, get("/")).await;
    sidecar.signal("-TERM").await;
    let at = sidecar.clients;
    until("no new connection", async || tokio::net::TcpStream::connect(at).await.is_err()).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    gate.add_permits(1);
    assert!(sidecar.ended().await.success());
    let stored = Stored::read(folder.path());
    assert_eq!(stored.only().upstream.len(), 1);
}
