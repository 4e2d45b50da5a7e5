//! Tells the candidate's differences from those of the replay itself, by a second comparison of the same exchange. Pure.
//!
//! The control is production's build, replayed like the candidate: where it too differs from production, the replay is to blame.
//! It explains and never subtracts. Without a control, the candidate's own second answer shows what differs by itself.

use std::collections::{BTreeMap, BTreeSet};

use shadow_recorder::exchange::Exchange;
use shadow_recorder::ledger::{Entry, Mapping};

use crate::answer::Answered;
use crate::journal::{Blame, EntryRow, ExchangeRow, Kind, Outcome, Source};
use crate::{compare, structure};

/// What the control made of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// It booked what production had booked.
    Reproduced,
    /// It booked something else.
    Different,
    /// It did not answer so that it could be compared.
    Failed,
}

impl Control {
    /// Returns the word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::Different => "different",
            Self::Failed => "failed",
        }
    }
}

/// What the candidate made of an exchange when it was asked a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// The same money.
    Same,
    /// Other money.
    Different,
    /// Only one of its two answers could be compared.
    Failed,
}

impl Second {
    /// Returns the word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::Failed => "failed",
        }
    }
}

/// Returns the journal's row of an exchange that was replayed, and what is in doubt about the candidate.
pub fn compare(
    recorded: &Exchange,
    answered: &Answered,
    mapping: &Mapping,
    rules: &structure::Rules,
) -> (ExchangeRow, BTreeSet<String>) {
    let mut row = compare::compare(recorded, &answered.candidate, mapping, rules);
    // Of the others only the money counts.
    let none = structure::Rules::default();
    let of = |answer| compare::compare(recorded, answer, mapping, &none);
    let doubts = answered.second.as_ref().map(|second| asked_twice(&mut row, &of(second)));
    let row = match &answered.control {
        Some(control) => explain(row, of(control)),
        None => row,
    };
    (row, doubts.unwrap_or_default())
}

/// Explains a comparison with the candidate by that with the control.
pub fn explain(mut row: ExchangeRow, control: ExchangeRow) -> ExchangeRow {
    // Where not even production's side could be read there is nothing to reproduce.
    if !row.money_known {
        return row;
    }
    let reproduced = match control.outcome {
        Outcome::Matched => Control::Reproduced,
        Outcome::Different => Control::Different,
        Outcome::Errored | Outcome::Unverified | Outcome::Filtered => Control::Failed,
    };
    row.control = Some(reproduced);
    let mut known = differing(&control.entries);
    let mut is_explained = !row.entries.is_empty() && known.values().any(|count| *count > 0);
    for line in row.entries.iter_mut().filter(|line| differs(line)) {
        match known.get_mut(&identity(line)) {
            Some(count @ 1..) => {
                *count -= 1;
                line.blame = Some(Blame::Harness);
            }
            _ => is_explained = false,
        }
    }
    if is_explained && matches!(row.outcome, Outcome::Different | Outcome::Errored) {
        row.blame = Some(Blame::Harness);
    }
    if reproduced == Control::Different {
        let booked = control.entries.into_iter().filter(|line| line.source != Source::Primary);
        row.entries.extend(booked.map(|line| EntryRow {
            source: Source::Control,
            kind: None,
            ..line
        }));
    }
    row
}

fn differs(line: &EntryRow) -> bool {
    line.source != Source::Both && line.kind != Some(Kind::NotExamined)
}

/// What makes two lines of two comparisons the same. Transactions that production has not are numbered differently in each.
type Identity = (Source, Option<i32>, Option<String>, Entry);

fn identity(line: &EntryRow) -> Identity {
    let position = (line.source == Source::Primary).then_some(line.transaction);
    (line.source, position, line.transaction_key.clone(), line.entry.clone())
}

fn differing(lines: &[EntryRow]) -> BTreeMap<Identity, usize> {
    let mut counts = BTreeMap::new();
    for line in lines.iter().filter(|line| differs(line)) {
        *counts.entry(identity(line)).or_default() += 1;
    }
    counts
}

/// Marks what the candidate's second answer shows; returns why that is in doubt, in the same words for the same cell.
pub fn asked_twice(row: &mut ExchangeRow, second: &ExchangeRow) -> BTreeSet<String> {
    let is_compared =
        |row: &ExchangeRow| matches!(row.outcome, Outcome::Matched | Outcome::Different);
    let (once, again) = (is_compared(row), is_compared(second));
    if !once && !again {
        return BTreeSet::new();
    }
    if once != again {
        row.second = Some(Second::Failed);
        return BTreeSet::from([
            "asked twice, the candidate answered only once so that its money could be compared"
                .into(),
        ]);
    }
    let (first, second) = (booked(&row.entries), booked(&second.entries));
    let places =
        first.keys().chain(second.keys()).filter(|place| first.get(*place) != second.get(*place));
    let doubts: BTreeSet<String> = places
        .map(|(line_of_business, gl_account, currency)| {
            format!("asked twice, the candidate booked different money in {line_of_business} / {gl_account} ({currency})")
        })
        .collect();
    row.second = Some(if doubts.is_empty() { Second::Same } else { Second::Different });
    doubts
}

type Booked<'r> = BTreeMap<(&'r str, &'r str, &'r str), (i128, i128)>;

/// Returns what the candidate booked, by line of business, account and currency.
fn booked(lines: &[EntryRow]) -> Booked<'_> {
    let mut booked = Booked::new();
    for line in lines.iter().filter(|line| matches!(line.source, Source::Both | Source::Shadow)) {
        let Entry { line_of_business, gl_account, currency, debit, credit, .. } = &line.entry;
        let sums = booked.entry((line_of_business, gl_account, currency)).or_default();
        // An amount has at most 27 digits: no answer that fits into memory makes these overflow.
        *sums = (sums.0 + debit.units(), sums.1 + credit.units());
    }
    booked
}

#[cfg(test)]
mod tests;
