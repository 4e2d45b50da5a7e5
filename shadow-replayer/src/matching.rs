//! Which recorded upstream call answers a call of the candidate. Pure and strict: identical or a miss, never the nearest.

use serde::{Deserialize, Serialize};
use shadow_recorder::config::upstream::Upstream;
use shadow_recorder::exchange::{End, Omission, Request, UpstreamCall};

use crate::difference::{Difference, bounded, differences, is_same};

/// A call that no recording answers, with the nearest recording for the person who looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// The upstream.
    pub upstream: String,
    /// Method and target of the call.
    pub call: String,
    /// Method and target of the recorded call that differs least; absent where this exchange has none for the upstream.
    pub nearest: Option<String>,
    /// What differs from the nearest, or why else nothing answers the call.
    pub differs: String,
    /// The places in which the nearest differs: a JSONPath for a part of the body, words for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
    /// Whether production made this very call, but less often.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extra: bool,
}

impl Miss {
    /// Returns the miss of a call that nothing is compared with.
    pub fn of(upstream: &str, call: &Request, differs: impl Into<String>) -> Self {
        let (upstream, call, differs) = (upstream.to_owned(), named(call), differs.into());
        Self { upstream, call, differs, ..Self::default() }
    }

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
        // The service saw such an answer break off as well.
        (End::UpstreamFailed, Some(Omission::Truncated)) => None,
        (_, Some(why)) => Some(format!("the recorded answer's body was not stored ({why:?})")),
        _ if is_grpc => Some("the recorded answer is gRPC, which is not replayed yet".into()),
        (End::Complete | End::UpstreamFailed, None) => None,
    }
}

/// Returns method and target of a request, as a person reads them.
pub fn named(request: &Request) -> String {
    bounded(&format!("{} {}", request.method, request.target), CALL_CHARS_MAX)
}

/// Characters of a call that are kept for a person.
const CALL_CHARS_MAX: usize = 300;

/// Finds the recorded call that answers `call`: the first unused one that is identical, in recorded order.
///
/// A sink is matched by method and path alone and in its position: what the candidate posts there is compared as money.
pub fn find(
    upstream: &Upstream,
    recorded: &[UpstreamCall],
    used: &[bool],
    call: &Request,
) -> Result<usize, Box<Miss>> {
    let mut exhausted = false;
    for (at, candidate) in recorded.iter().enumerate() {
        if candidate.name == upstream.name && is_same(upstream, &candidate.request, call) {
            if !used[at] {
                return Ok(at);
            }
            exhausted = true;
        }
    }
    if exhausted {
        let differs = "production made this call less often";
        return Err(Miss { extra: true, ..Miss::of(&upstream.name, call, differs) }.into());
    }
    let Some((nearest, differences)) = nearest(upstream, recorded, used, call) else {
        let differs = "production did not call this upstream in this exchange";
        return Err(Miss::of(&upstream.name, call, differs).into());
    };
    let differs: Vec<String> = differences.iter().map(Difference::to_string).collect();
    Err(Box::new(Miss {
        nearest: Some(named(&recorded[nearest].request)),
        places: differences.into_iter().map(|difference| difference.place).collect(),
        ..Miss::of(&upstream.name, call, differs.join(", "))
    }))
}

/// Finds the recorded call that differs least; of several, one that was not made yet.
fn nearest(
    upstream: &Upstream,
    recorded: &[UpstreamCall],
    used: &[bool],
    call: &Request,
) -> Option<(usize, Vec<Difference>)> {
    let of_upstream = recorded.iter().enumerate().filter(|(_, call)| call.name == upstream.name);
    let compared = of_upstream.map(|(at, candidate)| {
        let same_path =
            candidate.request.method == call.method && candidate.request.path() == call.path();
        (at, same_path, differences(upstream, &candidate.request, call))
    });
    let (at, _, differences) = compared
        .min_by_key(|(at, same_path, differences)| (!*same_path, differences.len(), used[*at]))?;
    Some((at, differences))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json_path::JsonPath;
    use shadow_recorder::config::upstream::Origin;
    use shadow_recorder::exchange::Body;

    pub(crate) fn upstream() -> Upstream {
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
        assert_eq!((&*miss.differs, miss.extra), ("production made this call less often", true));
    }

    #[test]
    fn a_call_that_differs_in_anything_is_a_miss_that_names_it() {
        let calls = [recorded("/r?c=EUR&d=1", "")];
        let check = |call: Request, what: &str| {
            let miss = find(&upstream(), &calls, &[false], &call).unwrap_err();
            assert_eq!(
                (miss.nearest.as_deref(), &*miss.differs),
                (Some("POST /r?c=EUR&d=1"), what)
            );
        };
        check(request("/r?c=GBP&d=1", ""), "query c is GBP, recorded EUR");
        check(request("/r?c=EUR", ""), "query d is absent, recorded 1");
        check(request("/r?d=1&c=EUR", ""), "query is d=1&c=EUR, recorded c=EUR&d=1");
        check(request("/q?c=EUR&d=1", ""), "path is /q, recorded /r");
        check(request("/r?c=EUR&d=1", "x"), "body is x, recorded empty");
        let get = Request { method: "GET".into(), ..request("/r?c=EUR&d=1", "") };
        check(get, "method is GET, recorded POST");
        let plain = Request { headers: vec![], ..request("/r?c=EUR&d=1", "") };
        check(plain, "header x-tenant is absent, recorded a");
        let miss = find(&upstream(), &[], &[], &request("/r", "")).unwrap_err();
        assert_eq!((miss.nearest, miss.extra), (None, false));
    }

    #[test]
    fn the_nearest_has_the_same_path_and_differs_least() {
        let calls = [
            recorded("/q", r#"{"a":1,"b":[1,2]}"#),
            recorded("/r", r#"{"a":2,"b":[1,3]}"#),
            recorded("/r", r#"{"a":1,"b":[1,3]}"#),
        ];
        let call = request("/r", r#"{"a":1,"b":[1,2]}"#);
        let miss = find(&upstream(), &calls, &[false; 3], &call).unwrap_err();
        assert_eq!(
            (&*miss.differs, miss.places),
            ("$.b[1] is 2, recorded 3", vec!["$.b[1]".into()])
        );
        let long = request(&format!("/r?{}", "x".repeat(1_000)), "");
        assert!(find(&upstream(), &calls, &[false; 3], &long).unwrap_err().call.len() < 400);
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
