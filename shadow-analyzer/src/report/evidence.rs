//! On what the verdict rests: the exchanges that passed, by stratum, and the time that was recorded.

use crate::number::{count, counted};
use crate::report::text::{Text, instant, more};
use crate::verdict::{Start, Stratum, Stretch, TimeCoverage, TimeGap, Verdict};

/// Rows of one table; the verdict has more.
const ROWS_MAX: usize = 40;

/// The section.
pub(super) struct Evidence {
    pub(super) strata: Vec<StratumRow>,
    pub(super) strata_more: u64,
    /// Absent where no recorder was there, and in verdicts that do not tell.
    pub(super) time: Option<Time>,
}

/// A stratum with its counts.
pub(super) struct StratumRow {
    pub(super) name: Text,
    pub(super) complete: bool,
    /// Observed, outside the range, recorded twice, left out, dropped; dashes where the verdict does not tell.
    pub(super) passed: [String; 5],
    /// Recorded in the range, matched, different, filtered, errored, unverified.
    pub(super) outcomes: [String; 6],
}

/// The time that was recorded.
pub(super) struct Time {
    pub(super) summary: Text,
    pub(super) gaps: Vec<GapRow>,
    pub(super) gaps_more: u64,
    pub(super) starts: Vec<StartRow>,
    pub(super) starts_more: u64,
}

/// A gap.
pub(super) struct GapRow {
    pub(super) instance: Text,
    pub(super) cause: Text,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) seconds: Text,
}

/// A start of a recorder.
pub(super) struct StartRow {
    pub(super) instance: Text,
    pub(super) build: Text,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) seconds: Text,
    pub(super) covered: Text,
}

impl Evidence {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let strata = &verdict.completeness.strata;
        let time = &verdict.time;
        Self {
            strata: strata.iter().take(ROWS_MAX).map(stratum).collect(),
            strata_more: more(strata.len(), ROWS_MAX),
            time: (!time.starts.is_empty()).then(|| Time::of(time)),
        }
    }
}

fn stratum(of: &Stratum) -> StratumRow {
    let passed = of.passed.as_ref().map(|passed| {
        let dropped = passed.dropped.values().sum();
        [passed.observed, passed.outside, passed.repeated, passed.sampled_out, dropped].map(count)
    });
    let outcomes = &of.exchanges;
    let outcomes = [
        outcomes.recorded,
        outcomes.matched,
        outcomes.different,
        outcomes.filtered,
        outcomes.errored,
        outcomes.unverified,
    ];
    StratumRow {
        name: Text::name(&of.name),
        complete: of.complete,
        passed: passed.unwrap_or_else(|| [(); 5].map(|()| "–".to_owned())),
        outcomes: outcomes.map(count),
    }
}

impl Time {
    fn of(time: &TimeCoverage) -> Self {
        Self {
            summary: summary(time),
            gaps: time.gaps.iter().take(ROWS_MAX).map(gap).collect(),
            gaps_more: more(time.gaps.len(), ROWS_MAX) + time.gaps_left_out,
            starts: time.starts.iter().take(ROWS_MAX).map(start).collect(),
            starts_more: more(time.starts.len(), ROWS_MAX) + time.starts_left_out,
        }
    }
}

fn summary(time: &TimeCoverage) -> Text {
    let share = time.share.as_deref().unwrap_or("0.00");
    Text::sentence(&format!(
        "{} of {} instance-seconds are covered, {share} of 1, from {}.",
        time.covered_seconds,
        time.instance_seconds,
        counted(time.instances, "instance", "instances"),
    ))
}

fn gap(of: &TimeGap) -> GapRow {
    let Stretch { from, to, seconds } = &of.time;
    GapRow {
        instance: Text::name(&of.instance),
        cause: Text::name(match &*of.cause {
            "crashed" => "ended without a clean stop",
            "unsealed" => "not sealed yet",
            "missing" => "segments are missing from the store",
            other => other,
        }),
        from: instant(*from),
        to: instant(*to),
        seconds: Text::name(seconds),
    }
}

fn start(of: &Start) -> StartRow {
    let Stretch { from, to, seconds } = &of.time;
    StartRow {
        instance: Text::name(&of.instance),
        build: Text::name(&of.build),
        from: instant(*from),
        to: instant(*to),
        seconds: Text::name(seconds),
        covered: Text::name(&of.covered_seconds),
    }
}
