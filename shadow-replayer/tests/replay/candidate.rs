//! A candidate that a test plays: an HTTP/1.1 server in the test's own process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the candidate was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: http::Version,
    /// The host that HTTP/2 names in the target; empty with HTTP/1.1.
    pub(crate) authority: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What it answers.
pub(crate) type Reply = http::Response<Full<Bytes>>;

pub(crate) fn reply(status: u16, body: impl Into<String>) -> Reply {
    let mut reply = http::Response::new(Full::new(Bytes::from(body.into())));
    *reply.status_mut() = http::StatusCode::from_u16(status).unwrap();
    reply.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    reply
}

type Handler = dyn Fn(Asked) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync;

/// A running candidate; it ends when it is dropped.
pub(crate) struct Candidate {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

impl Candidate {
    /// Answers every request as `answer` says.
    pub(crate) async fn start<F>(answer: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Handler> = Arc::new(move |asked| Box::pin(answer(asked)));
        let log = Arc::clone(&asked);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                tokio::spawn(async move {
                    let service = service_fn(move |request: http::Request<Incoming>| {
                        let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                        async move {
                            let asked = read(request).await;
                            log.lock().unwrap().push(asked.clone());
                            Ok::<_, Infallible>(handler(asked).await)
                        }
                    });
                    // How the replayer ends its connections is its affair.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, asked, accepting }
    }

    /// Answers every request with this.
    pub(crate) async fn always(status: u16, body: impl Into<String>) -> Self {
        let body = body.into();
        Self::start(move |_| {
            let reply = reply(status, body.clone());
            async move { reply }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn read(request: http::Request<Incoming>) -> Asked {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Asked {
        method: head.method.to_string(),
        version: head.version,
        authority: head.uri.authority().map_or_else(String::new, ToString::to_string),
        target: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}
