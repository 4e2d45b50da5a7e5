//! Where observed exchanges end: what is dropped is counted, each in exactly one counter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::metrics::Metrics;

/// Why an exchange was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reason {
    /// The spool could not be written.
    Disk,
    /// More exchanges were open than `exchanges_open_max`.
    ExchangesOpenMax,
    /// The exchange is larger than a reader of segments accepts.
    LineBytesMax,
    /// The copies of all bodies together held more than `memory_bytes_max`.
    MemoryBytesMax,
    /// The recorder itself failed on it.
    Panic,
    /// More exchanges waited for the writer than `queue_exchanges_max`.
    QueueFull,
    /// Recording was switched off.
    RecordingOff,
    /// It was still open when the recorder stopped.
    Shutdown,
    /// Segments that could not be uploaded fill the spool up to `spool_bytes_max`.
    SpoolBytesMax,
}

impl Reason {
    /// Returns the name under which the reason is counted.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::ExchangesOpenMax => "exchanges_open_max",
            Self::LineBytesMax => "line_bytes_max",
            Self::MemoryBytesMax => "memory_bytes_max",
            Self::Panic => "panic",
            Self::QueueFull => "queue_full",
            Self::RecordingOff => "recording_off",
            Self::Shutdown => "shutdown",
            Self::SpoolBytesMax => "spool_bytes_max",
        }
    }
}

/// What was dropped since it was last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Exchanges, by reason.
    pub(crate) exchanges: BTreeMap<Reason, u64>,
    /// Upstream calls, with their exchange or alone.
    pub(crate) calls: u64,
}

impl Losses {
    /// Returns whether nothing was dropped.
    pub(crate) fn is_empty(&self) -> bool {
        self.exchanges.is_empty() && self.calls == 0
    }

    /// Adds what was dropped later.
    pub(crate) fn add(&mut self, later: Self) {
        for (reason, count) in later.exchanges {
            *self.exchanges.entry(reason).or_default() += count;
        }
        self.calls += later.calls;
    }
}

/// Counts, shared by the data path and the writer.
#[derive(Debug)]
pub(crate) struct Account {
    observed: AtomicU64,
    losses: Mutex<Losses>,
    metrics: Metrics,
}

impl Account {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { observed: AtomicU64::new(0), losses: Mutex::default(), metrics }
    }

    /// Counts an exchange as it is received.
    pub(crate) fn observe(&self) {
        self.observed.fetch_add(1, Ordering::Relaxed);
        self.metrics.exchanges_observed.inc();
    }

    /// Returns the exchanges received since the start.
    pub(crate) fn observed(&self) -> u64 {
        self.observed.load(Ordering::Relaxed)
    }

    /// Counts an exchange that is not recorded, and the upstream calls lost with it.
    pub(crate) fn drop_exchange(&self, reason: Reason, calls: u64) {
        self.drop_exchanges(reason, 1, calls);
    }

    /// Counts exchanges that are not recorded, and the upstream calls lost with them.
    pub(crate) fn drop_exchanges(&self, reason: Reason, exchanges: u64, calls: u64) {
        if exchanges + calls == 0 {
            return;
        }
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        if exchanges > 0 {
            *losses.exchanges.entry(reason).or_default() += exchanges;
            self.metrics.dropped(reason).inc_by(exchanges);
        }
        losses.calls += calls;
        self.metrics.upstream_calls_dropped.inc_by(calls);
    }

    /// Counts an upstream call that is not recorded.
    pub(crate) fn drop_call(&self) {
        self.drop_exchanges(Reason::Panic, 0, 1);
    }

    /// Takes what was dropped since the last time.
    pub(crate) fn take_losses(&self) -> Losses {
        std::mem::take(&mut self.losses.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
