//! The door to the journal: its Parquet files as lazy frames, the schema checked before anything is computed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use polars::prelude::*;
use shadow_replayer::journal;
use shadow_replayer::run::RunId;

use crate::verdict::DimensionName;

/// Why a journal cannot be read or summed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing or damaged.
    #[error("cannot read the journal table `{table}` ({first})")]
    Read {
        /// The table.
        table: &'static str,
        /// Its first file.
        first: String,
        /// Why.
        source: PolarsError,
    },
    /// A file has not the columns of this version.
    #[error(
        "the journal table `{table}` has no column `{column}` of type {expected}: it was written by another version"
    )]
    Schema {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The type expected.
        expected: String,
    },
}

/// The journal of one revision of a run: explicit lists of files, one per shard.
// Never a glob: a file that no shard names is not part of the run.
#[derive(Clone, Debug)]
pub struct Journal {
    entries: Vec<PathBuf>,
    exchanges: Vec<PathBuf>,
    structure: Vec<PathBuf>,
}

impl Journal {
    /// Names the files of a revision's shards, in the folder of a store.
    pub fn of_run(root: &Path, run: &RunId, revision: u32, shards: &[u32]) -> Self {
        // A shard that is named twice is summed once.
        let shards: BTreeSet<u32> = shards.iter().copied().collect();
        let paths = |table| {
            let keys = shards.iter().map(|shard| journal::key(table, revision, run, *shard));
            keys.map(|key| root.join(key)).collect()
        };
        Self {
            entries: paths("entry"),
            exchanges: paths("exchange"),
            structure: paths("structure"),
        }
    }

    /// Returns the number of shards.
    pub(crate) fn shards(&self) -> usize {
        self.entries.len()
    }

    /// Returns table `entry` of all shards.
    pub(crate) fn entries(&self) -> Result<LazyFrame, LoadError> {
        scan("entry", &self.entries, entry_columns())
    }

    /// Returns table `entry` of one shard.
    pub(crate) fn entries_of(&self, shard: usize) -> Result<LazyFrame, LoadError> {
        scan("entry", &self.entries[shard..=shard], entry_columns())
    }

    /// Returns the dimensions that the mapping added: the columns of table `entry` from `accounting_date` to `kind`.
    pub(crate) fn dimensions(&self) -> Result<Vec<DimensionName>, LoadError> {
        let schema = self.entries()?.collect_schema().map_err(|source| LoadError::Read {
            table: "entry",
            first: self.entries.first().map(|file| file.display().to_string()).unwrap_or_default(),
            source,
        })?;
        let columns = schema.iter_names().map(PlSmallStr::as_str);
        let further = columns.skip_while(|name| *name != "entity").skip(1);
        let further = further
            .take_while(|name| *name != "kind")
            .filter_map(|name| DimensionName::named(name).ok());
        Ok([DimensionName::AccountingPeriod, DimensionName::Entity]
            .into_iter()
            .chain(further)
            .collect())
    }

    /// Returns table `exchange` of all shards.
    pub(crate) fn exchanges(&self) -> Result<LazyFrame, LoadError> {
        scan("exchange", &self.exchanges, exchange_columns())
    }

    /// Returns table `structure` of all shards.
    pub(crate) fn structure(&self) -> Result<LazyFrame, LoadError> {
        scan("structure", &self.structure, structure_columns())
    }

    /// Returns table `exchange` of one shard.
    pub(crate) fn exchanges_of(&self, shard: usize) -> Result<LazyFrame, LoadError> {
        scan("exchange", &self.exchanges[shard..=shard], exchange_columns())
    }
}

fn scan(
    table: &'static str,
    files: &[PathBuf],
    columns: Vec<(&'static str, DataType)>,
) -> Result<LazyFrame, LoadError> {
    let first = files.first().map(|file| file.display().to_string()).unwrap_or_default();
    let read = |source| LoadError::Read { table, first: first.clone(), source };
    let paths: Vec<_> = files
        .iter()
        .map(|file| PlRefPath::try_from_path(file))
        .collect::<PolarsResult<_>>()
        .map_err(read)?;
    let args = ScanArgsParquet {
        glob: false,
        // `run_id` is a column of the files; reading it from their folder's name as well would give it twice.
        hive_options: polars::io::HiveOptions::new_disabled(),
        ..ScanArgsParquet::default()
    };
    let mut frame =
        LazyFrame::scan_parquet_files(paths.into_iter().collect(), args).map_err(read)?;
    let schema = frame.collect_schema().map_err(read)?;
    for (column, expected) in columns {
        if schema.get(column) != Some(&expected) {
            return Err(LoadError::Schema { table, column, expected: expected.to_string() });
        }
    }
    Ok(frame)
}

fn entry_columns() -> Vec<(&'static str, DataType)> {
    let (text, money) = (DataType::String, DataType::Decimal(38, 9));
    vec![
        ("exchange_id", text.clone()),
        ("transaction", DataType::Int32),
        ("line", DataType::Int32),
        ("transaction_key", text.clone()),
        ("source", text.clone()),
        ("line_of_business", text.clone()),
        ("gl_account", text.clone()),
        ("currency", text.clone()),
        ("debit", money.clone()),
        ("credit", money),
        ("accounting_date", text.clone()),
        ("entity", text.clone()),
        ("kind", text.clone()),
        ("pi", DataType::Int64),
        ("blame", text.clone()),
        ("field", text.clone()),
        ("change", text),
    ]
}

fn exchange_columns() -> Vec<(&'static str, DataType)> {
    let text = DataType::String;
    vec![
        ("exchange_id", text.clone()),
        ("route", text.clone()),
        ("outcome", text.clone()),
        ("stratum", text.clone()),
        ("reason", text.clone()),
        ("detail", text.clone()),
        ("blame", text.clone()),
        ("control", text),
        ("primary_status", DataType::Int32),
        ("shadow_status", DataType::Int32),
        ("primary_duration_us", DataType::Int64),
        ("shadow_duration_us", DataType::Int64),
        ("upstream_hits", DataType::Int32),
        ("upstream_misses", DataType::Int32),
        ("upstream_unused", DataType::Int32),
        ("upstream_assumed", DataType::Int32),
        ("newly_unbalanced", DataType::Int32),
        ("primary_unbalanced", DataType::Int32),
        ("shadow_unbalanced", DataType::Int32),
        ("money_known", DataType::Boolean),
        ("pi", DataType::Int64),
    ]
}

fn structure_columns() -> Vec<(&'static str, DataType)> {
    let text = DataType::String;
    vec![
        ("route", text.clone()),
        ("place", text.clone()),
        ("path", text.clone()),
        ("kind", text.clone()),
        ("exchanges", DataType::Int64),
        ("examples", text),
    ]
}
