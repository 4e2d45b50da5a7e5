//! Compares two answers outside the ledger mapping: status, chosen fields, and the structure of JSON bodies; and the types of what the
//! mapping reads. Pure.
//!
//! Differences are named by their path, every item of an array being one place, so that they can be counted over many
//! exchanges. They are shown and never judged: what is judged is money.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use shadow_recorder::exchange::{Body, Exchange, Response};

use crate::answer::Answer;

mod aggregate;
mod pattern;
mod rules;
mod schema;

pub use aggregate::{Aggregate, Example, Found, Where};
use pattern::{Step, written};
use rules::OfRoute;
pub use rules::{Ignored, Rules, Selection};

/// Paths of one route that are told apart; differences at further ones are counted together.
pub const PATHS_MAX: usize = 200;
/// Characters shown of a value.
const VALUE_CHARS_MAX: usize = 80;
/// The path under which the differences at too many paths are counted.
pub const FURTHER_PATHS: &str = "further paths";

/// Which part of an answer differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The status.
    Status,
    /// A field of the head.
    Header,
    /// The body.
    Body,
    /// What the ledger mapping reads.
    Ledger,
}

impl Place {
    /// Returns the word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Header => "header",
            Self::Body => "body",
            Self::Ledger => "ledger",
        }
    }
}

/// How it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Production has it, the candidate has not.
    Missing,
    /// The candidate has it, production has not.
    Extra,
    /// Another type of JSON value.
    Type,
    /// Another value of the same type.
    Value,
    /// One side's body was not stored, so that nothing is known.
    NotCompared,
}

impl Change {
    /// Returns the word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Type => "type",
            Self::Value => "value",
            Self::NotCompared => "not_compared",
        }
    }
}

/// One place at which two answers differ, however often they do there; the values are of the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In which part.
    pub place: Place,
    /// The body's path or the field's name.
    pub path: String,
    /// How.
    pub change: Change,
    /// Production's value, shortened.
    pub primary: Option<String>,
    /// The candidate's value, shortened.
    pub shadow: Option<String>,
}

/// Compares production's answer to an exchange with the candidate's. Where the candidate failed its body says nothing: only the
/// status is compared.
pub fn compare(
    recorded: &Exchange,
    shadow: &Response,
    failed: bool,
    rules: &Rules,
) -> Vec<Difference> {
    let Some(primary) = &recorded.response else { return Vec::new() };
    let mut found = Differences::default();
    if primary.status != shadow.status {
        let values = [Some(primary.status.to_string()), Some(shadow.status.to_string())];
        found.add(Place::Status, String::new(), Change::Value, values);
    }
    if !failed {
        headers(&mut found, primary, shadow, rules);
        let (method, path) = (&recorded.request.method, recorded.request.path());
        bodies(&mut found, &primary.body, &shadow.body, || rules.of(method, path));
    }
    found.found.into_values().collect()
}

/// Compares the types of what the ledger mapping reads of two answers, and of what was posted to sinks.
pub fn compare_ledger(recorded: &Exchange, answer: &Answer, rules: &Rules) -> Vec<Difference> {
    schema::compare(recorded, answer, &rules.mapping)
}

fn headers(found: &mut Differences, primary: &Response, shadow: &Response, rules: &Rules) {
    for name in &rules.headers {
        let of = |response: &Response| {
            let given = response.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            let values: Vec<&str> = given.map(|(_, value)| &**value).collect();
            (!values.is_empty()).then(|| values.join(", "))
        };
        let (before, after) = (of(primary), of(shadow));
        let change = match (&before, &after) {
            (a, b) if a == b => continue,
            (Some(_), None) => Change::Missing,
            (None, _) => Change::Extra,
            (Some(_), Some(_)) => Change::Value,
        };
        found.add(Place::Header, name.clone(), change, [before, after]);
    }
}

fn bodies<'r>(
    found: &mut Differences,
    primary: &Body,
    shadow: &Body,
    rules: impl FnOnce() -> OfRoute<'r>,
) {
    let whole = || "$".to_owned();
    if primary.omitted.is_some() || shadow.omitted.is_some() {
        return found.add(Place::Body, whole(), Change::NotCompared, [None, None]);
    }
    let text = |body: &Body| body.text.clone().unwrap_or_default();
    // Most answers are the same to the byte, and are not parsed.
    if primary.text.as_deref().unwrap_or("") == shadow.text.as_deref().unwrap_or("") {
        return;
    }
    let (before, after) = (text(primary), text(shadow));
    match (serde_json::from_str(&before), serde_json::from_str(&after)) {
        (Ok(before), Ok(after)) => {
            Walk { found, rules: &rules(), place: Vec::new() }.values(&before, &after);
        }
        (Err(_), Err(_)) => {
            found.add(Place::Body, whole(), Change::Value, [Some(before), Some(after)]);
        }
        _ => found.add(Place::Body, whole(), Change::Type, [Some(before), Some(after)]),
    }
}

/// The differences of one exchange, one of each place and kind.
#[derive(Default)]
struct Differences {
    found: BTreeMap<(Place, String, Change), Difference>,
}

impl Differences {
    fn add(&mut self, place: Place, path: String, change: Change, values: [Option<String>; 2]) {
        let full = self.found.len() >= PATHS_MAX
            && !self.found.contains_key(&(place, path.clone(), change));
        let path = if full { FURTHER_PATHS.to_owned() } else { path };
        let [primary, shadow] = values.map(|value| value.map(|text| cut(&text, VALUE_CHARS_MAX)));
        self.found.entry((place, path.clone(), change)).or_insert(Difference {
            place,
            path,
            change,
            primary,
            shadow,
        });
    }
}

/// A walk through two JSON values at once.
struct Walk<'w, 'v> {
    found: &'w mut Differences,
    rules: &'w OfRoute<'w>,
    place: Vec<Step<'v>>,
}

impl<'v> Walk<'_, 'v> {
    fn values(&mut self, primary: &'v Value, shadow: &'v Value) {
        // Numbers are compared by their own text, so 1.10 is not 1.1.
        if primary == shadow || self.rules.ignores(&self.place) {
            return;
        }
        match (primary, shadow) {
            (Value::Object(before), Value::Object(after)) => {
                for (name, value) in before {
                    self.at(Step::Name(name), Some(value), after.get(name));
                }
                for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
                    self.at(Step::Name(name), None, Some(value));
                }
            }
            (Value::Array(before), Value::Array(after)) => self.arrays(before, after),
            _ => {
                let same_type = std::mem::discriminant(primary) == std::mem::discriminant(shadow);
                let change = if same_type { Change::Value } else { Change::Type };
                self.differ(change, Some(primary), Some(shadow));
            }
        }
    }

    fn arrays(&mut self, before: &'v [Value], after: &'v [Value]) {
        let (mut left, mut right): (Vec<_>, Vec<_>) =
            (before.iter().collect(), after.iter().collect());
        if self.rules.is_unordered(&self.place) {
            let (mut before, mut after) = (counts(&left), counts(&right));
            left.retain(|value| !take_one(&mut after, value));
            right.retain(|value| !take_one(&mut before, value));
        }
        let holds_money = self.rules.holds_money(&self.place);
        for at in 0..left.len().max(right.len()) {
            let (left, right) = (left.get(at).copied(), right.get(at).copied());
            if !holds_money || (left.is_some() && right.is_some()) {
                self.at(Step::Item, left, right);
            }
        }
    }

    fn at(&mut self, step: Step<'v>, primary: Option<&'v Value>, shadow: Option<&'v Value>) {
        self.place.push(step);
        match (primary, shadow) {
            (Some(primary), Some(shadow)) => self.values(primary, shadow),
            _ if self.rules.ignores(&self.place) => {}
            (Some(_), None) => self.differ(Change::Missing, primary, None),
            (None, _) => self.differ(Change::Extra, None, shadow),
        }
        self.place.pop();
    }

    fn differ(&mut self, change: Change, primary: Option<&Value>, shadow: Option<&Value>) {
        let text = |value: &Value| match value {
            // A whole document would be cut anyway.
            Value::Object(members) => format!("an object of {}", members.len()),
            Value::Array(items) => format!("an array of {}", items.len()),
            scalar => scalar.to_string(),
        };
        self.found.add(
            Place::Body,
            written(&self.place),
            change,
            [primary.map(text), shadow.map(text)],
        );
    }
}

fn counts<'v>(values: &[&'v Value]) -> HashMap<&'v Value, usize> {
    let mut counts = HashMap::new();
    for value in values {
        *counts.entry(*value).or_default() += 1;
    }
    counts
}

/// Takes one of the values that are equal to this; returns whether there was one.
fn take_one(counts: &mut HashMap<&Value, usize>, value: &Value) -> bool {
    counts.get_mut(value).is_some_and(|count| {
        let is_left = *count > 0;
        *count -= usize::from(is_left);
        is_left
    })
}

/// Shortens a text to so many characters.
fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
