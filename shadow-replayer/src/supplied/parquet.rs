//! Rows of Parquet. Every value becomes the text that says it exactly; a type that has no such text is refused, never converted.

use std::fs::File;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use jiff::{SignedDuration, Timestamp, civil};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Value};

use super::columns::Columns;
use super::rows::Row;

/// Reads every row; the error says why the file as a whole cannot be read.
pub(super) fn read(
    file: &File,
    columns: &Columns,
    each: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<(), String> {
    let wrong = |error: &dyn std::fmt::Display| format!("it is not sound Parquet: {error}");
    let file = file.try_clone().map_err(|error| error.to_string())?;
    // Without the writer's own types only those of the format are left, each in one form.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .map_err(|error| wrong(&error))?;
    let fields = builder.schema().fields().clone();
    let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    let taken = columns.places(&names)?;
    for &at in &taken {
        check(fields[at].name(), fields[at].data_type())?;
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), taken);
    let batches = builder.with_projection(mask).build().map_err(|error| wrong(&error))?;
    for batch in batches {
        let batch = batch.map_err(|error| wrong(&error))?;
        let schema = batch.schema();
        let columns: Vec<(&String, Vec<Value>)> = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| (field.name(), values(column)))
            .collect();
        let mut columns: Vec<_> =
            columns.into_iter().map(|(name, values)| (name, values.into_iter())).collect();
        for _ in 0..batch.num_rows() {
            let members = columns
                .iter_mut()
                .filter_map(|(name, values)| Some((name.clone(), values.next()?)));
            each(Row::Columns(Value::Object(members.collect::<Map<_, _>>())))?;
        }
    }
    Ok(())
}

/// Refuses a type whose values have no exact text.
fn check(name: &str, kind: &DataType) -> Result<(), String> {
    match kind {
        DataType::Utf8
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Date32
        | DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::Timestamp(
            TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
            _,
        ) => Ok(()),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Err(format!(
            "column `{name}` holds binary floats, which are not exact: cast it to decimal(38, 9) or to text where the file is written"
        )),
        other => Err(format!(
            "column `{name}` is of type {other}, which is not read: cast it to text where the file is written"
        )),
    }
}

/// Returns the column's values as text, null where there is none.
fn values(column: &ArrayRef) -> Vec<Value> {
    let text = |at| if column.is_null(at) { Value::Null } else { Value::String(exact(column, at)) };
    (0..column.len()).map(text).collect()
}

fn exact(column: &ArrayRef, at: usize) -> String {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(at).to_owned(),
        DataType::Boolean => column.as_boolean().value(at).to_string(),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(at).to_string(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(at).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(at).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(at).to_string(),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(at).to_string(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(at).to_string(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(at).to_string(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(at).to_string(),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value_as_string(at),
        DataType::Decimal256(..) => column.as_primitive::<Decimal256Type>().value_as_string(at),
        DataType::Date32 => date(column.as_primitive::<Date32Type>().value(at)),
        DataType::Timestamp(unit, _) => instant(column, *unit, at),
        other => unreachable!("{other} was refused"),
    }
}

/// Writes days since 1970 as a date; a day that no calendar has reads as none.
fn date(days: i32) -> String {
    let day = civil::date(1970, 1, 1).checked_add(SignedDuration::from_hours(24 * i64::from(days)));
    day.map_or_else(|_| format!("day {days}"), |day| day.to_string())
}

fn instant(column: &ArrayRef, unit: TimeUnit, at: usize) -> String {
    let instant = match unit {
        TimeUnit::Millisecond => {
            Timestamp::from_millisecond(column.as_primitive::<TimestampMillisecondType>().value(at))
        }
        TimeUnit::Nanosecond => Timestamp::from_nanosecond(
            column.as_primitive::<TimestampNanosecondType>().value(at).into(),
        ),
        _ => {
            Timestamp::from_microsecond(column.as_primitive::<TimestampMicrosecondType>().value(at))
        }
    };
    instant.map_or_else(|error| error.to_string(), |instant| instant.to_string())
}
