//! One Parquet file, written row by row.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BooleanBuilder, Decimal128Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::JournalError;

/// Rows of a row group, which is held in memory until it is full: an eighth of the usual, so that a long run needs no more than a short one.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// Digits of the money columns.
pub(super) const PRECISION: u8 = 38;
/// Decimals of the money columns.
pub(super) const DECIMALS: i8 = 9;

/// Rows gathered before they become a batch: 8,192 rows of about 200 bytes.
pub(super) const BATCH_ROWS: usize = 8_192;

/// One Parquet file with a builder per column. The position of a column is its position in the schema.
pub(super) struct Table {
    schema: Arc<Schema>,
    columns: Vec<Column>,
    writer: ArrowWriter<File>,
    rows: usize,
}

enum Column {
    Text(StringBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Flag(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
    Money(Decimal128Builder),
}

impl Column {
    fn of(kind: &DataType) -> Self {
        match kind {
            DataType::Int32 => Self::Int(Int32Builder::new()),
            DataType::Int64 => Self::Long(Int64Builder::new()),
            DataType::Boolean => Self::Flag(BooleanBuilder::new()),
            DataType::Timestamp(..) => {
                Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            DataType::Decimal128(..) => Self::Money(
                Decimal128Builder::new()
                    .with_precision_and_scale(PRECISION, DECIMALS)
                    .expect("38 and 9 are in range"),
            ),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => ArrayBuilder::finish(builder),
            Self::Int(builder) => ArrayBuilder::finish(builder),
            Self::Long(builder) => ArrayBuilder::finish(builder),
            Self::Flag(builder) => ArrayBuilder::finish(builder),
            Self::Time(builder) => ArrayBuilder::finish(builder),
            Self::Money(builder) => ArrayBuilder::finish(builder),
        }
    }
}

impl Table {
    pub(super) fn create(path: &Path, schema: Schema) -> Result<Self, JournalError> {
        let schema = Arc::new(schema);
        let file = File::create(path).map_err(JournalError::Create)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(JournalError::Write)?;
        let columns = schema.fields().iter().map(|field| Column::of(field.data_type())).collect();
        Ok(Self { schema, columns, writer, rows: 0 })
    }

    pub(super) fn text(&mut self, at: usize, value: Option<&str>) {
        if let Column::Text(builder) = &mut self.columns[at] {
            builder.append_option(value);
        }
    }

    pub(super) fn int(&mut self, at: usize, value: Option<i32>) {
        if let Column::Int(builder) = &mut self.columns[at] {
            builder.append_option(value);
        }
    }

    pub(super) fn long(&mut self, at: usize, value: Option<i64>) {
        if let Column::Long(builder) = &mut self.columns[at] {
            builder.append_option(value);
        }
    }

    pub(super) fn flag(&mut self, at: usize, value: bool) {
        if let Column::Flag(builder) = &mut self.columns[at] {
            builder.append_value(value);
        }
    }

    pub(super) fn time(&mut self, at: usize, value: i64) {
        if let Column::Time(builder) = &mut self.columns[at] {
            builder.append_value(value);
        }
    }

    pub(super) fn decimal(&mut self, at: usize, units: i128) {
        if let Column::Money(builder) = &mut self.columns[at] {
            builder.append_value(units);
        }
    }

    pub(super) fn end_row(&mut self) -> Result<(), JournalError> {
        self.rows += 1;
        if self.rows >= BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), JournalError> {
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        self.rows = 0;
        // A value put into a column of another type would leave the columns of unequal length, which this refuses.
        let batch =
            RecordBatch::try_new(self.schema.clone(), columns).map_err(JournalError::Batch)?;
        self.writer.write(&batch).map_err(JournalError::Write)
    }

    pub(super) fn finish(mut self) -> Result<(), JournalError> {
        self.flush()?;
        self.writer.close().map(|_| ()).map_err(JournalError::Write)
    }
}
