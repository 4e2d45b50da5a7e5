//! W3C Trace Context, pure: how a request is tied to the upstream calls made for it.
//!
//! The recorder is no span of the trace: it leaves a valid `traceparent` as it is and adds one member to `tracestate`, which
//! OpenTelemetry's propagators pass on:
//! - `shadow=<exchange id>`: the exchange is recorded, and a call with this member is one of its calls;
//! - `shadow=-`: the exchange passes unrecorded, because the sampling left it out or it was over a limit; a call with this
//!   member is neither recorded nor taken for another exchange's.
//!
//! Where `traceparent` is absent or invalid, the standard demands a new one and that the `tracestate` with it is discarded.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const KEY: &str = "shadow";
/// The member where the exchange passes unrecorded.
const UNRECORDED: &str = "shadow=-";
/// The member where it is recorded.
const OWN_LENGTH_MAX: usize = KEY.len() + 1 + Hyphenated::LENGTH;
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

/// The trace in which the service sees a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trace {
    /// The request brings a valid `traceparent`.
    Carried(u128),
    /// It gets a new one.
    Fresh(Fresh),
}

/// What a request says about the exchange it belongs to, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The trace id of a valid `traceparent`.
    pub trace_id: Option<String>,
    /// The exchange id in `tracestate`.
    pub exchange: Option<String>,
}

/// What a call says about the exchange it belongs to: the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// Its `tracestate` names an exchange that was recorded when its request came.
    Exchange(u128),
    /// Its `tracestate` is that of an exchange that passes unrecorded.
    Unrecorded,
    /// Its `tracestate` has a member of the recorder's that no recorder wrote.
    Other,
    /// It is of this trace.
    Trace(u128),
    /// Nothing.
    Nothing,
}

/// Reads the trace context of an upstream call as text.
pub fn read(headers: &HeaderMap) -> Carried {
    Carried {
        trace_id: trace_id(headers).map(|id| format!("{id:032x}")),
        exchange: ours(headers).map(str::to_owned),
    }
}

/// Reads the trace context of an upstream call.
pub(crate) fn context(headers: &HeaderMap) -> Context {
    match ours(headers) {
        Some("-") => Context::Unrecorded,
        Some(id) => {
            Uuid::try_parse(id).map_or(Context::Other, |id| Context::Exchange(id.as_u128()))
        }
        None => trace_id(headers).map_or(Context::Nothing, Context::Trace),
    }
}

impl Trace {
    /// Returns the trace of a request.
    pub(crate) fn of(headers: &HeaderMap, fresh: impl FnOnce() -> Fresh) -> Self {
        trace_id(headers).map_or_else(|| Self::Fresh(fresh()), Self::Carried)
    }

    /// Returns its id.
    pub(crate) fn id(&self) -> u128 {
        match self {
            Self::Carried(id) => *id,
            Self::Fresh(fresh) => fresh.trace_id,
        }
    }

    /// Names the exchange in the trace context of a request on its way to the service; `None` marks it as unrecorded.
    pub(crate) fn join(&self, headers: &mut HeaderMap, exchange: Option<u128>) {
        let mut buffer = [0; OWN_LENGTH_MAX];
        let own = own_member(&mut buffer, exchange);
        let state = if let Self::Fresh(fresh) = self {
            headers.insert(TRACEPARENT, fresh.traceparent());
            None
        } else {
            state(headers, own)
        };
        let state = match (state, exchange) {
            (Some(state), _) => HeaderValue::try_from(state).ok(),
            (None, None) => Some(HeaderValue::from_static(UNRECORDED)),
            (None, Some(_)) => HeaderValue::from_bytes(own.as_bytes()).ok(),
        };
        if let Some(state) = state {
            headers.insert(TRACESTATE, state);
        }
    }
}

impl Fresh {
    // Sampled, because that is what a service's default sampler would have decided for a request without a parent; an
    // unsampled parent would end its tracing.
    fn traceparent(&self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        write_hex(&mut text[3..35], &self.trace_id.to_be_bytes());
        write_hex(&mut text[36..52], &self.parent_id.to_be_bytes());
        HeaderValue::from_bytes(&text).expect("digits and hyphens are a field's value")
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn write_hex(text: &mut [u8], bytes: &[u8]) {
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

/// Writes the recorder's member.
fn own_member(buffer: &mut [u8; OWN_LENGTH_MAX], exchange: Option<u128>) -> &str {
    let Some(id) = exchange else { return UNRECORDED };
    let (key, value) = buffer.split_at_mut(KEY.len() + 1);
    key.copy_from_slice(b"shadow=");
    Uuid::from_u128(id).as_hyphenated().encode_lower(value);
    std::str::from_utf8(buffer).expect("all of it is ASCII")
}

/// Returns the whole list with the recorder's member in front, where the request brings other members.
fn state(headers: &HeaderMap, own: &str) -> Option<String> {
    let mut others =
        members(headers).filter(|member| !is_ours(member)).take(MEMBERS_MAX - 1).peekable();
    others.peek()?;
    let brought: usize = headers.get_all(TRACESTATE).iter().map(|value| value.len() + 1).sum();
    let mut state = String::with_capacity(own.len() + brought);
    state.push_str(own);
    for member in others {
        state.push(',');
        state.push_str(member);
    }
    Some(state)
}

/// Returns the trace id of the one valid `traceparent`.
fn trace_id(headers: &HeaderMap) -> Option<u128> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let text = value.as_bytes().trim_ascii();
    // Version 00 ends after its flags; a later version may append fields.
    let rest_fits = text.len() == 55 || text.len() > 55 && text[55] == b'-' && &text[..2] != b"00";
    if !rest_fits || text[2] != b'-' || text[35] != b'-' || text[52] != b'-' {
        return None;
    }
    let (version, high, low) = (hex(&text[..2])?, hex(&text[3..19])?, hex(&text[19..35])?);
    let (parent, _flags) = (hex(&text[36..52])?, hex(&text[53..55])?);
    let trace = u128::from(high) << 64 | u128::from(low);
    // ff is forbidden, and so is zero.
    (version != 0xff && trace != 0 && parent != 0).then_some(trace)
}

/// Reads up to 16 lower-case hexadecimal digits.
fn hex(text: &[u8]) -> Option<u64> {
    let (mut number, mut wrong) = (0, 0);
    for byte in text {
        let digit = DIGIT[usize::from(*byte)];
        wrong |= digit;
        number = number << 4 | u64::from(digit & 0xf);
    }
    (wrong <= 0xf).then_some(number)
}

/// The value of each digit; other bytes are above 15.
const DIGIT: [u8; 256] = {
    let mut digits = [0xf0; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[DIGITS[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};

/// Returns the value of the first member of the recorder's.
fn ours(headers: &HeaderMap) -> Option<&str> {
    members(headers)
        .find_map(|member| member.split_once('=').filter(|(key, _)| *key == KEY))
        .map(|(_, value)| value)
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
    const ID: u128 = 0x0197_0000_0000_7000_8000_0000_0000_00e1;
    const SHADOW: &str = "shadow=01970000-0000-7000-8000-0000000000e1";
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
        let trace = Trace::of(&headers, || Fresh { trace_id: 0xabc, parent_id: 0xdef });
        trace.join(&mut headers, Some(ID));
        let one = |name| {
            assert_eq!(headers.get_all(name).iter().count(), 1);
            headers[name].to_str().unwrap().to_owned()
        };
        (format!("{:032x}", trace.id()), one("traceparent"), one("tracestate"))
    }

    fn fresh_parent() -> String {
        format!("00-{:032x}-{:016x}-01", 0xabc, 0xdef)
    }

    #[test]
    fn a_valid_context_is_kept_and_joined_at_the_front() {
        assert_eq!(
            joined(&[("traceparent", PARENT), ("tracestate", "a=1, shadow=old ,b@c=2")]),
            (TRACE.into(), PARENT.into(), format!("{SHADOW},a=1,b@c=2"))
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
            let expected = (format!("{:032x}", 0xabc), fresh_parent(), SHADOW.to_owned());
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
        assert!(
            state.starts_with(&format!("{SHADOW},k0=0,")) && state.ends_with(",k30=30"),
            "{state}"
        );
        let (_, _, state) = joined(&[("traceparent", PARENT), ("tracestate", "nonsense,,A=1,b=2")]);
        assert_eq!(state, format!("{SHADOW},b=2"));
    }

    #[test]
    fn an_upstream_call_reads_back_what_was_joined() {
        for (brought, joined, named) in [
            ("", SHADOW.to_owned(), Context::Exchange(ID)),
            ("a=1", format!("{SHADOW},a=1"), Context::Exchange(ID)),
            ("", "shadow=-".to_owned(), Context::Unrecorded),
            ("a=1,shadow=old", "shadow=-,a=1".to_owned(), Context::Unrecorded),
        ] {
            let mut headers = headers(&[("traceparent", PARENT), ("tracestate", brought)]);
            let trace = Trace::of(&headers, || unreachable!());
            trace.join(&mut headers, (named != Context::Unrecorded).then_some(ID));
            assert_eq!(headers[TRACESTATE], joined);
            assert_eq!(context(&headers), named);
            let exchange = joined["shadow=".len()..].split(',').next().map(str::to_owned);
            assert_eq!(read(&headers), Carried { trace_id: Some(TRACE.into()), exchange });
        }
        let foreign = headers(&[("tracestate", "shadow=e1")]);
        assert_eq!(context(&foreign), Context::Other);
        let unnamed = headers(&[("traceparent", PARENT), ("tracestate", "a=1")]);
        assert_eq!(context(&unnamed), Context::Trace(u128::from_str_radix(TRACE, 16).unwrap()));
        assert_eq!(context(&HeaderMap::new()), Context::Nothing);
        assert_eq!(read(&HeaderMap::new()), Carried::default());
    }
}
