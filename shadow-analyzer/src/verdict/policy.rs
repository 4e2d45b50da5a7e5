//! The policy as a verdict shows it.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{DimensionName, ExpectedPolicy, IgnoredPath};

/// What a verdict depends on beside data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// SHA-256 over everything below, the rates, the reporting currency and the mapping.
    pub sha256: String,
    /// SHA-256 of the ledger mapping under which the judged journal revision was read.
    pub mapping_sha256: String,
    /// The fewest compared exchanges that carry a judgement.
    pub min_exchanges: u64,
    /// The shortest range that carries a judgement, in seconds.
    pub min_range_seconds: u64,
    /// Candidate errors that are still accepted.
    pub candidate_errors_max: u64,
    /// Exchanges of which not even production's money could be read that are still accepted.
    pub money_unknown_max: u64,
    /// `month` or `date`: what an accounting period is. Empty in documents of before there was one.
    #[serde(default)]
    pub accounting_period: String,
    /// `none`: a sample is judged by its projection without a bound. Absent, a sample certifies nothing.
    #[serde(default)]
    pub assurance: Option<String>,
    /// Where rates come from beside the configuration; absent where no file was configured.
    #[serde(default)]
    pub rates_file: Option<RatesFile>,
    /// SHA-256 of the file of known lines of business and accounts; absent where none was configured.
    #[serde(default)]
    pub chart_sha256: Option<String>,
    /// The thresholds per dimension, in the order of `dimensions`.
    pub thresholds: Vec<DimensionPolicy>,
    /// SHA-256 of the file of expected changes; absent where none was configured.
    #[serde(default)]
    pub expected_sha256: Option<String>,
    /// The expected changes, in the order of the file.
    #[serde(default)]
    pub expected: Vec<ExpectedPolicy>,
    /// What the candidate remembers from one exchange to the next, as configured: `stateless` or `snapshot`.
    #[serde(default)]
    pub state: String,
    /// What the comparison outside the ledger mapping leaves out.
    #[serde(default)]
    pub ignored: Vec<IgnoredPath>,
    /// Upstream calls that production did not make and that are answered all the same.
    #[serde(default)]
    pub assumptions: Vec<AssumptionPolicy>,
}

/// A `[[replay.assume]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssumptionPolicy {
    /// The upstream that is called.
    pub upstream: String,
    /// The method and path.
    pub route: String,
    /// What values of the call's body must be.
    pub when: Vec<String>,
    /// SHA-256 of the answer.
    pub answer_sha256: String,
    /// Why the call is legitimate.
    pub reason: String,
    /// Who says so.
    pub owner: String,
    /// The last day on which that holds.
    pub expires: String,
}

/// A file of rates by date, as a run used it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatesFile {
    /// Of the file.
    pub sha256: String,
    /// How old a rate may be, in seconds.
    pub age_max_seconds: u64,
    /// The last UTC day of the range, for which rates were taken.
    pub day: Option<Date>,
    /// The date of each rate that was taken.
    pub dates: BTreeMap<String, Date>,
}

/// The thresholds of a dimension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DimensionPolicy {
    /// Which.
    pub dimension: DimensionName,
    /// Whether its cells are judged.
    pub gate: bool,
    /// For every cell without one of its own; absent where none is configured.
    pub default: Option<ThresholdPolicy>,
    /// For single cells.
    pub cells: Vec<CellPolicy>,
}

/// The threshold of a single cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellPolicy {
    /// The cell's value or values.
    pub value: Vec<String>,
    /// The threshold.
    pub threshold: ThresholdPolicy,
    /// Whether the value is expected to be new.
    pub declared: bool,
}

/// A threshold as configured: a fixed one (`net`), or a relative one, max(`floor`, `share` × primary total).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThresholdPolicy {
    /// The net difference allowed.
    pub net: Option<String>,
    /// The share of the cell's primary total allowed.
    pub share: Option<String>,
    /// The least that a relative threshold allows.
    pub floor: Option<String>,
    /// The gross difference allowed; absent, five times the net.
    pub gross: Option<String>,
    /// `day` where every UTC day is judged by itself; absent, the range is.
    #[serde(default)]
    pub per: Option<String>,
}
