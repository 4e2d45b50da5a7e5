//! Which differences a declared change takes. Pure.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{ToPrimitive, Zero};

use super::{Cells, Change, Sign};
use crate::money::{self, Rates, whole};
use crate::totals::{Money, Overflow, Place};

/// A line of an exchange that only one side has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The transaction's position in the exchange.
    pub transaction: i32,
    /// The kind of difference.
    pub kind: String,
    /// Where.
    pub place: Place,
    /// Whether the candidate booked it; otherwise production did.
    pub is_shadow: bool,
    /// How much.
    pub money: Money,
}

/// What of an exchange's differences was taken: shadow − primary, per place.
pub type Taken = BTreeMap<Place, Money>;

/// What came of a declared change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appeared {
    /// Its place in the list.
    pub change: usize,
    /// The money that it took, in units of its currency.
    pub money: BigRational,
    /// Whether there was more than it may take.
    pub exhausted: bool,
    /// The exchanges of which it took something.
    pub exchanges: u64,
    /// The first of them.
    pub example: Option<String>,
}

impl Appeared {
    /// Returns whether less appeared than must, so that the change is not in the build.
    pub fn is_absent(&self, change: &Change) -> bool {
        self.money.is_zero() || self.money < whole(change.minimum.units())
    }

    /// Returns the money as text.
    pub fn text(&self) -> String {
        money::text(&self.money)
    }
}

/// Takes differences out of exchanges, which come in the order of their ids.
pub struct Matcher<'a> {
    changes: &'a [(usize, Change)],
    rates: &'a Rates,
    appeared: Vec<Appeared>,
}

/// All that is left of a difference: the lines of a transaction at one place and of one kind, or one line that moved.
struct Open {
    transaction: i32,
    kind: String,
    place: Place,
    whole: Money,
    left: Money,
}

impl<'a> Matcher<'a> {
    /// Begins with nothing taken.
    pub fn new(changes: &'a [(usize, Change)], rates: &'a Rates) -> Self {
        let appeared = changes.iter().map(|(change, _)| Appeared {
            change: *change,
            money: BigRational::zero(),
            exhausted: false,
            exchanges: 0,
            example: None,
        });
        Self { changes, rates, appeared: appeared.collect() }
    }

    /// Takes what is declared out of the differing lines of one exchange.
    pub fn take(&mut self, exchange_id: &str, mut lines: Vec<Line>) -> Result<Taken, Overflow> {
        // Their order in the journal is that of the pairing, which decides nothing.
        lines.sort();
        let (moved, others): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line.kind == "reclassified");
        let (arriving, leaving): (Vec<_>, Vec<_>) =
            moved.into_iter().partition(|line| line.is_shadow);
        let [mut leaving, mut arriving] =
            [leaving, arriving].map(|lines| lines.into_iter().map(open).collect::<Vec<_>>());
        let mut sums = summed(others)?;
        let mut taken = Taken::new();
        for (at, (_, change)) in self.changes.iter().enumerate() {
            let before = self.appeared[at].money.clone();
            match &change.cells {
                Cells::In(cell) => {
                    let is_meant = |of: &&mut Open| of.kind == change.kind && cell.holds(&of.place);
                    for of in sums.iter_mut().filter(is_meant) {
                        self.take_sum(at, change, of, &mut taken)?;
                    }
                }
                Cells::Between { from, to } => {
                    for of in leaving.iter_mut().filter(|of| from.holds(&of.place)) {
                        let arrives = |other: &&mut Open| {
                            to.holds(&other.place) && is_pair(change, of, other)
                        };
                        let Some(other) = arriving.iter_mut().find(arrives) else { continue };
                        let part = self.part(at, change, &of.place.currency, of.left);
                        of.left = of.left.minus(part)?;
                        other.left = other.left.minus(part)?;
                        add(&mut taken, &of.place, Money::default().minus(part)?)?;
                        add(&mut taken, &other.place, part)?;
                    }
                }
            }
            let appeared = &mut self.appeared[at];
            if appeared.money != before {
                appeared.exchanges += 1;
                appeared.example.get_or_insert_with(|| exchange_id.into());
            }
        }
        taken.retain(|_, money| !money.is_zero());
        Ok(taken)
    }

    /// Returns what came of the changes.
    pub fn finish(self) -> Vec<Appeared> {
        self.appeared
    }

    fn take_sum(
        &mut self,
        at: usize,
        change: &Change,
        of: &mut Open,
        taken: &mut Taken,
    ) -> Result<(), Overflow> {
        let (debit, credit) = (of.whole.debit.signum(), of.whole.credit.signum());
        let agrees = match change.sign {
            Sign::Increase => debit >= 0 && credit >= 0,
            Sign::Decrease => debit <= 0 && credit <= 0,
            Sign::Either => true,
        };
        if agrees {
            let part = self.part(at, change, &of.place.currency, of.left);
            of.left = of.left.minus(part)?;
            add(taken, &of.place, part)?;
        }
        Ok(())
    }

    /// Returns the part of some money that a change may still take, and counts it.
    // Debits and credits count together: a line that changes its side by 100 is a difference of 200.
    fn part(&mut self, at: usize, change: &Change, currency: &str, money: Money) -> Money {
        let rate = match &change.currency {
            Some(only) if only == currency => whole(1),
            Some(_) => return Money::default(),
            None => match self.rates.of(currency) {
                Some(rate) => rate,
                None => return Money::default(),
            },
        };
        let appeared = &mut self.appeared[at];
        let left = (whole(change.maximum.units()) - &appeared.money) / &rate;
        // Whole units: rounded down, so that the maximum is never exceeded.
        let left = left.floor().to_integer();
        let size = BigInt::from(money.debit.unsigned_abs()) + money.credit.unsigned_abs();
        appeared.exhausted |= size > left;
        let units = size.min(left).to_u128().unwrap_or(0);
        appeared.money += rate * BigInt::from(units);
        let debit = money.debit.unsigned_abs().min(units);
        let credit = money.credit.unsigned_abs().min(units - debit);
        let signed = |units: u128, like: i128| {
            // Not above the absolute value of what it is a part of.
            i128::try_from(units).unwrap_or(i128::MAX) * like.signum()
        };
        Money { debit: signed(debit, money.debit), credit: signed(credit, money.credit) }
    }
}

fn open(line: Line) -> Open {
    Open {
        transaction: line.transaction,
        kind: line.kind,
        place: line.place,
        whole: line.money,
        left: line.money,
    }
}

/// Sums lines per transaction, kind and place: shadow − primary.
fn summed(lines: Vec<Line>) -> Result<Vec<Open>, Overflow> {
    let mut sums: BTreeMap<(i32, String, Place), Money> = BTreeMap::new();
    for Line { transaction, kind, place, is_shadow, money } in lines {
        let sum = sums.entry((transaction, kind, place)).or_default();
        *sum = if is_shadow { sum.plus(money)? } else { sum.minus(money)? };
    }
    let sums = sums.into_iter();
    Ok(sums
        .map(|((transaction, kind, place), sum)| Open {
            transaction,
            kind,
            place,
            whole: sum,
            left: sum,
        })
        .collect())
}

/// Whether what left one place arrives at the other, and nothing moved but what the change names.
fn is_pair(change: &Change, gone: &Open, come: &Open) -> bool {
    let Cells::Between { from, to } = &change.cells else { return false };
    let (a, b) = (&gone.place, &come.place);
    let line_is_named = from.line_of_business.is_some() || to.line_of_business.is_some();
    let account_is_named = from.gl_account.is_some() || to.gl_account.is_some();
    !gone.left.is_zero()
        && (gone.transaction, gone.whole, gone.left) == (come.transaction, come.whole, come.left)
        && a.currency == b.currency
        && (line_is_named || a.line_of_business == b.line_of_business)
        && (account_is_named || a.gl_account == b.gl_account)
}

fn add(taken: &mut Taken, place: &Place, money: Money) -> Result<(), Overflow> {
    let sum = taken.entry(place.clone()).or_default();
    *sum = sum.plus(money)?;
    Ok(())
}

#[cfg(test)]
mod tests;
