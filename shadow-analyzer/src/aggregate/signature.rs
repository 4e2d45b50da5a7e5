//! The classes of difference of a run: what differs alike, counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;
use shadow_recorder::amount::format_units;

use super::rows::Rows;
use super::{AggregateError, differing};
use crate::load::Journal;
use crate::totals::{Money, Overflow};
use crate::verdict::{Signature, SignatureMoney, StructuralDifference, Structure};

/// Kind, line of business, GL account and direction.
type Class = [String; 4];

#[derive(Default)]
struct Found {
    exchanges: u64,
    money: BTreeMap<String, Money>,
    example: Option<String>,
}

/// Returns the classes, those that most exchanges show first. Their number is bounded by the cells', not by the exchanges'.
pub(super) fn of(
    journal: &Journal,
    structure: &Structure,
) -> Result<Vec<Signature>, AggregateError> {
    let mut found = BTreeMap::new();
    for shard in 0..journal.shards() {
        add_shard(journal, shard, &mut found)?;
    }
    let mut signatures: Vec<Signature> = found.into_iter().map(ledger).collect();
    signatures.extend(structure.differences.iter().map(structural));
    for signature in &mut signatures {
        signature.sha256 = signature.name();
    }
    // Stable: among equals by what they are.
    signatures.sort_by_key(|signature| Reverse(signature.exchanges));
    Ok(signatures)
}

fn add_shard(
    journal: &Journal,
    shard: usize,
    found: &mut BTreeMap<Class, Found>,
) -> Result<(), AggregateError> {
    const COLUMNS: [&str; 4] = ["kind", "line_of_business", "gl_account", "currency"];
    let frame = differing("classes of difference", journal, shard, COLUMNS.map(col).into())?;
    let rows = Rows::of("classes of difference", &frame);
    let mut at = 0;
    while at < rows.len() {
        let (id, of_exchange) = rows.exchange(at)?;
        at = of_exchange.end;
        let mut places: BTreeMap<[String; 4], Money> = BTreeMap::new();
        for row in of_exchange {
            let mut place = [const { String::new() }; 4];
            for (value, column) in place.iter_mut().zip(COLUMNS) {
                *value = rows.owned(column, row)?;
            }
            let sum = places.entry(place).or_default();
            *sum = rows.added_to(*sum, row)?;
        }
        add_exchange(found, &id, places)?;
    }
    Ok(())
}

fn add_exchange(
    found: &mut BTreeMap<Class, Found>,
    id: &str,
    places: BTreeMap<[String; 4], Money>,
) -> Result<(), Overflow> {
    let mut counted = BTreeSet::new();
    for ([kind, line_of_business, gl_account, currency], money) in places {
        let class = [kind, line_of_business, gl_account, direction(money)];
        let found = found.entry(class.clone()).or_default();
        found.exchanges += u64::from(counted.insert(class));
        let sum = found.money.entry(currency).or_default();
        *sum = sum.plus(money)?;
        // Shards come in any order; ids are in that of time.
        if found.example.as_deref().is_none_or(|example| id < example) {
            found.example = Some(id.into());
        }
    }
    Ok(())
}

/// Says what the candidate does other than production, given its lines less production's.
fn direction(money: Money) -> String {
    let side = |units: i128, side: &str| match units {
        0 => None,
        1.. => Some(format!("more {side}")),
        _ => Some(format!("less {side}")),
    };
    let sides: Vec<String> =
        [side(money.debit, "debit"), side(money.credit, "credit")].into_iter().flatten().collect();
    // As when a line only moved in time.
    if sides.is_empty() { "the same money".into() } else { sides.join(" and ") }
}

fn ledger(([kind, line_of_business, gl_account, direction], found): (Class, Found)) -> Signature {
    let money = found.money.into_iter().map(|(currency, money)| SignatureMoney {
        currency,
        debit: format_units(money.debit),
        credit: format_units(money.credit),
    });
    Signature {
        kind,
        line_of_business: Some(line_of_business),
        gl_account: Some(gl_account),
        direction,
        exchanges: found.exchanges,
        money: money.collect(),
        example: found.example.unwrap_or_default(),
        ..Signature::default()
    }
}

fn structural(difference: &StructuralDifference) -> Signature {
    let StructuralDifference { route, place, path, kind, exchanges, examples } = difference;
    Signature {
        kind: "structure".into(),
        path: Some(format!("{route} {place} {path}").trim_end().to_owned()),
        direction: kind.clone(),
        exchanges: *exchanges,
        example: examples.first().map(|example| example.exchange_id.clone()).unwrap_or_default(),
        ..Signature::default()
    }
}
