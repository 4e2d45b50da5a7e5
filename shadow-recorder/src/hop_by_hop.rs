//! A tower layer: fields that describe a connection stay on their side of the proxy (RFC 9110, section 7.6.1).

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Request, Response};
use tower::Service;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes hop-by-hop fields from requests and answers.
#[derive(Clone, Debug)]
pub(crate) struct HopByHop<S> {
    pub(crate) inner: S,
}

impl<S, A, B> Service<Request<A>> for HopByHop<S>
where
    S: Service<Request<A>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        strip_request(request.headers_mut());
        let answer = self.inner.call(request);
        async move {
            let mut response = answer.await?;
            strip(response.headers_mut());
            Ok(response)
        }
        .boxed()
    }
}

/// Returns the field names that `Connection` lists, lower-case.
pub(crate) fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

/// Returns whether a field is hop-by-hop, given the names that `Connection` lists.
pub(crate) fn is_hop_by_hop(name: &HeaderName, named: &[String]) -> bool {
    [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE].contains(name)
        || named.iter().any(|listed| listed == name.as_str())
}

fn strip_request(headers: &mut HeaderMap) {
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let trailers = headers
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
    strip(headers);
    if trailers {
        // Trailers pass through; TE must be announced on the new connection as on the old.
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if chunked {
        // The framing on the new connection. hyper would drop the body of a chunked GET without it.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn strip(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    // Content-Length and Host cannot be named away: they frame and route the message.
    let hop = |name: &HeaderName| {
        is_hop_by_hop(name, &named)
            && *name != http::header::CONTENT_LENGTH
            && *name != http::header::HOST
    };
    if !headers.keys().any(hop) {
        return;
    }
    // Rebuilt rather than removed from: `HeaderMap::remove` moves the last field into the gap.
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in &*headers {
        if !hop(name) {
            kept.append(name, value.clone());
        }
    }
    *headers = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&'static str, &'static str)], expect: &[(&str, &str)]) {
        let mut headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        strip_request(&mut headers);
        let left: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, expect);
    }

    #[test]
    fn what_connection_names_is_removed_and_the_order_kept() {
        check(
            &[
                ("a", "1"),
                ("connection", "close, X-Hop"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=5"),
                ("b", "2"),
                ("upgrade", "h2c"),
                ("proxy-connection", "keep-alive"),
                ("c", "3"),
            ],
            &[("a", "1"), ("b", "2"), ("c", "3")],
        );
        check(&[("a", "1"), ("b", "2")], &[("a", "1"), ("b", "2")]);
    }

    #[test]
    fn trailers_and_chunking_are_stated_anew() {
        check(
            &[("te", "gzip, trailers"), ("transfer-encoding", "chunked")],
            &[("te", "trailers"), ("connection", "te"), ("transfer-encoding", "chunked")],
        );
    }

    #[test]
    fn framing_and_routing_cannot_be_named_away() {
        check(
            &[("connection", "content-length, host"), ("content-length", "5"), ("host", "h")],
            &[("content-length", "5"), ("host", "h")],
        );
    }
}
