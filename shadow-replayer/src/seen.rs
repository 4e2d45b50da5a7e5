//! The exchanges that were read before. The same exchange can lie in two segments after a crash of the recorder; it is replayed once.

use std::collections::{BTreeMap, HashMap};

use shadow_recorder::exchange::Exchange;
use shadow_recorder::manifest::SegmentKey;

use crate::run::FrozenSegment;

/// Which exchanges were read, as far as one of them can still come again: segments are read in the order of their first exchange, and
/// the same exchange was received at the same time in both. So memory holds about one segment's ids, whatever the range.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    received_us: HashMap<String, i64>,
    /// How many were read again since that was last asked, per stratum.
    repeated: BTreeMap<String, u64>,
}

impl Seen {
    /// Forgets what cannot lie in this segment, nor in one after it.
    pub(crate) fn begin(&mut self, frozen: &FrozenSegment) {
        match SegmentKey::parse(&frozen.key) {
            Some(key) => self.received_us.retain(|_, received_us| *received_us >= key.first_us),
            // Nothing lies twice in buckets.
            None => self.received_us.clear(),
        }
    }

    /// Returns whether an exchange was not read before.
    pub(crate) fn is_new(&mut self, exchange: &Exchange) -> bool {
        let received_us = exchange.received_at.as_microsecond();
        let is_new = self.received_us.insert(exchange.id.0.clone(), received_us).is_none();
        if !is_new {
            *self.repeated.entry(exchange.sample.stratum.clone()).or_default() += 1;
        }
        is_new
    }

    /// Takes how many were read again, per stratum.
    pub(crate) fn take_repeated(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.repeated)
    }
}
