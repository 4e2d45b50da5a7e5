//! A run: one replay of a time range against one candidate build, and its states.
//!
//! ```text
//!            start             finish
//! planned ─────────► replaying ────────► finished
//!    │                 ▲ │ │
//!    │           start └─┘ │                          (each further worker)
//!    ├─────────────────────┼── fail ───► failed       (nothing certifies a failed run,
//!    └─────────────────────┴─ cancel ──► cancelled     and nothing a cancelled one)
//! ```
//!
//! A run that is replaying and has no worker is paused: it goes on when one comes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shadow_recorder::segment::Calls;

use crate::config::order::Order;
use crate::filter::Selection;
use crate::isolation::Isolation;
use crate::journal::Outcome;
use crate::misses::Misses;
use crate::pace::Pace;
use crate::plan::time::Presence;
use crate::plan::{Accounted, Counted, Range};
use crate::supplied::Files;

/// Names a run and everything derived from it: a `UUIDv7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// Takes a fresh id.
    pub fn new(id: uuid::Uuid) -> Self {
        Self(id.to_string())
    }

    /// Makes a fresh id.
    #[expect(clippy::disallowed_methods, reason = "a run is named once, when it is planned")]
    pub fn fresh() -> Self {
        Self::new(uuid::Uuid::now_v7())
    }

    /// Returns the id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = String;

    // A RunID becomes part of keys and paths, so only a UUID is one.
    fn from_str(text: &str) -> Result<Self, String> {
        uuid::Uuid::try_parse(text)
            .map(Self::new)
            .map_err(|_| format!("`{text}` is not a RunID: it is printed by `shadow-replayer run`"))
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its segments are frozen.
    Planned,
    /// Its shards are being replayed.
    Replaying,
    /// Every shard is finished and published.
    Finished,
    /// It could not be done; the reason is kept.
    Failed,
    /// Somebody gave it up.
    Cancelled,
}

/// What happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker begins.
    Start,
    /// The last shard is published.
    Finish,
    /// The run cannot go on.
    Fail,
    /// Somebody gives it up.
    Cancel,
}

/// An event that the state does not allow.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {state:?} cannot {event:?}")]
pub struct Illegal {
    state: State,
    event: Event,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Planned, Self::Replaying, Self::Finished, Self::Failed, Self::Cancelled];

    /// Returns whether the run has come to an end.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }

    /// Returns the state after an event.
    pub fn next(self, event: Event) -> Result<Self, Illegal> {
        match (self, event) {
            (Self::Planned | Self::Replaying, Event::Start) => Ok(Self::Replaying),
            (Self::Replaying, Event::Finish) => Ok(Self::Finished),
            (Self::Planned | Self::Replaying, Event::Fail) => Ok(Self::Failed),
            (Self::Planned | Self::Replaying, Event::Cancel) => Ok(Self::Cancelled),
            (state, event) => Err(Illegal { state, event }),
        }
    }

    /// Returns the word in the store.
    pub fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Replaying => "replaying",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A run as the store holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Names it.
    pub id: RunId,
    /// The service.
    pub service: String,
    /// The candidate's build.
    pub candidate_build: String,
    /// Where the candidate answered.
    pub candidate_url: String,
    /// The range's first instant.
    pub from: Timestamp,
    /// The instant after the range.
    pub to: Timestamp,
    /// Where it stands.
    pub state: State,
    /// Why it failed or was cancelled.
    pub failure: Option<String>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// When it came to its end.
    pub finished_at: Option<Timestamp>,
    /// What the plan froze and found.
    pub evidence: Evidence,
    /// What was asked beside range and candidate.
    pub settings: Settings,
}

impl Run {
    /// Returns its time range.
    pub fn range(&self) -> Range {
        Range { from: self.from, to: self.to }
    }
}

/// What was asked of a run beside its range and candidate. It is kept with the run and binds every worker of it, whatever their own
/// configuration says. A document that names what this version does not know is refused: it would replay something else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Replay only the exchanges with these ids; the others are filtered. Empty: all.
    pub only: BTreeSet<String>,
    /// Which of the range's exchanges are replayed.
    pub selection: Selection,
    /// In which order; when a run is planned the configured one takes the place of none.
    pub order: Option<Order>,
    /// The candidate calls upstreams of its own, of which nothing is seen: there is no stub.
    pub own_upstreams: bool,
    /// Where production's own build listens, to be replayed beside the candidate.
    pub control: Option<String>,
    /// Whether each exchange is sent to the candidate twice.
    pub twice: bool,
    /// How fast exchanges are sent; when a run is planned the configured pace takes the place of none.
    pub pace: Option<Pace>,
}

impl Settings {
    /// Returns how fast exchanges are sent.
    pub fn pace(&self) -> Pace {
        self.pace.unwrap_or_default()
    }
}

/// What the plan froze and found in the range.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The frozen segments, in the order in which they are replayed.
    pub segments: Vec<FrozenSegment>,
    /// Where exchanges follow each other by order key: the parts of each bucket, replayed instead of the segments.
    #[serde(default)]
    pub buckets: Vec<Vec<FrozenSegment>>,
    /// The production build that the candidate is compared with; other builds' exchanges are filtered.
    pub primary_build: Option<String>,
    /// Exchanges lost in production while recording the frozen segments, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Exchanges that the sampling left out of the frozen segments.
    pub sampled_out: u64,
    /// Upstream calls of the frozen segments.
    pub calls: Calls,
    /// The keys of the segments whose ambient calls may answer in the range.
    #[serde(default)]
    pub ambient: Vec<String>,
    /// The files that were brought instead of a replay; absent where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplied: Option<Files>,
    /// Why the range is not wholly covered: instances that had not sealed it, missing or damaged segments. Empty: covered.
    pub gaps: Vec<String>,
    /// What the segments say of the exchanges that passed, per stratum; empty in runs of older versions.
    #[serde(default)]
    pub strata: BTreeMap<String, Accounted>,
    /// The money of everything that passed, recorded or not, as far as there is a census.
    #[serde(default)]
    pub counted: Box<Counted>,
    /// Which recorder was there when, and what of its time is missing; empty in runs of older versions.
    #[serde(default)]
    pub presence: Vec<Presence>,
}

impl Evidence {
    /// Returns what is frozen under these keys: segments or parts of buckets.
    pub(crate) fn frozen(&self, keys: &[String]) -> Vec<FrozenSegment> {
        let keys: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
        let all = self.segments.iter().chain(self.buckets.iter().flatten());
        all.filter(|frozen| keys.contains(&*frozen.key)).cloned().collect()
    }
}

/// A segment of a run. Its digest is verified when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenSegment {
    /// Its key.
    pub key: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Exchanges in it, inside the range or not.
    pub exchanges: u64,
}

/// Doubts of one shard that are told apart.
const DOUBTS_MAX: usize = 100;

/// What an attempt at a shard counted. `recorded` is counted when an exchange is read, the others when it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Exchanges read from the shard's segments within the range.
    pub recorded: u64,
    /// Both sides booked the same.
    pub matched: u64,
    /// They booked differently.
    pub different: u64,
    /// Left out by a filter.
    pub filtered: u64,
    /// The candidate failed where production succeeded.
    pub errored: u64,
    /// Could not be compared.
    pub unverified: u64,
    /// Sent later than the pace asked for, because too many were in flight.
    #[serde(default)]
    pub late: u64,
    /// Times that the candidate refused an exchange (429, 503) and was asked again later.
    #[serde(default)]
    pub backoffs: u64,
    /// Exchanges that lay twice in the segments and were replayed once, per stratum. They are in no other count.
    #[serde(default)]
    pub repeated: BTreeMap<String, u64>,
    /// Events that only production's supplied files have.
    #[serde(default)]
    pub only_primary: u64,
    /// Events that only the candidate's supplied files have.
    #[serde(default)]
    pub only_shadow: u64,
    /// Why segments of the shard are not wholly evidence. Empty: all of it was read.
    pub losses: Vec<String>,
    /// Why what was compared does not carry a judgement, such as a claim that a test did not bear out. Empty: nothing is in doubt.
    #[serde(default)]
    pub doubts: BTreeSet<String>,
    /// Which differences made upstream calls miss.
    #[serde(default)]
    pub misses: Misses,
    /// Whether the candidate could reach anything else, as each worker found it; see [`Isolation::of_run`].
    #[serde(default)]
    pub isolation: BTreeSet<Isolation>,
}

impl Tally {
    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Self) {
        self.recorded += other.recorded;
        self.matched += other.matched;
        self.different += other.different;
        self.filtered += other.filtered;
        self.errored += other.errored;
        self.unverified += other.unverified;
        self.late += other.late;
        self.backoffs += other.backoffs;
        for (stratum, repeated) in &other.repeated {
            *self.repeated.entry(stratum.clone()).or_default() += repeated;
        }
        self.only_primary += other.only_primary;
        self.only_shadow += other.only_shadow;
        self.losses.extend(other.losses.iter().cloned());
        self.doubts.extend(other.doubts.iter().cloned());
        self.isolation.extend(other.isolation.iter().cloned());
        self.misses.add(&other.misses);
    }

    /// Returns how many exchanges are done.
    pub fn done(&self) -> u64 {
        self.matched + self.different + self.filtered + self.errored + self.unverified
    }

    /// Adds doubts; beyond [`DOUBTS_MAX`] they are one.
    pub fn doubt(&mut self, doubts: BTreeSet<String>) {
        for doubt in doubts {
            let is_full = self.doubts.len() >= DOUBTS_MAX && !self.doubts.contains(&doubt);
            self.doubts.insert(if is_full {
                "there are further doubts of this kind".into()
            } else {
                doubt
            });
        }
    }

    /// Counts an exchange that is done.
    pub fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Matched => &mut self.matched,
            Outcome::Different => &mut self.different,
            Outcome::Filtered => &mut self.filtered,
            Outcome::Errored => &mut self.errored,
            Outcome::Unverified => &mut self.unverified,
        } += 1;
    }

    /// Returns whether every recorded exchange ended in exactly one outcome.
    pub fn is_complete(&self) -> bool {
        self.recorded == self.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_once() {
        assert_eq!(State::Planned.next(Event::Start), Ok(State::Replaying));
        assert_eq!(State::Replaying.next(Event::Finish), Ok(State::Finished));
        assert_eq!(State::Planned.next(Event::Fail), Ok(State::Failed));
        assert!(State::Planned.next(Event::Finish).is_err());
        assert_eq!(State::Replaying.next(Event::Start), Ok(State::Replaying), "a further worker");
        assert_eq!(State::Replaying.next(Event::Cancel), Ok(State::Cancelled));
        for ended in State::ALL.into_iter().filter(|state| state.is_over()) {
            for event in [Event::Start, Event::Finish, Event::Fail, Event::Cancel] {
                assert!(ended.next(event).is_err());
            }
        }
    }

    #[test]
    fn a_run_id_is_a_uuid() {
        assert!("../../etc".parse::<RunId>().is_err());
        assert!("0197a1b2-0000-7000-8000-000000000001".parse::<RunId>().is_ok());
    }
}
