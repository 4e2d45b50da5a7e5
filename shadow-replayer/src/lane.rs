//! One exchange after the other: ask the candidate or look up its kept answer, and compare. A lane for each that may be in flight.

use std::collections::HashMap;
use std::sync::Arc;

use shadow_recorder::exchange::Exchange;
use shadow_recorder::ledger::Mapping;

use crate::answer::Answer;
use crate::drive::Driver;
use crate::filter::{Filter, LeftOut};
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
    pub(crate) filter: Filter,
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
                let done = self.done(&mut next.exchange, &next.rules).await;
                self.window.fill(next.place, done);
                let Some(after) = self.source.after(&next.exchange) else { break };
                next = after;
            }
        }
    }

    async fn done(&self, exchange: &mut Arc<Exchange>, rules: &Rules) -> Done {
        let (pi, left_out) = self.filter.judge(exchange, &self.mapping);
        if pi != exchange.sample.pi {
            Arc::make_mut(exchange).sample.pi = pi;
        }
        let row = match left_out {
            None => None,
            Some(LeftOut::Filtered(why)) => Some(compare::filtered(exchange, &self.mapping, why)),
            Some(LeftOut::NotDrawn) => Some(compare::not_drawn(exchange, &self.mapping)),
        };
        if let Some(row) = row {
            return Done { row, answer: None };
        }
        let answer = self.answer(exchange, rules).await;
        let row = compare::compare(exchange, &answer, &self.mapping, &self.structure);
        Done { row, answer: Some(answer) }
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
