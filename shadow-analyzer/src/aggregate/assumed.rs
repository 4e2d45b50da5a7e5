//! What the candidate booked in exchanges in which a declared upstream call was answered.

use std::collections::BTreeMap;

use polars::prelude::*;
use shadow_recorder::amount::format_units;

use super::largest::with_wanted;
use super::rows::Rows;
use super::{AggregateError, run, sums};
use crate::load::Journal;
use crate::totals::Money;
use crate::verdict::{Assumed, AssumedMoney};

/// Returns how many there are, and their money.
pub(super) fn of(journal: &Journal) -> Result<Assumed, AggregateError> {
    let assumed = || col("upstream_assumed").gt(lit(0));
    let count = journal.exchanges()?.filter(assumed()).select([len().alias("exchanges")]);
    let frame = run("assumed exchanges", count)?;
    let exchanges = Rows::of("assumed exchanges", &frame).count("exchanges", 0)?;
    let mut money: BTreeMap<String, Money> = BTreeMap::new();
    for shard in 0..if exchanges > 0 { journal.shards() } else { 0 } {
        let wanted = journal.exchanges_of(shard)?.filter(assumed()).select([col("exchange_id")]);
        let of_candidate = col("source").eq(lit("both")).or(col("source").eq(lit("shadow")));
        let lines = with_wanted(journal.entries_of(shard)?.filter(of_candidate), wanted);
        let frame = run("assumed money", lines.group_by([col("currency")]).agg(sums()))?;
        let rows = Rows::of("assumed money", &frame);
        for row in 0..rows.len() {
            let sum = money.entry(rows.owned("currency", row)?).or_default();
            *sum = sum.plus(rows.money(row)?)?;
        }
    }
    let money = money.into_iter().map(|(currency, Money { debit, credit })| AssumedMoney {
        currency,
        debit: format_units(debit),
        credit: format_units(credit),
    });
    Ok(Assumed { exchanges, money: money.collect() })
}
