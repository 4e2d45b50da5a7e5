//! The open exchanges, by id, by trace and by business key, and the times that `sealed_through` rests on. Behind one lock, in
//! `capture`: everything here is keyed by numbers, and nothing is formatted, decoded or freed in it that could take long.
//!
//! An exchange that is not recorded is known here as well until it has ended and lingered, so that its calls are neither taken
//! for another exchange's nor for nobody's. Usually it is no more than a count at its trace.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::exchange::Attribution;
use crate::keys::{Keys, OwnKey};
use crate::observation::Seen;
use crate::sampling::Drawn;
use crate::trace_context::Context;

/// A clock that steps back by no more than this stands still instead; a larger jump is followed.
const STEP_BACK_MAX: SignedDuration = SignedDuration::from_secs(5);

/// An exchange that is closed.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) id: u128,
    pub(crate) trace_id: u128,
    pub(crate) received_at: Timestamp,
    pub(crate) sequence: u64,
    pub(crate) drawn: Drawn,
    pub(crate) seen: Seen,
    /// In the order in which they began.
    pub(crate) calls: Vec<Call>,
}

/// A call of an exchange.
#[derive(Debug)]
pub(crate) struct Call {
    /// Its place among all calls, in the order in which they began.
    pub(crate) number: u64,
    pub(crate) upstream: Arc<str>,
    pub(crate) offset: Duration,
    pub(crate) seen: Option<Seen>,
}

/// An open exchange.
#[derive(Debug)]
pub(crate) struct Open {
    trace_id: u128,
    key: OwnKey,
    /// The calls that had begun before it.
    opened: u64,
    /// Its linger is over.
    lingered: bool,
    /// What is recorded of it; absent where it passes unrecorded.
    pub(crate) record: Option<Record>,
}

/// What is recorded of an open exchange.
#[derive(Debug)]
pub(crate) struct Record {
    received_at: Timestamp,
    sequence: u64,
    pub(crate) drawn: Drawn,
    pub(crate) started: Instant,
    pub(crate) seen: Option<Seen>,
    pub(crate) calls: Vec<Call>,
    pub(crate) calls_in_progress: usize,
}

/// The exchange that a call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This one, which is recorded.
    Exchange(u128),
    /// One that is not recorded.
    Unrecorded,
    /// None that is certain.
    Nobody(Attribution),
}

/// The open exchanges of a trace.
#[derive(Debug, Default)]
struct OfTrace {
    /// The ids of the recorded ones, combined by exclusive or: the id itself where there is one.
    ids: u128,
    recorded: usize,
    unrecorded: usize,
}

/// What is forgotten when its linger is over.
#[derive(Clone, Copy, Debug)]
enum Lingering {
    Exchange(u128),
    /// An unrecorded exchange of which the trace alone is known.
    Trace(u128),
}

/// The open exchanges.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    open: HashMap<u128, Open, RandomState>,
    /// The recorded ones among the open.
    recorded: usize,
    traces: HashMap<u128, OfTrace, RandomState>,
    /// Unrecorded exchanges of which the trace alone is known.
    passing: usize,
    pub(crate) keys: Keys,
    // In order, because `linger` is the same for all.
    lingering: VecDeque<(Instant, Lingering)>,
    unsettled: BTreeMap<u64, Timestamp>,
    pub(crate) latest: Timestamp,
    sequence: u64,
    calls_begun: u64,
}

impl Registry {
    /// Returns the number of open exchanges that are recorded.
    pub(crate) fn recorded(&self) -> usize {
        self.recorded
    }

    /// Returns the number of exchanges whose calls may still come, recorded or not.
    pub(crate) fn known(&self) -> usize {
        self.open.len() + self.passing
    }

    /// Returns the number of recorded exchanges that are not answered yet, or have a call in progress.
    pub(crate) fn in_progress(&self) -> usize {
        let records = self.open.values().filter_map(|open| open.record.as_ref());
        records.filter(|record| record.seen.is_none() || record.calls_in_progress > 0).count()
    }

    /// Returns whether nothing is known, awaited or remembered.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
            && self.recorded + self.passing + self.unsettled() == 0
            && self.traces.is_empty()
            && self.keys.is_empty()
    }

    /// Returns the number of exchanges neither recorded nor counted.
    #[cfg(test)]
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// Enters an exchange that is recorded, received at `now` by the wall clock.
    pub(crate) fn enter(
        &mut self,
        id: u128,
        trace_id: u128,
        drawn: Drawn,
        now: Timestamp,
        started: Instant,
    ) {
        // Not before the last watermark, even where the clock was read before the lock was had.
        let received_at = self.not_before_latest(now);
        self.sequence += 1;
        self.unsettled.insert(self.sequence, received_at);
        let record = Record {
            received_at,
            sequence: self.sequence,
            drawn,
            started,
            seen: None,
            calls: Vec::new(),
            calls_in_progress: 0,
        };
        let of = self.traces.entry(trace_id).or_default();
        of.recorded += 1;
        of.ids ^= id;
        self.recorded += 1;
        self.insert(id, trace_id, Some(record));
    }

    /// Enters an exchange that passes unrecorded and whose business key is or will be known.
    pub(crate) fn enter_unrecorded(&mut self, id: u128, trace_id: u128) {
        self.traces.entry(trace_id).or_default().unrecorded += 1;
        self.insert(id, trace_id, None);
    }

    fn insert(&mut self, id: u128, trace_id: u128, record: Option<Record>) {
        let (key, opened) = (OwnKey::Unknown, self.calls_begun);
        self.open.insert(id, Open { trace_id, key, opened, lingered: false, record });
    }

    /// Notes that an exchange of this trace passes unrecorded.
    pub(crate) fn enter_trace(&mut self, trace_id: u128) {
        self.traces.entry(trace_id).or_default().unrecorded += 1;
        self.passing += 1;
    }

    /// Notes the business key of an open exchange.
    pub(crate) fn set_key(&mut self, id: u128, key: OwnKey) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.key = key;
        self.keys.enter(id, key, open.opened);
        if open.lingered && open.record.is_none() {
            self.remove(id);
        }
    }

    /// Returns an open exchange.
    pub(crate) fn get_mut(&mut self, id: u128) -> Option<&mut Record> {
        self.open.get_mut(&id)?.record.as_mut()
    }

    /// Returns the time, which never runs back by a small step.
    pub(crate) fn now(&mut self) -> Timestamp {
        self.not_before_latest(clock::now())
    }

    fn not_before_latest(&mut self, now: Timestamp) -> Timestamp {
        if now >= self.latest || self.latest.duration_since(now) > STEP_BACK_MAX {
            self.latest = now;
        }
        self.latest
    }

    /// Returns the instant before which every exchange received is settled.
    pub(crate) fn watermark(&mut self) -> Timestamp {
        let now = self.now();
        self.unsettled.values().next().map_or(now, |first| now.min(*first))
    }

    /// Marks an exchange as recorded or counted.
    pub(crate) fn settle(&mut self, sequence: u64) {
        self.unsettled.remove(&sequence);
    }

    /// Numbers a call that begins now.
    pub(crate) fn begin_call(&mut self) -> u64 {
        self.calls_begun += 1;
        self.calls_begun
    }

    /// Says whose a call is by its trace context, where that says anything.
    pub(crate) fn by_context(&self, context: Context) -> Option<Whose> {
        let trace_id = match context {
            // An id decides alone, also when its exchange is closed: another exchange of the same trace would be a guess.
            Context::Exchange(id) => {
                return Some(self.by_id(id).unwrap_or(Whose::Nobody(Attribution::Late)));
            }
            Context::Unrecorded => return Some(Whose::Unrecorded),
            Context::Other => return Some(Whose::Nobody(Attribution::Late)),
            Context::Trace(trace_id) => trace_id,
            Context::Nothing => return None,
        };
        let of = self.traces.get(&trace_id)?;
        Some(match (of.recorded, of.unrecorded) {
            (1, 0) => Whose::Exchange(of.ids),
            (0, _) => Whose::Unrecorded,
            _ => Whose::Nobody(Attribution::Ambiguous),
        })
    }

    /// Says whose a call is by its business key.
    pub(crate) fn by_key(&self, number: u64, key: u128) -> Whose {
        let recorded = |id| self.open.get(&id).is_some_and(|open| open.record.is_some());
        self.keys.whose(number, key, recorded)
    }

    fn by_id(&self, id: u128) -> Option<Whose> {
        let open = self.open.get(&id)?;
        Some(if open.record.is_some() { Whose::Exchange(id) } else { Whose::Unrecorded })
    }

    /// Lets an exchange that has ended linger.
    pub(crate) fn linger(&mut self, id: u128, until: Instant) {
        self.lingering.push_back((until, Lingering::Exchange(id)));
    }

    /// The same for an unrecorded exchange of which the trace alone is known. Forgets two that have lingered meanwhile: here, where
    /// the maps are at hand, that costs half of what it costs the sweep, which on the same core has to fetch them first.
    pub(crate) fn linger_trace(&mut self, trace_id: u128, now: Instant, linger: Duration) {
        self.lingering.push_back((now + linger, Lingering::Trace(trace_id)));
        for _ in 0..2 {
            let is_due = |(until, lingering): &mut (Instant, Lingering)| {
                *until <= now && matches!(lingering, Lingering::Trace(_))
            };
            let Some((_, Lingering::Trace(trace_id))) = self.lingering.pop_front_if(is_due) else {
                return;
            };
            self.forget_trace(trace_id);
        }
    }

    fn forget_trace(&mut self, trace_id: u128) {
        self.passing -= 1;
        self.leave_trace(trace_id, None);
    }

    /// Forgets some of what has lingered until `now`, up to an exchange that is to be recorded; breaks where nothing is left.
    pub(crate) fn next_lingered(&mut self, now: Instant) -> ControlFlow<(), Option<Closed>> {
        // In pieces, so that requests never wait for all of them.
        for _ in 0..64 {
            let Some((_, lingering)) = self.lingering.pop_front_if(|(until, _)| *until <= now)
            else {
                return ControlFlow::Break(());
            };
            match lingering {
                Lingering::Trace(trace_id) => self.forget_trace(trace_id),
                Lingering::Exchange(id) => {
                    if let Some(closed) = self.lingered(id) {
                        return ControlFlow::Continue(Some(closed));
                    }
                }
            }
        }
        ControlFlow::Continue(None)
    }

    fn lingered(&mut self, id: u128) -> Option<Closed> {
        let open = self.open.get_mut(&id)?;
        open.lingered = true;
        if open.record.is_some() {
            return self.close_if_due(id);
        }
        // Where its body is still being read for its key, it is needed until then: calls that wait may have the key.
        if open.key != OwnKey::Unknown {
            self.remove(id);
        }
        None
    }

    /// Takes an exchange out to be recorded where nothing of it is awaited.
    pub(crate) fn close_if_due(&mut self, id: u128) -> Option<Closed> {
        let open = self.open.get(&id)?;
        let in_progress = open.record.as_ref()?.calls_in_progress;
        if !open.lingered || in_progress > 0 {
            return None;
        }
        let open = self.remove(id)?;
        let Record { received_at, sequence, drawn, seen, mut calls, .. } = open.record?;
        // A call that waited for its attribution was entered later than it began.
        calls.sort_by_key(|call| call.number);
        let trace_id = open.trace_id;
        Some(Closed { id, trace_id, received_at, sequence, drawn, seen: seen?, calls })
    }

    /// Lets an exchange pass unrecorded from now on; returns what was recorded of it, to be freed without the lock.
    pub(crate) fn give_up(&mut self, id: u128) -> Option<Record> {
        let open = self.open.get_mut(&id)?;
        let record = open.record.take()?;
        let of = self.traces.entry(open.trace_id).or_default();
        of.recorded -= 1;
        of.ids ^= id;
        of.unrecorded += 1;
        self.recorded -= 1;
        self.unsettled.remove(&record.sequence);
        Some(record)
    }

    /// Returns the ids of the open exchanges that are recorded.
    pub(crate) fn recorded_ids(&self) -> Vec<u128> {
        let recorded = self.open.iter().filter(|(_, open)| open.record.is_some());
        recorded.map(|(id, _)| *id).collect()
    }

    fn remove(&mut self, id: u128) -> Option<Open> {
        let open = self.open.remove(&id)?;
        let recorded = open.record.is_some();
        self.recorded -= usize::from(recorded);
        self.leave_trace(open.trace_id, recorded.then_some(id));
        self.keys.leave(id, open.key, open.opened, self.calls_begun, recorded);
        Some(open)
    }

    /// `recorded` is the exchange's id where it is one of the recorded.
    fn leave_trace(&mut self, trace_id: u128, recorded: Option<u128>) {
        let Some(of) = self.traces.get_mut(&trace_id) else { return };
        match recorded {
            Some(id) => {
                of.recorded -= 1;
                of.ids ^= id;
            }
            None => of.unrecorded -= 1,
        }
        if of.recorded + of.unrecorded == 0 {
            self.traces.remove(&trace_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Drawn;

    #[test]
    fn a_small_step_of_the_clock_is_not_followed_back() {
        let now = clock::now();
        let mut registry =
            Registry { latest: now + SignedDuration::from_secs(3), ..Registry::default() };
        assert_eq!(registry.now(), now + SignedDuration::from_secs(3));
        registry.latest = now + SignedDuration::from_hours(1);
        assert!(registry.now() < now + SignedDuration::from_mins(1));
    }

    #[test]
    fn an_exchange_is_not_received_before_a_watermark_that_was_given() {
        let mut registry = Registry::default();
        // Its clock was read before it had the lock.
        let read = clock::now() - SignedDuration::from_millis(1);
        let watermark = registry.watermark();
        let drawn = Drawn::of_everything();
        registry.enter(1, 1, drawn, read, Instant::now());
        assert!(registry.watermark() >= watermark);
    }
}
