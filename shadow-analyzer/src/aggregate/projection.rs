//! What the sampled exchanges' money stands for, where it is no part of a difference: the differences are projected one by one.

use polars::prelude::*;
use shadow_recorder::exchange::PI_ONE;

use super::grain::Grain;
use super::rows::Rows;
use super::{AggregateError, line_keys, part, run, sums};
use crate::load::Journal;
use crate::totals::Totals;

/// Projects production's money. Where sizes decide, nearly every exchange has a π of its own; so it is done shard by shard.
pub(super) fn add(
    journal: &Journal,
    grain: &Grain,
    totals: &mut Totals,
) -> Result<(), AggregateError> {
    for shard in 0..journal.shards() {
        let of_production = col("source").eq(lit("both")).or(col("source").eq(lit("primary")));
        let keys = [line_keys(grain), vec![col("pi")]].concat();
        let lines = journal.entries_of(shard)?.filter(of_production.and(is_sampled()));
        let frame = run("projection", lines.group_by(keys).agg(sums()))?;
        let rows = Rows::of("projection", &frame);
        for row in 0..rows.len() {
            if let Some(part) = part(&rows, row)? {
                let pi = rows.probability(row)?;
                totals.project_lines(&grain.place(&rows, row)?, part, rows.money(row)?, pi)?;
            }
        }
    }
    Ok(())
}

/// Whether the exchange of a row was recorded with a probability below one.
pub(super) fn is_sampled() -> Expr {
    let one = i64::try_from(PI_ONE).expect("2⁵³ fits 63 bits");
    col("pi").neq(lit(one))
}
