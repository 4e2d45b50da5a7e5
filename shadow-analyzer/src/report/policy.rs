//! What the verdict rests on beside data: thresholds, rates, limits and digests; and how the candidate ran.

use crate::number::{count, counted};
use crate::report::text::{Figure, Text, length, milliseconds, more};
use crate::verdict::{OutcomeReason, Percentiles, ThresholdPolicy, Verdict};

/// Thresholds of single cells that are shown.
const THRESHOLDS_MAX: usize = 40;
/// Rates that are shown. There are about 180 currencies.
const RATES_MAX: usize = 60;
/// Reasons that are shown.
const REASONS_MAX: usize = 40;

/// The policy.
pub(super) struct Policy {
    pub(super) sha256: Text,
    pub(super) mapping_sha256: Text,
    pub(super) min_exchanges: String,
    pub(super) min_range: String,
    pub(super) candidate_errors_max: String,
    pub(super) money_unknown_max: String,
    /// Absent in documents of before there was one.
    pub(super) accounting_period: Option<Text>,
    /// Absent where a sample certifies nothing.
    pub(super) assurance: Option<Text>,
    /// Where the rates come from beside the configuration.
    pub(super) rates_file: Option<RatesFile>,
    pub(super) chart_sha256: Option<Text>,
    pub(super) thresholds: Vec<Threshold>,
    pub(super) thresholds_more: u64,
    /// Currency, rate, and the date that it is of where a file gave it.
    pub(super) rates: Vec<(Text, Figure, Option<String>)>,
    pub(super) rates_more: u64,
}

/// A file of rates by date.
pub(super) struct RatesFile {
    pub(super) sha256: Text,
    /// The last UTC day of the range.
    pub(super) day: String,
    pub(super) age_max: String,
}

/// A threshold as configured.
pub(super) struct Threshold {
    pub(super) dimension: &'static str,
    pub(super) gate: bool,
    /// Absent on the default of a dimension.
    pub(super) cell: Option<Text>,
    pub(super) declared: bool,
    /// Absent where none is configured.
    pub(super) set: Option<Set>,
}

/// The parts of a threshold.
pub(super) struct Set {
    pub(super) net: Option<Figure>,
    pub(super) share: Option<Text>,
    pub(super) floor: Option<Figure>,
    pub(super) gross: Option<Figure>,
    /// Whether each UTC day is judged by itself.
    pub(super) per_day: bool,
}

impl Policy {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let policy = &verdict.policy;
        let mut all = Vec::new();
        let mut total = 0;
        for of in &policy.thresholds {
            let line = |cell, declared, set| Threshold {
                dimension: of.dimension.title(),
                gate: of.gate,
                cell,
                declared,
                set,
            };
            all.push(line(None, false, of.default.as_ref().map(set)));
            let cells = of.cells.iter().take(THRESHOLDS_MAX);
            all.extend(cells.map(|cell| {
                line(Some(Text::names(&cell.value)), cell.declared, Some(set(&cell.threshold)))
            }));
            total += 1 + of.cells.len();
        }
        all.truncate(THRESHOLDS_MAX);
        Self {
            sha256: Text::name(&policy.sha256),
            mapping_sha256: Text::name(&policy.mapping_sha256),
            min_exchanges: counted(policy.min_exchanges, "exchange", "exchanges"),
            min_range: length(policy.min_range_seconds),
            candidate_errors_max: count(policy.candidate_errors_max),
            money_unknown_max: count(policy.money_unknown_max),
            accounting_period: Some(&*policy.accounting_period)
                .filter(|word| !word.is_empty())
                .map(Text::name),
            assurance: policy.assurance.as_deref().map(Text::name),
            rates_file: policy.rates_file.as_ref().map(|file| RatesFile {
                sha256: Text::name(&file.sha256),
                day: file.day.map(|day| day.to_string()).unwrap_or_default(),
                age_max: length(file.age_max_seconds),
            }),
            chart_sha256: policy.chart_sha256.as_deref().map(Text::name),
            thresholds_more: more(total, all.len()),
            thresholds: all,
            rates: verdict
                .rates
                .iter()
                .take(RATES_MAX)
                .map(|(currency, rate)| {
                    let dates = policy.rates_file.as_ref().map(|file| &file.dates);
                    let date = dates.and_then(|dates| dates.get(currency));
                    (Text::name(currency), Figure::amount(rate), date.map(ToString::to_string))
                })
                .collect(),
            rates_more: more(verdict.rates.len(), RATES_MAX),
        }
    }
}

fn set(threshold: &ThresholdPolicy) -> Set {
    let amount = |text: &Option<String>| text.as_deref().map(Figure::amount);
    Set {
        net: amount(&threshold.net),
        share: threshold.share.as_deref().map(Text::name),
        floor: amount(&threshold.floor),
        gross: amount(&threshold.gross),
        per_day: threshold.per.as_deref() == Some("day"),
    }
}

/// Why exchanges were filtered, errored or unverified.
pub(super) struct NotCompared {
    pub(super) reasons: Vec<Why>,
    pub(super) more: u64,
}

/// One reason.
pub(super) struct Why {
    pub(super) outcome: Text,
    pub(super) reason: Text,
    pub(super) blame: Option<Text>,
    pub(super) count: String,
    pub(super) example: Text,
}

impl NotCompared {
    pub(super) fn of(reasons: &[OutcomeReason]) -> Self {
        let why = |reason: &OutcomeReason| Why {
            outcome: Text::name(&reason.outcome),
            reason: Text::sentence(&reason.reason),
            blame: reason.blame.as_deref().map(Text::name),
            count: count(reason.count),
            example: Text::name(&reason.example),
        };
        let shown: Vec<_> = reasons.iter().take(REASONS_MAX).map(why).collect();
        Self { more: more(reasons.len(), shown.len()), reasons: shown }
    }
}

/// How the candidate ran: its upstream calls and its latency.
pub(super) struct Running {
    pub(super) hits: String,
    pub(super) misses: String,
    pub(super) missed: bool,
    pub(super) unused: String,
    /// Name of the percentile, production's, the candidate's; in milliseconds.
    pub(super) latency: Vec<(&'static str, Option<String>, Option<String>)>,
}

impl Running {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let (upstream, latency) = (&verdict.upstream, &verdict.latency);
        let line = |name, of: fn(&Percentiles) -> Option<i64>| {
            (name, of(&latency.primary).map(milliseconds), of(&latency.shadow).map(milliseconds))
        };
        Self {
            hits: count(upstream.hits),
            misses: count(upstream.misses),
            missed: upstream.misses > 0,
            unused: count(upstream.unused),
            latency: vec![
                line("median", |of| of.p50_us),
                line("95 of 100 took at most", |of| of.p95_us),
                line("99 of 100 took at most", |of| of.p99_us),
            ],
        }
    }
}
