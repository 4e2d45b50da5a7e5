//! A value that is in the request of an exchange and in the calls made for it, such as the number of a trip: how it is found, pure.
//!
//! Of the configured sources the first that the request has counts, in this order: a header, a parameter of the query, a group of
//! a regular expression over the path, a JSON path of the body. Numbers count as they are written, so that `/trips/42` and
//! `{"trip": 42}` have the same value. Where a source has several different values, there is no key.

use std::borrow::Cow;

use http::Request;
use http::header::HeaderName;
use percent_encoding::percent_decode_str;
use regex::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

use crate::exchange::{self, Body, Omission};

/// Where a request has the key.
#[derive(Clone, Debug, Default)]
pub struct BusinessKey {
    /// A header's value.
    pub header: Option<HeaderName>,
    /// A parameter of the query.
    pub query: Option<String>,
    /// The first group that matches in the path.
    pub path: Option<Regex>,
    /// A text or a number of the body.
    pub json: Option<JsonPath>,
}

/// What a request's body says of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InBody {
    /// The key.
    Key(String),
    /// It has none.
    None,
    /// It may have one, but was not kept or cannot be decoded.
    Unread,
}

impl BusinessKey {
    /// Finds the key in a request's head.
    pub(crate) fn in_head<'r, B>(&self, request: &'r Request<B>) -> Option<Cow<'r, str>> {
        let header = || {
            let values = request.headers().get_all(self.header.as_ref()?).iter();
            only(values.map(|value| String::from_utf8_lossy(value.as_bytes())))
        };
        self.in_request(header, request.uri().path(), request.uri().query())
    }

    /// Finds the key in a recorded request.
    pub(crate) fn of(&self, request: &exchange::Request) -> Option<String> {
        let header = || {
            let name = self.header.as_ref()?.as_str();
            let named = request.headers.iter().filter(|(field, _)| field == name);
            only(named.map(|(_, value)| Cow::Borrowed(&**value)))
        };
        let found = self.in_request(header, request.path(), Some(request.query()));
        match found {
            Some(key) => Some(key.into_owned()),
            None => match self.in_body(&request.body) {
                InBody::Key(key) => Some(key),
                InBody::None | InBody::Unread => None,
            },
        }
    }

    fn in_request<'r>(
        &self,
        header: impl FnOnce() -> Option<Cow<'r, str>>,
        path: &'r str,
        query: Option<&'r str>,
    ) -> Option<Cow<'r, str>> {
        let in_query = || {
            let (name, query) = (self.query.as_deref()?, query?);
            let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let named = pairs.filter(|(key, _)| decoded(key, true) == name);
            only(named.map(|(_, value)| decoded(value, true)))
        };
        let in_path = || {
            let captures = self.path.as_ref()?.captures(path)?;
            let group = captures.iter().skip(1).flatten().next()?;
            Some(decoded(group.as_str(), false))
        };
        let found = header().or_else(in_query).or_else(in_path);
        found.filter(|key| !key.is_empty())
    }

    /// Finds the key in a request's body.
    pub(crate) fn in_body(&self, body: &Body) -> InBody {
        let Some(path) = &self.json else { return InBody::None };
        let Some(text) = &body.text else {
            return match body.omitted {
                // JSON is UTF-8, and one that broke off is none.
                Some(Omission::Binary | Omission::Truncated) => InBody::None,
                _ => InBody::Unread,
            };
        };
        let Ok(document) = serde_json::from_str::<Value>(text) else { return InBody::None };
        let found = path.query(&document).all().into_iter().map(|node| match node {
            Value::String(text) => Cow::Borrowed(&**text),
            Value::Number(number) => Cow::Owned(number.to_string()),
            _ => Cow::Borrowed(""),
        });
        match only(found).filter(|key| !key.is_empty()) {
            Some(key) => InBody::Key(key.into_owned()),
            None => InBody::None,
        }
    }
}

/// Returns the value where there is any, and an empty one where they differ.
fn only<'v>(mut values: impl Iterator<Item = Cow<'v, str>>) -> Option<Cow<'v, str>> {
    let first = values.next()?;
    Some(if values.all(|value| value == first) { first } else { Cow::Borrowed("") })
}

fn decoded(text: &str, plus_is_space: bool) -> Cow<'_, str> {
    if plus_is_space && text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    fn key() -> BusinessKey {
        BusinessKey {
            header: Some(HeaderName::from_static("x-trip")),
            query: Some("trip id".into()),
            path: Some(Regex::new("^/(?:trips/([^/]+)|rides/([0-9]+))").unwrap()),
            json: Some(JsonPath::parse("$.trip.id").unwrap()),
        }
    }

    fn in_head(target: &str, headers: &[&str]) -> Option<String> {
        let mut request = Request::builder().uri(target);
        for value in headers {
            request = request.header("x-trip", *value);
        }
        key().in_head(&request.body(()).unwrap()).map(Cow::into_owned)
    }

    #[test]
    fn the_first_source_that_the_request_has_counts() {
        for (target, headers, expect) in [
            ("/trips/p?trip+id=q", &["h"][..], Some("h")),
            ("/trips/p?trip+id=q", &[], Some("q")),
            ("/trips/p?a=1&trip%20id=a%2Fb+c&trip+id", &[], None),
            ("/trips/p?a=1&trip%20id=a%2Fb+c", &[], Some("a/b c")),
            ("/trips/a%20b+c/close", &[], Some("a b+c")),
            ("/rides/42", &[], Some("42")),
            ("/rides/x", &[], None),
            ("/rides/42", &["h", "h"], Some("h")),
            ("/other", &["h", "i"], None),
            ("/other", &[""], None),
        ] {
            assert_eq!(in_head(target, headers).as_deref(), expect, "{target} {headers:?}");
        }
        let none = BusinessKey::default();
        assert_eq!(none.in_head(&Request::new(())), None);
        assert_eq!(none.in_body(&body::decode(b"{}", None, 100)), InBody::None);
    }

    #[test]
    fn a_body_has_one_key_none_or_cannot_be_read() {
        let some = |text: &str| InBody::Key(text.into());
        for (text, expect) in [
            (&br#"{"trip":{"id":"t-1"}}"#[..], some("t-1")),
            (br#"{"trip":{"id":42}}"#, some("42")),
            (br#"{"trip":{"id":1.50}}"#, some("1.50")),
            (br#"{"trip":{"id":""}}"#, InBody::None),
            (br#"{"trip":{"id":null}}"#, InBody::None),
            (br#"{"trip":{"id":{}}}"#, InBody::None),
            (br#"{"trip":1}"#, InBody::None),
            (b"not json", InBody::None),
            (b"", InBody::None),
            (&[0xff, 0xfe], InBody::None),
            (&[b' '; 101], InBody::Unread),
        ] {
            assert_eq!(key().in_body(&body::decode(text, None, 100)), expect, "{text:?}");
        }
        assert_eq!(key().in_body(&body::decode(b"{}", Some("exi"), 100)), InBody::Unread);
        let torn = body::omitted(Omission::Truncated, None, 7);
        assert_eq!(key().in_body(&torn), InBody::None);
        let several = BusinessKey { json: JsonPath::parse("$..id").ok(), ..BusinessKey::default() };
        let of = |text: &[u8]| several.in_body(&body::decode(text, None, 100));
        assert_eq!(of(br#"[{"id":1},{"id":1}]"#), some("1"));
        assert_eq!(of(br#"[{"id":1},{"id":2}]"#), InBody::None);
    }
}
