//! A folder with a configuration, a store and a run store, in which the program is run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use shadow_recorder::exchange::Exchange;
use tempfile::TempDir;
use tokio::process::Command;

use crate::recording::{Boot, at};

/// What every test's configuration begins with.
const CONFIGURATION: &str = r#"
[service]
name = "books"

[store]
directory = "store"

[[ledger]]
route = "POST /bookings/*"
transactions = "$.transactions[*]"
key = "$.id"
entries = "$.entries[*]"
line_of_business = { path = "$.lob", from = "transaction" }
gl_account = "$.account"
currency = { value = "USD" }
debit = "$.debit"
credit = "$.credit"

[[ledger]]
route = "GET /**"
no_entries = true
"#;

/// Returns an address that is free now and that no other test of this process is given.
pub(crate) fn free_address() -> SocketAddr {
    use std::sync::atomic::{AtomicU16, Ordering};
    // Below the range from which the system takes ports for outgoing connections; the pipeline's tests take those from 20,000.
    static NEXT: AtomicU16 = AtomicU16::new(14_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(port < 20_000, "no port is free");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Asserts an exit code and a part of what was printed, and that nothing panicked.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, part: &str) {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(self.out.contains(part) || self.err.contains(part), "`{part}` is not in {self:#?}");
        assert!(!self.err.contains("panicked"), "{self:#?}");
    }

    /// Returns the RunID that it printed.
    pub(crate) fn run(&self) -> String {
        self.out.trim().to_owned()
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

pub(crate) struct World {
    folder: TempDir,
}

impl World {
    /// Makes a world; `further` is added to the configuration.
    pub(crate) fn new(further: &str) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        world.configure(further);
        world
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, further: &str) {
        // The trial of a stateless candidate asks it more often than most tests count; those that test it say so themselves.
        let untried = "\n[replay.state]\ntrial_exchanges = 0\n";
        let state = if further.contains("[replay.state]") { "" } else { untried };
        let text = format!("{CONFIGURATION}\n{further}{state}");
        std::fs::write(self.path("shadow.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes exchanges as one segment of one boot.
    pub(crate) fn record(&self, exchanges: Vec<Exchange>) {
        Boot::default().write(&self.store(), &[exchanges]);
    }

    /// Returns the program with this world's configuration, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shadow-replayer"));
        command
            .args(["--config", "shadow.toml"])
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs the program to its end.
    pub(crate) async fn replayer(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().await.unwrap().into()
    }

    /// Replays the hour from the start of all recordings.
    pub(crate) async fn replay(&self, candidate: &str, further: &[&str]) -> Said {
        let (from, to) = (at(0).to_string(), at(3_600_000).to_string());
        let arguments =
            ["run", "--candidate", candidate, "--build", "rc1", "--from", &from, "--to", &to];
        self.replayer(&[&arguments, further].concat()).await
    }

    /// Returns the text columns of a table of a run's journal, row by row, by column name.
    pub(crate) fn rows(&self, table: &str, run: &str) -> Vec<BTreeMap<String, String>> {
        self.rows_of(table, 1, run)
    }

    /// Returns those of a revision.
    pub(crate) fn rows_of(
        &self,
        table: &str,
        revision: u32,
        run: &str,
    ) -> Vec<BTreeMap<String, String>> {
        let folder = self.store().join(format!("journal/{table}/revision={revision}/run_id={run}"));
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|ending| ending == "parquet"));
        files.sort();
        files.iter().flat_map(|file| text_rows(file)).collect()
    }
}

fn text_rows(file: &Path) -> Vec<BTreeMap<String, String>> {
    let file = std::fs::File::open(file).unwrap();
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    batches.flat_map(|batch| rows_of(&batch.unwrap())).collect()
}

fn rows_of(batch: &RecordBatch) -> Vec<BTreeMap<String, String>> {
    let schema = batch.schema();
    let columns = || {
        let columns = schema.fields().iter().zip(batch.columns());
        columns.filter_map(|(field, column)| Some((field.name(), column.as_string_opt::<i32>()?)))
    };
    let value = |row: usize| {
        let present = columns().filter(|(_, column)| !column.is_null(row));
        present.map(|(name, column)| (name.clone(), column.value(row).to_owned())).collect()
    };
    (0..batch.num_rows()).map(value).collect()
}
