//! Rows of CSV: every cell is the text that stands there, an empty one is null.

use std::fs::File;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};

use super::columns::Columns;
use super::rows::Row;

/// Reads every row; the error says why the file as a whole cannot be read.
pub(super) fn read(
    file: &File,
    delimiter: u8,
    columns: &Columns,
    each: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<(), String> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(file);
    let names = reader.byte_headers().map_err(|error| error.to_string())?;
    let names: Result<Vec<String>, _> =
        names.iter().map(|name| std::str::from_utf8(name).map(str::to_owned)).collect();
    let names = names.map_err(|_| "the line of names is not UTF-8 text".to_owned())?;
    if names.is_empty() {
        // A file without a single byte has neither names nor rows.
        return Ok(());
    }
    let taken = columns.places(&names)?;
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| error.to_string())? {
        each(row(&record, &names, &taken))?;
    }
    Ok(())
}

fn row(record: &ByteRecord, names: &[String], taken: &[usize]) -> Row {
    if record.len() != names.len() {
        let (found, expected) = (record.len(), names.len());
        return Row::Broken(format!("it has {found} cells, and the line of names has {expected}"));
    }
    let mut object = Map::new();
    for &at in taken {
        let value = match std::str::from_utf8(&record[at]) {
            Ok("") => Value::Null,
            Ok(text) => text.into(),
            Err(_) => return Row::Broken(format!("column `{}` is not UTF-8 text", names[at])),
        };
        object.insert(names[at].clone(), value);
    }
    Row::Columns(Value::Object(object))
}
