//! Where answers differ outside the ledger mapping.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use shadow_replayer::structure::Example;

use super::rows::Rows;
use super::{AggregateError, run};
use crate::load::Journal;
use crate::verdict::{
    STRUCTURAL_DIFFERENCES_MAX, STRUCTURAL_EXAMPLES_MAX, StructuralDifference, StructuralExample,
    Structure,
};

/// Returns the differences that most exchanges show.
pub(super) fn of(journal: &Journal) -> Result<Structure, AggregateError> {
    const KEYS: [&str; 4] = ["route", "place", "path", "kind"];
    // One row for each shard and place: the replay bounds their number.
    let frame = run("structure", journal.structure()?)?;
    let rows = Rows::of("structure", &frame);
    let mut found: BTreeMap<[String; 4], (u64, Vec<StructuralExample>)> = BTreeMap::new();
    for row in 0..rows.len() {
        let mut key = [const { String::new() }; 4];
        for (value, column) in key.iter_mut().zip(KEYS) {
            *value = rows.owned(column, row)?;
        }
        let (exchanges, examples) = found.entry(key).or_default();
        *exchanges += rows.count("exchanges", row)?;
        examples.extend(listed(rows.text("examples", row)?.unwrap_or_default()));
        // Shards come in any order; ids are in that of time.
        examples.sort();
        examples.truncate(STRUCTURAL_EXAMPLES_MAX);
    }
    let mut differences: Vec<StructuralDifference> = found
        .into_iter()
        .map(|([route, place, path, kind], (exchanges, examples))| StructuralDifference {
            route,
            place,
            path,
            kind,
            exchanges,
            examples,
        })
        .collect();
    // Stable: among equals by where they are.
    differences.sort_by_key(|difference| Reverse(difference.exchanges));
    let left_out = differences.len().saturating_sub(STRUCTURAL_DIFFERENCES_MAX) as u64;
    differences.truncate(STRUCTURAL_DIFFERENCES_MAX);
    Ok(Structure { differences, left_out, ignored: Vec::new() })
}

/// Reads a shard's examples; a list of another version shows none.
fn listed(json: &str) -> impl Iterator<Item = StructuralExample> {
    let examples: Vec<Example> = serde_json::from_str(json).unwrap_or_default();
    examples.into_iter().map(|Example { exchange_id, primary, shadow }| StructuralExample {
        exchange_id,
        primary,
        shadow,
    })
}
