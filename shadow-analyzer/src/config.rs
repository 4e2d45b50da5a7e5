//! `[certify]`: what decides over a build.
//!
//! ```toml
//! [certify]
//! reporting_currency = "USD"         # required: the currency of every threshold
//! min_exchanges = 100                # fewer compared exchanges are inconclusive
//! min_range = "0s"                   # a shorter range is inconclusive; by default `min_exchanges` alone says what is enough
//! candidate_errors_max = 0           # more failures where production succeeded refuse the build
//! money_unknown_max = 0              # more exchanges of which not even production's money could be read are inconclusive
//! [certify.rates]                    # the value of one unit in the reporting currency
//! EUR = "1.0842"
//! [certify.thresholds.line_of_business]               # likewise gl_account and line_of_business_gl_account
//! net = 1000                         # or: share = "0.001" with floor = 100 (default 0)
//! gross = 5000                       # default: five times the net threshold
//! gate = true                        # false: shown, never judged
//! [[certify.threshold]]              # one cell
//! dimension = "line_of_business"     # value = …; for line_of_business_gl_account: line_of_business = …, gl_account = …
//! value = "scooters"
//! net = 50
//! declared = true                    # default false: a value that production never booked has threshold 0
//! ```
//!
//! A threshold that is missing is no mistake here: it makes verdicts inconclusive, which says how to set it.

use std::collections::BTreeMap;
use std::time::Duration;

use shadow_recorder::amount::Amount;
use shadow_recorder::config::{Document, Table};

use crate::money::{Rate, Rates};
use crate::policy::{CellThreshold, Net, Policy, Share, Threshold, Thresholds};
use crate::verdict::DimensionName;

/// What the analyzer is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The sections of a replay: service, store, mapping, run store.
    pub replay: shadow_replayer::config::Config,
    /// `[certify]`.
    pub policy: Policy,
}

impl Config {
    /// Takes every section that certifying needs; mistakes are collected in the document.
    pub fn take(document: &Document<'_>) -> Option<Self> {
        let replay = shadow_replayer::config::Config::take(document);
        let policy = take(document);
        Some(Self { replay: replay?, policy: policy? })
    }
}

/// The default of `min_exchanges`.
pub const MIN_EXCHANGES: u64 = 100;
/// The default of `money_unknown_max`.
pub const MONEY_UNKNOWN_MAX: u64 = 0;
/// The default of `candidate_errors_max`.
pub const CANDIDATE_ERRORS_MAX: u64 = 0;

const THRESHOLD_KEYS: [&str; 4] = ["net", "share", "floor", "gross"];

/// Takes `[certify]`; mistakes are collected in the document.
pub fn take(document: &Document<'_>) -> Option<Policy> {
    let mut table = document.section("certify");
    let currency = table.required("reporting_currency");
    if let Some(currency) = &currency
        && !is_currency(&currency.value)
    {
        table.mistake_at(
            currency,
            &format!("`{}` is not an ISO 4217 code, for example USD", currency.value),
        );
    }
    let reporting_currency = currency.map(|currency| currency.value);
    let rates = rates(&mut table, reporting_currency.as_deref());
    let mut dimensions = dimensions(&mut table);
    for cell in table.tables("threshold") {
        single_cell(cell, &mut dimensions);
    }
    let policy = Policy {
        rates: Rates {
            reporting_currency: reporting_currency.clone().unwrap_or_default(),
            values: rates,
        },
        min_exchanges: table.integer("min_exchanges", 1).unwrap_or(MIN_EXCHANGES),
        min_range: table.duration("min_range").unwrap_or(Duration::ZERO),
        candidate_errors_max: table
            .integer("candidate_errors_max", 0)
            .unwrap_or(CANDIDATE_ERRORS_MAX),
        money_unknown_max: table.integer("money_unknown_max", 0).unwrap_or(MONEY_UNKNOWN_MAX),
        dimensions,
    };
    table.finish(&[
        "reporting_currency",
        "min_exchanges",
        "min_range",
        "candidate_errors_max",
        "money_unknown_max",
        "rates",
        "thresholds",
        "threshold",
    ]);
    reporting_currency.map(|_| policy)
}

/// Takes `[certify]` where it is written, for a program that needs none yet.
pub fn take_if_present(document: &Document<'_>) -> Option<Policy> {
    (document.canonical("certify") != "null").then(|| take(document)).flatten()
}

fn is_currency(code: &str) -> bool {
    iso_currency::Currency::from_code(code).is_some()
}

fn rates(table: &mut Table<'_, '_>, reporting: Option<&str>) -> BTreeMap<String, Rate> {
    let mut rates = BTreeMap::new();
    for (currency, text) in table.text_map("rates").unwrap_or_default() {
        if !is_currency(&currency) {
            table.mistake_at(&text, &format!("rates: `{currency}` is not an ISO 4217 code"));
            continue;
        }
        match Rate::parse(&text.value) {
            Ok(rate) if Some(&*currency) == reporting => {
                // A second truth about the reporting currency would contradict the thresholds.
                if crate::money::decimal(&rate.text) != Some(crate::money::whole(1)) {
                    table.mistake_at(
                        &text,
                        &format!("rates: {currency} is the reporting currency, its rate is 1"),
                    );
                }
            }
            Ok(rate) => {
                rates.insert(currency, rate);
            }
            Err(what) => table.mistake_at(&text, &format!("rates: {currency}: {what}")),
        }
    }
    rates
}

fn dimensions(table: &mut Table<'_, '_>) -> BTreeMap<DimensionName, Thresholds> {
    let empty = || Thresholds { gate: true, default: None, cells: BTreeMap::new() };
    let mut dimensions: BTreeMap<_, _> = DimensionName::ALL.map(|name| (name, empty())).into();
    let Some(mut thresholds) = table.table("thresholds") else { return dimensions };
    for (name, dimension) in &mut dimensions {
        let Some(mut table) = thresholds.table(name.word()) else { continue };
        dimension.gate = table.flag("gate").unwrap_or(true);
        dimension.default = threshold(&mut table);
        table.finish(&[&THRESHOLD_KEYS[..], &["gate"]].concat());
    }
    thresholds.finish(&DimensionName::ALL.map(DimensionName::word));
    dimensions
}

fn single_cell(mut table: Table<'_, '_>, dimensions: &mut BTreeMap<DimensionName, Thresholds>) {
    if !table.has("dimension") {
        table.missing("dimension");
    }
    let dimension = table.parsed("dimension", parse_dimension);
    let declared = table.flag("declared").unwrap_or(false);
    let asked_for_a_limit = THRESHOLD_KEYS.iter().any(|key| table.has(key));
    let threshold = threshold(&mut table);
    if !asked_for_a_limit {
        table.missing("net");
    }
    let value = dimension.and_then(|dimension| value(&mut table, dimension));
    if let (Some(dimension), Some(threshold), Some(value)) = (dimension, threshold, value) {
        let cells = dimensions.get_mut(&dimension).map(|dimension| &mut dimension.cells);
        if cells
            .and_then(|cells| cells.insert(value.clone(), CellThreshold { threshold, declared }))
            .is_some()
        {
            table.mistake(&format!(
                "{} {} already has a threshold",
                dimension.title(),
                value.join(" / ")
            ));
        }
    }
    let keys = dimension.map_or(&[][..], value_keys);
    table.finish(&[&THRESHOLD_KEYS[..], &["dimension", "declared"], keys].concat());
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

fn parse_dimension(text: &str) -> Result<DimensionName, String> {
    DimensionName::ALL.into_iter().find(|name| name.word() == text).ok_or_else(|| {
        let words = DimensionName::ALL.map(DimensionName::word).join(", ");
        format!("`{text}` is not a dimension: write one of {words}")
    })
}

fn threshold(table: &mut Table<'_, '_>) -> Option<Threshold> {
    let net = limit(table, "net");
    let share = table.parsed("share", Share::parse);
    let has_floor = table.has("floor");
    let floor = limit(table, "floor");
    let gross = limit(table, "gross");
    if net.is_some() && (share.is_some() || has_floor) {
        table.mistake("write either `net`, or `share` with `floor`");
        return None;
    }
    let net = match (net, share) {
        (Some(amount), _) => Net::Fixed(amount),
        (None, Some(share)) => Net::Share { share, floor: floor.unwrap_or(Amount::ZERO) },
        (None, None) => {
            if has_floor || gross.is_some() {
                table.mistake("`net` or `share` is missing");
            }
            return None;
        }
    };
    Some(Threshold { net, gross })
}

fn limit(table: &mut Table<'_, '_>, key: &str) -> Option<Amount> {
    let amount = table.amount(key)?;
    if amount.is_negative() {
        table.mistake(&format!("`{key}` is below zero: a threshold is an absolute difference"));
        return None;
    }
    Some(amount)
}

#[cfg(test)]
mod tests;
