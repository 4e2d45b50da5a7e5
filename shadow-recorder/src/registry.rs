//! The open exchanges, by id and by trace, and the times that `sealed_through` rests on. Behind one lock, in `capture`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::exchange::{Attribution, ExchangeId};
use crate::observation::Seen;
use crate::trace_context::Carried;

/// A clock that steps back by no more than this stands still instead; a larger jump is followed.
const STEP_BACK_MAX: SignedDuration = SignedDuration::from_secs(5);

/// An exchange that is closed.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) id: ExchangeId,
    pub(crate) trace_id: String,
    pub(crate) received_at: Timestamp,
    pub(crate) sequence: u64,
    pub(crate) seen: Seen,
    /// In the order in which they began.
    pub(crate) calls: Vec<Call>,
}

/// A call of an exchange.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) upstream: Arc<str>,
    pub(crate) offset: Duration,
    pub(crate) seen: Option<Seen>,
}

/// An open exchange.
#[derive(Debug)]
pub(crate) struct Open {
    trace_id: String,
    received_at: Timestamp,
    sequence: u64,
    pub(crate) started: Instant,
    pub(crate) seen: Option<Seen>,
    pub(crate) calls: Vec<Call>,
    pub(crate) calls_in_progress: usize,
    pub(crate) lingered: bool,
}

/// The open exchanges.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) open: HashMap<String, Open>,
    pub(crate) by_trace: HashMap<String, Vec<String>>,
    // In order, because `linger` is the same for all.
    pub(crate) lingering: VecDeque<(Instant, String)>,
    pub(crate) unsettled: BTreeMap<u64, Timestamp>,
    pub(crate) latest: Timestamp,
    pub(crate) sequence: u64,
}

impl Registry {
    /// Enters an exchange received now.
    pub(crate) fn enter(&mut self, id: &str, trace_id: String, received_at: Timestamp) {
        self.sequence += 1;
        self.unsettled.insert(self.sequence, received_at);
        self.by_trace.entry(trace_id.clone()).or_default().push(id.to_owned());
        let open = Open {
            trace_id,
            received_at,
            sequence: self.sequence,
            started: Instant::now(),
            seen: None,
            calls: Vec::new(),
            calls_in_progress: 0,
            lingered: false,
        };
        self.open.insert(id.to_owned(), open);
    }

    /// Returns the time, which never runs back by a small step.
    pub(crate) fn now(&mut self) -> Timestamp {
        let now = clock::now();
        if now >= self.latest || self.latest.duration_since(now) > STEP_BACK_MAX {
            self.latest = now;
        }
        self.latest
    }

    /// Says what is known of a call's exchange, and names it where it is certain.
    pub(crate) fn attribution(&self, carried: &Carried) -> (Attribution, Option<String>) {
        if let Some(id) = &carried.exchange {
            // An id decides alone, also when its exchange is closed: another exchange of the same trace would be a guess.
            return if self.open.contains_key(id) {
                (Attribution::Attributed, Some(id.clone()))
            } else {
                (Attribution::Late, None)
            };
        }
        let of_trace = carried.trace_id.as_ref().and_then(|trace| self.by_trace.get(trace));
        match of_trace.map_or(&[][..], Vec::as_slice) {
            [] => (Attribution::Unattributed, None),
            [only] => (Attribution::Attributed, Some(only.clone())),
            _ => (Attribution::Ambiguous, None),
        }
    }

    /// Takes an exchange out to be recorded.
    pub(crate) fn close(&mut self, id: String) -> Option<Closed> {
        let open = self.open.remove(&id)?;
        self.forget_trace(&open.trace_id, &id);
        let Open { trace_id, received_at, sequence, seen, calls, .. } = open;
        Some(Closed { id: ExchangeId(id), trace_id, received_at, sequence, seen: seen?, calls })
    }

    /// Removes an exchange that will not be recorded; returns the number of its calls.
    pub(crate) fn remove(&mut self, id: &str) -> Option<u64> {
        let open = self.open.remove(id)?;
        self.forget_trace(&open.trace_id, id);
        self.unsettled.remove(&open.sequence);
        Some(open.calls.len() as u64)
    }

    fn forget_trace(&mut self, trace_id: &str, id: &str) {
        if let Some(ids) = self.by_trace.get_mut(trace_id) {
            ids.retain(|other| other != id);
            if !ids.iter().any(|id| self.open.contains_key(id)) {
                self.by_trace.remove(trace_id);
            }
        }
    }
}
