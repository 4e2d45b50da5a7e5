//! How far the control is from production, in the exchanges that it did not reproduce.

use polars::prelude::*;

use super::grain::Grain;
use super::largest::with_wanted;
use super::rows::Rows;
use super::{AggregateError, run, sums};
use crate::load::Journal;
use crate::totals::{ControlTotals, Money, Totals};

/// Adds the control's differences to the cells, and counts its exchanges.
pub(super) fn add(
    journal: &Journal,
    grain: &Grain,
    totals: &mut Totals,
) -> Result<(), AggregateError> {
    count(journal, &mut totals.control)?;
    if totals.control.differing == 0 {
        return Ok(());
    }
    for shard in 0..journal.shards() {
        add_shard(journal, shard, grain, totals)?;
    }
    Ok(())
}

fn add_shard(
    journal: &Journal,
    shard: usize,
    grain: &Grain,
    totals: &mut Totals,
) -> Result<(), AggregateError> {
    let not_reproduced = journal
        .exchanges_of(shard)?
        .filter(col("control").eq(lit("different")).or(col("control").eq(lit("failed"))))
        .select([col("exchange_id")]);
    let of_control = col("source").eq(lit("control"));
    // What production booked is in both kinds of lines, examined or not.
    let of_production = col("source").eq(lit("both")).or(col("source").eq(lit("primary")));
    let mut keys = grain.keys();
    keys.extend([of_control.clone().alias("of_control"), col("pi")]);
    let lines = journal.entries_of(shard)?.filter(of_control.or(of_production));
    let query = with_wanted(lines, not_reproduced).group_by(keys).agg(sums());
    let frame = run("control's differences", query)?;
    let rows = Rows::of("control's differences", &frame);
    for row in 0..rows.len() {
        let money = rows.money(row)?;
        let is_control = rows.flag("of_control", row)?;
        let difference = if is_control { money } else { Money::default().minus(money)? };
        let pi = rows.probability(row)?;
        totals.add_control(&grain.place(&rows, row)?, difference, pi)?;
    }
    Ok(())
}

fn count(journal: &Journal, control: &mut ControlTotals) -> Result<(), AggregateError> {
    let differs = col("outcome").eq(lit("different")).or(col("outcome").eq(lit("errored")));
    let explained = differs.and(col("blame").eq_missing(lit("harness")));
    let query = journal.exchanges()?.filter(col("control").is_not_null()).select([
        len().alias("replayed"),
        col("control").neq(lit("reproduced")).cast(DataType::Int64).sum().alias("differing"),
        explained.cast(DataType::Int64).sum().alias("explained"),
    ]);
    let frame = run("control", query)?;
    let rows = Rows::of("control", &frame);
    control.replayed = rows.count("replayed", 0)?;
    control.differing = rows.count("differing", 0)?;
    control.explained = rows.count("explained", 0)?;
    Ok(())
}
