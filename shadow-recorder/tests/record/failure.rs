//! Clients, services and disks that fail.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use shadow_recorder::exchange::{End, Omission};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Command;

use crate::harness::*;

/// An address on which nothing listens.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_is_a_bad_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(folder.path(), nowhere().await, &[], "").await;
    assert_eq!(send(sidecar.clients, post("/book", "{}")).await.status(), 502);
    let stored = sidecar.stop().await;
    let exchange = stored.only();
    assert_eq!((exchange.end, &exchange.response), (End::UpstreamFailed, &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_accept_is_a_gateway_timeout() {
    let folder = tempfile::tempdir().unwrap();
    // A listener that never accepts: once its queue is full, the system leaves further attempts to connect unanswered.
    let listener = TcpSocket::new_v4().unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(1).unwrap();
    let silent = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(silent)).await
    {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the listener's queue never fills");
    }
    let sidecar = Sidecar::start(folder.path(), silent, &[], "connect_timeout = \"200ms\"").await;
    assert_eq!(send(sidecar.clients, get("/")).await.status(), 504);
    assert_eq!(sidecar.stop().await.only().end, End::UpstreamFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    for answer in [
        &[&b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"[..], b"half"][..],
        &[&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], b"4\r\nhalf\r\n"][..],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let origin = raw_server(answer.to_vec().leak()).await;
        let sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let uri = format!("http://{}/", sidecar.clients);
        let mut body = client.get(uri.parse().unwrap()).await.unwrap().into_body();
        // All that the service sent arrives before the connection breaks.
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        assert!(body.frame().await.unwrap().is_err());
        let stored = sidecar.stop().await;
        let exchange = stored.only();
        assert_eq!(exchange.end, End::UpstreamFailed);
        let body = &exchange.response.as_ref().unwrap().body;
        assert_eq!((body.omitted, body.wire_bytes), (Some(Omission::Truncated), 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_is_recorded_as_such() {
    let folder = tempfile::tempdir().unwrap();
    // More than the sockets' buffers take, so that the loss of the client is noticed.
    let origin = server(async |_| text(vec![b'a'; 64 << 20])).await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    let mut stream = TcpStream::connect(sidecar.clients).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    drop(stream);
    sidecar.until("shadow_recorder_exchanges_recorded_total", 1).await;
    let stored = sidecar.stop().await;
    assert_eq!(stored.only().end, End::ClientAborted);
    assert_eq!(stored.only().response.as_ref().unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_its_request_is_recorded_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |_| text("never")).await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    let mut stream = TcpStream::connect(sidecar.clients).await.unwrap();
    let part = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf";
    stream.write_all(part).await.unwrap();
    sidecar.until("shadow_recorder_exchanges_open", 1).await;
    drop(stream);
    let stored = sidecar.stop().await;
    let exchange = stored.only();
    assert_eq!((exchange.end, &exchange.response), (End::ClientAborted, &None));
    assert_eq!(exchange.request.body.omitted, Some(Omission::Truncated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_costs_recordings_and_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |request| text(request.into_body())).await;
    write_config(folder.path(), origin, &[], "segment_age_max = \"500ms\"");
    // The kernel refuses files beyond 16 KiB, as a full disk would; each new segment begins afresh.
    let mut limited = Command::new("bash");
    let binary = env!("CARGO_BIN_EXE_shadow-recorder");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"", binary]);
    let sidecar = Sidecar::run(folder.path(), limited).await;
    assert_eq!(send(sidecar.clients, post("/", "small".to_owned())).await.body(), "small");
    sidecar.until("shadow_recorder_exchanges_recorded_total", 1).await;
    let mut passed = 1;
    // Random digits do not compress away.
    let mut noise = 1_u64;
    let mut line = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{noise:x}")
    };
    let mut body = || (0..300).map(|_| line()).collect::<String>();
    until("segments after a failure", async || {
        for _ in 0..10 {
            let sent = body();
            assert_eq!(send(sidecar.clients, post("/", sent.clone())).await.body(), &sent);
            passed += 1;
        }
        let answer = send(sidecar.admin, Request::get("/metrics").body(Full::default()).unwrap());
        let metrics = String::from_utf8_lossy(answer.await.body()).into_owned();
        metrics.contains("exchanges_dropped_total{reason=\"disk\"}")
            && !metrics.contains("segments_sealed_total 0")
            && !metrics.contains("segments_sealed_total 1\n")
    })
    .await;
    let stored = sidecar.stop().await;
    assert_eq!(stored.tally.observed, passed);
    assert_eq!(stored.tally.dropped.keys().collect::<Vec<_>>(), ["disk"]);
    assert!(stored.tally.recorded > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_cut_off_and_an_idle_connection_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |request| text(request.into_body())).await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "head_timeout = \"200ms\"").await;
    let mut idle = TcpStream::connect(sidecar.clients).await.unwrap();
    let mut answer = [0; 1000];
    for _ in 0..2 {
        idle.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n").await.unwrap();
        // Neither a slow body nor the time between requests is a slow head; only time can show it.
        tokio::time::sleep(Duration::from_millis(400)).await;
        idle.write_all(b"ab").await.unwrap();
        let length = tokio::time::timeout(DEADLINE, idle.read(&mut answer)).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&answer[..length]);
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("ab"), "{text}");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    idle.write_all(b"GET / HT").await.unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, idle.read(&mut answer)).await.unwrap().unwrap(), 0);
    assert_eq!(send_raw(sidecar.clients, b"GET /").await, "");
    assert_eq!(sidecar.stop().await.exchanges.len(), 2);
}
