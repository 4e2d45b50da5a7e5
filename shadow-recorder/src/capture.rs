//! Pairs an exchange with the upstream calls made for it, and hands both to the writer's queue.
//!
//! An exchange is *open* from its request until `linger` after its answer, and longer while one of its calls is in progress. A call
//! is attributed only with certainty: by the exchange id in its `tracestate`, or by a trace id that exactly one open exchange has.
//! An exchange is *unsettled* until it is recorded or counted as dropped; what is unsettled holds back `sealed_through`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body;
use jiff::Timestamp;

use crate::account::{Account, Reason};
use crate::exchange::{Attribution, ExchangeId};
use crate::metrics::Metrics;
use crate::observation::{Observation, RequestHead, Seen};
use crate::registry::{Call, Closed, Registry};
use crate::tee::{Memory, OnEnd, Tee};
use crate::trace_context::Carried;

/// The limits of a capture, as configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) linger: Duration,
    pub(crate) body_bytes_max: usize,
    pub(crate) memory_bytes_max: usize,
    pub(crate) exchanges_open_max: usize,
    pub(crate) queue_exchanges_max: usize,
}

/// What an observation belongs to.
#[derive(Clone, Debug)]
pub(crate) enum Ticket {
    /// It is an exchange.
    Exchange(ExchangeId),
    /// It is a call of an open exchange, at this place of its list.
    Call { exchange: ExchangeId, place: usize },
    /// It is a call of no exchange.
    Stray { at: Timestamp, attribution: Attribution, upstream: Arc<str> },
}

/// What the writer receives.
#[derive(Debug)]
pub(crate) enum Event {
    /// A closed exchange.
    Exchange(Box<Closed>),
    /// A call of no exchange.
    Stray { at: Timestamp, attribution: Attribution, upstream: Arc<str>, seen: Box<Seen> },
    /// Nothing will follow.
    End,
}

/// The open exchanges and the way to the writer.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) account: Account,
    pub(crate) metrics: Metrics,
    memory: Arc<Memory>,
    limits: Limits,
    registry: Mutex<Registry>,
    queue: SyncSender<Event>,
    cut: AtomicBool,
}

impl Capture {
    /// Creates the capture and the writer's end of its queue.
    pub(crate) fn new(limits: Limits, metrics: Metrics) -> (Arc<Self>, Receiver<Event>) {
        let (queue, events) = sync_channel(limits.queue_exchanges_max);
        let capture = Self {
            account: Account::new(metrics.clone()),
            metrics,
            memory: Memory::new(limits.memory_bytes_max),
            limits,
            registry: Mutex::default(),
            queue,
            cut: AtomicBool::new(false),
        };
        (Arc::new(capture), events)
    }

    /// Copies a body as far as the limits allow.
    pub(crate) fn tee<B: Body<Data = Bytes>>(&self, body: B, on_end: OnEnd) -> Tee<B> {
        Tee::new(body, self.limits.body_bytes_max, &self.memory, on_end)
    }

    /// Returns the memory that all copies share.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Opens an exchange, or counts it where too many are open.
    pub(crate) fn open(
        self: &Arc<Self>,
        id: &ExchangeId,
        trace_id: String,
        request: RequestHead,
    ) -> Option<Arc<Observation>> {
        let mut registry = self.registry();
        if registry.open.len() >= self.limits.exchanges_open_max {
            // Its calls must not be taken for those of a recorded exchange of the same trace.
            if let Some(ids) = registry.by_trace.get_mut(&trace_id) {
                ids.push(id.0.clone());
            }
            drop(registry);
            self.account.drop_exchange(Reason::ExchangesOpenMax, 0);
            return None;
        }
        // The clock is read under the lock, so that `watermark` never runs ahead of an exchange about to be entered.
        let received_at = registry.now();
        registry.enter(&id.0, trace_id, received_at);
        self.metrics.exchanges_open.inc();
        drop(registry);
        Some(Observation::new(Arc::clone(self), Ticket::Exchange(id.clone()), request))
    }

    /// Finds the exchange of a call that begins now.
    pub(crate) fn attribute(&self, upstream: &Arc<str>, carried: &Carried) -> Ticket {
        let mut registry = self.registry();
        let (attribution, id) = registry.attribution(carried);
        self.metrics.calls(attribution).inc();
        let at = registry.now();
        if let Some((id, open)) = id.and_then(|id| Some((id.clone(), registry.open.get_mut(&id)?)))
        {
            let call =
                Call { upstream: Arc::clone(upstream), offset: open.started.elapsed(), seen: None };
            open.calls.push(call);
            open.calls_in_progress += 1;
            return Ticket::Call { exchange: ExchangeId(id), place: open.calls.len() - 1 };
        }
        Ticket::Stray { at, attribution, upstream: Arc::clone(upstream) }
    }

    /// Takes what was seen of an exchange or a call when it has ended.
    pub(crate) fn ended(&self, ticket: &Ticket, seen: Seen) {
        match ticket {
            Ticket::Exchange(id) => {
                let mut registry = self.registry();
                if let Some(open) = registry.open.get_mut(&id.0) {
                    open.seen = Some(seen);
                    let until = Instant::now() + self.limits.linger;
                    registry.lingering.push_back((until, id.0.clone()));
                }
            }
            Ticket::Call { exchange, place } => {
                let mut registry = self.registry();
                let Some(open) = registry.open.get_mut(&exchange.0) else { return };
                open.calls[*place].seen = Some(seen);
                open.calls_in_progress -= 1;
                let closed = (open.lingered && open.calls_in_progress == 0)
                    .then(|| registry.close(exchange.0.clone()))
                    .flatten();
                drop(registry);
                if let Some(closed) = closed {
                    self.submit(closed);
                }
            }
            Ticket::Stray { at, attribution, upstream } => {
                let (at, attribution, upstream) = (*at, *attribution, Arc::clone(upstream));
                self.submit_stray(Event::Stray { at, attribution, upstream, seen: seen.into() });
            }
        }
    }

    /// Closes the exchanges that have lingered until `now`.
    pub(crate) fn sweep(&self, now: Instant) {
        loop {
            let mut registry = self.registry();
            if registry.lingering.front().is_none_or(|(until, _)| *until > now) {
                return;
            }
            let Some((_, id)) = registry.lingering.pop_front() else { return };
            let Some(open) = registry.open.get_mut(&id) else { continue };
            open.lingered = true;
            let closed = (open.calls_in_progress == 0).then(|| registry.close(id)).flatten();
            drop(registry);
            if let Some(closed) = closed {
                self.submit(closed);
            }
        }
    }

    /// Counts an exchange, or a call with the exchange it belongs to, that a failure of the recorder itself cost.
    pub(crate) fn lost(&self, ticket: &Ticket) {
        match ticket {
            Ticket::Exchange(id) | Ticket::Call { exchange: id, .. } => {
                let calls = self.registry().remove(&id.0);
                // Absent where a call took its exchange along before, which was counted then; or before it was entered.
                match (calls, ticket) {
                    (Some(calls), _) => self.account.drop_exchange(Reason::Panic, calls),
                    (None, Ticket::Exchange(_)) => self.account.drop_exchange(Reason::Panic, 0),
                    (None, _) => {}
                }
                self.update_open();
            }
            Ticket::Stray { .. } => self.account.drop_call(),
        }
    }

    /// Gives up what is still open when the recorder stops.
    pub(crate) fn give_up(&self) {
        let ids: Vec<String> = self.registry().open.keys().cloned().collect();
        for id in ids {
            if let Some(calls) = self.registry().remove(&id) {
                self.account.drop_exchange(Reason::Shutdown, calls);
            }
        }
        self.update_open();
    }

    /// Returns the number of open exchanges.
    pub(crate) fn open_count(&self) -> usize {
        self.registry().open.len()
    }

    /// Tells that what breaks off from now on is broken off by the recorder.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Returns whether the recorder breaks off what is in progress.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Marks exchanges as recorded or counted.
    pub(crate) fn settle(&self, sequences: &[u64]) {
        // In pieces, so that requests never wait for a whole frame to be settled.
        for piece in sequences.chunks(64) {
            let mut registry = self.registry();
            for sequence in piece {
                registry.unsettled.remove(sequence);
            }
        }
    }

    /// Returns the instant before which every exchange received is settled.
    pub(crate) fn watermark(&self) -> Timestamp {
        let mut registry = self.registry();
        let now = registry.now();
        registry.unsettled.values().next().map_or(now, |first| now.min(*first))
    }

    /// Tells the writer that nothing follows. Blocks while the queue is full.
    pub(crate) fn end(&self) {
        // Fails only where the writer is gone, which its own end reports.
        let _ = self.queue.send(Event::End);
    }

    /// Updates the gauges that are read rather than counted.
    pub(crate) fn update_gauges(&self) {
        self.metrics.copied_bytes.set(i64::try_from(self.memory.used()).unwrap_or(i64::MAX));
    }

    fn update_open(&self) {
        self.metrics.exchanges_open.set(i64::try_from(self.open_count()).unwrap_or(i64::MAX));
    }

    fn submit(&self, closed: Closed) {
        self.metrics.exchanges_open.dec();
        let (sequence, calls) = (closed.sequence, closed.calls.len() as u64);
        let out_of_memory = closed.seen.is_out_of_memory()
            || closed
                .calls
                .iter()
                .filter_map(|call| call.seen.as_ref())
                .any(Seen::is_out_of_memory);
        let reason = if out_of_memory {
            Some(Reason::MemoryBytesMax)
        } else {
            self.enqueue(Event::Exchange(closed.into()))
        };
        if let Some(reason) = reason {
            self.account.drop_exchange(reason, calls);
            self.settle(&[sequence]);
        }
    }

    fn submit_stray(&self, event: Event) {
        let out_of_memory = matches!(&event, Event::Stray { seen, .. } if seen.is_out_of_memory());
        if out_of_memory || self.enqueue(event).is_some() {
            self.account.drop_call();
        }
    }

    fn enqueue(&self, event: Event) -> Option<Reason> {
        match self.queue.try_send(event) {
            Ok(()) => {
                self.metrics.queue_exchanges.inc();
                None
            }
            Err(TrySendError::Full(_)) => Some(Reason::QueueFull),
            // The writer never ends while anything is open, so it must have failed.
            Err(TrySendError::Disconnected(_)) => Some(Reason::Panic),
        }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // A panic under the lock costs the capture that panicked; the maps stay usable.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests;
