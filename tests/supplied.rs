use std::path::{Path, PathBuf};
use std::process::Command;

use polars::prelude::*;
use shadow_analyzer::verdict::Verdict;

use crate::harness::{Said, files};

/// How the rows of table `entry` are read as entries that somebody supplies.
const MAPPING: &str = r#"
[supplied]
event_id = "$.exchange_id"
occurred_at = "$.occurred_at"
transactions = "$"
entries = "$"
key = "$.transaction"
line_of_business = "$.line_of_business"
gl_account = "$.gl_account"
currency = "$.currency"
debit = "$.debit"
credit = "$.credit"
"#;

/// Writes what one side booked in a run to a file of Parquet.
fn export(folder: &Path, run: &str, side: &str) -> PathBuf {
    let of_run = |file: &PathBuf| file.to_string_lossy().contains(&format!("run_id={run}/"));
    let entries = files(&folder.join("store/journal/entry"));
    let entries: Vec<PlRefPath> = entries
        .iter()
        .filter(|file| of_run(file))
        .map(|file| PlRefPath::try_from_path(file).unwrap())
        .collect();
    let args = ScanArgsParquet {
        glob: false,
        hive_options: polars::io::HiveOptions::new_disabled(),
        ..ScanArgsParquet::default()
    };
    let is_of_side = col("source").eq(lit("both")).or(col("source").eq(lit(side)));
    let frame = LazyFrame::scan_parquet_files(entries.into_iter().collect(), args).unwrap();
    let mut frame = frame.filter(is_of_side).collect().unwrap();
    let path = folder.join(format!("{side}-{run}.parquet"));
    ParquetWriter::new(std::fs::File::create(&path).unwrap()).finish(&mut frame).unwrap();
    path
}

/// What a run's two sides booked, exported and supplied, is judged as the run was.
pub(crate) fn agrees_with_the_replay(folder: &Path, replayed: &Verdict) {
    let config = folder.join("supplied.toml");
    let text = std::fs::read_to_string(folder.join("shadow.toml")).unwrap();
    std::fs::write(&config, text + MAPPING).unwrap();
    let [primary, shadow] =
        ["primary", "shadow"].map(|side| export(folder, &replayed.run_id, side));
    let output = Command::new(env!("CARGO_BIN_EXE_shadow-analyzer"))
        .arg("--config")
        .arg(&config)
        .args(["certify", "--build", "supplied", "--primary"])
        .arg(&primary)
        .arg("--shadow")
        .arg(&shadow)
        .output()
        .unwrap();
    let said = Said::from(output);
    said.expect(i32::from(replayed.verdict.exit_code()), "supplied by the user");
    let reports = files(&folder.join("store/reports"));
    let verdicts = reports.iter().filter(|file| file.ends_with("verdict.json"));
    let verdicts =
        verdicts.map(|file| serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap());
    let supplied: Verdict = verdicts
        .filter(|verdict: &Verdict| verdict.candidate.build == "supplied")
        .max_by_key(|verdict| verdict.decided_at)
        .unwrap();
    assert_eq!((supplied.verdict, supplied.confidence), (replayed.verdict, replayed.confidence));
    assert_eq!(supplied.dimensions, replayed.dimensions);
    assert_eq!(supplied.differing.total, replayed.differing.total);
    // Where nothing is booked there is no row.
    assert!(supplied.exchanges.recorded <= replayed.exchanges.recorded);
}
