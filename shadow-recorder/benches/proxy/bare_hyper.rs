//! A bare hyper proxy, the measure of what the recorder adds: hyper's server and hyper-util's pooling client as they come, on one
//! thread, with nothing between them but the removal of hop-by-hop fields.

use std::net::SocketAddr;

use anyhow::Result;
use http::header::{CONNECTION, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// From where to where.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Route {
    /// Where to listen.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Where to send every request.
    #[arg(long)]
    pub(crate) to: SocketAddr,
}

/// Proxies until it is killed.
pub(crate) fn run(route: &Route) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(route))
}

async fn serve(route: &Route) -> Result<()> {
    let listener = TcpListener::bind(route.listen).await?;
    let to = Authority::try_from(route.to.to_string())?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, to) = (client.clone(), to.clone());
        tokio::spawn(async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                strip(request.headers_mut());
                *request.uri_mut() = target(request.uri(), &to);
                *request.version_mut() = Version::HTTP_11;
                let answer = client.request(request);
                async move {
                    let mut answer = answer.await?;
                    strip(answer.headers_mut());
                    Ok::<_, hyper_util::client::legacy::Error>(answer)
                }
            });
            // What goes wrong on a connection is seen at its other end.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn target(uri: &Uri, to: &Authority) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(to.clone());
    let path = uri.path_and_query().cloned();
    parts.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).expect("all three parts are given")
}

fn strip(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    if let Some(named) = headers.remove(CONNECTION) {
        for name in named.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}
