//! What differs between a recorded upstream request and a call of the candidate, to the path. Pure.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde_json::Value;
use serde_json_path::{JsonPath, NormalizedPath};
use shadow_recorder::config::upstream::Upstream;
use shadow_recorder::exchange::{Body, Request};

/// One thing in which a call is not the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where: a JSONPath of the body, `method`, `path`, `query NAME`, `header NAME` or `body`.
    pub place: String,
    /// What the call has there, as far as it is shown.
    pub call: String,
    /// What was recorded there, as far as it is shown.
    pub recorded: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, recorded {}", self.place, self.call, self.recorded)
    }
}

/// Differences that are named; a body that has nothing in common with the recorded one has as many as values.
const DIFFERENCES_MAX: usize = 16;
/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 80;

/// Returns whether a call is the recorded one: in method, path, query, matched fields and body. At a sink method and path decide.
pub fn is_same(upstream: &Upstream, recorded: &Request, call: &Request) -> bool {
    let routed = recorded.method == call.method && recorded.path() == call.path();
    if upstream.sink || !routed {
        return routed;
    }
    let same_field = |name: &String| values(recorded, name).eq(values(call, name));
    recorded.query() == call.query()
        && upstream.match_headers.iter().all(same_field)
        && same_body(&upstream.volatile, &recorded.body, &call.body)
}

/// Returns what differs; empty exactly where the two [are the same](is_same).
pub fn differences(upstream: &Upstream, recorded: &Request, call: &Request) -> Vec<Difference> {
    let mut found = Found::default();
    found.text("method", &recorded.method, &call.method);
    found.text("path", recorded.path(), call.path());
    if upstream.sink {
        return found.0;
    }
    query(&mut found, recorded.query(), call.query());
    for name in &upstream.match_headers {
        if !values(recorded, name).eq(values(call, name)) {
            let (a, b) = (joined(values(recorded, name)), joined(values(call, name)));
            found.push(&format!("header {name}"), a.as_deref(), b.as_deref());
        }
    }
    if !same_body(&upstream.volatile, &recorded.body, &call.body) {
        body(&mut found, &upstream.volatile, &recorded.body, &call.body);
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn text(&mut self, place: &str, recorded: &str, call: &str) {
        self.optional(place, Some(recorded), Some(call));
    }

    fn optional(&mut self, place: &str, recorded: Option<&str>, call: Option<&str>) {
        if recorded != call {
            self.push(place, recorded, call);
        }
    }

    fn push(&mut self, place: &str, recorded: Option<&str>, call: Option<&str>) {
        if self.0.len() >= DIFFERENCES_MAX {
            return;
        }
        let shown = |text: Option<&str>| match text {
            None => "absent".to_owned(),
            Some("") => "empty".to_owned(),
            Some(text) => bounded(text, VALUE_CHARS_MAX),
        };
        let (recorded, call) = (shown(recorded), shown(call));
        self.0.push(Difference { place: place.to_owned(), call, recorded });
    }
}

/// Returns a text of at most so many characters; one that was cut says so.
pub fn bounded(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn values<'r>(request: &'r Request, name: &'r str) -> impl Iterator<Item = &'r str> {
    let of_name = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
    request.headers.iter().filter(of_name).map(|(_, value)| &**value)
}

fn joined<'v>(values: impl Iterator<Item = &'v str>) -> Option<String> {
    let values: Vec<&str> = values.collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn query(found: &mut Found, recorded: &str, call: &str) {
    let pairs = |query: &str| -> Vec<(String, String)> {
        let parts = query.split('&').filter(|part| !part.is_empty());
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.to_owned(), value.to_owned())
        };
        parts.map(pair).collect()
    };
    let (a, b) = (pairs(recorded), pairs(call));
    let names: BTreeSet<&String> = a.iter().chain(&b).map(|(name, _)| name).collect();
    let before = found.0.len();
    for name in names {
        let of = |pairs: &[(String, String)]| {
            joined(pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value))
        };
        found.optional(&format!("query {name}"), of(&a).as_deref(), of(&b).as_deref());
    }
    if found.0.len() == before {
        // The same parameters in another order, or written in another way.
        found.text("query", recorded, call);
    }
}

/// Compares JSON as JSON, less the volatile paths, and everything else byte for byte.
fn same_body(volatile: &[JsonPath], recorded: &Body, call: &Body) -> bool {
    // What was not stored cannot be compared, and so is never the same.
    if recorded.omitted.is_some() || call.omitted.is_some() {
        return false;
    }
    let (a, b) = (text(recorded), text(call));
    a == b || json(volatile, a, b).is_some_and(|(a, b)| a == b)
}

fn text(body: &Body) -> &str {
    body.text.as_deref().unwrap_or("")
}

/// Reads two texts as JSON, less the volatile paths.
fn json(volatile: &[JsonPath], a: &str, b: &str) -> Option<(Value, Value)> {
    let read = |text: &str| {
        let mut value = serde_json::from_str(text).ok()?;
        strip(&mut value, volatile);
        Some(value)
    };
    Some((read(a)?, read(b)?))
}

/// Replaces what volatile paths select by null. Numbers are compared by their own text, so 1.10 is not 1.1.
fn strip(document: &mut Value, volatile: &[JsonPath]) {
    for path in volatile {
        let pointers: Vec<String> =
            path.query_located(document).locations().map(NormalizedPath::to_json_pointer).collect();
        for pointer in pointers {
            if let Some(value) = document.pointer_mut(&pointer) {
                *value = Value::Null;
            }
        }
    }
}

fn body(found: &mut Found, volatile: &[JsonPath], recorded: &Body, call: &Body) {
    if recorded.omitted.is_some() || call.omitted.is_some() {
        let shown = |body: &Body| match body.omitted {
            Some(why) => format!("not stored ({why:?})"),
            None => "stored".to_owned(),
        };
        // Also where both are alike in that: what was not stored is not known to be the same.
        let (recorded, call) = (shown(recorded), shown(call));
        found.push("body", Some(&recorded), Some(&call));
        return;
    }
    match json(volatile, text(recorded), text(call)) {
        Some((a, b)) => values_at(found, &mut "$".to_owned(), Some(&a), Some(&b)),
        None => found.text("body", text(recorded), text(call)),
    }
}

/// Finds the paths below `path` at which two documents differ.
fn values_at(found: &mut Found, path: &mut String, a: Option<&Value>, b: Option<&Value>) {
    let length = path.len();
    match (a, b) {
        (a, b) if a == b => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                push_name(path, key);
                values_at(found, path, a.get(key), b.get(key));
                path.truncate(length);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                let _ = write!(path, "[{n}]");
                values_at(found, path, Some(a), Some(b));
                path.truncate(length);
            }
        }
        (a, b) => {
            let shown = |value: Option<&Value>| value.map(Value::to_string);
            found.optional(path, shown(a).as_deref(), shown(b).as_deref());
        }
    }
}

/// Appends a member's name to a JSONPath.
fn push_name(path: &mut String, name: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit()) {
        path.push('.');
        path.push_str(name);
    } else {
        let name = name.replace('\\', "\\\\").replace('\'', "\\'");
        let _ = write!(path, "['{name}']");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadow_recorder::config::upstream::Origin;

    fn compare(a: &str, b: &str) -> Vec<String> {
        let upstream = Upstream {
            name: "fx".into(),
            listen: None,
            hosts: vec![],
            ca_file: None,
            forward_to: Origin::parse("http://fx").unwrap(),
            sink: false,
            ambient_age_max: None,
            match_headers: vec![],
            volatile: vec![JsonPath::parse("$.request_id").unwrap()],
            business_key: None,
        };
        let request = |body: &str| Request {
            method: "POST".into(),
            target: "/".into(),
            version: "HTTP/1.1".into(),
            headers: vec![],
            body: Body::of_text(body),
            trailers: vec![],
            principal: None,
        };
        let (a, b) = (request(a), request(b));
        let found = differences(&upstream, &a, &b);
        assert_eq!(found.is_empty(), is_same(&upstream, &a, &b));
        found.iter().map(Difference::to_string).collect()
    }

    #[test]
    fn json_is_compared_as_json_less_volatile_paths() {
        let same = |a: &str, b: &str| compare(a, b).is_empty();
        assert!(same(r#"{"a":1.10,"request_id":1}"#, r#"{ "request_id": "x", "a": 1.10 }"#));
        assert!(!same(r#"{"a":1.10}"#, r#"{"a":1.1}"#));
        assert!(!same(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#));
        assert!(!same(r#"{"request_id":1}"#, "{}"), "a volatile value may differ, not be absent");
    }

    #[test]
    fn each_differing_path_is_named_with_both_values() {
        let found = compare(
            r#"{"a":{"b c":1,"d":[{"e":"x"},2]},"f":[1],"g":null}"#,
            r#"{"a":{"b c":2,"d":[{"e":"y"},2]},"f":[1,2]}"#,
        );
        assert_eq!(
            found,
            [
                "$.a['b c'] is 2, recorded 1",
                r#"$.a.d[0].e is "y", recorded "x""#,
                "$.f is [1,2], recorded [1]",
                "$.g is absent, recorded null",
            ]
        );
        assert_eq!(compare("a=1", "a=2"), ["body is a=2, recorded a=1"]);
    }

    #[test]
    fn what_is_named_is_bounded() {
        let wide = |value: u32| {
            let pairs: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{value}")).collect();
            format!("{{{}}}", pairs.join(","))
        };
        assert_eq!(compare(&wide(1), &wide(2)).len(), DIFFERENCES_MAX);
        let long = compare("x", &"y".repeat(10_000));
        assert!(long[0].chars().count() < 120, "{long:?}");
    }
}
