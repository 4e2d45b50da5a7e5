use super::*;
use proptest::prelude::*;

fn entry(lob: &str, account: &str, debit: &str, credit: &str) -> Entry {
    Entry {
        line_of_business: lob.into(),
        gl_account: account.into(),
        currency: "USD".into(),
        debit: debit.parse().unwrap(),
        credit: credit.parse().unwrap(),
        ..Entry::default()
    }
}

fn booked(entries: &[Entry]) -> Vec<Transaction> {
    vec![Transaction { key: None, entries: entries.to_vec() }]
}

fn show(comparison: &Comparison) -> Vec<String> {
    let words = |row: &EntryRow| {
        let kind = row.kind.map_or("", Kind::word);
        let Entry { line_of_business, gl_account, debit, credit, .. } = &row.entry;
        format!(
            "{} {} {line_of_business} {gl_account} {debit} {credit} {kind}",
            row.transaction,
            row.source.word()
        )
    };
    comparison.rows.iter().map(|row| words(row).trim_end().to_owned()).collect()
}

#[test]
fn order_never_matters() {
    let a = [entry("Rides", "1000", "5", "0"), entry("Rides", "4000", "0", "5")];
    let b = [a[1].clone(), a[0].clone()];
    assert!(compare(&booked(&a), &booked(&b)).is_equal());
    let both = [booked(&a), booked(&[entry("Eats", "1", "1", "1")])].concat();
    let swapped = [both[1].clone(), both[0].clone()];
    assert!(compare(&both, &swapped).is_equal());
}

#[test]
fn another_line_of_business_is_a_reclassification() {
    let comparison = compare(
        &booked(&[entry("Rides", "4000", "0", "100"), entry("Rides", "1000", "100", "0")]),
        &booked(&[entry("Eats", "4000", "0", "100"), entry("Rides", "1000", "100", "0")]),
    );
    assert_eq!(
        show(&comparison),
        [
            "0 both Rides 1000 100.00 0.00",
            "0 primary Rides 4000 0.00 100.00 reclassified",
            "0 shadow Eats 4000 0.00 100.00 reclassified"
        ]
    );
    assert_eq!(comparison.unbalanced.newly, 0);
}

#[test]
fn another_amount_in_the_same_account_is_an_amount_changed_and_can_unbalance() {
    let comparison = compare(
        &booked(&[entry("Rides", "4000", "0", "100"), entry("Rides", "1000", "100", "0")]),
        &booked(&[entry("Rides", "4000", "0", "90"), entry("Rides", "1000", "100", "0")]),
    );
    assert_eq!(
        show(&comparison)[1..],
        [
            "0 primary Rides 4000 0.00 100.00 amount_changed",
            "0 shadow Rides 4000 0.00 90.00 amount_changed"
        ]
    );
    assert_eq!(comparison.unbalanced.newly, 1);
}

#[test]
fn the_other_date_or_entity_is_named() {
    let dated = |date: &str, entity: &str| Entry {
        accounting_date: Some(date.into()),
        entity: Some(entity.into()),
        ..entry("Rides", "1", "1", "0")
    };
    let kinds = |a, b| {
        show(&compare(&booked(&[a]), &booked(&[b])))[0].rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(kinds(dated("2026-01-31", "NL"), dated("2026-02-01", "NL")), "period_changed");
    assert_eq!(kinds(dated("2026-01-31", "NL"), dated("2026-01-31", "US")), "entity_changed");
    let with = |memo: &str| Entry {
        fields: [("memo".to_owned(), memo.to_owned())].into(),
        ..dated("2026-01-31", "NL")
    };
    assert_eq!(kinds(with("a"), with("b")), "field_changed");
    let euro = Entry { currency: "EUR".into(), ..with("a") };
    assert_eq!(kinds(with("a"), euro), "currency_changed");
}

#[test]
fn lines_of_one_side_are_missing_or_extra() {
    let one = [entry("Rides", "1", "1", "0")];
    assert_eq!(show(&compare(&booked(&one), &[])), ["0 primary Rides 1 1.00 0.00 missing"]);
    assert_eq!(show(&compare(&[], &booked(&one))), ["0 shadow Rides 1 1.00 0.00 extra"]);
    assert_eq!(
        compare(&[], &booked(&one)).unbalanced.newly,
        1,
        "it does not balance and production had none"
    );
}

#[test]
fn transactions_are_paired_by_key_where_there_is_one() {
    let keyed = |key: &str, amount: &str| Transaction {
        key: Some(key.into()),
        entries: vec![entry("Rides", "1", amount, "0"), entry("Rides", "2", "0", amount)],
    };
    let comparison =
        compare(&[keyed("a", "1"), keyed("b", "2")], &[keyed("b", "1"), keyed("a", "2")]);
    let changed =
        comparison.rows.iter().filter(|row| row.kind == Some(Kind::AmountChanged)).count();
    assert_eq!(changed, 8, "equal content under another key is another transaction");
}

fn any_transactions() -> impl Strategy<Value = Vec<Transaction>> {
    let line = (0..3_usize, 0..3_usize, 0..4_u32, 0..4_u32);
    let line = line.prop_map(|(lob, account, debit, credit)| {
        entry(
            ["A", "B", "C"][lob],
            ["1", "2", "3"][account],
            &debit.to_string(),
            &credit.to_string(),
        )
    });
    let transaction = (prop::option::of("[kl]"), prop::collection::vec(line, 0..4));
    prop::collection::vec(transaction.prop_map(|(key, entries)| Transaction { key, entries }), 0..4)
}

fn side(rows: &[EntryRow], source: Source) -> Vec<Entry> {
    let of_side = |row: &&EntryRow| row.source == Source::Both || row.source == source;
    let mut entries: Vec<Entry> =
        rows.iter().filter(of_side).map(|row| row.entry.clone()).collect();
    entries.sort();
    entries
}

fn all(transactions: &[Transaction]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = transactions.iter().flat_map(|t| t.entries.clone()).collect();
    entries.sort();
    entries
}

proptest! {
    #[test]
    fn no_line_is_lost_or_invented(primary in any_transactions(), shadow in any_transactions()) {
        let rows = compare(&primary, &shadow).rows;
        prop_assert_eq!(side(&rows, Source::Primary), all(&primary));
        prop_assert_eq!(side(&rows, Source::Shadow), all(&shadow));
        prop_assert!(rows.iter().all(|row| row.kind.is_some() == (row.source != Source::Both)));
    }

    #[test]
    fn the_same_transactions_are_equal(primary in any_transactions()) {
        let mut shadow = primary.clone();
        shadow.reverse();
        for transaction in &mut shadow {
            transaction.entries.reverse();
        }
        // Reversing swaps transactions that share a key, which then are different ones.
        let unkeyed = |ts: &[Transaction]| ts.iter().all(|t| t.key.is_none());
        prop_assume!(unkeyed(&primary));
        prop_assert!(compare(&primary, &shadow).is_equal());
    }
}
