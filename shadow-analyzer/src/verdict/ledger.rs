//! What a verdict tells of the books of both sides over the range: the ledger validation.

use serde::{Deserialize, Serialize};

/// Rows that a verdict lists: 1,000 of them are about 400 KiB of JSON.
pub const LEDGER_ROWS_MAX: usize = 1_000;

/// The books of both sides over the range, exchanges that were compared only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerValidation {
    /// How many rows there are.
    pub total: u64,
    /// How many of them fail.
    pub failed: u64,
    /// Those that fail first, then the largest difference, then by name; at most [`LEDGER_ROWS_MAX`].
    pub rows: Vec<LedgerRow>,
    /// Rows that are not in `rows`.
    pub left_out: u64,
    /// All rows added up, by currency code.
    pub sums: Vec<LedgerSum>,
}

/// A GL account of a line of business in one currency and accounting period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The line of business.
    pub line_of_business: String,
    /// The GL account.
    pub gl_account: String,
    /// The accounting period; absent where the mapping reads no accounting dates.
    #[serde(default)]
    pub period: Option<String>,
    /// What both sides booked.
    pub books: LedgerSum,
    /// What the account may differ by, over all its currencies and periods, in the reporting currency; absent where it has no threshold.
    pub threshold: Option<String>,
    /// Whether the row holds.
    pub result: LedgerResult,
}

/// What both sides booked in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSum {
    /// ISO 4217 code.
    pub currency: String,
    /// Production's lines.
    pub entries_primary: u64,
    /// The candidate's lines.
    pub entries_shadow: u64,
    /// Debits.
    pub debit: Compared,
    /// Credits.
    pub credit: Compared,
    /// Debits less credits.
    pub balance: Compared,
}

/// An amount on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Production's.
    pub primary: String,
    /// The candidate's.
    pub shadow: String,
    /// The candidate's less production's, signed.
    pub difference: String,
}

/// Whether a row of the ledger validation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerResult {
    /// Its difference alone, or with the account's other rows, is beyond the account's threshold.
    Fail,
    /// The account has no threshold, or a rate is missing.
    NotJudged,
    /// It is within the threshold.
    Pass,
}

impl LedgerResult {
    /// Returns the words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::NotJudged => "not judged",
            Self::Pass => "pass",
        }
    }
}
