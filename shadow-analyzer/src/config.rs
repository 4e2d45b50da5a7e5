//! `[certify]`: what decides over a build.
//!
//! ```toml
//! [certify]
//! reporting_currency = "USD"         # required: the currency of every threshold
//! min_exchanges = 100                # fewer compared exchanges are inconclusive
//! min_range = "0s"                   # a shorter range is inconclusive; by default `min_exchanges` alone says what is enough
//! candidate_errors_max = 0           # more failures where production succeeded refuse the build
//! accounting_period = "month"        # what dimension accounting_period has: the month of a mapped accounting_date, or "date"
//! assurance = "none"                 # default: a sample is inconclusive; "none": it is judged by its projection, without a bound
//! money_unknown_max = 0              # more exchanges of which not even production's money could be read are inconclusive
//! rates_file = "rates.csv"           # default: none; the rates of the range's last day (see `rates_file`)
//! rates_age_max = "7d"               # an older rate of the file is none
//! chart = "chart.csv"                # default: none; the lines of business and GL accounts that there are (see `chart`)
//! expected_changes = "expected.toml" # default: none; differences that are declared (see `expected::config`)
//! [certify.rates]                    # the value of one unit in the reporting currency
//! EUR = "1.0842"
//! [certify.thresholds.line_of_business]               # likewise gl_account, line_of_business_gl_account and mapped dimensions
//! net = 1000                         # or: share = "0.001" with floor = 100 (default 0)
//! gross = 5000                       # default: five times the net threshold
//! per = "run"                        # "day": every UTC day of the range is judged by itself, and the worst one counts
//! gate = true                        # false: shown, never judged
//! [[certify.threshold]]              # one cell
//! dimension = "line_of_business"     # value = …; for line_of_business_gl_account: line_of_business = …, gl_account = …
//! value = "scooters"
//! net = 50
//! declared = true                    # default false: a value that production never booked has threshold 0
//! ```
//!
//! A threshold that is missing is no mistake here: it makes verdicts inconclusive, which says how to set it. The dimensions that a
//! mapping adds (`accounting_period`, `entity` and those of `dimensions`) need none: they are judged where they have one, else shown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shadow_recorder::config::{At, Document, Table};
use shadow_recorder::ledger::{Extract, Mapping, Source};
use shadow_replayer::config::Config as Replay;

use crate::chart::Chart;
use crate::expected;
use crate::money::{Rate, Rates, is_currency};
use crate::policy::{Assurance, Period, Policy};
use crate::rates_file::RatesFile;
use crate::verdict::DimensionName;

mod threshold;

/// What the analyzer is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The sections of a replay: service, store, mapping, run store.
    pub replay: Replay,
    /// `[certify]`.
    pub policy: Policy,
}

impl Config {
    /// Takes every section that certifying needs; mistakes are collected in the document.
    pub fn take(document: &Document<'_>) -> Option<Self> {
        let replay = Replay::take(document);
        let policy = take(document, replay.as_ref());
        Some(Self { replay: replay?, policy: policy? })
    }
}

/// The default of `min_exchanges`.
pub const MIN_EXCHANGES: u64 = 100;
/// The default of `money_unknown_max`.
pub const MONEY_UNKNOWN_MAX: u64 = 0;
/// The default of `rates_age_max`: a long weekend without rates.
pub const RATES_AGE_MAX: Duration = Duration::from_hours(7 * 24);
/// The default of `candidate_errors_max`.
pub const CANDIDATE_ERRORS_MAX: u64 = 0;

/// Takes `[certify]`; mistakes are collected in the document. Without the sections of a replay, which could not be read then, nobody
/// knows which dimensions the mapping adds.
pub fn take(document: &Document<'_>, replay: Option<&Replay>) -> Option<Policy> {
    let mapped = replay.map(|replay| {
        let supplied = replay.supplied.iter().map(|supplied| &supplied.extract);
        dimensions(extracts(&replay.mapping).chain(supplied))
    });
    take_with(document, mapped.as_ref())
}

fn take_with(document: &Document<'_>, mapped: Option<&BTreeSet<DimensionName>>) -> Option<Policy> {
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
    let rates_file = rates_file(&mut table, reporting_currency.as_deref(), &rates);
    let chart = file(&mut table, "chart", Chart::parse).map(|(_, chart)| chart);
    let expected = expected::config::take(&mut table);
    let dimensions = threshold::take(&mut table, mapped);
    let policy = Policy {
        rates: Rates {
            reporting_currency: reporting_currency.clone().unwrap_or_default(),
            values: rates,
            ..Rates::default()
        },
        min_exchanges: table.integer("min_exchanges", 1).unwrap_or(MIN_EXCHANGES),
        min_range: table.duration("min_range").unwrap_or(Duration::ZERO),
        candidate_errors_max: table
            .integer("candidate_errors_max", 0)
            .unwrap_or(CANDIDATE_ERRORS_MAX),
        money_unknown_max: table.integer("money_unknown_max", 0).unwrap_or(MONEY_UNKNOWN_MAX),
        period: table.parsed("accounting_period", Period::parse).unwrap_or_default(),
        assurance: table.parsed("assurance", Assurance::parse),
        rates_file,
        chart,
        expected,
        dimensions,
    };
    table.finish(&[
        "reporting_currency",
        "min_exchanges",
        "min_range",
        "candidate_errors_max",
        "money_unknown_max",
        "accounting_period",
        "assurance",
        "chart",
        "expected_changes",
        "rates_file",
        "rates_age_max",
        "rates",
        "thresholds",
        "threshold",
    ]);
    reporting_currency.map(|_| policy)
}

/// Takes `[certify]` where it is written, for a program that needs none yet.
pub fn take_if_present(document: &Document<'_>, replay: Option<&Replay>) -> Option<Policy> {
    (document.canonical("certify") != "null").then(|| take(document, replay)).flatten()
}

/// Returns how a mapping reads entries.
fn extracts(mapping: &Mapping) -> impl Iterator<Item = &Extract> {
    mapping.rules.iter().filter_map(|rule| match &rule.source {
        Source::Answer(extract) | Source::Sink(_, extract) => Some(extract),
        Source::Nothing => None,
    })
}

/// Returns the dimensions that these add to the standard ones.
fn dimensions<'e>(extracts: impl Iterator<Item = &'e Extract>) -> BTreeSet<DimensionName> {
    let mut names = BTreeSet::new();
    for extract in extracts {
        names.extend(extract.accounting_date.as_ref().map(|_| DimensionName::AccountingPeriod));
        names.extend(extract.entity.as_ref().map(|_| DimensionName::Entity));
        names.extend(extract.dimensions.keys().filter_map(|name| DimensionName::named(name).ok()));
    }
    names
}

/// Takes the rates of a file. A currency has one truth: here or there.
fn rates_file(
    table: &mut Table<'_, '_>,
    reporting: Option<&str>,
    configured: &BTreeMap<String, Rate>,
) -> Option<RatesFile> {
    let has_age = table.has("rates_age_max");
    let age_max = table.duration("rates_age_max").unwrap_or(RATES_AGE_MAX);
    if has_age && !table.has("rates_file") {
        table.mistake("`rates_age_max` is of a `rates_file`, which is missing");
    }
    let reporting = reporting.unwrap_or_default();
    let read = |bytes: &[u8]| RatesFile::parse(bytes, reporting, age_max);
    let (at, file) = file(table, "rates_file", read)?;
    for twice in file.currencies().filter(|currency| configured.contains_key(*currency)) {
        table
            .mistake_at(&at, &format!("{twice} has a rate in `rates_file` and in [certify.rates]"));
    }
    Some(file)
}

/// Takes the content of a file that a key names. All its mistakes are reported.
fn file<T>(
    table: &mut Table<'_, '_>,
    key: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, Vec<String>>,
) -> Option<(At<String>, T)> {
    let at = table.text(key)?;
    let path = table.document().resolve(&at.value);
    let parsed = match std::fs::read(&path) {
        Ok(bytes) => parse(&bytes),
        Err(error) => Err(vec![format!("cannot be read: {error}")]),
    };
    match parsed {
        Ok(parsed) => Some((at, parsed)),
        Err(mistakes) => {
            for what in mistakes {
                table.mistake_at(&at, &format!("`{key}` {}: {what}", path.display()));
            }
            None
        }
    }
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
                if !rate.is_one() {
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

#[cfg(test)]
mod tests;
