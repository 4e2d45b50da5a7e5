use proptest::prelude::*;
use shadow_recorder::amount::{Amount, UNITS};

use super::super::Cell;
use super::*;
use crate::money::Rate;

fn rates() -> Rates {
    let values = [("EUR".to_owned(), Rate::parse("1.25").unwrap())].into();
    Rates { reporting_currency: "USD".into(), values, ..Rates::default() }
}

fn place(line_of_business: &str, gl_account: &str, currency: &str) -> Place {
    Place {
        line_of_business: line_of_business.into(),
        gl_account: gl_account.into(),
        currency: currency.into(),
        ..Place::default()
    }
}

fn amount(whole: i128) -> Amount {
    Amount::from_units(whole * UNITS).unwrap()
}

fn cell(line_of_business: Option<&str>, gl_account: Option<&str>) -> Cell {
    Cell {
        line_of_business: line_of_business.map(str::to_owned),
        gl_account: gl_account.map(str::to_owned),
    }
}

fn change(kind: &str, cells: Cells, maximum: i128) -> Change {
    Change {
        kind: kind.into(),
        cells,
        sign: Sign::Either,
        currency: None,
        minimum: Amount::ZERO,
        maximum: amount(maximum),
        reason: "r".into(),
        ticket: "t".into(),
        owner: "o".into(),
        expires: "2026-12-31".parse().unwrap(),
        expired: false,
    }
}

fn raised(maximum: i128) -> Change {
    change("amount_changed", Cells::In(cell(Some("rides"), None)), maximum)
}

fn moved(from: Cell, to: Cell, maximum: i128) -> Change {
    change("reclassified", Cells::Between { from, to }, maximum)
}

fn credit(whole: i128) -> Money {
    Money { debit: 0, credit: whole * UNITS }
}

fn line(kind: &str, at: Place, is_shadow: bool, money: Money) -> Line {
    Line { transaction: 0, kind: kind.into(), place: at, is_shadow, money }
}

/// A line of rides / fares whose credit changed.
fn changed(from: i128, to: i128) -> Vec<Line> {
    let at = || place("rides", "fares", "USD");
    vec![
        line("amount_changed", at(), false, credit(from)),
        line("amount_changed", at(), true, credit(to)),
    ]
}

/// A credit that moved between two accounts of two lines of business.
fn reclassified(from: [&str; 2], to: [&str; 2], whole: i128) -> Vec<Line> {
    vec![
        line("reclassified", place(from[0], from[1], "USD"), false, credit(whole)),
        line("reclassified", place(to[0], to[1], "USD"), true, credit(whole)),
    ]
}

/// Takes changes out of exchanges `0`, `1` …; returns what was taken of each and what came of the changes.
fn taken(changes: &[Change], exchanges: Vec<Vec<Line>>) -> (Vec<Taken>, Vec<Appeared>) {
    let changes: Vec<_> = changes.iter().cloned().enumerate().collect();
    let rates = rates();
    let mut matcher = Matcher::new(&changes, &rates);
    let taken = exchanges.into_iter().enumerate();
    let taken = taken.map(|(n, lines)| matcher.take(&n.to_string(), lines).unwrap()).collect();
    (taken, matcher.finish())
}

fn of(at: Place, money: Money) -> Taken {
    [(at, money)].into()
}

#[test]
fn each_difference_is_taken_up_to_what_is_left_of_the_maximum() {
    let exchanges = vec![changed(10, 40), changed(10, 40), changed(10, 40)];
    let (taken, appeared) = taken(&[raised(50)], exchanges);
    let fares = || place("rides", "fares", "USD");
    assert_eq!(taken, [of(fares(), credit(30)), of(fares(), credit(20)), Taken::new()]);
    let appeared = &appeared[0];
    assert_eq!((&*appeared.text(), appeared.exhausted, appeared.exchanges), ("50.00", true, 2));
    assert_eq!(appeared.example.as_deref(), Some("0"));
}

#[test]
fn another_kind_cell_sign_or_currency_is_not_meant() {
    let less = Change { sign: Sign::Decrease, ..raised(50) };
    let euros = Change { currency: Some("EUR".into()), ..raised(50) };
    let missing = change("missing", Cells::In(cell(Some("rides"), None)), 50);
    let tips = change("amount_changed", Cells::In(cell(None, Some("tips"))), 50);
    for other in [less, euros, missing, tips] {
        let (taken, appeared) = taken(std::slice::from_ref(&other), vec![changed(10, 40)]);
        assert_eq!(taken, [Taken::new()], "{other:?}");
        assert!(appeared[0].is_absent(&other));
    }
    let more = Change { sign: Sign::Increase, ..raised(50) };
    assert_eq!(taken(&[more], vec![changed(10, 40)]).1[0].text(), "30.00");
}

#[test]
fn less_than_the_minimum_is_absent() {
    let declared = |minimum| Change { minimum: amount(minimum), ..raised(50) };
    for (minimum, absent) in [(30, false), (31, true)] {
        let change = declared(minimum);
        let (_, appeared) = taken(std::slice::from_ref(&change), vec![changed(10, 40)]);
        assert_eq!(appeared[0].is_absent(&change), absent);
    }
}

#[test]
fn a_reclassification_leaves_one_cell_and_arrives_in_the_other() {
    let change = moved(cell(Some("eats"), None), cell(Some("rides"), None), 150);
    let (from, to) = (["eats", "fares"], ["rides", "fares"]);
    let (eats, rides) = (place("eats", "fares", "USD"), place("rides", "fares", "USD"));
    let both = |whole: i128| -> Taken {
        [(eats.clone(), credit(-whole)), (rides.clone(), credit(whole))].into()
    };
    let exchanges = vec![
        reclassified(from, to, 100),
        // The other way round, to another account as well, another amount, and in another transaction.
        reclassified(to, from, 100),
        reclassified(from, ["rides", "tips"], 100),
        [&reclassified(from, to, 100)[..1], &reclassified(from, to, 90)[1..]].concat(),
        {
            let mut lines = reclassified(from, to, 100);
            lines[1].transaction = 1;
            lines
        },
        reclassified(from, to, 100),
    ];
    let (taken, appeared) = taken(&[change], exchanges);
    let none = Taken::new;
    assert_eq!(taken, [both(100), none(), none(), none(), none(), both(50)]);
    assert_eq!((&*appeared[0].text(), appeared[0].exhausted), ("150.00", true));
}

#[test]
fn without_a_currency_amounts_are_converted_and_what_has_no_rate_is_not_taken() {
    let at = |currency| place("rides", "fares", currency);
    let extra = |currency, whole| vec![line("extra", at(currency), true, credit(whole))];
    let change = change("extra", Cells::In(cell(Some("rides"), None)), 100);
    let (taken, appeared) =
        taken(&[change], vec![extra("EUR", 60), extra("JPY", 9), extra("EUR", 60)]);
    assert_eq!(taken, [of(at("EUR"), credit(60)), Taken::new(), of(at("EUR"), credit(20))]);
    assert_eq!(appeared[0].text(), "100.00");
}

#[test]
fn what_one_change_left_the_next_may_take() {
    let (taken, appeared) = taken(&[raised(10), raised(15)], vec![changed(10, 40)]);
    assert_eq!(taken, [of(place("rides", "fares", "USD"), credit(25))]);
    let texts: Vec<_> = appeared.iter().map(Appeared::text).collect();
    assert_eq!(texts, ["10.00", "15.00"]);
}

fn any_line() -> impl Strategy<Value = Line> {
    let names = || prop::sample::select(vec!["a", "b"]);
    let kinds = prop::sample::select(vec!["reclassified", "amount_changed", "missing", "extra"]);
    let currency = prop::sample::select(vec!["USD", "EUR", "JPY"]);
    (0..2_i32, kinds, names(), names(), currency, any::<bool>(), -5..5_i128, -5..5_i128).prop_map(
        |(transaction, kind, lob, gl, currency, is_shadow, debit, credit)| Line {
            transaction,
            kind: kind.into(),
            place: place(lob, gl, currency),
            is_shadow,
            money: Money { debit: debit * 7, credit: credit * 7 },
        },
    )
}

fn any_change() -> impl Strategy<Value = Change> {
    let name = || prop::option::of(prop::sample::select(vec!["a", "b"]));
    let kinds = prop::sample::select(vec!["reclassified", "amount_changed", "missing", "extra"]);
    let currency = prop::option::of(prop::sample::select(vec!["USD", "EUR"]));
    let sign = prop::sample::select(Sign::ALL.to_vec());
    (kinds, [name(), name(), name(), name()], sign, currency, 1..60_i128).prop_map(
        |(kind, [a, b, c, d], sign, currency, maximum)| Change {
            cells: if kind == "reclassified" {
                Cells::Between { from: cell(a, b), to: cell(c, d) }
            } else {
                Cells::In(cell(a, b))
            },
            sign,
            currency: currency.map(str::to_owned),
            maximum: Amount::from_units(maximum).unwrap(),
            ..raised(0)
        },
    )
}

proptest! {
    /// Never more than the maximum, never more than what differs nor in another direction, and whatever the order of the lines.
    #[test]
    fn what_is_taken_is_bounded_and_the_order_of_lines_changes_nothing(
        changes in prop::collection::vec(any_change(), 0..4),
        exchanges in prop::collection::vec(prop::collection::vec(any_line(), 0..8), 0..4),
    ) {
        let (taken_of, appeared) = taken(&changes, exchanges.clone());
        for (change, appeared) in changes.iter().zip(&appeared) {
            prop_assert!(appeared.money <= whole(change.maximum.units()));
        }
        let mut sum = BigRational::zero();
        for (taken, lines) in taken_of.iter().zip(&exchanges) {
            for (place, money) in taken {
                let absolute = |units: i128| units.unsigned_abs();
                let there: u128 = lines
                    .iter()
                    .filter(|line| line.place == *place)
                    .map(|line| absolute(line.money.debit) + absolute(line.money.credit))
                    .sum();
                prop_assert!(absolute(money.debit) + absolute(money.credit) <= there);
                let rate = rates().of(&place.currency).unwrap();
                sum += rate * BigInt::from(absolute(money.debit) + absolute(money.credit));
            }
        }
        if changes.is_empty() {
            prop_assert!(sum.is_zero());
        }
        let backwards = exchanges.into_iter().map(|lines| lines.into_iter().rev().collect());
        prop_assert_eq!(taken(&changes, backwards.collect()), (taken_of, appeared));
    }
}
