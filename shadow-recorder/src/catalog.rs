//! The catalog of a service's captures: which segments and manifests lie in the store, found by listing.

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use crate::manifest::{Manifest, SegmentKey, hour_prefix};
use crate::store::{Store, StoreError};

/// A segment lies in the hour of its first exchange; no segment spans more than this, whatever `segment_span_max` says.
const LOOKBACK: SignedDuration = SignedDuration::from_hours(24);
/// Manifests that are read at once: a bucket answers each after some milliseconds.
pub const READ_AT_ONCE: usize = 16;

/// A time range, half-open; an end that is absent is open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Range {
    /// The first instant.
    pub from: Option<Timestamp>,
    /// The instant after the last.
    pub to: Option<Timestamp>,
}

impl Range {
    /// Returns whether something from one instant to another, both included, touches the range.
    pub fn touches(&self, first: Timestamp, last: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= last) && self.to.is_none_or(|to| first < to)
    }

    /// Returns whether an instant lies in the range.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.touches(at, at)
    }
}

/// What lies in the store under the names of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The names.
    pub key: SegmentKey,
    /// Whether the manifest is there. Without it the segment does not exist.
    pub has_manifest: bool,
    /// Whether the segment is there.
    pub has_segment: bool,
}

/// A manifest, or why it cannot be read.
pub type Read = Result<Manifest, Unreadable>;

/// A manifest that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the manifest {key} cannot be read: {what}")]
pub struct Unreadable {
    /// Its key.
    pub key: String,
    /// Why.
    pub what: String,
}

/// Returns the folders of the hours that may hold something of the range, in order.
pub async fn hours(store: &Store, service: &str, range: Range) -> Result<Vec<String>, StoreError> {
    let hour = |at: Timestamp| hour_prefix(service, at.as_microsecond());
    let first =
        range.from.map(|from| hour(from.saturating_sub(LOOKBACK).unwrap_or(Timestamp::MIN)));
    let last = range.to.map(hour);
    // Of one length at each level, so that a folder is compared with the beginning of an hour's.
    let is_near = |folder: &String| {
        let begins = |hour: &String| hour.get(..folder.len()).unwrap_or(hour).to_owned();
        first.as_ref().is_none_or(|first| *folder >= begins(first))
            && last.as_ref().is_none_or(|last| *folder <= begins(last))
    };
    let mut folders = vec![format!("captures/{service}/")];
    for _ in ["year", "month", "day", "hour"] {
        let mut below = Vec::new();
        for folder in &folders {
            below.extend(store.folders(folder).await?.into_iter().filter(is_near));
        }
        folders = below;
    }
    Ok(folders)
}

/// Returns what lies in the folder of an hour, in order.
pub async fn entries(store: &Store, hour: &str) -> Result<Vec<Entry>, StoreError> {
    let mut entries: Vec<Entry> = Vec::new();
    // In key order, so that a manifest and its segment follow each other.
    for name in store.list(hour).await? {
        let Some(key) = SegmentKey::parse(&name) else { continue };
        if entries.last().is_none_or(|last| last.key != key) {
            entries.push(Entry { key, has_manifest: false, has_segment: false });
        }
        if let Some(entry) = entries.last_mut() {
            entry.has_manifest |= name == entry.key.manifest();
            entry.has_segment |= name == entry.key.segment();
        }
    }
    Ok(entries)
}

/// Reads a manifest.
pub async fn manifest(store: &Store, key: &SegmentKey) -> Result<Read, StoreError> {
    let key = key.manifest();
    let bytes = store.get(&key).await?;
    Ok(Manifest::parse(&bytes).map_err(|what| Unreadable { key, what }))
}

/// Reads the manifests whose segments have exchanges in the range, and those of empty segments in it, in order.
pub async fn manifests(
    store: &Store,
    service: &str,
    range: Range,
) -> Result<Vec<Read>, StoreError> {
    let mut found = Vec::new();
    for hour in hours(store, service, range).await? {
        let entries = entries(store, &hour).await?.into_iter();
        let keys = entries.filter(|entry| entry.has_manifest).map(|entry| entry.key);
        let keys = keys.filter(|key| touches(key, range));
        let mut read =
            stream::iter(keys).map(async |key| manifest(store, &key).await).buffered(READ_AT_ONCE);
        while let Some(manifest) = read.next().await {
            match manifest {
                // It expired meanwhile.
                Err(error) if error.is_missing() => {}
                manifest => found.push(manifest?),
            }
        }
    }
    Ok(found)
}

fn touches(key: &SegmentKey, range: Range) -> bool {
    let at = |us| Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH);
    range.touches(at(key.first_us), at(key.last_us))
}
