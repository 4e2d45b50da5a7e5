//! From the rows of a file to records: what one row says, or why it cannot be read. A row is never skipped.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shadow_recorder::ledger::{Path, Transaction};

use super::columns::Columns;
use super::file::{Format, Opened, Side};
use super::{csv, documents, parquet};
use crate::config::supplied::Supplied;

/// A row as its reader found it.
pub(super) enum Row {
    /// An object with a member for each column, or a document.
    Read(Value),
    /// Not a row of this format, and why.
    Broken(String),
}

/// What one row says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) side: Side,
    /// The event; of a row that does not say it, where the row is.
    pub(super) event: String,
    /// When it occurred, µs since 1970 UTC.
    pub(super) occurred_at_us: Option<i64>,
    /// What was booked, or why that cannot be read.
    pub(super) booked: Result<Vec<Transaction>, String>,
}

/// Reads every row of a file and counts them in what is kept of it; the error says why the file as a whole cannot be read.
pub(super) fn read(
    opened: &mut Opened,
    supplied: &Supplied,
    each: &mut dyn FnMut(Record) -> Result<(), String>,
) -> Result<(), String> {
    let Opened { file, of } = opened;
    let (side, name) = (of.side, of.name.clone());
    let (mut rows, mut unreadable) = (0, 0);
    let mut take = |row: Row| {
        rows += 1;
        let record = record(side, &format!("{name} row {rows}"), row, supplied);
        unreadable += u64::from(record.booked.is_err());
        each(record)
    };
    let read = match of.format {
        Format::Csv => Columns::of(supplied)
            .and_then(|columns| csv::read(file, supplied.delimiter, &columns, &mut take)),
        Format::Parquet => {
            Columns::of(supplied).and_then(|columns| parquet::read(file, &columns, &mut take))
        }
        Format::JsonLines => documents::read(file, &mut take),
    };
    (of.rows, of.unreadable) = (rows, unreadable);
    read.map_err(|what| format!("cannot read {name}: {what}"))
}

fn record(side: Side, place: &str, row: Row, supplied: &Supplied) -> Record {
    let value = match row {
        Row::Read(value) => value,
        Row::Broken(what) => {
            let booked = Err(format!("{place}: {what}"));
            return Record { side, event: place.to_owned(), occurred_at_us: None, booked };
        }
    };
    let at = |what: String| format!("{place}: {what}");
    let event = text(&supplied.event_id, &value).map_err(|what| at(format!("event_id: {what}")));
    let occurred_at_us = match &supplied.occurred_at {
        None => Ok(None),
        Some(path) => text(path, &value)
            .and_then(|text| instant(&text))
            .map(Some)
            .map_err(|what| at(format!("occurred_at: {what}"))),
    };
    let booked = supplied.extract.transactions(&value).map_err(at);
    let (event, booked) = match event {
        Ok(event) => (event, booked),
        Err(what) => (place.to_owned(), Err(what)),
    };
    match occurred_at_us {
        Ok(occurred_at_us) => Record { side, event, occurred_at_us, booked },
        Err(what) => Record { side, event, occurred_at_us: None, booked: Err(what) },
    }
}

fn text(path: &Path, value: &Value) -> Result<String, String> {
    match path.one(value).map_err(|error| error.to_string())? {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null | Value::String(_) => Err(format!("`{}` is empty", path.as_str())),
        _ => Err(format!("`{}` is neither a text nor a number", path.as_str())),
    }
}

/// Reads an instant; one without an offset is in UTC.
fn instant(text: &str) -> Result<i64, String> {
    let instant = text.parse::<Timestamp>().or_else(|_| {
        let local: DateTime = text.parse()?;
        local.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    instant.map(Timestamp::as_microsecond).map_err(|_: jiff::Error| {
        format!("`{text}` is not an instant such as 2026-11-20T07:00:00Z")
    })
}
