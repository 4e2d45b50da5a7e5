//! Table `upstream`: the calls that a candidate did not make as production's service did. The rows are pure.

use arrow_schema::{DataType, Schema};
use shadow_recorder::exchange::Exchange;

use super::table::Table;
use crate::answer::Answer;
use crate::matching::named;

/// One line of table `upstream`, less what its exchange says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRow {
    /// The upstream; the host of one that is not configured.
    pub upstream: String,
    /// `miss`: a call that nothing recorded answers; `extra`: one that production made less often; `unused`: a recorded call that the
    /// candidate did not make.
    pub kind: &'static str,
    /// Method and target, as far as they are shown.
    pub call: String,
    /// The recorded call that differs least.
    pub nearest: Option<String>,
    /// What differs from it, or why else nothing answers.
    pub differs: Option<String>,
    /// The places that differ: a JSONPath for a part of the body, words for others.
    pub path: Option<String>,
}

/// Returns the calls of an exchange that were not made as recorded: the misses in their order, then the unused recordings in theirs.
pub fn calls(recorded: &Exchange, answer: &Answer) -> Vec<CallRow> {
    let misses = answer.misses.iter().map(|miss| CallRow {
        upstream: miss.upstream.clone(),
        kind: if miss.extra { "extra" } else { "miss" },
        call: miss.call.clone(),
        nearest: miss.nearest.clone(),
        differs: Some(miss.differs.clone()),
        path: (!miss.places.is_empty()).then(|| miss.places.join(", ")),
    });
    let unused = answer.not_made.iter().filter_map(|at| recorded.upstream.get(*at as usize));
    let unused = unused.map(|call| CallRow {
        upstream: call.name.clone(),
        kind: "unused",
        call: named(&call.request),
        nearest: None,
        differs: None,
        path: None,
    });
    misses.chain(unused).collect()
}

pub(super) fn schema() -> Schema {
    super::schema(&[
        ("upstream", DataType::Utf8, false),
        ("kind", DataType::Utf8, false),
        ("call", DataType::Utf8, false),
        ("nearest", DataType::Utf8, true),
        ("differs", DataType::Utf8, true),
        ("path", DataType::Utf8, true),
    ])
}

pub(super) fn append(table: &mut Table, row: &CallRow) {
    table.text(3, Some(&row.upstream));
    table.text(4, Some(row.kind));
    table.text(5, Some(&row.call));
    table.text(6, row.nearest.as_deref());
    table.text(7, row.differs.as_deref());
    table.text(8, row.path.as_deref());
}
