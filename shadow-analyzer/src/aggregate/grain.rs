//! How finely lines are summed: every dimension at once, rolled up afterwards.

use polars::prelude::*;

use super::AggregateError;
use super::rows::Rows;
use crate::load::Journal;
use crate::policy::{Period, Policy};
use crate::totals::Place;
use crate::verdict::{DimensionName, NO_VALUE};

/// Microseconds of a UTC day.
const DAY_US: i64 = 86_400_000_000;

/// What the column of the day is called: no mapping can name a dimension so.
const DAY: &str = "utc day";

/// What the column of a dimension is called while lines are grouped, whatever the mapping calls it.
fn key(name: DimensionName) -> String {
    format!("dimension {}", name.word())
}

/// The columns by which lines are grouped.
pub(super) struct Grain {
    further: Vec<DimensionName>,
    period: Period,
    daily: bool,
}

impl Grain {
    /// Takes every dimension of a journal, and its days where the policy judges them.
    pub(super) fn of(journal: &Journal, policy: &Policy) -> Result<Self, AggregateError> {
        let further = journal.dimensions()?;
        Ok(Self { further, period: policy.period, daily: policy.is_daily() })
    }

    /// Returns the columns, each by its name.
    pub(super) fn keys(&self) -> Vec<Expr> {
        let mut keys: Vec<Expr> = ["line_of_business", "gl_account", "currency"].map(col).into();
        keys.extend(self.further.iter().map(|name| match name {
            DimensionName::AccountingPeriod => periods(self.period).alias(key(*name)),
            other => col(other.column()).alias(key(*other)),
        }));
        if self.daily {
            keys.push(days().alias(DAY));
        }
        keys
    }

    /// Reads the place of a row that was grouped by the keys.
    pub(super) fn place(&self, rows: &Rows<'_>, row: usize) -> Result<Place, AggregateError> {
        let mut place = Place {
            line_of_business: rows.owned("line_of_business", row)?,
            gl_account: rows.owned("gl_account", row)?,
            currency: rows.owned("currency", row)?,
            ..Place::default()
        };
        for name in &self.further {
            let value = rows.text(&key(*name), row)?.unwrap_or(NO_VALUE);
            place.further.insert(*name, value.into());
        }
        if self.daily {
            place.day = rows.long(DAY, row)?;
        }
        Ok(place)
    }
}

/// The accounting dates, shortened to their periods before they are grouped: a date with a time is another in every line.
fn periods(period: Period) -> Expr {
    let shorten = move |column: Column| -> PolarsResult<Column> {
        let dates = column.str()?;
        let short: StringChunked =
            dates.iter().map(|date| date.map(|date| period.of(date))).collect();
        Ok(short.with_name(column.name().clone()).into_series().into_column())
    };
    col("accounting_date").map(shorten, |_, field| Ok(field.clone()))
}

/// The UTC days on which exchanges occurred, in days since 1970.
fn days() -> Expr {
    let of_day = |column: Column| -> PolarsResult<Column> {
        let instants = column.i64()?;
        let days: Int64Chunked =
            instants.iter().map(|instant| instant.map(|us| us.div_euclid(DAY_US))).collect();
        Ok(days.with_name(column.name().clone()).into_series().into_column())
    };
    let instants = col("occurred_at").cast(DataType::Int64);
    instants.map(of_day, |_, field| Ok(field.clone()))
}
