use crate::journal::{Kind, Source};
use crate::pairing::compare;
use shadow_recorder::ledger::{Entry, Transaction};

/// Reads lines such as `Rides 4000 EUR 0 100 date=2026-01-31 entity=NL memo=a country=DE`.
fn lines(text: &str) -> Vec<Transaction> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [lob, account, currency, debit, credit, rest @ ..] = &*words else { panic!("{line}") };
        let mut entry = Entry {
            line_of_business: (*lob).into(),
            gl_account: (*account).into(),
            currency: (*currency).into(),
            debit: debit.parse().unwrap(),
            credit: credit.parse().unwrap(),
            ..Entry::default()
        };
        for (name, value) in rest.iter().map(|word| word.split_once('=').unwrap()) {
            match name {
                "date" => entry.accounting_date = Some(value.into()),
                "entity" => entry.entity = Some(value.into()),
                "memo" => entry.fields.extend([(name.to_owned(), value.to_owned())]),
                _ => entry.dimensions.extend([(name.to_owned(), value.to_owned())]),
            }
        }
        entry
    };
    vec![Transaction { key: Some("t".into()), entries: text.lines().map(line).collect() }]
}

/// Checks the kinds of the lines that differ, production's first, and what else they name.
fn check(primary: &str, shadow: &str, expect: &[(Source, Kind)], changed: &str) {
    let rows = compare(&lines(primary), &lines(shadow)).rows;
    let mut kinds: Vec<(Source, Kind)> =
        rows.iter().filter_map(|row| Some((row.source, row.kind?))).collect();
    kinds.sort();
    assert_eq!(kinds, expect, "{primary} → {shadow}");
    let words = rows.iter().find_map(|row| row.changed.as_ref()).map(|changed| &*changed.change);
    assert_eq!(words.unwrap_or_default(), changed, "{primary} → {shadow}");
}

fn pair(primary: &str, shadow: &str, kind: Kind, changed: &str) {
    check(primary, shadow, &[(Source::Primary, kind), (Source::Shadow, kind)], changed);
}

fn apart(primary: &str, shadow: &str) {
    let expect = [(Source::Primary, Kind::Missing), (Source::Shadow, Kind::Extra)];
    check(primary, shadow, &expect, "");
}

#[test]
fn the_same_amount_elsewhere_is_reclassified() {
    let line = "Rides 4000 USD 0 100";
    for other in
        ["Eats 4000 USD 0 100", "Rides 4100 USD 0 100", "Eats 1 USD 100 0", "Rides 4000 USD 100 0"]
    {
        pair(line, other, Kind::Reclassified, "");
    }
    pair(
        "R 1 USD 5 0 date=d1",
        "E 1 USD 5 0 date=d2",
        Kind::Reclassified,
        "accounting_date: 'd1' → 'd2'",
    );
    // Not by a cent, and not in another currency.
    apart(line, "Eats 4000 USD 0 100.01");
    apart(line, "Eats 4000 EUR 0 100");
    apart(line, "Eats 4000 USD 0 -100");
}

#[test]
fn another_amount_in_the_same_place_is_amount_changed() {
    for other in [
        "Rides 4000 USD 0 90",
        "Rides 4000 USD 30 0",
        "Rides 4000 USD 1 100",
        "Rides 4000 USD 0 -100",
    ] {
        pair("Rides 4000 USD 0 100", other, Kind::AmountChanged, "");
    }
    pair("R 1 USD 5 0 memo=a", "R 1 USD 6 0 memo=b", Kind::AmountChanged, "memo: 'a' → 'b'");
}

#[test]
fn another_currency_in_the_same_place_is_currency_changed() {
    pair("Rides 4000 USD 0 100", "Rides 4000 EUR 0 100", Kind::CurrencyChanged, "");
    pair("Rides 4000 USD 0 100", "Rides 4000 EUR 0 92.10", Kind::CurrencyChanged, "");
    // What the currency itself explains comes first.
    let rows = compare(&lines("R 1 USD 5 0\nR 1 EUR 4 0"), &lines("R 1 USD 4 0\nR 1 EUR 5 0")).rows;
    assert!(rows.iter().all(|row| row.kind == Some(Kind::AmountChanged)), "{rows:?}");
    apart("Rides 4000 USD 0 100", "Rides 4100 EUR 0 100");
}

#[test]
fn the_same_money_of_another_date_or_entity_or_field_is_named() {
    let line = "R 1 USD 5 0 date=d1 entity=NL country=NL memo=a";
    let with = |from: &str, to: &str| line.replace(from, to);
    pair(line, &with("d1", "d2"), Kind::PeriodChanged, "accounting_date: 'd1' → 'd2'");
    pair(line, &with("entity=NL", "entity=US"), Kind::EntityChanged, "entity: 'NL' → 'US'");
    pair(line, &with("memo=a", "memo=b"), Kind::FieldChanged, "memo: 'a' → 'b'");
    pair(line, &with("country=NL", "country=DE"), Kind::FieldChanged, "country: 'NL' → 'DE'");
    pair(line, &with(" memo=a", ""), Kind::FieldChanged, "memo: 'a' → absent");
    let both = with("memo=a", "memo=b").replace("d1", "d2");
    pair(line, &both, Kind::PeriodChanged, "accounting_date: 'd1' → 'd2', memo: 'a' → 'b'");
    check(line, line, &[], "");
}

#[test]
fn debit_and_credit_changed_equally_are_a_reversal_style() {
    use Source::{Primary, Shadow};
    let reversal = |source| (source, Kind::ReversalStyle);
    // One line: a negative debit for a credit, and gross for net.
    pair("R 1 USD -100 0", "R 1 USD 0 100", Kind::ReversalStyle, "");
    pair("R 1 USD 100 30", "R 1 USD 70 0", Kind::ReversalStyle, "");
    // Two lines that are each other's counterparts, and one that became two.
    let two = [reversal(Primary), reversal(Primary), reversal(Shadow), reversal(Shadow)];
    check("R 1 USD 100 0\nR 1 USD 0 20", "R 1 USD 130 0\nR 1 USD 0 50", &two, "");
    let one_to_two = [reversal(Primary), reversal(Shadow), reversal(Shadow)];
    check("R 1 USD 70 0", "R 1 USD 100 0\nR 1 USD 0 30", &one_to_two, "");
    check("R 1 USD 70 0", "R 1 USD 70 0\nR 1 USD 9 0\nR 1 USD 0 9", &[reversal(Shadow); 2], "");
    // Not by a cent, in another account, or where nothing was there to be reversed.
    pair("R 1 USD 100 30", "R 1 USD 70.01 0", Kind::AmountChanged, "");
    let changed = |source| (source, Kind::AmountChanged);
    let two = [changed(Primary), changed(Primary), changed(Shadow), changed(Shadow)];
    check("R 1 USD 100 0\nR 2 USD 0 20", "R 1 USD 130 0\nR 2 USD 0 50", &two, "");
    let rows = compare(&[], &lines("R 1 USD 9 0\nR 1 USD 0 9")).rows;
    assert!(rows.iter().all(|row| row.kind == Some(Kind::Extra)), "{rows:?}");
}

#[test]
fn lines_without_a_counterpart_are_missing_or_extra() {
    check("R 1 USD 1 0", "", &[(Source::Primary, Kind::Missing)], "");
    check("", "R 1 USD 1 0", &[(Source::Shadow, Kind::Extra)], "");
}
