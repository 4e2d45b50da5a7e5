//! The totals of a run: what the judgement is made from, in whole units of 10⁻⁹.
//!
//! Invariants: every sum is checked, so that it is exact or an error; `primary` and `shadow` hold compared exchanges only,
//! `not_examined` holds the absolute money of the others.

use std::collections::{BTreeMap, BTreeSet};

mod ledger;
mod scenario;

pub use ledger::{Books, Ledger, LedgerPlace};
pub use scenario::{ScenarioName, ScenarioTotals, Scenarios};

use crate::expected::Appeared;
use crate::verdict::{
    Assumed, CellName, DifferingExchange, Kinds, Latency, NO_VALUE, OutcomeReason, Outcomes,
    Signature, Structure, UpstreamCalls,
};

mod expected;
mod place;
mod projection;

pub use expected::Declared;
pub use place::Place;
pub use projection::{Beyond, Projection};

/// A sum left 128 bits. It takes 10¹¹ lines of the largest amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sum of money is beyond 38 digits: replay a shorter range")]
pub struct Overflow;

/// Debit and credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money {
    /// Units debited.
    pub debit: i128,
    /// Units credited.
    pub credit: i128,
}

impl Money {
    /// Returns debit − credit.
    pub fn balance(self) -> Result<i128, Overflow> {
        self.debit.checked_sub(self.credit).ok_or(Overflow)
    }

    /// Returns the sum with other money.
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        Ok(Self { debit: add(self.debit, other.debit)?, credit: add(self.credit, other.credit)? })
    }

    /// Returns what is left when other money is taken away.
    pub fn minus(self, other: Self) -> Result<Self, Overflow> {
        let subtract = |a: i128, b: i128| a.checked_sub(b).ok_or(Overflow);
        Ok(Self {
            debit: subtract(self.debit, other.debit)?,
            credit: subtract(self.credit, other.credit)?,
        })
    }

    /// Returns both amounts without their signs.
    pub fn absolute(self) -> Result<Self, Overflow> {
        let absolute = |units: i128| units.checked_abs().ok_or(Overflow);
        Ok(Self { debit: absolute(self.debit)?, credit: absolute(self.credit)? })
    }

    /// Returns whether nothing is debited nor credited.
    pub fn is_zero(self) -> bool {
        self.debit == 0 && self.credit == 0
    }
}

fn add(a: i128, b: i128) -> Result<i128, Overflow> {
    a.checked_add(b).ok_or(Overflow)
}

/// Sums over exchanges of absolute differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gross {
    /// Of the debits.
    pub debit: i128,
    /// Of the credits.
    pub credit: i128,
    /// Of the balances.
    pub balance: i128,
}

impl Gross {
    fn of(difference: Money) -> Result<Self, Overflow> {
        let Money { debit, credit } = difference.absolute()?;
        let balance = difference.balance()?.checked_abs().ok_or(Overflow)?;
        Ok(Self { debit, credit, balance })
    }

    pub(crate) fn minus(self, other: Self) -> Result<Self, Overflow> {
        let subtract = |a: i128, b: i128| a.checked_sub(b).ok_or(Overflow);
        Ok(Self {
            debit: subtract(self.debit, other.debit)?,
            credit: subtract(self.credit, other.credit)?,
            balance: subtract(self.balance, other.balance)?,
        })
    }

    fn plus(self, other: Self) -> Result<Self, Overflow> {
        Ok(Self {
            debit: add(self.debit, other.debit)?,
            credit: add(self.credit, other.credit)?,
            balance: add(self.balance, other.balance)?,
        })
    }
}

/// Money by currency code.
pub type ByCurrency = BTreeMap<String, CurrencyTotals>;

/// A cell's money in one currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrencyTotals {
    /// What production booked.
    pub primary: Money,
    /// What the candidate booked.
    pub shadow: Money,
    /// How far they are apart exchange by exchange.
    pub gross: Gross,
    /// Production's money that was not compared, absolute.
    pub not_examined: Money,
    /// The control less production.
    pub control: Money,
    /// What of the differences was declared, and is not judged.
    pub declared: Declared,
    /// What sampled exchanges stand for beyond what the sums above hold of them.
    pub projection: Projection,
}

impl CurrencyTotals {
    fn add_lines(&mut self, part: Part, money: Money) -> Result<(), Overflow> {
        match part {
            Part::Both => {
                self.primary = self.primary.plus(money)?;
                self.shadow = self.shadow.plus(money)?;
            }
            Part::Primary => self.primary = self.primary.plus(money)?,
            Part::Shadow => self.shadow = self.shadow.plus(money)?,
            Part::NotExamined => self.not_examined = self.not_examined.plus(money.absolute()?)?,
        }
        Ok(())
    }
}

/// A cell of a dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellTotals {
    /// By currency code.
    pub currencies: ByCurrency,
    /// The same for each UTC day (days since 1970); empty where no threshold is per day.
    pub days: BTreeMap<i64, ByCurrency>,
    /// Exchanges in which it differs.
    pub exchanges_differing: u64,
    /// Production's lines, those not examined included.
    pub entries_primary: u64,
    /// The candidate's lines.
    pub entries_shadow: u64,
    /// Production's lines that were not examined.
    pub entries_not_examined: u64,
}

impl CellTotals {
    /// Returns the totals in a currency: of the range, and of a day where days are told apart.
    fn books(
        &mut self,
        currency: &str,
        day: Option<i64>,
    ) -> impl Iterator<Item = &mut CurrencyTotals> {
        let range = self.currencies.entry(currency.into()).or_default();
        let day =
            day.map(|day| self.days.entry(day).or_default().entry(currency.into()).or_default());
        [Some(range), day].into_iter().flatten()
    }

    /// Returns whether any line of the cell was compared. Where none was, equal sums of nothing say nothing.
    pub fn is_compared(&self) -> bool {
        self.entries_primary + self.entries_shadow > self.entries_not_examined
    }
}

/// Which part of the journal a sum of lines is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Lines equal on both sides.
    Both,
    /// Production's only.
    Primary,
    /// The candidate's only.
    Shadow,
    /// Production's, not compared.
    NotExamined,
}

/// The totals of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Every cell of every dimension.
    pub cells: BTreeMap<CellName, CellTotals>,
    /// What happened to the exchanges.
    pub exchanges: ExchangeTotals,
    /// The differing exchanges with the most money, largest first.
    pub largest: Vec<DifferingExchange>,
    /// The production build, replayed itself.
    pub control: ControlTotals,
    /// What rests on declared answers.
    pub assumed: Assumed,
    /// What differs outside the ledger mapping.
    pub structure: Structure,
    /// The books of both sides, account by account.
    pub ledger: Ledger,
    /// What production books in which answers.
    pub scenarios: Scenarios,
    /// How often each kind of difference is there.
    pub kinds: Kinds,
    /// What came of the expected changes that apply.
    pub expected: Vec<Appeared>,
    /// The classes of difference, those that most exchanges show first.
    pub signatures: Vec<Signature>,
}

/// What happened to the control's exchanges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlTotals {
    /// Exchanges that were replayed against it.
    pub replayed: u64,
    /// Those in which it did not book what production had booked, or failed.
    pub differing: u64,
    /// Exchanges in which it shows all that the candidate shows.
    pub explained: u64,
}

/// What happened to the exchanges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExchangeTotals {
    /// By outcome; `recorded` is their number in the journal.
    pub outcomes: Outcomes,
    /// The same for every stratum.
    pub strata: BTreeMap<String, Outcomes>,
    /// Why they were filtered, errored or unverified; most frequent first.
    pub reasons: Vec<OutcomeReason>,
    /// Transactions balanced in production and unbalanced in the candidate.
    pub newly_unbalanced: u64,
    /// An exchange with one.
    pub newly_unbalanced_example: Option<String>,
    /// Exchanges in which a line moved to another accounting date, its money unchanged.
    pub period_changed: Redated,
    /// Exchanges in which a line moved to another legal entity, its money unchanged.
    pub entity_changed: Redated,
    /// Exchanges of which not even production's money could be read.
    pub money_unknown: u64,
    /// Why, most often.
    pub money_unknown_reason: Option<String>,
    /// Exchanges recorded with a probability below one.
    pub sampled: u64,
    /// How the candidate's upstream calls were answered.
    pub upstream: UpstreamCalls,
    /// How long both sides took.
    pub latency: Latency,
}

/// Exchanges in which a line moved without its money.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redated {
    /// How many.
    pub exchanges: u64,
    /// One of them.
    pub example: Option<String>,
}

impl Totals {
    /// Adds the sum of some lines of one place to its cell in every dimension.
    pub fn add_lines(
        &mut self,
        place: &Place,
        part: Part,
        money: Money,
        lines: u64,
    ) -> Result<(), Overflow> {
        self.ledger.entry(LedgerPlace::of(place)).or_default().add(part, money, lines)?;
        for name in place.cells() {
            let cell = self.cells.entry(name).or_default();
            for totals in cell.books(&place.currency, place.day) {
                totals.add_lines(part, money)?;
            }
            if part != Part::Shadow {
                cell.entries_primary += lines;
            }
            if part == Part::NotExamined {
                cell.entries_not_examined += lines;
            }
            if matches!(part, Part::Both | Part::Shadow) {
                cell.entries_shadow += lines;
            }
        }
        Ok(())
    }

    /// Adds what lines of sampled exchanges stand for beyond themselves, where it is no part of a difference.
    pub fn project_lines(
        &mut self,
        place: &Place,
        part: Part,
        money: Money,
        pi: u64,
    ) -> Result<(), Overflow> {
        for name in place.cells() {
            let cell = self.cells.entry(name).or_default();
            for totals in cell.books(&place.currency, place.day) {
                match part {
                    Part::Both | Part::Primary => totals.projection.add_primary(money, pi),
                    Part::NotExamined => totals.projection.add_not_examined(money.absolute()?, pi),
                    Part::Shadow => {}
                }
            }
        }
        Ok(())
    }

    /// Adds the difference of the control from production at one place, in exchanges of such a π over 2⁵³.
    pub fn add_control(
        &mut self,
        place: &Place,
        difference: Money,
        pi: u64,
    ) -> Result<(), Overflow> {
        for name in place.cells() {
            let cell = self.cells.entry(name).or_default();
            for totals in cell.books(&place.currency, place.day) {
                totals.control = totals.control.plus(difference)?;
                totals.projection.add_control(difference, pi)?;
            }
        }
        Ok(())
    }

    /// Adds one exchange's differences (shadow − primary, per place) to the gross sums of every dimension, and what it stands for at
    /// its π over 2⁵³ to the projections.
    // Within one exchange a dimension nets first: money moved between two accounts of a line of business is no difference of
    // the line of business. Hence each dimension has its own gross sum, and none is the sum of another's.
    pub fn add_exchange(
        &mut self,
        differences: &[(Place, Money)],
        pi: u64,
    ) -> Result<(), Overflow> {
        let mut moved: BTreeMap<CellName, BTreeMap<&str, Money>> = BTreeMap::new();
        for (place, difference) in differences {
            for name in place.cells() {
                let sum = moved.entry(name).or_default().entry(&place.currency).or_default();
                *sum = sum.plus(*difference)?;
            }
        }
        let day = differences.first().and_then(|(place, _)| place.day);
        for (name, currencies) in moved {
            let cell = self.cells.entry(name).or_default();
            cell.exchanges_differing +=
                u64::from(currencies.values().any(|difference| !difference.is_zero()));
            for (currency, difference) in currencies {
                let gross = Gross::of(difference)?;
                for totals in cell.books(currency, day) {
                    totals.gross = totals.gross.plus(gross)?;
                    totals.projection.add_difference(difference, gross, pi)?;
                }
            }
        }
        Ok(())
    }

    /// Leaves out the dimensions in which no line has a value.
    pub fn drop_empty_dimensions(&mut self) {
        let empty = |name: &CellName| name.value == [NO_VALUE];
        let used: BTreeSet<_> =
            self.cells.keys().filter(|name| !empty(name)).map(|name| name.dimension).collect();
        self.cells.retain(|name, _| name.dimension.is_standard() || used.contains(&name.dimension));
    }
}

#[cfg(test)]
mod tests;
