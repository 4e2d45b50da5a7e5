//! The policy: what a verdict depends on beside data.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use num_bigint::BigInt;
use num_rational::BigRational;
use serde::Serialize;
use shadow_recorder::amount::Amount;
use shadow_recorder::digest::sha256;

use crate::chart::Chart;
use crate::expected::{Change, Expected};
use crate::money::{self, Rates, whole};
use crate::rates_file::RatesFile;
use crate::verdict::{self, CellName, CellPolicy, DimensionName, DimensionPolicy, ThresholdPolicy};

mod replay;
pub use replay::Replayed;

/// A gross threshold that is not configured is the net one times this.
pub const GROSS_DEFAULT_TIMES: i128 = 5;

/// Thresholds, limits and rates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The reporting currency and the rates into it.
    pub rates: Rates,
    /// The fewest compared exchanges that carry a judgement.
    pub min_exchanges: u64,
    /// The shortest range that carries a judgement.
    pub min_range: Duration,
    /// Candidate errors that are still accepted.
    pub candidate_errors_max: u64,
    /// Exchanges of which not even production's money could be read that are still accepted.
    pub money_unknown_max: u64,
    /// What an accounting period is.
    pub period: Period,
    /// How sure a verdict on a sample must be; absent where nothing is said, and then a sample certifies nothing.
    pub assurance: Option<Assurance>,
    /// Rates by date, of which a run takes those of its last day.
    pub rates_file: Option<RatesFile>,
    /// The lines of business and accounts that there are.
    pub chart: Option<Chart>,
    /// Differences that were declared before.
    pub expected: Expected,
    /// The thresholds by dimension. One without an entry is shown and not judged.
    pub dimensions: BTreeMap<DimensionName, Thresholds>,
}

/// What an accounting period is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Period {
    /// The month of an accounting date.
    #[default]
    Month,
    /// The date itself.
    Date,
}

impl Period {
    /// Reads the word of a configuration.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "month" => Ok(Self::Month),
            "date" => Ok(Self::Date),
            _ => Err(format!("`{word}` is no accounting period: write \"month\" or \"date\"")),
        }
    }

    /// Returns the word in documents and configurations.
    pub fn word(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Date => "date",
        }
    }

    /// Returns the period of an accounting date. What is not written as YYYY-MM-DD stands as it is.
    pub fn of(self, date: &str) -> &str {
        let shape = |(n, byte): (usize, &u8)| match n {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        };
        if date.len() < 10 || !date.as_bytes()[..10].iter().enumerate().all(shape) {
            return date;
        }
        match self {
            Self::Month => &date[..7],
            Self::Date => &date[..10],
        }
    }
}

/// How sure a verdict on a sample must be that all traffic is within the thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assurance {
    /// The projection decides, without a bound.
    None,
}

impl Assurance {
    /// Reads the word of a configuration.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "none" => Ok(Self::None),
            _ => Err(format!(
                "`{word}` is not available: only \"none\" is, a verdict on the projection of a sample without a bound"
            )),
        }
    }

    /// Returns the word in documents and configurations.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
        }
    }
}

/// Returns the UTC day of the last instant before `to`.
fn last_day(to: Timestamp) -> Date {
    let last = to.checked_sub(Duration::from_nanos(1)).unwrap_or(to);
    last.to_zoned(TimeZone::UTC).date()
}

/// What is shown and never judged.
static SHOWN: Thresholds = Thresholds { gate: false, default: None, cells: BTreeMap::new() };

/// The thresholds of one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Whether its cells can refuse a build and lower its score.
    pub gate: bool,
    /// For every cell without its own.
    pub default: Option<Threshold>,
    /// For single cells, by value.
    pub cells: BTreeMap<Vec<String>, CellThreshold>,
}

/// The threshold of a single cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellThreshold {
    /// The threshold.
    pub threshold: Threshold,
    /// Whether the value is expected to be new, so that the threshold holds although production never booked it.
    pub declared: bool,
}

/// What a cell may differ by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Net.
    pub net: Net,
    /// Gross; absent, [`GROSS_DEFAULT_TIMES`] the net one.
    pub gross: Option<Amount>,
    /// Over what both are judged.
    pub per: Per,
}

/// Over what a threshold is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// The range of the run.
    #[default]
    Run,
    /// Every UTC day of the range by itself: the worst one counts.
    Day,
}

impl Per {
    /// Reads the word of a configuration.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "run" => Ok(Self::Run),
            "day" => Ok(Self::Day),
            _ => Err(format!("`{word}` is not known: write \"run\" or \"day\"")),
        }
    }

    /// Returns the word in documents and configurations.
    pub fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Day => "day",
        }
    }
}

/// The net difference that a cell may show, in the reporting currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Net {
    /// A fixed one.
    Fixed(Amount),
    /// max(floor, share × the cell's primary total).
    Share {
        /// The share, from 0 to 1.
        share: Share,
        /// The least allowed.
        floor: Amount,
    },
}

/// A share from 0 to 1, exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// As configured.
    pub text: String,
    value: BigRational,
}

impl Share {
    /// Reads a share; the error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        match money::decimal(text) {
            Some(value) if value <= whole(1) => Ok(Self { text: text.into(), value }),
            _ => Err(format!(
                "`{text}` is not a share: write a decimal from 0 to 1, for example \"0.001\""
            )),
        }
    }
}

/// What one cell is allowed, in units of the reporting currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Net.
    pub net: BigRational,
    /// Gross.
    pub gross: BigRational,
}

impl Threshold {
    /// Returns what is allowed to a cell of which production booked `primary` units.
    pub fn allowed(&self, primary: &BigRational) -> Allowed {
        let net = match &self.net {
            Net::Fixed(amount) => whole(amount.units()),
            Net::Share { share, floor } => whole(floor.units()).max(&share.value * primary),
        };
        let gross = self
            .gross
            .map_or_else(|| &net * BigInt::from(GROSS_DEFAULT_TIMES), |gross| whole(gross.units()));
        Allowed { net, gross }
    }
}

impl Thresholds {
    /// Returns what a cell is allowed, or `None` where nothing was configured for it. `new`: production never booked under this value.
    pub fn allowed(&self, value: &[String], new: bool, primary: &BigRational) -> Option<Allowed> {
        if new && !self.declares(value) {
            return Some(Allowed { net: whole(0), gross: whole(0) });
        }
        self.of(value).map(|threshold| threshold.allowed(primary))
    }

    /// Returns the threshold that was configured for a cell.
    pub fn of(&self, value: &[String]) -> Option<&Threshold> {
        self.cells.get(value).map(|own| &own.threshold).or(self.default.as_ref())
    }

    /// Returns whether each day of a cell is judged by itself.
    pub fn is_daily(&self, value: &[String]) -> bool {
        self.of(value).is_some_and(|threshold| threshold.per == Per::Day)
    }

    /// Returns whether what a cell is allowed depends on what production booked in it.
    pub fn is_relative(&self, value: &[String]) -> bool {
        self.of(value).is_some_and(|threshold| matches!(threshold.net, Net::Share { .. }))
    }

    /// Returns whether a value is declared as new.
    pub fn declares(&self, value: &[String]) -> bool {
        self.cells.get(value).is_some_and(|own| own.declared)
    }

    /// Returns whether nothing at all was configured.
    pub fn are_missing(&self) -> bool {
        self.default.is_none() && self.cells.is_empty()
    }
}

impl Policy {
    /// Returns the thresholds of a dimension.
    pub fn thresholds(&self, dimension: DimensionName) -> &Thresholds {
        self.dimensions.get(&dimension).unwrap_or(&SHOWN)
    }

    /// Returns whether cells of a dimension are judged. A dimension that not every journal has is where it has a threshold.
    pub fn gates(&self, dimension: DimensionName) -> bool {
        let thresholds = self.thresholds(dimension);
        thresholds.gate && (dimension.is_standard() || !thresholds.are_missing())
    }

    /// Returns whether a cell is judged.
    pub fn gates_cell(&self, cell: &CellName) -> bool {
        let thresholds = self.thresholds(cell.dimension);
        thresholds.gate && (cell.dimension.is_standard() || thresholds.of(&cell.value).is_some())
    }

    /// Returns whether every cell of a dimension has a threshold and is judged.
    pub fn judges_all(&self, dimension: DimensionName) -> bool {
        let thresholds = self.thresholds(dimension);
        thresholds.gate && thresholds.default.is_some()
    }

    /// Returns whether any dimension is judged.
    pub fn gates_any(&self) -> bool {
        self.dimensions.keys().any(|dimension| self.gates(*dimension))
    }

    /// Returns the policy of a range that ends before `to`: with the rates of its last UTC day.
    #[must_use]
    pub fn of_range(mut self, to: Timestamp) -> Self {
        if let Some(file) = &self.rates_file {
            for (currency, (date, rate)) in file.on(last_day(to)) {
                self.rates.dates.insert(currency.clone(), date);
                self.rates.values.insert(currency, rate);
            }
            self.rates.day = Some(last_day(to));
        }
        self
    }

    /// Returns whether any threshold is per day.
    pub fn is_daily(&self) -> bool {
        let own = |thresholds: &Thresholds| {
            let cells = thresholds.cells.values().map(|own| &own.threshold);
            cells.chain(&thresholds.default).any(|threshold| threshold.per == Per::Day)
        };
        self.dimensions.values().any(own)
    }

    /// Returns the policy as a verdict shows it, with its digest.
    pub fn document(&self, replayed: Replayed) -> verdict::Policy {
        let mut document = verdict::Policy {
            sha256: String::new(),
            mapping_sha256: replayed.mapping_sha256,
            min_exchanges: self.min_exchanges,
            min_range_seconds: self.min_range.as_secs(),
            candidate_errors_max: self.candidate_errors_max,
            money_unknown_max: self.money_unknown_max,
            accounting_period: self.period.word().into(),
            assurance: self.assurance.map(|assurance| assurance.word().into()),
            rates_file: self.rates_file.as_ref().map(|file| verdict::RatesFile {
                sha256: file.sha256.clone(),
                age_max_seconds: file.age_max.as_secs(),
                day: self.rates.day,
                dates: self.rates.dates.clone(),
            }),
            chart_sha256: self.chart.as_ref().map(|chart| chart.sha256.clone()),
            thresholds: self
                .dimensions
                .iter()
                .map(|(name, thresholds)| thresholds.document(*name))
                .collect(),
            expected_sha256: self.expected.sha256.clone(),
            expected: self.expected.changes.iter().map(Change::document).collect(),
            state: replayed.state,
            ignored: replayed.ignored,
            assumptions: replayed.assumptions,
        };
        document.sha256 = self.digest(&document);
        document
    }

    fn digest(&self, document: &verdict::Policy) -> String {
        #[derive(Serialize)]
        struct Digested<'a> {
            reporting_currency: &'a str,
            rates: BTreeMap<String, String>,
            policy: &'a verdict::Policy,
        }
        let digested = Digested {
            reporting_currency: &self.rates.reporting_currency,
            rates: self.rates.texts(),
            policy: document,
        };
        sha256(serde_json::to_vec(&digested).expect("texts and numbers are JSON"))
    }
}

impl Thresholds {
    fn document(&self, dimension: DimensionName) -> DimensionPolicy {
        let cell = |(value, own): (&Vec<String>, &CellThreshold)| CellPolicy {
            value: value.clone(),
            threshold: own.threshold.document(),
            declared: own.declared,
        };
        DimensionPolicy {
            dimension,
            gate: self.gate,
            default: self.default.as_ref().map(Threshold::document),
            cells: self.cells.iter().map(cell).collect(),
        }
    }
}

impl Threshold {
    fn document(&self) -> ThresholdPolicy {
        let (net, share, floor) = match &self.net {
            Net::Fixed(amount) => (Some(amount.to_string()), None, None),
            Net::Share { share, floor } => {
                (None, Some(share.text.clone()), Some(floor.to_string()))
            }
        };
        let gross = self.gross.map(|gross| gross.to_string());
        let per = (self.per == Per::Day).then(|| self.per.word().to_owned());
        ThresholdPolicy { net, share, floor, gross, per }
    }
}
