//! What production books, by the route of the exchange.

use polars::prelude::*;

use super::largest::with_wanted;
use super::rows::Rows;
use super::{AggregateError, not_examined, run, sums};
use crate::load::Journal;
use crate::totals::{ScenarioName, Scenarios};

/// Sums production's lines by line of business, GL account and route, those that were compared apart.
pub(super) fn of(journal: &Journal) -> Result<Scenarios, AggregateError> {
    let mut scenarios = Scenarios::new();
    for shard in 0..journal.shards() {
        add(journal, shard, &mut scenarios)?;
    }
    Ok(scenarios)
}

fn add(journal: &Journal, shard: usize, scenarios: &mut Scenarios) -> Result<(), AggregateError> {
    let of_production = col("source").eq(lit("both")).or(col("source").eq(lit("primary")));
    let lines = || -> Result<LazyFrame, AggregateError> {
        let routes = journal.exchanges_of(shard)?.select(["exchange_id", "route"].map(col));
        let lines = journal.entries_of(shard)?.filter(of_production.clone());
        Ok(with_wanted(lines, routes))
    };
    let scenario = || ["line_of_business", "gl_account", "route"].map(col);
    let examined = || not_examined().not().alias("compared");
    // By sign, so that each group can be made absolute.
    let negative = |side: &'static str| col(side).lt(lit(0)).alias(format!("{side}_negative"));
    let further = [col("currency"), examined(), negative("debit"), negative("credit")];
    let money = lines()?.group_by([&scenario()[..], &further].concat()).agg(sums());
    let frame = run("scenarios", money)?;
    let rows = Rows::of("scenarios", &frame);
    for row in 0..rows.len() {
        let of = scenarios.entry(name(&rows, row)?).or_default();
        of.add(rows.owned("currency", row)?, rows.flag("compared", row)?, rows.money(row)?)?;
    }
    let exchanges = [col("exchange_id").n_unique().alias("exchanges")];
    let counted = lines()?.group_by([&scenario()[..], &[examined()]].concat()).agg(exchanges);
    let frame = run("scenarios", counted)?;
    let rows = Rows::of("scenarios", &frame);
    for row in 0..rows.len() {
        let of = scenarios.entry(name(&rows, row)?).or_default();
        of.exchanges[usize::from(!rows.flag("compared", row)?)] += rows.count("exchanges", row)?;
    }
    Ok(())
}

fn name(rows: &Rows<'_>, row: usize) -> Result<ScenarioName, AggregateError> {
    Ok(ScenarioName {
        line_of_business: rows.owned("line_of_business", row)?,
        gl_account: rows.owned("gl_account", row)?,
        route: rows.owned("route", row)?,
    })
}
