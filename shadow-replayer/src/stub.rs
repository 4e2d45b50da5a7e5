//! The stub: listens where the candidate expects its upstreams and answers from the recording only.
//!
//! A call is looked up within its exchange by [`matching::find`], then among the ambient calls. Anything else is a miss: an error
//! answer that says what differs, and the exchange becomes unverified. The stub has no client: it cannot reach a live system.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shadow_recorder::clock;
use shadow_recorder::exchange::{Exchange, UpstreamCall};
use shadow_recorder::redact::Redactor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod certificate;
mod door;
mod open;
mod reply;
mod state;

pub use certificate::CertificateError;
pub use door::BindError;

use crate::ambient::AmbientCalls;
use crate::assume;
use crate::config::Config;
use crate::matching::Miss;
use crate::run::Run;
use open::Open;
use state::State;

/// The running stub.
#[derive(Debug)]
pub struct Stub {
    state: Arc<State>,
    doors: Vec<(String, SocketAddr)>,
    advertise: Option<String>,
    unused_exchanges_max: u64,
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
    /// Calls that a declared assumption answered.
    pub assumed: usize,
}

/// The stub cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StubError {
    /// A listener cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It cannot speak TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// An assumption does not hold any more.
    #[error("{0}")]
    Expired(String),
}

impl Stub {
    /// Binds the listeners that the configuration asks for, and answers until it is stopped. In a run whose candidate has upstreams
    /// of its own there are none.
    pub async fn start(
        config: &Config,
        run: &Run,
        ambient: AmbientCalls,
    ) -> Result<Self, StubError> {
        if let Some(expired) = assume::expired(&config.stub.assume, clock::now()) {
            return Err(StubError::Expired(expired));
        }
        let state = Arc::new(State {
            open: Mutex::default(),
            ambient,
            alone: config.replay.in_flight == 1,
            body_bytes_max: config.replay.body_bytes_max,
            assumptions: config.stub.assume.clone(),
            latency: config.stub.latency,
            own_upstreams: run.settings.own_upstreams,
            latest_us: AtomicI64::new(run.from.as_microsecond()),
            calls: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            late: AtomicU64::new(0),
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let doors = if run.settings.own_upstreams {
            Vec::new()
        } else {
            door::open(&config.upstreams, &config.stub).await?
        };
        let places = doors.iter().map(|door| (door.name.clone(), door.address)).collect();
        for door in doors {
            tasks.spawn(door::accept(door, Arc::clone(&state), stop.clone()));
        }
        let (advertise, unused_exchanges_max) =
            (config.stub.advertise.clone(), config.stub.unused_exchanges_max);
        Ok(Self { state, doors: places, advertise, unused_exchanges_max, stop, tasks })
    }

    /// Returns where it listens, in words: by the name under which the candidate reaches this host, where one is configured.
    pub fn places(&self) -> Vec<String> {
        let place = |(name, address): &(String, SocketAddr)| match &self.advertise {
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
        let open = Open::new(exchange, trace_id, redactor, !self.state.own_upstreams);
        let open = Arc::new(open);
        self.state.locked().insert(name, open);
    }

    /// Returns whether the candidate has upstreams of its own.
    pub fn is_off(&self) -> bool {
        self.state.own_upstreams
    }

    /// Forgets the exchanges that are open: their attempt was given up.
    pub fn forget(&self) {
        drop(std::mem::take(&mut *self.state.locked()));
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

    /// Tells that the candidate answered an exchange. Returns what to do where it answered too many for which production called
    /// upstreams, and never called the stub.
    pub fn answered(&self, exchange: &Exchange) -> Option<String> {
        let state = &self.state;
        let called = state.own_upstreams || state.calls.load(Ordering::Relaxed) > 0;
        if called || exchange.upstream.is_empty() {
            return None;
        }
        let expected = state.expected.fetch_add(1, Ordering::Relaxed) + 1;
        (expected >= self.unused_exchanges_max).then(|| {
            format!(
                "the candidate does not use the stub: production called upstreams for {} exchanges that it answered, and it made no call; give it {} as its upstreams, or set [replay] upstreams = \"own\" where it has test upstreams of its own",
                self.unused_exchanges_max,
                self.places().join(", ")
            )
        })
    }

    /// Stops listening and ends every connection.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
