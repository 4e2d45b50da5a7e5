//! The cells of a verdict: where the money is, and how far it is apart.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{DimensionName, ExpectedMoney};

/// The cells of a dimension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    /// Which.
    pub name: DimensionName,
    /// Whether its cells can refuse a build and lower its score; otherwise they are only shown.
    pub gated: bool,
    /// Lowest confidence first, then the largest difference, then by value.
    pub cells: Vec<Cell>,
}

/// One value of a dimension with its money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The line of business, the GL account, or both in this order; in a dimension that the mapping adds, its value.
    pub value: Vec<String>,
    /// Production booked nothing under this value in the range, so that its threshold is 0 unless declared.
    pub new: bool,
    /// A new value that the policy declares.
    pub declared: bool,
    /// The money per currency, by currency code.
    pub currencies: Vec<CurrencyMoney>,
    /// The net difference over all currencies, absolute and converted. Absent where a rate is missing, unless what can be
    /// converted is already beyond the threshold.
    pub net: Option<Judged>,
    /// The gross difference over all currencies, converted. Absent as `net` is.
    pub gross: Option<Judged>,
    /// Production's money that was not compared, converted: the larger of debit and credit, projected where the range is a sample.
    /// Absent where a rate is missing.
    pub not_examined: Option<String>,
    /// The lower of the net and the gross confidence; absent where there is no threshold, a rate is missing, or nothing of the
    /// cell was compared.
    pub confidence: Option<u8>,
    /// Exchanges in which this cell differs.
    pub exchanges_differing: u64,
    /// Lines that production booked here, those not examined included.
    pub entries_primary: u64,
    /// Lines that the candidate booked here.
    pub entries_shadow: u64,
}

/// A cell's money in one currency. Production's and the candidate's include only exchanges that were compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrencyMoney {
    /// ISO 4217 code.
    pub currency: String,
    /// Debits.
    pub debit: Sides,
    /// Credits.
    pub credit: Sides,
    /// Debits less credits.
    pub balance: Sides,
    /// What of the differences was declared before and is not judged; absent where nothing was.
    #[serde(default)]
    pub expected: Option<ExpectedMoney>,
    /// Debits of production that were not compared.
    pub not_examined_debit: String,
    /// Credits of production that were not compared.
    pub not_examined_credit: String,
}

/// Two sides of the comparison, in the cell's currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides {
    /// Production's.
    pub primary: String,
    /// The candidate's.
    pub shadow: String,
    /// The candidate's less production's, signed.
    pub difference: String,
    /// The sum over exchanges of the absolute difference.
    pub gross: String,
}

/// A difference over all currencies, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Of the debits, converted and absolute.
    pub debit: String,
    /// Of the credits, converted and absolute.
    pub credit: String,
    /// Of the balance, converted and absolute.
    pub balance: String,
    /// Which of the three is the largest, and so decides.
    pub worst: Measure,
    /// What is allowed, in the reporting currency; absent where no threshold is configured.
    pub threshold: Option<String>,
    /// 100 within the threshold, else 100 · threshold / difference, rounded down; absent where there is no threshold or nothing
    /// of the cell was compared.
    pub confidence: Option<u8>,
    /// Whether the difference is beyond the threshold.
    pub breached: bool,
    /// The UTC day that was judged, the worst of the range, where the threshold is per day; the figures are that day's.
    #[serde(default)]
    pub day: Option<Date>,
    /// Where the range is a sample: what was observed of the difference, which the other figures project to all traffic.
    #[serde(default)]
    pub observed: Option<Observed>,
}

/// A difference as it was observed in a sample, converted and absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Of the debits.
    pub debit: String,
    /// Of the credits.
    pub credit: String,
    /// Of the balance.
    pub balance: String,
    /// Whether it is beyond the threshold by itself.
    pub breached: bool,
}

impl Judged {
    /// Returns whether only the projection of a sample is beyond the threshold.
    pub fn is_projected_breach(&self) -> bool {
        self.breached && self.observed.as_ref().is_some_and(|observed| !observed.breached)
    }

    /// Returns the difference that decides: the largest of the three.
    pub fn difference(&self) -> &str {
        match self.worst {
            Measure::Debit => &self.debit,
            Measure::Credit => &self.credit,
            Measure::Balance => &self.balance,
        }
    }
}

impl Observed {
    /// Returns one of the three.
    pub fn of(&self, measure: Measure) -> &str {
        match measure {
            Measure::Debit => &self.debit,
            Measure::Credit => &self.credit,
            Measure::Balance => &self.balance,
        }
    }
}

/// What of a cell is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Debits.
    Debit,
    /// Credits.
    Credit,
    /// Debits less credits.
    Balance,
}

impl Measure {
    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
            Self::Balance => "balance",
        }
    }
}
