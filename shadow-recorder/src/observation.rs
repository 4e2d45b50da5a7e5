//! One request with its answer while both pass, and what is kept of them: the same for an exchange and an upstream call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response, Version};

use crate::capture::{Capture, Ticket};
use crate::exchange::{self, End};
use crate::metrics::Metrics;
use crate::redact;
use crate::tee::{Copied, Ending};

/// The head of a request, without what must not be recorded.
#[derive(Debug)]
pub(crate) struct RequestHead {
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
}

/// The head of an answer, without what must not be recorded.
#[derive(Debug)]
struct AnswerHead {
    status: u16,
    headers: Vec<(String, String)>,
}

/// A request and its answer after both ended; the bodies are still as they were on the wire.
#[derive(Debug)]
pub(crate) struct Seen {
    request: RequestHead,
    request_body: Copied,
    answer: Option<(AnswerHead, Copied)>,
    end: End,
    duration: Duration,
}

/// Collects the parts of one request and its answer, in whichever order they end, and reports them once.
#[derive(Debug)]
pub(crate) struct Observation {
    capture: Arc<Capture>,
    ticket: Ticket,
    started: Instant,
    parts: Mutex<Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    request: Option<RequestHead>,
    request_body: Option<Copied>,
    answer: Option<AnswerHead>,
    answer_body: Option<Copied>,
    ended: Option<(End, Duration)>,
}

impl RequestHead {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        #[cfg(test)]
        assert_ne!(request.uri().path(), "/panic", "a fault that a test asked for");
        Self {
            method: request.method().as_str().into(),
            target: request.uri().path_and_query().map_or("/", |target| target.as_str()).into(),
            version: match request.version() {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2.0",
                _ => "HTTP/1.1",
            },
            headers: redact::recorded(request.headers()),
        }
    }
}

impl Observation {
    pub(crate) fn new(
        capture: Arc<Capture>,
        ticket: Ticket,
        started: Instant,
        request: RequestHead,
    ) -> Arc<Self> {
        let parts = Mutex::new(Parts { request: Some(request), ..Parts::default() });
        Arc::new(Self { capture, ticket, started, parts })
    }

    /// The request's body ended.
    pub(crate) fn request_ended(&self, body: Copied) {
        self.record(|parts| parts.request_body = Some(body));
    }

    /// The answer's head passed.
    pub(crate) fn answer_begun<B>(&self, response: &Response<B>) {
        self.record(|parts| {
            let headers = redact::recorded(response.headers());
            parts.answer = Some(AnswerHead { status: response.status().as_u16(), headers });
        });
    }

    /// The answer's body ended.
    pub(crate) fn answer_ended(&self, body: Copied) {
        let end = match body.ending() {
            Ending::Complete => End::Complete,
            Ending::Failed => End::UpstreamFailed,
            Ending::Aborted => self.broken_off(),
        };
        self.record(|parts| {
            parts.answer_body = Some(body);
            parts.ended = Some((end, self.started.elapsed()));
        });
    }

    /// The service or upstream gave no answer; the proxy answers in its place.
    pub(crate) fn not_answered(&self) {
        self.record(|parts| {
            // A client that breaks off its own request makes forwarding fail; that is not the service's failure.
            let by_client =
                parts.request_body.as_ref().is_some_and(|body| body.ending() == Ending::Failed);
            let end = if by_client { End::ClientAborted } else { End::UpstreamFailed };
            parts.ended = Some((end, self.started.elapsed()));
        });
    }

    /// The client went away, or the recorder stopped, before there was an answer.
    pub(crate) fn abandoned(&self) {
        let end = self.broken_off();
        self.record(|parts| parts.ended = Some((end, self.started.elapsed())));
    }

    fn broken_off(&self) -> End {
        if self.capture.is_cut() { End::Truncated } else { End::ClientAborted }
    }

    /// Changes the parts and reports them when they are whole. Never panics: what fails here costs this capture only.
    fn record(&self, change: impl FnOnce(&mut Parts)) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut parts);
            let seen = parts.take_whole();
            drop(parts);
            if let Some(seen) = seen {
                self.capture.ended(&self.ticket, seen);
            }
        }));
        if outcome.is_err() {
            self.capture.lost(&self.ticket);
        }
    }
}

impl Parts {
    fn take_whole(&mut self) -> Option<Seen> {
        if self.request_body.is_none() || self.ended.is_none() {
            return None;
        }
        let answer = self.answer.take().zip(self.answer_body.take());
        let (end, duration) = self.ended?;
        Some(Seen {
            request: self.request.take()?,
            request_body: self.request_body.take()?,
            answer,
            end,
            duration,
        })
    }
}

impl Seen {
    /// Returns whether a body was given up because all copies together held too much memory.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.request_body.is_out_of_memory()
            || self.answer.as_ref().is_some_and(|(_, body)| body.is_out_of_memory())
    }

    /// Returns how it ended.
    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Returns the microseconds from the request's head to the end of the answer.
    pub(crate) fn duration_us(&self) -> u64 {
        micros(self.duration)
    }

    /// Decodes the bodies: the expensive part, done by the writer.
    pub(crate) fn into_messages(
        self,
        bytes_max: usize,
        metrics: &Metrics,
    ) -> (exchange::Request, Option<exchange::Response>) {
        let body = |copied: &Copied, headers: &[(String, String)]| {
            let body = copied.body(coding(headers).as_deref(), bytes_max);
            if let Some(why) = body.omitted {
                metrics.omitted(why).inc();
            }
            body
        };
        let RequestHead { method, target, version, headers } = self.request;
        let request = exchange::Request {
            method,
            target,
            version: version.into(),
            body: body(&self.request_body, &headers),
            headers,
        };
        let response = self.answer.map(|(head, copied)| exchange::Response {
            status: head.status,
            body: body(&copied, &head.headers),
            headers: head.headers,
        });
        (request, response)
    }
}

/// Returns whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns all values of `Content-Encoding`, joined as one.
fn coding(headers: &[(String, String)]) -> Option<String> {
    let values: Vec<&str> = headers
        .iter()
        .filter(|(name, _)| name == "content-encoding")
        .map(|(_, value)| &**value)
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}
