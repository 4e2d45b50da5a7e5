//! What a command came to, in words and exit codes.

use std::path::Path;

use super::show::{self, Status};
use super::{DeadLetters, INCONCLUSIVE, Named, Output, USAGE, note, say};
use crate::config::Config;
use crate::isolation::Isolation;
use crate::join::known;
use crate::join::refuse_supplied;
use crate::progress::Printer;
use crate::run::{Run, RunId, State};
use crate::store::RunStore;
use crate::{RunError, RunRequest, dead_letters, shard};

/// Tells results: what a program reads on standard output, the rest on standard error.
pub(super) struct Told<'a> {
    pub(super) config: &'a Config,
    pub(super) path: &'a Path,
    pub(super) printer: &'a Printer,
}

impl Told<'_> {
    /// Tells what a run came to; the RunID alone is on standard output.
    pub(super) async fn run(&self, run: Result<Run, RunError>) -> anyhow::Result<u8> {
        self.printer.end();
        let run = run?;
        let shards = self.runs().await?.shards(&run.id, 1).await?;
        say(&run.id.to_string());
        let tally = shard::counted(&shards);
        if let Some(failure) = &run.failure {
            note(&format!("run {} {}: {failure}", run.id, run.state.word()));
            run.evidence.gaps.iter().for_each(|gap| note(&format!("not covered: {gap}")));
            return Ok(INCONCLUSIVE);
        }
        note(&format!("run {} is {}: {}", run.id, run.state.word(), show::outcomes(&tally)));
        if tally.late + tally.backoffs > 0 {
            note(&format!(
                "pace: {} exchanges were sent late because too many were in flight, {} were asked again after 429 or 503",
                tally.late, tally.backoffs
            ));
        }
        for gap in run.evidence.gaps.iter().chain(&tally.losses) {
            note(&format!("not covered: {gap}"));
        }
        tally.misses.proposals().iter().for_each(|proposal| note(&show::line(proposal)));
        for doubt in &tally.doubts {
            note(&show::line(&format!("in doubt: {doubt}")));
        }
        note(&Isolation::of_run(&tally.isolation).to_string());
        self.next(&run);
        Ok(match run.state {
            State::Finished | State::Planned => 0,
            _ => INCONCLUSIVE,
        })
    }

    pub(super) async fn status(&self, id: &RunId, output: Output) -> anyhow::Result<u8> {
        let runs = self.runs().await?;
        let run = known(&runs, self.config, id).await?;
        let shards = runs.shards(id, 1).await?;
        let status = Status::of(&run, &shards);
        if output.json {
            say(&serde_json::to_string_pretty(&status)?);
        } else {
            say(status.text().trim_end());
        }
        self.next(&run);
        Ok(0)
    }

    pub(super) async fn cancel(&self, id: &RunId) -> anyhow::Result<u8> {
        let (run, ended) = crate::cancel(self.config, id).await?;
        if ended {
            say(&run.id.to_string());
            note(&format!("run {id} is cancelled: its workers stop within seconds"));
        } else {
            note(&format!("run {id} is {} already: nothing was changed", run.state.word()));
            self.next(&run);
        }
        Ok(if run.state == State::Cancelled { 0 } else { USAGE })
    }

    pub(super) async fn list(
        &self,
        service: Option<&str>,
        build: Option<&str>,
        output: Output,
    ) -> anyhow::Result<u8> {
        let runs = self.runs().await?.runs(service, build).await?;
        if output.json {
            say(&serde_json::to_string_pretty(&runs)?);
        } else if runs.is_empty() {
            note("no run is known: `shadow-replayer run` makes one");
        } else {
            say(show::list(&runs).trim_end());
            note(&format!("next: {} status --run RUN", self.program()));
        }
        Ok(0)
    }

    pub(super) async fn dead_letters(
        &self,
        asked: DeadLetters,
        progress: &dyn Fn(&crate::Progress),
    ) -> anyhow::Result<u8> {
        let DeadLetters { run: Named { run: id }, reason, output, candidate, build, .. } = asked;
        let (run, letters) = dead_letters::read(self.config, &id, reason.as_deref()).await?;
        let piles = dead_letters::piles(&letters);
        if output.json {
            say(&serde_json::to_string_pretty(&piles)?);
            return Ok(0);
        }
        if letters.is_empty() {
            note(&format!("run {id} has no such dead letter"));
            return Ok(0);
        }
        let Some(candidate) = candidate else {
            say(show::piles(&piles).trim_end());
            note(&format!(
                "next: {} dead-letters --run {id} --replay --candidate {}",
                self.program(),
                run.candidate_url
            ));
            return Ok(0);
        };
        refuse_supplied(&run)?;
        let build = build.unwrap_or(run.candidate_build);
        let (from, to, settings) = (run.from, run.to, run.settings);
        let request = RunRequest { candidate, build, from, to, settings, plan_only: false };
        let again = dead_letters::replay(self.config, request, letters, progress).await;
        self.run(again).await
    }

    async fn runs(&self) -> Result<RunStore, RunError> {
        Ok(RunStore::open(&self.config.replay.database).await?)
    }

    fn program(&self) -> String {
        format!("shadow-replayer --config {}", self.path.display())
    }

    /// Says what can be done with a run.
    fn next(&self, run: &Run) {
        match run.state {
            State::Finished => self.next_verdict(&run.id),
            State::Planned | State::Replaying => {
                note(&format!("next: {} resume --run {}", self.program(), run.id));
            }
            State::Failed | State::Cancelled => {
                note(&format!("next: {} run … starts another", self.program()));
            }
        }
    }

    pub(super) fn next_verdict(&self, run: &RunId) {
        note(&format!(
            "next: shadow-analyzer --config {} certify --run {run}",
            self.path.display()
        ));
    }
}
