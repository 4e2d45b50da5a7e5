//! Works on the shards of a run: claim, read, replay or look up the kept answer, compare, write, win, publish.
//!
//! An attempt writes outside the run's directory. One compare-and-set names the winning files; publishing copies exactly those and
//! may be repeated; only then is the shard finished. So a shard is in the journal exactly once, whatever dies meanwhile.

use std::path::Path;
use std::sync::Arc;

use shadow_recorder::digest::sha256;
use shadow_recorder::store::Store;

use crate::attempt::{Answers, Attempt};
use crate::config::Config;
use crate::config::state::State;
use crate::filter::Filter;
use crate::journal::{self, TABLES};
use crate::output::ANSWERS;
use crate::run::{Run, Tally};
use crate::store::{RunStore, Shard, WonFile};
use crate::trial::Trial;
use crate::{Progress, RunError, answer, isolation};

/// One pass over the shards of a journal revision.
pub(crate) struct Worker<'a> {
    pub(crate) config: &'a Config,
    pub(crate) runs: &'a RunStore,
    pub(crate) run: &'a Run,
    pub(crate) revision: u32,
    pub(crate) answers: Answers,
    pub(crate) progress: &'a dyn Fn(&Progress),
}

impl Worker<'_> {
    /// Works until no shard is left; returns what all attempts counted.
    pub(crate) async fn work(&self) -> Result<Tally, RunError> {
        let seen = Arc::default();
        let mut total = Tally::default();
        let mut tried = None;
        while let Some(shard) = self.runs.claim(&self.run.id, self.revision).await? {
            let folder = tempfile::tempdir().map_err(RunError::Scratch)?;
            let progress = |tally: &Tally| (self.progress)(&Progress::Replayed(add(&total, tally)));
            let Self { config, run, answers, .. } = self;
            let attempt = Attempt { config, run, answers, progress: &progress };
            let tried = match &mut tried {
                Some(tried) => tried,
                none => none.insert(self.tried().await?),
            };
            self.restore(&shard).await?;
            let mut tally = tokio::select! {
                tally = attempt.make(&shard, folder.path(), &seen) => tally?,
                why = given_up(&self.answers) => return Err(RunError::GivenUp(why)),
            };
            tally.add(tried);
            let files = self.upload(&shard, folder.path()).await?;
            if self.runs.win(&self.run.id, self.revision, &shard, &files, &tally).await? {
                publish(&self.config.store, &files).await?;
                self.runs.finish_shard(&self.run.id, self.revision, shard.number).await?;
                total.add(&tally);
            }
            for file in &files {
                self.config.store.remove(&file.attempt).await?;
            }
        }
        Ok(total)
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
        tried.isolation.insert(isolation::examine(driver.candidate.target()));
        Ok(tried)
    }

    /// Restores the candidate's store, where it has one: a killed attempt must not have booked anything.
    async fn restore(&self, shard: &Shard) -> Result<(), RunError> {
        match (&self.answers, &self.config.replay.state) {
            (Answers::Live(_), State::Snapshot(reset)) => {
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

    /// Puts an attempt's files into the store, outside the run's directory.
    async fn upload(&self, shard: &Shard, folder: &Path) -> Result<Vec<WonFile>, RunError> {
        let (run, revision, number, epoch) =
            (&self.run.id, self.revision, shard.number, shard.epoch);
        let prefix =
            format!("attempts/run_id={run}/revision={revision}/shard={number}/epoch={epoch}");
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
}

/// Waits until it is no use to go on; returns why.
async fn given_up(answers: &Answers) -> String {
    match answers {
        Answers::Live(asking) => asking.candidate.given_up.why().await,
        Answers::Kept => std::future::pending().await,
    }
}

/// Copies the winning files to where the journal is read. It may be repeated.
async fn publish(store: &Store, files: &[WonFile]) -> Result<(), RunError> {
    for file in files {
        let bytes = store.get(&file.attempt).await?;
        if sha256(&bytes) != file.sha256 {
            return Err(RunError::Damaged(file.attempt.clone()));
        }
        store.put(&file.target, bytes).await?;
    }
    Ok(())
}

fn add(before: &Tally, tally: &Tally) -> Tally {
    let mut sum = before.clone();
    sum.add(tally);
    sum
}
