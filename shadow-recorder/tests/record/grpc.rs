//! gRPC as it is: HTTP/2 with prior knowledge on both sides of the proxy, by `h2` itself.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use shadow_recorder::exchange::{Body, End, Exchange, Omission, Rendering, header};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::harness::*;
use crate::protobuf::{booking, frame, recorded, write_descriptors};

const BOOK: &str = "/books.Ledger/Book";
const STREAM: &str = "/books.Ledger/Stream";
const REFUSE: &str = "/books.Ledger/Refuse";

/// An answer as its client sees it.
#[derive(Debug, PartialEq)]
struct Answered {
    content: Vec<u8>,
    /// Where the status was, and what it was.
    status: (&'static str, HeaderValue),
}

fn ended(place: &'static str, status: &'static str) -> (&'static str, HeaderValue) {
    (place, HeaderValue::from_static(status))
}

fn request(path: &str) -> Request<()> {
    let request = Request::post(format!("http://books{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(()).unwrap()
}

async fn connect(to: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (client, connection) =
        timeout(DEADLINE, h2::client::handshake(stream)).await.unwrap().unwrap();
    tokio::spawn(connection);
    client
}

/// Makes a call of one message and reads the answer to its end.
async fn call(client: &SendRequest<Bytes>, request: Request<()>, content: Vec<u8>) -> Answered {
    let calling = async {
        let mut client = client.clone().ready().await.unwrap();
        let (answer, mut stream) = client.send_request(request, false).unwrap();
        stream.send_data(content.into(), true).unwrap();
        let (head, mut body) = answer.await.unwrap().into_parts();
        assert_eq!(
            (head.status.as_u16(), &head.headers["content-type"]),
            (200, &"application/grpc".parse().unwrap())
        );
        let content = rest(&mut body).await;
        let trailers = body.trailers().await.unwrap();
        let in_head = head.headers.get("grpc-status").map(|status| ("head", status.clone()));
        let status = in_head.or_else(|| Some(("trailers", trailers?.get("grpc-status")?.clone())));
        Answered { content, status: status.expect("a status") }
    };
    timeout(DEADLINE, calling).await.expect("the call ends")
}

/// Reads what is left of a body.
async fn rest(body: &mut RecvStream) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        content.extend_from_slice(&data);
    }
    content
}

/// A service that books: `Book` answers with what it was sent, once it has asked `fx` the same if there is one; `Stream` with
/// each message as it comes; `Refuse` with a status alone.
async fn service(egress: Egress) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let egress = Arc::clone(&egress);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond, Arc::clone(&egress)));
                }
            });
        }
    });
    address
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, egress: Egress) {
    let (head, mut body) = request.into_parts();
    assert_eq!(head.headers["te"], "trailers", "gRPC needs to know that trailers pass");
    let answer = Response::builder().header("content-type", "application/grpc");
    match head.uri.path() {
        REFUSE => {
            let answer = answer.header("grpc-status", "7").body(()).unwrap();
            respond.send_response(answer, true).unwrap();
        }
        STREAM => {
            let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                stream.send_data(data, false).unwrap();
            }
            finish(&mut stream);
        }
        _ => {
            let content = rest(&mut body).await;
            if let Some(fx) = egress.get().and_then(|egress| egress.get("fx")) {
                let mut asked = self::request(BOOK);
                for name in ["traceparent", "tracestate"] {
                    asked.headers_mut().insert(name, head.headers[name].clone());
                }
                call(&connect(*fx).await, asked, content.clone()).await;
            }
            let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
            stream.send_data(content.into(), false).unwrap();
            finish(&mut stream);
        }
    }
}

fn finish(stream: &mut SendStream<Bytes>) {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers).unwrap();
}

fn answered(exchange: &Exchange) -> &Body {
    &exchange.response.as_ref().unwrap().body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_and_the_call_made_for_it_are_recorded_with_their_status() {
    let folder = tempfile::tempdir().unwrap();
    let configured = write_descriptors(folder.path());
    let egress = Egress::default();
    let fx = service(Egress::default()).await;
    let origin = service(Arc::clone(&egress)).await;
    let sidecar = Sidecar::start(folder.path(), origin, &[("fx", fx)], &configured).await;
    egress.set(sidecar.egress.clone()).unwrap();
    let content = frame(&booking(9_007_199_254_740_993, "USD"), false);
    let client = connect(sidecar.clients).await;
    let answer = call(&client, request(BOOK), content.clone()).await;
    assert_eq!(answer, Answered { content, status: ended("trailers", "0") });
    let stored = sidecar.stop().await;

    let exchange = stored.only();
    assert_eq!((exchange.end, &*exchange.request.version), (End::Complete, "HTTP/2.0"));
    assert!(header(&exchange.request.headers, "host").is_some(), "a replay over HTTP/1 needs it");
    let [made] = &exchange.upstream[..] else { panic!("{:?}", exchange.upstream) };
    assert_eq!((&*made.name, made.end), ("fx", End::Complete));
    let text = recorded(9_007_199_254_740_993, "USD");
    let halves = [
        (&exchange.request.body, exchange.response.as_ref().unwrap()),
        (&made.request.body, made.response.as_ref().unwrap()),
    ];
    for (request, response) in halves {
        for body in [request, &response.body] {
            assert_eq!(body.text.as_deref(), Some(&*text));
            assert_eq!(body.rendering, Some(Rendering::GrpcMessage));
        }
        assert_eq!(header(&response.trailers, "grpc-status"), Some("0"));
    }
    let attributed: u64 = stored.manifests.iter().map(|manifest| manifest.calls.attributed).sum();
    assert_eq!(attributed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes_message_by_message_and_is_recorded_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let configured = write_descriptors(folder.path());
    let origin = service(Egress::default()).await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], &configured).await;
    let conversation = async {
        let mut client = connect(sidecar.clients).await.ready().await.unwrap();
        let (answer, mut stream) = client.send_request(request(STREAM), false).unwrap();
        let mut body = answer.await.unwrap().into_body();
        for amount in 1..=3 {
            // The next is sent when this one has come back: nothing on the way waits for an end.
            let message = frame(&booking(amount, "USD"), false);
            stream.send_data(message.clone().into(), false).unwrap();
            let mut echo = Vec::new();
            while echo.len() < message.len() {
                let data = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                echo.extend_from_slice(&data);
            }
            assert_eq!(echo, message);
        }
        stream.send_data(Bytes::new(), true).unwrap();
        assert_eq!(rest(&mut body).await, b"");
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    };
    timeout(DEADLINE, conversation).await.expect("the conversation ends");
    let stored = sidecar.stop().await;
    let exchange = stored.only();
    let lines: String = (1..=3).map(|amount| recorded(amount, "USD") + "\n").collect();
    for body in [&exchange.request.body, answered(exchange)] {
        assert_eq!(body.text.as_deref(), Some(&*lines));
        assert_eq!(body.rendering, Some(Rendering::GrpcStream));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_without_content_keeps_its_status_in_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let origin = service(Egress::default()).await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], "").await;
    let client = connect(sidecar.clients).await;
    let answer = call(&client, request(REFUSE), frame(&booking(1, "USD"), false)).await;
    assert_eq!(answer, Answered { content: Vec::new(), status: ended("head", "7") });
    sidecar.until("shadow_recorder_bodies_omitted_total{reason=\"grpc\"}", 1).await;
    let stored = sidecar.stop().await;
    let exchange = stored.only();
    let response = exchange.response.as_ref().unwrap();
    assert_eq!(header(&response.headers, "grpc-status"), Some("7"));
    assert_eq!((response.body.text.as_deref(), &*response.trailers), (Some(""), &[][..]));
    assert_eq!(exchange.request.body.omitted, Some(Omission::Grpc));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_side_by_side_on_one_connection_are_each_recorded_once() {
    let folder = tempfile::tempdir().unwrap();
    let configured = write_descriptors(folder.path());
    let origin = service(Egress::default()).await;
    let sidecar = Sidecar::start(folder.path(), origin, &[], &configured).await;
    let client = connect(sidecar.clients).await;
    let calls = (0..50).map(|amount| {
        let client = client.clone();
        tokio::spawn(async move {
            let content = frame(&booking(amount, "USD"), false);
            assert_eq!(call(&client, request(BOOK), content.clone()).await.content, content);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let stored = sidecar.stop().await;
    assert_eq!((stored.tally.observed, stored.tally.recorded), (50, 50));
    let mut texts: Vec<_> = stored.exchanges.iter().map(|e| answered(e).text.clone()).collect();
    texts.sort();
    let mut expected: Vec<_> = (0..50).map(|amount| Some(recorded(amount, "USD"))).collect();
    expected.sort();
    assert_eq!(texts, expected);
}
