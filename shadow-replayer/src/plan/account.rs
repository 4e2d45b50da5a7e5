//! What the segments of a range say of the exchanges that passed, per stratum. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shadow_recorder::census::Census;
use shadow_recorder::manifest::Manifest;
use shadow_recorder::segment::Tally;

use super::Range;
use crate::run::Evidence;

/// The exchanges of one stratum in the segments that touch the range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounted {
    /// Where they ended. Those of a segment that reaches beyond the range are all in it.
    pub tally: Tally,
    /// Those recorded in segments that reach beyond the range, of which not all need lie in it.
    pub beyond: u64,
}

/// The money of everything that passed while the segments that touch the range were recorded, whether or not it was recorded itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The censuses of the segments, added up.
    pub census: Census,
    /// Exchanges that passed and are in no census: dropped before they were read, or of a segment without one.
    pub uncounted: u64,
    /// Whether a segment reaches beyond the range, so that some of the money may lie outside of it.
    pub beyond: bool,
}

impl Counted {
    fn add(&mut self, manifest: &Manifest, range: Range, observed: u64) {
        let read = manifest.census.as_ref().map_or(0, |census| census.exchanges);
        self.uncounted += observed.saturating_sub(read);
        if let Some(census) = &manifest.census {
            self.census.add(census);
        }
        // What was not recorded may have been received at any time that the segment was open.
        let is_inside = range.contains(manifest.opened_at) && manifest.sealed_at <= range.to;
        self.beyond |= !(is_inside && range.holds(manifest));
    }
}

/// Adds up what a start's segments say; an empty one can still have dropped.
pub(super) fn add(manifests: &[&Manifest], range: Range, evidence: &mut Evidence) {
    let mut before: Option<Timestamp> = None;
    for manifest in manifests {
        // While the disk fails no segment can be opened, and the next one that is tells what was lost since the one before.
        let since = before.replace(manifest.sealed_at).unwrap_or(manifest.opened_at);
        let is_near = since.min(manifest.opened_at) < range.to && manifest.sealed_at >= range.from;
        if is_near {
            evidence.calls.add(&manifest.calls);
        } else if !range.touches(manifest) {
            continue;
        }
        let mut observed = 0;
        for (stratum, tally) in &manifest.strata {
            // Exchanges of the range that took long lie in a segment that was opened after it, which tells nothing else of it.
            let recorded = tally.recorded;
            let late = Tally { observed: recorded, recorded, ..Tally::default() };
            let tally = if is_near { tally } else { &late };
            observed += tally.observed;
            evidence.sampled_out += tally.sampled_out;
            for (reason, count) in tally.dropped.iter().filter(|(_, count)| **count > 0) {
                *evidence.dropped.entry(reason.clone()).or_default() += count;
            }
            let accounted = evidence.strata.entry(stratum.clone()).or_default();
            accounted.tally.add(tally);
            accounted.beyond += if range.holds(manifest) { 0 } else { recorded };
        }
        evidence.counted.add(manifest, range, observed);
    }
}
