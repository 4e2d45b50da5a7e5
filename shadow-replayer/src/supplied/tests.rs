use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow_array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use shadow_recorder::config::Document;

use super::*;
use crate::journal::{ExchangeRow, Outcome, Source};

const MAPPING: &str = r#"
[service]
name = "books"
[store]
directory = "store"
[supplied]
event_id = "$.event"
occurred_at = "$.at"
transactions = "$"
entries = "$"
key = "$.key"
line_of_business = "$.lob"
gl_account = "$['GL account']"
currency = { value = "USD" }
debit = { path = "$.debit", optional = true }
credit = { path = "$.credit", optional = true }
"#;

fn config(text: &str) -> Config {
    let document = Document::parse(Path::new("shadow.toml"), text, |_| None).unwrap();
    let config = Config::take(&document);
    document.finish().unwrap_or_else(|mistakes| panic!("{mistakes}"));
    config.unwrap()
}

/// One entry: event, transaction, line of business, cents of debit (or of credit, where it is below zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row(u64, u64, &'static str, i64);

/// Entries of 300 events; those of the candidate differ here and there, and come in another order.
fn sides() -> [Vec<Row>; 2] {
    let mut number = 12_345_u64;
    let mut next = |most: u64| {
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 33) % most
    };
    let (mut primary, mut shadow) = (Vec::new(), Vec::new());
    for event in 0..300 {
        for line in 0..=next(5) {
            let lob = ["rides", "eats", "freight, \"heavy\""][usize::try_from(next(3)).unwrap()];
            let row = Row(event, line / 2, lob, i64::try_from(next(1_000_000)).unwrap() - 500_000);
            primary.push(row);
            match next(40) {
                0 => {}
                1 => shadow.push(Row(row.0, row.1, "eats", row.3)),
                2 => shadow.push(Row(row.0, row.1, row.2, row.3 + 1)),
                _ => shadow.push(row),
            }
        }
    }
    shadow.sort_by_key(|row| (row.3, row.0));
    [primary, shadow]
}

fn decimal(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn apart(cents: i64) -> [Option<i64>; 2] {
    if cents < 0 { [None, Some(-cents)] } else { [Some(cents), None] }
}

fn csv(rows: &[Row]) -> Vec<u8> {
    let mut text = String::from("\u{feff}note,at,event,key,lob,GL account,debit,credit\n");
    for Row(event, key, lob, cents) in rows {
        let [debit, credit] = apart(*cents).map(|side| side.map(decimal).unwrap_or_default());
        let lob = lob.replace('"', "\"\"");
        writeln!(
            text,
            "x,2026-11-20 07:00:{:02},{event},{key},\"{lob}\",4000,{debit},{credit}",
            event % 60
        )
        .unwrap();
    }
    text.into_bytes()
}

fn json_lines(rows: &[Row]) -> Vec<u8> {
    let mut text = String::new();
    for Row(event, key, lob, cents) in rows {
        let [debit, credit] = apart(*cents).map(|side| side.map_or("null".into(), decimal));
        let at = format!("2026-11-20T08:00:{:02}+01:00", event % 60);
        let lob = serde_json::Value::from(*lob);
        writeln!(text, r#"{{"event":{event},"at":"{at}","key":"{key}","lob":{lob},"GL account":"4000","debit":{debit},"credit":{credit}}}"#).unwrap();
    }
    text.into_bytes()
}

fn parquet_of(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn parquet(rows: &[Row]) -> Vec<u8> {
    let begin: jiff::Timestamp = "2026-11-20T07:00:00Z".parse().unwrap();
    let at = |row: &Row| begin.as_microsecond() + i64::try_from(row.0 % 60).unwrap() * 1_000_000;
    let side = |of: usize| rows.iter().map(move |row| apart(row.3)[of]);
    let debit = side(0).map(|cents| cents.map(i128::from)).collect::<Decimal128Array>();
    let debit = debit.with_precision_and_scale(12, 2).unwrap();
    let text = |texts: Vec<String>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let credit: Vec<Option<String>> = side(1).map(|cents| cents.map(decimal)).collect();
    parquet_of(vec![
        (
            "event",
            Arc::new(rows.iter().map(|row| i64::try_from(row.0).unwrap()).collect::<Int64Array>()),
        ),
        ("at", Arc::new(TimestampMicrosecondArray::from(rows.iter().map(at).collect::<Vec<_>>()))),
        ("not money", Arc::new(Float64Array::from(vec![0.5; rows.len()]))),
        ("key", text(rows.iter().map(|row| row.1.to_string()).collect())),
        ("lob", text(rows.iter().map(|row| row.2.to_owned()).collect())),
        ("GL account", Arc::new(Int64Array::from(vec![4_000; rows.len()]))),
        ("debit", Arc::new(debit)),
        ("credit", Arc::new(StringArray::from(credit))),
    ])
}

type Written = fn(&[Row]) -> Vec<u8>;

/// Writes both sides and returns what was read of them and every event's row.
fn compared(
    mapping: &str,
    primary: (&str, &[u8]),
    shadow: (&str, &[u8]),
) -> Result<(Brought, Vec<ExchangeRow>), String> {
    let folder = tempfile::tempdir().unwrap();
    let [primary, shadow] = [("p", primary), ("s", shadow)].map(|(name, (extension, bytes))| {
        let path = folder.path().join(format!("{name}.{extension}"));
        std::fs::write(&path, bytes).unwrap();
        vec![path.display().to_string()]
    });
    let (format, build) = (None, "rc".to_owned());
    let request =
        SuppliedRequest { primary, shadow, format, build, primary_build: None, range: None };
    let supplied = config(mapping).supplied.unwrap();
    let brought = read(&supplied, &request, "2026-11-21T00:00:00Z".parse().unwrap());
    let brought = brought.map_err(|error| error.to_string())?;
    let parts = (0..brought.shards).flat_map(|part| brought.parts.judged(part).unwrap());
    let rows = parts.map(|(_, row)| row).collect();
    Ok((brought, rows))
}

/// Adds up what a side booked, from the journal.
fn sums(rows: &[ExchangeRow], side: Source) -> BTreeMap<String, [i128; 2]> {
    let mut sums: BTreeMap<String, [i128; 2]> = BTreeMap::new();
    let lines = rows.iter().flat_map(|row| &row.entries);
    for line in lines.filter(|line| line.source == side || line.source == Source::Both) {
        let sum = sums.entry(line.entry.line_of_business.clone()).or_default();
        sum[0] += line.entry.debit.units();
        sum[1] += line.entry.credit.units();
    }
    sums
}

#[test]
fn every_format_gives_the_same_events_and_totals() {
    let [primary, shadow] = sides();
    let expected = |rows: &[Row]| {
        let mut sums: BTreeMap<String, [i128; 2]> = BTreeMap::new();
        for Row(_, _, lob, cents) in rows {
            let units = i128::from(cents.unsigned_abs()) * 10_000_000;
            sums.entry((*lob).to_owned()).or_default()[usize::from(*cents < 0)] += units;
        }
        sums
    };
    let mut different = 0;
    for event in 0..300 {
        let of = |rows: &[Row]| {
            let mut rows: Vec<Row> = rows.iter().filter(|row| row.0 == event).copied().collect();
            rows.sort();
            rows
        };
        different += usize::from(of(&primary) != of(&shadow));
    }
    assert!(different > 10);
    let formats: [(&str, Written); 3] =
        [("csv", csv), ("ndjson", json_lines), ("parquet", parquet)];
    let mut first: Option<Vec<ExchangeRow>> = None;
    for (extension, write) in formats {
        let (brought, rows) =
            compared(MAPPING, (extension, &write(&primary)), (extension, &write(&shadow))).unwrap();
        assert_eq!(rows.len(), 300, "{extension}");
        assert_eq!(sums(&rows, Source::Primary), expected(&primary), "{extension}");
        assert_eq!(sums(&rows, Source::Shadow), expected(&shadow), "{extension}");
        let differing = rows.iter().filter(|row| row.outcome == Outcome::Different).count();
        assert_eq!(differing, different, "{extension}");
        assert_eq!(
            rows.iter().filter(|row| row.outcome == Outcome::Matched).count(),
            300 - different
        );
        let counted: Vec<u64> = brought.files.iter().map(|file| file.rows).collect();
        assert_eq!(counted, [primary.len() as u64, shadow.len() as u64]);
        assert_eq!(brought.range.from.to_string(), "2026-11-20T07:00:00Z");
        assert_eq!(brought.range.to.to_string(), "2026-11-20T07:00:59.000001Z");
        assert_eq!(first.get_or_insert_with(|| rows.clone()), &rows, "{extension}");
    }
}

#[test]
fn a_row_that_cannot_be_read_is_counted_and_kept() {
    let head = "at,event,key,lob,GL account,debit,credit\n";
    let good = "2026-11-20T07:00:00Z,a,t,rides,4000,1.00,\n";
    let primary = format!("{head}{good}2026-11-20T07:00:00Z,b,t,rides,4000,1.00,\n");
    for (bad, outcome) in [
        ("2026-11-20T07:00:00Z,b,t,rides,4000,\"1,000.00\",\n", Outcome::Errored),
        ("2026-11-20T07:00:00Z,b,t,rides,4000,,\n", Outcome::Errored),
        ("2026-11-20T07:00:00Z,b,t,rides,,1.00,\n", Outcome::Errored),
        ("yesterday,b,t,rides,4000,1.00,\n", Outcome::Errored),
        // Whose row this is cannot be told.
        ("2026-11-20T07:00:00Z,b,t,rides\n", Outcome::Different),
        ("2026-11-20T07:00:00Z,,t,rides,4000,1.00,\n", Outcome::Different),
    ] {
        let shadow = format!("{head}{good}{bad}");
        let (brought, rows) =
            compared(MAPPING, ("csv", primary.as_bytes()), ("csv", shadow.as_bytes())).unwrap();
        let of = |id: &str| rows.iter().find(|row| row.exchange_id == id).unwrap();
        assert_eq!((of("a").outcome, of("b").outcome), (Outcome::Matched, outcome), "{bad}");
        assert_eq!((brought.files[1].rows, brought.files[1].unreadable), (2, 1), "{bad}");
        if outcome == Outcome::Different {
            let bad = rows.iter().find(|row| row.exchange_id.ends_with("s.csv row 2")).unwrap();
            assert_eq!(bad.outcome, Outcome::Errored);
            assert_eq!(rows.len(), 3);
        }
    }
    let (brought, rows) =
        compared(MAPPING, ("ndjson", b"{\"event\":1\n\n[]\n"), ("ndjson", b"")).unwrap();
    assert_eq!(rows.iter().map(|row| row.outcome).collect::<Vec<_>>(), [Outcome::Unverified; 2]);
    assert_eq!((brought.files[0].rows, brought.files[0].unreadable), (2, 2));
}

#[test]
fn a_file_that_cannot_be_trusted_is_refused_with_what_to_do() {
    let [rows, _] = sides();
    let good = csv(&rows[..2]);
    let refused = |extension, bytes: &[u8]| {
        compared(MAPPING, ("csv", &good), (extension, bytes)).err().unwrap_or_default()
    };
    let floats = parquet_of(vec![
        ("event", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("at", Arc::new(StringArray::from(vec!["2026-11-20T07:00:00Z"]))),
        ("key", Arc::new(Int64Array::from(vec![1]))),
        ("lob", Arc::new(StringArray::from(vec!["rides"]))),
        ("GL account", Arc::new(Int64Array::from(vec![1]))),
        ("debit", Arc::new(Float64Array::from(vec![0.1]))),
        ("credit", Arc::new(Int64Array::from(vec![1]))),
    ]);
    let said = refused("parquet", &floats);
    assert!(
        said.contains("`debit` holds binary floats") && said.contains("cast it to decimal"),
        "{said}"
    );
    let said = refused("csv", b"at,event,key,lob,debit,credit\n");
    assert!(said.contains("no column `GL account`"), "{said}");
    let said = refused("csv", b"at,event,key,lob,GL account,debit,credit,debit\n");
    assert!(said.contains("two columns `debit`"), "{said}");
    assert!(refused("parquet", b"PAR1").contains("not sound Parquet"));
    assert!(refused("xlsx", b"").contains("--format"));
    let nested = MAPPING.replace("transactions = \"$\"", "transactions = \"$.all[*]\"");
    let said = compared(&nested, ("csv", &good), ("csv", &good)).err().unwrap();
    assert!(said.contains("transactions = \"$\""), "{said}");
    let timeless = MAPPING.replace("occurred_at", "#");
    let said = compared(&timeless, ("csv", &good), ("csv", &good)).err().unwrap();
    assert!(said.contains("--from and --to"), "{said}");
}

#[test]
fn documents_are_read_by_the_ledger_of_a_route() {
    let text = r#"
[service]
name = "books"
[store]
directory = "store"
[[ledger]]
route = "POST /trips/*/close"
transactions = "$.transactions[*]"
entries = "$.lines[*]"
line_of_business = "$.lob"
gl_account = "$.account"
currency = "$.currency"
debit = "$.debit"
credit = "$.credit"
[supplied]
route = "POST /trips/*/close"
event_id = "$.trip.id"
occurred_at = "$.trip.at"
"#;
    let document = |debit| {
        format!(
            r#"{{"trip":{{"id":"t1","at":"2026-11-20T07:00:00Z"}},"transactions":[{{"lines":[{{"lob":"rides","account":"1","currency":"USD","debit":{debit},"credit":0}}]}}]}}"#
        )
    };
    let line = document("1.5") + "\n";
    let twice = format!("{line}{line}");
    let (_, rows) =
        compared(text, ("jsonl", line.as_bytes()), ("jsonl", document("1.50").as_bytes())).unwrap();
    assert_eq!(
        (rows.len(), rows[0].outcome, &*rows[0].route),
        (1, Outcome::Matched, "POST /trips/*/close")
    );
    // Documents of one id are one event.
    let (_, rows) =
        compared(text, ("jsonl", line.as_bytes()), ("jsonl", twice.as_bytes())).unwrap();
    assert_eq!((rows.len(), rows[0].outcome, rows[0].entries.len()), (1, Outcome::Different, 2));
}

#[test]
fn a_file_that_is_given_twice_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let [rows, _] = sides();
    for name in ["a.csv", "b.csv"] {
        std::fs::write(folder.path().join(name), csv(&rows)).unwrap();
    }
    let pattern = folder.path().join("*.csv").display().to_string();
    let one = folder.path().join("b.csv").display().to_string();
    let request = SuppliedRequest {
        primary: vec![pattern.clone(), pattern],
        shadow: vec![one],
        format: None,
        build: "rc".into(),
        primary_build: None,
        range: None,
    };
    let supplied = config(MAPPING).supplied.unwrap();
    let brought = read(&supplied, &request, "2026-11-21T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(brought.files.len(), 3);
    assert_eq!(brought.files[1].repeats.as_deref(), Some(&*brought.files[0].name));
    let outcomes: Vec<_> = brought.parts.judged(0).unwrap().map(|(_, row)| row.outcome).collect();
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Matched));
}
