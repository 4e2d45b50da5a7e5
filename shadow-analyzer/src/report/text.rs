//! What may be written on a page: harmless text, exact figures, counts, instants.
//!
//! The page shows names that production traffic and a candidate chose. A template writes only the types of this file (and constants),
//! so that no such name reaches the page unseen.

use crate::number::{count, grouped};
use std::fmt;
use std::fmt::Write as _;

use jiff::Timestamp;

/// Characters of a name that are shown; the rest is counted. Real ones are below 60.
pub(super) const NAME_CHARS_MAX: usize = 160;
/// Characters of a sentence that are shown; the rest is counted.
pub(super) const SENTENCE_CHARS_MAX: usize = 1_200;

/// Text without characters that are invisible or that change what stands around them. Escaping is askama's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(String);

impl Text {
    /// Returns a name: an identifier, a value of a dimension, a route, a build.
    pub(super) fn name(raw: &str) -> Self {
        Self(visible(raw, NAME_CHARS_MAX))
    }

    /// Returns a sentence.
    pub(super) fn sentence(raw: &str) -> Self {
        Self(visible(raw, SENTENCE_CHARS_MAX))
    }

    /// Returns several names as one, as a cell of two dimensions is called.
    pub(super) fn names(raw: &[String]) -> Self {
        Self(raw.iter().map(|value| visible(value, NAME_CHARS_MAX)).collect::<Vec<_>>().join(" · "))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn visible(raw: &str, chars_max: usize) -> String {
    if raw.is_empty() {
        return "(empty)".to_owned();
    }
    let mut text = String::with_capacity(raw.len().min(4 * chars_max));
    for character in raw.chars().take(chars_max) {
        match character {
            '\0'..='\x1f' => {
                text.push(char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'));
            }
            '\x7f' => text.push('\u{2421}'),
            _ if is_unseen(character) => {
                // Writing to a String cannot fail.
                let _ = write!(text, "⟨U+{:04X}⟩", u32::from(character));
            }
            _ => text.push(character),
        }
    }
    let left = raw.chars().skip(chars_max).count();
    if left > 0 {
        let _ = write!(text, "… ({} more characters)", count(left as u64));
    }
    text
}

/// Whether a character cannot be seen or reorders its neighbours: C1 controls, zero-width and bidirectional marks, line separators,
/// variation selectors, tags.
fn is_unseen(character: char) -> bool {
    matches!(character,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// An amount of money: the verdict's own text, and the same digits set for reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Figure {
    /// As the verdict has it; the page carries it in `<data value>`.
    pub(super) exact: Text,
    /// With thousands separators, a true minus and at least two decimals. No digit is dropped.
    pub(super) shown: Text,
    /// Whether it is nothing, so that the eye may pass over it.
    pub(super) zero: bool,
}

impl Figure {
    /// Returns an amount.
    pub(super) fn amount(exact: &str) -> Self {
        Self::with_plus(exact, "")
    }

    /// Returns a difference, whose sign is always written.
    pub(super) fn difference(exact: &str) -> Self {
        Self::with_plus(exact, "+")
    }

    fn with_plus(exact: &str, plus: &str) -> Self {
        let Some((negative, whole, decimals)) = split(exact) else {
            let text = Text::name(exact);
            return Self { exact: text.clone(), shown: text, zero: false };
        };
        let zero = !exact.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
        let sign = match (zero, negative) {
            (true, _) => "",
            (false, true) => "\u{2212}",
            (false, false) => plus,
        };
        let shown = format!("{sign}{}.{decimals:0<2}", grouped(whole));
        Self { exact: Text(exact.to_owned()), shown: Text(shown), zero }
    }
}

/// Splits decimal text into its sign, its whole digits and its decimals; anything else is `None`.
pub(super) fn split(exact: &str) -> Option<(bool, &str, &str)> {
    let digits = exact.strip_prefix('-').unwrap_or(exact);
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    (!whole.is_empty() && whole.len() + decimals.len() <= 60 && plain(whole) && plain(decimals))
        .then_some((exact.starts_with('-'), whole, decimals))
}

/// Returns whether decimal text is zero. What is not decimal text is not.
pub(super) fn is_zero(exact: &str) -> bool {
    Figure::amount(exact).zero
}

/// Returns an instant as people read it. It is the same digits as in the verdict.
pub(super) fn instant(at: Timestamp) -> String {
    at.to_string().replace('T', " ").replace('Z', " UTC")
}

/// Returns a length of time in its two largest units; a day is 24 hours.
pub(super) fn length(seconds: u64) -> String {
    let (days, hours) = match seconds / 3_600 {
        hours @ ..72 => (0, hours),
        hours => (hours / 24, hours % 24),
    };
    let units = [(days, "d"), (hours, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let words: Vec<_> = units
        .iter()
        .skip_while(|(number, _)| *number == 0)
        .take(2)
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number} {unit}"))
        .collect();
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

/// Returns microseconds as milliseconds, to the microsecond.
pub(super) fn milliseconds(us: i64) -> String {
    let sign = if us < 0 { "\u{2212}" } else { "" };
    let us = us.unsigned_abs();
    format!("{sign}{}.{:03}", count(us / 1_000), us % 1_000)
}

/// Returns how many of a list are not shown.
pub(super) fn more(list: usize, shown: usize) -> u64 {
    list.saturating_sub(shown) as u64
}
