//! FORMAT: the journal of a run, Parquet files that polars, DuckDB, Spark and Athena read as they lie.
//!
//! ```text
//! journal/entry/revision=<k>/run_id=<RunID>/shard=<n>.parquet         one line per journal entry
//! journal/exchange/revision=<k>/run_id=<RunID>/shard=<n>.parquet      one line per recorded exchange
//! journal/difference/revision=<k>/run_id=<RunID>/shard=<n>.parquet    the transactions of exchanges that differ, as JSON
//!
//! entry       run_id, exchange_id  text        occurred_at      timestamp(µs, UTC)
//!             transaction, line    int32       transaction_key  text?
//!             source               text        `both`, `primary`, `shadow` or `control`
//!             line_of_business, gl_account, currency  text      debit, credit  decimal(38, 9)
//!             accounting_date, entity  text?   kind  text?      pi  int64, over 2⁵³
//! exchange    run_id, exchange_id  text        occurred_at      timestamp(µs, UTC)
//!             route, outcome, stratum  text    reason, blame    text?
//!             primary_status, shadow_status  int32?             primary_duration_us, shadow_duration_us  int64?
//!             upstream_hits, upstream_misses, upstream_unused, newly_unbalanced  int32
//!             money_known          bool        pi  int64, over 2⁵³
//! difference  run_id, exchange_id  text        occurred_at      timestamp(µs, UTC)
//!             source               text        transactions     text (JSON)
//! ```
//!
//! Invariants: a line that is equal on both sides is stored once, as `both`; the lines `both` and `primary` of an exchange are
//! exactly what production booked, `both` and `shadow` what the candidate booked. An `unverified` or `filtered` exchange has
//! only lines `primary` of kind `not_examined`: money that was not compared, and no difference. `money_known` is false where not
//! even production's side could be read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BooleanBuilder, Decimal128Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use shadow_recorder::ledger::Entry;

use crate::run::RunId;

/// The tables, in the order in which they are written.
pub const TABLES: [&str; 3] = ["entry", "exchange", "difference"];

/// Returns the key of one table's file of one shard.
pub fn key(table: &str, revision: u32, run: &RunId, shard: u32) -> String {
    format!("journal/{table}/revision={revision}/run_id={run}/shard={shard}.parquet")
}

/// On which side a line was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Equal on both sides.
    Both,
    /// Production only.
    Primary,
    /// The candidate only.
    Shadow,
}

impl Source {
    /// Returns the word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Primary => "primary",
            Self::Shadow => "shadow",
        }
    }
}

/// What kind of difference a line is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The same amount under another line of business, account or side.
    Reclassified,
    /// Another amount under the same line of business and account.
    AmountChanged,
    /// The same money on another accounting date.
    PeriodChanged,
    /// The same money of another legal entity.
    EntityChanged,
    /// Booked by production only.
    Missing,
    /// Booked by the candidate only.
    Extra,
    /// Production's money of an exchange that was not compared.
    NotExamined,
}

impl Kind {
    /// Returns the word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reclassified => "reclassified",
            Self::AmountChanged => "amount_changed",
            Self::PeriodChanged => "period_changed",
            Self::EntityChanged => "entity_changed",
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::NotExamined => "not_examined",
        }
    }
}

/// How an exchange came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Both sides booked the same.
    Matched,
    /// They booked differently.
    Different,
    /// Left out by a filter.
    Filtered,
    /// The candidate failed where production succeeded; counted as if it had booked nothing.
    Errored,
    /// Could not be compared; its money is not examined.
    Unverified,
}

impl Outcome {
    /// Returns the word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Different => "different",
            Self::Filtered => "filtered",
            Self::Errored => "errored",
            Self::Unverified => "unverified",
        }
    }
}

/// Whose fault a failure is. Only the candidate's counts against the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The candidate's.
    Candidate,
    /// The recording's or the replay's.
    Harness,
}

impl Blame {
    /// Returns the word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Harness => "harness",
        }
    }
}

/// One line of table `entry`, less what its exchange says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// The transaction's position in the exchange.
    pub transaction: i32,
    /// The transaction's key, where mapped.
    pub transaction_key: Option<String>,
    /// The line's position in the transaction.
    pub line: i32,
    /// Which side.
    pub source: Source,
    /// What was booked.
    pub entry: Entry,
    /// Part of which difference.
    pub kind: Option<Kind>,
}

/// One line of table `exchange`, with its lines in the other tables.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeRow {
    /// The exchange.
    pub exchange_id: String,
    /// When production received it, µs since 1970 UTC.
    pub occurred_at_us: i64,
    /// The method and path pattern, or path.
    pub route: String,
    /// How it came out.
    pub outcome: Outcome,
    /// Why, where it is not plain.
    pub reason: Option<String>,
    /// Whose fault.
    pub blame: Option<Blame>,
    /// Production's status.
    pub primary_status: Option<u16>,
    /// The candidate's status.
    pub shadow_status: Option<u16>,
    /// Production's time, µs.
    pub primary_duration_us: Option<i64>,
    /// The candidate's time, µs.
    pub shadow_duration_us: Option<i64>,
    /// Upstream calls answered from the recording.
    pub upstream_hits: i32,
    /// Upstream calls that production never made.
    pub upstream_misses: i32,
    /// Recorded upstream calls that the candidate did not make.
    pub upstream_unused: i32,
    /// Transactions balanced in production and unbalanced in the candidate.
    pub newly_unbalanced: i32,
    /// Whether production's side could be read.
    pub money_known: bool,
    /// The inclusion probability over 2⁵³.
    pub pi: i64,
    /// The stratum.
    pub stratum: String,
    /// The entries.
    pub entries: Vec<EntryRow>,
    /// For an exchange that differs: production's transactions and the candidate's, as JSON.
    pub transactions: Option<(String, String)>,
}

/// Writing failed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be created.
    #[error("cannot create a journal file")]
    Create(#[source] std::io::Error),
    /// The Parquet writer failed.
    #[error("cannot write the journal")]
    Write(#[source] parquet::errors::ParquetError),
    /// The batch does not fit its schema.
    #[error("a journal batch does not fit its schema")]
    Batch(#[source] arrow_schema::ArrowError),
}

/// Writes the three tables of one shard attempt into a folder, as `<table>.parquet`.
pub struct Writer {
    run: RunId,
    tables: [Table; 3],
}

impl Writer {
    /// Creates the files.
    pub fn create(folder: &Path, run: RunId) -> Result<Self, JournalError> {
        let table = |n: usize, schema: Schema| {
            Table::create(&folder.join(format!("{}.parquet", TABLES[n])), schema)
        };
        Ok(Self {
            run,
            tables: [
                table(0, entry_schema())?,
                table(1, exchange_schema())?,
                table(2, difference_schema())?,
            ],
        })
    }

    /// Appends an exchange with its entries.
    pub fn append(&mut self, row: &ExchangeRow) -> Result<(), JournalError> {
        let [entries, exchanges, differences] = &mut self.tables;
        let common = |table: &mut Table| {
            table.text(0, Some(self.run.as_str()));
            table.text(1, Some(&row.exchange_id));
            table.time(2, row.occurred_at_us);
        };
        for line in &row.entries {
            common(entries);
            append_entry(entries, row, line);
            entries.end_row()?;
        }
        common(exchanges);
        append_exchange(exchanges, row);
        exchanges.end_row()?;
        if let Some((primary, shadow)) = &row.transactions {
            for (source, transactions) in [(Source::Primary, primary), (Source::Shadow, shadow)] {
                common(differences);
                differences.text(3, Some(source.word()));
                differences.text(4, Some(transactions));
                differences.end_row()?;
            }
        }
        Ok(())
    }

    /// Ends the files.
    pub fn finish(self) -> Result<(), JournalError> {
        self.tables.into_iter().try_for_each(Table::finish)
    }
}

fn append_entry(table: &mut Table, row: &ExchangeRow, line: &EntryRow) {
    table.int(3, Some(line.transaction));
    table.int(4, Some(line.line));
    table.text(5, line.transaction_key.as_deref());
    table.text(6, Some(line.source.word()));
    table.text(7, Some(&line.entry.line_of_business));
    table.text(8, Some(&line.entry.gl_account));
    table.text(9, Some(&line.entry.currency));
    table.decimal(10, line.entry.debit.units());
    table.decimal(11, line.entry.credit.units());
    table.text(12, line.entry.accounting_date.as_deref());
    table.text(13, line.entry.entity.as_deref());
    table.text(14, line.kind.map(Kind::word));
    table.long(15, Some(row.pi));
}

fn append_exchange(table: &mut Table, row: &ExchangeRow) {
    table.text(3, Some(&row.route));
    table.text(4, Some(row.outcome.word()));
    table.text(5, row.reason.as_deref());
    table.text(6, row.blame.map(Blame::word));
    table.int(7, row.primary_status.map(i32::from));
    table.int(8, row.shadow_status.map(i32::from));
    table.long(9, row.primary_duration_us);
    table.long(10, row.shadow_duration_us);
    table.int(11, Some(row.upstream_hits));
    table.int(12, Some(row.upstream_misses));
    table.int(13, Some(row.upstream_unused));
    table.int(14, Some(row.newly_unbalanced));
    table.flag(15, row.money_known);
    table.long(16, Some(row.pi));
    table.text(17, Some(&row.stratum));
}

const PRECISION: u8 = 38;
const DECIMALS: i8 = 9;

fn schema(further: &[(&str, DataType, bool)]) -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let common = [
        ("run_id", DataType::Utf8, false),
        ("exchange_id", DataType::Utf8, false),
        ("occurred_at", time, false),
    ];
    let field = |(name, kind, nullable): &(&str, DataType, bool)| {
        Field::new(*name, kind.clone(), *nullable)
    };
    Schema::new(common.iter().chain(further).map(field).collect::<Vec<_>>())
}

fn entry_schema() -> Schema {
    let money = DataType::Decimal128(PRECISION, DECIMALS);
    schema(&[
        ("transaction", DataType::Int32, false),
        ("line", DataType::Int32, false),
        ("transaction_key", DataType::Utf8, true),
        ("source", DataType::Utf8, false),
        ("line_of_business", DataType::Utf8, false),
        ("gl_account", DataType::Utf8, false),
        ("currency", DataType::Utf8, false),
        ("debit", money.clone(), false),
        ("credit", money, false),
        ("accounting_date", DataType::Utf8, true),
        ("entity", DataType::Utf8, true),
        ("kind", DataType::Utf8, true),
        ("pi", DataType::Int64, false),
    ])
}

fn exchange_schema() -> Schema {
    schema(&[
        ("route", DataType::Utf8, false),
        ("outcome", DataType::Utf8, false),
        ("reason", DataType::Utf8, true),
        ("blame", DataType::Utf8, true),
        ("primary_status", DataType::Int32, true),
        ("shadow_status", DataType::Int32, true),
        ("primary_duration_us", DataType::Int64, true),
        ("shadow_duration_us", DataType::Int64, true),
        ("upstream_hits", DataType::Int32, false),
        ("upstream_misses", DataType::Int32, false),
        ("upstream_unused", DataType::Int32, false),
        ("newly_unbalanced", DataType::Int32, false),
        ("money_known", DataType::Boolean, false),
        ("pi", DataType::Int64, false),
        ("stratum", DataType::Utf8, false),
    ])
}

fn difference_schema() -> Schema {
    schema(&[("source", DataType::Utf8, false), ("transactions", DataType::Utf8, false)])
}

/// Rows gathered before they become a batch: 8,192 rows of about 200 bytes.
const BATCH_ROWS: usize = 8_192;

/// One Parquet file with a builder per column. The position of a column is its position in the schema.
struct Table {
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
    fn create(path: &Path, schema: Schema) -> Result<Self, JournalError> {
        let schema = Arc::new(schema);
        let file = File::create(path).map_err(JournalError::Create)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(JournalError::Write)?;
        let columns = schema.fields().iter().map(|field| Column::of(field.data_type())).collect();
        Ok(Self { schema, columns, writer, rows: 0 })
    }

    fn text(&mut self, at: usize, value: Option<&str>) {
        if let Column::Text(builder) = &mut self.columns[at] {
            builder.append_option(value);
        }
    }

    fn int(&mut self, at: usize, value: Option<i32>) {
        if let Column::Int(builder) = &mut self.columns[at] {
            builder.append_option(value);
        }
    }

    fn long(&mut self, at: usize, value: Option<i64>) {
        if let Column::Long(builder) = &mut self.columns[at] {
            builder.append_option(value);
        }
    }

    fn flag(&mut self, at: usize, value: bool) {
        if let Column::Flag(builder) = &mut self.columns[at] {
            builder.append_value(value);
        }
    }

    fn time(&mut self, at: usize, value: i64) {
        if let Column::Time(builder) = &mut self.columns[at] {
            builder.append_value(value);
        }
    }

    fn decimal(&mut self, at: usize, units: i128) {
        if let Column::Money(builder) = &mut self.columns[at] {
            builder.append_value(units);
        }
    }

    fn end_row(&mut self) -> Result<(), JournalError> {
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

    fn finish(mut self) -> Result<(), JournalError> {
        self.flush()?;
        self.writer.close().map(|_| ()).map_err(JournalError::Write)
    }
}

#[cfg(test)]
mod tests;
