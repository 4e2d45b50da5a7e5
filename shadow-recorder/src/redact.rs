//! What of a message may leave the process, pure. Nothing here touches what is forwarded.
//!
//! Credentials are dropped where a head is copied, before the queue; what the configured [rules](Rule) select is dropped, masked or
//! replaced by [tokens](Key) in the writer, before anything is written. A body that a rule looks into and cannot read is not stored.
//! The replayer does the same, by the rules of the segment's header, to what the candidate says. Which fields are credentials:
//! - the standard ones: `authorization`, `proxy-authorization`, `authentication-info`, `proxy-authentication-info`, `cookie`, `set-cookie`;
//! - the usual private ones: `x-api-key`, `api-key`, `apikey`, `x-auth-key`, `x-auth`, `x-csrftoken`, `x-forwarded-client-cert`;
//! - any name that ends in `-token`, `-secret`, `-password`, `-credential`, `-credentials`, `-api-key` or `-signature`.
//!
//! Hop-by-hop fields describe a connection and not the message; they are not recorded either.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::hop_by_hop;

mod action;
mod json;
mod key;
mod money;
mod multipart;
mod pairs;
mod redactor;
mod rule;
mod spans;
mod target;
mod token;

pub use action::With;
pub use key::{KEY_CHARS_MIN, Key};
pub use redactor::Redactor;
pub use rule::{Rule, Written};
pub use token::Format;

/// The rules could not look into a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unredactable;

/// Returns whether a content type is JSON.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(&*essence, "application/json" | "text/json") || essence.ends_with("+json")
}

const NAMES: [&str; 13] = [
    "authorization",
    "proxy-authorization",
    "authentication-info",
    "proxy-authentication-info",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-key",
    "x-auth",
    "x-csrftoken",
    "x-forwarded-client-cert",
];
const SUFFIXES: [&str; 7] =
    ["-token", "-secret", "-password", "-credential", "-credentials", "-api-key", "-signature"];

/// Returns the rule for a segment's header: names, and `*-suffix` for every name that ends so.
pub(crate) fn headers_dropped() -> Vec<String> {
    let suffixes = SUFFIXES.iter().map(|suffix| format!("*{suffix}"));
    NAMES.iter().map(|name| (*name).to_owned()).chain(suffixes).collect()
}

/// Returns whether the field, by its lower-case name, carries a credential and is dropped from recordings.
pub fn is_credential(name: &str) -> bool {
    NAMES.contains(&name) || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// The fields by which a request says who sends it, the most telling first.
const PRINCIPALS: [&str; 8] = [
    "authorization",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-key",
    "x-auth",
    "x-forwarded-client-cert",
    "cookie",
];

/// Returns the token of the credential by which a request says who sends it.
pub(crate) fn principal(headers: &HeaderMap, key: &Key) -> Option<String> {
    let credential = PRINCIPALS.iter().find_map(|name| headers.get(*name))?;
    Some(key.principal(credential.as_bytes()))
}

/// Returns the fields that may be recorded, in order.
pub(crate) fn kept(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let named = hop_by_hop::named_by_connection(headers);
    headers.iter().filter(move |(name, _)| {
        !hop_by_hop::is_hop_by_hop(name, &named) && !is_credential(name.as_str())
    })
}

/// Copies the fields that may be recorded, in order, with lower-case names and values as ISO-8859-1 text.
pub fn recorded(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), latin1(value.as_bytes()))
    };
    kept(headers).map(text).collect()
}

/// Returns the text of which each character is one byte.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    // Copied as a whole where that is possible, which is nearly always.
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text.to_owned(),
        _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_hop_by_hop_fields_are_not_recorded() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "ledger"),
            ("authorization", "Bearer s3cret"),
            ("cookie", "session=s3cret"),
            ("x-amz-security-token", "s3cret"),
            ("x-client-secret", "s3cret"),
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("idempotency-key", "k1"),
            ("x-token-count", "3"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers.append("x-name", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let expected = [
            ("host", "ledger"),
            ("idempotency-key", "k1"),
            ("x-token-count", "3"),
            ("x-name", "caf\u{e9}"),
        ];
        assert_eq!(recorded(&headers), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn the_rule_in_the_header_is_the_rule_applied() {
        for rule in headers_dropped() {
            assert!(is_credential(&rule.replace('*', "x")), "{rule}");
        }
    }
}
