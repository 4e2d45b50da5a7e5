//! What differs outside the ledger mapping, by path.

use crate::number::count;
use crate::report::text::{Text, more};
use crate::verdict::{StructuralDifference, Structure};

/// Differences that the page shows; the verdict has more.
const DIFFERENCES_MAX: usize = 40;

/// The section of structural differences.
pub(super) struct Structural {
    pub(super) shown: Vec<Difference>,
    /// In the verdict or the journal only.
    pub(super) more: u64,
}

/// A place at which answers differ.
pub(super) struct Difference {
    pub(super) route: Text,
    pub(super) place: Text,
    pub(super) path: Text,
    pub(super) kind: Text,
    pub(super) exchanges: String,
    pub(super) example: Option<Example>,
}

/// One exchange that differs there.
pub(super) struct Example {
    pub(super) id: Text,
    pub(super) primary: Option<Text>,
    pub(super) shadow: Option<Text>,
}

impl Structural {
    pub(super) fn of(structure: &Structure) -> Self {
        let shown = structure.differences.iter().take(DIFFERENCES_MAX).map(difference);
        let listed = more(structure.differences.len(), DIFFERENCES_MAX);
        Self { shown: shown.collect(), more: listed + structure.left_out }
    }
}

fn difference(of: &StructuralDifference) -> Difference {
    let text = |value: &Option<String>| value.as_deref().map(Text::name);
    Difference {
        route: Text::name(&of.route),
        place: Text::name(&of.place),
        // A status has none.
        path: Text::name(if of.path.is_empty() { "–" } else { &of.path }),
        kind: Text::name(&of.kind.replace('_', " ")),
        exchanges: count(of.exchanges),
        example: of.examples.first().map(|example| Example {
            id: Text::name(&example.exchange_id),
            primary: text(&example.primary),
            shadow: text(&example.shadow),
        }),
    }
}
