//! One field of an entry: a path, a path with a capture, or a constant; and the forms of money.

use iso_currency::Currency;
use regex::Regex;
use serde_json::Value;

use super::path::Path;
use crate::amount::{Amount, AmountError};

/// Where a field's path begins. Fields of the answer or the transaction are inherited by every entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The entry itself.
    Entry,
    /// The transaction that holds it.
    Transaction,
    /// The whole document.
    Answer,
}

/// How a text field is read.
#[derive(Clone, Debug)]
pub enum Field {
    /// The same for every entry.
    Constant(String),
    /// From the document.
    Read {
        /// Where the path begins.
        from: Level,
        /// The path.
        path: Path,
        /// What is kept of the value: its first group.
        capture: Option<Regex>,
        /// Whether the path may be absent or null.
        optional: bool,
    },
}

/// How one amount is read.
#[derive(Clone, Debug)]
pub enum AmountField {
    /// A JSON number or a text, exact to its own digits.
    Decimal {
        /// Where it is.
        field: Field,
        /// Whether it counts minor units of the currency (cents).
        minor_units: bool,
    },
    /// An integer and its number of decimal places.
    Mantissa {
        /// The integer.
        mantissa: Field,
        /// The places.
        places: Field,
    },
}

/// How debit and credit are read. An amount may be finer than its currency's minor unit: services compute with fractions of cents, and
/// where one side alone has them the line differs by its exact money.
#[derive(Clone, Debug)]
pub enum Money {
    /// Two fields.
    Apart {
        /// The debit.
        debit: AmountField,
        /// The credit.
        credit: AmountField,
    },
    /// One signed amount.
    Signed {
        /// The amount.
        amount: AmountField,
        /// Which side a positive amount is on; a negative one is on the other.
        positive: Side,
    },
    /// One amount and a field that names its side.
    Sided {
        /// The amount; a negative one stays on its side.
        amount: AmountField,
        /// The field.
        side: Field,
        /// What the field says for a debit.
        debit: String,
        /// What the field says for a credit.
        credit: String,
    },
}

/// A side of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Debit.
    Debit,
    /// Credit.
    Credit,
}

/// What a field can look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'v> {
    pub(super) answer: &'v Value,
    pub(super) transaction: &'v Value,
    pub(super) entry: &'v Value,
}

impl Field {
    /// Returns the text, or `None` where it is optional and absent.
    pub(super) fn text(&self, scope: &Scope<'_>) -> Result<Option<String>, String> {
        let (from, path, capture, optional) = match self {
            Self::Constant(value) => return Ok(Some(value.clone())),
            Self::Read { from, path, capture, optional } => (from, path, capture, *optional),
        };
        let root = match from {
            Level::Entry => scope.entry,
            Level::Transaction => scope.transaction,
            Level::Answer => scope.answer,
        };
        let value = match path.one(root) {
            Ok(Value::Null) | Err(super::path::PathError::Absent(_)) if optional => {
                return Ok(None);
            }
            Ok(value) => value,
            Err(error) => return Err(error.to_string()),
        };
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null => return Err(format!("`{}` is null", path.as_str())),
            _ => return Err(format!("`{}` is neither a text nor a number", path.as_str())),
        };
        let text = match capture {
            None => text,
            Some(pattern) => match pattern.captures(&text).and_then(|groups| groups.get(1)) {
                Some(group) => group.as_str().to_owned(),
                None => return Err(format!("`{text}` does not match `{pattern}`")),
            },
        };
        if text.is_empty() {
            Err(format!("`{}` is an empty text", path.as_str()))
        } else {
            Ok(Some(text))
        }
    }
}

impl AmountField {
    fn named<'f>(&'f self, name: &'static str) -> Vec<(&'static str, &'f Field)> {
        match self {
            Self::Decimal { field, .. } => vec![(name, field)],
            Self::Mantissa { mantissa, places } => vec![(name, mantissa), (name, places)],
        }
    }

    /// Returns the amount, or `None` where it is optional and absent.
    fn read(&self, scope: &Scope<'_>, currency: &str) -> Result<Option<Amount>, String> {
        let exact = |amount: Result<Amount, AmountError>| {
            amount.map(Some).map_err(|error| error.to_string())
        };
        match self {
            Self::Decimal { field, minor_units } => {
                let Some(text) = field.text(scope)? else { return Ok(None) };
                if !minor_units {
                    return exact(text.parse());
                }
                let places = Currency::from_code(currency).and_then(Currency::exponent);
                let places = places.ok_or_else(|| format!("{currency} has no minor unit"))?;
                exact(Amount::from_mantissa(&text, places.into()))
            }
            Self::Mantissa { mantissa, places } => {
                let (mantissa, places) = match (mantissa.text(scope)?, places.text(scope)?) {
                    (Some(mantissa), Some(places)) => (mantissa, places),
                    (None, None) => return Ok(None),
                    _ => return Err("of mantissa and places one is absent".into()),
                };
                let places = places
                    .parse()
                    .map_err(|_| format!("`{places}` is not a number of decimal places"))?;
                exact(Amount::from_mantissa(&mantissa, places))
            }
        }
    }
}

impl Money {
    /// Returns the fields that are read, each under the name of its key.
    pub(super) fn fields(&self) -> Vec<(&'static str, &Field)> {
        match self {
            Self::Apart { debit, credit } => {
                [debit.named("debit"), credit.named("credit")].concat()
            }
            Self::Signed { amount, .. } => amount.named("amount"),
            Self::Sided { amount, side, .. } => {
                [amount.named("amount"), vec![("side", side)]].concat()
            }
        }
    }

    /// Returns (debit, credit).
    pub(super) fn read(
        &self,
        scope: &Scope<'_>,
        currency: &str,
    ) -> Result<(Amount, Amount), String> {
        let named = |name: &str, field: &AmountField| {
            field.read(scope, currency).map_err(|what| format!("{name}: {what}"))
        };
        let required = |amount: &AmountField| {
            named("amount", amount)?.ok_or_else(|| "amount: it is optional and absent".to_owned())
        };
        match self {
            Self::Apart { debit, credit } => {
                match (named("debit", debit)?, named("credit", credit)?) {
                    // Either side may be left out, but a line without any money is a line that was not understood.
                    (None, None) => Err("neither debit nor credit is there".into()),
                    (debit, credit) => Ok((debit.unwrap_or_default(), credit.unwrap_or_default())),
                }
            }
            Self::Signed { amount, positive } => {
                let amount = required(amount)?;
                let on_debit = (*positive == Side::Debit) != amount.is_negative();
                let size = if amount.is_negative() { amount.negated() } else { amount };
                Ok(if on_debit { (size, Amount::ZERO) } else { (Amount::ZERO, size) })
            }
            Self::Sided { amount, side, debit, credit } => {
                let amount = required(amount)?;
                match side.text(scope).map_err(|what| format!("side: {what}"))? {
                    Some(text) if text == *debit => Ok((amount, Amount::ZERO)),
                    Some(text) if text == *credit => Ok((Amount::ZERO, amount)),
                    Some(text) => {
                        Err(format!("side: `{text}` is neither `{debit}` nor `{credit}`"))
                    }
                    None => Err("side: it is absent".into()),
                }
            }
        }
    }
}
