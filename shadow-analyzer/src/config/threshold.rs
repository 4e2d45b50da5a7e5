//! `[certify.thresholds.…]` and `[[certify.threshold]]`: what the cells of a dimension may differ by.

use std::collections::{BTreeMap, BTreeSet};

use shadow_recorder::amount::Amount;
use shadow_recorder::config::Table;

use crate::policy::{CellThreshold, Net, Per, Share, Threshold, Thresholds};
use crate::verdict::DimensionName;

const KEYS: [&str; 5] = ["net", "share", "floor", "gross", "per"];

/// Takes the thresholds of every dimension: the standard ones, and those of the mapping (`None`: unknown).
pub(super) fn take(
    table: &mut Table<'_, '_>,
    mapped: Option<&BTreeSet<DimensionName>>,
) -> BTreeMap<DimensionName, Thresholds> {
    let names: Vec<DimensionName> =
        DimensionName::STANDARD.into_iter().chain(mapped.into_iter().flatten().copied()).collect();
    let empty = || Thresholds { gate: true, default: None, cells: BTreeMap::new() };
    let mut dimensions: BTreeMap<_, _> = DimensionName::STANDARD.map(|name| (name, empty())).into();
    if let Some(mut thresholds) = table.table("thresholds") {
        for name in &names {
            if let Some(table) = thresholds.table(name.word()) {
                dimensions.insert(*name, of_dimension(table, *name));
            }
        }
        // What a mapping that cannot be read would have named is no mistake of its own.
        if mapped.is_some() {
            not_mapped(&mut thresholds);
            thresholds.finish(&names.iter().map(|name| name.word()).collect::<Vec<_>>());
        }
    }
    for cell in table.tables("threshold") {
        single_cell(cell, &names, mapped.is_some(), &mut dimensions);
    }
    dimensions
}

fn of_dimension(mut table: Table<'_, '_>, name: DimensionName) -> Thresholds {
    let gate = table.flag("gate").unwrap_or(true);
    let asked = KEYS.iter().any(|key| table.has(key));
    let default = threshold(&mut table);
    // It would be shown only, and look as if it were judged.
    if gate && !asked && !name.is_standard() {
        table.mistake("`net` or `share` is missing, or `gate = false`");
    }
    table.finish(&[&KEYS[..], &["gate"]].concat());
    Thresholds { gate, default, cells: BTreeMap::new() }
}

/// Says of the dimensions with a field of their own in the mapping how to get them.
fn not_mapped(thresholds: &mut Table<'_, '_>) {
    for name in [DimensionName::AccountingPeriod, DimensionName::Entity] {
        if let Some(table) = thresholds.table(name.word()) {
            table.mistake(&format!("no [[ledger]] maps `{}`", name.column()));
        }
    }
}

fn single_cell(
    mut table: Table<'_, '_>,
    names: &[DimensionName],
    all_known: bool,
    dimensions: &mut BTreeMap<DimensionName, Thresholds>,
) {
    if !table.has("dimension") {
        table.missing("dimension");
    }
    let dimension = table.parsed("dimension", |word| {
        let known = names.iter().copied().find(|name| name.word() == word);
        match known {
            Some(name) => Ok(name),
            None if !all_known => DimensionName::named(word),
            None => {
                let words: Vec<_> = names.iter().map(|name| name.word()).collect();
                Err(format!("`{word}` is not a dimension: write one of {}", words.join(", ")))
            }
        }
    });
    let declared = table.flag("declared").unwrap_or(false);
    let asked_for_a_limit = KEYS.iter().any(|key| table.has(key));
    let threshold = threshold(&mut table);
    if !asked_for_a_limit {
        table.missing("net");
    }
    let value = dimension.and_then(|dimension| value(&mut table, dimension));
    if let (Some(dimension), Some(threshold), Some(value)) = (dimension, threshold, value) {
        let further = || Thresholds { gate: true, default: None, cells: BTreeMap::new() };
        let cells = &mut dimensions.entry(dimension).or_insert_with(further).cells;
        if cells.insert(value.clone(), CellThreshold { threshold, declared }).is_some() {
            table.mistake(&format!(
                "{} {} already has a threshold",
                dimension.title(),
                value.join(" / ")
            ));
        }
    }
    let keys = dimension.map_or(&[][..], value_keys);
    table.finish(&[&KEYS[..], &["dimension", "declared"], keys].concat());
}

fn value_keys(dimension: DimensionName) -> &'static [&'static str] {
    match dimension {
        DimensionName::LineOfBusinessGlAccount => &["line_of_business", "gl_account"],
        _ => &["value"],
    }
}

fn value(table: &mut Table<'_, '_>, dimension: DimensionName) -> Option<Vec<String>> {
    let parts: Vec<_> = value_keys(dimension)
        .iter()
        .map(|key| table.required(key).map(|text| text.value))
        .collect();
    parts.into_iter().collect()
}

fn threshold(table: &mut Table<'_, '_>) -> Option<Threshold> {
    let net = limit(table, "net");
    let share = table.parsed("share", Share::parse);
    let has_floor = table.has("floor");
    let floor = limit(table, "floor");
    let gross = limit(table, "gross");
    let has_per = table.has("per");
    let per = table.parsed("per", Per::parse).unwrap_or_default();
    if net.is_some() && (share.is_some() || has_floor) {
        table.mistake("write either `net`, or `share` with `floor`");
        return None;
    }
    let net = match (net, share) {
        (Some(amount), _) => Net::Fixed(amount),
        (None, Some(share)) => Net::Share { share, floor: floor.unwrap_or(Amount::ZERO) },
        (None, None) => {
            if has_floor || has_per || gross.is_some() {
                table.mistake("`net` or `share` is missing");
            }
            return None;
        }
    };
    Some(Threshold { net, gross, per })
}

fn limit(table: &mut Table<'_, '_>, key: &str) -> Option<Amount> {
    let amount = table.amount(key)?;
    if amount.is_negative() {
        table.mistake(&format!("`{key}` is below zero: a threshold is an absolute difference"));
        return None;
    }
    Some(amount)
}
