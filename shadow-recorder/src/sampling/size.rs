//! The monetary size of an exchange, by which it can be drawn, and the probability that follows from it.
//!
//! Sampling with probability proportional to size: π = min(1, size / interval), with the interval of monetary-unit sampling (AICPA
//! Audit Guide *Audit Sampling*, appendix on MUS). An exchange whose size reaches the interval is recorded with certainty.

use std::collections::BTreeMap;

use crate::amount::{Amount, UNITS};
use crate::exchange::PI_ONE;
use crate::ledger::Transaction;

/// The largest interval: with it, size × 2⁵³ fits 128 bits.
pub const INTERVAL_MAX: i128 = 1_000_000_000_000 * UNITS;
/// Sizes are cut here, far above any interval: 10¹⁴ whole.
const SIZE_MAX: i128 = 100_000_000_000_000 * UNITS;

/// How sizes are made comparable: the reporting currency, and what one unit of another is worth in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// ISO 4217 code.
    pub currency: String,
    /// By ISO 4217 code, without the reporting currency itself.
    pub rates: BTreeMap<String, Amount>,
}

impl Sizes {
    /// Returns the larger of what was debited and what was credited, without signs, in the reporting currency; `None` where a
    /// currency has no rate. It draws and is never booked: fractions below 10⁻⁹ are cut off, and so is what exceeds 10¹⁴.
    pub(crate) fn of(&self, booked: &[Transaction]) -> Option<Amount> {
        let (mut debit, mut credit) = (0_i128, 0_i128);
        for entry in booked.iter().flat_map(|transaction| &transaction.entries) {
            let rate = if entry.currency == self.currency {
                UNITS
            } else {
                self.rates.get(&entry.currency)?.units()
            };
            debit = (debit + converted(entry.debit, rate)).min(SIZE_MAX);
            credit = (credit + converted(entry.credit, rate)).min(SIZE_MAX);
        }
        Amount::from_units(debit.max(credit))
    }
}

/// A rate has at most 10⁶ whole units, so the product fits.
fn converted(amount: Amount, rate: i128) -> i128 {
    (amount.units().abs().min(SIZE_MAX) * rate / UNITS).min(SIZE_MAX)
}

/// Returns π for a size, an integer over 2⁵³.
pub(crate) fn chance(size: Amount, interval: Amount, least: u64) -> u64 {
    if size >= interval {
        return PI_ONE;
    }
    // Below the interval, which is at most 10²¹ units: the product is below 2¹²⁷.
    let share = size.units() * i128::from(PI_ONE) / interval.units();
    u64::try_from(share).unwrap_or(PI_ONE).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Entry;

    fn booked(entries: &[(&str, &str, &str)]) -> Vec<Transaction> {
        let entries = entries.iter().map(|(currency, debit, credit)| Entry {
            line_of_business: "Eats".into(),
            gl_account: "4000".into(),
            currency: (*currency).into(),
            debit: debit.parse().unwrap(),
            credit: credit.parse().unwrap(),
            ..Entry::default()
        });
        vec![Transaction { key: None, entries: entries.collect() }]
    }

    #[test]
    fn the_size_is_the_larger_side_in_the_reporting_currency() {
        let rates = [("EUR".to_owned(), "1.10".parse().unwrap())].into();
        let sizes = Sizes { currency: "USD".into(), rates };
        for (entries, expect) in [
            (&[][..], Some("0")),
            (&[("USD", "10", "0"), ("USD", "0", "10")], Some("10")),
            (&[("USD", "-10", "0"), ("EUR", "0", "-20")], Some("22")),
            (&[("EUR", "0.000000001", "0")], Some("0.000000001")),
            (&[("JPY", "1", "0")], None),
            (&[("USD", "999999999999999999", "0"); 3], Some("100000000000000")),
            (&[("EUR", "999999999999999999", "0")], Some("100000000000000")),
        ] {
            let expect = expect.map(|size| size.parse().unwrap());
            assert_eq!(sizes.of(&booked(entries)), expect, "{entries:?}");
        }
    }

    #[test]
    fn the_chance_is_the_share_of_the_interval_and_never_below_the_least() {
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        for (size, interval, least, expect) in [
            ("0", "1000", 7, 7),
            ("250", "1000", 7, PI_ONE / 4),
            ("999.999999999", "1000", 7, 9_007_199_254_731_984),
            ("1000", "1000", 7, PI_ONE),
            ("100000000000000", "1000000000000", 7, PI_ONE),
            ("999999999999", "1000000000000", 7, 9_007_199_254_731_984),
            ("0.000000001", "1000000000000", 7, 7),
        ] {
            let chance = chance(amount(size), amount(interval), least);
            assert_eq!(chance, expect, "{size} of {interval}");
        }
        assert!(INTERVAL_MAX.checked_mul(i128::from(PI_ONE)).is_some());
        assert!(SIZE_MAX.checked_mul(1_000_000 * UNITS).is_some());
    }
}
