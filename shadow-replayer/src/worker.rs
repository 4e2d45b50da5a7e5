//! Works on the shards of a run: claim, read, replay or look up the kept answer, compare, write, win, publish.
//!
//! An attempt writes outside the run's directory. One compare-and-set names the winning files; publishing copies exactly those and
//! may be repeated; only then is the shard finished. So a shard is in the journal exactly once, whatever dies meanwhile, and any
//! number of workers may do this at once. While it works a worker shows that it lives; it stops soon after its shard was taken over,
//! its run was cancelled, or it was asked to.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shadow_recorder::digest::sha256;
use shadow_recorder::store::Store;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Answers, Attempt};
use crate::config::Config;
use crate::config::state;
use crate::filter::Filter;
use crate::journal::{self, TABLES};
use crate::lease::Watch;
use crate::output::ANSWERS;
use crate::run::{self, Run, Tally};
use crate::shard::{self, Event, Shard, State, WonFile};
use crate::store::RunStore;
use crate::trial::Trial;
use crate::{Progress, RunError, answer, isolation};

/// Heartbeats of one lease: so many may come late or be lost.
const BEATS_PER_LEASE: u32 = 4;

/// One pass over the shards of a journal revision.
pub(crate) struct Worker<'a> {
    pub(crate) config: &'a Config,
    pub(crate) runs: &'a RunStore,
    pub(crate) run: &'a Run,
    pub(crate) revision: u32,
    pub(crate) answers: Answers,
    pub(crate) stop: &'a CancellationToken,
    pub(crate) progress: &'a dyn Fn(&Progress),
}

/// Why a worker has nothing more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every shard is finished, by whomever.
    Done,
    /// It was asked to stop.
    Stopped,
    /// The run was cancelled, or failed.
    GivenUp,
}

/// Why a worker leaves a shard.
enum Left {
    Over(Ended),
    /// Another has it.
    Lost,
}

impl Worker<'_> {
    /// Works until no shard is left.
    pub(crate) async fn work(&self) -> Result<Ended, RunError> {
        let (id, revision) = (&self.run.id, self.revision);
        let (began, mut watch) = (Instant::now(), Watch::new(self.lease()));
        let (mut total, tried) =
            (shard::counted(&self.runs.shards(id, revision).await?), OnceCell::new());
        loop {
            if let Some(ended) = self.ended().await? {
                return Ok(ended);
            }
            let held = self.runs.held(id, revision).await?;
            let expired = watch.expired(&held, began.elapsed());
            let owner = owner();
            let mine = match expired.first() {
                Some(dead) => {
                    let seen = (dead.number, dead.sign());
                    self.runs.take_over(id, revision, seen, &owner).await?
                }
                None => self.runs.claim(id, revision, &owner).await?,
            };
            match mine {
                Some(shard) => {
                    if let Some(ended) = self.hold(&shard, &mut total, &tried).await? {
                        return Ok(ended);
                    }
                }
                None if expired.is_empty() && self.runs.all_finished(id, revision).await? => {
                    self.sweep().await?;
                    return Ok(Ended::Done);
                }
                None => tokio::select! {
                    () = tokio::time::sleep(self.beat()) => {}
                    () = self.stop.cancelled() => {}
                },
            }
        }
    }

    /// Tries the candidate once, before the first shard; what is found is counted with every shard of this worker. Answers that were
    /// kept are as much in doubt as they were.
    async fn tried(&self) -> Result<Tally, RunError> {
        let mut tried = Tally::default();
        let Answers::Live(asking) = &self.answers else {
            for tally in
                self.runs.shards(&self.run.id, 1).await?.into_iter().filter_map(|s| s.tally)
            {
                tried.doubts.extend(tally.doubts);
                tried.isolation.extend(tally.isolation);
            }
            return Ok(tried);
        };
        let driver = &asking.candidate;
        let filter = Filter::of(self.run).map_err(RunError::Usage)?;
        let trial = Trial { config: self.config, run: self.run, driver, filter };
        tried.doubts = tokio::select! {
            doubts = trial.doubts() => doubts,
            why = driver.given_up.why() => return Err(RunError::GivenUp(why)),
        };
        let probe = self.config.isolation.listen;
        tried.isolation.insert(isolation::examine(driver.candidate.target(), probe).await);
        Ok(tried)
    }

    /// Restores the candidate's store, where it has one: a killed attempt must not have booked anything.
    async fn restore(&self, shard: &Shard) -> Result<(), RunError> {
        match (&self.answers, &self.config.replay.state) {
            (Answers::Live(_), state::State::Snapshot(reset)) => {
                let restored = reset.restore(&self.run.id, shard.number).await;
                restored.map_err(|why| RunError::Reset(shard.number, why))
            }
            _ => Ok(()),
        }
    }

    /// Ends the stub, where there is one.
    pub(crate) async fn stop(self) {
        if let Answers::Live(asking) = self.answers {
            asking.stop().await;
        }
    }

    fn lease(&self) -> Duration {
        self.config.replay.durable.lease
    }

    fn beat(&self) -> Duration {
        self.lease() / BEATS_PER_LEASE
    }

    async fn ended(&self) -> Result<Option<Ended>, RunError> {
        if self.stop.is_cancelled() {
            return Ok(Some(Ended::Stopped));
        }
        let state = self.runs.state(&self.run.id).await?;
        let given_up = matches!(state, run::State::Cancelled | run::State::Failed);
        Ok(given_up.then_some(Ended::GivenUp))
    }

    /// Carries a claimed shard to its end and shows meanwhile that this worker lives; lets go of it where it cannot.
    async fn hold(
        &self,
        shard: &Shard,
        total: &mut Tally,
        tried: &OnceCell<Tally>,
    ) -> Result<Option<Ended>, RunError> {
        let left = tokio::select! {
            carried = self.carry(shard, total, tried) => match carried {
                Ok(tally) => {
                    if let Some(tally) = tally {
                        total.add(&tally);
                    }
                    return Ok(None);
                }
                Err(error) => Err(error),
            },
            left = self.live(shard) => left,
        };
        if let Answers::Live(asking) = &self.answers {
            asking.forget();
        }
        if matches!(left, Ok(Left::Lost)) {
            tracing::warn!("shard {} of run {} was taken over", shard.number, self.run.id);
            return Ok(None);
        }
        let release = Event::Release(shard.epoch);
        let released = self.runs.change(&self.run.id, self.revision, shard.number, &release).await;
        match left? {
            Left::Over(ended) => released.map(|_| Some(ended)).map_err(RunError::from),
            Left::Lost => Ok(None),
        }
    }

    /// Counts the shard's heartbeat up until there is a reason to leave it.
    async fn live(&self, shard: &Shard) -> Result<Left, RunError> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.beat()) => {}
                () = self.stop.cancelled() => {}
            }
            if let Some(ended) = self.ended().await? {
                return Ok(Left::Over(ended));
            }
            let beat = Event::Beat(shard.epoch);
            if self.runs.change(&self.run.id, self.revision, shard.number, &beat).await?.is_err() {
                return Ok(Left::Lost);
            }
        }
    }

    /// Attempts a shard, wins and publishes it; a shard that is won is only published. Returns what the attempt counted, if it won.
    async fn carry(
        &self,
        shard: &Shard,
        total: &Tally,
        tried: &OnceCell<Tally>,
    ) -> Result<Option<Tally>, RunError> {
        if shard.state == State::Won {
            self.publish(shard.number, &shard.files).await?;
            return Ok(shard.tally.clone());
        }
        let folder = tempfile::tempdir().map_err(RunError::Scratch)?;
        let progress = |tally: &Tally| (self.progress)(&Progress::Replayed(add(total, tally)));
        let Self { config, run, answers, .. } = self;
        let attempt = Attempt { config, run, answers, progress: &progress };
        let tried = tried.get_or_try_init(|| self.tried()).await?;
        self.restore(shard).await?;
        let seen = Arc::default();
        let mut tally = tokio::select! {
            tally = attempt.make(shard, folder.path(), &seen) => tally?,
            why = given_up(&self.answers) => return Err(RunError::GivenUp(why)),
        };
        tally.add(tried);
        let files = self.upload(shard, folder.path()).await?;
        let win = Event::Win(shard.epoch, &files, &tally);
        if self.runs.change(&self.run.id, self.revision, shard.number, &win).await?.is_err() {
            self.remove(files.iter().map(|file| &*file.attempt)).await?;
            return Ok(None);
        }
        self.publish(shard.number, &files).await?;
        Ok(Some(tally))
    }

    /// Puts an attempt's files into the store, outside the run's directory.
    async fn upload(&self, shard: &Shard, folder: &Path) -> Result<Vec<WonFile>, RunError> {
        let (run, revision, number) = (&self.run.id, self.revision, shard.number);
        let prefix = format!("{}shard={number}/epoch={}", self.attempts(), shard.epoch);
        let mut files: Vec<(String, String)> = TABLES
            .iter()
            .map(|table| (format!("{table}.parquet"), journal::key(table, revision, run, number)))
            .collect();
        if matches!(self.answers, Answers::Live(_)) {
            files.push((ANSWERS.into(), answer::key(run, number)));
        }
        let mut won = Vec::new();
        for (name, target) in files {
            let bytes = tokio::fs::read(folder.join(&name)).await.map_err(RunError::Scratch)?;
            let attempt = format!("{prefix}/{name}");
            let sha256 = sha256(&bytes);
            self.config.store.put(&attempt, bytes).await?;
            won.push(WonFile { attempt, target, sha256 });
        }
        Ok(won)
    }

    /// Copies the winning files to where the journal is read, and only then finishes the shard. It may be repeated.
    async fn publish(&self, shard: u32, files: &[WonFile]) -> Result<(), RunError> {
        for file in files {
            if let Err(error) = publish(&self.config.store, file).await {
                // Whoever finished the shard meanwhile has removed the attempt's files.
                let shards = self.runs.shards(&self.run.id, self.revision).await?;
                let finished = |one: &Shard| one.number == shard && one.state == State::Finished;
                return if shards.iter().any(finished) { Ok(()) } else { Err(error) };
            }
        }
        let finish = Event::Finish;
        let finished = self.runs.change(&self.run.id, self.revision, shard, &finish).await?;
        if finished.is_ok() {
            self.remove(files.iter().map(|file| &*file.attempt)).await?;
        }
        Ok(())
    }

    fn attempts(&self) -> String {
        format!("attempts/run_id={}/revision={}/", self.run.id, self.revision)
    }

    /// Removes what attempts of workers that died have left.
    async fn sweep(&self) -> Result<(), RunError> {
        let store = &self.config.store;
        for shard in store.folders(&self.attempts()).await? {
            for epoch in store.folders(&shard).await? {
                let keys = store.list(&epoch).await?;
                self.remove(keys.iter().map(String::as_str)).await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, keys: impl Iterator<Item = &str>) -> Result<(), RunError> {
        for key in keys {
            self.config.store.remove(key).await?;
        }
        Ok(())
    }
}

/// Waits until it is no use to go on; returns why.
async fn given_up(answers: &Answers) -> String {
    match answers {
        Answers::Live(asking) => asking.candidate.given_up.why().await,
        Answers::Kept | Answers::Supplied(_) => std::future::pending().await,
    }
}

async fn publish(store: &Store, file: &WonFile) -> Result<(), RunError> {
    let bytes = store.get(&file.attempt).await?;
    if sha256(&bytes) != file.sha256 {
        return Err(RunError::Damaged(file.attempt.clone()));
    }
    Ok(store.put(&file.target, bytes).await?)
}

/// Returns a name that no other claim has, by which a person finds the worker.
#[expect(clippy::disallowed_methods, reason = "a claim is named once, when it is made")]
fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}/{}", host.trim(), std::process::id(), uuid::Uuid::now_v7())
}

fn add(before: &Tally, tally: &Tally) -> Tally {
    let mut sum = before.clone();
    sum.add(tally);
    sum
}
