//! Pairs an exchange with the upstream calls made for it, and hands both to the writer's queue.
//!
//! An exchange is *open* from its request until `linger` after its answer, and longer while one of its calls is in progress. Which
//! calls are its own is found out in `attribution`. An exchange that passes unrecorded is *held* for as long, so that its calls are
//! known. An exchange is *unsettled* until it is recorded or counted as dropped; what is unsettled holds back `sealed_through`.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use jiff::Timestamp;

use crate::account::{Account, Reason};
use crate::clock;
use crate::exchange::Attribution;
use crate::health::Health;
use crate::key_reader::KeyReader;
use crate::keys::OwnKey;
use crate::metrics::Metrics;
use crate::observation::{Observation, RequestHead, Seen};
use crate::redact;
use crate::registry::{Closed, Registry};
use crate::sampling::{Drawn, Sampling};
use crate::switch::Switch;
use crate::tee::{Memory, OnEnd, Tee};

/// The limits of a capture, as configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) linger: Duration,
    pub(crate) head_bytes_max: usize,
    pub(crate) body_bytes_max: usize,
    pub(crate) memory_bytes_max: usize,
    pub(crate) calls_max: usize,
    pub(crate) exchanges_open_max: usize,
    pub(crate) queue_exchanges_max: usize,
}

/// What an observation belongs to.
#[derive(Clone, Debug)]
pub(crate) enum Ticket {
    /// It is an exchange.
    Exchange(u128),
    /// It is a call of an open exchange, at this place of its list.
    Call { exchange: u128, place: usize },
    /// It is a call whose exchange is not known yet; its number.
    Undecided(u64),
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

/// Keeps an exchange that passes unrecorded known as open, until it is dropped with the end of the answer.
#[derive(Debug)]
pub(crate) struct Held {
    capture: Arc<Capture>,
    known_by: KnownBy,
}

#[derive(Clone, Copy, Debug)]
enum KnownBy {
    Trace(u128),
    Id(u128),
}

/// The open exchanges and the way to the writer.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) account: Account,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    pub(crate) sampling: Sampling,
    /// Absent where no business key is configured.
    pub(crate) keys: Option<KeyReader>,
    pub(crate) switch: Switch,
    pub(crate) health: Arc<Health>,
    /// Makes tokens of credentials, where it is recorded who called.
    principals: OnceLock<redact::Key>,
    memory: Arc<Memory>,
    registry: Mutex<Registry>,
    queue: SyncSender<Event>,
    cut: AtomicBool,
}

impl Capture {
    /// Creates the capture and the writer's end of its queue.
    pub(crate) fn new(
        limits: Limits,
        sampling: Sampling,
        keys: Option<KeyReader>,
        metrics: Metrics,
    ) -> (Arc<Self>, Receiver<Event>) {
        let (queue, events) = sync_channel(limits.queue_exchanges_max);
        let capture = Self {
            account: Account::new(metrics.clone(), sampling.names().len()),
            switch: Switch::new(metrics.recording.clone()),
            health: Arc::default(),
            principals: OnceLock::new(),
            metrics,
            limits,
            sampling,
            keys,
            memory: Memory::new(limits.memory_bytes_max),
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

    /// Opens an exchange under a new id, which the ticket names.
    pub(crate) fn open(
        self: &Arc<Self>,
        trace_id: u128,
        drawn: Drawn,
        key: OwnKey,
        request: RequestHead,
    ) -> Result<(u128, Arc<Observation>), Reason> {
        let (now, started) = (clock::now(), Instant::now());
        let id = clock::exchange_id(now);
        let mut registry = self.registry();
        if registry.recorded() >= self.limits.exchanges_open_max {
            return Err(Reason::ExchangesOpenMax);
        }
        registry.enter(id, trace_id, drawn, now, started);
        if key != OwnKey::Unknown {
            registry.set_key(id, key);
        }
        drop(registry);
        self.metrics.exchanges_open.inc();
        let ticket = Ticket::Exchange(id);
        Ok((id, Observation::new(Arc::clone(self), ticket, started, request)))
    }

    /// Holds an exchange that passes unrecorded, and of which no more than the trace is known.
    pub(crate) fn hold(self: &Arc<Self>, trace_id: u128) -> Held {
        self.registry().enter_trace(trace_id);
        Held { capture: Arc::clone(self), known_by: KnownBy::Trace(trace_id) }
    }

    /// Holds an exchange that passes unrecorded, and whose business key is or will be known; returns its id.
    pub(crate) fn hold_with_key(self: &Arc<Self>, trace_id: u128, key: OwnKey) -> (u128, Held) {
        let id = clock::exchange_id(clock::now());
        let mut registry = self.registry();
        registry.enter_unrecorded(id, trace_id);
        if key != OwnKey::Unknown {
            registry.set_key(id, key);
        }
        drop(registry);
        (id, Held { capture: Arc::clone(self), known_by: KnownBy::Id(id) })
    }

    /// Notes the business key of an open exchange.
    pub(crate) fn set_key(&self, id: u128, key: OwnKey) {
        self.registry().set_key(id, key);
    }

    /// Takes what was seen of an exchange or a call when it has ended.
    pub(crate) fn ended(&self, ticket: &Ticket, seen: Seen) {
        match ticket {
            Ticket::Exchange(id) => {
                let until = Instant::now() + self.limits.linger;
                let mut registry = self.registry();
                registry.linger(*id, until);
                if let Some(record) = registry.get_mut(*id) {
                    record.seen = Some(seen);
                }
            }
            Ticket::Call { exchange, place } => {
                let mut registry = self.registry();
                // Absent where the exchange was given up meanwhile.
                let Some(record) = registry.get_mut(*exchange) else { return };
                record.calls[*place].seen = Some(seen);
                record.calls_in_progress -= 1;
                let closed = registry.close_if_due(*exchange);
                drop(registry);
                if let Some(closed) = closed {
                    self.submit(closed);
                }
            }
            Ticket::Undecided(number) => self.ended_undecided(*number, seen),
            Ticket::Stray { at, attribution, upstream } => {
                let (at, attribution, upstream) = (*at, *attribution, Arc::clone(upstream));
                self.submit_stray(Event::Stray { at, attribution, upstream, seen: seen.into() });
            }
        }
    }

    /// Closes the exchanges that have lingered until `now`.
    pub(crate) fn sweep(&self, now: Instant) {
        self.decide_overdue();
        loop {
            let mut registry = self.registry();
            let next = registry.next_lingered(now);
            drop(registry);
            let ControlFlow::Continue(closed) = next else { return };
            if let Some(closed) = closed {
                self.submit(closed);
            }
        }
    }

    /// Counts an exchange, or a call with the exchange it belongs to, that a failure of the recorder itself cost.
    pub(crate) fn lost(&self, ticket: &Ticket) {
        self.give_up(ticket, Reason::Panic);
        if let Ticket::Exchange(id) = ticket {
            // Its end may never be reported.
            self.registry().linger(*id, Instant::now() + self.limits.linger);
        }
    }

    /// Stops recording an exchange, or the exchange that a call belongs to: over a limit, and by a call's fault. It stays known.
    pub(crate) fn give_up(&self, ticket: &Ticket, reason: Reason) {
        match ticket {
            Ticket::Exchange(id) | Ticket::Call { exchange: id, .. } => {
                let record = self.registry().give_up(*id);
                // Absent where it was given up before, which was counted then.
                if let Some(record) = record {
                    self.metrics.exchanges_open.dec();
                    let calls = record.calls.len() as u64;
                    self.account.drop_exchange(record.drawn.stratum, reason, calls);
                }
            }
            Ticket::Undecided(number) => self.give_up_undecided(*number, reason),
            Ticket::Stray { .. } => self.account.drop_call(),
        }
    }

    /// Gives up what is still open when the recorder stops.
    pub(crate) fn give_up_all(&self) {
        let ids = self.registry().recorded_ids();
        for id in ids {
            self.give_up(&Ticket::Exchange(id), Reason::Shutdown);
        }
    }

    /// Returns the number of exchanges whose calls may still come, recorded or not.
    pub(crate) fn open_count(&self) -> usize {
        self.registry().known()
    }

    /// Returns the number of exchanges that are not answered yet, or have a call in progress.
    pub(crate) fn in_progress_count(&self) -> usize {
        self.registry().in_progress()
    }

    /// From now on requests say who called, by a token under this key.
    pub(crate) fn name_principals(&self, key: Option<redact::Key>) {
        if let Some(key) = key {
            let _ = self.principals.set(key);
        }
    }

    /// Returns the token of who sends a request, where that is recorded and the request has a credential.
    pub(crate) fn principal(&self, headers: &HeaderMap) -> Option<String> {
        redact::principal(headers, self.principals.get()?)
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
                registry.settle(*sequence);
            }
        }
    }

    /// Returns the instant before which every exchange received is settled.
    pub(crate) fn watermark(&self) -> Timestamp {
        self.registry().watermark()
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

    pub(crate) fn submit(&self, closed: Closed) {
        self.metrics.exchanges_open.dec();
        let (sequence, calls) = (closed.sequence, closed.calls.len() as u64);
        let stratum = closed.drawn.stratum;
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
            self.account.drop_exchange(stratum, reason, calls);
            self.settle(&[sequence]);
        }
    }

    pub(crate) fn submit_stray(&self, event: Event) {
        let out_of_memory = matches!(&event, Event::Stray { seen, .. } if seen.is_out_of_memory());
        if out_of_memory || self.enqueue(event).is_some() {
            self.account.drop_call();
        }
    }

    fn enqueue(&self, event: Event) -> Option<Reason> {
        // Before the writer can take it off again.
        self.metrics.queue_exchanges.inc();
        let reason = match self.queue.try_send(event) {
            Ok(()) => return None,
            Err(TrySendError::Full(_)) => Reason::QueueFull,
            // The writer never ends while anything is open, so it must have failed.
            Err(TrySendError::Disconnected(_)) => Reason::Panic,
        };
        self.metrics.queue_exchanges.dec();
        Some(reason)
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        // A panic under the lock costs the capture that panicked; the maps stay usable.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (now, linger) = (Instant::now(), self.capture.limits.linger);
        let mut registry = self.capture.registry();
        match self.known_by {
            KnownBy::Trace(trace_id) => registry.linger_trace(trace_id, now, linger),
            KnownBy::Id(id) => registry.linger(id, now + linger),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
