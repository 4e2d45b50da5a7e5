//! Sends one recorded request to the candidate, and to nothing else: no redirect is followed, no proxy is asked.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Uri;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Parts, Scheme};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use shadow_recorder::config::upstream::Origin;
use shadow_recorder::exchange::{Body, Exchange, Omission, Request, Response};
use shadow_recorder::{body, redact};

use crate::answer::Failure;
use crate::run::RunId;

/// A client of one candidate.
#[derive(Clone, Debug)]
pub struct Candidate {
    client: Client<HttpConnector, Full<Bytes>>,
    origin: Origin,
    run: RunId,
    timeout: Duration,
    body_bytes_max: usize,
}

/// Fields that are not sent as recorded: they describe the transfer of the recorded bytes, ask for an answer that depends on what
/// the client had before, or are the replay's own.
const NOT_SENT: [&str; 12] = [
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "expect",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "traceparent",
    "tracestate",
];

impl Candidate {
    /// Makes a client; nothing is connected yet.
    pub fn new(origin: Origin, run: RunId, timeout: Duration, body_bytes_max: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).set_host(false).build(connector);
        Self { client, origin, run, timeout, body_bytes_max }
    }

    /// Sends the request of an exchange; returns the answer, or whose fault it is that there is none, and the time it took.
    pub async fn send(
        &self,
        exchange: &Exchange,
        trace_id: &str,
    ) -> (Result<Response, Failure>, Duration) {
        let request = match self.request(exchange, trace_id) {
            Ok(request) => request,
            Err(why) => return (Err(Failure::Harness(why)), Duration::ZERO),
        };
        let start = Instant::now();
        let answer = tokio::time::timeout(self.timeout, self.answer(request)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(format!("the candidate did not answer within {:?}", self.timeout))
        });
        (answer.map_err(Failure::Candidate), start.elapsed())
    }

    async fn answer(&self, request: http::Request<Full<Bytes>>) -> Result<Response, String> {
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| format!("the candidate did not answer: {}", chain(&error)))?;
        let (head, incoming) = answer.into_parts();
        let coding = coding(&head.headers);
        let (body, trailers) = match Limited::new(incoming, self.body_bytes_max).collect().await {
            Ok(whole) => {
                let trailers = whole.trailers().map(redact::recorded).unwrap_or_default();
                let coding = coding.as_deref();
                (body::decode(&whole.to_bytes(), coding, self.body_bytes_max), trailers)
            }
            Err(error) if error.is::<LengthLimitError>() => {
                let bytes = self.body_bytes_max as u64;
                (body::omitted(Omission::OverLimit, coding.as_deref(), bytes), Vec::new())
            }
            Err(error) => {
                return Err(format!("the candidate broke off its answer: {}", chain(&*error)));
            }
        };
        Ok(Response {
            status: head.status.as_u16(),
            headers: redact::recorded(&head.headers),
            body,
            trailers,
        })
    }

    fn request(
        &self,
        exchange: &Exchange,
        trace_id: &str,
    ) -> Result<http::Request<Full<Bytes>>, String> {
        let recorded = &exchange.request;
        let body = content(&recorded.body)
            .map_err(|why| format!("the request's body was not recorded ({why:?})"))?;
        let mut request = http::Request::new(Full::new(body));
        *request.uri_mut() = self.uri(&recorded.target)?;
        *request.method_mut() = recorded
            .method
            .parse()
            .map_err(|_| format!("the method {} cannot be sent", recorded.method))?;
        *request.headers_mut() = headers(recorded)?;
        let headers = request.headers_mut();
        let mut set = |name: &'static str, value: String| -> Result<(), String> {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| format!("the field {name} cannot be sent"))?;
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        set("traceparent", format!("00-{trace_id}-{}-01", &trace_id[..16]))?;
        set("tracestate", format!("shadow={}", exchange.id))?;
        // Beside what production's request carried: the candidate is asked what production was asked.
        let baggage = HeaderValue::from_str(&format!("shadow.run_id={}", self.run));
        headers.append("baggage", baggage.map_err(|_| "the field baggage cannot be sent")?);
        Ok(request)
    }

    /// Returns the target at the candidate. It is put together from parts, so that no recorded target can name another host.
    fn uri(&self, target: &str) -> Result<Uri, String> {
        let cannot = || format!("the target {target} cannot be sent");
        let mut parts = Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.origin.authority.clone());
        parts.path_and_query = Some(target.parse().map_err(|_| cannot())?);
        let uri = Uri::from_parts(parts).map_err(|_| cannot())?;
        // `*` and the like have no form in which they are sent to a server.
        if uri.path().starts_with('/') { Ok(uri) } else { Err(cannot()) }
    }
}

fn headers(recorded: &Request) -> Result<HeaderMap, String> {
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

/// Returns the content codings of a message, joined as one field.
pub(crate) fn coding(headers: &HeaderMap) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all("content-encoding")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Writes an error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_recorded_target_leads_to_another_host() {
        let origin = Origin::parse("http://127.0.0.1:9000").unwrap();
        let candidate = Candidate::new(origin, RunId::fresh(), Duration::ZERO, 0);
        assert_eq!(candidate.uri("/a?b=1").unwrap(), "http://127.0.0.1:9000/a?b=1");
        for target in ["*", "@other/", ":80/", "", "other.example/x"] {
            assert!(candidate.uri(target).is_err(), "{target} gave {:?}", candidate.uri(target));
        }
    }
}
