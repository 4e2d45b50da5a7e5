//! The inmost service of both stacks: sends a request to where it belongs and returns the answer as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::upgrade::OnUpgrade;
use tower::Service;

use crate::hop_by_hop;
use crate::link::{End, Link, Tunnel};
use crate::pinned::{NoAnswer, Pinned, Sending};
use crate::received::Received;
use crate::sent::Sent;
use crate::tee::Tee;

/// An answer that streams, or the proxy's own.
pub(crate) type Answer = Either<Received, Full<Bytes>>;

/// Marks an answer that the proxy gave in the place of a service that gave none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unanswered;

/// Which `Host` the receiver sees.
#[derive(Clone, Debug)]
pub(crate) enum Host {
    /// The client's: the service must not notice the proxy.
    Kept,
    /// The receiver's own: the service's base URL named the proxy.
    Own(Authority),
}

/// Sends requests to one peer and nowhere else, whatever their target says.
pub(crate) struct Forward {
    pinned: Arc<Pinned<Tee<Received>>>,
    link: Arc<Link>,
    host: Host,
}

impl Service<Request<Tee<Received>>> for Forward {
    type Response = Response<Answer>;
    type Error = NoAnswer;
    type Future = Forwarding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAnswer>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Tee<Received>>) -> Self::Future {
        address(&self.host, &mut request);
        self.pass_interim(&mut request);
        let upgrade = wants_upgrade(&request).then(|| hyper::upgrade::on(&mut request));
        let request = request.map(|body| Sent::new(body, Arc::clone(&self.link)));
        let answer = self.pinned.send(request);
        Forwarding { answer, upgrade, broken: None, link: Arc::clone(&self.link) }
    }
}

/// The answer to come, from the service or in its place.
pub(crate) struct Forwarding {
    answer: Sending,
    upgrade: Option<OnUpgrade>,
    broken: Option<NoAnswer>,
    link: Arc<Link>,
}

impl Future for Forwarding {
    type Output = Result<Response<Answer>, NoAnswer>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        let error = match ready!(self.answer.as_mut().poll(context)) {
            Ok(response) => return Poll::Ready(Ok(self.given(response))),
            Err(error) => error,
        };
        if let Some(status) = error.status() {
            // At this level because an outage of the service would flood the log; the counter is the alarm.
            tracing::debug!(error = format!("{:#}", anyhow::Error::new(error)), "no answer");
            return Poll::Ready(Ok(own_answer(status)));
        }
        if self.link.has_interim() {
            // The client's connection ends with the error; what was said before is to be sent first.
            self.broken = Some(error);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Err(error))
    }
}

impl Forwarding {
    fn given(&mut self, mut response: Response<Received>) -> Response<Answer> {
        match (self.upgrade.take(), is_upgraded(&response)) {
            (Some(client), true) => {
                let service = End::Upgraded(hyper::upgrade::on(&mut response));
                self.link.upgrade(Tunnel { client, service });
                response.map(Either::Left)
            }
            // Nobody asked for another protocol, or for other codings than `chunked`.
            (None, true) => own_answer(StatusCode::BAD_GATEWAY),
            (_, false) if !is_plainly_framed(&response) => own_answer(StatusCode::BAD_GATEWAY),
            (_, false) => {
                frame_once(response.headers_mut());
                response.map(Either::Left)
            }
        }
    }
}

impl Forward {
    pub(crate) fn new(pinned: Pinned<Tee<Received>>, link: Arc<Link>, host: Host) -> Self {
        Self { pinned: Arc::new(pinned), link, host }
    }

    /// Passes interim answers on as they come, `100 Continue` among them (RFC 9110, section 15.2).
    fn pass_interim(&self, request: &mut Request<Tee<Received>>) {
        // HTTP/1.0 knows none, and those of HTTP/2 take no detour.
        if request.version() != Version::HTTP_11 {
            return;
        }
        let link = Arc::clone(&self.link);
        hyper::ext::on_informational(request, move |interim| {
            let mut headers = interim.headers().clone();
            hop_by_hop::strip_interim(&mut headers);
            link.push_interim(interim.status(), &headers);
        });
    }
}

/// Turns a request into the one that is sent on.
fn address<B>(host: &Host, request: &mut Request<B>) {
    let is_http2 = request.version() == Version::HTTP_2;
    let named = match host {
        Host::Own(authority) => Some(authority.clone()),
        // A target in absolute form overrides the field (RFC 9112, section 3.2.2).
        Host::Kept => request.uri().authority().cloned(),
    };
    if request.method() == Method::CONNECT {
        return;
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    if is_http2 {
        parts.scheme.get_or_insert(http::uri::Scheme::HTTP);
        let of_field = || {
            request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok())
        };
        parts.authority = named.or_else(of_field);
    } else {
        if let Some(value) = named.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            request.headers_mut().insert(HOST, value);
        }
        (parts.scheme, parts.authority) = (None, None);
    }
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// Returns whether the request asks for another protocol on its connection.
fn wants_upgrade<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE)
}

/// Returns whether both sides left HTTP with this answer.
fn is_upgraded(response: &Response<Received>) -> bool {
    response.extensions().get::<OnUpgrade>().is_some()
}

/// States the length once: hyper accepts `5, 5`, and a length beside `chunked`, and would pass them on (RFC 9112, section 6.3).
fn frame_once(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(length), second) = (lengths.next(), lengths.next()) else { return };
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    } else if second.is_some() || length.as_bytes().contains(&b',') {
        let first = length.to_str().unwrap_or_default().split(',').next().unwrap_or_default();
        if let Ok(length) = HeaderValue::from_str(first.trim()) {
            headers.insert(CONTENT_LENGTH, length);
        }
    }
}

/// Returns whether the body is framed by its length, by `chunked` alone, or by the end of the connection.
fn is_plainly_framed(response: &Response<Received>) -> bool {
    let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Returns an answer of the proxy's own.
pub(crate) fn own_answer(status: StatusCode) -> Response<Answer> {
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

    fn check(host: &Host, version: Version, target: &str, expect: &str, expect_host: &str) {
        let mut request =
            Request::builder().uri(target).version(version).header(HOST, "books").body(()).unwrap();
        address(host, &mut request);
        assert_eq!(request.uri().to_string(), expect, "{target}");
        assert_eq!(request.headers()[HOST], expect_host, "{target}");
    }

    #[test]
    fn a_request_is_addressed_to_the_peer() {
        let own = Host::Own(Authority::from_static("10.0.0.1:81"));
        let old = Version::HTTP_11;
        check(&Host::Kept, old, "/a%2Fb/../c?q=%20", "/a%2Fb/../c?q=%20", "books");
        check(&Host::Kept, old, "http://169.254.169.254/meta", "/meta", "169.254.169.254");
        check(&Host::Kept, old, "*", "*", "books");
        check(&own, old, "http://169.254.169.254/meta", "/meta", "10.0.0.1:81");
        check(&own, old, "/", "/", "10.0.0.1:81");
        let new = Version::HTTP_2;
        check(&Host::Kept, new, "http://ledger:8080/a?b", "http://ledger:8080/a?b", "books");
        check(&own, new, "http://127.0.0.1:9101/a?b", "http://10.0.0.1:81/a?b", "books");
    }
}
