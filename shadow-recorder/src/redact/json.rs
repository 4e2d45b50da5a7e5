//! Redacts what a JSONPath selects in a JSON text, in place: the rest stays byte for byte, and `1.10` stays `1.10`.
//!
//! The paths are asked of the parsed document, and what they locate is found again in the text. A name that an object has twice is
//! redacted twice: every reading of such a document is asked, up to a bound, beyond which the text cannot be looked into.

mod tree;

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use serde_json_path::JsonPath;

use super::Unredactable;
use super::action::Action;
use super::spans::{self, Edit};
use tree::{Kind, Node};

/// Readings of a document in which names are repeated.
const READINGS_MAX: usize = 64;

/// What one document's nodes come to.
#[derive(Default)]
struct Marks<'k> {
    /// Members and elements that go.
    dropped: HashSet<usize>,
    /// Values that are replaced; the first rule that selects one counts.
    replaced: HashMap<usize, Action<'k>>,
}

/// Redacts one document.
pub(super) fn document(
    text: &str,
    rules: &[(&JsonPath, Action<'_>)],
) -> Result<String, Unredactable> {
    // Checks the text, so that the tree below is made of sound JSON that is not nested too deeply.
    let value: Value = serde_json::from_str(text).map_err(|_| Unredactable)?;
    let root = tree::parse(text).ok_or(Unredactable)?;
    let mut marks = Marks::default();
    let mut ask = |value: &Value| {
        for (path, action) in rules {
            for location in path.query_located(value).locations() {
                root.at(location).into_iter().for_each(|node| marks.mark(node, *action));
            }
        }
    };
    match root.readings(text, READINGS_MAX).ok_or(Unredactable)? {
        readings if readings.is_empty() => ask(&value),
        readings => readings.iter().for_each(&mut ask),
    }
    let mut edits = Vec::new();
    marks.edits(&root, text, &mut edits);
    Ok(spans::apply(text, edits))
}

/// Redacts documents that stand on lines of their own.
pub(super) fn lines(text: &str, rules: &[(&JsonPath, Action<'_>)]) -> Result<String, Unredactable> {
    text.split_inclusive('\n')
        .map(|line| if line.trim().is_empty() { Ok(line.into()) } else { document(line, rules) })
        .collect()
}

impl<'k> Marks<'k> {
    fn mark(&mut self, node: &Node, action: Action<'k>) {
        match (&node.kind, action) {
            (_, Action::Drop) => {
                self.dropped.insert(node.id);
            }
            (Kind::Scalar, _) => {
                self.replaced.entry(node.id).or_insert(action);
            }
            (Kind::Array(elements), _) => elements.iter().for_each(|e| self.mark(e, action)),
            (Kind::Object(members), _) => members.iter().for_each(|m| self.mark(&m.node, action)),
        }
    }

    fn edits(&self, node: &Node, text: &str, edits: &mut Vec<Edit>) {
        let span = node.span.clone();
        if self.dropped.contains(&node.id) {
            edits.push(Edit { span, text: "null".into() });
            return;
        }
        match &node.kind {
            Kind::Scalar => {
                if let Some(action) = self.replaced.get(&node.id) {
                    edits.push(Edit { text: action.json(&text[span.clone()]), span });
                }
            }
            Kind::Array(elements) => elements.iter().for_each(|e| self.edits(e, text, edits)),
            Kind::Object(members) => {
                let mut is_first = true;
                for (at, member) in members.iter().enumerate() {
                    if !self.dropped.contains(&member.node.id) {
                        is_first = false;
                        self.edits(&member.node, text, edits);
                        continue;
                    }
                    // With the comma before it; where nothing is left before it, with the one behind.
                    let span = match (is_first, at.checked_sub(1), members.get(at + 1)) {
                        (false, Some(before), _) => {
                            members[before].node.span.end..member.node.span.end
                        }
                        (_, _, Some(next)) => member.start..next.start,
                        _ => member.start..member.node.span.end,
                    };
                    edits.push(Edit { span, text: String::new() });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
