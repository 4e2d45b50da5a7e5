//! How counts are written for people.

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
}
