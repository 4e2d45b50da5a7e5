//! The little HTTP that the example's own programs need.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpListener;

/// A JSON client that keeps its connections.
pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// Trace context, passed on as OpenTelemetry's propagators do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context(Vec<(&'static str, String)>);

/// What a handler is given.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) context: Context,
    pub(crate) body: Value,
}

pub(crate) fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Serves JSON until the process ends.
pub(crate) async fn serve<H, F>(listen: SocketAddr, handler: H) -> anyhow::Result<()>
where
    H: Fn(Asked) -> F + Send + Sync + 'static,
    F: Future<Output = (u16, String)> + Send,
{
    let listener = TcpListener::bind(listen).await?;
    let handler = Arc::new(handler);
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        let handler = handler.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let handler = handler.clone();
                async move { Ok::<_, Infallible>(answer(&*handler, request).await) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer<H, F>(handler: &H, request: http::Request<Incoming>) -> http::Response<Full<Bytes>>
where
    H: Fn(Asked) -> F,
    F: Future<Output = (u16, String)>,
{
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let passed_on = ["traceparent", "tracestate"].into_iter().filter_map(|name| {
        head.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(|value| (name, value.to_owned()))
    });
    let asked = Asked {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map_or("/".into(), ToString::to_string),
        context: Context(passed_on.collect()),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    let (status, body) = handler(asked).await;
    let mut answer = http::Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    answer
}

/// Asks for JSON; a status of 400 and above is an error.
pub(crate) async fn ask(
    client: &HttpClient,
    method: &str,
    url: &str,
    context: &Context,
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let mut request =
        http::Request::builder().method(method).uri(url).header("content-type", "application/json");
    for (name, value) in &context.0 {
        request = request.header(*name, value);
    }
    let body = body.map(ToString::to_string).unwrap_or_default();
    let answer = client.request(request.body(Full::new(Bytes::from(body)))?).await?;
    let status = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes();
    anyhow::ensure!(
        status.as_u16() < 400,
        "{method} {url} answered {status}: {}",
        String::from_utf8_lossy(&bytes)
    );
    Ok(serde_json::from_slice(&bytes)?)
}
