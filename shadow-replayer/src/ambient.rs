//! Answers to calls that belong to no exchange: token fetches, timers, cache refreshes. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shadow_recorder::config::upstream::Upstream;
use shadow_recorder::exchange::{Ambient, Body, Request, UpstreamCall};
use shadow_recorder::redact::Redactor;

mod read;

use crate::difference::is_same;
use crate::matching::unanswerable;
pub(crate) use read::{read, segments};

/// The recorded ambient calls, by the rules under which they were recorded.
#[derive(Clone, Debug, Default)]
pub struct AmbientCalls {
    by_rules: Vec<(Arc<Redactor>, ByTarget)>,
    /// Bytes of what is kept, about.
    bytes: usize,
}

/// Calls by upstream, method and target, in the order of time. Neighbours that are alike, as of a cache refresh, are kept once.
type ByTarget = HashMap<(String, String, String), Vec<(Timestamp, Arc<UpstreamCall>)>>;

impl AmbientCalls {
    /// Adds a recorded call; one whose answer was not stored cannot answer anything.
    pub fn add(&mut self, ambient: Ambient, redactor: &Arc<Redactor>) {
        if unanswerable(&ambient.call).is_some() {
            return;
        }
        let UpstreamCall { name, request, .. } = &ambient.call;
        let key = (name.clone(), request.method.clone(), request.target.clone());
        let known = self.by_rules.iter().position(|(known, _)| Arc::ptr_eq(known, redactor));
        let known = known.unwrap_or_else(|| {
            self.by_rules.push((Arc::clone(redactor), HashMap::new()));
            self.by_rules.len() - 1
        });
        let calls = self.by_rules[known].1.entry(key).or_default();
        let at = calls.partition_point(|(earlier, _)| *earlier <= ambient.at);
        let mut beside = calls[at.saturating_sub(1)..].iter().take(2);
        let alike = beside.find(|(_, call)| is_alike(call, &ambient.call));
        let call = alike.map(|(_, call)| Arc::clone(call));
        self.bytes += size_of::<(Timestamp, Arc<UpstreamCall>)>();
        let call = call.unwrap_or_else(|| {
            self.bytes += bytes(&ambient.call);
            Arc::new(ambient.call)
        });
        calls.insert(at, (ambient.at, call));
    }

    /// Returns how many bytes are kept, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Finds, for a call as the candidate made it, the latest identical one recorded at or before `at` and at most the upstream's `ambient_age_max` old.
    pub fn find(
        &self,
        upstream: &Upstream,
        call: &Request,
        at: Timestamp,
    ) -> Option<&UpstreamCall> {
        // What is posted to a sink is money, and belongs to an exchange or to nobody.
        if upstream.sink {
            return None;
        }
        let age_max = signed(upstream.ambient_age_max?);
        let found = self.by_rules.iter().filter_map(|(redactor, calls)| {
            let mut call = call.clone();
            redactor.request(Some(&upstream.name), &mut call);
            latest(calls, upstream, &call, at, age_max)
        });
        found.max_by_key(|(at, _)| *at).map(|(_, call)| &**call)
    }
}

fn latest<'c>(
    calls: &'c ByTarget,
    upstream: &Upstream,
    call: &Request,
    at: Timestamp,
    age_max: SignedDuration,
) -> Option<&'c (Timestamp, Arc<UpstreamCall>)> {
    let calls = calls.get(&(upstream.name.clone(), call.method.clone(), call.target.clone()))?;
    let young_enough =
        |(then, _): &&(Timestamp, Arc<UpstreamCall>)| at.duration_since(*then) <= age_max;
    let before = &calls[..calls.partition_point(|(then, _)| *then <= at)];
    let mut young = before.iter().rev().take_while(young_enough);
    young.find(|(_, ambient)| is_same(upstream, &ambient.request, call))
}

/// Returns whether one of two calls can stand for both.
fn is_alike(a: &UpstreamCall, b: &UpstreamCall) -> bool {
    a.request == b.request && a.response == b.response && a.end == b.end
}

fn bytes(call: &UpstreamCall) -> usize {
    let of_fields = |fields: &[(String, String)]| -> usize {
        fields.iter().map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>()).sum()
    };
    let of_body = |body: &Body| body.text.as_ref().map_or(0, String::len);
    let answer = call.response.as_ref();
    let answer = answer.map_or(0, |answer| of_fields(&answer.headers) + of_body(&answer.body));
    let UpstreamCall { request, .. } = call;
    size_of::<UpstreamCall>() + of_fields(&request.headers) + of_body(&request.body) + answer
}

/// Returns the duration with a sign, saturating.
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shadow_recorder::config::upstream::Origin;
    use shadow_recorder::exchange::{Attribution, End, Response};

    fn call(target: &str) -> Request {
        Request {
            method: "GET".into(),
            target: target.into(),
            version: "HTTP/1.1".into(),
            headers: vec![],
            body: Body::default(),
            trailers: vec![],
            principal: None,
        }
    }

    fn answer(token: u64) -> Response {
        let body = Body::of_text(token.to_string());
        Response { status: 200, headers: vec![], body, trailers: vec![] }
    }

    #[test]
    fn the_latest_answer_before_the_exchange_is_taken_while_it_is_young_enough() {
        let second = |s: i64| Timestamp::from_second(s).unwrap();
        let upstream = Upstream {
            name: "auth".into(),
            listen: None,
            hosts: vec![],
            ca_file: None,
            forward_to: Origin::parse("http://auth").unwrap(),
            sink: false,
            ambient_age_max: Some(Duration::from_secs(10)),
            match_headers: vec![],
            volatile: vec![],
            business_key: None,
        };
        let (mut recorded, plain) = (AmbientCalls::default(), Arc::default());
        for (at, offset_us) in [(20, 2), (10, 1), (30, 3)] {
            let request = call("/token");
            let call = UpstreamCall {
                name: "auth".into(),
                offset_us,
                duration_us: 0,
                request,
                response: Some(answer(offset_us)),
                end: End::Complete,
            };
            let ambient = Ambient { at: second(at), attribution: Attribution::Unattributed, call };
            recorded.add(ambient, &plain);
        }
        let found = |target, at| {
            recorded.find(&upstream, &call(target), second(at)).map(|call| call.offset_us)
        };
        assert_eq!(found("/token", 9), None, "never one from the future");
        assert_eq!(found("/token", 10), Some(1));
        assert_eq!(found("/token", 29), Some(2));
        assert_eq!(found("/token", 40), Some(3));
        assert_eq!(found("/token", 41), None, "too old");
        assert_eq!(found("/other", 29), None);
        let before = recorded.bytes();
        for at in [31, 32] {
            let call = UpstreamCall {
                name: "auth".into(),
                offset_us: 3,
                duration_us: 0,
                request: call("/token"),
                response: Some(answer(3)),
                end: End::Complete,
            };
            let ambient = Ambient { at: second(at), attribution: Attribution::Unattributed, call };
            recorded.add(ambient, &plain);
        }
        assert!(recorded.bytes() - before < 100, "what is alike is kept once");
        let never = Upstream { ambient_age_max: None, ..upstream.clone() };
        assert!(recorded.find(&never, &call("/token"), second(10)).is_none());
        let sink = Upstream { sink: true, ..upstream.clone() };
        assert!(
            recorded.find(&sink, &call("/token"), second(10)).is_none(),
            "money is never ambient"
        );
    }
}
