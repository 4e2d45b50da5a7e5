//! The stub: listens where the candidate expects its upstreams and answers from the recording only.
//!
//! A call is looked up within its exchange by [`matching::find`], then among the ambient calls. Anything else is a miss: an error
//! answer that says what differs, and the exchange becomes unverified. The stub has no client: it cannot reach a live system.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use shadow_recorder::config::upstream::Upstream;
use shadow_recorder::exchange::{End, Exchange, Omission, Request, Response, UpstreamCall};
use shadow_recorder::redact::Redactor;
use shadow_recorder::{body, redact, trace_context};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ambient::AmbientCalls;
use crate::client;
use crate::matching::{self, Miss};
use crate::request;

/// The running stub.
#[derive(Debug)]
pub struct Stub {
    state: Arc<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the candidate did upstream while an exchange was open.
#[derive(Debug, Default)]
pub struct Seen {
    /// The calls that were answered, in order.
    pub calls: Vec<UpstreamCall>,
    /// The calls that were not.
    pub misses: Vec<Miss>,
    /// Recorded calls that were answered.
    pub hits: usize,
    /// Recorded calls that were not made.
    pub unused: usize,
}

/// A listener of the stub cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "the stub for upstream {name} cannot listen at {listen}: stop what listens there (a recorder or another replay?) or set [replay.stub] {name} to another address"
)]
pub struct BindError {
    name: String,
    listen: SocketAddr,
    source: std::io::Error,
}

#[derive(Debug)]
struct State {
    open: Mutex<HashMap<String, Open>>,
    ambient: AmbientCalls,
    // With one exchange in flight a call without trace context can only belong to it.
    alone: bool,
    body_bytes_max: usize,
    changed: Notify,
    /// When the newest exchange opened so far was received, for calls of no exchange.
    latest_us: AtomicI64,
    late: AtomicU64,
}

#[derive(Debug)]
struct Open {
    trace_id: String,
    received_at: Timestamp,
    began: Instant,
    redactor: Arc<Redactor>,
    recorded: Vec<UpstreamCall>,
    used: Vec<bool>,
    seen: Seen,
}

impl Stub {
    /// Binds a listener for each upstream that has an address, as the configuration requires, and answers until it is stopped.
    pub async fn start(
        upstreams: &[Upstream],
        ambient: AmbientCalls,
        alone: bool,
        body_bytes_max: usize,
        from: Timestamp,
    ) -> Result<Self, BindError> {
        let open = Mutex::default();
        let (latest_us, late) = (AtomicI64::new(from.as_microsecond()), AtomicU64::new(0));
        let state = Arc::new(State {
            open,
            ambient,
            alone,
            body_bytes_max,
            changed: Notify::new(),
            latest_us,
            late,
        });
        let stub = Self { state, stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let listening = |upstream: &Upstream| Some((upstream.clone(), upstream.listen?));
        for (upstream, listen) in upstreams.iter().filter_map(listening) {
            let listener = TcpListener::bind(listen).await.map_err(|source| BindError {
                name: upstream.name.clone(),
                listen,
                source,
            })?;
            let accepting =
                accept(listener, Arc::new(upstream), stub.state.clone(), stub.stop.clone());
            stub.tasks.spawn(accepting);
        }
        Ok(stub)
    }

    /// Opens an exchange, recorded under these rules: its recorded calls are answered until it is closed.
    pub fn open(&self, exchange: &Exchange, trace_id: &str, redactor: &Arc<Redactor>) {
        let began = Instant::now();
        let open = Open {
            trace_id: trace_id.into(),
            received_at: exchange.received_at,
            began,
            redactor: Arc::clone(redactor),
            used: vec![false; exchange.upstream.len()],
            recorded: exchange.upstream.clone(),
            seen: Seen::default(),
        };
        self.state.latest_us.fetch_max(exchange.received_at.as_microsecond(), Ordering::Relaxed);
        self.state.locked().insert(exchange.id.0.clone(), open);
    }

    /// Returns how many calls came for closed exchanges since it was last asked.
    pub fn take_late(&self) -> u64 {
        self.state.late.swap(0, Ordering::Relaxed)
    }

    /// Closes an exchange. Where recorded calls are still unused it waits up to `linger` for them, unless a miss has decided already.
    pub async fn close(&self, exchange: &Exchange, linger: Duration) -> Seen {
        let decided = || {
            self.state.locked().get(&exchange.id.0).is_none_or(|open| {
                !open.seen.misses.is_empty() || open.used.iter().all(|used| *used)
            })
        };
        let lingered = async {
            loop {
                let changed = self.state.changed.notified();
                if decided() {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(linger, lingered).await;
        let Some(open) = self.state.locked().remove(&exchange.id.0) else { return Seen::default() };
        let hits = open.used.iter().filter(|used| **used).count();
        Seen { hits, unused: open.used.len() - hits, ..open.seen }
    }

    /// Stops listening and ends every connection.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    upstream: Arc<Upstream>,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, upstream.name = upstream.name, "the stub cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        connections.spawn(serve(stream, upstream.clone(), state.clone(), stop.clone()));
    }
    connections.close();
    connections.wait().await;
}

async fn serve(
    stream: TcpStream,
    upstream: Arc<Upstream>,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let (upstream, state) = (upstream.clone(), state.clone());
        async move { Ok::<_, Infallible>(state.answer(&upstream, request).await) }
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A connection that breaks is the candidate's affair; the calls it carried are accounted for.
        _ = connection => {}
        () = stop.cancelled() => {}
    }
}

type Answer = http::Response<Full<Bytes>>;

impl State {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<String, Open>> {
        // The map is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, upstream: &Upstream, request: http::Request<Incoming>) -> Answer {
        let (head, incoming) = request.into_parts();
        let carried = trace_context::read(&head.headers);
        let coding = client::coding(&head.headers);
        // A body that is too long or breaks off matches nothing, and at a sink it is money that cannot be read.
        let coding = coding.as_deref();
        let (body, trailers) = match Limited::new(incoming, self.body_bytes_max).collect().await {
            Ok(whole) => {
                let trailers = whole.trailers().map(redact::recorded).unwrap_or_default();
                (body::decode(&whole.to_bytes(), coding, self.body_bytes_max), trailers)
            }
            Err(_) => (body::omitted(Omission::OverLimit, coding, 0), Vec::new()),
        };
        let call = Request {
            method: head.method.to_string(),
            target: head.uri.path_and_query().map_or("/".into(), ToString::to_string),
            version: format!("{:?}", head.version),
            headers: redact::recorded(&head.headers),
            body,
            trailers,
            principal: None,
        };
        let answer = self.look_up(upstream, &carried, &call);
        self.changed.notify_waiters();
        answer
    }

    /// Answers a call, as the candidate made it, from its exchange, else from the ambient calls, else as a miss.
    fn look_up(
        &self,
        upstream: &Upstream,
        carried: &trace_context::Carried,
        given: &Request,
    ) -> Answer {
        let mut open = self.locked();
        let Some(exchange) = self.attribute(&mut open, carried) else {
            if carried.exchange.is_some() {
                self.late.fetch_add(1, Ordering::Relaxed);
                return error(
                    StatusCode::BAD_GATEWAY,
                    "the exchange of this call is closed; see [replay] linger",
                );
            }
            let latest_us = self.latest_us.load(Ordering::Relaxed);
            let latest = Timestamp::from_microsecond(latest_us).unwrap_or(Timestamp::MIN);
            let ambient = self.ambient.find(upstream, given, latest);
            return ambient.map_or_else(|| doubtful(&mut open, upstream, given), recorded_answer);
        };
        let call = exchange.redacted(upstream, given);
        match matching::find(upstream, &exchange.recorded, &exchange.used, &call) {
            Ok(at) => {
                exchange.used[at] = true;
                if let Some(differs) = matching::unanswerable(&exchange.recorded[at]) {
                    let call = format!("{} {}", call.method, call.target);
                    let upstream = upstream.name.clone();
                    return missed(exchange, Miss { upstream, call, nearest: None, differs });
                }
                let answer = recorded_answer(&exchange.recorded[at]);
                let recorded = exchange.recorded[at].clone();
                let offset_us =
                    u64::try_from(exchange.began.elapsed().as_micros()).unwrap_or(u64::MAX);
                exchange.seen.calls.push(UpstreamCall {
                    offset_us,
                    duration_us: 0,
                    request: call,
                    ..recorded
                });
                answer
            }
            Err(miss) => match self.ambient.find(upstream, given, exchange.received_at) {
                Some(ambient) => recorded_answer(ambient),
                None => missed(exchange, miss),
            },
        }
    }

    /// Finds the exchange of a call with certainty: by the id in `tracestate`, which decides alone; else by the trace id, or as the
    /// only one in flight.
    fn attribute<'o>(
        &self,
        open: &'o mut HashMap<String, Open>,
        carried: &trace_context::Carried,
    ) -> Option<&'o mut Open> {
        if let Some(id) = &carried.exchange {
            return open.get_mut(id);
        }
        let of_trace = |open: &Open| carried.trace_id.as_ref() == Some(&open.trace_id);
        let by_trace = open.iter().find(|(_, open)| of_trace(open)).map(|(id, _)| id.clone());
        let alone = (self.alone && open.len() == 1).then(|| open.keys().next().cloned()).flatten();
        open.get_mut(&by_trace.or(alone)?)
    }
}

impl Open {
    /// Returns a call as it would have been recorded with the exchange.
    fn redacted(&self, upstream: &Upstream, call: &Request) -> Request {
        let mut call = call.clone();
        self.redactor.request(Some(&upstream.name), &mut call);
        call
    }
}

/// A call that no exchange certainly made spoils all that are open: any of them may have needed it.
fn doubtful(open: &mut HashMap<String, Open>, upstream: &Upstream, call: &Request) -> Answer {
    let differs = format!(
        "the call carries no trace context of an exchange and {} are in flight; set [replay] in_flight = 1 for a service that propagates none",
        open.len()
    );
    for exchange in open.values_mut() {
        let call = exchange.redacted(upstream, call);
        exchange.seen.misses.push(Miss {
            upstream: upstream.name.clone(),
            call: format!("{} {}", call.method, call.target),
            nearest: None,
            differs: differs.clone(),
        });
    }
    error(StatusCode::BAD_GATEWAY, &differs)
}

fn missed(exchange: &mut Open, miss: Miss) -> Answer {
    let answer = error(StatusCode::BAD_GATEWAY, &miss.to_string());
    exchange.seen.misses.push(miss);
    answer
}

fn recorded_answer(call: &UpstreamCall) -> Answer {
    match &call.response {
        Some(Response { status, headers, body, .. }) if call.end == End::Complete => {
            // A body that was not stored never comes here: it was made a miss, or not kept among the ambient calls.
            let mut answer =
                http::Response::new(Full::new(request::content(body).unwrap_or_default()));
            *answer.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
            let described =
                ["content-length", "content-encoding", "transfer-encoding", "connection"];
            for (name, value) in headers.iter().filter(|(name, _)| !described.contains(&&**name)) {
                let bytes: Vec<u8> = value.chars().filter_map(|c| u8::try_from(c).ok()).collect();
                if let (Ok(name), Ok(value)) = (
                    http::HeaderName::from_bytes(name.as_bytes()),
                    http::HeaderValue::from_bytes(&bytes),
                ) {
                    answer.headers_mut().append(name, value);
                }
            }
            answer
        }
        // The recorder answered for an upstream that failed; the replay fails the same way.
        _ => error(StatusCode::BAD_GATEWAY, "production's call to this upstream failed"),
    }
}

fn error(status: StatusCode, what: &str) -> Answer {
    let body = serde_json::json!({ "error": format!("shadow stub: {what}") });
    let mut answer = http::Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    answer
}
