//! The admin listener: `GET /metrics`, `/live` and `/ready`, for the operator and not for clients.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Serves until `end`; not ready from `draining` on.
pub(crate) async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    draining: CancellationToken,
    end: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(crate::proxy::ACCEPT_PAUSE).await;
            continue;
        };
        let (registry, draining) = (Arc::clone(&registry), draining.clone());
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let response = answer(request.method(), request.uri().path(), &registry, &draining);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        let end = end.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = connection => {}
                () = end.cancelled() => {}
            }
        });
    }
}

fn answer(
    method: &Method,
    path: &str,
    registry: &Registry,
    draining: &CancellationToken,
) -> Response<Full<Bytes>> {
    let (status, kind, content) = match path {
        _ if method != Method::GET => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET only\n".into()),
        "/live" => (StatusCode::OK, PLAIN, "live\n".into()),
        "/ready" if draining.is_cancelled() => {
            (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "stopping\n".into())
        }
        "/ready" => (StatusCode::OK, PLAIN, "ready\n".into()),
        "/metrics" => {
            let mut content = String::new();
            match text::encode(&mut content, registry) {
                Ok(()) => (StatusCode::OK, OPENMETRICS, content),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
            }
        }
        _ => (StatusCode::NOT_FOUND, PLAIN, "/metrics, /live or /ready\n".into()),
    };
    let mut response = Response::new(Full::from(content));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
