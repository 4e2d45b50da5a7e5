//! FORMAT: one recorded exchange, the unit of everything that follows.
//!
//! An exchange is one production request with its answer and the upstream calls made for it, in order. It is one line of a
//! [segment](crate::segment). Times are UTC with microseconds (RFC 3339). Header values are kept byte for byte as
//! ISO-8859-1 text (RFC 9110, section 5.5). Bodies are kept decoded from their `Content-Encoding`, exact to the byte.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;

/// Names one exchange: a `UUIDv7`, so that ids sort by time.
// A string and not a `Uuid`: the id travels through `tracestate`, journals and reports as text and is never computed with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExchangeId(pub String);

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One production request with its answer and the upstream calls made for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Names the exchange.
    pub id: ExchangeId,
    /// The W3C trace id under which the service saw the request: 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// When the recorder had read the request's head.
    pub received_at: Timestamp,
    /// Position among the exchanges of this instance and boot, from 1; orders exchanges when clocks jump.
    pub sequence: u64,
    /// Microseconds from `received_at` to the end of the answer.
    pub duration_us: u64,
    /// The service's name.
    pub service: String,
    /// The production build that answered.
    pub build: String,
    /// Exchanges with the same key are replayed in recorded order.
    pub order_key: Option<String>,
    /// What the client sent.
    pub request: Request,
    /// What the service answered; absent where it never did.
    pub response: Option<Response>,
    /// How the exchange ended.
    pub end: End,
    /// The upstream calls made for this exchange, in the order in which they began.
    pub upstream: Vec<UpstreamCall>,
    /// How the exchange came to be recorded.
    pub sample: Sample,
}

/// The request half of a message exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The method, as sent.
    pub method: String,
    /// The target in origin form: path and query, undecoded.
    pub target: String,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Fields in the order received, hop-by-hop fields removed.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: Body,
}

/// The answer half of a message exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Fields in the order received, hop-by-hop fields removed.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: Body,
}

/// The content of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// The content as text, decoded from its coding; absent where it was omitted.
    pub text: Option<String>,
    /// Why the content is absent.
    pub omitted: Option<Omission>,
    /// The `Content-Encoding` that was removed.
    pub coding: Option<String>,
    /// Bytes of the content on the wire, the omitted included.
    pub wire_bytes: u64,
}

/// Why a body was not stored. A body that redaction rules could not look into never leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Omission {
    /// Larger than `body_bytes_max`, on the wire or decoded.
    OverLimit,
    /// In a content coding that is not known, or damaged in it.
    UnknownCoding,
    /// Not UTF-8 text.
    Binary,
    /// It ended before its announced end.
    Truncated,
}

/// How an exchange or an upstream call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The answer was passed on to its end.
    Complete,
    /// The client went away before the end of the answer.
    ClientAborted,
    /// The service or upstream could not be reached or broke off its answer.
    UpstreamFailed,
    /// The recorder stopped before the end of the answer.
    Truncated,
}

/// One call of the service to an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamCall {
    /// The upstream's configured name.
    pub name: String,
    /// Microseconds from the exchange's `received_at` to the call's request head.
    pub offset_us: u64,
    /// Microseconds from the call's request head to the end of its answer.
    pub duration_us: u64,
    /// What the service asked.
    pub request: Request,
    /// What the upstream answered; absent where it never did.
    pub response: Option<Response>,
    /// How the call ended.
    pub end: End,
}

/// An upstream call that belongs to no exchange, always kept whatever the sampling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ambient {
    /// When the call's request head was read.
    pub at: Timestamp,
    /// Why the call belongs to no exchange.
    pub attribution: Attribution,
    /// The call; its offset is zero.
    pub call: UpstreamCall,
}

/// What was known of an upstream call's exchange. Nothing is guessed: only certainty attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribution {
    /// Exactly one open exchange: its id in `tracestate`, or alone with this trace id or business key.
    Attributed,
    /// Several open exchanges carry the call's trace id or business key.
    Ambiguous,
    /// The call carries neither trace context nor business key, or ones that no open exchange has.
    Unattributed,
    /// The call names an exchange that was already closed.
    Late,
}

/// How an exchange was drawn into the sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// What is drawn together.
    pub unit: Unit,
    /// The inclusion probability π as an integer over 2⁵³.
    pub pi: u64,
    /// The unit's number u as an integer over 2⁵³: recorded because u < π. 0 where no sampling key is configured.
    pub draw: u64,
    /// The stratum whose rate applied.
    pub stratum: String,
    /// The monetary size used for the draw, in the reporting currency, where the draw was by money.
    pub size: Option<Amount>,
}

/// π = 1: recorded with certainty.
pub const PI_ONE: u64 = 1 << 53;

/// The sampling unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// All exchanges of one trace.
    Trace,
    /// All exchanges of one order key.
    OrderKey,
}

impl Sample {
    /// Returns the sample of an exchange that is recorded because everything is.
    pub fn everything() -> Self {
        Self { unit: Unit::Trace, pi: PI_ONE, draw: 0, stratum: "all".into(), size: None }
    }
}

impl Request {
    /// Returns the target's path.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }

    /// Returns the target's query, empty where there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// Returns the first value of a field, by case-insensitive name.
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

impl Body {
    /// Returns the body of a plain text.
    pub fn of_text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { wire_bytes: text.len() as u64, text: Some(text), omitted: None, coding: None }
    }
}
