//! What of the differences was declared before, and is not judged.

use std::collections::BTreeMap;

use super::{Gross, Money, Overflow, Place, Totals};
use crate::expected::Taken;
use crate::verdict::CellName;

/// What is taken out of a cell's differences in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Of the net difference.
    pub net: Money,
    /// Of the gross difference. Below zero where what was declared had hidden another difference.
    pub gross: Gross,
}

impl Totals {
    /// Takes out of the sums what of one exchange's differences was declared: both shadow − primary, per place. `pi` as for the
    /// exchange's differences themselves.
    pub fn take_expected(
        &mut self,
        differences: &[(Place, Money)],
        taken: &Taken,
        pi: u64,
    ) -> Result<(), Overflow> {
        let mut expected: BTreeMap<CellName, BTreeMap<String, Money>> = BTreeMap::new();
        for (place, money) in taken {
            for name in place.cells() {
                let of = expected.entry(name).or_default().entry(place.currency.clone());
                let sum = of.or_default();
                *sum = sum.plus(*money)?;
            }
        }
        let mut whole: BTreeMap<(CellName, &str), Money> = BTreeMap::new();
        for (place, money) in differences {
            for name in place.cells().filter(|name| expected.contains_key(name)) {
                let sum = whole.entry((name, &place.currency)).or_default();
                *sum = sum.plus(*money)?;
            }
        }
        let day = differences.first().and_then(|(place, _)| place.day);
        for (name, currencies) in expected {
            for (currency, money) in currencies {
                let whole = whole.get(&(name.clone(), &*currency)).copied().unwrap_or_default();
                // The rest's gross difference is what stays of the whole's.
                let gross = Gross::of(whole)?.minus(Gross::of(whole.minus(money)?)?)?;
                let cell = self.cells.entry(name.clone()).or_default();
                for totals in cell.books(&currency, day) {
                    totals.declared.net = totals.declared.net.plus(money)?;
                    totals.declared.gross = totals.declared.gross.plus(gross)?;
                    let nothing = (Money::default(), Gross::default());
                    let (net, gross) = (nothing.0.minus(money)?, nothing.1.minus(gross)?);
                    totals.projection.add_difference(net, gross, pi)?;
                }
            }
        }
        Ok(())
    }
}
