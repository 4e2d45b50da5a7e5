use shadow_recorder::ledger::Entry;

use super::*;

fn transaction(key: Option<&str>, lines: &[(&str, &str)]) -> Transaction {
    let entry = |(lob, debit): &(&str, &str)| Entry {
        line_of_business: (*lob).into(),
        gl_account: "4000".into(),
        currency: "USD".into(),
        debit: debit.parse().unwrap(),
        credit: "0".parse().unwrap(),
        ..Entry::default()
    };
    Transaction { key: key.map(str::to_owned), entries: lines.iter().map(entry).collect() }
}

fn record(side: Side, booked: Result<Vec<Transaction>, &str>) -> Record {
    Record {
        side,
        event: "e".into(),
        occurred_at_us: Some(5),
        booked: booked.map_err(str::to_owned),
    }
}

fn judged(records: Vec<Record>) -> ExchangeRow {
    let range = Range {
        from: "1970-01-01T00:00:00Z".parse().unwrap(),
        to: "1970-01-02T00:00:00Z".parse().unwrap(),
    };
    judged_in(records, range)
}

fn judged_in(records: Vec<Record>, range: Range) -> ExchangeRow {
    let mut event = Event::default();
    for record in records {
        event.add(record);
    }
    event.judge(
        "e".into(),
        &Rules { range, flat: true, route: "supplied".into(), dimensions: Vec::new() },
    )
}

fn row(side: Side, key: &str, lob: &str, debit: &str) -> Record {
    record(side, Ok(vec![transaction(Some(key), &[(lob, debit)])]))
}

use Side::{Primary, Shadow};

#[test]
fn rows_of_one_event_match_in_any_order() {
    let primary = [
        row(Primary, "t", "rides", "1"),
        row(Primary, "u", "eats", "2"),
        row(Primary, "t", "rides", "3"),
    ];
    let shadow = [
        row(Shadow, "t", "rides", "3"),
        row(Shadow, "t", "rides", "1"),
        row(Shadow, "u", "eats", "2"),
    ];
    let row = judged(primary.into_iter().chain(shadow).collect());
    assert_eq!((row.outcome, row.entries.len(), row.money_known), (Outcome::Matched, 3, true));
    assert_eq!(row.transactions, None);
    let of_t = row.entries.iter().filter(|line| line.transaction_key.as_deref() == Some("t"));
    let of_t: Vec<i32> = of_t.map(|line| line.transaction).collect();
    assert_eq!(of_t, [of_t[0]; 2], "both lines are of one transaction");
}

#[test]
fn another_line_of_business_is_a_difference() {
    let row = judged(vec![row(Primary, "t", "rides", "100"), row(Shadow, "t", "eats", "100")]);
    assert_eq!(row.outcome, Outcome::Different);
    assert!(row.entries.iter().all(|line| line.kind == Some(Kind::Reclassified)));
}

#[test]
fn an_event_of_one_side_is_a_difference_even_if_it_books_nothing() {
    let alone = judged(vec![row(Primary, "t", "rides", "100")]);
    assert_eq!((alone.outcome, alone.entries[0].kind), (Outcome::Different, Some(Kind::Missing)));
    let alone = judged(vec![row(Shadow, "t", "rides", "100")]);
    assert_eq!((alone.outcome, alone.entries[0].kind), (Outcome::Different, Some(Kind::Extra)));
    let nothing = judged(vec![record(Primary, Ok(Vec::new()))]);
    assert_eq!((nothing.outcome, nothing.entries.len()), (Outcome::Different, 0));
    assert!(nothing.reason.is_some());
    let both = judged(vec![record(Primary, Ok(Vec::new())), record(Shadow, Ok(Vec::new()))]);
    assert_eq!(both.outcome, Outcome::Matched);
}

#[test]
fn what_cannot_be_read_is_never_skipped() {
    let good = || row(Primary, "t", "rides", "100");
    let of_shadow =
        judged(vec![good(), row(Shadow, "t", "rides", "100"), record(Shadow, Err("row 7"))]);
    assert_eq!((of_shadow.outcome, of_shadow.blame), (Outcome::Errored, Some(Blame::Candidate)));
    assert_eq!(of_shadow.entries[0].kind, Some(Kind::Missing));
    assert_eq!(of_shadow.detail.as_deref(), Some("row 7"));
    let of_primary =
        judged(vec![good(), record(Primary, Err("row 8")), row(Shadow, "t", "rides", "100")]);
    assert_eq!((of_primary.outcome, of_primary.money_known), (Outcome::Unverified, false));
    assert!(of_primary.entries.is_empty());
    let of_both = judged(vec![record(Primary, Err("row 9")), record(Shadow, Err("row 9"))]);
    assert_eq!(of_both.outcome, Outcome::Unverified);
}

#[test]
fn what_lies_outside_the_range_is_filtered_with_its_money() {
    let instant = |us| jiff::Timestamp::from_microsecond(us).unwrap();
    let both = || vec![row(Primary, "t", "rides", "100"), row(Shadow, "t", "rides", "1")];
    let row = judged_in(both(), Range { from: instant(0), to: instant(5) });
    assert_eq!((row.outcome, row.entries.len()), (Outcome::Filtered, 1));
    assert_eq!(row.entries[0].kind, Some(Kind::NotExamined));
    let row = judged_in(both(), Range { from: instant(5), to: instant(6) });
    assert_eq!(row.outcome, Outcome::Different);
}
