//! One exchange after the other: ask the candidate or look up its kept answer, and compare. A lane for each that may be in flight.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use shadow_recorder::exchange::Exchange;
use shadow_recorder::ledger::Mapping;

use crate::answer::{Answer, Answered};
use crate::asking::Asking;
use crate::drive::Paced;
use crate::filter::{Filter, LeftOut};
use crate::journal::ExchangeRow;
use crate::pace::Pacer;
use crate::run::RunId;
use crate::source::{Next, Source};
use crate::window::Window;
use crate::{compare, control, structure};

/// An exchange that is done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) row: ExchangeRow,
    /// What the candidate did; absent for an exchange that was left out.
    pub(crate) answered: Option<Answered>,
    /// What its second answer puts in doubt.
    pub(crate) doubts: BTreeSet<String>,
    pub(crate) paced: Paced,
}

/// Where answers are taken from.
#[derive(Debug)]
pub(crate) enum Asked {
    /// From the builds of the run, now.
    Builds(Arc<Asking>),
    /// From an earlier replay of the shard, by exchange.
    Kept(HashMap<String, Answered>),
}

impl Asked {
    /// Returns what says when exchanges are due, at the beginning of a shard; `None` where nothing is sent.
    pub(crate) fn begin_shard(&self) -> Option<Arc<Pacer>> {
        let Self::Builds(asking) = self else { return None };
        let pacer = &asking.candidate.pacer;
        pacer.begin_shard();
        Some(Arc::clone(pacer))
    }
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
        while let Some(mut next) = self.source.next(|it| self.is_sent(it)).await {
            loop {
                let done = self.done(&mut next).await;
                self.window.fill(next.place, done);
                let Some(after) = self.source.after(&next.exchange) else { break };
                next = after;
            }
        }
    }

    async fn done(&self, next: &mut Next) -> Done {
        let exchange = &mut next.exchange;
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
            let (answered, doubts, paced) = (None, BTreeSet::new(), Paced::default());
            return Done { row, answered, doubts, paced };
        }
        let (answered, paced) = self.answered(next).await;
        let exchange = &next.exchange;
        let (row, doubts) = control::compare(exchange, &answered, &self.mapping, &self.structure);
        Done { row, answered: Some(answered), doubts, paced }
    }

    fn is_sent(&self, exchange: &Exchange) -> bool {
        self.filter.judge(exchange, &self.mapping).1.is_none()
    }

    async fn answered(&self, next: &Next) -> (Answered, Paced) {
        let exchange = &next.exchange;
        let not_sent = |why: &str| {
            let calls = exchange.upstream.len();
            Answered::alone(Answer::not_sent(exchange.id.clone(), calls, why.into()))
        };
        let answered = match (&self.asked, &next.rules) {
            (Asked::Kept(kept), _) => {
                kept.get(&exchange.id.0).cloned().unwrap_or_else(|| not_sent("no answer was kept"))
            }
            (Asked::Builds(_), Err(why)) => not_sent(why),
            (Asked::Builds(asking), Ok(redactor)) => {
                return asking.answered(&self.run, exchange, redactor, next.due).await;
            }
        };
        (answered, Paced::default())
    }
}
