//! The books of both sides, at the grain of the ledger validation.

use std::collections::BTreeMap;

use super::{Money, Overflow, Part, Place};
use crate::verdict::{DimensionName, NO_VALUE};

/// A GL account of a line of business in one currency and accounting period.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerPlace {
    /// The line of business.
    pub line_of_business: String,
    /// The GL account.
    pub gl_account: String,
    /// The currency.
    pub currency: String,
    /// The accounting period; absent where the line has none.
    pub period: Option<String>,
}

/// What both sides booked in exchanges that were compared, and beside it what was not examined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Production's lines.
    pub entries_primary: u64,
    /// The candidate's lines.
    pub entries_shadow: u64,
    /// Production's money.
    pub primary: Money,
    /// The candidate's.
    pub shadow: Money,
    /// Production's lines that were not examined.
    pub entries_not_examined: u64,
    /// Their money, absolute.
    pub not_examined: Money,
}

/// The books of every account.
pub type Ledger = BTreeMap<LedgerPlace, Books>;

impl LedgerPlace {
    pub(super) fn of(place: &Place) -> Self {
        Self {
            line_of_business: place.line_of_business.clone(),
            gl_account: place.gl_account.clone(),
            currency: place.currency.clone(),
            period: place
                .further
                .get(&DimensionName::AccountingPeriod)
                .filter(|period| *period != NO_VALUE)
                .cloned(),
        }
    }
}

impl Books {
    /// Returns whether any line was compared.
    pub fn is_compared(&self) -> bool {
        self.entries_primary + self.entries_shadow > 0
    }

    /// Adds lines of one part of the journal.
    pub fn add(&mut self, part: Part, money: Money, lines: u64) -> Result<(), Overflow> {
        if part == Part::NotExamined {
            self.entries_not_examined += lines;
            self.not_examined = self.not_examined.plus(money.absolute()?)?;
        }
        if matches!(part, Part::Both | Part::Primary) {
            self.entries_primary += lines;
            self.primary = self.primary.plus(money)?;
        }
        if matches!(part, Part::Both | Part::Shadow) {
            self.entries_shadow += lines;
            self.shadow = self.shadow.plus(money)?;
        }
        Ok(())
    }

    /// Adds other books.
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        Ok(Self {
            entries_primary: self.entries_primary + other.entries_primary,
            entries_shadow: self.entries_shadow + other.entries_shadow,
            primary: self.primary.plus(other.primary)?,
            shadow: self.shadow.plus(other.shadow)?,
            entries_not_examined: self.entries_not_examined + other.entries_not_examined,
            not_examined: self.not_examined.plus(other.not_examined)?,
        })
    }
}
