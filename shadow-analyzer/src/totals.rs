//! The totals of a run: what the judgement is made from, in whole units of 10⁻⁹.
//!
//! Invariants: every sum is checked, so that it is exact or an error; `primary` and `shadow` hold compared exchanges only,
//! `not_examined` holds the absolute money of the others.

use std::collections::BTreeMap;

mod ledger;
mod scenario;

pub use ledger::{Books, Ledger, LedgerPlace};
pub use scenario::{ScenarioName, ScenarioTotals, Scenarios};

use crate::verdict::{
    Assumed, CellName, DifferingExchange, DimensionName, Kinds, Latency, OutcomeReason, Outcomes,
    Structure, UpstreamCalls,
};

/// A sum left 128 bits. It takes 10¹¹ lines of the largest amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sum of money is beyond 38 digits: replay a shorter range")]
pub struct Overflow;

/// Debit and credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// A cell's money in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
}

/// A cell of a dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellTotals {
    /// By currency code.
    pub currencies: BTreeMap<String, CurrencyTotals>,
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

/// Where lines are booked, at its finest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line of business.
    pub line_of_business: String,
    /// The GL account.
    pub gl_account: String,
    /// The currency.
    pub currency: String,
}

impl Place {
    /// Returns the place's cell in a dimension.
    pub fn cell(&self, dimension: DimensionName) -> CellName {
        let value = match dimension {
            DimensionName::LineOfBusiness => vec![self.line_of_business.clone()],
            DimensionName::GlAccount => vec![self.gl_account.clone()],
            DimensionName::LineOfBusinessGlAccount => {
                vec![self.line_of_business.clone(), self.gl_account.clone()]
            }
        };
        CellName { dimension, value }
    }
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
    /// Exchanges in which a line moved to another accounting date or legal entity, its money unchanged.
    pub redated: u64,
    /// An exchange with one.
    pub redated_example: Option<String>,
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
        for dimension in DimensionName::ALL {
            let cell = self.cells.entry(place.cell(dimension)).or_default();
            let totals = cell.currencies.entry(place.currency.clone()).or_default();
            match part {
                Part::Both => {
                    totals.primary = totals.primary.plus(money)?;
                    totals.shadow = totals.shadow.plus(money)?;
                }
                Part::Primary => totals.primary = totals.primary.plus(money)?,
                Part::Shadow => totals.shadow = totals.shadow.plus(money)?,
                Part::NotExamined => {
                    totals.not_examined = totals.not_examined.plus(money.absolute()?)?;
                }
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

    /// Adds the difference of the control from production at one place.
    pub fn add_control(&mut self, place: &Place, difference: Money) -> Result<(), Overflow> {
        for dimension in DimensionName::ALL {
            let cell = self.cells.entry(place.cell(dimension)).or_default();
            let totals = cell.currencies.entry(place.currency.clone()).or_default();
            totals.control = totals.control.plus(difference)?;
        }
        Ok(())
    }

    /// Adds one exchange's differences (shadow − primary, per place) to the gross sums of every dimension.
    // Within one exchange a dimension nets first: money moved between two accounts of a line of business is no difference of
    // the line of business. Hence each dimension has its own gross sum, and none is the sum of another's.
    pub fn add_exchange(&mut self, differences: &[(Place, Money)]) -> Result<(), Overflow> {
        for dimension in DimensionName::ALL {
            let mut moved: BTreeMap<CellName, BTreeMap<&str, Money>> = BTreeMap::new();
            for (place, difference) in differences {
                let sum = moved
                    .entry(place.cell(dimension))
                    .or_default()
                    .entry(&place.currency)
                    .or_default();
                *sum = sum.plus(*difference)?;
            }
            for (name, currencies) in moved {
                let cell = self.cells.entry(name).or_default();
                cell.exchanges_differing +=
                    u64::from(currencies.values().any(|difference| !difference.is_zero()));
                for (currency, difference) in currencies {
                    let gross = &mut cell.currencies.entry(currency.into()).or_default().gross;
                    let absolute = difference.absolute()?;
                    gross.debit = add(gross.debit, absolute.debit)?;
                    gross.credit = add(gross.credit, absolute.credit)?;
                    let balance = difference.balance()?.checked_abs().ok_or(Overflow)?;
                    gross.balance = add(gross.balance, balance)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line_of_business: &str, gl_account: &str) -> Place {
        Place {
            line_of_business: line_of_business.into(),
            gl_account: gl_account.into(),
            currency: "USD".into(),
        }
    }

    fn debit(units: i128) -> Money {
        Money { debit: units, credit: 0 }
    }

    fn gross(totals: &Totals, dimension: DimensionName, value: &[&str]) -> (i128, u64) {
        let value = value.iter().map(|part| (*part).to_owned()).collect();
        let cell = &totals.cells[&CellName { dimension, value }];
        (cell.currencies["USD"].gross.debit, cell.exchanges_differing)
    }

    #[test]
    fn gross_nets_within_an_exchange_and_never_between_exchanges() {
        let mut totals = Totals::default();
        let moved = [(place("rides", "fares"), debit(-600)), (place("rides", "tips"), debit(600))];
        totals.add_exchange(&moved).unwrap();
        totals.add_exchange(&[(place("rides", "fares"), debit(600))]).unwrap();
        assert_eq!(gross(&totals, DimensionName::LineOfBusiness, &["rides"]), (600, 1));
        assert_eq!(gross(&totals, DimensionName::GlAccount, &["fares"]), (1_200, 2));
        assert_eq!(
            gross(&totals, DimensionName::LineOfBusinessGlAccount, &["rides", "tips"]),
            (600, 1)
        );
    }

    #[test]
    fn lines_go_to_their_side() {
        let mut totals = Totals::default();
        for (part, units) in
            [(Part::Both, 1), (Part::Primary, 20), (Part::Shadow, 300), (Part::NotExamined, -4_000)]
        {
            totals.add_lines(&place("rides", "fares"), part, debit(units), 1).unwrap();
        }
        for dimension in DimensionName::ALL {
            let cell = &totals.cells[&place("rides", "fares").cell(dimension)];
            let usd = cell.currencies["USD"];
            assert_eq!(
                (usd.primary.debit, usd.shadow.debit, usd.not_examined.debit),
                (21, 301, 4_000)
            );
            assert_eq!((cell.entries_primary, cell.entries_shadow), (3, 2));
        }
    }

    #[test]
    fn a_sum_is_exact_or_an_error() {
        let mut totals = Totals::default();
        totals.add_lines(&place("rides", "fares"), Part::Both, debit(i128::MAX), 1).unwrap();
        assert_eq!(
            totals.add_lines(&place("rides", "tips"), Part::Both, debit(1), 1),
            Err(Overflow)
        );
        assert_eq!(Money { debit: i128::MAX, credit: -1 }.balance(), Err(Overflow));
    }
}
