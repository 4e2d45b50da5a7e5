//! `lease` and `database_patience` of `[replay]`: what a run outlives.

use std::time::Duration;

use shadow_recorder::config::Table;

use crate::store::PATIENCE;

/// What a run outlives, and how long that takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// How long a worker may show no sign of life before another takes its shard over.
    pub lease: Duration,
    /// How long a worker waits for a database that is away.
    pub database_patience: Duration,
}

/// Takes both from `[replay]`.
pub(super) fn take(replay: &mut Table<'_, '_>) -> Durable {
    let lease = replay.duration("lease").unwrap_or(Duration::from_secs(15));
    if lease.is_zero() {
        replay.mistake(
            "`lease` is zero: every worker would take every shard over, write at least 100ms",
        );
    }
    let database_patience = replay.duration("database_patience").unwrap_or(PATIENCE);
    Durable { lease, database_patience }
}
