//! FORMAT: the journal of a run, Parquet files that polars, DuckDB, Spark and Athena read as they lie.
//!
//! ```text
//! journal/entry/revision=<k>/run_id=<RunID>/shard=<n>.parquet         one line per journal entry
//! journal/exchange/revision=<k>/run_id=<RunID>/shard=<n>.parquet      one line per recorded exchange
//! journal/difference/revision=<k>/run_id=<RunID>/shard=<n>.parquet    the transactions of exchanges that differ, as JSON
//! journal/structure/revision=<k>/run_id=<RunID>/shard=<n>.parquet     where answers differ outside the ledger mapping, counted
//! journal/upstream/revision=<k>/run_id=<RunID>/shard=<n>.parquet      one line per upstream call that was not made as recorded
//!
//! entry       run_id, exchange_id  text        occurred_at      timestamp(µs, UTC)
//!             transaction, line    int32       transaction_key  text?
//!             source               text        `both`, `primary`, `shadow` or `control`
//!             line_of_business, gl_account, currency  text      debit, credit  decimal(38, 9)
//!             accounting_date, entity  text?   then a column text? for each further dimension of the mapping, by name
//!             kind                 text?       pi               int64, over 2⁵³
//!             blame                text?       `harness`: the control shows the same difference
//!             field, change        text?       what else differs from the other side's line: `memo`, `memo: 'a' → 'b'`
//! exchange    run_id, exchange_id  text        occurred_at      timestamp(µs, UTC)
//!             route, outcome, stratum  text    reason, detail, blame  text?
//!             primary_status, shadow_status  int32?             primary_duration_us, shadow_duration_us  int64?
//!             upstream_hits, upstream_misses, upstream_unused, upstream_assumed, newly_unbalanced  int32
//!             primary_unbalanced, shadow_unbalanced  int32      transactions whose debits are not their credits, per currency
//!             money_known          bool        pi  int64, over 2⁵³
//!             control              text?       what the control booked: `reproduced`, `different` or `failed`
//!             second               text?       the candidate's second answer: `same`, `different` or `failed`
//! difference  run_id, exchange_id  text        occurred_at      timestamp(µs, UTC)
//!             source               text        transactions     text (JSON)
//! structure   run_id, route        text        place            text, `status`, `header`, `body` or `ledger`
//!             path                 text        kind             text, `missing`, `extra`, `type`, `value` or `not_compared`
//!             exchanges            int64       examples         text (JSON: exchange_id, primary, shadow; of `ledger` the types)
//! upstream    run_id, exchange_id  text        occurred_at      timestamp(µs, UTC)
//!             upstream             text        kind             text, `miss`, `extra` or `unused`
//!             call                 text        nearest, differs, path  text?
//! ```
//!
//! Invariants: a line that is equal on both sides is stored once, as `both`; the lines `both` and `primary` of an exchange are
//! exactly what production booked, `both` and `shadow` what the candidate booked. An `unverified` or `filtered` exchange has
//! only lines `primary` of kind `not_examined`: money that was not compared, and no difference. `money_known` is false where not
//! even production's side could be read. The lines `control` of an exchange are exactly what the control booked; they are there only
//! where its exchange says `different`, and no part of any difference between production and the candidate.

use std::path::Path;

use arrow_schema::{DataType, Field, Schema, TimeUnit};

mod entry;
mod table;
pub mod upstream;

use crate::control::{Control, Second};
use crate::run::RunId;
use crate::structure::{Aggregate, Difference, Found, Where};
pub use entry::{EntryRow, FieldChange, Kind, Source};
use table::Table;

/// The tables, in the order in which they are written.
pub const TABLES: [&str; 5] = ["entry", "exchange", "difference", "structure", "upstream"];

/// Returns the key of one table's file of one shard.
pub fn key(table: &str, revision: u32, run: &RunId, shard: u32) -> String {
    format!("journal/{table}/revision={revision}/run_id={run}/shard={shard}.parquet")
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
    /// Why, where it is not plain: the same words for the same cause, so that causes can be counted.
    pub reason: Option<String>,
    /// The particulars of the reason in this exchange.
    pub detail: Option<String>,
    /// Whose fault.
    pub blame: Option<Blame>,
    /// Production's status.
    pub primary_status: Option<u16>,
    /// The candidate's status.
    pub shadow_status: Option<u16>,
    /// Production's time, µs.
    pub primary_duration_us: Option<i64>,
    /// The candidate's time, µs: with a pace from the instant at which it was to be asked, so that waiting for a free place counts.
    pub shadow_duration_us: Option<i64>,
    /// Upstream calls answered from the recording.
    pub upstream_hits: i32,
    /// Upstream calls that production never made.
    pub upstream_misses: i32,
    /// Recorded upstream calls that the candidate did not make.
    pub upstream_unused: i32,
    /// Upstream calls that production never made and that a declared assumption answered.
    pub upstream_assumed: i32,
    /// Transactions balanced in production and unbalanced in the candidate.
    pub newly_unbalanced: i32,
    /// Production's transactions that are unbalanced.
    pub primary_unbalanced: i32,
    /// The candidate's.
    pub shadow_unbalanced: i32,
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
    /// What the control booked; absent where there was none, or nothing to reproduce.
    pub control: Option<Control>,
    /// What the candidate answered when it was asked a second time.
    pub second: Option<Second>,
    /// What differs outside the ledger mapping.
    pub structure: Vec<Difference>,
    /// Upstream calls that were not made as recorded.
    pub calls: Vec<upstream::CallRow>,
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

/// Writes the tables of one shard attempt into a folder, as `<table>.parquet`.
pub struct Writer {
    run: RunId,
    dimensions: Vec<String>,
    tables: [Table; TABLES.len()],
    structure: Aggregate,
}

impl Writer {
    /// Creates the files. Each further dimension is a column of table `entry`.
    pub fn create(
        folder: &Path,
        run: RunId,
        dimensions: Vec<String>,
    ) -> Result<Self, JournalError> {
        let table = |n: usize, schema: Schema| {
            Table::create(&folder.join(format!("{}.parquet", TABLES[n])), schema)
        };
        Ok(Self {
            run,
            tables: [
                table(0, entry::schema(&dimensions))?,
                table(1, exchange_schema())?,
                table(2, difference_schema())?,
                table(3, structure_schema())?,
                table(4, upstream::schema())?,
            ],
            dimensions,
            structure: Aggregate::default(),
        })
    }

    /// Appends an exchange with its entries.
    pub fn append(&mut self, row: &ExchangeRow) -> Result<(), JournalError> {
        self.structure.add(&row.route, &row.exchange_id, &row.structure);
        let [entries, exchanges, differences, _, calls] = &mut self.tables;
        let common = |table: &mut Table| {
            table.text(0, Some(self.run.as_str()));
            table.text(1, Some(&row.exchange_id));
            table.time(2, row.occurred_at_us);
        };
        for line in &row.entries {
            common(entries);
            entry::append(entries, row, line, &self.dimensions);
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
        for call in &row.calls {
            common(calls);
            upstream::append(calls, call);
            calls.end_row()?;
        }
        Ok(())
    }

    /// Ends the files.
    pub fn finish(mut self) -> Result<(), JournalError> {
        let [_, _, _, structure, _] = &mut self.tables;
        for (at, found) in self.structure.found() {
            structure.text(0, Some(self.run.as_str()));
            append_structure(structure, at, found);
            structure.end_row()?;
        }
        self.tables.into_iter().try_for_each(Table::finish)
    }
}

fn append_exchange(table: &mut Table, row: &ExchangeRow) {
    table.text(3, Some(&row.route));
    table.text(4, Some(row.outcome.word()));
    table.text(5, row.reason.as_deref());
    table.text(6, row.detail.as_deref());
    table.text(7, row.blame.map(Blame::word));
    table.int(8, row.primary_status.map(i32::from));
    table.int(9, row.shadow_status.map(i32::from));
    table.long(10, row.primary_duration_us);
    table.long(11, row.shadow_duration_us);
    table.int(12, Some(row.upstream_hits));
    table.int(13, Some(row.upstream_misses));
    table.int(14, Some(row.upstream_unused));
    table.int(15, Some(row.newly_unbalanced));
    table.flag(16, row.money_known);
    table.long(17, Some(row.pi));
    table.text(18, Some(&row.stratum));
    table.int(19, Some(row.upstream_assumed));
    table.text(20, row.control.map(Control::word));
    table.text(21, row.second.map(Second::word));
    table.int(22, Some(row.primary_unbalanced));
    table.int(23, Some(row.shadow_unbalanced));
}

fn append_structure(table: &mut Table, at: &Where, found: &Found) {
    let examples = serde_json::to_string(&found.examples).expect("texts are JSON");
    table.text(1, Some(&at.route));
    table.text(2, Some(at.place.word()));
    table.text(3, Some(&at.path));
    table.text(4, Some(at.change.word()));
    table.long(5, Some(i64::try_from(found.exchanges).unwrap_or(i64::MAX)));
    table.text(6, Some(&examples));
}

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

fn exchange_schema() -> Schema {
    schema(&[
        ("route", DataType::Utf8, false),
        ("outcome", DataType::Utf8, false),
        ("reason", DataType::Utf8, true),
        ("detail", DataType::Utf8, true),
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
        ("upstream_assumed", DataType::Int32, false),
        ("control", DataType::Utf8, true),
        ("second", DataType::Utf8, true),
        ("primary_unbalanced", DataType::Int32, false),
        ("shadow_unbalanced", DataType::Int32, false),
    ])
}

fn difference_schema() -> Schema {
    schema(&[("source", DataType::Utf8, false), ("transactions", DataType::Utf8, false)])
}

fn structure_schema() -> Schema {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let exchanges = Field::new("exchanges", DataType::Int64, false);
    let [run, route, place, path] = ["run_id", "route", "place", "path"].map(text);
    Schema::new(vec![run, route, place, path, text("kind"), exchanges, text("examples")])
}

#[cfg(test)]
pub(crate) mod tests;
