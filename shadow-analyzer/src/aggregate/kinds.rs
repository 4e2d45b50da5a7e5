//! How often each kind of difference is there.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use polars::prelude::*;

use super::rows::Rows;
use super::{AggregateError, not_examined, on_one_side, run};
use crate::load::Journal;
use crate::verdict::{KINDS_MAX, KindCount, Kinds, Unbalanced};

/// Returns the kinds of the run's differing lines, and the transactions that do not balance.
pub(super) fn of(journal: &Journal) -> Result<Kinds, AggregateError> {
    let mut found: BTreeMap<(String, Option<String>), (u64, u64)> = BTreeMap::new();
    // Shard by shard: the ids of a run's differing exchanges together have no bound.
    for shard in 0..journal.shards() {
        let query = journal
            .entries_of(shard)?
            .filter(on_one_side().and(not_examined().not()))
            .group_by([col("kind"), col("field")])
            .agg([col("exchange_id").n_unique().alias("exchanges"), len().alias("lines")]);
        let frame = run("kinds", query)?;
        let rows = Rows::of("kinds", &frame);
        for row in 0..rows.len() {
            let field = rows.text("field", row)?.map(str::to_owned);
            let (exchanges, lines) = found.entry((rows.owned("kind", row)?, field)).or_default();
            *exchanges += rows.count("exchanges", row)?;
            *lines += rows.count("lines", row)?;
        }
    }
    let count = |((kind, field), (exchanges, lines))| KindCount { kind, field, exchanges, lines };
    let mut lines: Vec<KindCount> = found.into_iter().map(count).collect();
    // Stable: among equals by name.
    lines.sort_by_key(|count| Reverse(count.exchanges));
    lines.truncate(KINDS_MAX);
    Ok(Kinds { lines, unbalanced: unbalanced(journal)? })
}

fn unbalanced(journal: &Journal) -> Result<Unbalanced, AggregateError> {
    const COLUMNS: [&str; 3] = ["primary_unbalanced", "shadow_unbalanced", "newly_unbalanced"];
    // 32-bit columns are widened first: polars sums them in 32 bits.
    let sums = COLUMNS.map(|column| col(column).cast(DataType::Int64).sum());
    let frame = run("unbalanced transactions", journal.exchanges()?.select(sums))?;
    let rows = Rows::of("unbalanced transactions", &frame);
    Ok(Unbalanced {
        primary: rows.count(COLUMNS[0], 0)?,
        shadow: rows.count(COLUMNS[1], 0)?,
        newly: rows.count(COLUMNS[2], 0)?,
    })
}
