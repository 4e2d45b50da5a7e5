//! What a worker tries with its candidate before its shards: what the verdict would otherwise have to take on trust.
//!
//! - The claim of a stateless candidate: the first exchanges are sent twice, in two orders. Where the money differs, the claim is wrong.
//! - The comparison itself: where an amount is raised by a hundredth, some answer must book other money. Otherwise the comparison
//!   would not see a wrong amount either.
//!
//! A trial ends before the candidate's store is restored for the first attempt, so it leaves no trace in a snapshot; and what it
//! sends is replayed again like every other exchange. Its answers are not kept.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use shadow_recorder::exchange::Exchange;
use shadow_recorder::ledger::Transaction;
use shadow_recorder::redact::Redactor;

use tokio::time::Instant;

use crate::answer::Answer;
use crate::config::Config;
use crate::config::probe::Probe;
use crate::config::state::State;
use crate::drive::Driver;
use crate::filter::Filter;
use crate::run::Run;
use crate::{compare, frozen, pairing, raised};

/// Exchanges among which one with the amount is looked for.
const PROBED_AMONG: usize = 10_000;

/// What a trial needs to know.
pub(crate) struct Trial<'a> {
    pub(crate) config: &'a Config,
    pub(crate) run: &'a Run,
    pub(crate) driver: &'a Driver,
    pub(crate) filter: Filter,
}

type Recorded = (Arc<Exchange>, Arc<Redactor>);

impl Trial<'_> {
    /// Tries what is configured; returns what is in doubt.
    pub(crate) async fn doubts(&self) -> BTreeSet<String> {
        let stateless = match self.config.replay.state {
            State::Stateless { trial_exchanges } => self.stateless(trial_exchanges).await,
            State::Snapshot(_) => None,
        };
        let blind = match &self.config.probe {
            Some(probe) => self.blind(probe).await,
            None => None,
        };
        stateless.into_iter().chain(blind).collect()
    }

    /// Sends the first exchanges in recorded order, then in the opposite one.
    async fn stateless(&self, count: usize) -> Option<String> {
        if count == 0 {
            return Some(
                "that the candidate is stateless was not tried: raise [replay.state] trial_exchanges".into(),
            );
        }
        let exchanges = self.first(count, |_| true).await;
        let mut forward = Vec::new();
        for recorded in &exchanges {
            forward.push(self.booked(recorded).await);
        }
        let mut differing = None;
        for (recorded, first) in exchanges.iter().zip(forward).rev() {
            let second = self.booked(recorded).await;
            if let (Some(first), Some(second)) = (first, second)
                && !pairing::compare(&first, &second).is_equal()
            {
                // The first in recorded order is named.
                differing = Some(&recorded.0.id);
            }
        }
        differing.map(|id| {
            format!(
                "the candidate is not stateless: exchange {id} booked other money when it was sent again; use [replay.state] mode = \"snapshot\", or find what makes its answers vary"
            )
        })
    }

    /// Raises the amount in some exchanges until an answer books other money.
    async fn blind(&self, probe: &Probe) -> Option<String> {
        let place = match &probe.upstream {
            Some(upstream) => format!("the answers of upstream {upstream}"),
            None => "the requests".into(),
        };
        let path = &probe.amount;
        let probed = self.first(probe.count, |exchange| raised_in(exchange, probe).is_some()).await;
        if probed.is_empty() {
            return Some(format!(
                "that the comparison sees a wrong amount was not tried: {place} have no amount at {path}; see [replay.probe]"
            ));
        }
        for recorded in &probed {
            let (exchange, redactor) = recorded;
            let Some(raised) = raised_in(exchange, probe) else { continue };
            let before = self.booked(recorded).await;
            let (answer, after) = self.asked(&(Arc::new(raised), Arc::clone(redactor))).await;
            // An error is a change as well, but not one that shows that amounts are read.
            let answered = answer.response.is_some_and(|response| response.status < 400);
            if let (Some(before), Some(after)) = (before, after)
                && answered
                && !pairing::compare(&before, &after).is_equal()
            {
                return None;
            }
        }
        Some(format!(
            "the comparison is blind: {path} in {place} was raised by 1 % in {} exchanges, and no answer booked other money; see [replay.probe] and [[ledger]]",
            probed.len()
        ))
    }

    async fn booked(&self, recorded: &Recorded) -> Option<Vec<Transaction>> {
        self.asked(recorded).await.1
    }

    async fn asked(&self, recorded: &Recorded) -> (Answer, Option<Vec<Transaction>>) {
        let (exchange, redactor) = recorded;
        let sent = self.driver.answer(&self.run.id, exchange, redactor, Instant::now());
        let (answer, _) = sent.await;
        let booked = compare::booked(exchange, &answer, &self.config.mapping);
        (answer, booked)
    }

    /// Returns the first exchanges of the run that are replayed and wanted, in recorded order. What cannot be read is reported where it
    /// is replayed.
    async fn first(&self, count: usize, wanted: impl Fn(&Exchange) -> bool) -> Vec<Recorded> {
        let range = self.run.range();
        let (mut first, mut looked_at) = (Vec::new(), 0);
        for segment in &self.run.evidence.segments {
            let Ok(bytes) = frozen::fetch(self.config, segment).await else { continue };
            frozen::read(&bytes, segment, range, &BTreeSet::new(), |redaction, exchange| {
                if looked_at == PROBED_AMONG || first.len() == count {
                    return ControlFlow::Break(());
                }
                looked_at += 1;
                if self.filter.judge(&exchange, &self.config.mapping).1.is_none()
                    && wanted(&exchange)
                    && let Some(Ok(redactor)) =
                        redaction.map(|redaction| self.config.redactors.of(redaction))
                {
                    first.push((Arc::new(exchange), redactor));
                }
                ControlFlow::Continue(())
            });
            if looked_at == PROBED_AMONG || first.len() == count {
                break;
            }
        }
        first
    }
}

/// Returns an exchange in which the amount is raised; none where it has none.
fn raised_in(exchange: &Exchange, probe: &Probe) -> Option<Exchange> {
    let mut raised = exchange.clone();
    let Some(upstream) = &probe.upstream else {
        let text = exchange.request.body.text.as_deref()?;
        raised.request.body.text = Some(raised::document(text, &probe.amount)?);
        return Some(raised);
    };
    let mut raised_any = false;
    for call in raised.upstream.iter_mut().filter(|call| call.name == *upstream) {
        let Some(response) = &mut call.response else { continue };
        let text = response.body.text.as_deref();
        if let Some(text) = text.and_then(|text| raised::document(text, &probe.amount)) {
            response.body.text = Some(text);
            raised_any = true;
        }
    }
    raised_any.then_some(raised)
}
