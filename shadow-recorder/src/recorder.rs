//! The recorder as a whole: what it binds, how it runs and in which order it stops.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::batch::Naming;
use crate::capture::{Capture, Limits};
use crate::config::sidecar::Config;
use crate::metrics::Metrics;
use crate::proxy::{self, Lifetime};
use crate::record::caught;
use crate::segment::{self, Header, Redaction, Sampling};
use crate::spool::{Spool, SpoolError};
use crate::upload::{Upload, Uploaded};
use crate::writer::{Outcome, Pace, Writer};
use crate::{admin, clock, redact};

/// How often exchanges are looked through for those that have lingered.
const SWEEP: Duration = Duration::from_millis(10);
/// What is cut off at the end of the grace gets this long to say so.
const CUT_WAIT: Duration = Duration::from_secs(2);

/// Why a recorder cannot start. Each is a matter of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A listener's address cannot be bound.
    #[error("cannot listen on {address}: set `{key}` to an address that is free")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The key that says so.
        key: String,
        /// Why.
        source: io::Error,
    },
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Why a run ended without a summary.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A thread could not be started.
    #[error("cannot start the writer's thread")]
    Thread(#[source] io::Error),
    /// A task that must live as long as the recorder ended before it.
    #[error("the {0} failed; what it held is lost")]
    Died(&'static str),
}

/// What a recorder did from start to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Exchanges received.
    pub observed: u64,
    /// Exchanges on disk or in the store.
    pub recorded: u64,
    /// Exchanges that passed unrecorded, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Segments committed to the store.
    pub segments_committed: u64,
    /// Spool files that could not be stored; the next start tries again.
    pub segments_left: u64,
    /// Whether the last segment carries the mark of a clean stop.
    pub sealed_last: bool,
}

impl Summary {
    /// Returns whether everything recorded reached the store.
    pub fn is_clean(&self) -> bool {
        self.segments_left == 0 && self.sealed_last
    }
}

/// A recorder that is bound and not running yet.
#[derive(Debug)]
pub struct Recorder {
    config: Config,
    clients: TcpListener,
    upstreams: Vec<TcpListener>,
    admin: Option<TcpListener>,
    spool: Spool,
}

impl Recorder {
    /// Binds every listener and takes the spool.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        let clients = listen(config.recorder.listen, "[recorder] listen").await?;
        let mut upstreams = Vec::new();
        for upstream in &config.upstreams {
            let key = format!("[[upstream]] {} listen", upstream.name);
            upstreams.push(listen(upstream.listen, &key).await?);
        }
        let admin = match config.recorder.admin {
            Some(address) => Some(listen(address, "[recorder] admin").await?),
            None => None,
        };
        let mut spool = Spool::new(config.recorder.spool.clone());
        match spool.ready() {
            // A full disk is no reason to stand in the way of traffic; the writer tries again.
            Err(error) if error.is_condition() => {
                tracing::error!(
                    error = format!("{:#}", anyhow::Error::new(error)),
                    "not recording yet"
                );
            }
            other => other?,
        }
        Ok(Self { config, clients, upstreams, admin, spool })
    }

    /// Returns the address where clients connect.
    pub fn addr(&self) -> SocketAddr {
        local(&self.clients)
    }

    /// Returns the addresses where the service reaches its upstreams, by name.
    pub fn upstream_addrs(&self) -> BTreeMap<String, SocketAddr> {
        let names = self.config.upstreams.iter().map(|upstream| upstream.name.clone());
        names.zip(self.upstreams.iter().map(local)).collect()
    }

    /// Returns the address of the metrics.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(local)
    }

    /// Names every listener with its address, for the log.
    fn listening(&self) -> String {
        let upstreams = self.upstream_addrs().into_iter().map(|(name, at)| format!(" {name}={at}"));
        let admin = self.admin_addr().map(|at| format!(" [admin]={at}"));
        format!("[clients]={}", self.addr()) + &upstreams.chain(admin).collect::<String>()
    }

    /// Runs until `shutdown`, then stops along the data path: no new connections, requests in progress within `grace`, late calls,
    /// the queue, the last segment, the store.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Summary, RunError> {
        let listening = self.listening();
        let Self { config, clients, upstreams, admin, spool } = self;
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let (capture, events) = Capture::new(limits(&config), metrics.clone());
        let end = CancellationToken::new();
        let admin = admin.map(|listener| {
            let (draining, end) = (shutdown.clone(), end.clone());
            tokio::spawn(admin::serve(listener, Arc::new(registry), draining, end))
        });

        let (parcels, received) = unbounded_channel();
        let stopping = CancellationToken::new();
        let upload = Upload { store: config.store.clone(), metrics, stopping: stopping.clone() };
        let upload = tokio::spawn(upload.run(received));
        let (naming, header) = (naming(&config), header(&config));
        let writer =
            Writer::new(Arc::clone(&capture), spool, naming, pace(&config), header, parcels);
        let writer = thread::Builder::new()
            .name("shadow-writer".into())
            .spawn(move || writer.run(&events))
            .map_err(RunError::Thread)?;
        let sweeper = tokio::spawn(sweep(Arc::clone(&capture), end.clone()));

        let (inbound, egress) = (Lifetime::new(), Lifetime::new());
        let head_timeout = config.recorder.head_timeout;
        let stack = proxy::clients_stack(&capture, &config.recorder);
        inbound.tasks.spawn(proxy::serve(clients, stack, head_timeout, inbound.clone()));
        for (upstream, listener) in config.upstreams.iter().zip(upstreams) {
            let stack = proxy::upstream_stack(&capture, &config.recorder, upstream);
            egress.tasks.spawn(proxy::serve(listener, stack, head_timeout, egress.clone()));
        }
        tracing::info!(service = config.service, build = config.build, listening, "recording");

        shutdown.cancelled().await;
        tracing::info!("stopping: requests in progress are finished");
        drain(&capture, &inbound, &egress, &config).await;
        stopping.cancel();

        let outcome = finish_writing(&capture, writer).await?;
        let uploaded = upload.await.map_err(|_| RunError::Died("upload"))?;
        end.cancel();
        let _ = sweeper.await;
        if let Some(admin) = admin {
            let _ = admin.await;
        }
        Ok(summary(&capture, outcome, uploaded))
    }
}

/// Lets what has begun come to its end, for as long as the grace lasts.
async fn drain(capture: &Arc<Capture>, inbound: &Lifetime, egress: &Lifetime, config: &Config) {
    let until = tokio::time::Instant::now() + config.recorder.grace;
    inbound.stop.cancel();
    inbound.tasks.close();
    let finished = tokio::time::timeout_at(until, inbound.tasks.wait()).await.is_ok();
    // The service may still post what it owes for the last answers.
    let closed = async {
        while capture.open_count() > 0 {
            tokio::time::sleep(SWEEP).await;
        }
    };
    let lingered = finished && tokio::time::timeout_at(until, closed).await.is_ok();
    egress.stop.cancel();
    egress.tasks.close();
    if !finished || !lingered {
        tracing::warn!(
            exchanges = capture.open_count(),
            "the grace is over: what is in progress is cut off"
        );
        capture.cut();
        inbound.cut.cancel();
        egress.cut.cancel();
    }
    let until = until.max(tokio::time::Instant::now() + CUT_WAIT);
    let _ = tokio::time::timeout_at(until, egress.tasks.wait()).await;
    capture.cut();
    egress.cut.cancel();
    let cut_until = Instant::now() + CUT_WAIT;
    while capture.open_count() > 0 && Instant::now() < cut_until {
        tokio::time::sleep(SWEEP).await;
    }
    capture.give_up();
}

async fn finish_writing(
    capture: &Arc<Capture>,
    writer: thread::JoinHandle<Outcome>,
) -> Result<Outcome, RunError> {
    let capture = Arc::clone(capture);
    let joined: JoinHandle<thread::Result<Outcome>> = spawn_blocking(move || {
        capture.end();
        writer.join()
    });
    let died = || RunError::Died("writer");
    joined.await.map_err(|_| died())?.map_err(|_| died())
}

async fn sweep(capture: Arc<Capture>, end: CancellationToken) {
    while !end.is_cancelled() {
        // A panic must not end the closing of exchanges.
        let _ = caught(|| capture.sweep(Instant::now()));
        tokio::time::sleep(SWEEP).await;
    }
}

async fn listen(address: SocketAddr, key: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError::Listen {
        address,
        key: key.into(),
        source,
    })
}

fn local(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a bound listener has an address")
}

fn limits(config: &Config) -> Limits {
    let recorder = &config.recorder;
    Limits {
        linger: recorder.linger,
        body_bytes_max: recorder.body_bytes_max,
        memory_bytes_max: recorder.memory_bytes_max,
        exchanges_open_max: recorder.exchanges_open_max,
        queue_exchanges_max: recorder.queue_exchanges_max,
    }
}

fn pace(config: &Config) -> Pace {
    let recorder = &config.recorder;
    Pace {
        fsync_interval: recorder.fsync_interval,
        segment_age_max: recorder.segment_age_max,
        segment_bytes_max: recorder.segment_bytes_max,
        segment_span_max: recorder.segment_span_max,
        spool_bytes_max: recorder.spool_bytes_max,
    }
}

fn naming(config: &Config) -> Naming {
    Naming {
        service: config.service.clone(),
        build: config.build.clone(),
        body_bytes_max: config.recorder.body_bytes_max,
        grpc: config.recorder.grpc_descriptors.clone(),
    }
}

fn header(config: &Config) -> Header {
    let address = |origin: &crate::config::recorder::Origin| {
        let (host, port) = origin.host_port();
        format!("{host}:{port}")
    };
    Header {
        format: segment::FORMAT.into(),
        version: segment::VERSION,
        service: config.service.clone(),
        build: config.build.clone(),
        instance: config.recorder.instance.clone(),
        boot: clock::boot_id(),
        sequence: 1,
        opened_at: clock::now(),
        service_address: address(&config.recorder.forward_to),
        upstream_addresses: config
            .upstreams
            .iter()
            .map(|upstream| (upstream.name.clone(), address(&upstream.forward_to)))
            .collect(),
        sampling: Sampling { rule: "everything".into() },
        redaction: Redaction { headers_dropped: redact::headers_dropped() },
    }
}

fn summary(capture: &Capture, outcome: Outcome, uploaded: Uploaded) -> Summary {
    let dropped = outcome.dropped.into_iter().map(|(why, n)| (why.as_str().to_owned(), n));
    Summary {
        observed: capture.account.observed(),
        recorded: outcome.recorded,
        dropped: dropped.collect(),
        segments_committed: uploaded.committed,
        segments_left: uploaded.left,
        sealed_last: outcome.sealed_last,
    }
}
