//! The edge between stores and judgement: from a run to its durable verdict and report.
//!
//! Order: journal → totals → judgement → `verdict.json` durable → report → run store. Nobody learns a verdict that is not durable.

use std::collections::BTreeMap;
use std::time::Duration;

use shadow_recorder::clock;
use shadow_recorder::store::StoreError;
use shadow_replayer::isolation::Isolation;
use shadow_replayer::plan::Accounted;
use shadow_replayer::run::{Run, RunId, State, Tally};
use shadow_replayer::store::{NewVerdict, RunStore, RunStoreError, without_credentials};
use shadow_replayer::supplied::{SuppliedRequest, supply};
use shadow_replayer::{Progress, RunError, RunRequest};

use crate::aggregate::{self, AggregateError};
use crate::config::Config;
use crate::evidence;
use crate::fetch;
use crate::history;
use crate::load::Journal;
use crate::policy::Policy;
use crate::policy::Replayed;
use crate::report;
use crate::score::{self, Evidence, Judgement};
use crate::totals::{Overflow, Totals};
use crate::verdict::{
    self, Assumed, Candidate, CellName, Control, Differing, FORMAT, Losses, Replay, Structure,
    Supplied, VERSION, Verdict,
};
use crate::verdict::{History, Signatures};

/// What is to be certified.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A run that was replayed already.
    Run(RunId),
    /// A candidate, which is replayed first.
    Candidate(Box<RunRequest>),
    /// The entries of both sides, which are compared first.
    Supplied(Box<SuppliedRequest>),
}

/// A verdict and where it lies.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The verdict.
    pub verdict: Verdict,
    /// Where `verdict.json` is.
    pub document: String,
    /// Where the HTML report is.
    pub report: String,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// The replay could not be done.
    #[error(transparent)]
    Replay(#[from] RunError),
    /// The run store failed.
    #[error(transparent)]
    Runs(#[from] RunStoreError),
    /// There is no such run.
    #[error("there is no run {0} in {1}: check --run, and [replay] database")]
    NoRun(RunId, String),
    /// A file of the journal cannot be read.
    #[error("the run's journal is incomplete; replay the range again")]
    Journal(#[source] StoreError),
    /// A file of the journal is not what the replay published.
    #[error("{0} is not what the replay published; replay the range again")]
    Changed(String),
    /// The journal cannot be kept on the local disk while it is summed.
    #[error("cannot keep the journal on the local disk while it is summed: TMPDIR says where")]
    Scratch(#[source] std::io::Error),
    /// The journal cannot be summed.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// A sum is too large to be exact.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The summing thread ended without a result.
    #[error("the journal could not be summed")]
    Interrupted(#[source] tokio::task::JoinError),
    /// The verdict cannot be written as JSON.
    #[error("cannot write the verdict as JSON")]
    Json(#[source] serde_json::Error),
    /// The report cannot be drawn.
    #[error("cannot draw the report")]
    Report(#[source] askama::Error),
    /// The verdict cannot be stored.
    #[error("cannot store the verdict")]
    Store(#[source] StoreError),
}

impl CertifyError {
    /// Returns whether the person who asked can mend it: exit code 64.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Replay(error) => error.is_usage(),
            Self::Runs(RunStoreError::Open(..)) | Self::NoRun(..) => true,
            _ => false,
        }
    }
}

/// Judges a run, or replays a candidate and judges that run.
pub async fn certify(
    config: &Config,
    subject: &Subject,
    progress: &dyn Fn(&Progress),
) -> Result<Certified, CertifyError> {
    let id = match subject {
        Subject::Run(id) => id.clone(),
        Subject::Candidate(request) => {
            Box::pin(shadow_replayer::run(&config.replay, request, progress)).await?.id
        }
        Subject::Supplied(request) => Box::pin(supply(&config.replay, request, progress)).await?.id,
    };
    let database = &config.replay.replay.database;
    let runs = RunStore::open(database).await?;
    let run = runs
        .run(&id)
        .await?
        .ok_or_else(|| CertifyError::NoRun(id.clone(), without_credentials(database)))?;
    let configured = configured_mapping(config, &run);
    let revision = runs.newest_revision(&id).await?;
    let (number, mapping_sha256) = match &revision {
        Some(revision) => (revision.number, &*revision.mapping_sha256),
        // A run that never finished a shard has no revision to judge.
        None => (0, configured),
    };
    let mut evidence = known(&run);
    evidence.mapping_changed = mapping_sha256 != configured;
    let shards = match revision {
        Some(_) => runs.shards(&id, number).await?,
        None => Vec::new(),
    };
    evidence.tally = tally(shards.iter().map(|shard| shard.tally.as_ref()));
    // Nothing of a failed run is summed: what its shards hold is not what was asked for.
    let judged = if evidence.failure.is_some() { &[][..] } else { &shards[..] };
    let files = judged.iter().flat_map(|shard| &shard.files);
    let local = fetch::verified(&config.replay.store, files).await?;
    let numbers: Vec<u32> = judged.iter().map(|shard| shard.number).collect();
    let journal = Journal::of_run(local.root(), &id, number, &numbers);
    let policy = config.policy.clone().of_range(run.to);
    let policy = Policy { expected: policy.expected.clone().at(clock::now()), ..policy };
    let totals = sum(journal, policy.clone()).await?;
    drop(local);
    let judgement = score::judge(&totals, &policy, &evidence)?;
    let facts = Facts {
        run: &run,
        revision: number,
        mapping_sha256,
        policy: &policy,
        config: &config.replay,
        evidence,
        totals,
    };
    let mut verdict = assemble(facts, judgement);
    // Off the stack of whoever certifies.
    Box::pin(history::complete(&runs, &id, &mut verdict)).await?;
    keep(config, &runs, &id, verdict).await
}

/// Returns the digest of the mapping that reads such a run, as it is configured now.
fn configured_mapping<'c>(config: &'c Config, run: &Run) -> &'c str {
    match &config.replay.supplied {
        _ if run.evidence.supplied.is_none() => &config.replay.mapping_sha256,
        Some(supplied) => &supplied.mapping_sha256,
        None => "",
    }
}

/// Sums on a thread of its own: polars blocks, and has a runtime of its own.
async fn sum(journal: Journal, policy: Policy) -> Result<Totals, CertifyError> {
    let summed = tokio::task::spawn_blocking(move || aggregate::totals(&journal, &policy)).await;
    Ok(summed.map_err(CertifyError::Interrupted)??)
}

fn known(run: &Run) -> Evidence {
    let failure = match run.state {
        State::Finished => None,
        State::Failed => Some(run.failure.clone().unwrap_or_else(|| "it failed".into())),
        State::Cancelled => Some("it was cancelled".into()),
        State::Planned | State::Replaying => {
            Some(format!("it is {}, not finished", run.state.word()))
        }
    };
    let range = run.to.duration_since(run.from);
    Evidence {
        run_id: run.id.to_string(),
        failure,
        range: Duration::try_from(range).unwrap_or_default(),
        tally: None,
        mapping_changed: false,
        dropped: run.evidence.dropped.clone(),
        sampled_out: run.evidence.sampled_out,
        gaps: run.evidence.gaps.clone(),
        strata: accounted(&run.evidence),
        counted: (*run.evidence.counted).clone(),
        control: run.settings.control.is_some(),
        own_upstreams: run.settings.own_upstreams,
        supplied: run.evidence.supplied.is_some(),
    }
}

/// Returns what the recorders counted, per stratum.
fn accounted(evidence: &shadow_replayer::run::Evidence) -> BTreeMap<String, Accounted> {
    let mut strata = evidence.strata.clone();
    // Where exchanges were sorted by their keys, nobody counts those that lay twice: the account only bounds them.
    for accounted in strata.values_mut().filter(|_| !evidence.buckets.is_empty()) {
        accounted.beyond = accounted.tally.recorded;
    }
    strata
}

/// Adds the shards' counts, where every shard has them.
fn tally<'t>(shards: impl Iterator<Item = Option<&'t Tally>>) -> Option<Tally> {
    shards.into_iter().try_fold(Tally::default(), |mut sum, tally| {
        sum.add(tally?);
        Some(sum)
    })
}

struct Facts<'a> {
    run: &'a Run,
    revision: u32,
    mapping_sha256: &'a str,
    policy: &'a Policy,
    config: &'a shadow_replayer::config::Config,
    evidence: Evidence,
    totals: Totals,
}

fn assemble(facts: Facts<'_>, judgement: Judgement) -> Verdict {
    let Facts { run, revision, mapping_sha256, policy, config, evidence, totals } = facts;
    let policy_document = policy.document(Replayed::of(config, mapping_sha256));
    let supplied = supplied(run, &evidence);
    let state = &policy_document.state;
    let replay = supplied.is_none().then(|| replay(run, state, &evidence, totals.assumed.clone()));
    let control = evidence.control.then(|| control(run, &totals, judgement.control_cells));
    let exchanges = totals.exchanges;
    let differing = exchanges.outcomes.different + exchanges.outcomes.errored;
    Verdict {
        format: FORMAT.into(),
        version: VERSION,
        run_id: run.id.to_string(),
        revision,
        service: run.service.clone(),
        candidate: Candidate { build: run.candidate_build.clone(), url: run.candidate_url.clone() },
        primary_build: run.evidence.primary_build.clone(),
        from: run.from,
        to: run.to,
        decided_at: clock::now(),
        verdict: judgement.verdict,
        confidence: judgement.confidence,
        decided: judgement.decided,
        why: judgement.why,
        reasons: judgement.reasons,
        basis: judgement.basis,
        next: judgement.next,
        completeness: judgement.completeness,
        ledger: judgement.ledger,
        coverage: judgement.coverage,
        time: evidence::time::coverage(run.range(), &run.evidence.presence),
        reporting_currency: policy.rates.reporting_currency.clone(),
        rates: policy.rates.texts(),
        dimensions: judgement.dimensions,
        differing: Differing {
            total: differing,
            left_out: differing.saturating_sub(totals.largest.len() as u64),
            exchanges: totals.largest,
        },
        not_compared: exchanges.reasons,
        losses: Losses {
            dropped: evidence.dropped,
            money: judgement.lost,
            sampled_out: evidence.sampled_out,
            gaps: evidence.gaps,
            unreadable: evidence.tally.map(|tally| tally.losses).unwrap_or_default(),
            money_unknown: exchanges.money_unknown,
        },
        exchanges: exchanges.outcomes,
        upstream: exchanges.upstream,
        latency: exchanges.latency,
        signatures: Signatures { shown: totals.signatures, left_out: totals.structure.left_out },
        control,
        outside_chart: judgement.outside_chart,
        replay,
        supplied,
        kinds: totals.kinds,
        structure: Structure { ignored: policy_document.ignored.clone(), ..totals.structure },
        policy: policy_document,
        history: History::default(),
        expected: policy.expected.shown(&totals.expected),
    }
}

fn control(run: &Run, totals: &Totals, cells: Vec<CellName>) -> Control {
    Control {
        build: run.evidence.primary_build.clone().unwrap_or_default(),
        exchanges_replayed: totals.control.replayed,
        exchanges_differing: totals.control.differing,
        exchanges_explained: totals.control.explained,
        cells,
    }
}

/// Returns where both sides came from, where nothing was replayed.
fn supplied(run: &Run, evidence: &Evidence) -> Option<Supplied> {
    let files = run.evidence.supplied.as_ref()?.files.clone();
    let only = |count: fn(&Tally) -> u64| evidence.tally.as_ref().map_or(0, count);
    let (only_primary, only_shadow) = (only(|of| of.only_primary), only(|of| of.only_shadow));
    Some(Supplied { files, only_primary, only_shadow })
}

/// Returns how the candidate was replayed.
fn replay(run: &Run, state: &str, evidence: &Evidence, assumed: Assumed) -> Replay {
    let found = evidence.tally.as_ref().map(|tally| tally.isolation.clone()).unwrap_or_default();
    let isolation = Isolation::of_run(&found);
    Replay {
        upstreams: if run.settings.own_upstreams { "own" } else { "recorded" }.into(),
        isolation_proven: matches!(isolation, Isolation::Proven(_)),
        isolation: isolation.to_string(),
        state: state.into(),
        assumed,
    }
}

async fn keep(
    config: &Config,
    runs: &RunStore,
    id: &RunId,
    verdict: Verdict,
) -> Result<Certified, CertifyError> {
    let store = &config.replay.store;
    let document = serde_json::to_string_pretty(&verdict).map_err(CertifyError::Json)?;
    let key = verdict::key(&verdict.run_id, verdict.revision);
    store.put(&key, document.clone()).await.map_err(CertifyError::Store)?;
    let report_key = verdict::report_key(&verdict.run_id, verdict.revision);
    let report = report::render(&verdict).map_err(CertifyError::Report)?;
    store.put(&report_key, report).await.map_err(CertifyError::Store)?;
    let new = NewVerdict {
        revision: verdict.revision,
        decided_at: verdict.decided_at,
        verdict: verdict.verdict.word(),
        policy_sha256: &verdict.policy.sha256,
        document: &document,
    };
    runs.append_verdict(id, &new).await?;
    runs.close().await;
    Ok(Certified { document: store.location(&key), report: store.location(&report_key), verdict })
}

#[cfg(test)]
mod tests;
