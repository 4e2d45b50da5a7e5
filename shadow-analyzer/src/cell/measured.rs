//! What is measured of some books: of the range, or of one day of it. Converted, exact.

use num_rational::BigRational;

use crate::money::{Converted, Rates, whole};
use crate::totals::{Beyond, ByCurrency, CurrencyTotals, Money, Overflow};

/// Three measures, each over all currencies: debit, credit and balance.
pub(super) type Measures = [Converted; 3];

/// A difference as it was observed, and as it is estimated of all traffic.
pub(super) struct Difference {
    pub(super) observed: Measures,
    /// Equal to what was observed where everything was recorded.
    pub(super) projected: Measures,
}

/// What is measured of some books.
pub(super) struct Measured {
    /// What production booked, projected.
    pub(super) primary: Converted,
    pub(super) net: Difference,
    pub(super) gross: Difference,
    /// Production's money that was not compared, projected.
    pub(super) not_examined: Converted,
    /// The control's difference from production, projected.
    pub(super) control: Converted,
}

impl Measured {
    pub(super) fn of(books: &ByCurrency, rates: &Rates) -> Result<Self, Overflow> {
        let sides = |money: Money| Ok([money.debit, money.credit, 0]);
        let net = |money: &CurrencyTotals| {
            let rest = money.shadow.minus(money.primary)?.minus(money.declared.net)?;
            Ok([rest.debit, rest.credit, rest.balance()?])
        };
        let gross = |money: &CurrencyTotals| {
            let rest = money.gross.minus(money.declared.gross)?;
            Ok([rest.debit, rest.credit, rest.balance])
        };
        let plain = |measures: &dyn Fn(&CurrencyTotals) -> Result<[i128; 3], Overflow>| {
            converted(books, rates, |money| Ok(measures(money)?.map(whole)))
        };
        Ok(Self {
            primary: largest_of(&converted(books, rates, |money| {
                let [debit, credit] = &money.projection.primary;
                Ok(projected(sides(money.primary)?, [Some(debit), Some(credit), None]))
            })?),
            net: Difference {
                observed: plain(&net)?,
                projected: converted(books, rates, |money| {
                    Ok(projected(net(money)?, money.projection.net.each_ref().map(Some)))
                })?,
            },
            gross: Difference {
                observed: plain(&gross)?,
                projected: converted(books, rates, |money| {
                    Ok(projected(gross(money)?, money.projection.gross.each_ref().map(Some)))
                })?,
            },
            not_examined: largest_of(&converted(books, rates, |money| {
                let [debit, credit] = &money.projection.not_examined;
                Ok(projected(sides(money.not_examined)?, [Some(debit), Some(credit), None]))
            })?),
            control: largest_of(&converted(books, rates, |money| {
                let Money { debit, credit } = money.control;
                let measures = [debit, credit, money.control.balance()?];
                Ok(projected(measures, money.projection.control.each_ref().map(Some)))
            })?),
        })
    }
}

/// Returns shadow − primary: debit, credit and balance.
pub(super) fn net_difference(money: &CurrencyTotals) -> Result<[i128; 3], Overflow> {
    let difference = money.shadow.minus(money.primary)?;
    Ok([difference.debit, difference.credit, difference.balance()?])
}

/// Returns the largest measure; it is whole where all are.
pub(super) fn largest_of(measures: &Measures) -> Converted {
    let sum = measures.iter().map(|measure| &measure.sum).max().expect("there are three").clone();
    Converted { sum, whole: measures.iter().all(|measure| measure.whole) }
}

fn projected(observed: [i128; 3], beyond: [Option<&Beyond>; 3]) -> [BigRational; 3] {
    let mut measures = observed.map(whole);
    for (measure, beyond) in measures.iter_mut().zip(beyond) {
        if let Some(beyond) = beyond.filter(|beyond| !beyond.is_zero()) {
            *measure += beyond.units();
        }
    }
    measures
}

/// Converts three measures, each over all currencies.
fn converted(
    books: &ByCurrency,
    rates: &Rates,
    measures: impl Fn(&CurrencyTotals) -> Result<[BigRational; 3], Overflow>,
) -> Result<Measures, Overflow> {
    let mut per_currency = Vec::new();
    for (currency, money) in books {
        per_currency.push((&**currency, measures(money)?));
    }
    Ok([0, 1, 2].map(|measure| {
        let money =
            per_currency.iter().map(|(currency, units)| (*currency, units[measure].clone()));
        rates.convert_exact(money)
    }))
}
