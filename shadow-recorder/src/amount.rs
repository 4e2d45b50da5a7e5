//! Exact amounts of money.
//!
//! An [`Amount`] is parsed from the text that the service wrote and never passes through a binary float. Its range is
//! that of the journal's `decimal(38, 9)` column less a reserve: at most 18 integer digits and 9 decimals, so that the sum of
//! 10¹⁰ amounts still fits. Text beyond that, or text that is no decimal number, is *unparseable*; nothing is rounded.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimals kept of every amount: the scale of the journal's decimal columns.
pub const SCALE: u32 = 9;
/// Integer digits that an amount may have.
pub const INTEGER_DIGITS_MAX: u32 = 18;
/// Units in one whole: 10^[`SCALE`].
pub const UNITS: i128 = 1_000_000_000;

/// An exact decimal amount within the journal's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(Decimal);

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text does not follow JSON's number grammar.
    #[error("`{0}` is not a decimal number")]
    Grammar(String),
    /// More integer digits than [`INTEGER_DIGITS_MAX`].
    #[error("`{0}` has more than 18 integer digits")]
    TooLarge(String),
    /// More decimals than [`SCALE`].
    #[error("`{0}` has more than 9 decimals")]
    TooFine(String),
}

impl Amount {
    /// Zero.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// Returns the amount of `mantissa` · 10^-`places`, as accounting APIs write it.
    pub fn from_mantissa(mantissa: &str, places: u32) -> Result<Self, AmountError> {
        parse(mantissa, -i64::from(places))
    }

    /// Returns the amount as a whole number of 10⁻⁹ units, the representation that sums use.
    pub fn units(self) -> i128 {
        self.0.mantissa() * 10_i128.pow(SCALE - self.0.scale())
    }

    /// Returns the amount of a whole number of 10⁻⁹ units, or `None` beyond the limits.
    pub fn from_units(units: i128) -> Option<Self> {
        let limit = 10_i128.pow(INTEGER_DIGITS_MAX + SCALE);
        (-limit < units && units < limit)
            .then(|| Self(Decimal::from_i128_with_scale(units, SCALE).normalize()))
    }

    /// Returns the amount with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        if self.is_zero() { self } else { Self(-self.0) }
    }

    /// Returns whether the amount is zero.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Returns whether the amount is below zero.
    pub fn is_negative(self) -> bool {
        self.0.is_sign_negative() && !self.0.is_zero()
    }

    /// Returns the value as a `Decimal`, for arithmetic that stays within its 96 bits.
    pub fn decimal(self) -> Decimal {
        self.0
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        parse(text, 0)
    }
}

/// Reads JSON's number grammar, scientific form included, shifted by `shift` decimal places.
// `Decimal::from_str` rounds silently and takes "1_000"; `from_str_exact` refuses "1E5". Hence the grammar is read here
// and `Decimal` only holds the result.
fn parse(text: &str, shift: i64) -> Result<Amount, AmountError> {
    let grammar = || AmountError::Grammar(shorten(text));
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (number, exponent) = match rest.split_once(['e', 'E']) {
        Some((number, exponent)) => {
            let digits = exponent.trim_start_matches(['+', '-']);
            if digits.is_empty() || exponent.len() - digits.len() > 1 || !all_digits(digits) {
                return Err(grammar());
            }
            // An exponent of more digits than this decides by its sign alone; zero stays zero.
            let size: i64 = digits.parse().unwrap_or(1_000_000);
            (
                number,
                if exponent.starts_with('-') { -size.min(1_000_000) } else { size.min(1_000_000) },
            )
        }
        None => (rest, 0),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(grammar()),
        Some(parts) => parts,
        None => (number, ""),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || leading_zero || !all_digits(whole) || !all_digits(fraction) {
        return Err(grammar());
    }
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_start_matches('0');
    let significant = trimmed.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(Amount::ZERO);
    }
    let trailing = i64::try_from(trimmed.len() - significant.len()).map_err(|_| grammar())?;
    let decimals = i64::try_from(fraction.len()).map_err(|_| grammar())?;
    let power = exponent + shift + trailing - decimals;
    let size = i64::try_from(significant.len()).map_err(|_| grammar())?;
    if size + power > i64::from(INTEGER_DIGITS_MAX) {
        return Err(AmountError::TooLarge(shorten(text)));
    }
    if -power > i64::from(SCALE) {
        return Err(AmountError::TooFine(shorten(text)));
    }
    let mantissa: i128 = significant.parse().map_err(|_| grammar())?;
    let scaled = u32::try_from(power + i64::from(SCALE)).map_err(|_| grammar())?;
    let units = mantissa * 10_i128.pow(scaled) * if negative { -1 } else { 1 };
    Amount::from_units(units).ok_or_else(|| AmountError::TooLarge(shorten(text)))
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Cuts a hostile text before it is repeated in an error.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 40 {
        text.into()
    } else {
        text.chars().take(40).chain("…".chars()).collect()
    }
}

/// Writes a whole number of 10⁻⁹ units as a plain decimal with at least two decimals, as accountants write money.
pub fn format_units(units: i128) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let absolute = units.unsigned_abs();
    let (whole, fraction) = (absolute / UNITS.unsigned_abs(), absolute % UNITS.unsigned_abs());
    let decimals = format!("{fraction:09}");
    let kept = decimals.trim_end_matches('0').len().max(2);
    format!("{sign}{whole}.{}", &decimals[..kept])
}

/// Reads back what [`format_units`] wrote; `None` for anything else.
pub fn parse_units(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.')?;
    let decimals = u32::try_from(fraction.len()).ok().filter(|decimals| *decimals <= SCALE)?;
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if digits.is_empty() || !all_digits(digits) || !all_digits(fraction) {
        return None;
    }
    let units: i128 = format!("{whole}{fraction}").parse().ok()?;
    units.checked_mul(10_i128.pow(SCALE - decimals))
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_units(self.units()))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expect: &str) {
        assert_eq!(text.parse::<Amount>().map(|a| a.to_string()), Ok(expect.to_owned()), "{text}");
    }

    #[test]
    fn reads_every_form_of_json_number_exactly() {
        for (text, expect) in [
            ("0", "0.00"),
            ("-0", "0.00"),
            ("0.1", "0.10"),
            ("-70.00", "-70.00"),
            ("1E5", "100000.00"),
            ("1.5e-3", "0.0015"),
            ("123456789012345678.123456789", "123456789012345678.123456789"),
            ("0.10000000000000000000", "0.10"),
            ("100000000000000000000e-9", "100000000000.00"),
            ("0e999999999999", "0.00"),
        ] {
            check(text, expect);
        }
    }

    #[test]
    fn refuses_what_is_not_exact_money() {
        for text in [
            "", "-", "+5", ".5", "5.", "1_000", "1,000.00", "1.234,56", "NaN", "Infinity", "0x10",
            "01", "1e", "1e+-2", " 1", "1 ",
        ] {
            assert!(matches!(text.parse::<Amount>(), Err(AmountError::Grammar(_))), "{text}");
        }
        for text in ["1234567890123456789", "1e400", "1e18"] {
            assert!(matches!(text.parse::<Amount>(), Err(AmountError::TooLarge(_))), "{text}");
        }
        for text in ["0.1234567891", "1e-30", "1e-400"] {
            assert!(matches!(text.parse::<Amount>(), Err(AmountError::TooFine(_))), "{text}");
        }
    }

    #[test]
    fn reads_mantissa_and_places() {
        assert_eq!(Amount::from_mantissa("10000", 2).unwrap().to_string(), "100.00");
        assert_eq!(Amount::from_mantissa("-5", 3).unwrap().to_string(), "-0.005");
        assert_eq!(Amount::from_mantissa("1", 10), Err(AmountError::TooFine("1".into())));
    }

    proptest! {
        #[test]
        fn survives_the_round_trip_through_text(units in -(10_i128.pow(27) - 1)..10_i128.pow(27)) {
            let amount = Amount::from_units(units).unwrap();
            prop_assert_eq!(amount.units(), units);
            prop_assert_eq!(amount.to_string().parse::<Amount>().unwrap(), amount);
        }
    }
}
