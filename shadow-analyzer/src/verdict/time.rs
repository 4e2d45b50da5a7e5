//! What a verdict tells of the recorders: which was there when, and what of their time is missing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Starts of recorders, gaps and unrecorded stretches that a verdict lists of each.
pub const STRETCHES_MAX: usize = 100;

/// How much of the recorders' time in the range is covered by what they recorded. Seconds are decimal text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeCoverage {
    /// Instances that were there at some time of the range.
    pub instances: u64,
    /// Their time, added up: one instance over an hour is 3,600 seconds, two are 7,200.
    pub instance_seconds: String,
    /// The part of it that recordings cover.
    pub covered_seconds: String,
    /// The covered part of 1, rounded down; absent where no recorder was there.
    pub share: Option<String>,
    /// What is not covered, longest first; at most [`STRETCHES_MAX`].
    pub gaps: Vec<TimeGap>,
    /// Gaps that are not in `gaps`.
    pub gaps_left_out: u64,
    /// Stretches of the range in which no known recorder was there at all, in order; at most [`STRETCHES_MAX`]. Whether production
    /// served traffic then is not known here; it is shown and never judged.
    pub unrecorded: Vec<Stretch>,
    /// Stretches that are not in `unrecorded`.
    pub unrecorded_left_out: u64,
    /// Every start of an instance, those with the longest gaps first; at most [`STRETCHES_MAX`].
    pub starts: Vec<Start>,
    /// Starts that are not in `starts`.
    pub starts_left_out: u64,
}

/// One start of an instance in the range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The sidecar's instance name.
    pub instance: String,
    /// Names the start.
    pub boot: String,
    /// The production build of its newest segment.
    pub build: String,
    /// Since when it was there, and until when, within the range.
    pub time: Stretch,
    /// How much of it is covered.
    pub covered_seconds: String,
}

/// A gap in what an instance recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeGap {
    /// The sidecar's instance name.
    pub instance: String,
    /// Which start of it.
    pub boot: String,
    /// `crashed`, `unsealed` or `missing`.
    pub cause: String,
    /// The gap in words.
    pub text: String,
    /// When.
    pub time: Stretch,
}

/// A stretch of time, half-open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The first instant.
    pub from: Timestamp,
    /// The instant after the last.
    pub to: Timestamp,
    /// Its length.
    pub seconds: String,
}
