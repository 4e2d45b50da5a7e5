//! A tower layer: fields that describe a connection stay on their side of the proxy (RFC 9110, section 7.6.1).
//!
//! What both connections have in common is kept as it stands: `Connection: keep-alive` and `close`, because the connections of a pair end
//! together; `Transfer-Encoding: chunked`; `TE: trailers`, because trailers pass; and an upgrade, because the connection then becomes a tunnel.

use std::task::{Context, Poll};

use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{Request, Response, StatusCode, Version};
use tower::Service;

use crate::trace_context::{TRACEPARENT, TRACESTATE};

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// These cannot be named away: they frame and route the message, and tell the service which exchange it works for.
const KEPT: [HeaderName; 4] = [CONTENT_LENGTH, HOST, TRACEPARENT, TRACESTATE];

/// Removes hop-by-hop fields from requests and answers.
#[derive(Clone, Debug)]
pub(crate) struct HopByHop<S> {
    pub(crate) inner: S,
}

type Strip<B> = fn(Response<B>) -> Response<B>;

impl<S, A, B> Service<Request<A>> for HopByHop<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = MapOk<S::Future, Strip<B>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        // h2c by upgrade is obsolete (RFC 9113, section 3.1): who offers it takes HTTP/1.1 as well.
        let kept = Kept {
            upgrade: request.version() == Version::HTTP_11 && !offers_h2c(request.headers()),
            connection: request.version() < Version::HTTP_2,
        };
        strip(request.headers_mut(), kept);
        self.inner.call(request).map_ok(strip_answer)
    }
}

fn strip_answer<B>(mut response: Response<B>) -> Response<B> {
    let kept = Kept {
        upgrade: [StatusCode::SWITCHING_PROTOCOLS, StatusCode::UPGRADE_REQUIRED]
            .contains(&response.status()),
        connection: response.version() < Version::HTTP_2,
    };
    strip(response.headers_mut(), kept);
    response
}

/// What of the connection's own fields goes on.
#[derive(Clone, Copy, Debug)]
struct Kept {
    upgrade: bool,
    connection: bool,
}

/// Removes the fields of an interim answer that describe its connection.
pub(crate) fn strip_interim(headers: &mut HeaderMap) {
    strip(headers, Kept { upgrade: false, connection: false });
}

/// Returns the field names that `Connection` lists, lower-case.
pub(crate) fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    tokens(headers, &CONNECTION).map(str::to_ascii_lowercase).collect()
}

/// Returns whether a field is hop-by-hop, given the names that `Connection` lists.
pub(crate) fn is_hop_by_hop(name: &HeaderName, named: &[String]) -> bool {
    [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, HTTP2_SETTINGS]
        .contains(name)
        || named.iter().any(|listed| listed == name.as_str())
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn offers_h2c(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && tokens(headers, &UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case("h2c"))
}

/// Returns whether nothing is to be removed: most messages carry no more than `Connection: keep-alive`.
fn is_plain(headers: &HeaderMap) -> bool {
    let both_have = |name: &HeaderName, expected: &str| match headers.get(name) {
        None => true,
        Some(value) => value.as_bytes().eq_ignore_ascii_case(expected.as_bytes()),
    };
    both_have(&CONNECTION, "keep-alive")
        && both_have(&TRANSFER_ENCODING, "chunked")
        && [KEEP_ALIVE, PROXY_CONNECTION, TE, UPGRADE, HTTP2_SETTINGS]
            .iter()
            .all(|name| !headers.contains_key(name))
}

fn strip(headers: &mut HeaderMap, kept: Kept) {
    if kept.connection && is_plain(headers) {
        return;
    }
    let named = named_by_connection(headers);
    let says = |option: &str| named.iter().any(|listed| listed == option);
    let upgrade = (kept.upgrade && says("upgrade")).then(|| headers.remove(UPGRADE)).flatten();
    let trailers = tokens(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let options: Vec<&str> = [
        (says("close"), "close"),
        (says("keep-alive"), "keep-alive"),
        (trailers, "te"),
        (upgrade.is_some(), "upgrade"),
    ]
    .into_iter()
    .filter_map(|(is_said, option)| is_said.then_some(option))
    .collect();
    remove_hops(headers, &named);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if !kept.connection {
        return;
    }
    if let Ok(options) = HeaderValue::from_str(&options.join(", "))
        && !options.is_empty()
    {
        headers.insert(CONNECTION, options);
    }
    if let Some(protocol) = upgrade {
        headers.insert(UPGRADE, protocol);
    }
    if chunked {
        // The framing on the new connection. hyper would drop the body of a chunked GET without it.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn remove_hops(headers: &mut HeaderMap, named: &[String]) {
    let hop = |name: &HeaderName| is_hop_by_hop(name, named) && !KEPT.contains(name);
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

    const ALL: Kept = Kept { upgrade: true, connection: true };

    fn check(kept: Kept, fields: &[(&'static str, &'static str)], expect: &[(&str, &str)]) {
        let mut headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        strip(&mut headers, kept);
        let left: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, expect);
    }

    #[test]
    fn what_connection_names_is_removed_and_the_order_kept() {
        let fields = [
            ("a", "1"),
            ("connection", "Close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("b", "2"),
            ("upgrade", "websocket"),
            ("proxy-connection", "keep-alive"),
            ("c", "3"),
        ];
        check(ALL, &fields, &[("a", "1"), ("b", "2"), ("c", "3"), ("connection", "close")]);
        check(ALL, &[("a", "1"), ("b", "2")], &[("a", "1"), ("b", "2")]);
        check(
            ALL,
            &[("connection", "keep-alive"), ("b", "2")],
            &[("connection", "keep-alive"), ("b", "2")],
        );
    }

    #[test]
    fn trailers_and_chunking_are_stated_anew() {
        let fields = [("te", "gzip, trailers"), ("transfer-encoding", "chunked")];
        let stated = [("te", "trailers"), ("connection", "te"), ("transfer-encoding", "chunked")];
        check(ALL, &fields, &stated);
        check(Kept { upgrade: false, connection: false }, &fields, &stated[..1]);
    }

    #[test]
    fn framing_and_routing_cannot_be_named_away() {
        check(
            ALL,
            &[("connection", "content-length, host"), ("content-length", "5"), ("host", "h")],
            &[("content-length", "5"), ("host", "h")],
        );
    }

    #[test]
    fn an_upgrade_goes_on_where_it_may() {
        let fields = [("connection", "Upgrade"), ("upgrade", "websocket"), ("a", "1")];
        check(ALL, &fields, &[("a", "1"), ("connection", "upgrade"), ("upgrade", "websocket")]);
        check(Kept { upgrade: false, ..ALL }, &fields, &[("a", "1")]);
    }
}
