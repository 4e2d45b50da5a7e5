//! Whether what passes is recorded: a person can switch it off, and a fault pauses it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;

use crate::account::Reason;
use crate::clock;

const RECORD: u8 = 0;
const SWITCHED_OFF: u8 = 1;
const FAILED: u8 = 2;

/// The switch and what else keeps exchanges from being recorded.
#[derive(Debug)]
pub(crate) struct Switch {
    /// What a request reads. The pauses that come and go with the disk are not in it: what they cost is decided by the writer.
    bypass: AtomicU8,
    pauses: Mutex<Pauses>,
    recording: Gauge,
}

#[derive(Debug)]
struct Pauses {
    /// Since when each lasts.
    lasting: BTreeMap<Reason, Timestamp>,
    /// When the last one ended, or the recorder started.
    recording_since: Timestamp,
}

impl Switch {
    /// Recording is on at every start; `recording` shows it from then on.
    pub(crate) fn new(recording: Gauge) -> Self {
        recording.set(1);
        let pauses = Pauses { lasting: BTreeMap::new(), recording_since: clock::now() };
        Self { bypass: AtomicU8::new(RECORD), pauses: Mutex::new(pauses), recording }
    }

    /// Returns why an exchange that begins now is not even copied.
    pub(crate) fn bypass(&self) -> Option<Reason> {
        match self.bypass.load(Ordering::Relaxed) {
            RECORD => None,
            SWITCHED_OFF => Some(Reason::RecordingOff),
            _ => Some(Reason::Panic),
        }
    }

    /// Begins a pause; one that lasts already goes on.
    pub(crate) fn pause(&self, reason: Reason) {
        let mut pauses = self.pauses();
        pauses.lasting.entry(reason).or_insert_with(clock::now);
        self.update(&pauses);
    }

    /// Ends a pause.
    pub(crate) fn resume(&self, reason: Reason) {
        let mut pauses = self.pauses();
        if pauses.lasting.remove(&reason).is_some() {
            pauses.recording_since = clock::now();
            self.update(&pauses);
        }
    }

    /// Returns since when it is as it is, and what keeps exchanges from being recorded; nothing where they are.
    pub(crate) fn state(&self) -> (Timestamp, Vec<Reason>) {
        let pauses = self.pauses();
        let since = pauses.lasting.values().min().copied().unwrap_or(pauses.recording_since);
        (since, pauses.lasting.keys().copied().collect())
    }

    fn update(&self, pauses: &Pauses) {
        let bypass = if pauses.lasting.contains_key(&Reason::Panic) {
            FAILED
        } else if pauses.lasting.contains_key(&Reason::RecordingOff) {
            SWITCHED_OFF
        } else {
            RECORD
        };
        self.bypass.store(bypass, Ordering::Relaxed);
        self.recording.set(pauses.lasting.is_empty().into());
    }

    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
