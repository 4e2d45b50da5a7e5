//! Entries that somebody brings instead of replaying: those of production and those of the candidate, joined by the id of their event.
//!
//! ```text
//! files ─► rows ─► records ─► parts on the disk, by event ─► one part after the other: join, pair, journal
//! ```
//!
//! They give a run like any other, but for where its two sides come from. An event that one side alone has is a difference. A row that
//! cannot be read makes its event unverified on production's side and errored on the candidate's; no row is skipped.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shadow_recorder::clock;
use tokio_util::sync::CancellationToken;

mod columns;
mod csv;
mod documents;
mod event;
mod file;
mod parquet;
mod parts;
mod rows;
#[cfg(test)]
mod tests;

use crate::attempt::Answers;
use crate::config::Config;
use crate::config::supplied::Supplied;
use crate::join::stop_on_signal;
use crate::plan::Range;
use crate::run::{Event, Evidence, Run, RunId, Settings, State};
use crate::store::RunStore;
use crate::worker::{Ended, Worker};
use crate::{Progress, RunError};
use event::Rules;
use file::Opened;
pub use file::{Format, Side, SuppliedFile};
pub(crate) use parts::Parts;
use parts::Spill;

/// What stands for the address of a candidate that was never asked.
pub const CANDIDATE: &str = "supplied by the user";

/// What is brought.
#[derive(Clone, Debug)]
pub struct SuppliedRequest {
    /// Files with production's entries: names and patterns.
    pub primary: Vec<String>,
    /// Files with the candidate's.
    pub shadow: Vec<String>,
    /// How all of them are written, where their names do not say it.
    pub format: Option<Format>,
    /// The candidate's build.
    pub build: String,
    /// Production's build.
    pub primary_build: Option<String>,
    /// The range; without it, from the first event to the last.
    pub range: Option<Range>,
}

/// What a run's evidence keeps of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The files, production's first.
    pub files: Vec<SuppliedFile>,
}

/// What was read.
struct Brought {
    parts: Parts,
    shards: u32,
    files: Vec<SuppliedFile>,
    range: Range,
}

/// Reads the files and compares them, as a run of its own; SIGTERM and SIGINT end it.
pub async fn supply(
    config: &Config,
    request: &SuppliedRequest,
    progress: &dyn Fn(&Progress),
) -> Result<Run, RunError> {
    let supplied = config.supplied.clone().ok_or_else(|| {
        RunError::Usage("section [supplied] is missing: it says which column or JSONPath is what in --primary and --shadow".into())
    })?;
    let runs = RunStore::open(&config.replay.database).await?;
    let (asked, now) = (request.clone(), clock::now());
    let mapping_sha256 = supplied.mapping_sha256.clone();
    let reading = tokio::task::spawn_blocking(move || read(&supplied, &asked, now));
    let brought =
        reading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    let rows: u64 = brought.files.iter().map(|file| file.rows).sum();
    let Brought { parts, shards, files, range } = brought;
    let mut run = planned(config, request, range, files, now);
    let segments = vec![Vec::new(); shards as usize];
    runs.insert(&run, &mapping_sha256, &segments).await?;
    if rows == 0 {
        let failure = "the files hold no row: give --primary and --shadow files that hold entries";
        runs.advance(&mut run, Event::Fail, clock::now(), Some(failure)).await?;
        return Ok(run);
    }
    runs.advance(&mut run, Event::Start, clock::now(), None).await?;
    let stop = &stop_on_signal().map_err(RunError::Signal)?;
    work(config, &runs, &mut run, parts, (stop, progress)).await?;
    Ok(run)
}

async fn work(
    config: &Config,
    runs: &RunStore,
    run: &mut Run,
    parts: Parts,
    (stop, progress): (&CancellationToken, &dyn Fn(&Progress)),
) -> Result<(), RunError> {
    let answers = Answers::Supplied(Arc::new(parts));
    let worker = Worker { config, runs, run, revision: 1, answers, stop, progress };
    let ended = worker.work().await;
    let (event, failure) = match &ended {
        Ok(Ended::Done) => (Event::Finish, None),
        Ok(Ended::Stopped) | Err(_) => {
            (Event::Fail, Some("it was broken off: give the files to `certify` again"))
        }
        Ok(Ended::GivenUp) => (Event::Cancel, Some("it was cancelled")),
    };
    runs.advance(run, event, clock::now(), failure).await?;
    ended.map(|_| ())
}

fn planned(
    config: &Config,
    request: &SuppliedRequest,
    range: Range,
    files: Vec<SuppliedFile>,
    now: Timestamp,
) -> Run {
    Run {
        id: RunId::fresh(),
        service: config.service.name.clone(),
        candidate_build: request.build.clone(),
        candidate_url: CANDIDATE.into(),
        from: range.from,
        to: range.to,
        state: State::Planned,
        failure: None,
        created_at: now,
        finished_at: None,
        evidence: Evidence {
            primary_build: request.primary_build.clone(),
            supplied: Some(Files { files }),
            ..Evidence::default()
        },
        settings: Settings::default(),
    }
}

/// Reads all files into parts.
fn read(
    supplied: &Supplied,
    request: &SuppliedRequest,
    now: Timestamp,
) -> Result<Brought, RunError> {
    let timed = supplied.occurred_at.is_some();
    if !timed && request.range.is_none() {
        return Err(RunError::Usage(
            "nothing says when the events occurred: set `occurred_at` in [supplied], or give --from and --to".into(),
        ));
    }
    let mut opened = open(request).map_err(RunError::Usage)?;
    let shards = parts::count(opened.iter().map(|file| file.of.bytes).sum());
    let mut spill = Spill::new(shards).map_err(RunError::Scratch)?;
    let mut span: Option<(i64, i64)> = None;
    for file in opened.iter_mut().filter(|file| file.of.repeats.is_none()) {
        let mut put = |record: rows::Record| {
            if let Some(at) = record.occurred_at_us {
                span = Some(span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
            }
            spill.put(&record).map_err(|error| {
                format!("cannot keep its rows on the local disk (TMPDIR says where): {error}")
            })
        };
        rows::read(file, supplied, &mut put).map_err(RunError::Usage)?;
    }
    let range = request.range.unwrap_or_else(|| whole(span, now));
    let flat = columns::is_flat(&supplied.extract);
    let dimensions = supplied.extract.dimensions.keys().cloned().collect();
    let rules = Rules { range, flat, route: supplied.route.clone(), dimensions };
    let parts = spill.finish(rules).map_err(RunError::Scratch)?;
    let files = opened.into_iter().map(|file| file.of).collect();
    Ok(Brought { parts, shards, files, range })
}

/// Returns the range from the first event to the last; where no event says when it occurred, the instant of the run.
fn whole(span: Option<(i64, i64)>, now: Timestamp) -> Range {
    let now = now.as_microsecond();
    let (first, last) = span.unwrap_or((now, now));
    let instant = |us| Timestamp::from_microsecond(us).unwrap_or(Timestamp::MAX);
    Range { from: instant(first), to: instant(last.saturating_add(1)) }
}

/// Opens the files of both sides. One that holds the same as another of its side is not read a second time.
fn open(request: &SuppliedRequest) -> Result<Vec<Opened>, String> {
    let mut opened: Vec<Opened> = Vec::new();
    for (side, patterns) in [(Side::Primary, &request.primary), (Side::Shadow, &request.shadow)] {
        for path in file::expand(patterns)? {
            let mut file = Opened::open(side, &path, request.format)?;
            let same = |other: &&Opened| other.of.side == side && other.of.sha256 == file.of.sha256;
            file.of.repeats = opened.iter().find(same).map(|other| other.of.name.clone());
            opened.push(file);
        }
    }
    Ok(opened)
}
