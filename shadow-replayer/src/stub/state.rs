//! Looks a call of the candidate up: in its exchange, among the ambient calls, among the declared assumptions. Else it is a miss.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use shadow_recorder::config::upstream::Upstream;
use shadow_recorder::exchange::{Body, End, Omission, Request, UpstreamCall};
use shadow_recorder::trace_context::{self, Carried};
use shadow_recorder::{body, redact};

use super::door::Way;
use super::open::{Made, Open, OpenExchanges};
use super::reply::{self, Reply};
use crate::ambient::AmbientCalls;
use crate::assume::{self, Assumption};
use crate::client;
use crate::matching::{self, Miss};

/// What all listeners of a stub share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) open: Mutex<OpenExchanges>,
    pub(super) ambient: AmbientCalls,
    // With one exchange in flight a call without trace context can only belong to it.
    pub(super) alone: bool,
    pub(super) body_bytes_max: usize,
    /// When the newest exchange opened so far was received, for calls of no exchange.
    pub(super) latest_us: AtomicI64,
    pub(super) assumptions: Vec<Assumption>,
    /// By how much recorded durations are multiplied before an answer is given; nothing: at once.
    pub(super) latency: Option<f64>,
    /// Whether the candidate has upstreams of its own.
    pub(super) own_upstreams: bool,
    /// Calls that came.
    pub(super) calls: AtomicU64,
    /// Exchanges that were answered, and for which calls were recorded, while none came.
    pub(super) expected: AtomicU64,
    /// Calls that came for closed exchanges.
    pub(super) late: AtomicU64,
}

const UNKNOWN_HOST: &str =
    "no upstream has this host: name it in the `hosts` of an [[upstream]], and record again";
const TUNNEL: &str = "what passes through a tunnel is neither recorded nor replayed: let the service call the upstream by http://";

impl State {
    pub(super) fn locked(&self) -> MutexGuard<'_, OpenExchanges> {
        // The maps are consistent between any two calls, so a panic elsewhere does not spoil them.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn answer(&self, way: &Way, request: http::Request<Incoming>) -> Reply {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if request.method() == Method::CONNECT {
            return self.tunnel(&request);
        }
        let upstream = way.upstream(&request).cloned();
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
        match upstream {
            Ok(upstream) => self.look_up(&upstream, &carried, call).given(self.latency).await,
            Err(host) => self.refuse(&host, &carried, &call, UNKNOWN_HOST),
        }
    }

    /// Refuses a tunnel.
    fn tunnel<B>(&self, request: &http::Request<B>) -> Reply {
        let host = request.uri().authority().map_or_else(String::new, ToString::to_string);
        let call = Request {
            method: Method::CONNECT.to_string(),
            target: host.clone(),
            version: format!("{:?}", request.version()),
            headers: Vec::new(),
            body: Body::default(),
            trailers: Vec::new(),
            principal: None,
        };
        self.refuse(&host, &trace_context::read(request.headers()), &call, TUNNEL)
    }

    /// Refuses a call that no recording can answer.
    fn refuse(&self, host: &str, carried: &Carried, call: &Request, why: &str) -> Reply {
        let attributed = self.locked().attribute(carried, self.alone);
        match attributed {
            Some(open) => open.miss(host, call, why),
            None if carried.exchange.is_some() => {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
            None => {
                for open in self.locked().all() {
                    open.miss(host, call, why);
                }
            }
        }
        reply::error(StatusCode::MISDIRECTED_REQUEST, &format!("{} {host}: {why}", call.method))
    }

    /// Answers a call, as the candidate made it, from its exchange, else from the ambient calls, else as a miss.
    fn look_up(&self, upstream: &Upstream, carried: &Carried, given: Request) -> Found {
        let Some(open) = self.locked().attribute(carried, self.alone) else {
            return Found::now(self.stray(upstream, carried, &given));
        };
        // The ambient calls were recorded under rules of their own.
        let unredacted = upstream.ambient_age_max.map(|_| given.clone());
        let call = open.redacted(&upstream.name, given);
        let mut made = open.made();
        if made.closed {
            return Found::now(self.late());
        }
        let found = match matching::find(upstream, open.recorded(), &made.used, &call) {
            Ok(at) => {
                made.used[at] = true;
                recorded(&open, &mut made, at, call)
            }
            Err(miss) => {
                let at = open.exchange.received_at;
                let ambient = unredacted.and_then(|call| self.ambient.find(upstream, &call, at));
                let assumed = || assume::find(&self.assumptions, &upstream.name, &call);
                if let Some(ambient) = ambient {
                    Found::like(ambient)
                } else if let Some(assumption) = assumed() {
                    made.seen.assumed += 1;
                    made.seen.calls.push(seen(&open, &upstream.name, call, End::Complete));
                    Found::now(reply::assumed(&assumption.response))
                } else {
                    missed(&mut made, *miss)
                }
            }
        };
        drop(made);
        open.changed.notify_one();
        found
    }

    /// Answers a call that certainly belongs to no open exchange, or to none that is known.
    fn stray(&self, upstream: &Upstream, carried: &Carried, given: &Request) -> Reply {
        if carried.exchange.is_some() {
            return self.late();
        }
        let latest_us = self.latest_us.load(Ordering::Relaxed);
        let latest = Timestamp::from_microsecond(latest_us).unwrap_or(Timestamp::MIN);
        let ambient = self.ambient.find(upstream, given, latest);
        ambient.map_or_else(|| self.doubtful(upstream, given), reply::recorded)
    }

    /// A call that no exchange certainly made spoils all that are open: any of them may have needed it.
    fn doubtful(&self, upstream: &Upstream, call: &Request) -> Reply {
        let all = self.locked().all();
        let differs = format!(
            "the call carries no trace context of an exchange and {} are in flight; set [replay] in_flight = 1 for a service that propagates none",
            all.len()
        );
        for open in all {
            open.miss(&upstream.name, call, &differs);
        }
        reply::error(StatusCode::BAD_GATEWAY, &differs)
    }

    fn late(&self) -> Reply {
        self.late.fetch_add(1, Ordering::Relaxed);
        let what = "the exchange of this call is closed; see [replay] linger";
        reply::error(StatusCode::BAD_GATEWAY, what)
    }
}

/// What a call came to.
enum Found {
    /// An answer, which took production's upstream so long.
    Answer(Reply, Duration),
    /// Production's service had gone away before there was an answer: after so long nothing is known of this call any more.
    Silence(Arc<Open>, Miss, Duration),
}

impl Found {
    fn now(reply: Reply) -> Self {
        Self::Answer(reply, Duration::ZERO)
    }

    fn like(call: &UpstreamCall) -> Self {
        Self::Answer(reply::recorded(call), Duration::from_micros(call.duration_us))
    }

    /// Returns the answer when it is due.
    async fn given(self, latency: Option<f64>) -> Reply {
        match self {
            Self::Answer(reply, took) => {
                let due = took.mul_f64(latency.unwrap_or_default());
                if !due.is_zero() {
                    tokio::time::sleep(due).await;
                }
                reply
            }
            Self::Silence(open, miss, patience) => {
                tokio::time::sleep(patience).await;
                let reply = reply::error(StatusCode::GATEWAY_TIMEOUT, &miss.to_string());
                open.made().seen.misses.push(miss);
                open.changed.notify_one();
                reply
            }
        }
    }
}

/// Answers a call as the recorded one at this position was answered.
fn recorded(open: &Arc<Open>, made: &mut Made, at: usize, call: Request) -> Found {
    let recorded = &open.recorded()[at];
    if recorded.end == End::ClientAborted {
        let differs =
            "production's service gave up waiting for this answer, and the candidate does not";
        let miss = Miss::of(&recorded.name, &call, differs);
        made.seen.calls.push(seen(open, &recorded.name, call, recorded.end));
        let patience = Duration::from_micros(recorded.duration_us) * 2 + PATIENCE_BESIDE;
        return Found::Silence(Arc::clone(open), miss, patience);
    }
    if let Some(differs) = matching::unanswerable(recorded) {
        return missed(made, Miss::of(&recorded.name, &call, differs));
    }
    made.seen.calls.push(seen(open, &recorded.name, call, recorded.end));
    Found::like(recorded)
}

/// How much longer than twice production's service a candidate may wait for an answer that never came.
const PATIENCE_BESIDE: Duration = Duration::from_secs(1);

fn missed(made: &mut Made, miss: Miss) -> Found {
    let reply = reply::error(StatusCode::BAD_GATEWAY, &miss.to_string());
    made.seen.misses.push(miss);
    Found::now(reply)
}

/// Returns what is kept of a call that was answered.
fn seen(open: &Open, upstream: &str, request: Request, end: End) -> UpstreamCall {
    let offset_us = u64::try_from(open.began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let name = upstream.to_owned();
    UpstreamCall { name, offset_us, duration_us: 0, request, response: None, end }
}
