//! The exchanges that are open at the stub, and which of them a call belongs to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use shadow_recorder::exchange::{Exchange, Request, UpstreamCall};
use shadow_recorder::redact::Redactor;
use shadow_recorder::trace_context::Carried;
use tokio::sync::Notify;

use super::Seen;
use crate::matching::Miss;

/// An open exchange: its recorded calls are answered until it is closed.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) trace_id: String,
    pub(super) exchange: Arc<Exchange>,
    pub(super) redactor: Arc<Redactor>,
    pub(super) began: Instant,
    made: Mutex<Made>,
    /// Told when a call was answered or missed.
    pub(super) changed: Notify,
}

/// The calls that were made so far.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Which recorded calls were made.
    pub(super) used: Vec<bool>,
    pub(super) seen: Seen,
    /// Whether the exchange was closed while a call was on its way.
    pub(super) closed: bool,
}

impl Open {
    /// Opens an exchange; its recorded calls are `expected`, unless the candidate has upstreams of its own.
    pub(super) fn new(
        exchange: &Arc<Exchange>,
        trace_id: &str,
        redactor: &Arc<Redactor>,
        expected: bool,
    ) -> Self {
        let calls = if expected { exchange.upstream.len() } else { 0 };
        let made = Made { used: vec![false; calls], ..Made::default() };
        Self {
            trace_id: trace_id.into(),
            exchange: Arc::clone(exchange),
            redactor: Arc::clone(redactor),
            began: Instant::now(),
            made: Mutex::new(made),
            changed: Notify::new(),
        }
    }

    pub(super) fn made(&self) -> MutexGuard<'_, Made> {
        // It is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recorded(&self) -> &[UpstreamCall] {
        &self.exchange.upstream
    }

    /// Returns a call as it would have been recorded with the exchange.
    pub(super) fn redacted(&self, upstream: &str, mut call: Request) -> Request {
        self.redactor.request(Some(upstream), &mut call);
        call
    }

    /// Notes a call that nothing could answer.
    pub(super) fn miss(&self, upstream: &str, call: &Request, differs: &str) {
        let call = self.redacted(upstream, call.clone());
        self.made().seen.misses.push(Miss::of(upstream, &call, differs));
        self.changed.notify_one();
    }

    /// Returns whether nothing that may still come changes how the exchange ends.
    pub(super) fn is_decided(&self) -> bool {
        let made = self.made();
        !made.seen.misses.is_empty() || made.used.iter().all(|used| *used)
    }

    /// Returns what was seen, and takes no more calls.
    pub(super) fn close(&self) -> Seen {
        let mut made = self.made();
        made.closed = true;
        let seen = std::mem::take(&mut made.seen);
        let used = &made.used;
        let unused = used.iter().enumerate().filter(|(_, used)| !**used);
        let unused: Vec<usize> = unused.map(|(at, _)| at).collect();
        Seen { hits: used.len() - unused.len(), unused, ..seen }
    }
}

/// All open exchanges, by what a call may carry of them.
#[derive(Debug, Default)]
pub(super) struct OpenExchanges {
    by_name: HashMap<String, Arc<Open>>,
    by_trace: HashMap<String, Arc<Open>>,
}

impl OpenExchanges {
    pub(super) fn insert(&mut self, name: &str, open: Arc<Open>) {
        self.by_trace.insert(open.trace_id.clone(), Arc::clone(&open));
        self.by_name.insert(name.to_owned(), open);
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Open>> {
        self.by_name.get(name).cloned()
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<Open>> {
        let open = self.by_name.remove(name)?;
        self.by_trace.remove(&open.trace_id);
        Some(open)
    }

    pub(super) fn all(&self) -> Vec<Arc<Open>> {
        self.by_name.values().cloned().collect()
    }

    /// Finds the exchange of a call with certainty: by the name in `tracestate`, which decides alone; else by the trace id, or, where
    /// one exchange is in flight at a time, as the only one.
    pub(super) fn attribute(&self, carried: &Carried, alone: bool) -> Option<Arc<Open>> {
        if let Some(name) = &carried.exchange {
            return self.get(name);
        }
        let of_trace = carried.trace_id.as_ref().and_then(|id| self.by_trace.get(id));
        let only = || (alone && self.by_name.len() == 1).then(|| self.by_name.values().next());
        of_trace.or_else(|| only().flatten()).cloned()
    }
}
