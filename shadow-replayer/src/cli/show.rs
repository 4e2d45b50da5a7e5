//! Runs in words, tables and JSON.

use std::fmt::Write;

use serde::Serialize;
use shadow_recorder::table::{Align, table};

use crate::dead_letters::Pile;
use crate::run::{Run, Settings, Tally};
use crate::shard::{self, Shard, State};
use crate::store::Listed;

/// Makes a sentence that may quote a recording safe for a terminal.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What `status` tells.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    run_id: &'a str,
    service: &'a str,
    build: &'a str,
    candidate: &'a str,
    from: jiff::Timestamp,
    to: jiff::Timestamp,
    state: crate::run::State,
    failure: Option<&'a str>,
    settings: &'a Settings,
    shards: Counts,
    leases: Vec<Lease<'a>>,
    counted: Tally,
    gaps: &'a [String],
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Counts {
    ready: usize,
    leased: usize,
    won: usize,
    finished: usize,
}

#[derive(Debug, Serialize)]
struct Lease<'a> {
    shard: u32,
    state: &'static str,
    owner: Option<&'a str>,
    epoch: i64,
    heartbeat: i64,
}

impl<'a> Status<'a> {
    pub(super) fn of(run: &'a Run, shards: &'a [Shard]) -> Self {
        let count = |state| shards.iter().filter(|shard| shard.state == state).count();
        let held = shards.iter().filter(|shard| matches!(shard.state, State::Leased | State::Won));
        let leases = held.map(|shard| Lease {
            shard: shard.number,
            state: shard.state.word(),
            owner: shard.owner.as_deref(),
            epoch: shard.epoch,
            heartbeat: shard.heartbeat,
        });
        let counted = shard::counted(shards);
        Self {
            run_id: run.id.as_str(),
            service: &run.service,
            build: &run.candidate_build,
            candidate: &run.candidate_url,
            from: run.from,
            to: run.to,
            state: run.state,
            failure: run.failure.as_deref(),
            settings: &run.settings,
            shards: Counts {
                ready: count(State::Ready),
                leased: count(State::Leased),
                won: count(State::Won),
                finished: count(State::Finished),
            },
            leases: leases.collect(),
            counted,
            gaps: &run.evidence.gaps,
        }
    }

    pub(super) fn text(&self) -> String {
        let Self { run_id, build, from, to, counted, shards, .. } = self;
        let state = self.state.word();
        let mut text = format!(
            "run {run_id} is {state}: build {build} of {} over {from} to {to}\n",
            self.service
        );
        if let Some(failure) = self.failure {
            let _ = writeln!(text, "{failure}");
        }
        let _ = writeln!(text, "{}", outcomes(counted));
        let Counts { ready, leased, won, finished } = shards;
        let _ = writeln!(
            text,
            "shards: {ready} ready, {leased} leased, {won} won, {finished} finished\n"
        );
        let columns = [
            ("SHARD", Align::Right),
            ("STATE", Align::Left),
            ("ATTEMPT", Align::Right),
            ("HEARTBEAT", Align::Right),
            ("WORKER", Align::Left),
        ];
        let rows: Vec<Vec<String>> = self.leases.iter().map(Lease::cells).collect();
        if !rows.is_empty() {
            text.push_str(&table(&columns, &rows));
        }
        for gap in self.gaps.iter().chain(&counted.losses) {
            let _ = writeln!(text, "not covered: {}", line(gap));
        }
        for proposal in counted.misses.proposals() {
            let _ = writeln!(text, "{}", line(&proposal));
        }
        for doubt in &counted.doubts {
            let _ = writeln!(text, "in doubt: {}", line(doubt));
        }
        text
    }
}

impl Lease<'_> {
    fn cells(&self) -> Vec<String> {
        // A claim's name ends with what makes it unique; a person looks for the host and the process.
        let owner =
            self.owner.map_or("none", |owner| owner.rsplit_once('/').map_or(owner, |o| o.0));
        vec![
            self.shard.to_string(),
            self.state.into(),
            self.epoch.to_string(),
            self.heartbeat.to_string(),
            owner.into(),
        ]
    }
}

pub(super) fn outcomes(tally: &Tally) -> String {
    format!(
        "{} exchanges: {} matched, {} different, {} errored, {} unverified, {} filtered",
        tally.recorded,
        tally.matched,
        tally.different,
        tally.errored,
        tally.unverified,
        tally.filtered
    )
}

pub(super) fn list(runs: &[Listed]) -> String {
    let columns = [
        ("RUN", Align::Left),
        ("STATE", Align::Left),
        ("SERVICE", Align::Left),
        ("BUILD", Align::Left),
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("SHARDS", Align::Right),
    ];
    let row = |run: &Listed| {
        vec![
            run.run_id.to_string(),
            run.state.word().into(),
            run.service.clone(),
            run.build.clone(),
            run.from.to_string(),
            run.to.to_string(),
            format!("{}/{}", run.finished, run.shards),
        ]
    };
    table(&columns, &runs.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn piles(piles: &[Pile]) -> String {
    let columns = [
        ("EXCHANGES", Align::Right),
        ("OUTCOME", Align::Left),
        ("REASON", Align::Left),
        ("FOR EXAMPLE", Align::Left),
    ];
    let row = |pile: &Pile| {
        vec![
            pile.exchanges.to_string(),
            pile.outcome.clone(),
            pile.reason.clone(),
            pile.examples.first().cloned().unwrap_or_default(),
        ]
    };
    table(&columns, &piles.iter().map(row).collect::<Vec<_>>())
}
