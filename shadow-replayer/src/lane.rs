//! One exchange after the other: ask the candidate or look up its kept answer, and compare. A lane for each that may be in flight.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use shadow_recorder::exchange::Exchange;
use shadow_recorder::ledger::Mapping;

use crate::answer::{Answer, Answered};
use crate::asking::Asking;
use crate::filter::{Filter, LeftOut};
use crate::journal::ExchangeRow;
use crate::run::RunId;
use crate::source::{Rules, Source};
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
}

/// Where answers are taken from.
#[derive(Debug)]
pub(crate) enum Asked {
    /// From the builds of the run, now.
    Builds(Arc<Asking>),
    /// From an earlier replay of the shard, by exchange.
    Kept(HashMap<String, Answered>),
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
            return Done { row, answered: None, doubts: BTreeSet::new() };
        }
        let answered = self.answered(exchange, rules).await;
        let (row, doubts) = control::compare(exchange, &answered, &self.mapping, &self.structure);
        Done { row, answered: Some(answered), doubts }
    }

    async fn answered(&self, exchange: &Arc<Exchange>, rules: &Rules) -> Answered {
        let not_sent = |why: &str| {
            let calls = exchange.upstream.len();
            Answered::alone(Answer::not_sent(exchange.id.clone(), calls, why.into()))
        };
        match (&self.asked, rules) {
            (Asked::Kept(kept), _) => {
                kept.get(&exchange.id.0).cloned().unwrap_or_else(|| not_sent("no answer was kept"))
            }
            (Asked::Builds(_), Err(why)) => not_sent(why),
            (Asked::Builds(asking), Ok(redactor)) => {
                asking.answered(&self.run, exchange, redactor).await
            }
        }
    }
}
