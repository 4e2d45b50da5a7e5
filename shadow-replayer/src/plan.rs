//! The plan of a run: which segments hold the range, and whether they are all there is.
//!
//! `examine` is pure: manifests in, evidence out. A range is covered when every boot that recorded in it has gapless segments
//! and has sealed through the range's end. What is not covered is a gap, named, and nothing with a gap certifies.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use shadow_recorder::catalog::READ_AT_ONCE;
use shadow_recorder::manifest::{MANIFEST_SUFFIX, Manifest, hour_prefix};
use shadow_recorder::store::{Store, StoreError};

use crate::run::{Evidence, FrozenSegment};

mod account;
pub mod time;

pub use account::{Accounted, Counted};
use time::{Boots, is_unsealed, recorded_in};

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

    /// Returns whether exchanges of a segment may lie in the range.
    fn touches(&self, manifest: &Manifest) -> bool {
        matches!((manifest.first_received_at, manifest.last_received_at),
            (Some(first), Some(last)) if first < self.to && last >= self.from)
    }

    /// Returns whether all exchanges of a segment lie in the range.
    fn holds(&self, manifest: &Manifest) -> bool {
        let ends = [manifest.first_received_at, manifest.last_received_at];
        ends.into_iter().flatten().all(|at| self.contains(at))
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
    let mut evidence = Evidence { gaps: found.unreadable.clone(), ..Evidence::default() };
    let mut newest: Option<(Timestamp, &str)> = None;
    for manifest in found.manifests.iter().filter(|manifest| range.touches(manifest)) {
        evidence.segments.push(FrozenSegment {
            key: manifest.segment.clone(),
            sha256: manifest.sha256.clone(),
            exchanges: manifest.exchanges,
        });
        let last = (manifest.last_received_at.unwrap_or(manifest.opened_at), &*manifest.build);
        newest = newest.max(Some(last));
    }
    evidence.primary_build = newest.map(|(_, build)| build.to_owned());
    let boots = Boots::of(&found.manifests);
    for manifests in boots.all() {
        account::add(manifests, range, &mut evidence);
        evidence.presence.extend(time::presence(manifests, range, boots.ended_by(manifests)));
    }
    let gaps = evidence.presence.iter().flat_map(|presence| &presence.gaps);
    evidence.gaps.extend(gaps.map(ToString::to_string));
    evidence
}

/// Returns whether waiting can close a gap: a boot that recorded in the range has not sealed it yet.
pub fn may_still_seal(found: &Found, range: Range) -> bool {
    Boots::of(&found.manifests).all().any(|manifests| {
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
    let boots = Boots::of(&found.manifests);
    let recording = boots.all().filter(|manifests| {
        manifests.last().is_some_and(|last| !last.last)
            && boots.ended_by(manifests) == Timestamp::MAX
    });
    let sealed = recording.filter_map(|manifests| manifests.last()).map(|last| last.sealed_through);
    let to = sealed.min().unwrap_or(now).min(now);
    let from = to.saturating_sub(length).map_err(|error| error.to_string())?;
    Range::new(from, to)
}

/// Returns how many compressed bytes were frozen.
pub(crate) fn bytes(found: &Found, evidence: &Evidence) -> u64 {
    let frozen: BTreeSet<&str> = evidence.segments.iter().map(|segment| &*segment.key).collect();
    let manifests = found.manifests.iter().filter(|m| frozen.contains(&*m.segment));
    manifests.map(|manifest| manifest.bytes).sum()
}

/// Splits the frozen segments into shards of at most `shard_segments_max`, in order; where there are buckets, each is a shard.
pub fn shards(evidence: &Evidence, shard_segments_max: usize) -> Vec<Vec<String>> {
    let keys_of = |parts: &Vec<FrozenSegment>| parts.iter().map(|part| part.key.clone()).collect();
    if !evidence.buckets.is_empty() {
        return evidence.buckets.iter().filter(|parts| !parts.is_empty()).map(keys_of).collect();
    }
    let keys: Vec<String> = evidence.segments.iter().map(|segment| segment.key.clone()).collect();
    keys.chunks(shard_segments_max.max(1)).map(<[String]>::to_vec).collect()
}

#[cfg(test)]
mod tests;
