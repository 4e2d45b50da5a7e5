//! What a verdict tells of differences outside the ledger mapping.

use serde::{Deserialize, Serialize};

/// Differences that a verdict lists. 100 of them with their examples are about 60 KiB of JSON.
pub const STRUCTURAL_DIFFERENCES_MAX: usize = 100;
/// Examples of one of them.
pub const STRUCTURAL_EXAMPLES_MAX: usize = 3;

/// Differences outside the ledger mapping, by where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// At most [`STRUCTURAL_DIFFERENCES_MAX`]; those that most exchanges show first.
    pub differences: Vec<StructuralDifference>,
    /// How many more there are in the journal.
    pub left_out: u64,
    /// What the configuration leaves out of the comparison.
    pub ignored: Vec<IgnoredPath>,
}

/// A place at which answers differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StructuralDifference {
    /// The method and path pattern.
    pub route: String,
    /// `status`, `header`, `body`, or `ledger`: the type of what the mapping reads.
    pub place: String,
    /// The body's path, `[*]` being every item of an array, or the field's name.
    pub path: String,
    /// `missing`, `extra`, `type`, `value` or `not_compared`.
    pub kind: String,
    /// Exchanges that differ there.
    pub exchanges: u64,
    /// Some of them.
    pub examples: Vec<StructuralExample>,
}

/// One exchange that differs there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StructuralExample {
    /// The exchange.
    pub exchange_id: String,
    /// Production's value, shortened; absent where it has none. Of place `ledger` the types.
    pub primary: Option<String>,
    /// The candidate's value, shortened.
    pub shadow: Option<String>,
}

/// A part of the answers that is not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IgnoredPath {
    /// Of which requests; absent, of all.
    pub route: Option<String>,
    /// The path.
    pub path: String,
    /// Why, as configured.
    pub reason: String,
}
