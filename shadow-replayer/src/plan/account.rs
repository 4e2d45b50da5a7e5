//! What the segments of a range say of the exchanges that passed, per stratum. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
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

/// Adds up what a start's segments say; an empty one can still have dropped.
pub(super) fn add(manifests: &[&Manifest], range: Range, evidence: &mut Evidence) {
    let mut before: Option<Timestamp> = None;
    for manifest in manifests {
        // While the disk fails no segment can be opened, and the next one that is tells what was lost since the one before.
        let since = before.replace(manifest.sealed_at).unwrap_or(manifest.opened_at);
        let is_near = since.min(manifest.opened_at) < range.to && manifest.sealed_at >= range.from;
        if is_near {
            evidence.calls.add(&manifest.calls);
        }
        for (stratum, tally) in &manifest.strata {
            // Exchanges of the range that took long lie in a segment that was opened after it, which tells nothing else of it.
            let recorded = tally.recorded;
            let late = Tally { observed: recorded, recorded, ..Tally::default() };
            let tally = match (is_near, range.touches(manifest)) {
                (true, _) => tally,
                (false, true) => &late,
                (false, false) => continue,
            };
            evidence.sampled_out += tally.sampled_out;
            for (reason, count) in tally.dropped.iter().filter(|(_, count)| **count > 0) {
                *evidence.dropped.entry(reason.clone()).or_default() += count;
            }
            let accounted = evidence.strata.entry(stratum.clone()).or_default();
            accounted.tally.add(tally);
            accounted.beyond += if range.holds(manifest) { 0 } else { recorded };
        }
    }
}
