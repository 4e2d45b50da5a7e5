//! `[replay]`, and the recorder's sections that a replay needs.

use std::time::Duration;

use shadow_recorder::config::recorder::{Service, service};
use shadow_recorder::config::redaction::redaction;
use shadow_recorder::config::store::store;
use shadow_recorder::config::upstream::{Upstream, upstreams};
use shadow_recorder::config::{Document, Table};
use shadow_recorder::digest::sha256;
use shadow_recorder::ledger::Mapping;
use shadow_recorder::ledger::config::mapping;
use shadow_recorder::store::Store;

mod assume;
pub mod stub;
pub mod supplied;

use crate::pace::Pace;
use crate::redaction::Redactors;
use crate::structure;

pub mod noise;

pub mod authentication;
pub mod candidate;
mod carry;
pub mod probe;
pub mod state;
pub mod http;
pub mod isolation;
pub mod pace;
pub mod durable;

pub mod order;

use candidate::CandidateRules;
use durable::Durable;
use http::Http;
use isolation::Isolation;
use order::{Ordering, ordering};
use pace::Pacing;
use probe::Probe;
use state::State;
use supplied::Supplied;

/// What a replay is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The service.
    pub service: Service,
    /// Where captures lie and the journal is written.
    pub store: Store,
    /// The upstreams that the stub answers for.
    pub upstreams: Vec<Upstream>,
    /// How transactions are read.
    pub mapping: Mapping,
    /// The SHA-256 of the mapping as it is configured.
    pub mapping_sha256: String,
    /// The rules of the recordings, with the configured key.
    pub redactors: Redactors,
    /// What is compared beside the ledger mapping.
    pub structure: structure::Rules,
    /// What else is asked of every run.
    pub control: noise::Control,
    /// `[replay]`.
    pub replay: Replay,
    /// An amount by which the comparison itself is tried.
    pub probe: Option<Probe>,
    /// `[replay.isolation]`.
    pub isolation: Isolation,
    /// `[replay.stub]`.
    pub stub: stub::Stub,
    /// `[supplied]`, where it is there.
    pub supplied: Option<Supplied>,
}

/// `[replay]`.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The run store's URL.
    pub database: String,
    /// Exchanges in flight at once. A candidate that propagates no trace context needs 1.
    pub in_flight: usize,
    /// In which version of HTTP.
    pub http: Http,
    /// How fast exchanges are sent.
    pub pacing: Pacing,
    /// How long the candidate may take to answer one exchange.
    pub timeout: Duration,
    /// How long the run waits for the candidate to accept connections.
    pub candidate_wait: Duration,
    /// How long after the end of the range the run waits for every instance to seal it.
    pub watermark_wait: Duration,
    /// How long after its answer the candidate may still make upstream calls that the recording has.
    pub linger: Duration,
    /// How far before the range a segment may begin that reaches into it: at least the recorder's `segment_span_max`.
    pub lookback: Duration,
    /// Bytes kept of one answer or upstream request of the candidate.
    pub body_bytes_max: usize,
    /// Segments of one shard.
    pub shard_segments_max: usize,
    /// Where the candidate may be, and what it is sent beside what was recorded.
    pub candidate: CandidateRules,
    /// In which order exchanges are replayed.
    pub ordering: Ordering,
    /// What the candidate remembers from one exchange to the next.
    pub state: State,
    /// What a run outlives.
    pub durable: Durable,
}

const KNOWN: &[&str] = &[
    "lease",
    "database_patience",
    "database",
    "in_flight",
    "pace",
    "http",
    "timeout",
    "candidate_wait",
    "watermark_wait",
    "linger",
    "lookback",
    "body_bytes_max",
    "shard_segments_max",
    "stub",
    "upstreams",
    "assume",
    "allow",
    "candidate",
    "compare_headers",
    "ignore",
    "unordered",
    "order",
    "bucket_bytes",
    "authentication",
    "state",
    "probe",
    "isolation",
    "control",
    "control_stub",
    "twice",
    "carry",
];

impl Replay {
    /// Returns how many exchanges are in flight at once. Where they are due at their instants, that is more than keep a candidate busy; but
    /// where only one may be, it is one.
    pub fn in_flight(&self, pace: Pace) -> usize {
        let alone = self.in_flight == 1;
        if pace.is_paced() && !alone { self.pacing.in_flight_max } else { self.in_flight }
    }
}

impl Config {
    /// Takes every section that a replay needs; mistakes are collected in the document.
    pub fn take(document: &Document<'_>) -> Option<Self> {
        let service = service(document);
        let store = store(document);
        let mut upstreams = upstreams(document);
        let mapping_sha256 = sha256(document.canonical("ledger"));
        let supplied_sha256 = supplied::digest(document);
        let mapping = mapping(document, &upstreams);
        let supplied = supplied::take(document, &mapping, supplied_sha256);
        // The rules are those of each recording; the configured ones are the recorder's, and only checked here.
        let redactors = Redactors::new(redaction(document, &upstreams, &mapping).key);
        let mut table = document.section("replay");
        let replay = replay(&mut table);
        let probe = probe::take(&mut table, &upstreams);
        let isolation = isolation::take(&mut table, &upstreams);
        let structure = noise::structure(&mut table, &mapping);
        let stub = stub::stub(document, &mut table, &mut upstreams);
        let control = noise::control(&mut table, &upstreams, &stub);
        table.finish(KNOWN);
        // What may answer an ambient call must be found as well.
        let ambient = upstreams.iter().filter_map(|upstream| upstream.ambient_age_max).max();
        let lookback = replay.lookback.max(ambient.unwrap_or_default());
        let replay = Replay { lookback, ..replay };
        Some(Self {
            service: service?,
            store: store?,
            upstreams,
            mapping,
            mapping_sha256,
            redactors,
            structure,
            control,
            replay,
            probe,
            isolation,
            stub,
            supplied,
        })
    }
}

fn replay(table: &mut Table<'_, '_>) -> Replay {
    let seconds = Duration::from_secs;
    let number = |table: &mut Table<'_, '_>, key, default: usize| {
        table
            .integer(key, 1)
            .map_or(default, |number| usize::try_from(number).unwrap_or(usize::MAX))
    };
    let database = table.text("database").map_or("sqlite:shadow.db".into(), |url| url.value);
    let database = match database.strip_prefix("sqlite:") {
        Some(path) => {
            let (path, mode) = path.split_once('?').unwrap_or((path, "mode=rwc"));
            let path = table.document().resolve(path.strip_prefix("//").unwrap_or(path));
            format!("sqlite://{}?{mode}", path.display())
        }
        None => database,
    };
    let ordering = ordering(table);
    let mut candidate = candidate::take(table);
    candidate.carry = carry::take(table, ordering.order);
    let state = state::take(table, &candidate.allow);
    // What a store books may depend on the order of all that it was asked.
    let one_by_one = matches!(state, State::Snapshot(_));
    let in_flight = number(table, "in_flight", 4);
    Replay {
        database,
        in_flight: if one_by_one { 1 } else { in_flight },
        http: table.parsed("http", Http::parse).unwrap_or_default(),
        pacing: pace::pacing(table.table("pace")),
        timeout: table.duration("timeout").unwrap_or(seconds(10)),
        candidate_wait: table.duration("candidate_wait").unwrap_or(seconds(10)),
        watermark_wait: table.duration("watermark_wait").unwrap_or(seconds(120)),
        linger: table.duration("linger").unwrap_or(Duration::from_millis(200)),
        lookback: table.duration("lookback").unwrap_or(seconds(3_600)),
        body_bytes_max: number(table, "body_bytes_max", 1 << 20),
        shard_segments_max: number(table, "shard_segments_max", 16),
        ordering,
        candidate,
        state,
        durable: durable::take(table),
    }
}
