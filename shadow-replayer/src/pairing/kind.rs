//! How two lines explain each other: the kind of their difference, and how much money it leaves to be explained. Pure.

use shadow_recorder::amount::Amount;
use shadow_recorder::ledger::Entry;

use crate::difference::bounded;
use crate::journal::{FieldChange, Kind};

/// What one unit of money counts for against the likeness of two lines, which only decides between equal explanations.
const MONEY: i128 = 1 << 20;
/// The likeness of lines that are equal: above that of all others.
const LIKENESS_MAX: i128 = 128;
/// Characters shown of a value.
const VALUE_CHARS_MAX: usize = 80;

/// Returns the kind of difference between two lines that are not equal; none where they do not explain each other.
pub(super) fn kind(primary: &Entry, shadow: &Entry) -> Option<Kind> {
    let (a, b) = (primary, shadow);
    let is_same_place = is_same_account(a, b);
    if a.currency != b.currency {
        return is_same_place.then_some(Kind::CurrencyChanged);
    }
    let (debit, credit) = changes(a, b);
    Some(match (is_same_place, debit == 0 && credit == 0) {
        (true, true) if a.accounting_date != b.accounting_date => Kind::PeriodChanged,
        (true, true) if a.entity != b.entity => Kind::EntityChanged,
        (true, true) => Kind::FieldChanged,
        (true, false) if debit == credit => Kind::ReversalStyle,
        (_, false) if is_other_side(a, b) => Kind::Reclassified,
        (true, false) => Kind::AmountChanged,
        (false, true) => Kind::Reclassified,
        (false, false) => return None,
    })
}

/// Returns what it gains to take a line for the counterpart of another: the money that then needs no explanation, and, where that is
/// equal, how alike they are. Zero where they do not explain each other.
pub(super) fn gain(primary: &Entry, shadow: &Entry) -> i128 {
    let money = size(primary) + size(shadow);
    if primary == shadow {
        return money * MONEY + LIKENESS_MAX;
    }
    let Some(kind) = kind(primary, shadow) else { return 0 };
    let (debit, credit) = changes(primary, shadow);
    let unexplained = match kind {
        // The money of two currencies is not comparable: alone it explains nothing.
        Kind::CurrencyChanged => money,
        // What moves, moves once.
        Kind::Reclassified => size(primary),
        Kind::ReversalStyle => debit.abs(),
        Kind::AmountChanged => debit.abs() + credit.abs(),
        _ => 0,
    };
    (money - unexplained) * MONEY + likeness(primary, shadow)
}

/// Returns how alike two lines are, from 1.
fn likeness(a: &Entry, b: &Entry) -> i128 {
    let is_same_money = a.debit == b.debit && a.credit == b.credit;
    let weighed = [
        (is_same_money, 32),
        (a.gl_account == b.gl_account, 16),
        (a.line_of_business == b.line_of_business, 16),
        (a.accounting_date == b.accounting_date, 8),
        (a.entity == b.entity, 8),
        (a.dimensions == b.dimensions, 4),
        (a.fields == b.fields, 2),
    ];
    1 + weighed.into_iter().filter(|(is_same, _)| *is_same).map(|(_, weight)| weight).sum::<i128>()
}

/// Returns the money of a line, whatever its side and sign.
fn size(entry: &Entry) -> i128 {
    entry.debit.units().abs() + entry.credit.units().abs()
}

/// Returns by how much debit and credit changed.
pub(super) fn changes(primary: &Entry, shadow: &Entry) -> (i128, i128) {
    let change = |before: Amount, after: Amount| after.units() - before.units();
    (change(primary.debit, shadow.debit), change(primary.credit, shadow.credit))
}

fn is_same_account(a: &Entry, b: &Entry) -> bool {
    a.line_of_business == b.line_of_business && a.gl_account == b.gl_account
}

fn is_other_side(a: &Entry, b: &Entry) -> bool {
    a.debit == b.credit && a.credit == b.debit
}

/// Returns what differs beside line of business, account and money.
pub(super) fn changed(primary: &Entry, shadow: &Entry) -> Option<FieldChange> {
    let value = |entry: &Entry, name: &str| {
        entry.dimensions.get(name).or_else(|| entry.fields.get(name)).cloned()
    };
    let mut values = vec![
        ("accounting_date", primary.accounting_date.clone(), shadow.accounting_date.clone()),
        ("entity", primary.entity.clone(), shadow.entity.clone()),
    ];
    let mut names: Vec<&String> = [primary, shadow]
        .into_iter()
        .flat_map(|entry| entry.dimensions.keys().chain(entry.fields.keys()))
        .collect();
    names.sort();
    names.dedup();
    values
        .extend(names.into_iter().map(|name| (&**name, value(primary, name), value(shadow, name))));
    values.retain(|(_, before, after)| before != after);
    let shown = |value: &Option<String>| match value {
        Some(text) => format!("'{}'", bounded(text, VALUE_CHARS_MAX)),
        None => "absent".into(),
    };
    let names: Vec<&str> = values.iter().map(|(name, ..)| *name).collect();
    let texts: Vec<String> = values
        .iter()
        .map(|(name, before, after)| format!("{name}: {} → {}", shown(before), shown(after)))
        .collect();
    (!names.is_empty()).then(|| FieldChange { field: names.join(", "), change: texts.join(", ") })
}

#[cfg(test)]
mod tests;
