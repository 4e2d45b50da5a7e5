//! Two policies, line by line. Pure.
//!
//! Lines are made from the document itself, whatever its fields are, so that none can be forgotten here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::verdict::PolicyChange;

/// Parts of the document that say nothing to a reader of a line.
const SILENT: [&str; 4] = ["policy", "thresholds", "cells", "threshold"];
/// What it says of itself, and would always change.
const DIGEST: &str = "sha256";
/// By which an item of a list is told from the others.
const NAMES: [&str; 2] = ["dimension", "value"];

/// The values of each line. A list without names is one line with several.
type Lines = BTreeMap<String, BTreeSet<String>>;

/// Returns the lines that differ, by place.
pub(super) fn changes(before: &impl Serialize, after: &impl Serialize) -> Vec<PolicyChange> {
    let (before, after) = (lines(before), lines(after));
    let places: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let none = BTreeSet::new();
    places
        .into_iter()
        .flat_map(|place| {
            let of = |lines: &Lines| lines.get(place).unwrap_or(&none).clone();
            line_changes(place, &of(&before), &of(&after))
        })
        .collect()
}

fn line_changes(
    place: &str,
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Vec<PolicyChange> {
    let change = |before: Option<&String>, after: Option<&String>| PolicyChange {
        line: place.into(),
        before: before.cloned(),
        after: after.cloned(),
    };
    let gone: Vec<_> = before.difference(after).collect();
    let came: Vec<_> = after.difference(before).collect();
    if let ([gone], [came]) = (&*gone, &*came) {
        return vec![change(Some(gone), Some(came))];
    }
    let gone = gone.into_iter().map(|gone| change(Some(gone), None));
    gone.chain(came.into_iter().map(|came| change(None, Some(came)))).collect()
}

fn lines(document: &impl Serialize) -> Lines {
    let mut lines = Lines::new();
    let value = serde_json::to_value(document).expect("texts and numbers are JSON");
    add(&mut lines, &[], &value);
    lines
}

fn add(lines: &mut Lines, place: &[&str], value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| *key != DIGEST) {
                let silent = SILENT.contains(&&**key);
                add(lines, &further(place, (!silent).then_some(key)), value);
            }
        }
        Value::Array(items) => {
            for item in items {
                let name = NAMES.into_iter().find_map(|name| Some((name, item.get(name)?)));
                match (name, item) {
                    (Some((key, name)), Value::Object(fields)) => {
                        let fields = fields.iter().filter(|(field, _)| *field != key);
                        let rest = fields.map(|(key, value)| (key.clone(), value.clone()));
                        let name = words(name, " / ");
                        add(lines, &further(place, Some(&name)), &Value::Object(rest.collect()));
                    }
                    _ => {
                        lines.entry(place.join(" ")).or_default().insert(words(item, ", "));
                    }
                }
            }
        }
        scalar => {
            lines.entry(place.join(" ")).or_default().insert(words(scalar, ", "));
        }
    }
}

fn further<'a>(place: &[&'a str], part: Option<&'a (impl AsRef<str> + ?Sized)>) -> Vec<&'a str> {
    place.iter().copied().chain(part.map(AsRef::as_ref)).collect()
}

/// Returns a value as words; what is absent has none.
fn words(value: &Value, between: &str) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items = items.iter().map(|item| words(item, between));
            items.filter(|item| !item.is_empty()).collect::<Vec<_>>().join(between)
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key, words(value, between)));
            let fields = fields.filter(|(_, value)| !value.is_empty());
            fields.map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(between)
        }
        scalar => scalar.to_string(),
    }
}
