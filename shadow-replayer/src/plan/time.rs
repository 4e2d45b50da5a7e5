//! Which recorder was there when, and what of its time is missing. Pure.
//!
//! A start of a recorder is there from its first segment until it stopped, or until something shows that it had ended. Of that time
//! its segments cover what they have sealed; the rest is a gap, with its two ends.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shadow_recorder::manifest::Manifest;

use super::Range;

/// One start of an instance, as far as it was there in the range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The sidecar's instance name.
    pub instance: String,
    /// The start.
    pub boot: String,
    /// The production build of its newest segment.
    pub build: String,
    /// Since when it was there; not before the range.
    pub from: Timestamp,
    /// Until when; not after the range.
    pub to: Timestamp,
    /// What its recordings do not cover of that time, in order.
    pub gaps: Vec<Gap>,
}

/// A stretch of the range of which a start's recording is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The sidecar's instance name.
    pub instance: String,
    /// The start.
    pub boot: String,
    /// The first instant that is missing.
    pub from: Timestamp,
    /// The instant after it.
    pub to: Timestamp,
    /// Why.
    pub cause: Cause,
}

/// Why a stretch is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The recorder ended without a clean stop: it may have received something until then.
    Crashed,
    /// The recorder has not sealed it yet.
    Unsealed,
    /// Segments are not in the store.
    Missing {
        /// The first one's sequence number.
        first: u64,
        /// The last one's.
        last: u64,
    },
}

impl Presence {
    /// Returns how long it was there.
    pub fn length(&self) -> SignedDuration {
        self.to.duration_since(self.from)
    }

    /// Returns how much of that is covered.
    pub fn covered(&self) -> SignedDuration {
        let missing = self.gaps.iter().map(Gap::length).sum::<SignedDuration>();
        self.length().saturating_sub(missing).max(SignedDuration::ZERO)
    }
}

impl Gap {
    /// Returns how long it is.
    pub fn length(&self) -> SignedDuration {
        self.to.duration_since(self.from)
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, boot, from, to, cause } = self;
        let (who, length) = (format!("instance {instance} (boot {boot})"), self.length());
        match cause {
            Cause::Crashed => write!(
                f,
                "{who} ended without a clean stop: what it received since {from} is lost, {length:#} of the range"
            ),
            Cause::Unsealed => write!(
                f,
                "{who} has sealed only what it received before {from}, and {length:#} of the range are left: wait until it has sealed, or end the range there"
            ),
            Cause::Missing { first, last } if first == last => write!(
                f,
                "segment {first} of {who} is missing from the store, from {from} to {to} ({length:#})"
            ),
            Cause::Missing { first, last } => write!(
                f,
                "segments {first} to {last} of {who} are missing from the store, from {from} to {to} ({length:#})"
            ),
        }
    }
}

/// The segments of every start, in order.
#[derive(Debug)]
pub(super) struct Boots<'m>(BTreeMap<(&'m str, &'m str), Vec<&'m Manifest>>);

impl<'m> Boots<'m> {
    pub(super) fn of(manifests: &'m [Manifest]) -> Self {
        let mut boots: BTreeMap<_, Vec<&Manifest>> = BTreeMap::new();
        for manifest in manifests {
            boots.entry((&*manifest.instance, &*manifest.boot)).or_default().push(manifest);
        }
        for manifests in boots.values_mut() {
            manifests.sort_by_key(|manifest| manifest.sequence);
        }
        Self(boots)
    }

    /// Returns each start's segments.
    pub(super) fn all(&self) -> impl Iterator<Item = &[&'m Manifest]> {
        self.0.values().map(Vec::as_slice)
    }

    /// Returns the instant by which a start had certainly ended: when the next one of its instance opened.
    pub(super) fn ended_by(&self, manifests: &[&Manifest]) -> Timestamp {
        let Some(last) = manifests.last() else { return Timestamp::MAX };
        let later = self.0.values().filter_map(|other| other.first()).filter(|first| {
            first.instance == last.instance
                && first.boot != last.boot
                && first.opened_at >= last.sealed_through
        });
        later.map(|first| first.opened_at).min().unwrap_or(Timestamp::MAX)
    }
}

/// Returns a start's part of the range, or `None` where it was not there; it had ended by `ended_by`.
pub(super) fn presence(
    manifests: &[&Manifest],
    range: Range,
    ended_by: Timestamp,
) -> Option<Presence> {
    let (first, last) = (manifests.first()?, manifests.last()?);
    let mut gaps = Vec::new();
    if recorded_in(first, last, range) {
        gaps.extend(holes(manifests, range));
    }
    let is_open = last.sealed_through < range.to && ended_by > range.from;
    // A crash loses what came since the last line on disk, however long the boot had been idle before.
    if last.torn && is_open {
        gaps.push(gap(last, range, (last.sealed_through, ended_by), Cause::Crashed));
    } else if recorded_in(first, last, range) && !last.last && is_open {
        gaps.push(gap(last, range, (last.sealed_through, ended_by), Cause::Unsealed));
    }
    // Of segments before the first that is listed nobody knows when they began.
    let began = if first.sequence > 1 { Timestamp::MIN } else { first.opened_at };
    let ended = if last.last && !last.torn { last.sealed_through } else { ended_by };
    let (from, to) = (began.max(range.from), ended.min(range.to));
    let known = gaps.iter().map(|gap| (gap.from, gap.to));
    let known = known.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let (from, to) = known.map_or((from, to), |(first, last)| (from.min(first), to.max(last)));
    (from < to || !gaps.is_empty()).then(|| Presence {
        instance: last.instance.clone(),
        boot: last.boot.clone(),
        build: last.build.clone(),
        from,
        to,
        gaps,
    })
}

/// Names a stretch, as far as it lies in the range.
fn gap(of: &Manifest, range: Range, (from, to): (Timestamp, Timestamp), cause: Cause) -> Gap {
    let from = from.clamp(range.from, range.to);
    let to = to.clamp(from, range.to);
    Gap { instance: of.instance.clone(), boot: of.boot.clone(), from, to, cause }
}

/// Names the segments that are missing between those that are there, where they could reach into the range: what is in them was
/// received after what is before them had been sealed, and before the next was opened.
fn holes(manifests: &[&Manifest], range: Range) -> Vec<Gap> {
    let mut before: Option<&Manifest> = None;
    let mut holes = Vec::new();
    for manifest in manifests {
        let (known, since) = match before.replace(manifest) {
            Some(before) => (before.sequence, before.sealed_through),
            // Segments before the first one listed matter only where they could still reach into the range.
            None if manifest.opened_at > range.from => (0, range.from),
            None => continue,
        };
        let is_near = since < range.to && manifest.opened_at >= range.from;
        if manifest.sequence.saturating_sub(known) > 1 && is_near {
            let cause = Cause::Missing { first: known + 1, last: manifest.sequence - 1 };
            holes.push(gap(manifest, range, (since, manifest.opened_at), cause));
        }
    }
    holes
}

pub(super) fn recorded_in(first: &Manifest, last: &Manifest, range: Range) -> bool {
    first.opened_at < range.to && (last.sealed_through > range.from || !last.last)
}

pub(super) fn is_unsealed(last: &Manifest, range: Range) -> bool {
    !last.last && last.sealed_through < range.to
}

#[cfg(test)]
mod tests;
