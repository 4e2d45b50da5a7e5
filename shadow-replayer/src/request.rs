//! What the candidate is sent: production's request, less what belonged to its connection and its cache, plus what names the run. Pure.
//!
//! Left as recorded: `Date`, `Forwarded`, `X-Forwarded-*` and `Via`, which are production's own statements about the event and may
//! decide what is booked; `Range`, whose answer is compared like any other; and the method, so that writes are writes.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Parts, Scheme};
use http::{Request, Uri};
use http_body_util::Full;
use jiff::Timestamp;
use shadow_recorder::config::upstream::Origin;
use shadow_recorder::exchange::{self, Body, Exchange, Omission};

use crate::config::candidate::CandidateRules;
use crate::run::RunId;
use crate::signature::Signature;

/// A field that tells the candidate when the event was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// The field.
    pub header: HeaderName,
    /// How the time is written.
    pub format: TimeFormat,
}

/// How an instant is written in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-11-20T07:30:00.000001Z`
    Rfc3339,
    /// Milliseconds since 1970.
    EpochMs,
}

/// Fields that are not sent as recorded: they describe the transfer of the recorded bytes, belong to one connection, ask for an
/// answer that depends on what the client had before, or are the replay's own.
const NOT_SENT: [&str; 19] = [
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "expect",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "traceparent",
    "tracestate",
];

/// What is known only when a request is made.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The trace id under which it is sent.
    pub trace_id: String,
    /// The time.
    pub now: Timestamp,
    /// The field with the credential, where there is one.
    pub credential: Option<(HeaderName, HeaderValue)>,
}

/// How requests are made for one candidate in one run.
#[derive(Clone, Debug)]
pub struct Maker {
    /// Where they go.
    pub origin: Origin,
    /// The run that they name.
    pub run: RunId,
    /// What is sent beside what was recorded.
    pub rules: CandidateRules,
}

impl Maker {
    /// Makes the request of an exchange.
    pub fn request(
        &self,
        exchange: &Exchange,
        moment: &Moment,
    ) -> Result<Request<Full<Bytes>>, String> {
        let recorded = &exchange.request;
        let body = content(&recorded.body)
            .map_err(|why| format!("the request's body was not recorded ({why:?})"))?;
        let signature = self.rules.authentication.signature.as_ref();
        let signed = |signature: &Signature| {
            signature.of(&body, moment.now).map(|value| (signature.header.clone(), value))
        };
        let signature = signature.map(signed).transpose()?;
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = uri(&self.origin, &recorded.target)?;
        *request.method_mut() = recorded
            .method
            .parse()
            .map_err(|_| format!("the method {} cannot be sent", recorded.method))?;
        *request.headers_mut() = headers(recorded)?;
        self.add_own(request.headers_mut(), exchange, &moment.trace_id)?;
        let own = &self.rules.authentication.headers;
        for (name, value) in own.iter().chain(&moment.credential).chain(&signature) {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    fn add_own(
        &self,
        headers: &mut HeaderMap,
        exchange: &Exchange,
        trace_id: &str,
    ) -> Result<(), String> {
        let value = |name: &str, value: String| {
            HeaderValue::from_str(&value).map_err(|_| format!("the field {name} cannot be sent"))
        };
        if let Some(host) = &self.rules.host {
            headers.insert("host", host.clone());
        } else if !headers.contains_key("host") {
            headers.insert("host", value("host", self.origin.authority.to_string())?);
        }
        let parent = format!("00-{trace_id}-{}-01", &trace_id[..16]);
        headers.insert("traceparent", value("traceparent", parent)?);
        headers.insert("tracestate", value("tracestate", format!("shadow={}", exchange.id))?);
        // Beside what production's request carried: the candidate is asked what production was asked.
        headers.append("baggage", value("baggage", format!("shadow.run_id={}", self.run))?);
        if let Some(EventTime { header, format }) = &self.rules.event_time {
            let time = written(exchange.received_at, *format);
            headers.insert(header, value(header.as_str(), time)?);
        }
        Ok(())
    }
}

fn written(at: Timestamp, format: TimeFormat) -> String {
    match format {
        TimeFormat::Rfc3339 => at.to_string(),
        TimeFormat::EpochMs => at.as_millisecond().to_string(),
    }
}

/// Returns the target at the candidate. It is put together from parts, so that no recorded target can name another host.
fn uri(origin: &Origin, target: &str) -> Result<Uri, String> {
    let cannot = || format!("the target {target} cannot be sent");
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(origin.authority.clone());
    parts.path_and_query = Some(target.parse().map_err(|_| cannot())?);
    let uri = Uri::from_parts(parts).map_err(|_| cannot())?;
    // `*` and the like have no form in which they are sent to a server.
    if uri.path().starts_with('/') { Ok(uri) } else { Err(cannot()) }
}

fn headers(recorded: &exchange::Request) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &recorded.headers {
        if NOT_SENT.contains(&&*name.to_ascii_lowercase()) {
            continue;
        }
        let cannot = || format!("the recorded field {name} cannot be sent");
        let bytes: Vec<u8> = value
            .chars()
            .map(|c| u8::try_from(c).map_err(|_| cannot()))
            .collect::<Result<_, _>>()?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| cannot())?;
        headers.append(name, HeaderValue::from_bytes(&bytes).map_err(|_| cannot())?);
    }
    Ok(headers)
}

/// Returns the bytes of a recorded body; one that was omitted cannot be sent, nor a text that stands for gRPC messages.
pub(crate) fn content(body: &Body) -> Result<Bytes, Omission> {
    match (&body.text, body.omitted) {
        (_, Some(why)) => Err(why),
        (Some(_), None) if body.rendering.is_some() => Err(Omission::Grpc),
        (Some(text), None) => Ok(Bytes::from(text.clone())),
        (None, None) => Ok(Bytes::new()),
    }
}

#[cfg(test)]
mod tests;
