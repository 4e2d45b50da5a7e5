//! FORMAT: the verdict of a run, one JSON document from which report, exit code and every other output is drawn.
//!
//! ```text
//! reports/run_id=<RunID>/revision=<k>/verdict.json      one object: `format`, `version`, then the fields of `Verdict`
//! ```
//!
//! Invariants:
//! - money and rates are decimal text (`"-70.00"`, at least two decimals), and no number of the document is a float;
//! - a difference is always shadow − primary; text without a sign where a field says *absolute*;
//! - `converted` money is in `reporting_currency`: the sum over the currencies of absolute money × rate, so that currencies never
//!   offset each other, rounded half away from zero to nine decimals; the judgement itself was made before rounding;
//! - lists are in the order in which a reader wants them (worst first), which each field states.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

mod cell;
mod chart;
mod completeness;
mod coverage;
mod dimension;
mod exchange;
mod ledger;
mod kinds;
mod expected;
mod history;
mod policy;
mod replay;
mod signature;
mod structure;
mod time;
mod supplied;

pub use cell::{Cell, CurrencyMoney, Dimension, Judged, Measure, Observed, Sides};
pub use chart::{OUTSIDE_CHART_MAX, OutsideChart, OutsidePlace};
pub use completeness::{Completeness, Outcomes, Passed, Stratum};
pub use coverage::{Coverage, SCENARIOS_MAX, Scenario};
pub use dimension::{CellName, DimensionName, NO_VALUE};
pub use exchange::{
    Differing, DifferingExchange, FieldDifference, Latency, Line, Losses, LostMoney, OutcomeReason,
    Percentiles, UpstreamCalls,
};
pub use expected::{ChangeState, ExpectedCell, ExpectedChange, ExpectedMoney, ExpectedPolicy};
pub use history::{EARLIER_VERDICTS_MAX, Earlier, History, POLICY_CHANGES_MAX, PolicyChange};
pub use kinds::{KINDS_MAX, KindCount, Kinds, Unbalanced};
pub use ledger::{Compared, LEDGER_ROWS_MAX, LedgerResult, LedgerRow, LedgerSum, LedgerValidation};
pub use policy::{
    AssumptionPolicy, CellPolicy, DimensionPolicy, Policy, RatesFile, ThresholdPolicy,
};
pub use replay::{Assumed, AssumedMoney, Replay};
pub use signature::{FirstSeen, SIGNATURES_MAX, Signature, SignatureMoney, Signatures};
pub use structure::{
    IgnoredPath, STRUCTURAL_DIFFERENCES_MAX, STRUCTURAL_EXAMPLES_MAX, StructuralDifference,
    StructuralExample, Structure,
};
pub use supplied::Supplied;
pub use time::{STRETCHES_MAX, Start, Stretch, TimeCoverage, TimeGap};

/// The value of `format`.
pub const FORMAT: &str = "shadow-verdict";
/// The value of `version`; a reader refuses a higher one.
pub const VERSION: u32 = 1;
/// Differing exchanges that a verdict shows; the largest by money. 200 of them are about 400 KiB of JSON.
pub const DIFFERING_EXCHANGES_MAX: usize = 200;
/// Lines that one differing exchange shows, both sides together.
pub const EXCHANGE_LINES_MAX: usize = 100;
/// Fields that one differing exchange shows; of 200 exchanges they are at most 1.5 MiB of JSON.
pub const EXCHANGE_FIELDS_MAX: usize = 50;

/// Returns where a verdict lies in the store.
pub fn key(run_id: &str, revision: u32) -> String {
    format!("reports/run_id={run_id}/revision={revision}/verdict.json")
}

/// Returns where the HTML report drawn from a verdict lies in the store.
pub fn report_key(run_id: &str, revision: u32) -> String {
    format!("reports/run_id={run_id}/revision={revision}/report.html")
}

/// The verdict of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Always [`FORMAT`].
    pub format: String,
    /// The version of this document's layout: [`VERSION`].
    pub version: u32,
    /// Names the run.
    pub run_id: String,
    /// The journal revision that was judged; 0 where the run has finished none.
    pub revision: u32,
    /// The service.
    pub service: String,
    /// What was judged.
    pub candidate: Candidate,
    /// The production build that the candidate was compared with; absent where the range held nothing.
    pub primary_build: Option<String>,
    /// The first instant of the range.
    pub from: Timestamp,
    /// The instant after the range.
    pub to: Timestamp,
    /// When the verdict was given.
    pub decided_at: Timestamp,

    /// The verdict's word.
    pub verdict: Decision,
    /// The score from 0 to 100: the lowest cell confidence of the gated dimensions, rounded down. Never a percentage. 0 where
    /// `decided` is false.
    pub confidence: u8,
    /// Whether anything was judged, so that `confidence` means something.
    pub decided: bool,
    /// One sentence: why this word.
    pub why: String,
    /// Every rule that speaks against certifying, refusals first. Empty exactly where the verdict is `certified`.
    pub reasons: Vec<Reason>,
    /// On what the verdict rests. It is printed wherever the verdict is.
    pub basis: Basis,
    /// One sentence: what to do next.
    pub next: String,

    /// Exchanges of the range by outcome.
    pub exchanges: Outcomes,
    /// Whether every recorded exchange is accounted for.
    pub completeness: Completeness,
    /// How much of the recorders' time in the range is covered.
    #[serde(default)]
    pub time: TimeCoverage,
    /// The currency in which thresholds and converted money are.
    pub reporting_currency: String,
    /// The value of one unit of each currency in the reporting currency, as configured; the reporting currency itself is 1.
    pub rates: BTreeMap<String, String>,
    /// Lines of business, GL accounts, both together, and what the mapping adds.
    pub dimensions: Vec<Dimension>,
    /// The exchanges that were booked differently.
    pub differing: Differing,
    /// Why exchanges were filtered, errored or unverified; most frequent first.
    pub not_compared: Vec<OutcomeReason>,
    /// The books of both sides over the range, account by account: the aggregate check.
    #[serde(default)]
    pub ledger: LedgerValidation,
    /// How much of what production does was compared.
    #[serde(default)]
    pub coverage: Coverage,
    /// What is missing from the range.
    pub losses: Losses,
    /// How the candidate's upstream calls were answered.
    pub upstream: UpstreamCalls,
    /// How long production and the candidate took.
    pub latency: Latency,
    /// The classes of difference, and when each was first seen. They are shown and never judged.
    #[serde(default)]
    pub signatures: Signatures,
    /// Differences that were declared before, with what came of each; in the order of their file.
    #[serde(default)]
    pub expected: Vec<ExpectedChange>,
    /// The verdicts before this one. They are shown and never judged.
    #[serde(default)]
    pub history: History,
    /// What the verdict depends on beside data.
    pub policy: Policy,
    /// The production build replayed itself; absent where the run had no control.
    pub control: Option<Control>,
    /// How the candidate was replayed.
    #[serde(default)]
    pub replay: Option<Replay>,
    /// Where both sides came from, where nothing was replayed.
    #[serde(default)]
    pub supplied: Option<Supplied>,
    /// What was booked outside of the chart of accounts; absent where none is configured.
    #[serde(default)]
    pub outside_chart: Option<OutsideChart>,
    /// What differs outside the ledger mapping. It is shown and never judged.
    #[serde(default)]
    pub structure: Structure,
    /// How often each kind of difference is there.
    #[serde(default)]
    pub kinds: Kinds,
}

impl Verdict {
    /// Returns the dimension of a name.
    pub fn dimension(&self, name: DimensionName) -> Option<&Dimension> {
        self.dimensions.iter().find(|dimension| dimension.name == name)
    }
}

/// The candidate of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its build.
    pub build: String,
    /// Where it answered.
    pub url: String,
}

/// The word of a verdict. Only evidence certifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The candidate books money differently, or failed.
    Refused,
    /// The evidence does not carry a judgement.
    Inconclusive,
    /// The evidence carries the judgement, and no rule speaks against the build.
    Certified,
}

impl Decision {
    /// Returns the word as it is written everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Inconclusive => "inconclusive",
            Self::Certified => "certified",
        }
    }

    /// Returns the exit code of a program that ends with this verdict.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Certified => 0,
            Self::Refused => 1,
            Self::Inconclusive => 2,
        }
    }
}

/// A rule that speaks against certifying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Which rule.
    pub rule: Rule,
    /// What the rule makes of the verdict: `refused` or `inconclusive`.
    pub effect: Decision,
    /// One or two sentences: what was found, and what to do about it.
    pub text: String,
    /// The cell that the rule is about, where it is about one.
    pub cell: Option<CellName>,
}

/// The rules, in the order of their precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A gated cell's net difference is beyond its threshold.
    NetBeyondThreshold,
    /// A gated cell's gross difference is beyond its threshold.
    GrossBeyondThreshold,
    /// A transaction balances in production and not in the candidate.
    NewlyUnbalanced,
    /// The candidate booked where the chart knows no account and production booked nothing.
    OutsideChart,
    /// The candidate failed more often than its limit where production succeeded.
    CandidateErrors,
    /// The run failed: the candidate could not be reached, or the range is empty.
    RunFailed,
    /// The journal was compared under another ledger mapping than the configured one.
    MappingChanged,
    /// No exchange of the range booked anything, on either side.
    NothingBooked,
    /// Fewer exchanges were compared than the least that carries a judgement.
    TooFewExchanges,
    /// The range is shorter than the least that carries a judgement.
    RangeTooShort,
    /// A gated cell has no threshold.
    NoThreshold,
    /// A currency has no rate.
    NoRate,
    /// Recorded exchanges are not accounted for.
    Incomplete,
    /// The range is not wholly covered by recordings.
    Gaps,
    /// Production exchanges of the range were not recorded.
    Dropped,
    /// A gated cell's money that was not examined is beyond its limit.
    NotExamined,
    /// Production's money of an exchange could not be read.
    MoneyUnknown,
    /// A line moved to another accounting date or legal entity, for which there are no thresholds.
    DateOrEntityChanged,
    /// A declared change did not appear: it is not in the build.
    ExpectedChangeAbsent,
    /// The range is a sample, and it is not said how sure a verdict on it must be.
    Sampled,
    /// What a sample observed of a gated cell's difference is within its threshold, and its projection to all traffic is not.
    ProjectionBeyondThreshold,
    /// The control does not reproduce production in a gated cell.
    ControlDiffers,
    /// The candidate called upstreams of its own, and there was no control.
    OwnUpstreams,
    /// The run found that what was compared does not carry a judgement.
    Doubt,
}

impl Rule {
    /// Returns what the rule makes of the verdict.
    pub fn effect(self) -> Decision {
        match self {
            Self::NetBeyondThreshold
            | Self::GrossBeyondThreshold
            | Self::NewlyUnbalanced
            | Self::OutsideChart
            | Self::CandidateErrors => Decision::Refused,
            _ => Decision::Inconclusive,
        }
    }
}

/// On what a verdict rests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Whether any exchange was recorded with a probability below one.
    pub sampled: bool,
    /// The words printed beside the verdict, such as `all traffic of the range`.
    pub text: String,
}

/// The production build, replayed like the candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// The build.
    pub build: String,
    /// Exchanges that were replayed against it.
    #[serde(default)]
    pub exchanges_replayed: u64,
    /// Exchanges in which it did not reproduce production, its failures among them.
    pub exchanges_differing: u64,
    /// Exchanges in which it shows all that the candidate shows, so that the replay is to blame. They count all the same.
    #[serde(default)]
    pub exchanges_explained: u64,
    /// The gated cells in which it is beyond the threshold.
    pub cells: Vec<CellName>,
}
