//! A place in a JSON document with all items of an array taken as one, and the patterns that select such places.

use std::fmt::Write;

use shadow_recorder::ledger::Path;

/// One step from a value to a value within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'v> {
    /// To the member of an object.
    Name(&'v str),
    /// To an item of an array.
    Item,
}

/// Characters of a written place; the rest is cut.
const PLACE_CHARS_MAX: usize = 200;

/// Writes a place as a JSONPath with `[*]` for every item.
pub(super) fn written(place: &[Step<'_>]) -> String {
    let mut text = String::from("$");
    for step in place {
        match step {
            Step::Item => text.push_str("[*]"),
            Step::Name(name) if is_plain(name) => {
                let _ = write!(text, ".{name}");
            }
            Step::Name(name) => {
                let _ = write!(text, "['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"));
            }
        }
        if text.len() > 4 * PLACE_CHARS_MAX {
            break;
        }
    }
    super::cut(&text, PLACE_CHARS_MAX)
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// What selects places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(String),
    Item,
    /// A member or an item.
    Any,
    /// Any number of steps.
    Below,
}

impl Pattern {
    /// Makes a pattern of a path: an index, a slice and a filter stand for every item. The error says what it cannot express.
    pub(super) fn of(path: &Path) -> Result<Self, String> {
        let mut parts = Vec::new();
        for part in path.parts() {
            let rest = match part.strip_prefix("..") {
                Some(rest) => {
                    parts.push(Part::Below);
                    rest
                }
                None => part.strip_prefix('.').unwrap_or(part),
            };
            parts.push(one(rest).ok_or_else(|| {
                format!(
                    "`{}` cannot be used here: write plain names, without escapes",
                    path.as_str()
                )
            })?);
        }
        Ok(Self { parts })
    }

    /// Returns the pattern followed by another.
    pub(super) fn then(&self, further: &Self) -> Self {
        Self { parts: [&self.parts[..], &further.parts[..]].concat() }
    }

    /// Returns the pattern of what holds the selected places.
    pub(super) fn holder(&self) -> Self {
        let held = self.parts.len().saturating_sub(1);
        Self { parts: self.parts[..held].to_vec() }
    }

    /// Returns whether a place is selected.
    pub(super) fn selects(&self, place: &[Step<'_>]) -> bool {
        selects(&self.parts, place)
    }
}

fn one(part: &str) -> Option<Part> {
    if part == "*" {
        return Some(Part::Any);
    }
    let Some(inner) = part.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return Some(Part::Name(part.to_owned()));
    };
    let inner = inner.trim();
    match inner.as_bytes() {
        [b'*'] | [b'?', ..] => Some(Part::Any),
        [quote @ (b'\'' | b'"'), .., end] if quote == end && !inner.contains('\\') => {
            Some(Part::Name(inner[1..inner.len() - 1].to_owned()))
        }
        [b'\'' | b'"', ..] => None,
        _ => Some(Part::Item),
    }
}

fn selects(parts: &[Part], place: &[Step<'_>]) -> bool {
    match (parts, place) {
        ([], []) => true,
        ([Part::Below, rest @ ..], _) => {
            selects(rest, place) || place.split_first().is_some_and(|(_, on)| selects(parts, on))
        }
        ([part, rest @ ..], [step, on @ ..]) => {
            let same = match (part, step) {
                (Part::Name(name), Step::Name(given)) => name == given,
                (Part::Item, Step::Item) | (Part::Any, _) => true,
                _ => false,
            };
            same && selects(rest, on)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::of(&Path::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn a_pattern_selects_places_whatever_the_index() {
        let place = [Step::Name("a"), Step::Item, Step::Name("b c")];
        assert_eq!(written(&place), "$.a[*]['b c']");
        for selecting in [
            "$.a[*]['b c']",
            "$.a[0]['b c']",
            "$..['b c']",
            "$['a'][?@.x == 1].*",
            "$.*[1:]['b c']",
        ] {
            assert!(pattern(selecting).selects(&place), "{selecting}");
        }
        for other in ["$.a", "$.a[*].b", "$.a.b['b c']", "$", "$.a[*]['b c'].d"] {
            assert!(!pattern(other).selects(&place), "{other}");
        }
        assert!(pattern("$.a[*]").then(&pattern("$['b c']")).selects(&place));
        assert!(pattern("$.a[*]").holder().selects(&place[..1]));
        assert!(Pattern::of(&Path::parse(r"$['a\'b']").unwrap()).is_err());
    }
}
