use super::*;
use crate::expected::{Cell, Cells, Change, Expected, Sign};
use crate::policy::Policy;
use crate::totals::Declared;

/// Declares up to 50 more on fares.
fn declared() -> Policy {
    let change = Change {
        kind: "amount_changed".into(),
        cells: Cells::In(Cell { line_of_business: None, gl_account: Some("fares".into()) }),
        sign: Sign::Increase,
        currency: None,
        minimum: "1".parse().unwrap(),
        maximum: "50".parse().unwrap(),
        reason: "r".into(),
        ticket: "t".into(),
        owner: "o".into(),
        expires: "2026-12-31".parse().unwrap(),
        expired: false,
    };
    Policy { expected: Expected { sha256: None, changes: vec![change] }, ..policy() }
}

/// An exchange in which an account's credit rose from 10 to 40.
fn raised(id: &str, gl_account: &str) -> ExchangeRow {
    let kind = Some(Kind::AmountChanged);
    let lines = vec![
        line(Source::Primary, kind, gl_account, "0", "10"),
        line(Source::Shadow, kind, gl_account, "0", "40"),
    ];
    exchange(id, Outcome::Different, lines)
}

#[test]
fn what_is_declared_is_taken_in_the_order_of_ids_whatever_the_shards() {
    let rows = || {
        vec![raised("a", "fares"), raised("b", "tips"), raised("c", "fares"), raised("d", "fares")]
    };
    let together = totals_under(&declared(), &[rows()]).unwrap();
    let fares = of_account(&together, "fares");
    assert_eq!(fares.shadow.credit - fares.primary.credit, 90 * UNITS, "the whole stays shown");
    assert_eq!((fares.declared.net.credit, fares.declared.gross.credit), (50 * UNITS, 50 * UNITS));
    assert_eq!(of_account(&together, "tips").declared, Declared::default());
    let appeared = &together.expected[0];
    assert_eq!((&*appeared.text(), appeared.exhausted, appeared.exchanges), ("50.00", true, 2));
    assert_eq!(appeared.example.as_deref(), Some("a"));
    let listed: Vec<_> = together.largest.iter().map(|of| (&*of.exchange_id, &*of.money)).collect();
    assert_eq!(
        listed,
        [("b", "30.00"), ("d", "30.00"), ("c", "10.00"), ("a", "0.00")],
        "by the rest"
    );
    let apart: Vec<Vec<ExchangeRow>> = rows().into_iter().rev().map(|row| vec![row]).collect();
    assert_eq!(totals_under(&declared(), &apart).unwrap(), together);
}

#[test]
fn a_failed_answer_and_one_that_does_not_balance_are_never_as_expected() {
    let errored = ExchangeRow { outcome: Outcome::Errored, ..raised("a", "fares") };
    let unbalanced = ExchangeRow { newly_unbalanced: 1, ..raised("b", "fares") };
    let totals = totals_under(&declared(), &[vec![errored, unbalanced]]).unwrap();
    assert_eq!(of_account(&totals, "fares").declared, Declared::default());
    assert_eq!(totals.expected[0].text(), "0.00");
}

#[test]
fn what_is_not_declared_or_expired_changes_nothing() {
    let rows = [vec![raised("a", "fares")]];
    let none = totals_of(&rows).unwrap();
    let mut expired = declared();
    expired.expected = expired.expected.at("2027-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(totals_under(&expired, &rows).unwrap(), none);
    assert_eq!(of_account(&none, "fares").declared, Declared::default());
}
