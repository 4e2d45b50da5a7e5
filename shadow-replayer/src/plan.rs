//! The plan of a run: which segments hold the range, and whether they are all there is.
//!
//! `examine` is pure: manifests in, evidence out. A range is covered when every boot that recorded in it has gapless segments
//! and has sealed through the range's end. What is not covered is a gap, named, and nothing with a gap certifies.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use shadow_recorder::manifest::{FORMAT, MANIFEST_SUFFIX, Manifest, hour_prefix};
use shadow_recorder::segment::{Calls, VERSION};
use shadow_recorder::store::{Store, StoreError};

use crate::run::{Evidence, FrozenSegment};

/// A half-open range of time, in UTC, on `received_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first instant.
    pub from: Timestamp,
    /// The instant after the last.
    pub to: Timestamp,
}

impl Range {
    /// Returns whether an instant lies in the range.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }
}

/// What the store holds around a range.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The manifests, by key.
    pub manifests: Vec<Manifest>,
    /// Manifests that cannot be read, with the reason.
    pub unreadable: Vec<String>,
}

/// Lists the manifests of the hours around a range, from `lookback` before it to an hour after it.
pub async fn find(
    store: &Store,
    service: &str,
    range: Range,
    lookback: SignedDuration,
) -> Result<Found, StoreError> {
    let hour = SignedDuration::from_hours(1);
    let mut found = Found::default();
    let mut at = range.from.saturating_sub(lookback).unwrap_or(Timestamp::MIN);
    let mut end = range.to.saturating_add(hour).unwrap_or(Timestamp::MAX);
    // Hours are listed by their folder, so both ends are brought to the folder's own.
    at = floor_to_hour(at);
    end = floor_to_hour(end);
    while at <= end {
        for key in store.list(&hour_prefix(service, at.as_microsecond())).await? {
            if !key.ends_with(MANIFEST_SUFFIX) {
                continue;
            }
            match serde_json::from_slice::<Manifest>(&store.get(&key).await?) {
                Ok(manifest) if manifest.format == FORMAT && manifest.version <= VERSION => {
                    found.manifests.push(manifest);
                }
                Ok(manifest) => found
                    .unreadable
                    .push(format!("{key} is of format {} {}", manifest.format, manifest.version)),
                Err(error) => found.unreadable.push(format!("{key} cannot be read: {error}")),
            }
        }
        at += hour;
    }
    found.manifests.sort_by(|a, b| a.segment.cmp(&b.segment));
    Ok(found)
}

fn floor_to_hour(at: Timestamp) -> Timestamp {
    const HOUR_US: i64 = 3_600_000_000;
    let us = at.as_microsecond();
    Timestamp::from_microsecond(us - us.rem_euclid(HOUR_US)).unwrap_or(at)
}

/// Returns what the manifests prove about the range.
pub fn examine(found: &Found, range: Range) -> Evidence {
    let overlapping = |manifest: &&Manifest| {
        matches!((manifest.first_received_at, manifest.last_received_at),
            (Some(first), Some(last)) if first < range.to && last >= range.from)
    };
    let mut evidence = Evidence { gaps: found.unreadable.clone(), ..Evidence::default() };
    let mut newest: Option<(Timestamp, &str)> = None;
    for manifest in found.manifests.iter().filter(overlapping) {
        evidence.segments.push(FrozenSegment {
            key: manifest.segment.clone(),
            sha256: manifest.sha256.clone(),
            exchanges: manifest.exchanges,
        });
        let last = (manifest.last_received_at.unwrap_or(manifest.opened_at), &*manifest.build);
        newest = newest.max(Some(last));
    }
    evidence.primary_build = newest.map(|(_, build)| build.to_owned());
    account(found, range, &mut evidence);
    for (boot, manifests) in boots(found) {
        evidence.gaps.extend(gaps(&boot, &manifests, range));
    }
    evidence
}

/// Adds up what the segments that touch the range say of losses; an empty segment can still have dropped.
fn account(found: &Found, range: Range, evidence: &mut Evidence) {
    let mut calls = Calls::default();
    for manifest in
        found.manifests.iter().filter(|m| m.opened_at < range.to && m.sealed_at >= range.from)
    {
        for tally in manifest.strata.values() {
            evidence.sampled_out += tally.sampled_out;
            for (reason, count) in tally.dropped.iter().filter(|(_, count)| **count > 0) {
                *evidence.dropped.entry(reason.clone()).or_default() += count;
            }
        }
        calls.add(&manifest.calls);
    }
    evidence.calls = calls;
}

fn boots(found: &Found) -> BTreeMap<String, Vec<&Manifest>> {
    let mut boots: BTreeMap<String, Vec<&Manifest>> = BTreeMap::new();
    for manifest in &found.manifests {
        boots
            .entry(format!("instance {} (boot {})", manifest.instance, manifest.boot))
            .or_default()
            .push(manifest);
    }
    for manifests in boots.values_mut() {
        manifests.sort_by_key(|manifest| manifest.sequence);
    }
    boots
}

/// Returns why one boot's segments do not cover its part of the range.
fn gaps(boot: &str, manifests: &[&Manifest], range: Range) -> Vec<String> {
    let (Some(first), Some(last)) = (manifests.first(), manifests.last()) else {
        return Vec::new();
    };
    if !recorded_in(first, last, range) {
        return Vec::new();
    }
    let mut gaps = Vec::new();
    let present: BTreeSet<u64> = manifests.iter().map(|manifest| manifest.sequence).collect();
    // Segments before the first one listed matter only where they could still reach into the range.
    let from = if first.opened_at > range.from { 1 } else { first.sequence };
    for missing in (from..last.sequence).filter(|sequence| !present.contains(sequence)) {
        gaps.push(format!("segment {missing} of {boot} is missing from the store"));
    }
    if let Some(torn) = manifests
        .iter()
        .find(|m| m.torn && m.sealed_through < range.to && m.sealed_at >= range.from)
    {
        gaps.push(format!(
            "{boot} ended without a clean stop: what it received since {} is lost",
            torn.sealed_through
        ));
    } else if is_unsealed(last, range) {
        gaps.push(format!(
            "{boot} has sealed only what it received before {}: wait until it has sealed, or end the range there",
            last.sealed_through
        ));
    }
    gaps
}

fn recorded_in(first: &Manifest, last: &Manifest, range: Range) -> bool {
    first.opened_at < range.to && (last.sealed_through > range.from || !last.last)
}

fn is_unsealed(last: &Manifest, range: Range) -> bool {
    !last.last && last.sealed_through < range.to
}

/// Returns whether waiting can close a gap: a boot that recorded in the range has not sealed it yet.
pub fn may_still_seal(found: &Found, range: Range) -> bool {
    boots(found).values().any(|manifests| {
        manifests.first().zip(manifests.last()).is_some_and(|(first, last)| {
            recorded_in(first, last, range) && is_unsealed(last, range)
        })
    })
}

/// Splits the frozen segments into shards of at most `shard_segments_max`, in order.
pub fn shards(evidence: &Evidence, shard_segments_max: usize) -> Vec<Vec<String>> {
    let keys: Vec<String> = evidence.segments.iter().map(|segment| segment.key.clone()).collect();
    keys.chunks(shard_segments_max.max(1)).map(<[String]>::to_vec).collect()
}

#[cfg(test)]
mod tests;
