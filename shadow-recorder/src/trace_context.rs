//! W3C Trace Context, pure: how a request is tied to the upstream calls made for it.
//!
//! The recorder is no span of the trace: it leaves a valid `traceparent` as it is and adds one member to `tracestate`,
//! `shadow=<exchange id>`, which OpenTelemetry's propagators pass on. Where `traceparent` is absent or invalid, the standard
//! demands a new one and that the `tracestate` with it is discarded.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::exchange::ExchangeId;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const KEY: &str = "shadow";
/// Members that a `tracestate` may have, by the standard.
const MEMBERS_MAX: usize = 32;

/// Random ids for a request without trace context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    /// Not zero.
    pub(crate) trace_id: u128,
    /// Not zero.
    pub(crate) parent_id: u64,
}

/// What a request says about the exchange it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The trace id of a valid `traceparent`.
    pub trace_id: Option<String>,
    /// The exchange id in `tracestate`.
    pub exchange: Option<String>,
}

/// Reads the trace context of an upstream call.
pub fn read(headers: &HeaderMap) -> Carried {
    let exchange = members(headers).find_map(|member| match member.split_once('=') {
        Some((KEY, id)) => Some(id.to_owned()),
        _ => None,
    });
    Carried { trace_id: trace_id(headers), exchange }
}

/// Names the exchange in the trace context of a request on its way to the service; returns the trace id.
pub(crate) fn join(
    headers: &mut HeaderMap,
    exchange: &ExchangeId,
    fresh: impl FnOnce() -> Fresh,
) -> String {
    let mut state = format!("{KEY}={exchange}");
    let trace_id = if let Some(trace_id) = trace_id(headers) {
        let others = members(headers).filter(|member| !is_ours(member)).take(MEMBERS_MAX - 1);
        for member in others {
            state.push(',');
            state.push_str(member);
        }
        trace_id
    } else {
        let Fresh { trace_id, parent_id } = fresh();
        // Sampled, because that is what a service's default sampler would have decided for a request without a parent;
        // an unsampled parent would end its tracing.
        set(headers, TRACEPARENT, &format!("00-{trace_id:032x}-{parent_id:016x}-01"));
        format!("{trace_id:032x}")
    };
    set(headers, TRACESTATE, &state);
    trace_id
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Returns the trace id of the one valid `traceparent`.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let text = value.to_str().ok()?.trim();
    let mut parts = text.splitn(5, '-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let rest = parts.next();
    let hex = |part: &str, length: usize| {
        part.len() == length
            && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let shape = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    let not_zero = |part: &str| part.bytes().any(|byte| byte != b'0');
    // Version 00 ends here; a later version may append fields; ff is forbidden.
    let version_fits = version != "ff" && (version != "00" || rest.is_none());
    (shape && version_fits && not_zero(trace) && not_zero(parent)).then(|| trace.to_owned())
}

/// Returns the well-formed members of all `tracestate` fields, in order.
// A malformed member would make the service's propagator discard the whole list, and the exchange id with it.
fn members(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(TRACESTATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| is_member(member))
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let key_byte = |b: u8| {
        b.is_ascii_lowercase()
            || b.is_ascii_digit()
            || matches!(b, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    let value_byte = |b: u8| (0x20..=0x7e).contains(&b) && b != b'=';
    (1..=256).contains(&key.len())
        && (1..=256).contains(&value.len())
        && key.bytes().all(key_byte)
        && value.bytes().all(value_byte)
}

fn is_ours(member: &str) -> bool {
    member.split_once('=').is_some_and(|(key, _)| key == KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn joined(fields: &[(&'static str, &str)]) -> (String, String, String) {
        let mut headers = headers(fields);
        let fresh = || Fresh { trace_id: 0xabc, parent_id: 0xdef };
        let trace_id = join(&mut headers, &ExchangeId("e1".into()), fresh);
        let one = |name| {
            assert_eq!(headers.get_all(name).iter().count(), 1);
            headers[name].to_str().unwrap().to_owned()
        };
        (trace_id, one("traceparent"), one("tracestate"))
    }

    fn fresh_parent() -> String {
        format!("00-{:032x}-{:016x}-01", 0xabc, 0xdef)
    }

    #[test]
    fn a_valid_context_is_kept_and_joined_at_the_front() {
        assert_eq!(
            joined(&[("traceparent", PARENT), ("tracestate", "a=1, shadow=old ,b@c=2")]),
            (TRACE.into(), PARENT.into(), "shadow=e1,a=1,b@c=2".into())
        );
        let later = format!("01{}-more", &PARENT[2..]);
        assert_eq!(joined(&[("traceparent", &later)]).1, later);
    }

    #[test]
    fn an_absent_or_invalid_context_is_replaced_with_its_state() {
        let zero_trace = format!("00-{:032}-00f067aa0ba902b7-01", 0);
        let zero_parent = format!("00-{TRACE}-{:016}-01", 0);
        for bad in [
            "",
            "00",
            &PARENT.to_uppercase(),
            &format!("{PARENT}-more"),
            &format!("ff{}", &PARENT[2..]),
            &PARENT[..54],
            &zero_trace,
            &zero_parent,
        ] {
            let expected = (format!("{:032x}", 0xabc), fresh_parent(), "shadow=e1".to_owned());
            assert_eq!(joined(&[("traceparent", bad), ("tracestate", "a=1")]), expected, "{bad}");
        }
        assert_eq!(joined(&[]).1, fresh_parent());
    }

    #[test]
    fn two_traceparents_are_none() {
        let mut two = headers(&[("traceparent", PARENT)]);
        two.append(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert_eq!(read(&two).trace_id, None);
    }

    #[test]
    fn the_list_stays_within_its_members_and_drops_what_would_void_it() {
        let many: Vec<String> = (0..40).map(|n| format!("k{n}={n}")).collect();
        let (_, _, state) = joined(&[("traceparent", PARENT), ("tracestate", &many.join(","))]);
        assert_eq!(state.split(',').count(), MEMBERS_MAX);
        assert!(state.starts_with("shadow=e1,k0=0,") && state.ends_with(",k30=30"), "{state}");
        let (_, _, state) = joined(&[("traceparent", PARENT), ("tracestate", "nonsense,,A=1,b=2")]);
        assert_eq!(state, "shadow=e1,b=2");
    }

    #[test]
    fn an_upstream_call_reads_back_what_was_joined() {
        let mut headers = headers(&[("traceparent", PARENT)]);
        join(&mut headers, &ExchangeId("e1".into()), || unreachable!());
        let expected = Carried { trace_id: Some(TRACE.into()), exchange: Some("e1".into()) };
        assert_eq!(read(&headers), expected);
        assert_eq!(read(&HeaderMap::new()), Carried::default());
    }
}
