//! One exchange after the other: ask the candidate or look up its kept answer, and compare. A lane for each that may be in flight.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use shadow_recorder::exchange::Exchange;
use shadow_recorder::ledger::Mapping;

use crate::answer::Answer;
use crate::drive::Driver;
use crate::journal::ExchangeRow;
use crate::run::RunId;
use crate::source::{Rules, Source};
use crate::window::Window;
use crate::{compare, structure};

/// An exchange that is done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) row: ExchangeRow,
    /// What the candidate did; absent for an exchange that was left out.
    pub(crate) answer: Option<Answer>,
}

/// Where answers are taken from.
#[derive(Debug)]
pub(crate) enum Asked {
    /// From the candidate, now.
    Candidate(Arc<Driver>),
    /// From an earlier replay of the shard, by exchange.
    Kept(HashMap<String, Answer>),
}

/// What the lanes of an attempt share.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) run: RunId,
    pub(crate) primary_build: Option<String>,
    /// The exchanges that are replayed; empty: all.
    pub(crate) only: BTreeSet<String>,
    pub(crate) mapping: Mapping,
    pub(crate) structure: structure::Rules,
    pub(crate) asked: Asked,
    pub(crate) source: Source,
    pub(crate) window: Arc<Window<Done>>,
}

impl Lane {
    /// Works until the source is empty.
    pub(crate) async fn work(self: Arc<Self>) {
        while let Some(mut next) = self.source.next().await {
            loop {
                let done = self.done(&next.exchange, &next.rules).await;
                self.window.fill(next.place, done);
                let Some(after) = self.source.after(&next.exchange) else { break };
                next = after;
            }
        }
    }

    async fn done(&self, exchange: &Arc<Exchange>, rules: &Rules) -> Done {
        if let Some(why) = self.left_out(exchange) {
            return Done { row: compare::filtered(exchange, &self.mapping, why), answer: None };
        }
        let answer = self.answer(exchange, rules).await;
        let row = compare::compare(exchange, &answer, &self.mapping, &self.structure);
        Done { row, answer: Some(answer) }
    }

    /// Returns why an exchange is not replayed, if it is not.
    fn left_out(&self, exchange: &Exchange) -> Option<String> {
        if self.primary_build.as_ref() != Some(&exchange.build) {
            return Some(format!("recorded from build {}", exchange.build));
        }
        let asked_for = self.only.is_empty() || self.only.contains(&exchange.id.0);
        (!asked_for).then(|| "not asked for".into())
    }

    async fn answer(&self, exchange: &Arc<Exchange>, rules: &Rules) -> Answer {
        let not_sent =
            |why: &str| Answer::not_sent(exchange.id.clone(), exchange.upstream.len(), why.into());
        match (&self.asked, rules) {
            (Asked::Kept(kept), _) => {
                kept.get(&exchange.id.0).cloned().unwrap_or_else(|| not_sent("no answer was kept"))
            }
            (Asked::Candidate(_), Err(why)) => not_sent(why),
            (Asked::Candidate(driver), Ok(redactor)) => {
                driver.answer(&self.run, exchange, redactor).await
            }
        }
    }
}
