//! An amount that is a little larger than another: by a hundredth, in the amount's own decimals. Pure.

use serde_json::{Number, Value};
use serde_json_path::{JsonPath, NormalizedPath};

/// Returns a JSON text in which every amount that a path selects is raised; none where it selects no amount.
pub(crate) fn document(text: &str, path: &JsonPath) -> Option<String> {
    let mut document: Value = serde_json::from_str(text).ok()?;
    let pointers: Vec<String> =
        path.query_located(&document).locations().map(NormalizedPath::to_json_pointer).collect();
    let mut raised_any = false;
    for pointer in pointers {
        let Some(value) = document.pointer_mut(&pointer) else { continue };
        let raised = match &*value {
            Value::Number(number) => raised(number.as_str())
                .and_then(|text| text.parse::<Number>().ok())
                .map(Value::Number),
            Value::String(text) => raised(text).map(Value::String),
            _ => None,
        };
        if let Some(raised) = raised {
            *value = raised;
            raised_any = true;
        }
    }
    raised_any.then(|| document.to_string())
}

/// Returns 1.01 times an amount, rounded away from zero to as many decimals as it has, so that it always changes. None for zero and
/// for what is no plain decimal number.
fn raised(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{decimals}");
    if whole.is_empty() || all.len() > 30 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mantissa: u128 = all.parse().ok().filter(|mantissa| *mantissa > 0)?;
    let mantissa = (mantissa * 101).div_ceil(100);
    let places = decimals.len();
    let all = format!("{mantissa:0>width$}", width = places + 1);
    let (whole, decimals) = all.split_at(all.len() - places);
    let point = if places > 0 { "." } else { "" };
    Some(format!("{sign}{whole}{point}{decimals}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_raised_exactly_in_its_own_decimals() {
        let cases = [
            ("10.00", Some("10.10")),
            ("100", Some("101")),
            ("10", Some("11")),
            ("0.01", Some("0.02")),
            ("-3.5", Some("-3.6")),
            ("0.000000001", Some("0.000000002")),
            ("999999999999999999.999999999", Some("1009999999999999999.999999999")),
            ("0", None),
            ("0.00", None),
            ("1e3", None),
            ("", None),
            (".5", None),
            ("ten", None),
        ];
        for (amount, expected) in cases {
            assert_eq!(raised(amount).as_deref(), expected, "{amount}");
        }
    }

    #[test]
    fn numbers_and_texts_are_raised_where_a_path_selects_them() {
        let path = JsonPath::parse("$..fare").unwrap();
        let raised =
            document(r#"{"fare":10.00,"legs":[{"fare":"2.50","n":1},{"fare":null}]}"#, &path);
        assert_eq!(
            raised.as_deref(),
            Some(r#"{"fare":10.10,"legs":[{"fare":"2.53","n":1},{"fare":null}]}"#)
        );
        for without in [r#"{"n":10}"#, r#"{"fare":0}"#, "not JSON", ""] {
            assert_eq!(document(without, &path), None, "{without}");
        }
    }
}
