//! Where observed exchanges end that are not recorded: each in exactly one counter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::metrics::Metrics;
use crate::sampling::StratumId;
use crate::segment::Tally;

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
    /// Exchanges, by stratum.
    pub(crate) strata: BTreeMap<StratumId, PassedOf>,
    /// Upstream calls of exchanges that were already known to be unrecorded.
    pub(crate) calls_sampled_out: u64,
    /// Upstream calls lost, with their exchange or alone.
    pub(crate) calls_dropped: u64,
}

/// What passed unrecorded of one stratum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PassedOf {
    /// Exchanges that the sampling left out.
    pub(crate) sampled_out: u64,
    /// Exchanges lost, by reason.
    pub(crate) dropped: BTreeMap<Reason, u64>,
}

impl Passed {
    /// Returns whether everything was recorded.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the exchanges among it.
    pub(crate) fn exchanges(&self) -> u64 {
        let of = |of: &PassedOf| of.sampled_out + of.dropped.values().sum::<u64>();
        self.strata.values().map(of).sum()
    }

    /// Adds what passed later.
    pub(crate) fn add(&mut self, later: Self) {
        for (stratum, later) in later.strata {
            let of = self.strata.entry(stratum).or_default();
            of.sampled_out += later.sampled_out;
            for (reason, count) in later.dropped {
                *of.dropped.entry(reason).or_default() += count;
            }
        }
        self.calls_sampled_out += later.calls_sampled_out;
        self.calls_dropped += later.calls_dropped;
    }
}

#[cfg(test)]
impl Passed {
    /// Returns what was dropped, where there is one stratum.
    pub(crate) fn dropped(&self) -> BTreeMap<Reason, u64> {
        self.only().dropped
    }

    /// Returns what was left out, where there is one stratum.
    pub(crate) fn sampled_out(&self) -> u64 {
        self.only().sampled_out
    }

    fn only(&self) -> PassedOf {
        assert!(self.strata.len() <= 1, "{self:?}");
        self.strata.values().next().cloned().unwrap_or_default()
    }
}

impl PassedOf {
    /// Returns the tally of an interval in which so many others were recorded.
    pub(crate) fn tally(&self, recorded: u64) -> Tally {
        let dropped = self.dropped.iter().map(|(why, count)| (why.as_str().to_owned(), *count));
        let lost = self.dropped.values().sum::<u64>();
        Tally {
            observed: recorded + self.sampled_out + lost,
            recorded,
            sampled_out: self.sampled_out,
            dropped: dropped.collect(),
        }
    }
}

/// Counts, shared by the data path and the writer.
#[derive(Debug)]
pub(crate) struct Account {
    /// Exchanges that the sampling left out and nobody took yet, at the place of their stratum.
    sampled_out: Box<[AtomicU64]>,
    lost: Mutex<Lost>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Lost {
    dropped: BTreeMap<(StratumId, Reason), u64>,
    calls_dropped: u64,
    /// What was taken of the counter, which only grows.
    calls_sampled_out_taken: u64,
}

impl Account {
    /// Begins with nothing, for so many strata.
    pub(crate) fn new(metrics: Metrics, strata: usize) -> Self {
        let sampled_out = (0..strata).map(|_| AtomicU64::default()).collect();
        Self { sampled_out, lost: Mutex::default(), metrics }
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
    pub(crate) fn sample_out(&self, stratum: StratumId) {
        self.metrics.exchanges_sampled_out.inc();
        // Every stratum that the sampling names has its place.
        if let Some(count) = self.sampled_out.get(stratum.place()) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Counts upstream calls of exchanges that are not recorded.
    pub(crate) fn sample_out_calls(&self, calls: u64) {
        self.metrics.calls_sampled_out.inc_by(calls);
    }

    /// Counts an exchange that is not recorded, and the upstream calls lost with it.
    pub(crate) fn drop_exchange(&self, stratum: StratumId, reason: Reason, calls: u64) {
        self.drop_exchanges(stratum, reason, 1, calls);
    }

    /// Counts exchanges that are not recorded, and the upstream calls lost with them.
    pub(crate) fn drop_exchanges(
        &self,
        stratum: StratumId,
        reason: Reason,
        exchanges: u64,
        calls: u64,
    ) {
        if exchanges + calls == 0 {
            return;
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if exchanges > 0 {
            *lost.dropped.entry((stratum, reason)).or_default() += exchanges;
            self.metrics.dropped(reason).inc_by(exchanges);
        }
        lost.calls_dropped += calls;
        self.metrics.upstream_calls_dropped.inc_by(calls);
    }

    /// Counts an upstream call that is not recorded.
    pub(crate) fn drop_call(&self) {
        self.drop_calls(1);
    }

    /// Counts upstream calls that are not recorded.
    pub(crate) fn drop_calls(&self, calls: u64) {
        self.drop_exchanges(StratumId::default(), Reason::Panic, 0, calls);
    }

    /// Takes what passed unrecorded since the last time.
    pub(crate) fn take(&self) -> Passed {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let mut strata: BTreeMap<StratumId, PassedOf> = BTreeMap::new();
        for (stratum, count) in StratumId::all().zip(&self.sampled_out) {
            let sampled_out = count.swap(0, Relaxed);
            if sampled_out > 0 {
                strata.entry(stratum).or_default().sampled_out = sampled_out;
            }
        }
        for ((stratum, reason), count) in std::mem::take(&mut lost.dropped) {
            strata.entry(stratum).or_default().dropped.insert(reason, count);
        }
        let calls_sampled_out = self.metrics.calls_sampled_out.get();
        Passed {
            strata,
            calls_sampled_out: calls_sampled_out
                - std::mem::replace(&mut lost.calls_sampled_out_taken, calls_sampled_out),
            calls_dropped: std::mem::take(&mut lost.calls_dropped),
        }
    }
}
