//! Changes to spans of a text. What lies between them stays byte for byte.

use std::ops::Range;

/// A span, and what stands there afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) span: Range<usize>,
    pub(super) text: String,
}

/// Makes the changes. One that lies within another is a part of what that one replaces.
pub(super) fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| (edit.span.start, std::cmp::Reverse(edit.span.end)));
    let mut changed = String::with_capacity(text.len());
    let mut at = 0;
    for Edit { span, text: with } in edits {
        if span.start < at {
            continue;
        }
        changed.push_str(&text[at..span.start]);
        changed.push_str(&with);
        at = span.end;
    }
    changed.push_str(&text[at..]);
    changed
}
