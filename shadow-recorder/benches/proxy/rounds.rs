//! The rounds: every contestant in turn, again and again, so that what else happens on the machine meets all of them.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use crate::contestant::{Contestant, Kind};
use crate::machine::Machine;
use crate::open_loop::Schedule;
use crate::recorder::Ability;
use crate::report::Report;
use crate::{Options, measure, say};

/// The contestants, running.
pub(crate) struct Rounds<'a> {
    options: &'a Options,
    machine: &'a Machine,
    contestants: Vec<Contestant>,
}

impl<'a> Rounds<'a> {
    /// Starts the contestants.
    pub(crate) fn begin(
        options: &'a Options,
        machine: &'a Machine,
        ability: &Ability,
        folder: &Path,
        origin: SocketAddr,
    ) -> Result<Self> {
        let mut contestants = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| options.includes(*kind)) {
            match Contestant::start(kind, machine, ability, folder, origin)? {
                Some(contestant) => contestants.push(contestant),
                None => {
                    say(&format!("{}: not in this build or on this machine", kind.name()))?;
                }
            }
        }
        Ok(Self { options, machine, contestants })
    }

    /// Measures all at saturation, after one round to warm up.
    pub(crate) fn saturate(&mut self, report: &mut Report) -> Result<()> {
        let connections = self.options.connections;
        for round in 0..=self.options.rounds() {
            let warms_up = round == 0;
            for contestant in &self.contestants {
                let seconds = if warms_up { 1 } else { self.options.seconds() };
                let (figures, requests) =
                    measure::saturation(self.machine, contestant, connections, seconds)
                        .with_context(|| contestant.kind.name())?;
                let measured = report.measured.entry(contestant.kind).or_default();
                measured.requests += requests;
                measured.cut_off += connections as u64;
                if !warms_up {
                    measured.saturation.push(figures);
                }
            }
        }
        Ok(())
    }

    /// Measures all at half of the rate that nginx reached, or at the rate that was asked for.
    pub(crate) fn pace(&mut self, report: &mut Report) -> Result<()> {
        let half_of_nginx =
            || report.median_per_second(Kind::Nginx).map(|rate| u64::from(rate / 2));
        let Some(rate) = self.options.rate.or_else(half_of_nginx) else { return Ok(()) };
        report.rate = Some(rate);
        for _ in 0..self.options.rounds() {
            for contestant in &self.contestants {
                let schedule = Schedule {
                    to: contestant.address,
                    rate,
                    connections: self.options.connections,
                    seconds: self.options.seconds(),
                };
                let figures = measure::at_rate(self.machine, contestant, &schedule)
                    .with_context(|| contestant.kind.name())?;
                let measured = report.measured.entry(contestant.kind).or_default();
                measured.requests += figures.paced.requests;
                measured.cut_off += figures.paced.unanswered.min(schedule.connections as u64);
                measured.at_rate.push(figures);
            }
        }
        Ok(())
    }

    /// Checks that all still answer rightly, and what the recorders kept.
    pub(crate) fn end(self, report: &mut Report) -> Result<()> {
        for contestant in self.contestants {
            let kind = contestant.kind;
            measure::verify(contestant.address).with_context(|| kind.name())?;
            let measured = report.measured.entry(kind).or_default();
            measured.requests += 1;
            if let Some(recorder) = contestant.into_recorder() {
                let kept = measure::kept(recorder, measured.requests, measured.cut_off);
                measured.kept = Some(kept.with_context(|| kind.name())?);
            }
        }
        Ok(())
    }
}
