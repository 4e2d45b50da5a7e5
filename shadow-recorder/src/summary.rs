//! What a recorder did from start to stop, and what went wrong at the end.

use std::collections::BTreeMap;

use crate::capture::Capture;
use crate::upload::Uploaded;
use crate::writer::Outcome;

/// What a recorder did from start to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Exchanges received.
    pub observed: u64,
    /// Exchanges on disk or in the store.
    pub recorded: u64,
    /// Exchanges that the sampling left out.
    pub sampled_out: u64,
    /// Exchanges that passed unrecorded, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Exchanges in progress that the stop broke off, recorded or not.
    pub cut_off: u64,
    /// Segments committed to the store.
    pub segments_committed: u64,
    /// Spool files that could not be stored; the next start tries again.
    pub segments_left: u64,
    /// Whether the last segment carries the mark of a clean stop.
    pub sealed_last: bool,
    /// Whether it had to end at once, and left to the next start what was not stored.
    pub ended_at_once: bool,
}

impl Summary {
    /// Adds up what the parts say.
    pub(crate) fn of(capture: &Capture, outcome: Outcome, uploaded: Uploaded) -> Self {
        let dropped = outcome.dropped.into_iter().map(|(why, n)| (why.as_str().to_owned(), n));
        Self {
            observed: capture.account.observed(),
            recorded: outcome.recorded,
            sampled_out: outcome.sampled_out,
            dropped: dropped.collect(),
            cut_off: 0,
            segments_committed: uploaded.committed,
            segments_left: uploaded.left,
            sealed_last: outcome.sealed_last,
            ended_at_once: false,
        }
    }

    /// Returns whether everything recorded reached the store.
    pub fn is_clean(&self) -> bool {
        self.segments_left == 0 && self.sealed_last
    }

    /// Returns what went wrong. Where it had to end at once, what is recorded may as well wait in the spool.
    pub fn stopped_well(&self) -> Result<(), StopError> {
        match self.segments_left {
            _ if !self.sealed_last => Err(StopError::Unsealed),
            0 => Ok(()),
            _ if self.ended_at_once => Ok(()),
            left => Err(StopError::Left(left)),
        }
    }
}

/// What went wrong at a stop. No request failed of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// The disk did not take the last accounting.
    #[error(
        "the spool failed at the end: what was received last is lost, and the next start says so"
    )]
    Unsealed,
    /// The store did not take all segments.
    #[error("{0} segments are left in the spool: the next start stores them")]
    Left(u64),
}
