//! The policy: what a verdict depends on beside data.

use std::collections::BTreeMap;
use std::time::Duration;

use num_bigint::BigInt;
use num_rational::BigRational;
use serde::Serialize;
use shadow_recorder::amount::Amount;
use shadow_recorder::digest::sha256;

use crate::money::{self, Rates, whole};
use crate::verdict::{self, CellPolicy, DimensionName, DimensionPolicy, ThresholdPolicy};

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
    /// Every dimension has its entry.
    pub dimensions: BTreeMap<DimensionName, Thresholds>,
}

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
        let own = self.cells.get(value);
        if new && !own.is_some_and(|own| own.declared) {
            return Some(Allowed { net: whole(0), gross: whole(0) });
        }
        own.map(|own| &own.threshold)
            .or(self.default.as_ref())
            .map(|threshold| threshold.allowed(primary))
    }

    /// Returns whether what a cell is allowed depends on what production booked in it.
    pub fn is_relative(&self, value: &[String]) -> bool {
        let own = self.cells.get(value).map(|own| &own.threshold);
        own.or(self.default.as_ref())
            .is_some_and(|threshold| matches!(threshold.net, Net::Share { .. }))
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
    /// Returns the policy as a verdict shows it, with its digest.
    pub fn document(&self, mapping_sha256: &str) -> verdict::Policy {
        let mut document = verdict::Policy {
            sha256: String::new(),
            mapping_sha256: mapping_sha256.into(),
            min_exchanges: self.min_exchanges,
            min_range_seconds: self.min_range.as_secs(),
            candidate_errors_max: self.candidate_errors_max,
            money_unknown_max: self.money_unknown_max,
            thresholds: self
                .dimensions
                .iter()
                .map(|(name, thresholds)| thresholds.document(*name))
                .collect(),
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
        ThresholdPolicy { net, share, floor, gross: self.gross.map(|gross| gross.to_string()) }
    }
}
