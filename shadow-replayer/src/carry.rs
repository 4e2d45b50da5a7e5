//! Values that the candidate gave in earlier answers, where production gave others: sessions, and the ids of what was created. Pure.
//!
//! A recorded request names what production had created before. The candidate knows it by another name, so within an order key each
//! recorded value is replaced by the candidate's: a whole segment of the path, a whole value of the query or of a field, and the
//! values of a JSON body that a rule's `into` selects. Parts of values and other places of a body are never touched: a number
//! there may be money.

use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName, SET_COOKIE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use regex::Regex;
use serde_json::{Number, Value};
use serde_json_path::{JsonPath, NormalizedPath};
use shadow_recorder::exchange::{Request, Response};
use shadow_recorder::ledger::Route;

/// All but the unreserved characters (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Values kept of one order key; what comes after them is not carried.
const VALUES_MAX: usize = 1_000;

/// What is carried from answers into later requests of the same order key.
#[derive(Clone, Debug)]
pub struct Carry {
    /// The requests whose answers have it; absent: all.
    pub route: Option<Route>,
    /// Where it is in an answer.
    pub from: Place,
    /// A field of later requests that it becomes, with what stands before it there. Absent: it replaces the recorded value.
    pub field: Option<(HeaderName, String)>,
    /// Where else than in path, query and fields it replaces the recorded value: in the JSON body.
    pub into: Vec<JsonPath>,
}

/// Where a value is in an answer.
#[derive(Clone, Debug)]
pub enum Place {
    /// In the JSON body.
    Json(JsonPath),
    /// In a field; of a match the first group.
    Header(HeaderName, Option<Regex>),
    /// In the cookies that are set. They were not recorded, so later requests carry them as they are.
    Cookies,
}

impl Place {
    fn values(&self, response: &Response) -> Vec<String> {
        match self {
            Self::Json(path) => {
                let text = response.body.text.as_deref().unwrap_or_default();
                let Ok(document) = serde_json::from_str::<Value>(text) else { return Vec::new() };
                path.query(&document).iter().filter_map(|value| scalar(value)).collect()
            }
            Self::Header(name, capture) => {
                let fields = response.headers.iter();
                let values = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name.as_str()));
                let captured = |value: &str| match capture {
                    Some(capture) => Some(capture.captures(value)?.get(1)?.as_str().to_owned()),
                    None => Some(value.to_owned()),
                };
                values.filter_map(|(_, value)| captured(value)).collect()
            }
            Self::Cookies => Vec::new(),
        }
    }
}

/// What was learned from the answers of one order key.
#[derive(Clone, Default)]
pub struct Carried {
    /// The candidate's value for each recorded one.
    values: BTreeMap<String, String>,
    fields: BTreeMap<String, String>,
    cookies: BTreeMap<String, String>,
}

impl Carried {
    /// Learns from the recorded answer to a request and the candidate's.
    pub fn learn(
        &mut self,
        rules: &[Carry],
        request: &Request,
        recorded: Option<&Response>,
        given: &Response,
    ) {
        for rule in of_route(rules, request) {
            let theirs = rule.from.values(given);
            if let Some((field, prefix)) = &rule.field {
                let first = theirs.first().map(|value| format!("{prefix}{value}"));
                self.fields.extend(first.map(|value| (field.to_string(), value)));
                continue;
            }
            let ours = recorded.map(|recorded| rule.from.values(recorded)).unwrap_or_default();
            // Where one side has more of them, which belongs to which is not known.
            if ours.len() == theirs.len() {
                for (our, their) in ours.into_iter().zip(theirs) {
                    if self.values.len() < VALUES_MAX || self.values.contains_key(&our) {
                        self.values.insert(our, their);
                    }
                }
            }
        }
    }

    /// Learns the cookies that the candidate sets; one that is set to nothing is forgotten.
    pub fn learn_cookies(&mut self, rules: &[Carry], request: &Request, headers: &HeaderMap) {
        if !of_route(rules, request).any(|rule| matches!(rule.from, Place::Cookies)) {
            return;
        }
        let cookies = headers.get_all(SET_COOKIE).iter().filter_map(|field| field.to_str().ok());
        for pair in cookies.filter_map(|cookie| cookie.split(';').next()) {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            if value.is_empty() {
                self.cookies.remove(name);
            } else if self.cookies.len() < VALUES_MAX {
                self.cookies.insert(name.into(), value.into());
            }
        }
    }

    /// Returns a request in which recorded values are the candidate's.
    pub fn applied(&self, rules: &[Carry], request: &Request) -> Request {
        let mut request = request.clone();
        request.target = self.target(&request.target);
        for (_, value) in &mut request.headers {
            if let Some(theirs) = self.values.get(value) {
                value.clone_from(theirs);
            }
        }
        if let Some(text) = &request.body.text
            && let Some(text) = self.body(rules, text)
        {
            request.body.text = Some(text);
        }
        let all: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = (!all.is_empty()).then(|| ("cookie".to_owned(), all.join("; ")));
        let fields = self.fields.clone();
        for (name, value) in fields.into_iter().chain(cookies) {
            request.headers.retain(|(field, _)| !field.eq_ignore_ascii_case(&name));
            request.headers.push((name, value));
        }
        request
    }

    fn target(&self, target: &str) -> String {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let replaced = |part: &str, plus: bool| {
            let plain = if plus { part.replace('+', " ") } else { part.to_owned() };
            let decoded = percent_decode_str(&plain).decode_utf8_lossy().into_owned();
            let theirs = self.values.get(&decoded);
            theirs.map_or(part.to_owned(), |value| utf8_percent_encode(value, ENCODED).to_string())
        };
        let path: Vec<String> = path.split('/').map(|segment| replaced(segment, false)).collect();
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) => format!("{name}={}", replaced(value, true)),
            None => pair.to_owned(),
        });
        let query: Vec<String> = pairs.collect();
        let mark = if target.contains('?') { "?" } else { "" };
        format!("{}{mark}{}", path.join("/"), query.join("&"))
    }

    fn body(&self, rules: &[Carry], text: &str) -> Option<String> {
        let into: Vec<&JsonPath> = rules.iter().flat_map(|rule| &rule.into).collect();
        if into.is_empty() {
            return None;
        }
        let mut document: Value = serde_json::from_str(text).ok()?;
        let located = into.iter().flat_map(|path| {
            path.query_located(&document)
                .locations()
                .map(NormalizedPath::to_json_pointer)
                .collect::<Vec<_>>()
        });
        let pointers: Vec<String> = located.collect();
        let mut replaced = false;
        for pointer in pointers {
            let Some(value) = document.pointer_mut(&pointer) else { continue };
            let Some(theirs) = scalar(value).and_then(|ours| self.values.get(&ours)) else {
                continue;
            };
            // A number stays one, where the candidate's value is one.
            let number = theirs.parse::<Number>().ok().filter(|_| value.is_number());
            *value = number.map_or_else(|| Value::from(theirs.clone()), Value::Number);
            replaced = true;
        }
        replaced.then(|| document.to_string())
    }
}

fn of_route<'r>(rules: &'r [Carry], request: &Request) -> impl Iterator<Item = &'r Carry> {
    rules.iter().filter(|rule| {
        let route = rule.route.as_ref();
        route.is_none_or(|route| route.matches(&request.method, request.path()))
    })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
