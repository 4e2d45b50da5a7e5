//! The admin listener, for the operator and not for clients.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /metrics` | the metrics |
//! | `GET /live` | 503 where the writer or a listener failed, which only a restart mends; a full disk is no such failure |
//! | `GET /ready` | 503 once the recorder stops accepting; until then 200, also while recording pauses: production comes first |
//! | `GET /recording` | `{"recording":true,"since":…}`, or `false` with the reasons, named as `dropped{reason}` names them |
//! | `PUT /recording`, body `on` or `off` | switches recording; after a restart it is on |
//!
//! While recording is off nothing is copied; each exchange is counted as `dropped{reason="recording_off"}`; what was open before
//! is finished and recorded. Web pages cannot switch it: a browser says where a request comes from, and no page is the right place.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::account::Reason;
use crate::capture::Capture;
use crate::listeners::OpenDoor;
use crate::proxy::ACCEPT_PAUSE;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HOW_TO_SWITCH: &str = "PUT /recording with the body `on` or `off`\n";

/// A request's head, and its body.
const HEAD_BYTES_MAX: usize = 8 << 10;
const BODY_BYTES_MAX: usize = 64;
/// From the connection to the end of the answer. Each connection serves one request.
const DEADLINE: Duration = Duration::from_secs(10);
/// Beyond this the oldest gives way: who opens connections and says nothing must not keep a probe from its answer.
const CONNECTIONS_MAX: usize = 64;

/// What the admin listener shows and switches.
pub(crate) struct Admin {
    pub(crate) registry: Registry,
    pub(crate) capture: Arc<Capture>,
    /// Cancelled when the recorder stops accepting.
    pub(crate) draining: CancellationToken,
}

/// The answer to `/recording`.
#[derive(Serialize)]
struct State {
    recording: bool,
    since: jiff::Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'static str>,
}

type BoxError = Box<dyn Error + Send + Sync>;
type Answer = (StatusCode, &'static str, String);

/// Accepts until `close`, and serves what was accepted until `end`.
pub(crate) async fn serve(
    door: OpenDoor,
    admin: Arc<Admin>,
    close: CancellationToken,
    end: CancellationToken,
) {
    let mut connections = VecDeque::<AbortHandle>::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = close.cancelled() => break,
            () = end.cancelled() => break,
            accepted = door.accept() => accepted,
        };
        let Ok(stream) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if connections.len() == CONNECTIONS_MAX {
            connections.retain(|connection| !connection.is_finished());
        }
        if connections.len() == CONNECTIONS_MAX
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let admin = Arc::clone(&admin);
        let service = service_fn(move |request| {
            let admin = Arc::clone(&admin);
            async move { Ok::<_, Infallible>(admin.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .max_buf_size(HEAD_BYTES_MAX)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let connection = tokio::spawn(tokio::time::timeout(DEADLINE, connection));
        connections.push_back(connection.abort_handle());
    }
    drop(door);
    end.cancelled().await;
    for connection in connections {
        connection.abort();
    }
}

impl Admin {
    async fn answer<B: Body<Error: Into<BoxError>>>(
        &self,
        request: Request<B>,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let method = head.method;
        let is_read = method == Method::GET || method == Method::HEAD;
        let (status, kind, content) = match head.uri.path() {
            "/recording" if method == Method::PUT => {
                if is_of_a_page(&head.headers) {
                    let why = "a web page cannot switch recording; use a command, such as curl\n";
                    (StatusCode::FORBIDDEN, PLAIN, why.into())
                } else {
                    self.switch(body).await
                }
            }
            "/recording" if !is_read => not_allowed(HOW_TO_SWITCH),
            "/recording" => self.recording(),
            "/metrics" | "/live" | "/ready" if !is_read => not_allowed("GET only\n"),
            "/metrics" => self.metrics(),
            "/live" => self.live(),
            "/ready" => self.ready(),
            _ => {
                let known = "/metrics, /live, /ready or /recording\n";
                (StatusCode::NOT_FOUND, PLAIN, known.into())
            }
        };
        // To HEAD, hyper sends the head alone.
        let mut response = Response::new(Full::from(content));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let switches = head.uri.path() == "/recording";
            let allowed = if switches { "GET, HEAD, PUT" } else { "GET, HEAD" };
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }

    fn metrics(&self) -> Answer {
        self.capture.update_gauges();
        let mut content = String::new();
        match text::encode(&mut content, &self.registry) {
            Ok(()) => (StatusCode::OK, OPENMETRICS, content),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
        }
    }

    fn live(&self) -> Answer {
        let failures = self.capture.health.failures();
        if failures.is_empty() {
            (StatusCode::OK, PLAIN, "live\n".into())
        } else {
            let what = format!("failed: {}\n", failures.join(", "));
            (StatusCode::SERVICE_UNAVAILABLE, PLAIN, what)
        }
    }

    fn ready(&self) -> Answer {
        if self.draining.is_cancelled() {
            return (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "stopping\n".into());
        }
        let (_, reasons) = self.capture.switch.state();
        let ready = match &names(&reasons)[..] {
            [] => "ready\n".into(),
            names => format!("ready; not recording: {}\n", names.join(", ")),
        };
        (StatusCode::OK, PLAIN, ready)
    }

    fn recording(&self) -> Answer {
        let (since, reasons) = self.capture.switch.state();
        let state = State { recording: reasons.is_empty(), since, reasons: names(&reasons) };
        match serde_json::to_string(&state) {
            Ok(text) => (StatusCode::OK, JSON, text + "\n"),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
        }
    }

    async fn switch<B: Body<Error: Into<BoxError>>>(&self, body: B) -> Answer {
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            return (StatusCode::BAD_REQUEST, PLAIN, HOW_TO_SWITCH.into());
        };
        let switch = &self.capture.switch;
        let is_off = switch.state().1.contains(&Reason::RecordingOff);
        match body.to_bytes().trim_ascii() {
            b"on" => {
                switch.resume(Reason::RecordingOff);
                if is_off {
                    tracing::warn!("recording was switched on at the admin port");
                }
            }
            b"off" => {
                switch.pause(Reason::RecordingOff);
                if !is_off {
                    tracing::warn!(
                        "recording was switched off at the admin port: traffic passes unrecorded until it is switched on or restarted"
                    );
                }
            }
            _ => return (StatusCode::BAD_REQUEST, PLAIN, HOW_TO_SWITCH.into()),
        }
        self.recording()
    }
}

fn names(reasons: &[Reason]) -> Vec<&'static str> {
    reasons.iter().map(|reason| reason.as_str()).collect()
}

fn not_allowed(how: &str) -> Answer {
    (StatusCode::METHOD_NOT_ALLOWED, PLAIN, how.into())
}

/// Returns whether a browser sends the request for a page: they say so, and `none` means a person at the address bar.
fn is_of_a_page(headers: &http::HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
        || headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() != b"none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::tests::{LIMITS, capture};

    async fn ask(admin: &Admin, target: &str) -> (u16, String) {
        let request = Request::get(target).body(Full::<Bytes>::default()).unwrap();
        let (head, body) = admin.answer(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_part_that_failed_is_told_to_whoever_can_restart_it() {
        let (capture, _events) = capture(LIMITS);
        let (registry, draining) = (Registry::default(), CancellationToken::new());
        let admin = Admin { registry, capture: Arc::clone(&capture), draining };
        assert_eq!(ask(&admin, "/live").await, (200, "live\n".into()));
        capture.health.failed("writer");
        capture.health.failed("clients");
        assert_eq!(ask(&admin, "/live").await, (503, "failed: writer, clients\n".into()));
        // Traffic still passes.
        assert_eq!(ask(&admin, "/ready").await, (200, "ready\n".into()));
        admin.draining.cancel();
        assert_eq!(ask(&admin, "/ready").await, (503, "stopping\n".into()));
    }
}
