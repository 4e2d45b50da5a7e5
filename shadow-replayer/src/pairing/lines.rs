//! The lines of two transactions: what is equal, and what explains what differs by the least money. Pure.

use std::collections::BTreeMap;

use shadow_recorder::ledger::Entry;

use super::kind::{changed, changes, gain, kind};
use super::pairs::Pairs;
use crate::journal::{FieldChange, Kind, Source};

/// A line of either side, or of both.
pub(super) struct Line<'t> {
    pub(super) source: Source,
    pub(super) entry: &'t Entry,
    pub(super) kind: Option<Kind>,
    pub(super) changed: Option<FieldChange>,
}

/// A line's place: its balance there is what a reversal leaves unchanged.
type Place<'t> = (
    &'t str,
    &'t str,
    &'t str,
    &'t Option<String>,
    &'t Option<String>,
    &'t BTreeMap<String, String>,
);

fn place(entry: &Entry) -> Place<'_> {
    let Entry { line_of_business, gl_account, currency, accounting_date, entity, .. } = entry;
    (line_of_business, gl_account, currency, accounting_date, entity, &entry.dimensions)
}

/// Returns the lines of one side as they are.
pub(super) fn alone(entries: &[Entry], source: Source, kind: Kind) -> Vec<Line<'_>> {
    let line = |entry| Line { source, entry, kind: Some(kind), changed: None };
    sorted(entries).into_iter().map(line).collect()
}

/// Splits two transactions' lines into what is equal and what differs, with its kind.
pub(super) fn compared<'t>(primary: &'t [Entry], shadow: &'t [Entry]) -> Vec<Line<'t>> {
    let (left, right) = (sorted(primary), sorted(shadow));
    let both = |entry| Line { source: Source::Both, entry, kind: None, changed: None };
    // Most transactions are the same.
    if left == right {
        return left.into_iter().map(both).collect();
    }
    let pairs = pairs(&left, &right, Pairs::is_small);
    let reversed = Reversed::of(&left, &right, &pairs);
    let (mut equal, mut differing) = (Vec::new(), Vec::new());
    for (entry, partner) in left.iter().copied().zip(&pairs.partner) {
        match partner.map(|to| right[to]) {
            None => differing.push(one(Source::Primary, entry, reversed.or(entry, Kind::Missing))),
            Some(other) if other == entry => equal.push(both(entry)),
            Some(other) => {
                let found = kind(entry, other);
                let kind = match found {
                    Some(Kind::AmountChanged) if place(entry) == place(other) => {
                        Some(reversed.or(entry, Kind::AmountChanged))
                    }
                    found => found,
                };
                let changed = changed(entry, other);
                for (source, entry) in [(Source::Primary, entry), (Source::Shadow, other)] {
                    differing.push(Line { source, entry, kind, changed: changed.clone() });
                }
            }
        }
    }
    let extra = pairs.right_over().into_iter().map(|at| right[at]);
    differing
        .extend(extra.map(|entry| one(Source::Shadow, entry, reversed.or(entry, Kind::Extra))));
    equal.extend(differing);
    equal
}

/// Returns what it gains to take a transaction for the counterpart of another: the gains of their lines.
pub(super) fn explained(left: &[&Entry], right: &[&Entry], exactly: bool) -> i128 {
    let pairs = pairs(left, right, |_| exactly);
    let gains = left.iter().zip(&pairs.partner).filter_map(|(a, to)| Some(gain(a, right[(*to)?])));
    gains.fold(0, i128::saturating_add)
}

fn one(source: Source, entry: &Entry, kind: Kind) -> Line<'_> {
    Line { source, entry, kind: Some(kind), changed: None }
}

pub(super) fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    entries.sort();
    entries
}

/// Pairs lines: equal ones first, then so that the difference is explained by the least money.
///
/// Where there are too many for that, by fixed rules of about the same cost: the same money in the same place, the same money in
/// another place or on the other side, another amount in the same place, another currency there; within each rule in order of amount.
fn pairs<'p, 't>(
    left: &'p [&'t Entry],
    right: &'p [&'t Entry],
    exactly: impl Fn(&Pairs<'p, &'t Entry>) -> bool,
) -> Pairs<'p, &'t Entry> {
    let mut pairs = Pairs::new(left, right);
    pairs.by_identity(|entry| *entry);
    if exactly(&pairs) {
        pairs.by_gain(|a, b| gain(a, b));
        return pairs;
    }
    let account = |entry: &'t Entry| (&*entry.line_of_business, &*entry.gl_account);
    let money = |entry: &'t Entry| (&*entry.currency, entry.debit, entry.credit);
    pairs.by_identity(|e| (account(e), money(e), &e.accounting_date, &e.entity));
    pairs.by_identity(|e| (account(e), money(e)));
    pairs.by_identity(|e| (&e.currency, e.debit.min(e.credit), e.debit.max(e.credit)));
    pairs.by_identity(|e| (account(e), &e.currency));
    pairs.by_identity(|e| account(e));
    pairs
}

/// The places of two transactions where debit and credit changed equally, by lines that are no counterparts of equal money.
struct Reversed<'t>(BTreeMap<Place<'t>, (i128, i128)>);

impl<'t> Reversed<'t> {
    fn of(left: &[&'t Entry], right: &[&'t Entry], pairs: &Pairs<'_, &'t Entry>) -> Self {
        let mut sums: BTreeMap<Place<'t>, (i128, i128)> = BTreeMap::new();
        let mut add = |entry: &'t Entry, (debit, credit): (i128, i128)| {
            let sum = sums.entry(place(entry)).or_default();
            *sum = (sum.0 + debit, sum.1 + credit);
        };
        let nothing = Entry::default();
        for (entry, partner) in left.iter().zip(&pairs.partner) {
            match partner.map(|to| right[to]) {
                None => add(entry, changes(entry, &nothing)),
                Some(other)
                    if kind(entry, other) == Some(Kind::AmountChanged)
                        && place(entry) == place(other) =>
                {
                    add(entry, changes(entry, other));
                }
                Some(_) => {}
            }
        }
        for at in pairs.right_over() {
            add(right[at], changes(&nothing, right[at]));
        }
        sums.retain(|_, (debit, credit)| debit == credit && *debit != 0);
        Self(sums)
    }

    /// Returns the kind of a line that is otherwise of this kind.
    fn or(&self, entry: &Entry, kind: Kind) -> Kind {
        if self.0.contains_key(&place(entry)) { Kind::ReversalStyle } else { kind }
    }
}
