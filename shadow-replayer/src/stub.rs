//! The stub: listens where the candidate expects its upstreams and answers from the recording only.
//!
//! A call is looked up within its exchange by [`matching::find`], then among the ambient calls. Anything else is a miss: an error
//! answer that says what differs, and the exchange becomes unverified. The stub has no client: it cannot reach a live system.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use shadow_recorder::config::upstream::Upstream;
use shadow_recorder::exchange::{Body, Exchange, Omission, Request, UpstreamCall};
use shadow_recorder::redact::Redactor;
use shadow_recorder::trace_context::{self, Carried};
use shadow_recorder::{body, redact};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod door;
mod open;
mod reply;

pub use door::BindError;

use crate::ambient::AmbientCalls;
use crate::client;
use crate::config::Config;
use crate::matching::{self, Miss};
use door::Way;
use open::{Open, OpenExchanges};
use reply::Reply;

const UNKNOWN_HOST: &str =
    "no upstream has this host: name it in the `hosts` of an [[upstream]], and record again";
const TUNNEL: &str = "what passes through a tunnel is neither recorded nor replayed: let the service call the upstream by http://";

/// The running stub.
#[derive(Debug)]
pub struct Stub {
    state: Arc<State>,
    doors: Vec<(String, SocketAddr)>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the candidate did upstream while an exchange was open.
#[derive(Debug, Default)]
pub struct Seen {
    /// The calls that were answered, in order; without the answer, which is the recording's.
    pub calls: Vec<UpstreamCall>,
    /// The calls that were not.
    pub misses: Vec<Miss>,
    /// Recorded calls that were answered.
    pub hits: usize,
    /// The positions of the recorded calls that were not made.
    pub unused: Vec<usize>,
}

#[derive(Debug)]
struct State {
    open: Mutex<OpenExchanges>,
    ambient: AmbientCalls,
    // With one exchange in flight a call without trace context can only belong to it.
    alone: bool,
    body_bytes_max: usize,
    /// When the newest exchange opened so far was received, for calls of no exchange.
    latest_us: AtomicI64,
    late: AtomicU64,
}

impl Stub {
    /// Binds the listeners that the configuration asks for, and answers until it is stopped. `from` is the range's first instant.
    pub async fn start(
        config: &Config,
        ambient: AmbientCalls,
        from: Timestamp,
    ) -> Result<Self, BindError> {
        let state = Arc::new(State {
            open: Mutex::default(),
            ambient,
            alone: config.replay.in_flight == 1,
            body_bytes_max: config.replay.body_bytes_max,
            latest_us: AtomicI64::new(from.as_microsecond()),
            late: AtomicU64::new(0),
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let doors = door::open(&config.upstreams, &config.stub).await?;
        let places = doors.iter().map(|door| (door.name.clone(), door.address)).collect();
        for door in doors {
            tasks.spawn(door::accept(door, Arc::clone(&state), stop.clone()));
        }
        Ok(Self { state, doors: places, stop, tasks })
    }

    /// Returns where it listens, in words: by the name under which the candidate reaches this host, where one is configured.
    pub fn places(&self, advertise: Option<&str>) -> Vec<String> {
        let place = |(name, address): &(String, SocketAddr)| match advertise {
            Some(host) => format!("{name} at http://{host}:{}", address.port()),
            None => format!("{name} at http://{address}"),
        };
        self.doors.iter().map(place).collect()
    }

    /// Opens an exchange, recorded under these rules: its recorded calls are answered until it is closed. `name` is what the
    /// candidate's calls carry of it in `tracestate`.
    pub fn open(
        &self,
        name: &str,
        trace_id: &str,
        exchange: &Arc<Exchange>,
        redactor: &Arc<Redactor>,
    ) {
        self.state.latest_us.fetch_max(exchange.received_at.as_microsecond(), Ordering::Relaxed);
        let open = Arc::new(Open::new(exchange, trace_id, redactor));
        self.state.locked().insert(name, open);
    }

    /// Returns how many calls came for closed exchanges since it was last asked.
    pub fn take_late(&self) -> u64 {
        self.state.late.swap(0, Ordering::Relaxed)
    }

    /// Closes an exchange. Where recorded calls are still unused it waits up to `linger` for them, unless a miss has decided already.
    pub async fn close(&self, name: &str, linger: Duration) -> Seen {
        let Some(open) = self.state.locked().get(name) else { return Seen::default() };
        if !linger.is_zero() && !open.is_decided() {
            let lingered = async {
                while !open.is_decided() {
                    open.changed.notified().await;
                }
            };
            let _ = tokio::time::timeout(linger, lingered).await;
        }
        self.state.locked().remove(name);
        open.close()
    }

    /// Stops listening and ends every connection.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl State {
    fn locked(&self) -> MutexGuard<'_, OpenExchanges> {
        // The maps are consistent between any two calls, so a panic elsewhere does not spoil them.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, way: &Way, request: http::Request<Incoming>) -> Reply {
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
            Ok(upstream) => self.look_up(&upstream, &carried, call),
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
    fn look_up(&self, upstream: &Upstream, carried: &Carried, given: Request) -> Reply {
        let Some(open) = self.locked().attribute(carried, self.alone) else {
            return self.stray(upstream, carried, &given);
        };
        // The ambient calls were recorded under rules of their own.
        let unredacted = upstream.ambient_age_max.map(|_| given.clone());
        let call = open.redacted(&upstream.name, given);
        let mut made = open.made();
        if made.closed {
            return self.late();
        }
        let reply = match matching::find(upstream, open.recorded(), &made.used, &call) {
            Ok(at) => {
                made.used[at] = true;
                let recorded = &open.recorded()[at];
                if let Some(differs) = matching::unanswerable(recorded) {
                    let miss = Miss::of(&upstream.name, &call, differs);
                    let reply = reply::error(StatusCode::BAD_GATEWAY, &miss.to_string());
                    made.seen.misses.push(miss);
                    reply
                } else {
                    let offset_us = open.began.elapsed().as_micros();
                    made.seen.calls.push(UpstreamCall {
                        name: recorded.name.clone(),
                        offset_us: u64::try_from(offset_us).unwrap_or(u64::MAX),
                        duration_us: 0,
                        request: call,
                        response: None,
                        end: recorded.end,
                    });
                    reply::recorded(recorded)
                }
            }
            Err(miss) => {
                let at = open.exchange.received_at;
                let ambient = unredacted.and_then(|call| self.ambient.find(upstream, &call, at));
                if let Some(ambient) = ambient {
                    reply::recorded(ambient)
                } else {
                    let reply = reply::error(StatusCode::BAD_GATEWAY, &miss.to_string());
                    made.seen.misses.push(*miss);
                    reply
                }
            }
        };
        drop(made);
        open.changed.notify_one();
        reply
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
