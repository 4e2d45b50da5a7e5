//! Expected changes: differences that somebody declared, so that they are shown and not judged.
//!
//! Invariants:
//! - a declaration takes difference by difference, in the order of the exchanges' ids, up to its maximum; the rest is judged, so
//!   that neither the order nor the number of shards changes what is taken;
//! - what is taken is exact and of one currency at a time; a reclassification is taken only where the same money leaves one cell
//!   and arrives in the other;
//! - it never reaches a failed answer, an exchange with a transaction that is newly unbalanced, or a difference outside the mapping.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use shadow_recorder::amount::Amount;

use crate::totals::Place;
use crate::verdict::{ChangeState, ExpectedCell, ExpectedChange, ExpectedPolicy};

pub mod config;
mod matching;

pub use matching::{Appeared, Line, Matcher, Taken};

/// What is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// SHA-256 of the file; absent where there is none.
    pub sha256: Option<String>,
    /// In the order of the file.
    pub changes: Vec<Change>,
}

/// One `[[change]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The kind of difference, as the journal names it.
    pub kind: String,
    /// Where.
    pub cells: Cells,
    /// In which direction.
    pub sign: Sign,
    /// The currency of the difference and of both amounts; absent, any currency, in the reporting currency.
    pub currency: Option<String>,
    /// The least that must appear in a run.
    pub minimum: Amount,
    /// The most that is taken in a run.
    pub maximum: Amount,
    /// Why the build books differently.
    pub reason: String,
    /// Where that was decided.
    pub ticket: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day, in UTC, on which it applies.
    pub expires: Date,
    /// Whether that is over, so that it applies to nothing.
    pub expired: bool,
}

/// Where a change is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cells {
    /// In one cell.
    In(Cell),
    /// Money leaves one and arrives in the other.
    Between {
        /// The one.
        from: Cell,
        /// The other.
        to: Cell,
    },
}

/// A line of business, a GL account, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Absent, any.
    pub line_of_business: Option<String>,
    /// Absent, any.
    pub gl_account: Option<String>,
}

/// In which direction a difference goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The candidate books more.
    Increase,
    /// It books less.
    Decrease,
    /// Either.
    Either,
}

impl Sign {
    /// Every sign.
    pub const ALL: [Self; 3] = [Self::Increase, Self::Decrease, Self::Either];

    /// Returns the word in documents and configurations.
    pub fn word(self) -> &'static str {
        match self {
            Self::Increase => "increase",
            Self::Decrease => "decrease",
            Self::Either => "either",
        }
    }
}

impl Cell {
    /// Returns whether something is booked in it.
    pub fn holds(&self, place: &Place) -> bool {
        let is = |named: &Option<String>, value: &String| named.as_ref().is_none_or(|n| n == value);
        is(&self.line_of_business, &place.line_of_business)
            && is(&self.gl_account, &place.gl_account)
    }

    fn document(&self) -> ExpectedCell {
        ExpectedCell {
            line_of_business: self.line_of_business.clone(),
            gl_account: self.gl_account.clone(),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "any".into());
        write!(f, "{} / {}", of(&self.line_of_business), of(&self.gl_account))
    }
}

impl Change {
    /// Returns it as a verdict shows it.
    pub fn document(&self) -> ExpectedPolicy {
        let (cell, to) = match &self.cells {
            Cells::In(cell) => (cell.document(), None),
            Cells::Between { from, to } => (from.document(), Some(to.document())),
        };
        ExpectedPolicy {
            kind: self.kind.clone(),
            cell,
            to,
            sign: self.sign.word().into(),
            currency: self.currency.clone(),
            minimum: self.minimum.to_string(),
            maximum: self.maximum.to_string(),
            reason: self.reason.clone(),
            ticket: self.ticket.clone(),
            owner: self.owner.clone(),
            expires: self.expires.to_string(),
        }
    }
}

impl Expected {
    /// Returns them as they stand at an instant: those whose last day is over are expired.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        let today = now.to_zoned(TimeZone::UTC).date();
        for change in &mut self.changes {
            change.expired = today > change.expires;
        }
        self
    }

    /// Returns the changes that apply, with their places in the list.
    pub fn in_force(&self) -> Vec<(usize, Change)> {
        let numbered = self.changes.iter().cloned().enumerate();
        numbered.filter(|(_, change)| !change.expired).collect()
    }

    /// Returns every declaration with what came of it.
    pub fn shown(&self, appeared: &[Appeared]) -> Vec<ExpectedChange> {
        let of = |(number, change): (usize, &Change)| {
            let found = appeared.iter().find(|appeared| appeared.change == number);
            let state = match found {
                _ if change.expired => ChangeState::Expired,
                Some(found) if !found.is_absent(change) => ChangeState::Appeared,
                _ => ChangeState::Absent,
            };
            ExpectedChange {
                declared: change.document(),
                state,
                money: found.map_or_else(|| "0.00".into(), Appeared::text),
                exhausted: found.is_some_and(|found| found.exhausted),
                exchanges: found.map_or(0, |found| found.exchanges),
                example: found.and_then(|found| found.example.clone()),
            }
        };
        self.changes.iter().enumerate().map(of).collect()
    }
}
