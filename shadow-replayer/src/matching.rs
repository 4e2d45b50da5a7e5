//! Which recorded upstream call answers a call of the candidate. Pure and strict: identical or a miss, never the nearest.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;
use shadow_recorder::config::upstream::Upstream;
use shadow_recorder::exchange::{End, Request, UpstreamCall};

/// A call that no recording answers, with the nearest recording for the person who looks at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// The upstream.
    pub upstream: String,
    /// Method and target of the call.
    pub call: String,
    /// Method and target of the recorded call that differs least; absent where this exchange has none for the upstream.
    pub nearest: Option<String>,
    /// What differs from the nearest.
    pub differs: String,
}

impl Miss {
    /// Returns the call and what differs, without the upstream's name.
    pub fn particulars(&self) -> String {
        let Self { call, nearest, differs, .. } = self;
        match nearest {
            Some(nearest) => format!("{call}; nearest is {nearest}: {differs}"),
            None => format!("{call}: {differs}"),
        }
    }
}

impl std::fmt::Display for Miss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "upstream {} has no recording of {}", self.upstream, self.particulars())
    }
}

/// Returns why a recorded call cannot answer anything; `None` where it can. That the upstream failed is an answer.
pub fn unanswerable(call: &UpstreamCall) -> Option<String> {
    let body = call.response.as_ref().map(|response| &response.body);
    let omitted = body.and_then(|body| body.omitted);
    let is_grpc = body.is_some_and(|body| body.rendering.is_some());
    match (call.end, omitted) {
        (End::ClientAborted | End::Truncated, _) => Some("the recorded call was broken off".into()),
        (_, Some(why)) => Some(format!("the recorded answer's body was not stored ({why:?})")),
        _ if is_grpc => Some("the recorded answer is gRPC, which is not replayed yet".into()),
        (End::Complete | End::UpstreamFailed, None) => None,
    }
}

/// Finds the recorded call that answers `call`: the first unused one that is identical, in recorded order.
///
/// A sink is matched by method and path alone and in its position: what the candidate posts there is compared as money.
pub fn find(
    upstream: &Upstream,
    recorded: &[UpstreamCall],
    used: &[bool],
    call: &Request,
) -> Result<usize, Miss> {
    let of_upstream =
        || recorded.iter().enumerate().filter(|(_, recorded)| recorded.name == upstream.name);
    let mut nearest: Option<(usize, usize, String)> = None;
    let mut exhausted = false;
    for (at, candidate) in of_upstream() {
        let differences = differences(upstream, &candidate.request, call);
        match (differences.is_empty(), used[at]) {
            (true, false) => return Ok(at),
            (true, true) => exhausted = true,
            (false, _) => {
                if nearest.as_ref().is_none_or(|(count, ..)| differences.len() < *count) {
                    nearest = Some((differences.len(), at, differences.join(", ")));
                }
            }
        }
    }
    let named =
        |at: usize| format!("{} {}", recorded[at].request.method, recorded[at].request.target);
    let (nearest, differs) = match nearest {
        _ if exhausted => (None, "production made this call less often".into()),
        Some((_, at, what)) => (Some(named(at)), format!("{what} differs")),
        None => (None, "production did not call this upstream in this exchange".into()),
    };
    Err(Miss {
        upstream: upstream.name.clone(),
        call: format!("{} {}", call.method, call.target),
        nearest,
        differs,
    })
}

/// Returns what differs between a recorded request and a call, in words; empty where they are the same call.
pub fn differences(upstream: &Upstream, recorded: &Request, call: &Request) -> Vec<String> {
    let mut differences = Vec::new();
    let mut note = |same: bool, what: String| {
        if !same {
            differences.push(what);
        }
    };
    note(recorded.method == call.method, "method".into());
    note(recorded.path() == call.path(), "path".into());
    if upstream.sink {
        return differences;
    }
    note(recorded.query() == call.query(), "query".into());
    for name in &upstream.match_headers {
        note(values(recorded, name).eq(values(call, name)), format!("header {name}"));
    }
    note(same_body(&upstream.volatile, recorded, call), "body".into());
    differences
}

fn values<'r>(request: &'r Request, name: &'r str) -> impl Iterator<Item = &'r str> {
    let of_name = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
    request.headers.iter().filter(of_name).map(|(_, value)| &**value)
}

/// Compares JSON as JSON, less the volatile paths, and everything else byte for byte.
fn same_body(volatile: &[JsonPath], recorded: &Request, call: &Request) -> bool {
    // What was not stored cannot be compared, and so is never the same.
    if recorded.body.omitted.is_some() || call.body.omitted.is_some() {
        return false;
    }
    let (a, b) =
        (recorded.body.text.as_deref().unwrap_or(""), call.body.text.as_deref().unwrap_or(""));
    if a == b {
        return true;
    }
    match (serde_json::from_str::<Value>(a), serde_json::from_str::<Value>(b)) {
        (Ok(mut a), Ok(mut b)) => {
            strip(&mut a, volatile);
            strip(&mut b, volatile);
            a == b
        }
        _ => false,
    }
}

/// Replaces what volatile paths select by null. Numbers are compared by their own text, so 1.10 is not 1.1.
fn strip(document: &mut Value, volatile: &[JsonPath]) {
    for path in volatile {
        let pointers: Vec<String> = path
            .query_located(document)
            .locations()
            .map(serde_json_path::NormalizedPath::to_json_pointer)
            .collect();
        for pointer in pointers {
            if let Some(value) = document.pointer_mut(&pointer) {
                *value = Value::Null;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadow_recorder::config::upstream::Origin;
    use shadow_recorder::exchange::Body;

    fn upstream() -> Upstream {
        Upstream {
            name: "fx".into(),
            listen: None,
            hosts: vec![],
            ca_file: None,
            forward_to: Origin::parse("http://fx").unwrap(),
            sink: false,
            ambient_age_max: None,
            match_headers: vec!["x-tenant".into()],
            volatile: vec![JsonPath::parse("$.request_id").unwrap()],
            business_key: None,
        }
    }

    fn request(target: &str, body: &str) -> Request {
        Request {
            method: "POST".into(),
            target: target.into(),
            version: "HTTP/1.1".into(),
            headers: vec![("X-Tenant".into(), "a".into())],
            body: Body::of_text(body),
            trailers: vec![],
            principal: None,
        }
    }

    fn recorded(target: &str, body: &str) -> UpstreamCall {
        UpstreamCall {
            name: "fx".into(),
            offset_us: 0,
            duration_us: 0,
            request: request(target, body),
            response: None,
            end: End::Complete,
        }
    }

    #[test]
    fn identical_calls_are_answered_in_recorded_order() {
        let calls = [recorded("/r?c=EUR", ""), recorded("/r?c=USD", ""), recorded("/r?c=EUR", "")];
        let call = request("/r?c=EUR", "");
        assert_eq!(find(&upstream(), &calls, &[false; 3], &call), Ok(0));
        assert_eq!(find(&upstream(), &calls, &[true, false, false], &call), Ok(2));
        let miss = find(&upstream(), &calls, &[true, false, true], &call).unwrap_err();
        assert_eq!(miss.differs, "production made this call less often");
    }

    #[test]
    fn a_call_that_differs_in_anything_is_a_miss_that_names_it() {
        let calls = [recorded("/r?c=EUR", "")];
        let check = |call: Request, what: &str| {
            let miss = find(&upstream(), &calls, &[false], &call).unwrap_err();
            assert_eq!((miss.nearest.as_deref(), &*miss.differs), (Some("POST /r?c=EUR"), what));
        };
        check(request("/r?c=GBP", ""), "query differs");
        check(request("/q?c=EUR", ""), "path differs");
        check(request("/r?c=EUR", "x"), "body differs");
        check(Request { method: "GET".into(), ..request("/r?c=EUR", "") }, "method differs");
        check(Request { headers: vec![], ..request("/r?c=EUR", "") }, "header x-tenant differs");
        let miss = find(&upstream(), &[], &[], &request("/r", "")).unwrap_err();
        assert_eq!(miss.nearest, None);
    }

    #[test]
    fn json_is_compared_as_json_less_volatile_paths() {
        let same = |a: &str, b: &str| {
            differences(&upstream(), &request("/", a), &request("/", b)).is_empty()
        };
        assert!(same(r#"{"a":1.10,"request_id":1}"#, r#"{ "request_id": "x", "a": 1.10 }"#));
        assert!(!same(r#"{"a":1.10}"#, r#"{"a":1.1}"#));
        assert!(!same(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#));
        assert!(!same(r#"{"request_id":1}"#, "{}"), "a volatile value may differ, not be absent");
    }

    #[test]
    fn a_sink_is_matched_by_method_and_path_alone() {
        let sink = Upstream { sink: true, ..upstream() };
        let calls = [recorded("/journal?x=1", "100"), recorded("/journal", "200")];
        assert_eq!(find(&sink, &calls, &[false; 2], &request("/journal", "999")), Ok(0));
        assert_eq!(find(&sink, &calls, &[true, false], &request("/journal", "999")), Ok(1));
        assert!(find(&sink, &calls, &[false; 2], &request("/other", "100")).is_err());
    }
}
