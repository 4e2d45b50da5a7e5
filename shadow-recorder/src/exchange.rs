//! FORMAT: one recorded exchange, the unit of everything that follows.
//!
//! An exchange is one production request with its answer and the upstream calls made for it, in order. It is one line of a
//! [segment](crate::segment). Times are UTC with microseconds (RFC 3339). Header values are kept byte for byte as
//! ISO-8859-1 text (RFC 9110, section 5.5). Bodies are kept decoded from their codings, exact to the byte
//! but for what the rules in the segment's header have redacted.
//!
//! # gRPC
//!
//! With the service's descriptors at hand the content of a gRPC call is kept as *canonical JSON*, and `rendering` says so: the JSON
//! mapping of Protocol Buffers, names in `lowerCamelCase`, 64-bit integers and bytes as strings, enums by name (by number where the
//! name is not known), keys sorted, no white space. Every field without presence is written, also where it has its default value,
//! so that an amount of zero reads as zero and not as absent; a field with presence (`optional`, a message, a member of a `oneof`)
//! is written where it is set. A `float` or `double` is the shortest decimal that reads back as the same number.
//! `grpc-status` is among the trailers, or among the headers of an answer without content.
//!
//! # Version 1
//!
//! `trailers`, `rendering` and `principal` came later and are left out where they are empty: older files read as before.

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
    /// Fields that followed the content, in the order received; those of credentials removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trailers: Vec<(String, String)>,
    /// Stands for who called: a token of the credential that was removed. Absent unless that is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
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
    /// Fields that followed the content, in the order received; those of credentials removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trailers: Vec<(String, String)>,
}

/// The content of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// The content as text, decoded from its codings; absent where it was omitted.
    pub text: Option<String>,
    /// Why the content is absent.
    pub omitted: Option<Omission>,
    /// The codings that were removed, in the order in which they had been applied: the values of `Content-Encoding`, then the
    /// transfer codings below `chunked`.
    pub coding: Option<String>,
    /// Bytes of the content on the wire, the omitted included.
    pub wire_bytes: u64,
    /// What the text is where it is not the content itself. Such a text cannot be sent as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendering: Option<Rendering>,
}

/// How a text stands for content that is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rendering {
    /// The one gRPC message of a side that does not stream, as canonical JSON; empty where no message was sent, as with an error.
    GrpcMessage,
    /// The gRPC messages of a side that streams, in order, each as canonical JSON and ended by a line feed.
    GrpcStream,
}

/// Why a body was not stored. A body that redaction rules could not look into does not leave the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Omission {
    /// Larger than `body_bytes_max`, on the wire or decoded; or a gRPC message nested more deeply than JSON is read.
    OverLimit,
    /// In a coding that is not known, or damaged in it.
    UnknownCoding,
    /// Not UTF-8 text. gRPC-Web counts as such.
    Binary,
    /// It ended before its announced end.
    Truncated,
    /// gRPC, and no descriptors are configured, or its messages are not Protocol Buffers.
    Grpc,
    /// gRPC that the configured descriptors do not describe wholly: the method is not among them, a message has a field that they
    /// do not name (money may be in it), does not decode, or has no JSON form.
    UnknownSchema,
    /// Redaction rules apply to it and cannot look into it: another type than theirs, or not sound in its own.
    Unredactable,
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
        Self { wire_bytes: text.len() as u64, text: Some(text), ..Self::default() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An exchange with this number.
    pub(crate) fn exchange(sequence: u64) -> Exchange {
        Exchange { sequence, ..serde_json::from_str(VERSION_1).unwrap() }
    }

    /// What version 1 wrote before there were trailers and renderings. Never to be changed.
    const VERSION_1: &str = concat!(
        r#"{"id":"0197a0e5-0000-7000-8000-000000000001","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","#,
        r#""received_at":"2026-11-20T07:30:00.000001Z","sequence":1,"duration_us":1500,"service":"ledger","#,
        r#""build":"p1","order_key":null,"request":{"method":"POST","target":"/book?day=1","#,
        r#""version":"HTTP/1.1","headers":[["host","books"],["x-name","café"]],"#,
        r#""body":{"text":"{\"amount\": 1.10}","omitted":null,"coding":null,"wire_bytes":16}},"#,
        r#""response":{"status":200,"headers":[["content-encoding","gzip"]],"#,
        r#""body":{"text":"{}","omitted":null,"coding":"gzip","wire_bytes":22}},"end":"complete","#,
        r#""upstream":[{"name":"fx","offset_us":1,"duration_us":2,"request":{"method":"GET","target":"/rate","#,
        r#""version":"HTTP/1.1","headers":[],"body":{"text":"","omitted":null,"coding":null,"wire_bytes":0}},"#,
        r#""response":{"status":200,"headers":[],"#,
        r#""body":{"text":null,"omitted":"over_limit","coding":null,"wire_bytes":9}},"end":"complete"}],"#,
        r#""sample":{"unit":"trace","pi":9007199254740992,"draw":0,"stratum":"all","size":null}}"#,
    );

    #[test]
    fn a_line_of_version_1_reads_and_is_written_as_it_was() {
        let exchange: Exchange = serde_json::from_str(VERSION_1).unwrap();
        assert_eq!(exchange.request.trailers, []);
        assert_eq!(exchange.response.as_ref().unwrap().body.rendering, None);
        assert_eq!(serde_json::to_string(&exchange).unwrap(), VERSION_1);
    }

    #[test]
    fn trailers_and_renderings_are_written_where_there_are_any() {
        let mut exchange: Exchange = serde_json::from_str(VERSION_1).unwrap();
        exchange.request.body.rendering = Some(Rendering::GrpcStream);
        exchange.request.trailers = vec![("x-check".into(), "1".into())];
        let response = exchange.response.as_mut().unwrap();
        response.trailers = vec![("grpc-status".into(), "0".into())];
        response.body.rendering = Some(Rendering::GrpcMessage);
        response.body.omitted = Some(Omission::UnknownSchema);
        exchange.upstream[0].request.body.omitted = Some(Omission::Grpc);
        let written = serde_json::to_string(&exchange).unwrap();
        for part in [
            r#""wire_bytes":16,"rendering":"grpc_stream"},"trailers":[["x-check","1"]]}"#,
            r#""omitted":"unknown_schema","coding":"gzip","wire_bytes":22,"rendering":"grpc_message"},"trailers":[["grpc-status","0"]]}"#,
            r#""omitted":"grpc""#,
        ] {
            assert!(written.contains(part), "{part} is not in {written}");
        }
        assert_eq!(serde_json::from_str::<Exchange>(&written).unwrap(), exchange);
    }
}
