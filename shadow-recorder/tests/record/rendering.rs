//! What is recorded of content that is no plain text, and of what follows it. Over HTTP/1, which carries any content type.

use std::io::Write;
use std::net::SocketAddr;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;
use http_body_util::Full;
use shadow_recorder::exchange::{Omission, Rendering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::*;
use crate::protobuf::{booking, frame, recorded, write_descriptors};

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Reads a chunked request to its end and answers with trailers.
async fn with_trailers() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        let is_whole = |request: &[u8]| {
            request.windows(5).any(|at| at == b"\r\n0\r\n") && request.ends_with(b"\r\n\r\n")
        };
        while !is_whole(&request) {
            request.push(stream.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                       5\r\nhello\r\n0\r\nX-Sum: 7\r\nX-Access-Token: s3cret\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_are_recorded_on_both_sides_without_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let origin = with_trailers().await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                    2\r\nab\r\n0\r\nX-Check: 1\r\nCookie: s3cret\r\n\r\n";
    let answer = send_raw(sidecar.clients, request).await;
    assert!(answer.contains("hello"), "{answer}");
    let stored = sidecar.stop().await;
    let exchange = stored.only();
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    assert_eq!(exchange.request.trailers, pair("x-check", "1"));
    assert_eq!(exchange.request.body.text.as_deref(), Some("ab"));
    let response = exchange.response.as_ref().unwrap();
    assert_eq!(response.trailers, pair("x-sum", "7"));
    assert_eq!(response.body.text.as_deref(), Some("hello"));
    assert!(!stored.text.contains("s3cret"), "{}", stored.text);
}

/// A call that carries a booking.
fn grpc(target: &str, content: Vec<u8>) -> Request<Full<bytes::Bytes>> {
    let request = Request::post(target).header("content-type", "application/grpc");
    request.header("grpc-encoding", "gzip").body(Full::from(content)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_descriptors_messages_are_recorded_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let configured = write_descriptors(folder.path());
    let origin = server(async |request| {
        let mut answer = text(request.into_body());
        answer.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
        answer.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
        answer
    })
    .await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], &configured).await;
    let one = frame(&booking(0, "USD"), false);
    let two = [one.clone(), frame(&gzip(&booking(-5, "EUR")), true)].concat();
    let lines = [recorded(0, "USD"), "\n".into(), recorded(-5, "EUR"), "\n".into()].concat();
    let expected = [
        ("/books.Ledger/Book", one, Ok((recorded(0, "USD"), Rendering::GrpcMessage))),
        ("/books.Ledger/Stream", two.clone(), Ok((lines, Rendering::GrpcStream))),
        ("/books.Ledger/Other", two, Err(Omission::UnknownSchema)),
    ];
    for (target, content, _) in &expected {
        let answer = send(sidecar.clients, grpc(target, content.clone())).await;
        assert_eq!(answer.body(), content, "what passes is not touched");
    }
    let stored = sidecar.stop().await;
    for ((target, content, expected), exchange) in expected.into_iter().zip(&stored.exchanges) {
        for body in [&exchange.request.body, &exchange.response.as_ref().unwrap().body] {
            let rendered = body.text.clone().zip(body.rendering);
            assert_eq!(rendered.ok_or_else(|| body.omitted.unwrap()), expected, "{target}");
            assert_eq!(body.wire_bytes, content.len() as u64);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_messages_are_omitted_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let origin = server(async |_| text("not gRPC")).await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    // All of it is ASCII, and would pass for text.
    let content = frame(&booking(1, "USD"), false);
    send(sidecar.clients, grpc("/books.Ledger/Book", content)).await;
    sidecar.until("shadow_recorder_bodies_omitted_total{reason=\"grpc\"}", 1).await;
    let stored = sidecar.stop().await;
    let exchange = stored.only();
    assert_eq!(exchange.request.body.omitted, Some(Omission::Grpc));
    assert_eq!(exchange.response.as_ref().unwrap().body.text.as_deref(), Some("not gRPC"));
}
