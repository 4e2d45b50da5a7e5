//! Stands between a client and the S3 server, and does to requests and answers what networks and servers do.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It passes.
    None,
    /// It is answered with an error instead.
    Status(u16, &'static str),
    /// Its answer comes a byte at a time.
    Slow,
    /// Its answer ends in the middle.
    Truncated,
    /// One bit of its answer's body is another.
    Damaged,
    /// It reaches the server, and its answer nobody.
    LostAnswer,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The proxy. It passes everything until told otherwise.
pub(crate) struct Faults {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

struct State {
    server: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    /// For the next requests.
    next: Mutex<VecDeque<Fault>>,
    /// For all that come after.
    then: Mutex<Fault>,
    /// The method and the target of each request.
    seen: Mutex<Vec<String>>,
}

impl Faults {
    pub(crate) async fn start() -> Self {
        let endpoint = variable("SHADOW_TEST_S3_ENDPOINT");
        let state = State {
            server: endpoint.strip_prefix("http://").unwrap().parse().unwrap(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            next: Mutex::default(),
            then: Mutex::new(Fault::None),
            seen: Mutex::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(state);
        let accepting = Some(tokio::spawn(accept(listener, Arc::clone(&state))));
        Self { address, state, accepting }
    }

    /// What happens to the next requests, one each; those after them pass.
    pub(crate) fn next(&self, faults: &[Fault]) {
        *self.state.then.lock().unwrap() = Fault::None;
        *self.state.next.lock().unwrap() = faults.iter().copied().collect();
    }

    /// What happens to every request from now on.
    pub(crate) fn all(&self, fault: Fault) {
        self.state.next.lock().unwrap().clear();
        *self.state.then.lock().unwrap() = fault;
    }

    /// Refuses connections, and ends those that are open.
    pub(crate) async fn down(&mut self) {
        let accepting = self.accepting.take().unwrap();
        accepting.abort();
        let _ = accepting.await;
    }

    /// Accepts connections again, at the same address.
    pub(crate) async fn up(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.state))));
    }

    /// Returns the requests so far that contain a text.
    pub(crate) fn seen(&self, text: &str) -> usize {
        self.state.seen.lock().unwrap().iter().filter(|seen| seen.contains(text)).count()
    }
}

/// Reads a variable that tests/run sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run tests/run, which starts an S3 server, Garage")
    })
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    state.seen.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
    let next = state.next.lock().unwrap().pop_front();
    let fault = next.unwrap_or(*state.then.lock().unwrap());
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if let Fault::Status(status, code) = fault {
        let text = format!("<Error><Code>{code}</Code><Message>as the test asks</Message></Error>");
        let text = if head.method == Method::HEAD { String::new() } else { text };
        let answer = Response::builder().status(StatusCode::from_u16(status).unwrap());
        return Ok(answer.body(whole(text.into())).unwrap());
    }
    // The Host field stays as it is: it is signed.
    head.uri = format!("http://{}{}", state.server, head.uri).parse().unwrap();
    let answer = state.client.request(Request::from_parts(head, Full::new(body))).await;
    let (head, body) = answer.map_err(io::Error::other)?.into_parts();
    let mut bytes = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
    let body = match fault {
        Fault::LostAnswer => return Err(io::ErrorKind::ConnectionReset.into()),
        Fault::Truncated => {
            bytes.truncate(bytes.len() / 2);
            // What was sent must have gone before the connection does.
            let end = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(io::ErrorKind::ConnectionReset.into())
            });
            streamed(stream::iter([Ok(bytes.into())]).chain(end))
        }
        Fault::Slow => streamed(stream::iter(bytes).then(async |byte| {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(Bytes::from(vec![byte]))
        })),
        Fault::Damaged => {
            let last = bytes.last_mut();
            if let Some(last) = last {
                *last ^= 1;
            }
            whole(bytes.into())
        }
        Fault::None | Fault::Status(..) => whole(bytes.into()),
    };
    Ok(Response::from_parts(head, body))
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn streamed(chunks: impl stream::Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}
