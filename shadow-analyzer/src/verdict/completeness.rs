//! What a verdict tells of the exchanges that passed: where each of them ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Exchanges of the range by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// All that were recorded in the range.
    pub recorded: u64,
    /// Both sides booked the same.
    pub matched: u64,
    /// They booked differently.
    pub different: u64,
    /// Left out by a filter.
    pub filtered: u64,
    /// The candidate failed where production succeeded; counted as if it had booked nothing.
    pub errored: u64,
    /// Could not be compared.
    pub unverified: u64,
}

impl Outcomes {
    /// Returns whether each exchange has exactly one outcome.
    pub fn add_up(&self) -> bool {
        let Self { recorded, matched, different, filtered, errored, unverified } = self;
        *recorded == matched + different + filtered + errored + unverified
    }
}

/// Whether every recorded exchange is accounted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completeness {
    /// recorded = matched + different + filtered + errored + unverified, in the run's counts and in the journal, in every stratum;
    /// and what the segments say was recorded is what was read.
    pub complete: bool,
    /// The sentence for people.
    pub text: String,
    /// The classes of exchanges that were sampled each at its own rate, by name. They add up to `exchanges`.
    #[serde(default)]
    pub strata: Vec<Stratum>,
}

/// The exchanges of one stratum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stratum {
    /// Its name; `all` where there are no strata.
    pub name: String,
    /// Whether every one of its exchanges is accounted for.
    pub complete: bool,
    /// What passed production, as the recorders counted; absent where the run's plan did not keep it.
    pub passed: Option<Passed>,
    /// What was recorded in the range, by outcome.
    pub exchanges: Outcomes,
}

/// What passed production while the segments of the range were recorded:
/// observed = outside + repeated + the range's recorded + `sampled_out` + dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// All of it.
    pub observed: u64,
    /// Recorded in a segment of the range, and received outside of the range.
    pub outside: u64,
    /// Recorded twice, and replayed once.
    pub repeated: u64,
    /// Left out by the sampling, as intended.
    pub sampled_out: u64,
    /// Lost, by reason.
    pub dropped: BTreeMap<String, u64>,
}
