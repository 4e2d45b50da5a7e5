use std::fs::File;
use std::sync::Arc;

use super::table::BATCH_ROWS;
use super::*;
use crate::structure::{Change, Place};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use shadow_recorder::ledger::Entry;

fn read(folder: &Path, table: &str) -> RecordBatch {
    let file = File::open(folder.join(format!("{table}.parquet"))).unwrap();
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = batches.map(Result::unwrap).collect();
    assert!(batches.len() <= 1, "a small table is one batch");
    batches.into_iter().next().unwrap_or_else(|| RecordBatch::new_empty(Arc::new(Schema::empty())))
}

pub(crate) fn row() -> ExchangeRow {
    let entry = Entry {
        line_of_business: "Rides".into(),
        gl_account: "4000".into(),
        currency: "USD".into(),
        debit: "123456789012345678.123456789".parse().unwrap(),
        credit: "-0.000000001".parse().unwrap(),
        accounting_date: Some("2026-01-31".into()),
        dimensions: [("country".to_owned(), "NL".to_owned())].into(),
        ..Entry::default()
    };
    let line = EntryRow {
        transaction: 1,
        transaction_key: None,
        line: 2,
        source: Source::Shadow,
        entry,
        kind: Some(Kind::Extra),
        changed: Some(FieldChange { field: "memo".into(), change: "memo: 'a' → 'b'".into() }),
        blame: Some(Blame::Harness),
    };
    ExchangeRow {
        exchange_id: "x".into(),
        occurred_at_us: 1_780_000_000_000_001,
        route: "POST /trips".into(),
        outcome: Outcome::Different,
        reason: None,
        detail: Some("why".into()),
        blame: None,
        primary_status: Some(201),
        shadow_status: None,
        primary_duration_us: Some(5),
        shadow_duration_us: None,
        upstream_hits: 2,
        upstream_misses: 0,
        upstream_unused: 1,
        upstream_assumed: 0,
        newly_unbalanced: 1,
        primary_unbalanced: 2,
        shadow_unbalanced: 3,
        money_known: true,
        pi: 1 << 53,
        stratum: "all".into(),
        entries: vec![line],
        transactions: Some(("[1]".into(), "[2]".into())),
        control: Some(Control::Different),
        second: Some(Second::Same),
        structure: vec![Difference {
            place: Place::Body,
            path: "$.a".into(),
            change: Change::Missing,
            primary: Some("1".into()),
            shadow: None,
        }],
        calls: vec![],
    }
}

#[test]
fn every_value_reads_back_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunId::fresh();
    let mut writer =
        Writer::create(folder.path(), run.clone(), vec!["country".into(), "product".into()])
            .unwrap();
    writer.append(&row()).unwrap();
    writer.finish().unwrap();

    let entries = read(folder.path(), "entry");
    let column = |name: &str| entries.column_by_name(name).unwrap().clone();
    assert_eq!(column("run_id").as_string::<i32>().value(0), run.as_str());
    assert_eq!(
        column("occurred_at").as_primitive::<TimestampMicrosecondType>().value(0),
        1_780_000_000_000_001
    );
    assert_eq!(
        column("debit").as_primitive::<Decimal128Type>().value(0),
        123_456_789_012_345_678_123_456_789
    );
    assert_eq!(column("credit").as_primitive::<Decimal128Type>().value(0), -1);
    assert_eq!(column("debit").data_type(), &DataType::Decimal128(38, 9));
    assert_eq!(column("source").as_string::<i32>().value(0), "shadow");
    assert_eq!(column("kind").as_string::<i32>().value(0), "extra");
    assert_eq!(column("blame").as_string::<i32>().value(0), "harness");
    assert_eq!(column("line").as_primitive::<Int32Type>().value(0), 2);
    assert_eq!(column("pi").as_primitive::<Int64Type>().value(0), 1 << 53);
    assert!(column("entity").is_null(0) && !column("accounting_date").is_null(0));
    assert_eq!(column("country").as_string::<i32>().value(0), "NL");
    assert!(column("product").is_null(0));
    assert_eq!(column("change").as_string::<i32>().value(0), "memo: 'a' → 'b'");

    let exchanges = read(folder.path(), "exchange");
    let column = |name: &str| exchanges.column_by_name(name).unwrap().clone();
    assert_eq!(column("outcome").as_string::<i32>().value(0), "different");
    assert_eq!(column("primary_status").as_primitive::<Int32Type>().value(0), 201);
    assert_eq!(column("detail").as_string::<i32>().value(0), "why");
    assert_eq!(column("control").as_string::<i32>().value(0), "different");
    assert_eq!(column("second").as_string::<i32>().value(0), "same");
    let unbalanced = ["newly_unbalanced", "primary_unbalanced", "shadow_unbalanced"];
    assert_eq!(unbalanced.map(|name| column(name).as_primitive::<Int32Type>().value(0)), [1, 2, 3]);
    assert!(column("shadow_status").is_null(0) && column("money_known").as_boolean().value(0));

    let differences = read(folder.path(), "difference");
    let column = |name: &str| differences.column_by_name(name).unwrap().clone();
    assert_eq!(
        (column("source").len(), column("transactions").as_string::<i32>().value(1)),
        (2, "[2]")
    );

    let structure = read(folder.path(), "structure");
    let text =
        |name: &str| structure.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
    let words = ["route", "place", "path", "kind", "examples"].map(text);
    let example = r#"[{"exchange_id":"x","primary":"1","shadow":null}]"#;
    assert_eq!(words, ["POST /trips", "body", "$.a", "missing", example]);
}

#[test]
fn no_dimension_can_be_named_like_a_column() {
    let taken = shadow_recorder::ledger::config::TAKEN;
    let schema = entry::schema(&[]);
    let free = schema.fields().iter().find(|field| !taken.contains(&&**field.name()));
    assert_eq!(free, None);
}

#[test]
fn more_rows_than_a_batch_are_all_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path(), RunId::fresh(), Vec::new()).unwrap();
    let rows = BATCH_ROWS + 10;
    for _ in 0..rows {
        writer.append(&ExchangeRow { transactions: None, ..row() }).unwrap();
    }
    writer.finish().unwrap();
    let file = File::open(folder.path().join("entry.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    assert_eq!(usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap(), rows);
    assert_eq!(
        read(folder.path(), "difference").num_rows(),
        0,
        "an empty table is a readable file"
    );
}
