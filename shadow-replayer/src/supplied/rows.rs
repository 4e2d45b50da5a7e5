//! From the rows of a file to records: what one row says, or why it cannot be read. A row is never skipped.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shadow_recorder::exchange::{Body, Request};
use shadow_recorder::ledger::{
    Answered, Mapping, Path, Reading, Route, Rule, Source, StatusPattern, Transaction,
};

use super::columns::Columns;
use super::file::{Format, Opened, Side};
use super::{csv, documents, parquet};
use crate::config::supplied::Supplied;

/// A row as its reader found it.
pub(super) enum Row {
    /// An object with a member for each column.
    Columns(Value),
    /// A document of JSON.
    Document(String),
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
    let reader = Reader::of(supplied);
    let mut take = |row: Row| {
        rows += 1;
        let record = reader.record(side, &format!("{name} row {rows}"), row);
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

/// Reads rows by the mapping; a document as if the service had answered with it, so that both are read alike.
struct Reader<'s> {
    supplied: &'s Supplied,
    request: Request,
    mapping: Mapping,
}

impl<'s> Reader<'s> {
    fn of(supplied: &'s Supplied) -> Self {
        let route = Route::parse("* /**").expect("it is a route");
        let source = Source::Answer(supplied.extract.clone());
        let rules = vec![Rule { route, status: StatusPattern::Class(2), source }];
        let request = Request {
            method: "POST".into(),
            target: "/".into(),
            version: "HTTP/1.1".into(),
            headers: Vec::new(),
            body: Body::default(),
            trailers: Vec::new(),
            principal: None,
        };
        Self { supplied, request, mapping: Mapping { rules, sinks: BTreeSet::new() } }
    }

    fn record(&self, side: Side, place: &str, row: Row) -> Record {
        let at = |what: String| format!("{place}: {what}");
        let (value, booked) = match self.read(row) {
            Ok(read) => read,
            Err(what) => {
                let (event, booked) = (place.to_owned(), Err(at(what)));
                return Record { side, event, occurred_at_us: None, booked };
            }
        };
        let booked = booked.map_err(at);
        let occurred_at_us = match &self.supplied.occurred_at {
            None => Ok(None),
            Some(path) => text(path, &value)
                .and_then(|text| instant(&text))
                .map(Some)
                .map_err(|what| at(format!("occurred_at: {what}"))),
        };
        let event = text(&self.supplied.event_id, &value);
        let (event, booked) = match event {
            Ok(event) => (event, booked),
            Err(what) => (place.to_owned(), Err(at(format!("event_id: {what}")))),
        };
        match occurred_at_us {
            Ok(occurred_at_us) => Record { side, event, occurred_at_us, booked },
            Err(what) => Record { side, event, occurred_at_us: None, booked: Err(what) },
        }
    }

    /// Returns the row with what it books; the error is of a row of which nothing can be read.
    fn read(&self, row: Row) -> Result<(Value, Result<Vec<Transaction>, String>), String> {
        match row {
            Row::Broken(what) => Err(what),
            Row::Columns(value) => {
                let booked = self.supplied.extract.transactions(&value);
                Ok((value, booked))
            }
            Row::Document(text) => {
                let value = serde_json::from_str(&text)
                    .map_err(|error| format!("it is not JSON: {error}"))?;
                Ok((value, self.document(text)))
            }
        }
    }

    fn document(&self, text: String) -> Result<Vec<Transaction>, String> {
        let body = &Body { text: Some(text), ..Body::default() };
        let answered = Answered { request: &self.request, status: 200, body, calls: &[] };
        match self.mapping.read(&answered) {
            Reading::Booked(transactions) => Ok(transactions),
            Reading::Unparseable(what) | Reading::Unmapped(what) => Err(what),
            Reading::Failed => Err("it is not read".into()),
        }
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
