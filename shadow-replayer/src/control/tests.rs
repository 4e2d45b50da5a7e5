use super::*;
use shadow_recorder::ledger::Transaction;

use crate::pairing;

fn entry(lob: &str, account: &str, amount: &str) -> Entry {
    Entry {
        line_of_business: lob.into(),
        gl_account: account.into(),
        currency: "USD".into(),
        debit: amount.parse().unwrap(),
        credit: "0".parse().unwrap(),
        ..Entry::default()
    }
}

/// The row of an exchange in which production booked 10 in Rides and 5 in Eats, and the other side this; nothing: it failed.
fn row(lines: Option<&[Entry]>) -> ExchangeRow {
    let booked = |entries: &[Entry]| vec![Transaction { key: None, entries: entries.to_vec() }];
    let primary = booked(&[entry("Rides", "1", "10"), entry("Eats", "1", "5")]);
    let entries = match lines {
        Some(lines) => pairing::compare(&primary, &booked(lines)).rows,
        None => pairing::one_sided(&primary, Source::Primary, Kind::Missing),
    };
    let outcome = match lines {
        None => Outcome::Errored,
        Some(_) if entries.iter().all(|line| line.source == Source::Both) => Outcome::Matched,
        Some(_) => Outcome::Different,
    };
    ExchangeRow { outcome, entries, control: None, ..crate::journal::tests::row() }
}

fn blamed(row: &ExchangeRow) -> usize {
    row.entries.iter().filter(|line| line.blame == Some(Blame::Harness)).count()
}

fn of_control(row: &ExchangeRow) -> usize {
    row.entries.iter().filter(|line| line.source == Source::Control).count()
}

#[test]
fn what_the_control_shows_too_is_the_replays_doing() {
    let same = [entry("Rides", "1", "10"), entry("Eats", "1", "5")];
    let rounded = [entry("Rides", "1", "9"), entry("Eats", "1", "5")];
    let worse = [entry("Rides", "1", "9"), entry("Eats", "1", "6")];
    for (candidate, control, state, lines, all) in [
        (Some(&rounded), Some(&same), Control::Reproduced, 0, false),
        (Some(&rounded), Some(&rounded), Control::Different, 2, true),
        (Some(&worse), Some(&rounded), Control::Different, 2, false),
        (Some(&rounded), Some(&worse), Control::Different, 2, true),
        (Some(&same), Some(&rounded), Control::Different, 0, false),
        (None, None, Control::Failed, 2, true),
        (Some(&rounded), None, Control::Failed, 1, false),
    ] {
        let of = |lines: Option<&[Entry; 2]>| row(lines.map(|lines| &lines[..]));
        let before = of(candidate);
        let explained = explain(before.clone(), of(control));
        assert_eq!(explained.control, Some(state));
        assert_eq!((blamed(&explained), explained.blame == Some(Blame::Harness)), (lines, all));
        assert_eq!(of_control(&explained), if state == Control::Different { 2 } else { 0 });
        let own = explained.entries.iter().filter(|line| line.source != Source::Control);
        let own = own.map(|line| EntryRow { blame: None, ..line.clone() });
        assert!(own.eq(before.entries), "it explains and never subtracts");
    }
}

#[test]
fn money_of_which_nothing_is_known_is_not_reproduced_either() {
    let unknown =
        ExchangeRow { money_known: false, control: None, entries: Vec::new(), ..row(None) };
    assert_eq!(explain(unknown.clone(), unknown).control, None);
}

#[test]
fn a_candidate_that_differs_from_itself_is_in_doubt() {
    let mut first = row(Some(&[entry("Rides", "1", "10"), entry("Eats", "1", "5")]));
    let reordered = row(Some(&[entry("Eats", "1", "5"), entry("Rides", "1", "10")]));
    assert!(asked_twice(&mut first, &reordered).is_empty());
    assert_eq!(first.second, Some(Second::Same));
    let random = row(Some(&[entry("Rides", "1", "10"), entry("Eats", "1", "7")]));
    let doubts = asked_twice(&mut first, &random);
    assert_eq!(first.second, Some(Second::Different));
    let known = "asked twice, the candidate booked different money in Eats / 1 (USD)";
    assert!(doubts.iter().eq([known]), "{doubts:?}");
    assert_eq!(asked_twice(&mut first, &row(None)).len(), 1);
    assert_eq!(first.second, Some(Second::Failed));
    assert!(asked_twice(&mut row(None), &row(None)).is_empty());
}
