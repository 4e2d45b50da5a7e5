//! The plan of a run: which segments hold the range, and whether they are all there is.
//!
//! `examine` is pure: manifests in, evidence out. A range is covered when every boot that recorded in it has gapless segments
//! and has sealed through the range's end. What is not covered is a gap, named, and nothing with a gap certifies.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use shadow_recorder::catalog::READ_AT_ONCE;
use shadow_recorder::manifest::{MANIFEST_SUFFIX, Manifest, hour_prefix};
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
    /// Returns the range, or a sentence where it is empty or reversed.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self, String> {
        if from < to {
            return Ok(Self { from, to });
        }
        Err(format!("the range is empty: --from {from} is not before --to {to}"))
    }

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
    now: Timestamp,
) -> Result<Found, StoreError> {
    let hour = SignedDuration::from_hours(1);
    let mut found = Found::default();
    // Hours are listed by their folder, so both ends are brought to the folder's own. Nothing is recorded in the future.
    let mut at = floor_to_hour(range.from.saturating_sub(lookback).unwrap_or(Timestamp::MIN));
    let end = floor_to_hour(range.to.min(now).saturating_add(hour).unwrap_or(Timestamp::MAX));
    while at <= end {
        let mut keys = store.list(&hour_prefix(service, at.as_microsecond())).await?;
        keys.retain(|key| key.ends_with(MANIFEST_SUFFIX));
        let read = stream::iter(keys).map(async |key| (store.get(&key).await, key));
        let mut read = read.buffered(READ_AT_ONCE);
        while let Some((bytes, key)) = read.next().await {
            match Manifest::parse(&bytes?) {
                Ok(manifest) => found.manifests.push(manifest),
                Err(what) => found.unreadable.push(format!("{key} cannot be read: {what}")),
            }
        }
        let Ok(next) = at.checked_add(hour) else { break };
        at = next;
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
    let boots = boots(found);
    for (boot, manifests) in &boots {
        account(manifests, range, &mut evidence);
        evidence.gaps.extend(gaps(boot, manifests, range, ended_by(manifests, &boots)));
    }
    evidence
}

/// Adds up what a boot's segments that touch the range say of losses; an empty segment can still have dropped.
fn account(manifests: &[&Manifest], range: Range, evidence: &mut Evidence) {
    let mut before: Option<Timestamp> = None;
    for manifest in manifests {
        // While the disk fails no segment can be opened, and the next one that is tells what was lost since the one before.
        let since = before.replace(manifest.sealed_at).unwrap_or(manifest.opened_at);
        if since.min(manifest.opened_at) >= range.to || manifest.sealed_at < range.from {
            continue;
        }
        for tally in manifest.strata.values() {
            evidence.sampled_out += tally.sampled_out;
            for (reason, count) in tally.dropped.iter().filter(|(_, count)| **count > 0) {
                *evidence.dropped.entry(reason.clone()).or_default() += count;
            }
        }
        evidence.calls.add(&manifest.calls);
    }
}

/// Returns the instant by which a boot had certainly ended: when the next boot of its instance opened.
fn ended_by(manifests: &[&Manifest], boots: &BTreeMap<String, Vec<&Manifest>>) -> Timestamp {
    let Some(last) = manifests.last() else { return Timestamp::MAX };
    let later = boots.values().filter_map(|other| other.first()).filter(|first| {
        first.instance == last.instance
            && first.boot != last.boot
            && first.opened_at >= last.sealed_through
    });
    later.map(|first| first.opened_at).min().unwrap_or(Timestamp::MAX)
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

/// Returns why one boot's segments do not cover its part of the range; the boot had ended by `ended_by`.
fn gaps(boot: &str, manifests: &[&Manifest], range: Range, ended_by: Timestamp) -> Vec<String> {
    let (Some(first), Some(last)) = (manifests.first(), manifests.last()) else {
        return Vec::new();
    };
    let mut gaps = Vec::new();
    // A crash loses what came since the last line on disk, however long the boot had been idle before.
    if last.torn && last.sealed_through < range.to && ended_by > range.from {
        gaps.push(format!(
            "{boot} ended without a clean stop: what it received since {} is lost",
            last.sealed_through
        ));
    } else if recorded_in(first, last, range) && is_unsealed(last, range) {
        gaps.push(format!(
            "{boot} has sealed only what it received before {}: wait until it has sealed, or end the range there",
            last.sealed_through
        ));
    }
    if recorded_in(first, last, range) {
        gaps.extend(holes(boot, manifests, range));
    }
    gaps
}

/// Names the segments that are missing between those that are there.
fn holes(boot: &str, manifests: &[&Manifest], range: Range) -> Vec<String> {
    // Segments before the first one listed matter only where they could still reach into the range.
    let known = |first: &&Manifest| {
        if first.opened_at > range.from { 0 } else { first.sequence.saturating_sub(1) }
    };
    let mut before = manifests.first().map_or(0, known);
    let mut holes = Vec::new();
    for manifest in manifests {
        match manifest.sequence.saturating_sub(before) {
            0 | 1 => {}
            2 => holes.push(format!("segment {} of {boot} is missing from the store", before + 1)),
            _ => holes.push(format!(
                "segments {} to {} of {boot} are missing from the store",
                before + 1,
                manifest.sequence - 1
            )),
        }
        before = manifest.sequence;
    }
    holes
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

/// Returns the range of a length that ends at the watermark: the instant up to which every instance that still records has sealed. An
/// instance that ended has sealed all that it will. The error says why there is no such range.
pub fn latest(found: &Found, length: SignedDuration, now: Timestamp) -> Result<Range, String> {
    if found.manifests.is_empty() {
        return Err(format!(
            "nothing was recorded in the {length:#} before {now}: check [service] name and [store]"
        ));
    }
    let boots = boots(found);
    let recording = boots.values().filter(|manifests| {
        manifests.last().is_some_and(|last| !last.last)
            && ended_by(manifests, &boots) == Timestamp::MAX
    });
    let sealed = recording.filter_map(|manifests| manifests.last()).map(|last| last.sealed_through);
    let to = sealed.min().unwrap_or(now).min(now);
    let from = to.saturating_sub(length).map_err(|error| error.to_string())?;
    Range::new(from, to)
}

/// How large a shard may be: what a worker that dies has to do again, and what it keeps of it in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardSize {
    /// Segments.
    pub segments: usize,
    /// Exchanges.
    pub exchanges: u64,
}

/// Returns how many compressed bytes were frozen.
pub(crate) fn bytes(found: &Found, evidence: &Evidence) -> u64 {
    let frozen: BTreeSet<&str> = evidence.segments.iter().map(|segment| &*segment.key).collect();
    let manifests = found.manifests.iter().filter(|m| frozen.contains(&*m.segment));
    manifests.map(|manifest| manifest.bytes).sum()
}

/// Splits the frozen segments into shards, in order: none has more segments than the most, nor more exchanges unless one segment alone
/// has. Where there are buckets, each is a shard.
pub fn shards(evidence: &Evidence, most: ShardSize) -> Vec<Vec<String>> {
    let keys_of = |parts: &Vec<FrozenSegment>| parts.iter().map(|part| part.key.clone()).collect();
    if !evidence.buckets.is_empty() {
        return evidence.buckets.iter().filter(|parts| !parts.is_empty()).map(keys_of).collect();
    }
    let mut shards: Vec<Vec<String>> = Vec::new();
    let mut exchanges = 0;
    for segment in &evidence.segments {
        exchanges += segment.exchanges;
        match shards.last_mut() {
            Some(shard) if shard.len() < most.segments && exchanges <= most.exchanges => {
                shard.push(segment.key.clone());
            }
            _ => {
                shards.push(vec![segment.key.clone()]);
                exchanges = segment.exchanges;
            }
        }
    }
    shards
}

#[cfg(test)]
mod tests;
