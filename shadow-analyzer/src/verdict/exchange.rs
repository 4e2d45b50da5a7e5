//! What a verdict tells of the exchanges behind its sums.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The exchanges that were booked differently, errored ones included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// How many there are.
    pub total: u64,
    /// How many of them are not in `exchanges`, which holds at most [`DIFFERING_EXCHANGES_MAX`](super::DIFFERING_EXCHANGES_MAX).
    pub left_out: u64,
    /// Largest converted difference first.
    pub exchanges: Vec<DifferingExchange>,
}

/// One exchange that was booked differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferingExchange {
    /// The exchange.
    pub exchange_id: String,
    /// When production received it.
    pub occurred_at: Timestamp,
    /// The method and path pattern, or path.
    pub route: String,
    /// `different` or `errored`.
    pub outcome: String,
    /// Why, where it is not plain.
    pub reason: Option<String>,
    /// `harness` where the control shows all of it too, `candidate` where the candidate failed.
    #[serde(default)]
    pub blame: Option<String>,
    /// Production's HTTP status.
    pub primary_status: Option<u16>,
    /// The candidate's HTTP status.
    pub shadow_status: Option<u16>,
    /// What kinds of difference there are (see [`KindCount`](super::KindCount)), by name.
    pub kinds: Vec<String>,
    /// The larger of the absolute debit and credit differences summed over LOB × GL, converted (without a rate, as it stands); the
    /// order of the list.
    pub money: String,
    /// All lines of both sides, in the order of transactions and lines; at most [`EXCHANGE_LINES_MAX`](super::EXCHANGE_LINES_MAX).
    pub lines: Vec<Line>,
    /// Lines that are not in `lines`.
    pub lines_left_out: u64,
    /// Every field in which a line is not the one that the journal pairs it with, in the order of `lines`: the check of single
    /// transactions. At most [`EXCHANGE_FIELDS_MAX`](super::EXCHANGE_FIELDS_MAX).
    #[serde(default)]
    pub fields: Vec<FieldDifference>,
    /// Fields that are not in `fields`.
    #[serde(default)]
    pub fields_left_out: u64,
}

/// A field of a journal entry line that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDifference {
    /// The transaction's position in the exchange.
    pub transaction: i32,
    /// The transaction's key, where mapped.
    pub transaction_key: Option<String>,
    /// The line's position in the transaction; production's where both sides have it.
    pub line: i32,
    /// The kind of difference.
    pub kind: Option<String>,
    /// The field's name, as in [`Line`].
    pub field: String,
    /// Production's value; absent where it has none.
    pub primary: Option<String>,
    /// The candidate's value; absent where it has none.
    pub shadow: Option<String>,
}

/// A journal entry line of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The transaction's position in the exchange.
    pub transaction: i32,
    /// The transaction's key, where mapped.
    pub transaction_key: Option<String>,
    /// The line's position in the transaction.
    pub line: i32,
    /// `both`, `primary` or `shadow`.
    pub source: String,
    /// The kind of difference that the line is part of; absent on lines of `both`.
    pub kind: Option<String>,
    /// `harness` where the control shows the same difference.
    #[serde(default)]
    pub blame: Option<String>,
    /// The line of business.
    pub line_of_business: String,
    /// The GL account.
    pub gl_account: String,
    /// ISO 4217 code.
    pub currency: String,
    /// What is debited.
    pub debit: String,
    /// What is credited.
    pub credit: String,
    /// The accounting date, where mapped.
    #[serde(default)]
    pub accounting_date: Option<String>,
    /// The legal entity, where mapped.
    #[serde(default)]
    pub entity: Option<String>,
    /// The values in the further dimensions that the mapping names, such as a country.
    #[serde(default)]
    pub dimensions: BTreeMap<String, String>,
    /// What else differs from the other side's line, with both values, such as `memo: 'a' → 'b'`.
    #[serde(default)]
    pub change: Option<String>,
}

/// Why exchanges came out as they did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeReason {
    /// `filtered`, `errored` or `unverified`.
    pub outcome: String,
    /// The reason.
    pub reason: String,
    /// `candidate` or `harness`, where somebody is to blame.
    pub blame: Option<String>,
    /// How many exchanges.
    pub count: u64,
    /// One of them, to be looked at.
    pub example: String,
}

/// What is missing from the range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Exchanges lost in production while recording, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// What a census knows of their money; absent where nothing was lost, or there is none.
    #[serde(default)]
    pub money: Option<LostMoney>,
    /// Exchanges that the sampling left out, as intended.
    pub sampled_out: u64,
    /// Why the range is not wholly covered, found when the run was planned.
    pub gaps: Vec<String>,
    /// Why segments are not wholly evidence, found when they were replayed.
    pub unreadable: Vec<String>,
    /// Exchanges of which not even production's money could be read.
    pub money_unknown: u64,
}

/// What a census knows of the money of lost exchanges. It is part of the cells' money that was not examined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostMoney {
    /// Exchanges that passed and are in no census.
    pub uncounted: u64,
    /// Whether all of their money is known, so that the thresholds judge it.
    pub known: bool,
    /// Whether some of it may lie outside of the range: a segment reaches beyond it.
    pub at_most: bool,
}

/// How the candidate's upstream calls were answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamCalls {
    /// From the recording.
    pub hits: u64,
    /// Not at all: production never made the call.
    pub misses: u64,
    /// Recorded calls that the candidate did not make.
    pub unused: u64,
}

/// How long the two sides took, over the exchanges that both answered. It is shown and never judged: the candidate's upstreams are stubs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Production.
    pub primary: Percentiles,
    /// The candidate.
    pub shadow: Percentiles,
}

/// Percentiles by nearest rank, in microseconds; absent where nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50_us: Option<i64>,
    /// 95 of 100 are at most this.
    pub p95_us: Option<i64>,
    /// 99 of 100 are at most this.
    pub p99_us: Option<i64>,
}
