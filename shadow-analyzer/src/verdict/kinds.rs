//! What a verdict tells of the kinds of difference, over all exchanges of the run.

use serde::{Deserialize, Serialize};

/// Rows of [`Kinds::lines`] that a verdict lists: a kind comes once for each set of fields that differ beside its money.
pub const KINDS_MAX: usize = 100;

/// The differences of a run by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds {
    /// Of lines; those that most exchanges show first, at most [`KINDS_MAX`].
    pub lines: Vec<KindCount>,
    /// Transactions whose debits are not their credits.
    pub unbalanced: Unbalanced,
}

/// How often a kind of difference is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCount {
    /// The kind: `reclassified`, `amount_changed`, `currency_changed`, `reversal_style`, `period_changed`, `entity_changed`,
    /// `field_changed`, `missing` or `extra`.
    pub kind: String,
    /// What differs beside line of business, account and money, by name; absent where nothing else does.
    pub field: Option<String>,
    /// Exchanges with such a line.
    pub exchanges: u64,
    /// Such lines, of both sides.
    pub lines: u64,
}

/// How many transactions do not balance per currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbalanced {
    /// Production's.
    pub primary: u64,
    /// The candidate's.
    pub shadow: u64,
    /// The candidate's whose counterpart in production balances, or is not there.
    pub newly: u64,
}
