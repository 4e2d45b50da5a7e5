//! What is done to a value that a rule selects.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::token::Format;

/// What stands where a text was masked.
const MASK: &str = "***";

/// What is done to a value that a rule selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum With {
    /// It is removed, with its name. An element of a JSON array becomes `null`, so that the others keep their places.
    Drop,
    /// It becomes `***`; a JSON number becomes 0, `true` becomes `false`, and `null` stays.
    Mask,
    /// It becomes a token; of JSON, numbers stay numbers, `true` becomes `false`, and `null` stays.
    Token,
}

/// The same with what it needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action<'k> {
    Drop,
    Mask,
    Token(&'k Key, Format),
}

impl Action<'_> {
    /// Returns what stands for a text; nothing where it is dropped. An empty text has nothing to hide.
    pub(super) fn text(self, value: &str) -> Option<Cow<'static, str>> {
        match self {
            Self::Drop => None,
            _ if value.is_empty() => Some("".into()),
            Self::Mask => Some(MASK.into()),
            Self::Token(key, format) => Some(key.token(format, value).into()),
        }
    }

    /// Returns what stands for a JSON value that is neither array nor object, as JSON.
    pub(super) fn json(self, value: &str) -> String {
        match (value.as_bytes().first(), self) {
            (Some(b'"'), _) => {
                // It was parsed before; were it not sound, nothing of it may be kept.
                let text: String = serde_json::from_str(value).unwrap_or_else(|_| "?".into());
                serde_json::Value::from(self.text(&text).unwrap_or_default()).to_string()
            }
            (Some(b't' | b'f'), _) => "false".into(),
            (Some(b'0'..=b'9' | b'-'), Self::Token(key, format)) => key.number_token(format, value),
            (Some(b'0'..=b'9' | b'-'), _) => "0".into(),
            _ => "null".into(),
        }
    }
}
