//! One event: what both sides booked under one id, and what that comes to. Pure.

use std::collections::BTreeMap;

use shadow_recorder::exchange::PI_ONE;
use shadow_recorder::ledger::Transaction;

use super::file::Side;
use super::rows::Record;
use crate::journal::{Blame, EntryRow, ExchangeRow, Kind, Outcome, Source};
use crate::pairing::{self, Unbalanced};
use crate::plan::Range;

/// What is the same for every event of a run.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Events outside it are filtered, where it is known when they occurred; else they all occurred at its beginning.
    pub(super) range: Range,
    /// Whether a row is one entry, so that those of one key are one transaction.
    pub(super) flat: bool,
    /// What stands for the route.
    pub(super) route: String,
    /// The further dimensions of an entry, each a column of the journal.
    pub(super) dimensions: Vec<String>,
}

/// What both sides say of one event.
#[derive(Debug, Default)]
pub(super) struct Event {
    primary: Half,
    shadow: Half,
}

/// What one side says.
#[derive(Debug, Default)]
struct Half {
    is_there: bool,
    occurred_at_us: Option<i64>,
    transactions: Vec<Transaction>,
    unreadable: Option<String>,
}

impl Event {
    /// Adds what a row says.
    pub(super) fn add(&mut self, record: Record) {
        let half = match record.side {
            Side::Primary => &mut self.primary,
            Side::Shadow => &mut self.shadow,
        };
        half.is_there = true;
        half.occurred_at_us = half.occurred_at_us.into_iter().chain(record.occurred_at_us).min();
        match record.booked {
            Ok(transactions) => half.transactions.extend(transactions),
            Err(what) => {
                half.unreadable.get_or_insert(what);
            }
        }
    }

    /// Returns on which side alone the event is, if it is not on both.
    pub(super) fn only(&self) -> Option<Side> {
        match (self.primary.is_there, self.shadow.is_there) {
            (true, false) => Some(Side::Primary),
            (false, true) => Some(Side::Shadow),
            _ => None,
        }
    }

    /// Returns the journal's row. The order is the rule: what production booked must be known before anything is a difference.
    pub(super) fn judge(self, id: String, rules: &Rules) -> ExchangeRow {
        let only = self.only();
        let occurred = self.primary.occurred_at_us.or(self.shadow.occurred_at_us);
        let occurred_at_us = occurred.unwrap_or(rules.range.from.as_microsecond());
        let (primary, shadow) = (self.primary.booked(rules.flat), self.shadow.booked(rules.flat));
        let in_range = {
            let (from, to) = (rules.range.from.as_microsecond(), rules.range.to.as_microsecond());
            occurred.is_none_or(|at| from <= at && at < to)
        };
        let money_known = primary.is_ok();
        let booked = primary.as_deref().unwrap_or_default();
        let result = match (&primary, &shadow) {
            _ if !in_range => not_examined(booked, Outcome::Filtered, "outside the range", None),
            (Err(what), _) => {
                let reason = "production's rows cannot be read";
                not_examined(&[], Outcome::Unverified, reason, Some(what.clone()))
            }
            (Ok(primary), Err(what)) => errored(primary, what.clone()),
            (Ok(primary), Ok(shadow)) => compared(primary, shadow, only),
        };
        row(id, occurred_at_us, rules, money_known, result)
    }
}

impl Half {
    /// Returns the side's transactions, in an order that does not depend on the rows'.
    fn booked(self, flat: bool) -> Result<Vec<Transaction>, String> {
        if let Some(what) = self.unreadable {
            return Err(what);
        }
        let mut transactions = if flat { together(self.transactions) } else { self.transactions };
        for transaction in &mut transactions {
            transaction.entries.sort();
        }
        transactions.sort();
        Ok(transactions)
    }
}

/// Puts the entries of one key together.
fn together(rows: Vec<Transaction>) -> Vec<Transaction> {
    let mut of_key: BTreeMap<Option<String>, Transaction> = BTreeMap::new();
    for row in rows {
        let into = of_key.entry(row.key.clone()).or_default();
        into.key = row.key;
        into.entries.extend(row.entries);
    }
    of_key.into_values().collect()
}

/// What an event came to.
struct Judged {
    outcome: Outcome,
    reason: Option<&'static str>,
    detail: Option<String>,
    blame: Option<Blame>,
    entries: Vec<EntryRow>,
    unbalanced: Unbalanced,
    transactions: Option<(String, String)>,
}

fn not_examined(
    booked: &[Transaction],
    outcome: Outcome,
    reason: &'static str,
    detail: Option<String>,
) -> Judged {
    Judged {
        outcome,
        reason: Some(reason),
        detail,
        blame: (outcome == Outcome::Unverified).then_some(Blame::Harness),
        entries: pairing::one_sided(booked, Source::Primary, Kind::NotExamined),
        unbalanced: Unbalanced::of(booked, &[]),
        transactions: None,
    }
}

fn errored(booked: &[Transaction], what: String) -> Judged {
    Judged {
        outcome: Outcome::Errored,
        reason: Some("the candidate's rows cannot be read"),
        detail: Some(what),
        blame: Some(Blame::Candidate),
        entries: pairing::one_sided(booked, Source::Primary, Kind::Missing),
        unbalanced: Unbalanced::of(booked, &[]),
        transactions: Some((json(booked), "[]".into())),
    }
}

fn compared(primary: &[Transaction], shadow: &[Transaction], only: Option<Side>) -> Judged {
    let comparison = pairing::compare(primary, shadow);
    // An event that one side alone has is a difference, even if it books nothing.
    let equal = only.is_none() && comparison.is_equal();
    let reason = only.map(|side| match side {
        Side::Primary => "the candidate's files do not have the event",
        Side::Shadow => "production's files do not have the event",
    });
    Judged {
        outcome: if equal { Outcome::Matched } else { Outcome::Different },
        reason,
        detail: None,
        blame: None,
        entries: comparison.rows,
        unbalanced: comparison.unbalanced,
        transactions: (!equal).then(|| (json(primary), json(shadow))),
    }
}

fn json(transactions: &[Transaction]) -> String {
    serde_json::to_string(transactions).expect("transactions have text keys only")
}

fn row(id: String, at: i64, rules: &Rules, money_known: bool, result: Judged) -> ExchangeRow {
    ExchangeRow {
        exchange_id: id,
        occurred_at_us: at,
        route: rules.route.clone(),
        outcome: result.outcome,
        reason: result.reason.map(str::to_owned),
        detail: result.detail,
        blame: result.blame,
        primary_status: None,
        shadow_status: None,
        primary_duration_us: None,
        shadow_duration_us: None,
        upstream_hits: 0,
        upstream_misses: 0,
        upstream_unused: 0,
        upstream_assumed: 0,
        newly_unbalanced: result.unbalanced.newly,
        primary_unbalanced: result.unbalanced.primary,
        shadow_unbalanced: result.unbalanced.shadow,
        money_known,
        pi: i64::try_from(PI_ONE).unwrap_or(i64::MAX),
        stratum: "all".into(),
        entries: result.entries,
        transactions: result.transactions,
        control: None,
        second: None,
        structure: Vec::new(),
        calls: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
