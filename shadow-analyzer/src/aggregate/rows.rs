//! Reads the cells of a query's result.

use std::ops::Range;

use polars::prelude::*;

use super::AggregateError;
use crate::totals::{Money, Overflow};

/// What a guarded sum stays below: the first number that decimal(38) cannot hold.
const SUM_LIMIT: i128 = 10_i128.pow(38);

/// The result of a query, row by row.
pub(super) struct Rows<'f> {
    what: &'static str,
    frame: &'f DataFrame,
}

impl<'f> Rows<'f> {
    pub(super) fn of(what: &'static str, frame: &'f DataFrame) -> Self {
        Self { what, frame }
    }

    pub(super) fn len(&self) -> usize {
        self.frame.height()
    }

    fn column<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'f Column) -> PolarsResult<T>,
    ) -> Result<T, AggregateError> {
        self.frame
            .column(name)
            .and_then(read)
            .map_err(|error| AggregateError::Compute(self.what, error))
    }

    pub(super) fn text(&self, name: &str, row: usize) -> Result<Option<&'f str>, AggregateError> {
        self.column(name, |column| Ok(column.str()?.get(row)))
    }

    pub(super) fn owned(&self, name: &str, row: usize) -> Result<String, AggregateError> {
        Ok(self.text(name, row)?.unwrap_or_default().to_owned())
    }

    pub(super) fn flag(&self, name: &str, row: usize) -> Result<bool, AggregateError> {
        Ok(self.column(name, |column| Ok(column.bool()?.get(row)))?.unwrap_or(false))
    }

    /// Reads a count, whichever integer type polars gave it.
    pub(super) fn count(&self, name: &str, row: usize) -> Result<u64, AggregateError> {
        self.column(name, |column| column.get(row)?.try_extract::<u64>())
    }

    pub(super) fn small(&self, name: &str, row: usize) -> Result<Option<i32>, AggregateError> {
        self.column(name, |column| Ok(column.i32()?.get(row)))
    }

    pub(super) fn long(&self, name: &str, row: usize) -> Result<Option<i64>, AggregateError> {
        self.column(name, |column| Ok(column.i64()?.get(row)))
    }

    /// Reads the π of a row's exchanges over 2⁵³; what is none counts as the least.
    pub(super) fn probability(&self, row: usize) -> Result<u64, AggregateError> {
        Ok(self.long("pi", row)?.and_then(|pi| u64::try_from(pi).ok()).unwrap_or(0))
    }

    pub(super) fn units(&self, name: &str, row: usize) -> Result<i128, AggregateError> {
        Ok(self.column(name, |column| Ok(column.decimal()?.physical().get(row)))?.unwrap_or(0))
    }

    /// Returns the exchange of a row, and this row with those of the same exchange after it, in a result that is sorted by exchange.
    pub(super) fn exchange(&self, first: usize) -> Result<(String, Range<usize>), AggregateError> {
        let id = self.owned("exchange_id", first)?;
        let mut end = first + 1;
        while end < self.len() && self.text("exchange_id", end)? == Some(&*id) {
            end += 1;
        }
        Ok((id, first..end))
    }

    /// Returns whether the candidate booked a row's lines.
    pub(super) fn is_shadow(&self, row: usize) -> Result<bool, AggregateError> {
        Ok(self.text("source", row)? == Some("shadow"))
    }

    /// Returns a difference, shadow − primary, with a row of [`sums`](super::sums) added to its side.
    pub(super) fn added_to(&self, difference: Money, row: usize) -> Result<Money, AggregateError> {
        let money = self.money(row)?;
        let is_shadow = self.is_shadow(row)?;
        Ok(if is_shadow { difference.plus(money)? } else { difference.minus(money)? })
    }

    /// Reads a row of [`sums`](super::sums).
    pub(super) fn money(&self, row: usize) -> Result<Money, AggregateError> {
        let lines = self.count("lines", row)?;
        let side = |side: &str| -> Result<i128, AggregateError> {
            let read = |what| self.units(&format!("{side}_{what}"), row);
            Ok(guarded(read("sum")?, read("min")?, read("max")?, lines)?)
        };
        Ok(Money { debit: side("debit")?, credit: side("credit")? })
    }
}

/// Returns a sum that cannot have wrapped, given the least and the largest of its `lines` terms.
pub(super) fn guarded(sum: i128, least: i128, largest: i128, lines: u64) -> Result<i128, Overflow> {
    let limit = SUM_LIMIT.unsigned_abs();
    let size = least.unsigned_abs().max(largest.unsigned_abs());
    match size.checked_mul(u128::from(lines)) {
        Some(bound) if bound < limit => Ok(sum),
        _ => Err(Overflow),
    }
}
