//! The candidate: a server that answers every request at once with the same booking, after two calls to its upstream where it has one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// What it answers: two transactions of two lines each.
pub(crate) const ANSWER: &str = r#"{"transactions":[{"id":"fare","lob":"Rides","entries":[{"account":"1100","debit":12.50,"credit":0},{"account":"4000","debit":0,"credit":12.50}]},{"id":"fee","lob":"Rides","entries":[{"account":"1100","debit":2.50,"credit":0},{"account":"4100","debit":0,"credit":2.50}]}]}"#;
/// What its upstream answers.
pub(crate) const RATE: &str = r#"{"from":"USD","to":"EUR","rate":"0.9231"}"#;

/// Where it listens.
#[derive(Debug, clap::Args)]
pub(crate) struct Listen {
    address: SocketAddr,
    /// Calls this upstream twice for every request.
    #[arg(long)]
    upstream: Option<SocketAddr>,
}

/// Serves until it is killed.
pub(crate) fn run(listen: &Listen) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen.address).await?;
        let upstream = listen.upstream;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let calls = Arc::new(Mutex::new(None));
            let service = service_fn(move |request| {
                let calls = Arc::clone(&calls);
                async move {
                    let answered = answer(request, upstream, &calls).await;
                    let failed = |error: anyhow::Error| {
                        let mut answer = Response::new(Full::new(error.to_string().into()));
                        *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                        answer
                    };
                    Ok::<_, Infallible>(answered.unwrap_or_else(failed))
                }
            });
            let served = http1::Builder::new()
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(served);
        }
    })
}

type Sender = client::SendRequest<Full<Bytes>>;

async fn answer(
    request: Request<Incoming>,
    upstream: Option<SocketAddr>,
    calls: &Mutex<Option<Sender>>,
) -> Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    body.collect().await?;
    if let Some(address) = upstream {
        // One connection of its own for each connection to it.
        let mut calls = calls.lock().await;
        if calls.as_ref().is_none_or(Sender::is_closed) {
            *calls = Some(connect(address).await?);
        }
        let sender = calls.as_mut().context("it was just connected")?;
        for n in 0..2 {
            call(sender, n, &head.headers).await?;
        }
    }
    let mut answer = Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())));
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert("content-type", json);
    Ok(answer)
}

async fn connect(address: SocketAddr) -> Result<Sender> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn call(sender: &mut Sender, n: usize, carried: &http::HeaderMap) -> Result<()> {
    let mut request = Request::get(format!("/rate/{n}")).header("host", "fx.internal");
    for name in ["traceparent", "tracestate"] {
        if let Some(value) = carried.get(name) {
            request = request.header(name, value);
        }
    }
    sender.ready().await?;
    let answer = sender.send_request(request.body(Full::default())?).await?;
    anyhow::ensure!(answer.status() == 200, "the upstream answered {}", answer.status());
    answer.into_body().collect().await?;
    Ok(())
}
