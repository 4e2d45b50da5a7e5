//! From the journal's rows to totals. With [`load`](crate::load) the only code that knows polars.
//!
//! polars adds, groups and filters in its streaming engine, over the files as they lie; roll-ups, absolute values and
//! everything after are checked arithmetic in Rust. An exchange lies in exactly one shard, so what is grouped by exchange is
//! grouped shard by shard: memory is bounded by a shard's differing lines, not by the run's.
//!
//! polars adds decimals in 128 bits *without a check*, in both of its engines. So every sum comes with the least and the largest of its
//! amounts and their number, which bound it: below 10³⁸ nothing can have wrapped, and at or above it is an error.

use std::collections::BTreeMap;

use polars::prelude::*;

use crate::load::{Journal, LoadError};
use crate::policy::Policy;
use crate::totals::{ExchangeTotals, Money, Overflow, Part, Place, Redated, Totals};
use crate::verdict::{Latency, OutcomeReason, Outcomes, Percentiles};

mod signature;
mod assumed;
mod control;
mod expected;
mod grain;
mod kinds;
mod largest;
mod projection;
mod rows;
mod scenarios;
mod strata;
mod structure;

use expected::{Declared, rest};
use grain::Grain;
use largest::Largest;
use rows::Rows;

/// Why totals cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// The journal cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A query failed.
    #[error("cannot compute the {0} of the journal")]
    Compute(&'static str, #[source] PolarsError),
    /// A sum is too large to be exact.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// Makes the totals of a run. The policy says how finely; its rates only order the differing exchanges.
pub fn totals(journal: &Journal, policy: &Policy) -> Result<Totals, AggregateError> {
    let mut totals = Totals::default();
    if journal.shards() == 0 {
        return Ok(totals);
    }
    let grain = Grain::of(journal, policy)?;
    add_lines(journal, &grain, &mut totals)?;
    let declared = expected::take(journal, &grain, policy)?;
    let mut largest = Largest::new(&policy.rates);
    for shard in 0..journal.shards() {
        add_differences(journal, shard, &grain, &declared, &mut totals, &mut largest)?;
        largest.add_without_lines(journal, shard)?;
    }
    totals.exchanges = exchanges(journal)?;
    totals.exchanges.strata = strata::of(journal)?;
    if totals.exchanges.sampled > 0 {
        projection::add(journal, &grain, &mut totals)?;
    }
    totals.exchanges.latency = latency(journal)?;
    totals.largest = largest.finish(journal)?;
    control::add(journal, &grain, &mut totals)?;
    totals.drop_empty_dimensions();
    totals.assumed = assumed::of(journal)?;
    totals.structure = structure::of(journal)?;
    totals.scenarios = scenarios::of(journal)?;
    totals.kinds = kinds::of(journal)?;
    totals.signatures = signature::of(journal, &totals.structure)?;
    totals.expected = declared.appeared;
    Ok(totals)
}

/// Runs a query in the streaming engine.
fn run(what: &'static str, frame: LazyFrame) -> Result<DataFrame, AggregateError> {
    let failed = |error| AggregateError::Compute(what, error);
    // A query without a sink gives a single result.
    Ok(frame.collect_with_engine(Engine::Streaming).map_err(failed)?.unwrap_single())
}

/// The sum of each side with what bounds it; read back by [`Rows::money`].
fn sums() -> Vec<Expr> {
    let of = |side: &'static str| {
        let named = |expression: Expr, what| expression.alias(format!("{side}_{what}"));
        [
            named(col(side).sum(), "sum"),
            named(col(side).min(), "min"),
            named(col(side).max(), "max"),
        ]
    };
    of("debit").into_iter().chain(of("credit")).chain([len().alias("lines")]).collect()
}

fn not_examined() -> Expr {
    col("kind").eq_missing(lit("not_examined"))
}

/// What lines are grouped by, so that each group is one part of one place.
fn line_keys(grain: &Grain) -> Vec<Expr> {
    // Grouped by sign as well, so that money which was not examined can be made absolute.
    let negative = |side: &'static str| col(side).lt(lit(0)).alias(format!("{side}_negative"));
    let mut keys = grain.keys();
    keys.extend([
        col("source"),
        not_examined().alias("not_examined"),
        negative("debit"),
        negative("credit"),
    ]);
    keys
}

/// Reads which part of the journal a group is.
fn part(rows: &Rows<'_>, row: usize) -> Result<Option<Part>, AggregateError> {
    Ok(match rows.text("source", row)? {
        Some("primary") if rows.flag("not_examined", row)? => Some(Part::NotExamined),
        Some("both") => Some(Part::Both),
        Some("primary") => Some(Part::Primary),
        Some("shadow") => Some(Part::Shadow),
        // The control's lines explain a difference and are part of none.
        _ => None,
    })
}

fn add_lines(journal: &Journal, grain: &Grain, totals: &mut Totals) -> Result<(), AggregateError> {
    let frame = run("sums", journal.entries()?.group_by(line_keys(grain)).agg(sums()))?;
    let rows = Rows::of("sums", &frame);
    for row in 0..rows.len() {
        if let Some(part) = part(&rows, row)? {
            let lines = rows.count("lines", row)?;
            totals.add_lines(&grain.place(&rows, row)?, part, rows.money(row)?, lines)?;
        }
    }
    Ok(())
}

/// The lines that only production or only the candidate booked.
fn on_one_side() -> Expr {
    col("source").eq(lit("primary")).or(col("source").eq(lit("shadow")))
}

/// Sums the lines of a shard that differ by these columns, one exchange after the other.
fn differing(
    what: &'static str,
    journal: &Journal,
    shard: usize,
    mut keys: Vec<Expr>,
) -> Result<DataFrame, AggregateError> {
    keys.extend(["exchange_id", "source"].map(col));
    let query = journal
        .entries_of(shard)?
        .filter(on_one_side().and(not_examined().not()))
        .group_by(keys)
        .agg(sums())
        .sort(["exchange_id"], SortMultipleOptions::default());
    run(what, query)
}

fn add_differences(
    journal: &Journal,
    shard: usize,
    grain: &Grain,
    declared: &Declared,
    totals: &mut Totals,
    largest: &mut Largest<'_>,
) -> Result<(), AggregateError> {
    let mut keys = grain.keys();
    keys.push(col("pi"));
    let frame = differing("differences", journal, shard, keys)?;
    let rows = Rows::of("differences", &frame);
    let mut at = 0;
    while at < rows.len() {
        let (id, of_exchange) = rows.exchange(at)?;
        at = of_exchange.end;
        let pi = rows.probability(of_exchange.start)?;
        let mut differences: BTreeMap<Place, Money> = BTreeMap::new();
        for row in of_exchange {
            let difference = differences.entry(grain.place(&rows, row)?).or_default();
            *difference = rows.added_to(*difference, row)?;
        }
        let differences: Vec<_> = differences.into_iter().collect();
        totals.add_exchange(&differences, pi)?;
        let taken = declared.of(&id);
        totals.take_expected(&differences, taken, pi)?;
        largest.add(id, &rest(differences, taken)?)?;
    }
    Ok(())
}

fn exchanges(journal: &Journal) -> Result<ExchangeTotals, AggregateError> {
    // 32-bit columns are widened first: polars sums them in 32 bits.
    let sum = |column: &'static str| col(column).cast(DataType::Int64).sum();
    let unbalanced = col("newly_unbalanced").gt(lit(0));
    let keys = ["outcome", "reason", "blame"];
    let query = journal.exchanges()?.group_by(keys.map(col)).agg([
        len().alias("exchanges"),
        col("exchange_id").min().alias("example"),
        sum("upstream_hits"),
        sum("upstream_misses"),
        sum("upstream_unused"),
        sum("newly_unbalanced"),
        col("exchange_id").filter(unbalanced).min().alias("unbalanced_example"),
        col("money_known").not().cast(DataType::Int64).sum().alias("money_unknown"),
        projection::is_sampled().cast(DataType::Int64).sum().alias("sampled"),
    ]);
    // Sorted, so that equal journals give equal verdicts.
    let frame = run("counts", query.sort(keys, SortMultipleOptions::default()))?;
    let rows = Rows::of("counts", &frame);
    let mut totals = ExchangeTotals::default();
    let mut most_unknown = 0;
    for row in 0..rows.len() {
        let count = rows.count("exchanges", row)?;
        let outcome = rows.owned("outcome", row)?;
        add_outcome(&mut totals.outcomes, &outcome, count);
        totals.upstream.hits += rows.count("upstream_hits", row)?;
        totals.upstream.misses += rows.count("upstream_misses", row)?;
        totals.upstream.unused += rows.count("upstream_unused", row)?;
        totals.newly_unbalanced += rows.count("newly_unbalanced", row)?;
        let example = rows.text("unbalanced_example", row)?.map(str::to_owned);
        totals.newly_unbalanced_example =
            totals.newly_unbalanced_example.take().into_iter().chain(example).min();
        let unknown = rows.count("money_unknown", row)?;
        totals.money_unknown += unknown;
        if unknown > most_unknown {
            most_unknown = unknown;
            totals.money_unknown_reason = rows.text("reason", row)?.map(str::to_owned);
        }
        totals.sampled += rows.count("sampled", row)?;
        if ["filtered", "errored", "unverified"].contains(&&*outcome) {
            totals.reasons.push(OutcomeReason {
                outcome,
                reason: rows.text("reason", row)?.unwrap_or("no reason given").to_owned(),
                blame: rows.text("blame", row)?.map(str::to_owned),
                count,
                example: rows.owned("example", row)?,
            });
        }
    }
    add_redated(journal, &mut totals)?;
    add_details(journal, &mut totals.reasons)?;
    totals.reasons.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.example.cmp(&b.example)));
    Ok(totals)
}

/// Counts the exchanges in which a line moved in time or to another entity, which no sum of money shows.
fn add_redated(journal: &Journal, totals: &mut ExchangeTotals) -> Result<(), AggregateError> {
    const KINDS: [&str; 2] = ["period_changed", "entity_changed"];
    let is = |kind: &'static str| col("kind").eq_missing(lit(kind));
    let of = |kind| {
        let ids = col("exchange_id").filter(is(kind));
        [ids.clone().n_unique().alias(kind), ids.min().alias(format!("{kind}_example"))]
    };
    let moved = journal.entries()?.filter(is(KINDS[0]).or(is(KINDS[1])));
    let frame = run("changed dates", moved.select(KINDS.map(of).as_flattened()))?;
    let rows = Rows::of("changed dates", &frame);
    let read = |kind: &str| -> Result<Redated, AggregateError> {
        let example = rows.text(&format!("{kind}_example"), 0)?.map(str::to_owned);
        Ok(Redated { exchanges: rows.count(kind, 0)?, example })
    };
    (totals.period_changed, totals.entity_changed) = (read(KINDS[0])?, read(KINDS[1])?);
    Ok(())
}

/// Adds to each reason the particulars of its example.
fn add_details(journal: &Journal, reasons: &mut [OutcomeReason]) -> Result<(), AggregateError> {
    let examples: Vec<String> = reasons.iter().map(|reason| reason.example.clone()).collect();
    let details = largest::details(journal, &examples)?;
    for reason in reasons {
        if let Some(detail) = details.get(&reason.example) {
            reason.reason = format!("{}, for example {detail}", reason.reason);
        }
    }
    Ok(())
}

fn add_outcome(outcomes: &mut Outcomes, outcome: &str, count: u64) {
    outcomes.recorded += count;
    match outcome {
        "matched" => outcomes.matched += count,
        "different" => outcomes.different += count,
        "filtered" => outcomes.filtered += count,
        "errored" => outcomes.errored += count,
        "unverified" => outcomes.unverified += count,
        // An outcome of a later version stays unaccounted for, which no verdict certifies.
        _ => {}
    }
}

fn latency(journal: &Journal) -> Result<Latency, AggregateError> {
    const COLUMNS: [&str; 2] = ["primary_duration_us", "shadow_duration_us"];
    let both = col(COLUMNS[0]).is_not_null().and(col(COLUMNS[1]).is_not_null());
    let frame = run("latencies", journal.exchanges()?.filter(both).select(COLUMNS.map(col)))?;
    let percentiles = |column| -> Result<Percentiles, AggregateError> {
        let failed = |error| AggregateError::Compute("latencies", error);
        let column = frame.column(column).and_then(|column| column.i64()).map_err(failed)?;
        Ok(nearest_ranks(column.iter().flatten().collect()))
    };
    Ok(Latency { primary: percentiles(COLUMNS[0])?, shadow: percentiles(COLUMNS[1])? })
}

fn nearest_ranks(mut values: Vec<i64>) -> Percentiles {
    values.sort_unstable();
    let rank = |percent: usize| {
        let position = (values.len() * percent).div_ceil(100);
        position.checked_sub(1).map(|position| values[position])
    };
    Percentiles { p50_us: rank(50), p95_us: rank(95), p99_us: rank(99) }
}

#[cfg(test)]
mod tests;
