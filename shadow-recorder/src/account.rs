//! Where observed exchanges end that are not recorded: each in exactly one counter.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::metrics::Metrics;

/// Why an exchange was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reason {
    /// It made more upstream calls than `calls_max`.
    CallsMax,
    /// Its connection was one too many.
    ConnectionsMax,
    /// The spool could not be written.
    Disk,
    /// More exchanges were open than `exchanges_open_max`.
    ExchangesOpenMax,
    /// A head of it, or of one of its calls, was larger than `head_bytes_max`.
    HeadBytesMax,
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
            Self::CallsMax => "calls_max",
            Self::ConnectionsMax => "connections_max",
            Self::Disk => "disk",
            Self::ExchangesOpenMax => "exchanges_open_max",
            Self::HeadBytesMax => "head_bytes_max",
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

/// What passed unrecorded since it was last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Exchanges that the sampling left out.
    pub(crate) sampled_out: u64,
    /// Exchanges lost, by reason.
    pub(crate) dropped: BTreeMap<Reason, u64>,
    /// Upstream calls of exchanges that were already known to be unrecorded.
    pub(crate) calls_sampled_out: u64,
    /// Upstream calls lost, with their exchange or alone.
    pub(crate) calls_dropped: u64,
}

impl Passed {
    /// Returns whether everything was recorded.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the exchanges among it.
    pub(crate) fn exchanges(&self) -> u64 {
        self.sampled_out + self.dropped.values().sum::<u64>()
    }

    /// Adds what passed later.
    pub(crate) fn add(&mut self, later: Self) {
        self.sampled_out += later.sampled_out;
        for (reason, count) in later.dropped {
            *self.dropped.entry(reason).or_default() += count;
        }
        self.calls_sampled_out += later.calls_sampled_out;
        self.calls_dropped += later.calls_dropped;
    }
}

/// Counts, shared by the data path and the writer.
#[derive(Debug)]
pub(crate) struct Account {
    lost: Mutex<Lost>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Lost {
    dropped: BTreeMap<Reason, u64>,
    calls_dropped: u64,
    /// What was taken of the counters that only grow.
    sampled_out_taken: u64,
    calls_sampled_out_taken: u64,
}

impl Account {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { lost: Mutex::default(), metrics }
    }

    /// Counts an exchange as it is received.
    pub(crate) fn observe(&self) {
        self.metrics.exchanges_observed.inc();
    }

    /// Returns the exchanges received since the start.
    pub(crate) fn observed(&self) -> u64 {
        self.metrics.exchanges_observed.get()
    }

    /// Counts an exchange that the sampling leaves out.
    pub(crate) fn sample_out(&self) {
        self.metrics.exchanges_sampled_out.inc();
    }

    /// Counts an upstream call of an exchange that is not recorded.
    pub(crate) fn sample_out_call(&self) {
        self.metrics.calls_sampled_out.inc();
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
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if exchanges > 0 {
            *lost.dropped.entry(reason).or_default() += exchanges;
            self.metrics.dropped(reason).inc_by(exchanges);
        }
        lost.calls_dropped += calls;
        self.metrics.upstream_calls_dropped.inc_by(calls);
    }

    /// Counts an upstream call that is not recorded.
    pub(crate) fn drop_call(&self) {
        self.drop_exchanges(Reason::Panic, 0, 1);
    }

    /// Takes what passed unrecorded since the last time.
    pub(crate) fn take(&self) -> Passed {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let sampled_out = self.metrics.exchanges_sampled_out.get();
        let calls_sampled_out = self.metrics.calls_sampled_out.get();
        Passed {
            sampled_out: sampled_out - std::mem::replace(&mut lost.sampled_out_taken, sampled_out),
            dropped: std::mem::take(&mut lost.dropped),
            calls_sampled_out: calls_sampled_out
                - std::mem::replace(&mut lost.calls_sampled_out_taken, calls_sampled_out),
            calls_dropped: std::mem::take(&mut lost.calls_dropped),
        }
    }
}
