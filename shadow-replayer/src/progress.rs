//! Tells a person on standard error how a run goes: plain lines, at most one a second.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Progress;

/// Prints progress; give [`Printer::print`] to [`crate::run`].
#[derive(Debug, Default)]
pub struct Printer {
    last: Mutex<Option<Instant>>,
    total: Mutex<u64>,
}

impl Printer {
    /// Prints one message, unless one of its kind was printed within the last second.
    pub fn print(&self, progress: &Progress) {
        let text = match progress {
            Progress::Planned { run, segments, exchanges } => {
                *self.total.lock().unwrap_or_else(PoisonError::into_inner) = *exchanges;
                format!("run {run}: {exchanges} exchanges in {segments} segments")
            }
            Progress::WaitingForInstances(_) | Progress::Replayed(_) if !self.is_due() => return,
            Progress::WaitingForInstances(gaps) => {
                format!("waiting until the range is sealed: {}", gaps.join("; "))
            }
            Progress::Replayed(tally) => {
                let total = *self.total.lock().unwrap_or_else(PoisonError::into_inner);
                format!(
                    "replayed {} of {total}: {} matched, {} different, {} errored, {} unverified",
                    tally.matched
                        + tally.different
                        + tally.errored
                        + tally.unverified
                        + tally.filtered,
                    tally.matched,
                    tally.different,
                    tally.errored,
                    tally.unverified
                )
            }
        };
        // Progress that nobody can read is not worth failing for.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    fn is_due(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = last.is_none_or(|last| now - last >= Duration::from_secs(1));
        if due {
            *last = Some(now);
        }
        due
    }
}
