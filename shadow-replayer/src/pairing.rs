//! Pairs the entries of two transactions, to explain a difference. Pure.
//!
//! The totals never depend on the pairing: every line that is not equal on both sides is written with its own side, and only
//! its kind comes from here. Order never matters: transactions and entries are multisets.

use std::collections::BTreeMap;

use shadow_recorder::ledger::{Entry, Transaction};

use crate::journal::{EntryRow, Kind, Source};

/// What the comparison of two answers' transactions found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Every line of both sides.
    pub rows: Vec<EntryRow>,
    /// Transactions whose debits are not their credits.
    pub unbalanced: Unbalanced,
}

impl Comparison {
    /// Returns whether both sides booked the same.
    pub fn is_equal(&self) -> bool {
        self.rows.iter().all(|row| row.source == Source::Both)
    }
}

/// How many transactions do not balance per currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unbalanced {
    /// Production's.
    pub primary: i32,
    /// The candidate's.
    pub shadow: i32,
    /// The candidate's whose counterpart in production balances, or is not there.
    pub newly: i32,
}

impl Unbalanced {
    /// Counts those of both sides, none of them compared with its counterpart.
    pub fn of(primary: &[Transaction], shadow: &[Transaction]) -> Self {
        let count = |transactions: &[Transaction]| {
            let unbalanced = transactions.iter().filter(|transaction| !transaction.balances());
            i32::try_from(unbalanced.count()).unwrap_or(i32::MAX)
        };
        Self { primary: count(primary), shadow: count(shadow), newly: 0 }
    }
}

/// Compares what production and the candidate booked in one exchange.
pub fn compare(primary: &[Transaction], shadow: &[Transaction]) -> Comparison {
    let unbalanced = Unbalanced::of(primary, shadow);
    let mut comparison = Comparison { rows: Vec::new(), unbalanced };
    for (position, (left, right)) in (0_i32..).zip(pairs(primary, shadow)) {
        let key = left.or(right).and_then(|transaction| transaction.key.as_deref());
        let rows = lines(left.map_or(&[], |t| &*t.entries), right.map_or(&[], |t| &*t.entries));
        for (line, (source, entry, kind)) in (0_i32..).zip(rows) {
            let transaction_key = key.map(str::to_owned);
            comparison.rows.push(EntryRow {
                transaction: position,
                transaction_key,
                line,
                source,
                entry: entry.clone(),
                kind,
                changed: None,
                blame: None,
            });
        }
        let balanced_before = left.is_none_or(Transaction::balances);
        if balanced_before && right.is_some_and(|transaction| !transaction.balances()) {
            comparison.unbalanced.newly += 1;
        }
    }
    comparison
}

/// Returns one side's lines as they are, of one source and kind.
pub fn one_sided(transactions: &[Transaction], source: Source, kind: Kind) -> Vec<EntryRow> {
    let mut rows = Vec::new();
    for (position, transaction) in (0_i32..).zip(transactions) {
        for (line, entry) in (0_i32..).zip(&transaction.entries) {
            let transaction_key = transaction.key.clone();
            rows.push(EntryRow {
                transaction: position,
                transaction_key,
                line,
                source,
                entry: entry.clone(),
                kind: Some(kind),
                changed: None,
                blame: None,
            });
        }
    }
    rows
}

type Pair<'t> = (Option<&'t Transaction>, Option<&'t Transaction>);

/// Pairs transactions by key, then by equal content, then in order. Production's order comes first.
fn pairs<'t>(primary: &'t [Transaction], shadow: &'t [Transaction]) -> Vec<Pair<'t>> {
    let mut partner: Vec<Option<usize>> = vec![None; primary.len()];
    let mut free: Vec<bool> = vec![true; shadow.len()];
    pair_where(primary, shadow, &mut partner, &mut free, |t| {
        t.key.clone().map(|key| (Some(key), Vec::new()))
    });
    pair_where(primary, shadow, &mut partner, &mut free, |t| {
        t.key.is_none().then(|| (None, sorted(&t.entries)))
    });
    // Keyed transactions without their partner stay alone; the others are taken in order.
    pair_where(primary, shadow, &mut partner, &mut free, |t| {
        t.key.is_none().then(|| (None, Vec::new()))
    });
    let mut pairs: Vec<Pair<'t>> = primary
        .iter()
        .zip(&partner)
        .map(|(left, at)| (Some(left), at.map(|at| &shadow[at])))
        .collect();
    pairs.extend(
        shadow.iter().zip(free).filter(|(_, free)| *free).map(|(right, _)| (None, Some(right))),
    );
    pairs
}

type Identity<'t> = (Option<String>, Vec<&'t Entry>);

/// Pairs what is still free and has the same identity, each once.
fn pair_where<'t>(
    primary: &'t [Transaction],
    shadow: &'t [Transaction],
    partner: &mut [Option<usize>],
    free: &mut [bool],
    identity: impl Fn(&'t Transaction) -> Option<Identity<'t>>,
) {
    let mut waiting: BTreeMap<Identity<'t>, Vec<usize>> = BTreeMap::new();
    for (at, transaction) in shadow.iter().enumerate().rev().filter(|(at, _)| free[*at]) {
        if let Some(identity) = identity(transaction) {
            waiting.entry(identity).or_default().push(at);
        }
    }
    for (transaction, partner) in
        primary.iter().zip(partner).filter(|(_, partner)| partner.is_none())
    {
        let found = identity(transaction)
            .and_then(|identity| waiting.get_mut(&identity))
            .and_then(Vec::pop);
        if let Some(at) = found {
            *partner = Some(at);
            free[at] = false;
        }
    }
}

fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    entries.sort();
    entries
}

/// Whether a line of production and one of the candidate explain each other.
type Resembles = fn(&Entry, &Entry) -> bool;
type Row<'t> = (Source, &'t Entry, Option<Kind>);

/// Splits two transactions' entries into what is equal and what differs, with its kind.
fn lines<'t>(primary: &'t [Entry], shadow: &'t [Entry]) -> Vec<Row<'t>> {
    let (mut left, mut right) = (sorted(primary), sorted(shadow));
    let mut rows: Vec<Row<'t>> = Vec::new();
    left.retain(|entry| match right.iter().position(|other| other == entry) {
        Some(at) => {
            rows.push((Source::Both, right.remove(at), None));
            false
        }
        None => true,
    });
    let rules: [(Kind, Resembles); 6] = [
        (Kind::FieldChanged, |a, b| {
            same_place(a, b)
                && same_money(a, b)
                && a.entity == b.entity
                && a.accounting_date == b.accounting_date
        }),
        (Kind::PeriodChanged, |a, b| same_place(a, b) && same_money(a, b) && a.entity == b.entity),
        (Kind::EntityChanged, |a, b| same_place(a, b) && same_money(a, b)),
        (Kind::Reclassified, moved),
        (Kind::AmountChanged, same_place),
        (Kind::CurrencyChanged, |a, b| {
            a.line_of_business == b.line_of_business && a.gl_account == b.gl_account
        }),
    ];
    for (kind, is_pair) in rules {
        left.retain(|entry| match right.iter().position(|other| is_pair(entry, other)) {
            Some(at) => {
                rows.push((Source::Primary, entry, Some(kind)));
                rows.push((Source::Shadow, right.remove(at), Some(kind)));
                false
            }
            None => true,
        });
    }
    rows.extend(left.into_iter().map(|entry| (Source::Primary, entry, Some(Kind::Missing))));
    rows.extend(right.into_iter().map(|entry| (Source::Shadow, entry, Some(Kind::Extra))));
    rows
}

/// The same money under another line of business, account or side. (Equal lines in the same place are paired before.)
fn moved(a: &Entry, b: &Entry) -> bool {
    let other_side = a.debit == b.credit && a.credit == b.debit;
    a.currency == b.currency && (same_money(a, b) || other_side)
}

fn same_money(a: &Entry, b: &Entry) -> bool {
    a.debit == b.debit && a.credit == b.credit
}

fn same_place(a: &Entry, b: &Entry) -> bool {
    a.line_of_business == b.line_of_business
        && a.gl_account == b.gl_account
        && a.currency == b.currency
}

#[cfg(test)]
mod tests;
