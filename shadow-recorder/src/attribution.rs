//! Which exchange an upstream call belongs to. Only certainty attributes, by the first of these that says anything: the exchange
//! id in the call's `tracestate`, its trace id where exactly one open exchange has it, its business key likewise.
//!
//! A call of an exchange that passes unrecorded is neither recorded nor taken for another's. A call that only its body can tell of
//! waits: it is copied like any other, and is entered where it belongs when its body has been read.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use jiff::Timestamp;

use crate::account::Reason;
use crate::capture::{Capture, Ticket};
use crate::exchange::Attribution;
use crate::keys::Waiting;
use crate::observation::Seen;
use crate::registry::{Call, Record, Registry, Whose};
use crate::trace_context::Context;

/// What a call's head says of its business key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CallKey {
    /// There is none.
    None,
    /// This one, with which the call is decided at once.
    Known(u128),
    /// It is decided later.
    Awaited,
}

/// A call that has begun.
struct Begun<'a> {
    number: u64,
    upstream: &'a Arc<str>,
    started: Instant,
    /// By the wall clock, where it was read.
    at: Option<Timestamp>,
}

/// Why a call is not recorded.
enum Unrecorded {
    /// Its exchange is not.
    SampledOut,
    /// With it, its exchange has too many.
    TooMany(Box<Record>),
}

impl Capture {
    /// Finds the exchange of a call that begins at `started`. `None` where the call is not recorded, and counted as such.
    pub(crate) fn attribute(
        &self,
        upstream: &Arc<str>,
        context: Context,
        key: CallKey,
        started: Instant,
    ) -> Option<Ticket> {
        let mut registry = self.registry();
        let number = registry.begin_call();
        let whose = match (registry.by_context(context), key) {
            (Some(whose), _) => whose,
            (None, CallKey::None) => Whose::Nobody(Attribution::Unattributed),
            (None, CallKey::Known(key)) => registry.by_key(number, key),
            (None, CallKey::Awaited) => {
                let (upstream, at) = (Arc::clone(upstream), registry.now());
                let call = Waiting { upstream, started, at, seen: None, lost: None };
                registry.keys.wait(number, call);
                return Some(Ticket::Undecided(number));
            }
        };
        let entered =
            self.enter(&mut registry, whose, &Begun { number, upstream, started, at: None });
        drop(registry);
        entered.map_err(|why| self.count(why)).ok()
    }

    /// Decides a call that waited, by its key.
    pub(crate) fn decide(&self, number: u64, key: Option<u128>) {
        let registry = self.registry();
        let whose = key
            .map_or(Whose::Nobody(Attribution::Unattributed), |key| registry.by_key(number, key));
        self.decide_as(registry, number, whose);
    }

    /// Decides the calls that have waited for too long.
    pub(crate) fn decide_overdue(&self) {
        loop {
            let registry = self.registry();
            let overdue = registry.keys.overdue(self.limits.exchanges_open_max);
            let Some(number) = overdue else { return };
            self.decide_as(registry, number, Whose::Nobody(Attribution::Ambiguous));
        }
    }

    fn decide_as(&self, mut registry: MutexGuard<'_, Registry>, number: u64, whose: Whose) {
        let Some(call) = registry.keys.take(number) else { return };
        let Waiting { upstream, started, at, seen, lost } = call;
        let begun = Begun { number, upstream: &upstream, started, at: Some(at) };
        let entered = self.enter(&mut registry, whose, &begun);
        if let (Ok(ticket), None, None) = (&entered, lost, &seen) {
            // Its end takes what is noted here, under the same lock.
            registry.keys.decide(number, ticket.clone());
        }
        drop(registry);
        match (entered, lost, seen) {
            (Err(why), _, _) => self.count(why),
            (Ok(ticket), Some(reason), _) => self.give_up(&ticket, reason),
            (Ok(ticket), None, Some(seen)) => self.ended(&ticket, *seen),
            (Ok(_), None, None) => {}
        }
    }

    /// Takes what was seen of a call that waits, or waited.
    pub(crate) fn ended_undecided(&self, number: u64, seen: Seen) {
        let mut registry = self.registry();
        if let Some(call) = registry.keys.waiting(number) {
            call.seen = Some(seen.into());
            return;
        }
        // Absent where the call is not recorded.
        let decided = registry.keys.decided(number);
        drop(registry);
        if let Some(ticket) = decided {
            self.ended(&ticket, seen);
        }
    }

    /// Gives up the exchange of a call that waits, or waited.
    pub(crate) fn give_up_undecided(&self, number: u64, reason: Reason) {
        let mut registry = self.registry();
        if let Some(call) = registry.keys.waiting(number) {
            call.lost = Some(reason);
            return;
        }
        let decided = registry.keys.decided(number);
        drop(registry);
        if let Some(ticket) = decided {
            self.give_up(&ticket, reason);
        }
    }

    /// Enters a call where it belongs.
    fn enter(
        &self,
        registry: &mut Registry,
        whose: Whose,
        begun: &Begun<'_>,
    ) -> Result<Ticket, Unrecorded> {
        let Begun { number, upstream, started, at } = begun;
        let upstream = Arc::clone(upstream);
        let id = match whose {
            Whose::Exchange(id) => id,
            Whose::Unrecorded => return Err(Unrecorded::SampledOut),
            Whose::Nobody(attribution) => {
                self.metrics.calls(attribution).inc();
                let at = at.unwrap_or_else(|| registry.now());
                return Ok(Ticket::Stray { at, attribution, upstream });
            }
        };
        let record = registry.get_mut(id).ok_or(Unrecorded::SampledOut)?;
        self.metrics.calls(Attribution::Attributed).inc();
        let place = record.calls.len();
        if place >= self.limits.calls_max {
            let record = registry.give_up(id).map(Box::new);
            return Err(record.map_or(Unrecorded::SampledOut, Unrecorded::TooMany));
        }
        let offset = started.saturating_duration_since(record.started);
        record.calls.push(Call { number: *number, upstream, offset, seen: None });
        record.calls_in_progress += 1;
        Ok(Ticket::Call { exchange: id, place })
    }

    fn count(&self, why: Unrecorded) {
        match why {
            Unrecorded::SampledOut => self.account.sample_out_calls(1),
            Unrecorded::TooMany(record) => {
                self.metrics.exchanges_open.dec();
                let calls = record.calls.len() as u64 + 1;
                self.account.drop_exchange(record.drawn.stratum, Reason::CallsMax, calls);
            }
        }
    }
}

#[cfg(test)]
mod tests;
