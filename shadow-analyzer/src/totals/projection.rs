//! What sampled exchanges stand for beyond themselves.
//!
//! An exchange that was recorded with the probability π stands for 1/π of its kind: Σ d/π estimates the sum over all traffic. What is
//! kept is Σ d · (1/π − 1), so that the observed sum stays exact beside it and an exchange with π = 1 adds nothing.
//!
//! Each term is d · (2⁵³ − p) / p, p being the integer π · 2⁵³, and is rounded to 2⁻⁶⁴ units. With a π for every size of an exchange an
//! exact sum would be a fraction of millions of digits; so a million terms are wrong by less than 10⁻²² of a currency's unit.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;
use shadow_recorder::exchange::PI_ONE;

use super::{Gross, Money, Overflow};

/// Binary places that are kept of a term.
const PLACES: u32 = 64;

/// A sum of terms d · (1/π − 1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beyond(BigInt);

impl Beyond {
    /// Adds what `units` stand for. A π outside of (0, 1], which no recorder writes, counts as the least there is.
    pub fn add(&mut self, units: i128, pi: u64) {
        let pi = if pi > PI_ONE { 1 } else { pi.max(1) };
        if units != 0 && pi < PI_ONE {
            let scaled = (BigInt::from(units) * (PI_ONE - pi)) << PLACES;
            // To the nearest: half the divisor more, rounded down.
            let doubled: BigInt = scaled * 2 + pi;
            self.0 += BigRational::new_raw(doubled, BigInt::from(pi) * 2).floor().to_integer();
        }
    }

    /// Returns whether nothing was sampled, or it cancels out.
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// Returns the sum in units.
    pub fn units(&self) -> BigRational {
        BigRational::new(self.0.clone(), BigInt::from(1) << PLACES)
    }
}

/// What a cell's sampled exchanges stand for beyond themselves, in one currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Of what production booked: debit, credit.
    pub primary: [Beyond; 2],
    /// Of the net difference: debit, credit, balance.
    pub net: [Beyond; 3],
    /// Of the gross difference: debit, credit, balance.
    pub gross: [Beyond; 3],
    /// Of production's money that was not compared: debit, credit.
    pub not_examined: [Beyond; 2],
    /// Of the control's difference from production: debit, credit, balance.
    pub control: [Beyond; 3],
}

impl Projection {
    /// Adds an exchange's difference.
    pub(super) fn add_difference(
        &mut self,
        net: Money,
        gross: Gross,
        pi: u64,
    ) -> Result<(), Overflow> {
        let net = [net.debit, net.credit, net.balance()?];
        let gross = [gross.debit, gross.credit, gross.balance];
        for measure in 0..3 {
            self.net[measure].add(net[measure], pi);
            self.gross[measure].add(gross[measure], pi);
        }
        Ok(())
    }

    pub(super) fn add_control(&mut self, difference: Money, pi: u64) -> Result<(), Overflow> {
        let measures = [difference.debit, difference.credit, difference.balance()?];
        for (sum, units) in self.control.iter_mut().zip(measures) {
            sum.add(units, pi);
        }
        Ok(())
    }

    pub(super) fn add_primary(&mut self, money: Money, pi: u64) {
        add_sides(&mut self.primary, money, pi);
    }

    pub(super) fn add_not_examined(&mut self, money: Money, pi: u64) {
        add_sides(&mut self.not_examined, money, pi);
    }
}

fn add_sides([debit, credit]: &mut [Beyond; 2], money: Money, pi: u64) {
    debit.add(money.debit, pi);
    credit.add(money.credit, pi);
}

#[cfg(test)]
mod tests {
    use num_traits::Signed;

    use super::*;
    use crate::money::whole;

    #[test]
    fn an_exchange_stands_for_the_reciprocal_of_its_probability() {
        let mut beyond = Beyond::default();
        beyond.add(100, PI_ONE);
        assert_eq!(beyond.units(), whole(0));
        beyond.add(100, PI_ONE / 4);
        assert_eq!(beyond.units(), whole(300));
        beyond.add(-300, PI_ONE / 2);
        assert_eq!(beyond.units(), whole(0));
        // A probability that nobody writes must not make money vanish.
        for pi in [0, PI_ONE + 1] {
            let mut beyond = Beyond::default();
            beyond.add(1, pi);
            assert_eq!(beyond.units(), whole(i128::from(PI_ONE) - 1));
        }
    }

    #[test]
    fn a_term_is_rounded_to_the_nearest_of_64_binary_places() {
        for units in [7, -7] {
            let mut beyond = Beyond::default();
            beyond.add(units, PI_ONE / 3);
            let exact = BigRational::new((i128::from(PI_ONE) * units).into(), (PI_ONE / 3).into())
                - whole(units);
            let off = (beyond.units() - exact).abs();
            let half = BigRational::new(1.into(), BigInt::from(1) << (PLACES + 1));
            assert!(off <= half, "{off}");
        }
    }

    #[test]
    fn the_vector_of_the_literature_is_projected() {
        // y = (100, −50, 0, 0, 300, 25) with π = (.1, .1, .1, .1, 1, .5) estimates 850.
        let tenth = PI_ONE / 10;
        let sample =
            [(100, tenth), (-50, tenth), (0, tenth), (0, tenth), (300, PI_ONE), (25, PI_ONE / 2)];
        let mut beyond = Beyond::default();
        let observed: i128 = sample.iter().map(|(units, _)| units).sum();
        for (units, pi) in sample {
            beyond.add(units, pi);
        }
        assert_eq!((beyond.units() + whole(observed)).round(), whole(850));
    }
}
