use std::fmt::Write;
use std::path::Path;

use shadow_recorder::amount::UNITS;
use shadow_recorder::config::Document;

use super::*;
use crate::cell;
use crate::totals::{Money, Part, Place, Totals};
use crate::verdict::{DimensionName, NO_VALUE};

fn place(gl_account: &str, currency: &str) -> Place {
    Place {
        line_of_business: "rides".into(),
        gl_account: gl_account.into(),
        currency: currency.into(),
        ..Place::default()
    }
}

fn credit(units: i128) -> Money {
    Money { debit: 0, credit: units * UNITS }
}

/// Adds production's line and the candidate's.
fn book(totals: &mut Totals, place: &Place, primary: i128, shadow: i128) {
    totals.add_lines(place, Part::Primary, credit(primary), 1).unwrap();
    totals.add_lines(place, Part::Shadow, credit(shadow), 1).unwrap();
}

/// Validates under thresholds of 100 USD, with EUR at 2.
fn validated(totals: &Totals, gate: bool) -> LedgerValidation {
    let mut text = "[certify]\nreporting_currency = \"USD\"\nrates = { EUR = \"2\" }\n".to_owned();
    for name in DimensionName::STANDARD {
        let word = name.word();
        write!(text, "[certify.thresholds.{word}]\nnet = 100\ngate = {gate}\n").unwrap();
    }
    let document = Document::parse(Path::new("shadow.toml"), &text, |_| None).unwrap();
    let policy = crate::config::take(&document, None).unwrap();
    document.finish().unwrap();
    let cells = totals.cells.iter();
    let cells = cells.map(|(name, cell)| cell::judge(name, cell, &policy, false).unwrap());
    validation(&totals.ledger, &cells.collect::<Vec<_>>(), &policy.rates).unwrap()
}

fn results(validation: &LedgerValidation) -> Vec<(&str, &str, LedgerResult)> {
    let rows = validation.rows.iter();
    rows.map(|row| (&*row.gl_account, &*row.books.currency, row.result)).collect()
}

#[test]
fn each_account_has_its_books_and_is_held_against_its_threshold() {
    let mut totals = Totals::default();
    totals.add_lines(&place("cash", "USD"), Part::Both, credit(500), 5).unwrap();
    book(&mut totals, &place("fares", "USD"), 1_000, 899);
    book(&mut totals, &place("tips", "USD"), 1_000, 900);
    let validation = validated(&totals, true);
    let expected = [
        ("fares", "USD", LedgerResult::Fail),
        ("tips", "USD", LedgerResult::Pass),
        ("cash", "USD", LedgerResult::Pass),
    ];
    assert_eq!(results(&validation), expected);
    assert_eq!((validation.total, validation.failed, validation.left_out), (3, 1, 0));
    let fares = &validation.rows[0];
    assert_eq!(fares.threshold.as_deref(), Some("100.00"));
    assert_eq!(&*fares.books.credit.difference, "-101.00");
    assert_eq!(&*fares.books.balance.difference, "101.00");
    let sum = &validation.sums[0];
    assert_eq!((sum.entries_primary, sum.entries_shadow), (7, 7));
    assert_eq!((&*sum.credit.primary, &*sum.credit.shadow), ("2500.00", "2299.00"));
}

#[test]
fn rows_that_are_beyond_the_threshold_only_together_fail() {
    let mut totals = Totals::default();
    book(&mut totals, &place("fares", "USD"), 1_000, 940);
    book(&mut totals, &place("fares", "EUR"), 1_000, 970);
    totals.add_lines(&place("fares", "JPY"), Part::Both, credit(1), 1).unwrap();
    let expected = [
        ("fares", "EUR", LedgerResult::Fail),
        ("fares", "USD", LedgerResult::Fail),
        ("fares", "JPY", LedgerResult::Pass),
    ];
    assert_eq!(results(&validated(&totals, true)), expected);
}

#[test]
fn what_is_not_gated_or_has_no_rate_is_not_judged() {
    let mut totals = Totals::default();
    book(&mut totals, &place("fares", "USD"), 1_000, 0);
    assert_eq!(validated(&totals, false).rows[0].result, LedgerResult::NotJudged);
    let mut totals = Totals::default();
    book(&mut totals, &place("fares", "JPY"), 1_000, 0);
    assert_eq!(validated(&totals, true).rows[0].result, LedgerResult::NotJudged);
}

#[test]
fn money_that_moved_to_another_period_shows_in_both() {
    let of = |period: &str| Place {
        further: [(DimensionName::AccountingPeriod, period.to_owned())].into(),
        ..place("fares", "USD")
    };
    let mut totals = Totals::default();
    book(&mut totals, &of("2026-03"), 1_000, 800);
    book(&mut totals, &of("2026-04"), 0, 200);
    book(&mut totals, &of(NO_VALUE), 5, 5);
    let validation = validated(&totals, true);
    let rows = validation.rows.iter();
    let rows: Vec<_> = rows.map(|row| (row.period.as_deref(), row.result)).collect();
    let expected = [
        (Some("2026-03"), LedgerResult::Fail),
        (Some("2026-04"), LedgerResult::Fail),
        (None, LedgerResult::Pass),
    ];
    assert_eq!(rows, expected);
    assert_eq!(&*validation.sums[0].credit.difference, "0.00");
}

#[test]
fn money_that_was_not_examined_is_in_no_row() {
    let mut totals = Totals::default();
    totals.add_lines(&place("cash", "USD"), Part::NotExamined, credit(500), 5).unwrap();
    assert_eq!(validated(&totals, true), LedgerValidation::default());
}
