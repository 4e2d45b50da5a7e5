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

#[test]
fn one_key_several_times_is_paired_by_content_then_by_least_money() {
    let keyed = |amount: &str| Transaction {
        key: Some("a".into()),
        entries: vec![entry("Rides", "1", amount, "0"), entry("Rides", "2", "0", amount)],
    };
    let comparison = compare(&[keyed("1"), keyed("7")], &[keyed("8"), keyed("1")]);
    assert_eq!(
        show(&comparison),
        [
            "0 both Rides 1 1.00 0.00",
            "0 both Rides 2 0.00 1.00",
            "1 primary Rides 1 7.00 0.00 amount_changed",
            "1 shadow Rides 1 8.00 0.00 amount_changed",
            "1 primary Rides 2 0.00 7.00 amount_changed",
            "1 shadow Rides 2 0.00 8.00 amount_changed",
        ]
    );
    // The same key is the same transaction, even where no line of one explains a line of the other.
    let other = Transaction { key: Some("a".into()), entries: vec![entry("Eats", "9", "3", "0")] };
    assert_eq!(show(&compare(&[keyed("1")], &[other]))[2], "0 shadow Eats 9 3.00 0.00 extra");
}

#[test]
fn transactions_without_a_key_are_paired_so_that_least_money_is_to_be_explained() {
    let of = |account: &str, amount: &str| Transaction {
        key: None,
        entries: vec![entry("Rides", account, amount, "0"), entry("Rides", "2", "0", amount)],
    };
    // In their order 100 would be taken for 205, and 200 for 101.
    let comparison = compare(&[of("1", "100"), of("1", "200")], &[of("1", "205"), of("1", "101")]);
    let rows = show(&comparison);
    assert_eq!(rows[1], "0 shadow Rides 1 101.00 0.00 amount_changed");
    assert_eq!(rows[5], "1 shadow Rides 1 205.00 0.00 amount_changed");
    // Nothing in common: each is alone.
    let alone = [Transaction { key: None, entries: vec![entry("Eats", "9", "3", "0")] }];
    let comparison = compare(&booked(&[entry("Rides", "1", "5", "0")]), &alone);
    assert_eq!(
        show(&comparison),
        ["0 primary Rides 1 5.00 0.00 missing", "1 shadow Eats 9 3.00 0.00 extra"]
    );
}

#[test]
fn lines_are_paired_so_that_least_money_is_to_be_explained() {
    // By the first that fits, 100 would become 500 and 501 would become 99.
    let lines = compare(
        &booked(&[entry("Rides", "1", "100", "0"), entry("Rides", "1", "501", "0")]),
        &booked(&[entry("Rides", "1", "500", "0"), entry("Rides", "1", "99", "0")]),
    );
    assert_eq!(
        show(&lines),
        [
            "0 primary Rides 1 100.00 0.00 amount_changed",
            "0 shadow Rides 1 99.00 0.00 amount_changed",
            "0 primary Rides 1 501.00 0.00 amount_changed",
            "0 shadow Rides 1 500.00 0.00 amount_changed",
        ]
    );
}

#[test]
fn more_lines_than_can_be_paired_exactly_are_paired_by_rules() {
    let many = |from: u32, account: &str| -> Vec<Entry> {
        (from..from + 100).map(|n| entry("Rides", account, &n.to_string(), "0")).collect()
    };
    let changed = compare(&booked(&many(1, "1")), &booked(&many(1_000, "1")));
    assert!(changed.rows.iter().all(|row| row.kind == Some(Kind::AmountChanged)));
    let moved = compare(&booked(&many(1, "1")), &booked(&many(1, "2")));
    assert!(moved.rows.iter().all(|row| row.kind == Some(Kind::Reclassified)));
    let alone = |entries: Vec<Entry>| -> Vec<Transaction> {
        let transaction = |entry| Transaction { key: None, entries: vec![entry] };
        entries.into_iter().map(transaction).collect()
    };
    let moved = compare(&alone(many(1, "1")), &alone(many(1, "2")));
    assert!(moved.rows.iter().all(|row| row.kind == Some(Kind::Reclassified)));
}

fn any_line() -> impl Strategy<Value = Entry> {
    let place = (0..3_usize, 0..3_usize, 0..2_usize);
    let rest = (prop::option::of(0..2_usize), 0..2_usize);
    (place, -2..4_i32, -2..4_i32, rest).prop_map(|(place, debit, credit, (date, memo))| Entry {
        currency: ["USD", "EUR"][place.2].into(),
        accounting_date: date.map(|at| ["d1", "d2"][at].into()),
        fields: [("memo".to_owned(), ["a", "b"][memo].to_owned())].into(),
        ..entry(
            ["A", "B", "C"][place.0],
            ["1", "2", "3"][place.1],
            &debit.to_string(),
            &credit.to_string(),
        )
    })
}

fn any_transactions() -> impl Strategy<Value = Vec<Transaction>> {
    let transaction = (prop::option::of("[kl]"), prop::collection::vec(any_line(), 0..4));
    prop::collection::vec(transaction.prop_map(|(key, entries)| Transaction { key, entries }), 0..5)
}

/// The same transactions and lines in an order that the seed decides.
fn shuffled(transactions: &[Transaction], seed: u64) -> Vec<Transaction> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    let mut transactions = transactions.to_vec();
    for transaction in &mut transactions {
        transaction.entries.sort_by_cached_key(|_| next());
    }
    transactions.sort_by_cached_key(|_| next());
    transactions
}

type Content = (Option<String>, Source, Entry, Option<Kind>, String);

/// Rows without their positions.
fn content(comparison: &Comparison) -> Vec<Content> {
    let change = |row: &EntryRow| format!("{:?}", row.changed);
    let content = |row: &EntryRow| {
        (row.transaction_key.clone(), row.source, row.entry.clone(), row.kind, change(row))
    };
    let mut rows: Vec<Content> = comparison.rows.iter().map(content).collect();
    rows.sort();
    rows
}

type Totals = std::collections::BTreeMap<(String, String, String), (i128, i128)>;

/// The money of lines per line of business, account and currency.
fn totals(entries: impl IntoIterator<Item = Entry>) -> Totals {
    let mut totals = Totals::new();
    for entry in entries {
        let (debit, credit) = (entry.debit.units(), entry.credit.units());
        let place = (entry.line_of_business, entry.gl_account, entry.currency);
        let sum = totals.entry(place).or_default();
        *sum = (sum.0 + debit, sum.1 + credit);
    }
    totals
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
    fn the_same_transactions_are_equal(primary in any_transactions(), seed in any::<u64>()) {
        prop_assert!(compare(&primary, &shuffled(&primary, seed)).is_equal());
    }

    #[test]
    fn order_changes_no_row_but_its_position(
        primary in any_transactions(),
        shadow in any_transactions(),
        seeds in any::<[u64; 2]>(),
    ) {
        let found = compare(&primary, &shadow);
        let again = compare(&shuffled(&primary, seeds[0]), &shuffled(&shadow, seeds[1]));
        prop_assert_eq!(content(&found), content(&again));
        prop_assert_eq!(found.unbalanced, again.unbalanced);
    }

    #[test]
    fn totals_do_not_depend_on_the_pairing(
        primary in any_transactions(),
        shadow in any_transactions(),
    ) {
        let rows = compare(&primary, &shadow).rows;
        for (source, transactions) in [(Source::Primary, &primary), (Source::Shadow, &shadow)] {
            prop_assert_eq!(totals(side(&rows, source)), totals(all(transactions)));
        }
    }

    #[test]
    fn no_other_pairing_explains_more(
        left in prop::collection::vec(any_line(), 0..5),
        right in prop::collection::vec(any_line(), 0..5),
    ) {
        let (a, b): (Vec<_>, Vec<_>) = (left.iter().collect(), right.iter().collect());
        let mut pairs = Pairs::new(&a, &b);
        pairs.by_gain(|a, b| kind::gain(a, b));
        let found = a.iter().zip(&pairs.partner).filter_map(|(one, to)| Some(kind::gain(one, b[(*to)?])));
        prop_assert_eq!(found.sum::<i128>(), most(&a, &b));
    }
}

/// The largest sum of gains, by trying every pairing.
fn most(left: &[&Entry], right: &[&Entry]) -> i128 {
    let Some((first, rest)) = left.split_first() else { return 0 };
    let without = most(rest, right);
    let with = (0..right.len()).map(|at| {
        let others: Vec<_> =
            right.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, e)| *e).collect();
        kind::gain(first, right[at]) + most(rest, &others)
    });
    with.fold(without, i128::max)
}
