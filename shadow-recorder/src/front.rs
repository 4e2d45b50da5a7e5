//! The outmost layer of a client's connection: says when a request begins and ends, and refuses what no recipient may accept.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use prometheus_client::metrics::counter::Counter;
use tower::Service;

use crate::forward::own_answer;
use crate::link::{InProgress, Link};

/// Stands before the stack of a connection.
pub(crate) struct Front<S> {
    pub(crate) inner: S,
    /// Whether `CONNECT` may be asked for.
    pub(crate) tunnels: bool,
    pub(crate) link: Arc<Link>,
    pub(crate) requests_refused: Counter,
}

impl<S, A, B> Service<Request<A>> for Front<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<Either<InProgressBody<B>, Full<Bytes>>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let in_progress = Some(self.link.begin());
        if let Some(status) = refusal(&request, self.tunnels) {
            self.requests_refused.inc();
            return Answering { answer: None, refused: Some(status), in_progress };
        }
        Answering { answer: Some(self.inner.call(request)), refused: None, in_progress }
    }
}

/// Says whether a request is refused. What hyper's parser refuses never comes here.
fn refusal<B>(request: &Request<B>, tunnels: bool) -> Option<StatusCode> {
    let is_connect = request.method() == Method::CONNECT;
    // A stream of HTTP/2 becomes no tunnel here.
    if is_connect && (!tunnels || request.version() == Version::HTTP_2) {
        return Some(StatusCode::NOT_IMPLEMENTED);
    }
    // A target that is an authority alone is for CONNECT (RFC 9112, section 3.2.3).
    if request.uri().authority().is_some() && request.uri().scheme().is_none() && !is_connect {
        return Some(StatusCode::BAD_REQUEST);
    }
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    let is_http1 = request.version() < Version::HTTP_2;
    // RFC 9112, section 3.2.
    if second.is_some() || request.version() == Version::HTTP_11 && host.is_none() {
        return Some(StatusCode::BAD_REQUEST);
    }
    if let Some(host) = host
        && !is_host(host.as_bytes())
    {
        return Some(StatusCode::BAD_REQUEST);
    }
    if !is_http1 {
        return malformed_http2(request, host).then_some(StatusCode::BAD_REQUEST);
    }
    // Codings under `chunked` belong to the connection, and nobody was asked to remove them (RFC 9112, section 6.1).
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => None,
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => None,
        _ => Some(StatusCode::NOT_IMPLEMENTED),
    }
}

/// Returns whether an HTTP/2 request is malformed in what h2 lets pass (RFC 9113, sections 8.2.1 and 8.3.1).
fn malformed_http2<B>(request: &Request<B>, host: Option<&HeaderValue>) -> bool {
    let uri = request.uri();
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let differs = host
        .zip(authority)
        .is_some_and(|(host, authority)| !authority.eq_ignore_ascii_case(host.as_bytes()));
    let is_blank = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let is_padded = |value: &HeaderValue| {
        is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last())
    };
    // What a request is for must be said (RFC 9113, section 8.3.1).
    authority.is_none() && host.is_none()
        || differs
        || authority.is_some_and(|authority| !is_host(authority))
        || uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https"))
        || request.headers().values().any(is_padded)
}

/// Returns whether a `Host` is `host [":" port]` (RFC 9110, section 7.2); it is empty for targets that have no authority.
// By hand, because parsing into an authority copies it, for every request.
fn is_host(value: &[u8]) -> bool {
    let bracket = value.iter().rposition(|byte| *byte == b']');
    let colon = value.iter().rposition(|byte| *byte == b':');
    let port = colon.filter(|colon| bracket.is_none_or(|bracket| bracket < *colon));
    let (host, port) = value.split_at(port.unwrap_or(value.len()));
    let in_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    let is_literal = host.first() == Some(&b'[') && host.last() == Some(&b']');
    let is_name = host.iter().all(in_host)
        || is_literal && host.iter().all(|byte| in_host(byte) || b":[]".contains(byte));
    is_name && port.iter().skip(1).all(u8::is_ascii_digit)
}

pin_project! {
    /// The answer of the inner service, or a refusal.
    pub(crate) struct Answering<F> {
        #[pin]
        answer: Option<F>,
        refused: Option<StatusCode>,
        in_progress: Option<InProgress>,
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Either<InProgressBody<B>, Full<Bytes>>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(answer) = this.answer.as_pin_mut() else {
            let status = this.refused.take().unwrap_or(StatusCode::BAD_REQUEST);
            return Poll::Ready(Ok(refuse(status)));
        };
        let mut response = ready!(answer.poll(context))?;
        let in_progress = this.in_progress.take();
        let is_http1 = response.version() < Version::HTTP_2;
        if is_http1 && in_progress.as_ref().is_some_and(|it| it.0.is_closing.load(Relaxed)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(
            response.map(|inner| Either::Left(InProgressBody { inner, _in_progress: in_progress }))
        ))
    }
}

fn refuse<B>(status: StatusCode) -> Response<Either<B, Full<Bytes>>> {
    let mut response = own_answer(status).map(|body| match body {
        Either::Left(_) => Either::Right(Full::default()),
        Either::Right(text) => Either::Right(text),
    });
    // What follows a malformed request may have been a part of it.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer's body, with whose end the request ends.
#[derive(Debug)]
pub(crate) struct InProgressBody<B> {
    inner: B,
    _in_progress: Option<InProgress>,
}

impl<B: Body + Unpin> Body for InProgressBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: Version, fields: &[(&str, &str)], expect: Option<u16>) {
        let mut request = Request::builder().uri("http://ledger/").version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let refused = refusal(&request.body(()).unwrap(), false).map(|status| status.as_u16());
        assert_eq!(refused, expect, "{version:?} {fields:?}");
    }

    #[test]
    fn a_host_is_one_and_a_host() {
        let v = Version::HTTP_11;
        check(v, &[("host", "ledger:8080")], None);
        check(v, &[("host", "[::1]:80")], None);
        check(v, &[("host", "")], None);
        check(v, &[], Some(400));
        check(v, &[("host", "a"), ("host", "a")], Some(400));
        for bad in ["a b", "user@a", "a/b", "a:b", "a:1:2", "[::1", "a]", "::1", "\u{e4}"] {
            check(v, &[("host", bad)], Some(400));
        }
        check(Version::HTTP_10, &[], None);
        check(Version::HTTP_2, &[("host", "LEDGER")], None);
        check(Version::HTTP_2, &[("host", "other")], Some(400));
        for (fields, expect) in [(&[][..], Some(StatusCode::BAD_REQUEST)), (&["ledger"], None)] {
            let mut request = Request::get("/").version(Version::HTTP_2);
            for host in fields {
                request = request.header(HOST, *host);
            }
            assert_eq!(refusal(&request.body(()).unwrap(), false), expect, "{fields:?}");
        }
    }

    #[test]
    fn a_stream_of_http_2_becomes_no_tunnel() {
        for (version, tunnels, expect) in [
            (Version::HTTP_11, true, None),
            (Version::HTTP_11, false, Some(StatusCode::NOT_IMPLEMENTED)),
            (Version::HTTP_2, true, Some(StatusCode::NOT_IMPLEMENTED)),
        ] {
            let request = Request::connect("ledger:443").version(version).header(HOST, "ledger");
            assert_eq!(refusal(&request.body(()).unwrap(), tunnels), expect, "{version:?}");
        }
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        for (coding, expect) in [
            (vec!["Chunked"], None),
            (vec!["gzip, chunked"], Some(501)),
            (vec!["gzip", "chunked"], Some(501)),
            (vec!["chunked", "chunked"], Some(501)),
        ] {
            let mut fields = vec![("host", "a")];
            fields.extend(coding.iter().map(|coding| ("transfer-encoding", *coding)));
            check(Version::HTTP_11, &fields, expect);
        }
    }
}
