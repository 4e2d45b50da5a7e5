//! One request with its answer while both pass, and what is kept of them: the same for an exchange and an upstream call.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::HOST;
use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version};

use crate::batch::Naming;
use crate::body::{self, Content, Half};
use crate::capture::{Capture, Ticket};
use crate::exchange::{self, End};
use crate::head::Head;
use crate::metrics::Metrics;
use crate::tee::{Copied, Ending, Share};

/// The head of a request, without what must not be recorded.
#[derive(Debug)]
pub(crate) struct RequestHead {
    version: &'static str,
    /// Stands for who called, where that is kept.
    principal: Option<String>,
    /// Method, target, transfer codings, and the fields.
    head: Head,
}

/// The head of an answer, without what must not be recorded.
#[derive(Debug)]
struct AnswerHead {
    status: u16,
    /// Transfer codings, and the fields.
    head: Head,
}

/// A request and its answer after both ended; the bodies are still as they were on the wire.
#[derive(Debug)]
pub(crate) struct Seen {
    request: RequestHead,
    request_body: Copied,
    answer: Option<(AnswerHead, Copied)>,
    end: End,
    duration: Duration,
    heads: Heads,
}

/// The memory of the heads.
#[derive(Debug)]
struct Heads {
    share: Share,
    out_of_memory: bool,
}

/// Collects the parts of one request and its answer, in whichever order they end, and reports them once.
#[derive(Debug)]
pub(crate) struct Observation {
    capture: Arc<Capture>,
    ticket: Ticket,
    started: Instant,
    parts: Mutex<Parts>,
}

#[derive(Debug)]
struct Parts {
    request: Option<RequestHead>,
    request_body: Option<Copied>,
    answer: Option<AnswerHead>,
    answer_body: Option<Copied>,
    ended: Option<(End, Duration)>,
    heads: Option<Heads>,
}

impl RequestHead {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        #[cfg(test)]
        assert_ne!(request.uri().path(), "/panic", "a fault that a test asked for");
        let version = match request.version() {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        };
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let transfer = transfer_codings(request.headers());
        let lead = [request.method().as_str(), target, &transfer];
        let headers = with_host(request.uri(), request.headers());
        Self { version, principal: None, head: Head::copy(lead, &headers) }
    }

    /// Says who called: the credential itself is not kept.
    pub(crate) fn by(self, principal: Option<String>) -> Self {
        Self { principal, ..self }
    }
}

/// Returns the fields with a `Host`: HTTP/2 says it in `:authority`, and a replay over HTTP/1 needs it.
fn with_host<'h>(uri: &Uri, headers: &'h HeaderMap) -> Cow<'h, HeaderMap> {
    let authority = uri.authority().filter(|_| !headers.contains_key(HOST));
    // A user with a password in front of it is a credential.
    let host = authority.map(|all| all.as_str().rsplit('@').next().unwrap_or_default());
    let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) else {
        return Cow::Borrowed(headers);
    };
    let mut headers = headers.clone();
    headers.insert(HOST, host);
    Cow::Owned(headers)
}

impl Observation {
    pub(crate) fn new(
        capture: Arc<Capture>,
        ticket: Ticket,
        started: Instant,
        mut request: RequestHead,
    ) -> Arc<Self> {
        let mut heads = Heads { share: Share::new(capture.memory()), out_of_memory: false };
        request.head = heads.keep(request.head);
        let parts = Parts {
            request: Some(request),
            request_body: None,
            answer: None,
            answer_body: None,
            ended: None,
            heads: Some(heads),
        };
        Arc::new(Self { capture, ticket, started, parts: parts.into() })
    }

    /// The request's body ended.
    pub(crate) fn request_ended(&self, body: Copied) {
        self.record(|parts| parts.request_body = Some(body));
    }

    /// The answer's head passed.
    pub(crate) fn answer_begun<B>(&self, response: &Response<B>) {
        self.record(|parts| {
            let transfer = transfer_codings(response.headers());
            let head = Head::copy([&transfer], response.headers());
            // Absent where the observation was reported already, as after a panic.
            let Some(heads) = &mut parts.heads else { return };
            let head = heads.keep(head);
            parts.answer = Some(AnswerHead { status: response.status().as_u16(), head });
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
            heads: self.heads.take()?,
        })
    }
}

impl Heads {
    /// Returns the head if there is memory for it, else an empty one.
    fn keep(&mut self, head: Head) -> Head {
        if self.share.take(head.memory_bytes()) {
            return head;
        }
        self.out_of_memory = true;
        Head::default()
    }
}

impl Seen {
    /// Returns whether a part was given up because all copies together held too much memory.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.heads.out_of_memory
            || self.request_body.is_out_of_memory()
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

    /// Decodes the heads and bodies and redacts them: the expensive part, done by the writer.
    pub(crate) fn into_messages(
        self,
        upstream: Option<&str>,
        naming: &Naming,
        metrics: &Metrics,
    ) -> (exchange::Request, Option<exchange::Response>) {
        let RequestHead { version, principal, head } = &self.request;
        let ([method, target, transfer], headers) = head.texts();
        let read = |copied: &Copied, half, transfer: &str, headers: &[(String, String)]| {
            let coding = body::codings(headers, transfer);
            let coding = coding.as_deref();
            copied.body(coding, |wire| {
                let content = Content { wire, coding, headers, half, target: &target };
                body::read(&content, naming.grpc.as_ref(), naming.body_bytes_max)
            })
        };
        let body = read(&self.request_body, Half::Request, &transfer, &headers);
        let mut response = self.answer.as_ref().map(|(AnswerHead { status, head }, copied)| {
            let ([transfer], headers) = head.texts();
            exchange::Response {
                status: *status,
                body: read(copied, Half::Answer, &transfer, &headers),
                headers,
                trailers: copied.trailers(),
            }
        });
        let trailers = self.request_body.trailers();
        let (version, principal) = ((*version).into(), principal.clone());
        let mut request =
            exchange::Request { method, target, version, headers, body, trailers, principal };
        naming.redactor.request(upstream, &mut request);
        if let Some(response) = &mut response {
            naming.redactor.response(upstream, &request, response);
        }
        let bodies = [Some(&request.body), response.as_ref().map(|response| &response.body)];
        for why in bodies.into_iter().flatten().filter_map(|body| body.omitted) {
            metrics.omitted(why).inc();
        }
        (request, response)
    }
}

/// Returns whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the transfer codings below `chunked`, in the order in which they were applied. The proxy passes none on, because
/// nobody asked it to remove them; were one to pass, what is recorded must not be taken for the content.
fn transfer_codings(headers: &HeaderMap) -> Cow<'static, str> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => "".into(),
        (Some(only), None) if only == "chunked" => "".into(),
        _ => {
            let values = headers.get_all(TRANSFER_ENCODING).iter();
            let text = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
            let text = text.collect::<Vec<_>>().join(",");
            let codings = text.split(',').map(str::trim);
            let below = codings.filter(|coding| !coding.eq_ignore_ascii_case("chunked"));
            below.collect::<Vec<_>>().join(", ").into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;

    use bytes::Bytes;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http_body_util::{BodyExt, Full};
    use tower::{Service, service_fn};

    use super::*;
    use crate::capture::Event;
    use crate::capture::tests::{LIMITS, capture};
    use crate::exchange::Omission;
    use crate::record::{Record, Side};
    use crate::tee::Tee;

    /// Passes a message with these transfer codings both ways; returns what is stored of its bodies.
    async fn stored(transfer: &[&'static str], wire: Vec<u8>) -> [exchange::Body; 2] {
        let (capture, events) = capture(LIMITS);
        let echo = service_fn(|request: Request<Tee<Full<Bytes>>>| {
            Box::pin(async move {
                let (head, body) = request.into_parts();
                let mut answer = Response::new(Full::from(body.collect().await?.to_bytes()));
                *answer.headers_mut() = head.headers;
                Ok::<_, Infallible>(answer)
            })
        });
        let (side, unrecorded) = (Side::Clients, None);
        let mut layer = Record { inner: echo, side, capture: Arc::clone(&capture), unrecorded };
        let mut request = Request::get("/").header("content-encoding", "zstd");
        for value in transfer {
            request = request.header(TRANSFER_ENCODING, *value);
        }
        let request = request.body(Full::from(wire.clone())).unwrap();
        let answer = layer.call(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), wire);
        capture.sweep(Instant::now() + LIMITS.linger);
        let Ok(Event::Exchange(closed)) = events.try_recv() else { panic!("not closed") };
        let (request, answer) = closed.seen.into_messages(None, &Naming::plain(), &capture.metrics);
        [request.body, answer.unwrap().body]
    }

    #[tokio::test]
    async fn a_transfer_coding_is_removed_from_what_is_recorded() {
        let content = zstd::stream::encode_all(&b"{\"amount\":1.10}"[..], 1).unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&content).unwrap();
        let transferred = encoder.finish().unwrap();
        for (transfer, wire, text, coding) in [
            (&[][..], &content, true, "zstd"),
            (&["chunked"], &content, true, "zstd"),
            (&["gzip, Chunked"], &transferred, true, "zstd, gzip"),
            (&["gzip", "chunked"], &transferred, true, "zstd, gzip"),
            (&["chunked"], &transferred, false, "zstd"),
            (&["compress, chunked"], &content, false, "zstd, compress"),
            (&["gzip", "compress, chunked"], &content, false, "zstd, gzip, compress"),
        ] {
            for body in stored(transfer, wire.clone()).await {
                let expected = text.then_some("{\"amount\":1.10}");
                assert_eq!(
                    (body.text.as_deref(), body.coding.as_deref()),
                    (expected, Some(coding))
                );
                assert_eq!(body.omitted.is_none(), text);
                assert_ne!(body.omitted, Some(Omission::Binary));
            }
        }
    }
}
