//! The inmost service of both stacks: sends a request to where it belongs and returns the answer as it comes.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use crate::tee::Tee;

/// Fields that a head may have: what a service with generous limits accepts.
pub(crate) const HEADER_FIELDS_MAX: usize = 500;

/// An answer that streams, or the proxy's own.
pub(crate) type Answer = Either<Incoming, Full<Bytes>>;

/// Marks an answer that the proxy gave in the place of a service that gave none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unanswered;

/// Which `Host` the receiver sees.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Host {
    /// The client's: the service must not notice the proxy.
    Kept,
    /// The receiver's own: the service's base URL named the proxy.
    Own,
}

/// Sends requests to one authority and nowhere else, whatever their target says.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    client: Client<HttpConnector, Tee<Incoming>>,
    authority: Authority,
    host: Host,
}

impl Forward {
    /// Connects to `authority`; an idle connection is used again within `idle_max`.
    pub(crate) fn new(
        authority: Authority,
        host: Host,
        connect_timeout: Duration,
        idle_max: Duration,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .http1_preserve_header_case(true)
            .http1_max_headers(HEADER_FIELDS_MAX)
            .pool_idle_timeout(idle_max)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client, authority, host }
    }

    /// Turns a request into the one that is sent on; `None` where it asks for what a reverse proxy does not do.
    fn outgoing<B>(&self, mut request: Request<B>) -> Option<Request<B>> {
        if request.method() == Method::CONNECT {
            return None;
        }
        let named = match self.host {
            Host::Own => Some(self.authority.clone()),
            // A target in absolute form overrides the field (RFC 9112, section 3.2.2).
            Host::Kept => request.uri().authority().cloned(),
        };
        if let Some(value) = named.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            request.headers_mut().insert(HOST, value);
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        let target = request.uri().path_and_query().cloned();
        parts.path_and_query = Some(target.unwrap_or(PathAndQuery::from_static("/")));
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        *request.version_mut() = Version::HTTP_11;
        Some(request)
    }
}

impl Service<Request<Tee<Incoming>>> for Forward {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Answer>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Tee<Incoming>>) -> Self::Future {
        let Some(request) = self.outgoing(request) else {
            return async { Ok(own_answer(StatusCode::NOT_IMPLEMENTED)) }.boxed();
        };
        let answer = self.client.request(request);
        let authority = self.authority.clone();
        async move {
            Ok(match answer.await {
                Ok(mut response) => {
                    *response.version_mut() = Version::HTTP_11;
                    response.map(Either::Left)
                }
                Err(error) => {
                    // At this level because an outage of the service would flood the log; the counter is the alarm.
                    tracing::debug!(peer = %authority, error = chain(&error), "no answer");
                    own_answer(status_of(&error))
                }
            })
        }
        .boxed()
    }
}

/// Returns the status by which a gateway reports the failure (RFC 9110, sections 15.6.3 and 15.6.5).
fn status_of(error: &(dyn Error + 'static)) -> StatusCode {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut) {
            return StatusCode::GATEWAY_TIMEOUT;
        }
        cause = error.source();
    }
    StatusCode::BAD_GATEWAY
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn own_answer(status: StatusCode) -> Response<Answer> {
    let text = format!("{status}: answered by shadow-recorder\n");
    let mut response = Response::new(Either::Right(Full::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.extensions_mut().insert(Unanswered);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(host: Host) -> Forward {
        Forward::new(
            Authority::from_static("10.0.0.1:81"),
            host,
            Duration::from_secs(1),
            Duration::from_secs(1),
        )
    }

    fn check(host: Host, target: &str, expect: &str, expect_host: &str) {
        let request = Request::builder().uri(target).header(HOST, "books").body(()).unwrap();
        let sent = forward(host).outgoing(request).unwrap();
        assert_eq!(sent.uri().to_string(), expect, "{target}");
        assert_eq!(sent.headers()[HOST], expect_host, "{target}");
    }

    #[test]
    fn a_request_goes_to_the_configured_authority_only() {
        let to = |path: &str| format!("http://10.0.0.1:81{path}");
        check(Host::Kept, "/a%2Fb/../c?q=%20", &to("/a%2Fb/../c?q=%20"), "books");
        check(Host::Kept, "http://169.254.169.254/meta", &to("/meta"), "169.254.169.254");
        check(Host::Own, "http://169.254.169.254/meta", &to("/meta"), "10.0.0.1:81");
        check(Host::Own, "/", &to("/"), "10.0.0.1:81");
        let connect = Request::builder().method("CONNECT").uri("evil:443").body(()).unwrap();
        assert!(forward(Host::Kept).outgoing(connect).is_none());
    }

    #[test]
    fn a_timeout_is_told_from_a_refusal() {
        #[derive(Debug, thiserror::Error)]
        #[error("connect")]
        struct Outer(#[source] io::Error);
        let of = |kind: io::ErrorKind| status_of(&Outer(kind.into()));
        assert_eq!(of(io::ErrorKind::TimedOut), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(of(io::ErrorKind::ConnectionRefused), StatusCode::BAD_GATEWAY);
    }
}
