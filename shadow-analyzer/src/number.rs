//! How counts and shares are written.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive};
use shadow_recorder::amount::{UNITS, format_units};

/// Writes a whole number with thousands separators.
pub(crate) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// Writes a count with its noun.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Writes a number of exchanges.
pub(crate) fn exchanges(number: u64) -> String {
    counted(number, "exchange", "exchanges")
}

/// Writes a part of a whole as a share of 1, rounded down to six decimals: 1 is all of it. Of nothing there is no share.
pub(crate) fn share(part: &BigRational, whole: &BigRational) -> Option<String> {
    const DECIMALS: i64 = 1_000_000;
    if !whole.is_positive() {
        return None;
    }
    let share = (part * BigInt::from(DECIMALS) / whole).floor().to_integer().to_i128()?;
    Some(format_units(share * UNITS / i128::from(DECIMALS)))
}

/// Puts a comma before every third digit from the right.
pub(crate) fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_and_one_is_singular() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!((exchanges(1), exchanges(0)), ("1 exchange".into(), "0 exchanges".into()));
    }

    #[test]
    fn a_share_is_never_more_than_it_is() {
        let of = |part: i64, whole: i64| {
            let ratio = |number: i64| BigRational::from_integer(number.into());
            share(&ratio(part), &ratio(whole))
        };
        assert_eq!(of(2, 3).as_deref(), Some("0.666666"));
        assert_eq!(of(9_999_999, 10_000_000).as_deref(), Some("0.999999"));
        assert_eq!((of(5, 5).as_deref(), of(0, 0)), (Some("1.00"), None));
    }
}
