//! Replays recorded exchanges against a release candidate and writes the journal of the run.
//!
//! The data path, from top to bottom: [`plan`] finds the segments of the range and freezes them in a [`run`]; the worker claims a
//! shard and reads its exchanges; the client sends each to the candidate, whose upstream calls the [`stub`] answers from the
//! recording by [`matching`] and [`ambient`]; [`compare`] reads both sides by the ledger mapping and pairs their entries by
//! [`pairing`], and what lies outside it by [`structure`]; the [`journal`] and the kept [`answer`]s are written, won in the [`store`] and published.
//!
//! Invariants:
//! - the candidate is the only address that a run connects to; the stub has no client;
//! - an upstream call is answered by an identical recording or not at all, and then its exchange is unverified;
//! - what the candidate says is redacted by the rules of the recording before it is matched, compared or written;
//! - every recorded exchange of the range has exactly one line in table `exchange`;
//! - plan, matching, pairing and comparison are pure: the same recording, answers and mapping give the same journal.

use std::ops::ControlFlow;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shadow_recorder::clock;
use shadow_recorder::config::upstream::Origin;
use shadow_recorder::store::StoreError;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

pub mod config;
pub mod run;
pub mod shard;
pub mod lease;
pub mod plan;
mod production;
pub mod allow;
pub mod target;
pub mod redaction;
mod frozen;
mod plain;
pub mod isolation;
mod outward;
mod raised;
mod trial;
mod reset;
pub mod secret;
pub mod signature;
pub mod credential;
pub mod carry;
pub mod carrying;
pub mod request;
mod bucket;
pub mod filter;
mod given_up;
pub mod client;
pub mod stub;
pub mod matching;
pub mod difference;
pub mod misses;
pub mod ambient;
pub mod assume;
pub mod answer;
pub mod compare;
pub mod pairing;
pub mod control;
pub mod structure;
pub mod journal;
pub mod store;
mod asking;
mod drive;
mod seen;
mod window;
mod source;
mod lane;
mod output;
pub mod pace;
mod connection;
mod own_thread;
mod attempt;
mod worker;
pub mod supplied;
mod join;
pub mod dead_letters;
pub mod progress;
pub mod cli;

use ambient::signed;
use attempt::Answers;
use config::Config;
use config::order::Order;
use join::{Part, Taken};
pub use join::{cancel, join};
use plan::{Found, Range};
use run::{Event, Run, RunId, Settings, State, Tally};
use store::RunStore;
use target::Target;
use worker::Worker;

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The candidate.
    pub candidate: Origin,
    /// Its build.
    pub build: String,
    /// The range's first instant.
    pub from: Timestamp,
    /// The instant after the range.
    pub to: Timestamp,
    /// What else is asked; it is kept with the run.
    pub settings: Settings,
    /// Plan the run, and leave it to workers that [`join`] it.
    pub plan_only: bool,
}

/// What a run tells while it works.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The range is planned.
    Planned {
        /// The run.
        run: RunId,
        /// Its segments.
        segments: usize,
        /// Exchanges in them, inside the range or not.
        exchanges: u64,
        /// The range.
        range: Range,
    },
    /// Exchanges are being brought into the order of their keys.
    Sorting {
        /// Segments that are read.
        read: usize,
        /// All of them.
        segments: usize,
    },
    /// Instances have not sealed the range yet.
    WaitingForInstances(Vec<String>),
    /// Where the candidate finds its upstreams.
    Listening(Vec<String>),
    /// So far replayed.
    Replayed(Tally),
}

/// Why a run could not be done. A run that was begun and could not be finished is no error: it is [`State::Failed`].
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The request or the configuration cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The stub cannot start.
    #[error(transparent)]
    Stub(#[from] stub::StubError),
    /// The capture store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run store failed.
    #[error(transparent)]
    Runs(#[from] store::RunStoreError),
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
    /// A local file cannot be written.
    #[error("cannot write the attempt's local files")]
    Scratch(#[source] std::io::Error),
    /// The candidate's store cannot be restored.
    #[error(
        "the candidate's store was not restored before shard {0}, so nothing was replayed on it: {1}; mend [replay.state], then resume"
    )]
    Reset(u32, String),
    /// It is no use to go on.
    #[error("{0}")]
    GivenUp(String),
    /// The process cannot be told to stop.
    #[error("cannot listen to signals")]
    Signal(#[source] std::io::Error),
    /// An attempt's file was changed in the store.
    #[error("{0} is not what the attempt wrote")]
    Damaged(String),
}

impl RunError {
    /// Returns whether the person who started the run can mend it: exit code 64.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_) | Self::Stub(_) | Self::Runs(store::RunStoreError::Open(..)))
    }
}

/// Plans and replays a run to its end; SIGTERM and SIGINT pause it. An unreachable candidate and an empty range give a failed run.
pub async fn run(
    config: &Config,
    request: &RunRequest,
    progress: &dyn Fn(&Progress),
) -> Result<Run, RunError> {
    let range = Range::new(request.from, request.to).map_err(RunError::Usage)?;
    let runs = RunStore::open(&config.replay.database).await?;
    let (found, mut run) = planned(config, request, range, progress).await?;
    let target = production::checked(config, "--candidate", &request.candidate, &found).await?;
    let control = production::checked_control(config, &run.settings, &found).await?;
    redaction::check(config, &found, &run.evidence).await?;
    sort(config, &found, &mut run, progress).await?;
    let shards = plan::shards(&run.evidence, config.replay.shard_segments_max);
    runs.insert(&run, &config.mapping_sha256, &shards).await?;
    let exchanges = run.evidence.segments.iter().map(|segment| segment.exchanges).sum();
    progress(&Progress::Planned {
        run: run.id.clone(),
        segments: run.evidence.segments.len(),
        exchanges,
        range,
    });
    if run.evidence.segments.is_empty() {
        let failure = empty_range(&found, config, range);
        runs.advance(&mut run, Event::Fail, clock::now(), Some(&failure)).await?;
        return Ok(run);
    }
    if request.plan_only {
        return Ok(run);
    }
    let part = Part { config, runs: &runs, found: &found, progress };
    match part.take(run, target, control).await? {
        Taken::Part(run) => Ok(run),
        Taken::Unreachable(mut run, failure) => {
            runs.advance(&mut run, Event::Fail, clock::now(), Some(&failure)).await?;
            bucket::remove(&config.store, &run.id).await?;
            Ok(run)
        }
    }
}

/// Compares the kept answers of a finished run again, under the configured mapping; returns the new revision's number.
pub async fn compare_again(
    config: &Config,
    id: &RunId,
    progress: &dyn Fn(&Progress),
) -> Result<u32, RunError> {
    let runs = RunStore::open(&config.replay.database).await?;
    let run = join::known(&runs, config, id).await?;
    join::refuse_supplied(&run)?;
    if run.state != State::Finished {
        let state = run.state.word();
        return Err(RunError::Usage(format!(
            "run {id} is {state}, only a finished run has answers to compare: replay it again"
        )));
    }
    if !run.evidence.buckets.is_empty() {
        bucket::build(config, &run, run.evidence.buckets.len(), progress).await?;
    }
    let revision = runs.add_revision(id, clock::now(), &config.mapping_sha256).await?;
    let (answers, stop) = (Answers::Kept, &CancellationToken::new());
    let worker = Worker { config, runs: &runs, run: &run, revision, answers, stop, progress };
    worker.work().await?;
    bucket::remove(&config.store, id).await?;
    Ok(revision)
}

/// Returns every exchange of a range whatever its build, for a look at the mapping without a candidate; and what was not read.
pub async fn recorded(
    config: &Config,
    range: Range,
    mut each: impl FnMut(&shadow_recorder::exchange::Exchange),
) -> Result<run::Evidence, RunError> {
    let found = find(config, range, clock::now()).await?;
    let mut evidence = plan::examine(&found, range);
    for segment in &evidence.segments {
        match frozen::fetch(config, segment).await {
            Ok(bytes) => evidence.gaps.extend(frozen::read(
                &bytes,
                segment,
                range,
                &config.mapping.sinks,
                |_, exchange| {
                    each(&exchange);
                    ControlFlow::Continue(())
                },
            )),
            Err(loss) => evidence.gaps.push(loss),
        }
    }
    Ok(evidence)
}

async fn find(config: &Config, range: Range, now: Timestamp) -> Result<Found, StoreError> {
    let lookback = signed(config.replay.lookback);
    plan::find(&config.store, &config.service.name, range, lookback, now).await
}

/// Finds the segments of the range, waiting while an instance may still seal it.
async fn planned(
    config: &Config,
    request: &RunRequest,
    range: Range,
    progress: &dyn Fn(&Progress),
) -> Result<(Found, Run), RunError> {
    // A range that ends in the future is not waited for: it is inconclusive.
    let ends_by = range.to.min(clock::now());
    let deadline =
        ends_by.saturating_add(signed(config.replay.watermark_wait)).unwrap_or(Timestamp::MAX);
    let order = request.settings.order.unwrap_or(config.replay.ordering.order);
    let pace = request.settings.pace.unwrap_or(config.replay.pacing.pace);
    loop {
        let now = clock::now();
        let found = find(config, range, now).await?;
        let mut evidence = plan::examine(&found, range);
        evidence.ambient = ambient::segments(config, &found, range);
        if now >= deadline || !plan::may_still_seal(&found, range) {
            let run = Run {
                id: RunId::fresh(),
                service: config.service.name.clone(),
                candidate_build: request.build.clone(),
                candidate_url: request.candidate.to_string(),
                from: range.from,
                to: range.to,
                state: State::Planned,
                failure: None,
                created_at: now,
                finished_at: None,
                evidence,
                settings: Settings {
                    order: Some(order),
                    pace: Some(pace),
                    own_upstreams: config.stub.own_upstreams,
                    ..config.control.asked(&request.settings)
                },
            };
            return Ok((found, run));
        }
        progress(&Progress::WaitingForInstances(evidence.gaps));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Makes the buckets of a run whose exchanges follow each other by order key.
async fn sort(
    config: &Config,
    found: &Found,
    run: &mut Run,
    progress: &dyn Fn(&Progress),
) -> Result<(), RunError> {
    if run.settings.order != Some(Order::Key) || run.evidence.segments.is_empty() {
        return Ok(());
    }
    let bytes = plan::bytes(found, &run.evidence);
    let count = bucket::count(bytes, config.replay.ordering.bucket_bytes);
    let built = bucket::build(config, run, count, progress).await?;
    run.evidence.gaps.extend(built.losses);
    run.evidence.buckets = built.buckets;
    Ok(())
}

/// Returns the range of a length that ends at the watermark.
pub async fn latest(config: &Config, length: Duration) -> Result<Range, RunError> {
    let now = clock::now();
    let length = signed(length);
    // What has sealed nothing for a day is known no more.
    let known = length.saturating_add(SignedDuration::from_hours(24));
    let from = now.saturating_sub(known).unwrap_or(Timestamp::MIN);
    let found = find(config, Range { from, to: now }, now).await?;
    plan::latest(&found, length, now).map_err(RunError::Usage)
}

fn empty_range(found: &Found, config: &Config, range: Range) -> String {
    let (from, to, service) = (range.from, range.to, &config.service.name);
    let near = found
        .manifests
        .iter()
        .filter_map(|manifest| Some((manifest.first_received_at?, manifest.last_received_at?)));
    let near = near.fold(None, |near: Option<(Timestamp, Timestamp)>, (first, last)| {
        Some(near.map_or((first, last), |(a, b)| (a.min(first), b.max(last))))
    });
    let hint = match near {
        Some((first, last)) => format!("the nearest recording is from {first} to {last}"),
        None => format!(
            "nothing was recorded near it; check [service] name and [store] ({})",
            config.store.location("captures")
        ),
    };
    let what = format!("no exchange of service {service} was recorded from {from} to {to}: {hint}");
    [&[what], &found.unreadable[..]].concat().join("; ")
}

/// Waits until the candidate or the control accepts a connection.
async fn reachable(which: &str, target: &Target, wait: Duration) -> Result<(), String> {
    let mut last = "no attempt was made".to_owned();
    let connected = tokio::time::timeout(wait, async {
        loop {
            match TcpStream::connect(&*target.addresses).await {
                Ok(_) => return,
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    connected.map_err(|_| {
        format!("the {which} was never reachable at {} within {wait:?} ({last}): start it, or check --{which}",
            target.origin
        )
    })
}
