//! The differing exchanges with the most money, and their lines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use num_rational::BigRational;
use num_traits::Zero;
use polars::prelude::*;
use shadow_recorder::amount::format_units;

use super::rows::Rows;
use super::{AggregateError, run};
use crate::evidence::sample;
use crate::load::Journal;
use crate::money::{self, Rates, whole};
use crate::totals::{Money, Place};
use crate::verdict::{
    DIFFERING_EXCHANGES_MAX, DifferingExchange, DimensionName, EXCHANGE_FIELDS_MAX,
    EXCHANGE_LINES_MAX, Line,
};

/// Keeps the [`DIFFERING_EXCHANGES_MAX`] largest; among equals those with the lower ids.
pub(super) struct Largest<'r> {
    rates: &'r Rates,
    // The smallest comes first, to be replaced.
    kept: BTreeSet<(BigRational, Reverse<String>)>,
}

impl<'r> Largest<'r> {
    pub(super) fn new(rates: &'r Rates) -> Self {
        Self { rates, kept: BTreeSet::new() }
    }

    /// Adds an exchange's differences (shadow − primary, per place).
    pub(super) fn add(
        &mut self,
        id: String,
        differences: &[(Place, Money)],
    ) -> Result<(), AggregateError> {
        let (mut debit, mut credit) = (BigRational::zero(), BigRational::zero());
        for (place, difference) in differences {
            // Without a rate the money counts as it stands: it orders a list and decides nothing.
            let rate = self.rates.of(&place.currency).unwrap_or_else(|| whole(1));
            let absolute = difference.absolute()?;
            debit += &rate * whole(absolute.debit);
            credit += rate * whole(absolute.credit);
        }
        self.keep(debit.max(credit), id);
        Ok(())
    }

    /// Adds the exchanges of a shard that came out differently without a line to show for it, such as a failed answer where
    /// production booked nothing.
    pub(super) fn add_without_lines(
        &mut self,
        journal: &Journal,
        shard: usize,
    ) -> Result<(), AggregateError> {
        let differs = col("outcome").eq(lit("different")).or(col("outcome").eq(lit("errored")));
        let query = journal
            .exchanges_of(shard)?
            .filter(differs)
            .select([col("exchange_id")])
            .sort(["exchange_id"], SortMultipleOptions::default())
            // Those that are kept already may come first, so as many more are read.
            .limit(2 * u32::try_from(DIFFERING_EXCHANGES_MAX).unwrap_or(u32::MAX));
        let frame = run("differing exchanges", query)?;
        let rows = Rows::of("differing exchanges", &frame);
        let known: BTreeSet<String> = self.kept.iter().map(|(_, Reverse(id))| id.clone()).collect();
        for row in 0..rows.len() {
            let id = rows.owned("exchange_id", row)?;
            if !known.contains(&id) && self.kept.len() < DIFFERING_EXCHANGES_MAX {
                self.keep(BigRational::zero(), id);
            }
        }
        Ok(())
    }

    fn keep(&mut self, money: BigRational, id: String) {
        self.kept.insert((money, Reverse(id)));
        if self.kept.len() > DIFFERING_EXCHANGES_MAX {
            self.kept.pop_first();
        }
    }

    /// Reads the kept exchanges with their lines, largest first.
    pub(super) fn finish(
        self,
        journal: &Journal,
    ) -> Result<Vec<DifferingExchange>, AggregateError> {
        let order: Vec<(BigRational, String)> =
            self.kept.into_iter().rev().map(|(money, Reverse(id))| (money, id)).collect();
        if order.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = order.iter().map(|(_, id)| &**id).collect();
        let wanted = these(&ids)?;
        let mut lines = lines(journal, &wanted)?;
        let mut heads = heads(journal, wanted)?;
        let exchanges = order.into_iter().filter_map(|(money, id)| {
            let mut exchange = heads.remove(&id)?;
            let mut lines = lines.remove(&id).unwrap_or_default();
            lines.sort_by(|a, b| {
                (a.transaction, a.line, &a.source).cmp(&(b.transaction, b.line, &b.source))
            });
            let kinds: BTreeSet<String> =
                lines.iter().filter_map(|line| line.kind.clone()).collect();
            exchange.kinds = kinds.into_iter().collect();
            exchange.money = money::text(&money);
            exchange.lines_left_out = lines.len().saturating_sub(EXCHANGE_LINES_MAX) as u64;
            let mut fields = sample::differences(&lines);
            exchange.fields_left_out = fields.len().saturating_sub(EXCHANGE_FIELDS_MAX) as u64;
            fields.truncate(EXCHANGE_FIELDS_MAX);
            exchange.fields = fields;
            lines.truncate(EXCHANGE_LINES_MAX);
            exchange.lines = lines;
            Some(exchange)
        });
        Ok(exchanges.collect())
    }
}

/// Returns the particulars of some exchanges.
pub(super) fn details(
    journal: &Journal,
    ids: &[String],
) -> Result<BTreeMap<String, String>, AggregateError> {
    let wanted = these(ids)?;
    let columns = [col("exchange_id"), col("detail")];
    let query = with_wanted(journal.exchanges()?.select(columns), wanted);
    let frame = run("details", query)?;
    let rows = Rows::of("details", &frame);
    let mut details = BTreeMap::new();
    for row in 0..rows.len() {
        if let Some(detail) = rows.text("detail", row)? {
            details.insert(rows.owned("exchange_id", row)?, detail.to_owned());
        }
    }
    Ok(details)
}

fn these<T: AsRef<str>>(ids: &[T]) -> Result<LazyFrame, AggregateError> {
    let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
    let frame = df!("exchange_id" => ids);
    Ok(frame.map_err(|error| AggregateError::Compute("differing exchanges", error))?.lazy())
}

/// Keeps the rows of some exchanges.
pub(super) fn with_wanted(table: LazyFrame, wanted: LazyFrame) -> LazyFrame {
    table.join(wanted, [col("exchange_id")], [col("exchange_id")], JoinArgs::new(JoinType::Inner))
}

fn heads(
    journal: &Journal,
    wanted: LazyFrame,
) -> Result<BTreeMap<String, DifferingExchange>, AggregateError> {
    let query = with_wanted(journal.exchanges()?, wanted)
        .with_column(col("occurred_at").cast(DataType::Int64));
    let frame = run("differing exchanges", query)?;
    let rows = Rows::of("differing exchanges", &frame);
    let mut heads = BTreeMap::new();
    for row in 0..rows.len() {
        let status = |name| -> Result<Option<u16>, AggregateError> {
            Ok(rows.small(name, row)?.and_then(|status| u16::try_from(status).ok()))
        };
        let occurred_at = rows.long("occurred_at", row)?.unwrap_or(0);
        let id = rows.owned("exchange_id", row)?;
        let head = DifferingExchange {
            exchange_id: id.clone(),
            occurred_at: Timestamp::from_microsecond(occurred_at).unwrap_or(Timestamp::UNIX_EPOCH),
            route: rows.owned("route", row)?,
            outcome: rows.owned("outcome", row)?,
            reason: with_detail(rows.text("reason", row)?, rows.text("detail", row)?),
            blame: rows.text("blame", row)?.map(str::to_owned),
            primary_status: status("primary_status")?,
            shadow_status: status("shadow_status")?,
            kinds: Vec::new(),
            money: String::new(),
            lines: Vec::new(),
            lines_left_out: 0,
            fields: Vec::new(),
            fields_left_out: 0,
        };
        heads.insert(id, head);
    }
    Ok(heads)
}

fn with_detail(reason: Option<&str>, detail: Option<&str>) -> Option<String> {
    match (reason, detail) {
        (Some(reason), Some(detail)) => Some(format!("{reason}: {detail}")),
        (one, other) => one.or(other).map(str::to_owned),
    }
}

fn lines(
    journal: &Journal,
    wanted: &LazyFrame,
) -> Result<BTreeMap<String, Vec<Line>>, AggregateError> {
    // The control's lines would stand beside both sides as if they were of one; what they explain has its blame.
    let entries = journal.entries()?.filter(col("source").neq(lit("control")));
    let frame = run("lines", with_wanted(entries, wanted.clone()).drop(cols(["occurred_at"])))?;
    let rows = Rows::of("lines", &frame);
    // Date and entity have fields of their own.
    let mapped = journal.dimensions()?.into_iter();
    let mapped: Vec<&str> = mapped
        .filter(|name| matches!(name, DimensionName::Mapped(_)))
        .map(DimensionName::column)
        .collect();
    let mut lines: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for row in 0..rows.len() {
        let mut dimensions = BTreeMap::new();
        for name in &mapped {
            if let Some(value) = rows.text(name, row)? {
                dimensions.insert((*name).to_owned(), value.to_owned());
            }
        }
        lines.entry(rows.owned("exchange_id", row)?).or_default().push(Line {
            transaction: rows.small("transaction", row)?.unwrap_or(0),
            transaction_key: rows.text("transaction_key", row)?.map(str::to_owned),
            line: rows.small("line", row)?.unwrap_or(0),
            source: rows.owned("source", row)?,
            kind: rows.text("kind", row)?.map(str::to_owned),
            blame: rows.text("blame", row)?.map(str::to_owned),
            line_of_business: rows.owned("line_of_business", row)?,
            gl_account: rows.owned("gl_account", row)?,
            currency: rows.owned("currency", row)?,
            debit: format_units(rows.units("debit", row)?),
            credit: format_units(rows.units("credit", row)?),
            accounting_date: rows.text("accounting_date", row)?.map(str::to_owned),
            entity: rows.text("entity", row)?.map(str::to_owned),
            dimensions,
            change: rows.text("change", row)?.map(str::to_owned),
        });
    }
    Ok(lines)
}
