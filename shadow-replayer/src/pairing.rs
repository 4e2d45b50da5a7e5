//! Pairs the entries of two transactions, to explain a difference. Pure.
//!
//! The totals never depend on the pairing: every line that is not equal on both sides is written with its own side, and only
//! its kind comes from here. Order never matters: transactions and entries are multisets.
//!
//! Transactions belong together that have the same key. What has none, or the same one several times, is paired by equal content, then
//! so that the difference is explained by the least money; so are the lines of two transactions. The money that is left to be explained
//! is counted per currency: where a line moved, its amount once; where an amount changed, the change; where a line has no
//! counterpart, all of it. The best pairing is found exactly up to [`CHOICES_MAX`](pairs::CHOICES_MAX) pairs to choose from; above,
//! by fixed rules of about the same cost.

use std::collections::BTreeMap;

use shadow_recorder::ledger::{Entry, Transaction};

use crate::journal::{EntryRow, Kind, Source};
use lines::{Line, sorted};
use pairs::{CHOICES_MAX, Pairs};

mod kind;
mod lines;
mod pairs;

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
    for (position, (left, right)) in (0_i32..).zip(counterparts(primary, shadow)) {
        let (transaction, lines) = match (left, right) {
            (Some(left), Some(right)) => (left, lines::compared(&left.entries, &right.entries)),
            (Some(left), None) => {
                (left, lines::alone(&left.entries, Source::Primary, Kind::Missing))
            }
            (None, Some(right)) => {
                (right, lines::alone(&right.entries, Source::Shadow, Kind::Extra))
            }
            (None, None) => continue,
        };
        comparison.rows.extend(rows(position, transaction, lines));
        let balanced_before = left.is_none_or(Transaction::balances);
        if balanced_before && right.is_some_and(|transaction| !transaction.balances()) {
            comparison.unbalanced.newly += 1;
        }
    }
    comparison
}

/// Returns one side's lines as they are, of one source and kind.
pub fn one_sided(transactions: &[Transaction], source: Source, kind: Kind) -> Vec<EntryRow> {
    let of_each = (0_i32..).zip(transactions).flat_map(|(position, transaction)| {
        rows(position, transaction, lines::alone(&transaction.entries, source, kind))
    });
    of_each.collect()
}

fn rows(position: i32, transaction: &Transaction, lines: Vec<Line<'_>>) -> Vec<EntryRow> {
    let row = |(line, of): (i32, Line<'_>)| EntryRow {
        transaction: position,
        transaction_key: transaction.key.clone(),
        line,
        source: of.source,
        entry: of.entry.clone(),
        kind: of.kind,
        changed: of.changed,
        blame: None,
    };
    (0_i32..).zip(lines).map(row).collect()
}

type Counterparts<'t> = (Option<&'t Transaction>, Option<&'t Transaction>);

/// Returns each transaction with its counterpart. Production's order comes first.
fn counterparts<'t>(
    primary: &'t [Transaction],
    shadow: &'t [Transaction],
) -> Vec<Counterparts<'t>> {
    let mut by_key: BTreeMap<Option<&str>, [Vec<usize>; 2]> = BTreeMap::new();
    for (side, transactions) in [primary, shadow].into_iter().enumerate() {
        for (at, transaction) in transactions.iter().enumerate() {
            by_key.entry(transaction.key.as_deref()).or_default()[side].push(at);
        }
    }
    let mut partner: Vec<Option<usize>> = vec![None; primary.len()];
    let mut free = vec![true; shadow.len()];
    for (key, [left, right]) in by_key {
        for (at, to) in of_one_key(key.is_some(), primary, shadow, &left, &right) {
            partner[at] = Some(to);
            free[to] = false;
        }
    }
    let partners = partner.into_iter().map(|to| to.map(|to| &shadow[to]));
    let alone = shadow.iter().zip(free).filter(|(_, free)| *free);
    let paired = primary.iter().map(Some).zip(partners);
    paired.chain(alone.map(|(right, _)| (None, Some(right)))).collect()
}

/// Pairs the transactions that have one key, or none; returns their positions.
fn of_one_key(
    has_key: bool,
    primary: &[Transaction],
    shadow: &[Transaction],
    left: &[usize],
    right: &[usize],
) -> Vec<(usize, usize)> {
    if let (true, [at], [to]) = (has_key, left, right) {
        return vec![(*at, *to)];
    }
    let (left, right) = (contents(primary, left), contents(shadow, right));
    let mut pairs = Pairs::new(&left, &right);
    pairs.by_identity(|(content, _)| content);
    if pairs.is_small() {
        let lines = |side: &[Content<'_>], over: Vec<usize>| -> usize {
            over.into_iter().map(|at| side[at].0.len()).sum()
        };
        let choices = lines(&left, pairs.left_over()) * lines(&right, pairs.right_over());
        pairs.by_gain(|(a, _), (b, _)| lines::explained(a, b, choices <= CHOICES_MAX));
    } else {
        pairs.by_identity(|(content, _)| {
            each(content, |e| (&e.line_of_business, &e.gl_account, &e.currency))
        });
        pairs.by_identity(|(content, _)| each(content, |e| (&e.currency, e.debit, e.credit)));
        pairs.by_identity(|_| ());
    }
    // The same key is the same transaction, whatever it holds.
    if has_key {
        pairs.by_identity(|_| ());
    }
    let partners = left.iter().zip(&pairs.partner);
    partners.filter_map(|((_, at), to)| Some((*at, right[(*to)?].1))).collect()
}

/// A transaction's lines in the order of their content, and its position.
type Content<'t> = (Vec<&'t Entry>, usize);

/// Returns transactions in the order of their content, so that the order in which they were booked decides nothing.
fn contents<'t>(transactions: &'t [Transaction], positions: &[usize]) -> Vec<Content<'t>> {
    let content = |at: &usize| (sorted(&transactions[*at].entries), *at);
    let mut contents: Vec<Content<'t>> = positions.iter().map(content).collect();
    contents.sort();
    contents
}

fn each<'t, K: Ord>(content: &[&'t Entry], of: impl Fn(&'t Entry) -> K) -> Vec<K> {
    let mut keys: Vec<K> = content.iter().copied().map(of).collect();
    keys.sort();
    keys
}

#[cfg(test)]
mod tests;
