//! Compares the shape of what the ledger mapping reads: a field that is missing, new or of another JSON type, though both sides can be
//! read, such as an amount that became a text. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shadow_recorder::exchange::{Body, Exchange, Request, UpstreamCall};
use shadow_recorder::ledger::{Extract, Field, Level, Path, Rule, Source};

use super::{Change, Difference, Differences, Place};
use crate::answer::Answer;

/// The types of the values at each path that the mapping reads.
type Shape = BTreeMap<String, BTreeSet<&'static str>>;

/// What stands for a type where a path is not there.
const ABSENT: &str = "absent";

/// Returns the differences between what production and the candidate answered or posted to sinks.
pub(super) fn compare(recorded: &Exchange, answer: &Answer, rules: &[Rule]) -> Vec<Difference> {
    let (Some(primary), Some(shadow)) = (&recorded.response, &answer.response) else {
        return Vec::new();
    };
    let request = &recorded.request;
    let rules = || rules.iter().filter(|rule| rule.route.matches(&request.method, request.path()));
    let mut found = Differences::default();
    // The same text has the same shape.
    if primary.body.text != shadow.body.text {
        let of = |status: u16, body: &Body| {
            let is_meant = |rule: &&Rule| {
                rule.status.matches(status) && !matches!(rule.source, Source::Sink(..))
            };
            let mut shape = Shape::new();
            if let Some(Source::Answer(extract)) = rules().find(is_meant).map(|rule| &rule.source) {
                add(&mut shape, "", extract, body);
            }
            shape
        };
        shapes(&mut found, &of(primary.status, &primary.body), &of(shadow.status, &shadow.body));
    }
    let of = |status: u16, calls: &[UpstreamCall]| {
        let mut shape = Shape::new();
        for rule in rules().filter(|rule| rule.status.matches(status)) {
            let Source::Sink(name, extract) = &rule.source else { continue };
            for Request { body, .. } in calls.iter().filter(|c| c.name == *name).map(|c| &c.request)
            {
                add(&mut shape, &format!("sink {name}: "), extract, body);
            }
        }
        shape
    };
    shapes(&mut found, &of(primary.status, &recorded.upstream), &of(shadow.status, &answer.calls));
    found.found.into_values().collect()
}

/// Adds the types of everything that an extract reads of a document. What cannot be read has no shape.
fn add(shape: &mut Shape, of: &str, extract: &Extract, body: &Body) {
    let text = body.text.as_deref().unwrap_or("");
    let Ok(document) = serde_json::from_str::<Value>(text) else { return };
    let transactions = extract.transactions.all(&document).unwrap_or_default();
    let entries: Vec<&Value> = transactions
        .iter()
        .flat_map(|node| extract.entries.all(node).unwrap_or_default())
        .collect();
    let named = extract.money_fields().into_iter().map(|(_, field)| field);
    for field in named.chain(extract.fields.values()) {
        let Field::Read { from, path, .. } = field else { continue };
        let roots = match from {
            Level::Answer => &vec![&document],
            Level::Transaction => &transactions,
            Level::Entry => &entries,
        };
        let types = roots.iter().flat_map(|root| types(path, root));
        let parts = extract.above(*from).into_iter().chain([path]);
        let parts: String = parts.flat_map(Path::parts).collect();
        shape.entry(format!("{of}${parts}")).or_default().extend(types);
    }
}

fn types(path: &Path, root: &Value) -> Vec<&'static str> {
    let of = |value: &&Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    path.all(root).map_or_else(|_| vec![ABSENT], |nodes| nodes.iter().map(of).collect())
}

/// Finds how two shapes differ. A path that one side has no line for says nothing.
fn shapes(found: &mut Differences, primary: &Shape, shadow: &Shape) {
    for (path, before) in primary {
        let Some(after) = shadow.get(path).filter(|after| !after.is_empty()) else { continue };
        let there = |types: &BTreeSet<&'static str>| -> Vec<&str> {
            types.iter().copied().filter(|of| *of != ABSENT).collect()
        };
        let (old, new) = (there(before), there(after));
        let change = match (before.contains(ABSENT), after.contains(ABSENT)) {
            // Production has it in every line, the candidate not.
            (false, true) if !old.is_empty() => Change::Missing,
            _ if before.is_empty() || old == new || new.is_empty() => continue,
            _ if old.is_empty() => Change::Extra,
            _ => Change::Type,
        };
        let shown =
            |types: &BTreeSet<&str>| Some(types.iter().copied().collect::<Vec<_>>().join(", "));
        found.add(Place::Ledger, path.clone(), change, [shown(before), shown(after)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(types: &[&'static str]) -> Shape {
        [("$.d".to_owned(), types.iter().copied().collect())].into()
    }

    #[test]
    fn a_field_that_is_missing_new_or_of_another_type_is_named_with_both_types() {
        for (before, after, expect) in [
            (&["number"][..], &["text"][..], Some((Change::Type, "number", "text"))),
            (&["number"], &["number", "text"], Some((Change::Type, "number", "number, text"))),
            (&["number"], &["absent"], Some((Change::Missing, "number", "absent"))),
            (
                &["number"],
                &["absent", "number"],
                Some((Change::Missing, "number", "absent, number")),
            ),
            (&["absent"], &["text"], Some((Change::Extra, "absent", "text"))),
            (
                &["absent", "number"],
                &["absent", "text"],
                Some((Change::Type, "absent, number", "absent, text")),
            ),
            // What some lines have anyway, and lines that one side has not.
            (&["number"], &["number"], None),
            (&["absent", "number"], &["number"], None),
            (&["absent", "number"], &["absent"], None),
            (&["number"], &[], None),
            (&[], &["number"], None),
        ] {
            let mut found = Differences::default();
            shapes(&mut found, &shape(before), &shape(after));
            let found: Vec<Difference> = found.found.into_values().collect();
            let shown = found.first().map(|one| {
                assert_eq!((one.place, &*one.path), (Place::Ledger, "$.d"));
                let side = |of: &'_ Option<String>| of.clone().unwrap_or_default();
                (one.change, side(&one.primary), side(&one.shadow))
            });
            let expect = expect.map(|(change, a, b)| (change, a.to_owned(), b.to_owned()));
            assert_eq!(shown, expect, "{before:?} → {after:?}");
        }
    }
}
