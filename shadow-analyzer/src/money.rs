//! Exact money of several currencies: rates, conversion, and decimal text.
//!
//! Everything here is rational arithmetic without a limit; only [`text`] rounds, once, for people.

use crate::number::grouped;
use std::collections::BTreeMap;

use jiff::civil::Date;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};
use shadow_recorder::amount::{SCALE, UNITS, format_units};

/// Decimals that a rate may have: one unit of the weakest currency has six significant digits in the strongest.
pub const RATE_DECIMALS_MAX: usize = 18;

/// The value of one unit of a currency in the reporting currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// As configured.
    pub text: String,
    value: BigRational,
}

impl Rate {
    /// Reads a rate; the error says what to write instead.
    // A rate of zero would make every difference in its currency vanish, so it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        match decimal(text) {
            Some(value) if !value.is_zero() => Ok(Self { text: text.into(), value }),
            _ => Err(format!(
                "`{text}` is not a rate: write the value of one unit in the reporting currency as a decimal above zero with \
                 at most {RATE_DECIMALS_MAX} decimals, for example \"1.0842\""
            )),
        }
    }

    /// Returns whether it leaves amounts as they are.
    pub fn is_one(&self) -> bool {
        self.value.is_one()
    }
}

/// Returns whether a text is an ISO 4217 code.
pub(crate) fn is_currency(code: &str) -> bool {
    iso_currency::Currency::from_code(code).is_some()
}

/// Reads a non-negative decimal without sign or exponent, exactly.
pub(crate) fn decimal(text: &str) -> Option<BigRational> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 18
        || fraction.len() > RATE_DECIMALS_MAX
        || !digits(whole)
        || !digits(fraction)
    {
        return None;
    }
    let numerator: BigInt = format!("{whole}{fraction}").parse().ok()?;
    let places = u32::try_from(fraction.len()).ok()?;
    Some(BigRational::new(numerator, BigInt::from(10).pow(places)))
}

/// The reporting currency and the rates into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// The currency of thresholds and of converted money. Its own rate is 1.
    pub reporting_currency: String,
    /// The other currencies' rates.
    pub values: BTreeMap<String, Rate>,
    /// Of those that a file gave: the dates that they are of.
    pub dates: BTreeMap<String, Date>,
    /// The day for which the file gave them.
    pub day: Option<Date>,
}

impl Rates {
    /// Returns the rate of a currency, or `None` where it has none.
    pub fn of(&self, currency: &str) -> Option<BigRational> {
        if currency == self.reporting_currency {
            return Some(whole(1));
        }
        self.values.get(currency).map(|rate| rate.value.clone())
    }

    /// Returns every rate as text, the reporting currency's included.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let others =
            self.values.iter().map(|(currency, rate)| (currency.clone(), rate.text.clone()));
        others.chain([(self.reporting_currency.clone(), "1".into())]).collect()
    }

    /// Sums absolute money over its currencies, in units of the reporting currency. No money needs no rate.
    pub fn convert<'a>(&self, money: impl IntoIterator<Item = (&'a str, i128)>) -> Converted {
        self.convert_exact(money.into_iter().map(|(currency, units)| (currency, whole(units))))
    }

    /// Sums absolute money that may be parts of units.
    pub fn convert_exact<'a>(
        &self,
        money: impl IntoIterator<Item = (&'a str, BigRational)>,
    ) -> Converted {
        let mut converted = Converted { sum: BigRational::zero(), whole: true };
        for (currency, units) in money {
            match self.of(currency) {
                _ if units.is_zero() => {}
                Some(rate) => converted.sum += rate * units.abs(),
                None => converted.whole = false,
            }
        }
        converted
    }
}

/// Money over several currencies, in units of the reporting currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The sum of what has a rate.
    pub sum: BigRational,
    /// Whether that is everything.
    pub whole: bool,
}

/// Returns a whole number as a rational.
pub(crate) fn whole(number: i128) -> BigRational {
    BigRational::from_integer(number.into())
}

/// Writes units as decimal text, rounded half away from zero to whole units.
pub fn text(units: &BigRational) -> String {
    let rounded = units.round().to_integer();
    match rounded.to_i128() {
        Some(units) => format_units(units),
        None => beyond(&rounded),
    }
}

// Only rates far above 1 lead here: a journal's own sums fit 128 bits.
fn beyond(units: &BigInt) -> String {
    let (one, sign) = (BigInt::from(UNITS), if units.is_negative() { "-" } else { "" });
    let absolute = units.abs();
    let fraction = format!("{:0>width$}", (&absolute % &one).to_string(), width = SCALE as usize);
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{sign}{}.{}", absolute / one, &fraction[..kept])
}

/// Writes money for people: thousands apart, the currency behind.
pub fn people(decimal: &str, currency: &str) -> String {
    let (sign, rest) = decimal.strip_prefix('-').map_or(("", decimal), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, "00"));
    format!("{sign}{}.{fraction} {currency}", grouped(whole)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Rates {
        let rate = |text| Rate::parse(text).unwrap();
        let values = [("EUR".into(), rate("1.25")), ("VND".into(), rate("0.0000393"))].into();
        Rates { reporting_currency: "USD".into(), values, ..Rates::default() }
    }

    #[test]
    fn currencies_never_offset_each_other() {
        let money = [("USD", 125 * UNITS), ("EUR", -100 * UNITS)];
        assert_eq!(text(&rates().convert(money).sum), "250.00");
    }

    #[test]
    fn a_missing_rate_matters_only_where_there_is_money() {
        assert!(rates().convert([("JPY", 0), ("USD", 1)]).whole);
        let converted = rates().convert([("JPY", 5), ("USD", UNITS)]);
        assert!(!converted.whole);
        assert_eq!(text(&converted.sum), "1.00");
    }

    #[test]
    fn text_is_rounded_once_and_never_overflows() {
        assert_eq!(text(&rates().convert([("VND", 1_000 * UNITS)]).sum), "0.0393");
        assert_eq!(text(&BigRational::new(1.into(), 2.into())), "0.000000001");
        assert_eq!(text(&BigRational::new((-1).into(), 3.into())), "0.00");
        let huge = whole(i128::MAX) * whole(1_000);
        assert_eq!(text(&huge), "170141183460469231731687303715884.105727");
        assert_eq!(text(&-huge), "-170141183460469231731687303715884.105727");
    }

    #[test]
    fn a_rate_is_a_positive_decimal() {
        for text in ["1", "1.0842", "0.000000000000000001", "25000"] {
            assert_eq!(Rate::parse(text).unwrap().text, text);
        }
        for text in
            ["", "0", "0.00", "-1", "+1", "1.", ".5", "1e3", "1,5", "NaN", "0.0000000000000000001"]
        {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn people_read_thousands() {
        assert_eq!(people("-1234567.80", "USD"), "-1,234,567.80 USD");
        assert_eq!(people("100.00", ""), "100.00");
    }
}
