//! The recorder as a whole: what it binds, how it runs and in which order it stops.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::background::{Background, Reports, yield_to_requests};
use crate::batch::Naming;
use crate::capture::{Capture, Event, Limits};
use crate::clock;
use crate::config::sidecar::Config;
use crate::config::upstream::Upstream;
use crate::hand_over::{Giver, Offer};
use crate::host;
use crate::key_reader::KeyReader;
use crate::listeners::{Door, ListenError, Listeners, Passed, Way};
use crate::lock::Lock;
use crate::metrics::Metrics;
use crate::segment::{self, Header};
use crate::signal::Shutdown;
use crate::spool::{Spool, SpoolError};
use crate::summary::Summary;
use crate::tls::{Tls, TlsError};
use crate::traffic::Traffic;
use crate::upload::{Parcel, Upload, Uploaded};
use crate::writer::{Outcome, Pace, Writer};

/// At the start, and where everything must end at once, a disk gets this long to answer.
const DISK_WAIT: Duration = Duration::from_secs(2);

/// Why a recorder cannot start. Each is a matter of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// An upstream cannot be reached by TLS.
    #[error("[[upstream]] {name}")]
    Tls {
        /// The upstream.
        name: String,
        /// Why.
        source: TlsError,
    },
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Why a run ended without a summary.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A thread could not be started.
    #[error("cannot start the {0}'s thread")]
    Thread(&'static str, #[source] io::Error),
    /// A listener could not be served.
    #[error("cannot accept connections")]
    Accept(#[source] io::Error),
    /// What must live as long as the recorder ended before it.
    #[error("the {0} failed; what it held is lost")]
    Died(&'static str),
    /// It had to end at once, and the disk did not answer.
    #[error("the {0} did not end in time; the next start stores what is in the spool")]
    Stuck(&'static str),
}

/// Builds the runtime of the data path. One thread costs least per request: nothing is handed from thread to thread.
pub fn runtime(config: &Config) -> io::Result<Runtime> {
    match config.recorder.threads {
        1 => runtime::Builder::new_current_thread().enable_all().build(),
        more => runtime::Builder::new_multi_thread().worker_threads(more).enable_all().build(),
    }
}

/// A recorder that is bound and not running yet.
#[derive(Debug)]
pub struct Recorder {
    config: Config,
    listeners: Listeners,
    /// How to reach the upstreams, in the order of the configuration.
    tls: Vec<Option<Tls>>,
    spool: Spool,
    giver: Option<Giver>,
}

impl Recorder {
    /// Binds every listener and prepares the spool.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_with(config, Passed::default()).await
    }

    /// Does the same with sockets that are listening already.
    pub async fn bind_with(config: Config, passed: Passed) -> Result<Self, BindError> {
        let mut passed = passed;
        let tls = config.upstreams.iter().map(tls_to).collect::<Result<_, _>>()?;
        let listeners = Listeners::open(&config, &mut passed)?;
        if let Some(admin) = listeners.admin.as_ref().map(Door::address)
            && !admin.ip().is_loopback()
        {
            tracing::warn!(
                %admin,
                "whoever reaches the admin port can switch recording off: let only the pod, its probes and its metrics reach it"
            );
        }
        let spool = spool(&config, &listeners).await?;
        Ok(Self { config, listeners, tls, spool, giver: passed.giver })
    }

    /// Returns the address where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.listeners.clients.address()
    }

    /// Returns the addresses where the service reaches its upstreams, by name.
    pub fn upstream_addrs(&self) -> BTreeMap<String, SocketAddr> {
        let named = |door: &Door| match door.way {
            Way::Upstream(place) => {
                Some((self.config.upstreams[place].name.clone(), door.address()))
            }
            _ => None,
        };
        self.listeners.egress.iter().filter_map(named).collect()
    }

    /// Returns the address of the admin listener.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.listeners.admin.as_ref().map(Door::address)
    }

    /// Names every listener with its address, for the log.
    fn listening(&self) -> String {
        let upstreams = self.upstream_addrs().into_iter().map(|(name, at)| format!(" {name}={at}"));
        let others = self.listeners.all().filter(|door| !matches!(door.way, Way::Upstream(_)));
        let others = others.map(|door| format!(" [{}]={}", door.name, door.address()));
        others.chain(upstreams).collect::<String>().trim_start().to_owned()
    }

    /// Runs until `shutdown`, or until another recorder has taken the listeners over; then stops along the data path: no new
    /// connections, requests in progress within `grace`, late calls, the queue, the last segment, the store.
    pub async fn run(self, shutdown: impl Into<Shutdown>) -> Result<Summary, RunError> {
        let shutdown = shutdown.into();
        let listening = self.listening();
        let Self { config, listeners, tls, spool, giver } = self;
        let offer = config.recorder.hand_over.as_ref().map(|path| Offer::new(path, &listeners));
        let own: Vec<SocketAddr> = listeners.all().map(Door::address).collect();
        let Listeners { clients, egress, admin } = listeners;
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let keys = keys(&config).map_err(|error| RunError::Thread("key reader", error))?;
        let sampling = config.recorder.sampling.clone();
        let (capture, events) = Capture::new(limits(&config), sampling, keys, metrics.clone());
        if config.redaction.principal {
            capture.name_principals(config.redaction.key.clone());
        }
        let (draining, handed_over) = (CancellationToken::new(), CancellationToken::new());
        let (stopping, end) = (CancellationToken::new(), CancellationToken::new());
        let (parcels, received) = unbounded_channel();

        let (service, store) = (config.service.clone(), config.store.clone());
        let shown = |door| {
            let (capture, draining) = (Arc::clone(&capture), draining.clone());
            (door, Admin { registry, capture, draining })
        };
        let background = Background {
            upload: Upload {
                service,
                store,
                metrics,
                stopping: stopping.clone(),
                now: shutdown.now.clone(),
            },
            parcels: received,
            admin: admin.map(shown),
            capture: Arc::clone(&capture),
            handed_over: handed_over.clone(),
            end: end.clone(),
        };
        let reports = background.start().map_err(|error| RunError::Thread("upload", error))?;
        let written = start_writer(&capture, &config, spool, parcels, events)
            .map_err(|error| RunError::Thread("writer", error))?;

        let traffic = Traffic::begin(&capture, &config, tls, (clients, egress), &own)
            .map_err(RunError::Accept)?;
        tracing::info!(service = config.service, build = config.build, listening, "recording");
        if let Some(Err(error)) = giver.map(Giver::served) {
            tracing::warn!(%error, "the recorder before was not told that it can stop");
        }

        let is_handed_over = tokio::select! {
            () = shutdown.stop.cancelled() => false,
            () = shutdown.now.cancelled() => false,
            () = taken(offer) => true,
        };
        if is_handed_over {
            // Not draining for those who ask: whoever asks here at this moment is served by the next one.
            handed_over.cancel();
            tracing::info!(
                "another recorder accepts from now on: requests in progress are finished"
            );
        } else {
            draining.cancel();
            tracing::info!("stopping: requests in progress are finished");
        }
        let cut_off = traffic.drain(&capture, &config, is_handed_over, &shutdown.now).await;
        stopping.cancel();

        let stopped = finish(&capture, written, reports, &shutdown.now, &end).await;
        let (outcome, uploaded) = stopped?;
        let mut summary = Summary::of(&capture, outcome, uploaded);
        summary.cut_off = cut_off;
        summary.ended_at_once = shutdown.now.is_cancelled();
        Ok(summary)
    }
}

/// Prepares the spool. Neither a full disk nor one that hangs is a reason to stand in the way of traffic: the writer tries again.
async fn spool(config: &Config, listeners: &Listeners) -> Result<Spool, SpoolError> {
    let new = || {
        let directory = config.recorder.spool.clone();
        Spool::new(directory, clock::boot_id(), note(config, listeners))
    };
    let mut spool = new();
    let ready = spawn_blocking(move || {
        for holder in Lock::holders(spool.directory()).unwrap_or_default() {
            let holder = holder.trim_end();
            tracing::info!(holder, "another recorder uses this spool: each keeps to its own files");
        }
        let ready = spool.ready().map(drop);
        (spool, ready)
    });
    match timeout(DISK_WAIT, ready).await {
        Ok(Ok((spool, Ok(())))) => Ok(spool),
        Ok(Ok((spool, Err(error)))) if error.is_condition() => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::error!(error, "not recording yet");
            Ok(spool)
        }
        Ok(Ok((_, Err(error)))) => Err(error),
        // Under a new name: that attempt may still come to its end.
        Ok(Err(_)) | Err(_) => {
            tracing::error!("not recording yet: the spool's disk does not answer");
            Ok(new())
        }
    }
}

fn tls_to(upstream: &Upstream) -> Result<Option<Tls>, BindError> {
    if !upstream.forward_to.tls {
        return Ok(None);
    }
    let (host, _) = upstream.forward_to.host_port();
    match Tls::new(&host, upstream.ca_file.as_deref()) {
        Ok(tls) => Ok(Some(tls)),
        Err(source) => Err(BindError::Tls { name: upstream.name.clone(), source }),
    }
}

/// Waits until another recorder has taken over. Where the listeners cannot be offered the next one has to bind them anew.
async fn taken(offer: Option<io::Result<Offer>>) {
    let failed = match offer {
        None => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(offer)) => match offer.taken().await {
            Ok(()) => return,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = failed {
        tracing::warn!(%error, "no other recorder can take over: `hand_over` cannot be used");
    }
    std::future::pending::<()>().await;
}

/// Starts the writer's thread; returns what it says at its end, which is nothing where it failed.
fn start_writer(
    capture: &Arc<Capture>,
    config: &Config,
    spool: Spool,
    parcels: UnboundedSender<Parcel>,
    events: Receiver<Event>,
) -> io::Result<oneshot::Receiver<Option<Outcome>>> {
    let header = header(config, spool.boot());
    let writer =
        Writer::new(Arc::clone(capture), spool, naming(config), pace(config), header, parcels);
    let (tell, written) = oneshot::channel();
    thread::Builder::new().name("shadow-writer".into()).spawn(move || {
        yield_to_requests();
        // Nobody listens where the run was given up.
        let _ = tell.send(writer.run(&events));
    })?;
    Ok(written)
}

/// Ends the writer and then the rest. Where everything must end at once, a disk that does not answer is not waited for.
async fn finish(
    capture: &Arc<Capture>,
    written: oneshot::Receiver<Option<Outcome>>,
    reports: Reports,
    now: &CancellationToken,
    end: &CancellationToken,
) -> Result<(Outcome, Uploaded), RunError> {
    let at_once = async || {
        now.cancelled().await;
        tokio::time::sleep(DISK_WAIT).await;
    };
    let queue = Arc::clone(capture);
    // Waits while the queue is full.
    spawn_blocking(move || queue.end());
    let outcome = tokio::select! {
        written = written => written.ok().flatten(),
        () = at_once() => return Err(RunError::Stuck("writer")),
    };
    // The writer's end of the parcels is gone now, so that the upload ends after the last of them, also where the writer failed.
    let uploaded = tokio::select! {
        uploaded = reports.uploaded => uploaded.map_err(|_| RunError::Died("upload"))?,
        () = at_once() => return Err(RunError::Stuck("upload")),
    };
    end.cancel();
    let _ = timeout(DISK_WAIT, reports.ended).await;
    Ok((outcome.ok_or(RunError::Died("writer"))?, uploaded))
}

/// Says in the spool whose files these are.
fn note(config: &Config, listeners: &Listeners) -> String {
    let at: Vec<String> = listeners.all().map(|door| door.address().to_string()).collect();
    let instance = &config.recorder.instance;
    format!("pid {}, instance {instance}, listening on {}\n", std::process::id(), at.join(" "))
}

fn limits(config: &Config) -> Limits {
    let recorder = &config.recorder;
    Limits {
        linger: recorder.linger,
        head_bytes_max: recorder.head_bytes_max,
        body_bytes_max: recorder.body_bytes_max,
        memory_bytes_max: recorder.memory_bytes_max,
        calls_max: recorder.calls_max,
        exchanges_open_max: recorder.exchanges_open_max,
        queue_exchanges_max: recorder.queue_exchanges_max,
    }
}

/// Starts to read business keys, where they are configured.
fn keys(config: &Config) -> io::Result<Option<KeyReader>> {
    let recorder = &config.recorder;
    let Some(exchange) = recorder.business_key.clone() else { return Ok(None) };
    let upstreams = config.upstreams.iter();
    let upstreams = upstreams.filter_map(|u| Some((u.name.clone(), u.business_key.clone()?)));
    let (bytes_max, bodies_max) = (recorder.body_bytes_max, recorder.queue_exchanges_max);
    KeyReader::start(exchange, upstreams, bytes_max, bodies_max).map(Some)
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
        mapping: config.recorder.sampling.needs_reading().then(|| config.mapping.clone()),
        sampling: config.recorder.sampling.clone(),
        order_key: config.recorder.order_key.clone(),
        redactor: Arc::clone(&config.redactor),
    }
}

fn header(config: &Config, boot: &str) -> Header {
    let address = |origin: &crate::config::upstream::Origin| {
        let (host, port) = origin.host_port();
        format!("{host}:{port}")
    };
    Header {
        format: segment::FORMAT.into(),
        version: segment::VERSION,
        service: config.service.clone(),
        build: config.build.clone(),
        instance: config.recorder.instance.clone(),
        boot: boot.into(),
        sequence: 1,
        opened_at: clock::now(),
        sealed_through: clock::now(),
        service_address: address(&config.recorder.forward_to),
        upstream_addresses: config
            .upstreams
            .iter()
            .map(|upstream| (upstream.name.clone(), address(&upstream.forward_to)))
            .collect(),
        host: host::own(config.recorder.listen).map(Box::new),
        sampling: config.recorder.sampling.rule(),
        redaction: config.redaction.header().into(),
    }
}
