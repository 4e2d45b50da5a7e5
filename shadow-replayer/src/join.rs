//! Takes part in a run: with the run's own worker, one that joins it, or one that goes on where others have died; and gives a run up.

use std::io;
use std::sync::Arc;

use shadow_recorder::clock;
use shadow_recorder::config::upstream::Origin;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::asking::Asking;
use crate::attempt::Answers;
use crate::config::Config;
use crate::plan::Found;
use crate::run::{Event, Run, RunId, State};
use crate::store::{RunStore, without_credentials};
use crate::target::Target;
use crate::worker::{Ended, Worker};
use crate::{
    Progress, RunError, ambient, bucket, empty_range, find, production, reachable, redaction, shard,
};

/// Joins a run that is planned or being replayed, and works until no shard is left. The candidate is the run's own, or this worker's.
pub async fn join(
    config: &Config,
    id: &RunId,
    candidate: Option<&Origin>,
    progress: &dyn Fn(&Progress),
) -> Result<Run, RunError> {
    let patience = config.replay.durable.database_patience;
    let runs = RunStore::open_within(&config.replay.database, patience).await?;
    let run = known(&runs, config, id).await?;
    if run.state == State::Finished {
        return Ok(run);
    }
    refuse_supplied(&run)?;
    if run.state.is_over() {
        return Err(RunError::Usage(format!(
            "run {id} is {}, nothing is left to do: start another with `run`",
            run.state.word()
        )));
    }
    let planned_with = runs.first_revision(id).await?.map(|revision| revision.mapping_sha256);
    if planned_with.as_ref() != Some(&config.mapping_sha256) {
        return Err(RunError::Usage(format!(
            "run {id} was planned with another ledger mapping than this configuration has, and all workers of a run compare alike: \
             use the configuration that it was planned with, or start another run"
        )));
    }
    let own = || {
        Origin::parse(&run.candidate_url).map_err(|what| {
            RunError::Usage(format!("{what}: give the candidate's address with --candidate"))
        })
    };
    let candidate = candidate.cloned().map_or_else(own, Ok)?;
    let range = run.range();
    let found = find(config, range, clock::now()).await?;
    let target = production::checked(config, "--candidate", &candidate, &found).await?;
    let control = production::checked_control(config, &run.settings, &found).await?;
    redaction::check(config, &found, &run.evidence).await?;
    let part = Part { config, runs: &runs, found: &found, progress };
    match part.take(run, target, control).await? {
        Taken::Part(run) => Ok(run),
        Taken::Unreachable(_, failure) => Err(RunError::Usage(failure)),
    }
}

/// Gives a run up: its workers stop soon, and nothing certifies it. Returns the run, and whether it was this that ended it.
pub async fn cancel(config: &Config, id: &RunId) -> Result<(Run, bool), RunError> {
    let runs = RunStore::open(&config.replay.database).await?;
    let mut run = known(&runs, config, id).await?;
    if run.state.is_over() {
        return Ok((run, false));
    }
    runs.advance(&mut run, Event::Cancel, clock::now(), Some("it was cancelled")).await?;
    bucket::remove(&config.store, id).await?;
    Ok((run, true))
}

/// Returns a run that has to be there.
pub(crate) async fn known(runs: &RunStore, config: &Config, id: &RunId) -> Result<Run, RunError> {
    runs.run(id).await?.ok_or_else(|| {
        RunError::Usage(format!(
            "there is no run {id} in {}: check [replay] database",
            without_credentials(&config.replay.database)
        ))
    })
}

/// Refuses a run whose two sides came from files: there is nothing to replay, and no answer to compare again.
pub(crate) fn refuse_supplied(run: &Run) -> Result<(), RunError> {
    if run.evidence.supplied.is_none() {
        return Ok(());
    }
    Err(RunError::Usage(format!(
        "run {} compared files that were supplied: give the files to `shadow-analyzer certify` again",
        run.id
    )))
}

/// What a worker needs to take part.
pub(crate) struct Part<'a> {
    pub(crate) config: &'a Config,
    pub(crate) runs: &'a RunStore,
    pub(crate) found: &'a Found,
    pub(crate) progress: &'a dyn Fn(&Progress),
}

/// How taking part came out.
pub(crate) enum Taken {
    /// The run, over or still to be done by others.
    Part(Run),
    /// The candidate never accepted a connection, and why. Nothing was done.
    Unreachable(Run, String),
}

impl Part<'_> {
    /// Works on a run until no shard is left, it is cancelled, or this process is asked to stop.
    pub(crate) async fn take(
        &self,
        mut run: Run,
        target: Target,
        control: Option<Target>,
    ) -> Result<Taken, RunError> {
        let Self { config, runs, progress, .. } = *self;
        let replay = &config.replay;
        let stop = stop_on_signal().map_err(RunError::Signal)?;
        let range = run.range();
        let ambient = ambient::read(config, &run.evidence, range).await?;
        let asking = Asking::start(config, &run, target.clone(), control.clone(), ambient).await?;
        progress(&Progress::Listening(asking.places()));
        let mut unreachable = reachable("candidate", &target, replay.candidate_wait).await.err();
        if let (None, Some(control)) = (&unreachable, &control) {
            unreachable = reachable("control", control, replay.candidate_wait).await.err();
        }
        if let Some(failure) = unreachable {
            asking.stop().await;
            return Ok(Taken::Unreachable(run, failure));
        }
        runs.advance(&mut run, Event::Start, clock::now(), None).await?;
        let answers = Answers::Live(Arc::new(asking));
        let stop = &stop;
        let worker = Worker { config, runs, run: &run, revision: 1, answers, stop, progress };
        let ended = worker.work().await;
        worker.stop().await;
        match ended {
            Ok(Ended::Done) => self.conclude(&mut run).await?,
            Err(RunError::GivenUp(why)) => {
                runs.advance(&mut run, Event::Fail, clock::now(), Some(&why)).await?;
            }
            ended => {
                ended?;
                run = known(runs, config, &run.id).await?;
            }
        }
        if run.state.is_over() {
            bucket::remove(&config.store, &run.id).await?;
        }
        Ok(Taken::Part(run))
    }

    /// Ends a run whose shards are all finished. Every worker does so; the first one's word counts, and it is the same.
    async fn conclude(&self, run: &mut Run) -> Result<(), RunError> {
        let tally = shard::counted(&self.runs.shards(&run.id, 1).await?);
        let range = run.range();
        let empty = tally.recorded == 0 && tally.losses.is_empty();
        let failure = empty.then(|| empty_range(self.found, self.config, range));
        let event = if empty { Event::Fail } else { Event::Finish };
        Ok(self.runs.advance(run, event, clock::now(), failure.as_deref()).await?)
    }
}

/// Returns what SIGTERM or SIGINT cancels. A second one ends the process at once: its lease runs out by itself.
pub(crate) fn stop_on_signal() -> io::Result<CancellationToken> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            if again {
                std::process::exit(2);
            }
            asked.cancel();
        }
    });
    Ok(stop)
}
