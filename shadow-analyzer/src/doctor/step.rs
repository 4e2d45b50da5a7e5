//! From what was found to a step with its next action. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use shadow_recorder::manifest::Manifest;
use shadow_recorder::segment::Calls;

use super::{Step, some};
use crate::map::Summary;
use crate::number::{count, counted, exchanges};
use crate::policy::Policy;
use crate::verdict::{Decision, Verdict};

/// A recorder seals a segment at least every minute, unless it is told otherwise: what is older has most likely ended.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

pub(super) const CONFIGURATION: &str = "configuration";
pub(super) const STORE: &str = "store";
pub(super) const RUN_STORE: &str = "run store";
const RECORDER: &str = "recorder";
const UPSTREAM_CALLS: &str = "upstream calls";
const MAPPING: &str = "ledger mapping";
const THRESHOLDS: &str = "thresholds";
const RATES: &str = "exchange rates";
pub(super) const STUB: &str = "stub";
pub(super) const OWN_BUILD: &str = "production's own build";

/// Returns whether the recorder is in the path: it answers, or its newest segment is fresh. `asked` is its admin address with what came
/// of asking it.
pub(super) fn recorder(
    asked: Option<(&str, Result<(), &str>)>,
    manifests: &[Manifest],
    now: Timestamp,
) -> Step {
    let mut newest: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for manifest in manifests {
        let newest = newest.entry(&manifest.instance).or_insert(manifest.sealed_at);
        *newest = manifest.sealed_at.max(*newest);
    }
    let age = newest.values().max().map(|sealed| now.duration_since(*sealed));
    let names: Vec<String> = newest.keys().map(|name| (*name).to_owned()).collect();
    let sealed = match age {
        Some(age) => format!(
            "{} ({}), the newest segment was sealed {} ago",
            counted(names.len() as u64, "instance", "instances"),
            some(&names),
            length(age)
        ),
        None => "no segment was sealed in the last day".to_owned(),
    };
    let answer = match asked {
        Some((address, Ok(()))) => format!("it answers at {address}; "),
        Some((address, Err(what))) => format!("it does not answer at {address} ({what}); "),
        None => String::new(),
    };
    let found = format!("{answer}{sealed}");
    if matches!(asked, Some((_, Ok(())))) || age.is_some_and(|age| age <= FRESH) {
        return Step::fine(RECORDER, found);
    }
    Step::act(
        RECORDER,
        found,
        "start shadow-recorder beside the service, let clients connect to [recorder] listen, and send traffic",
    )
}

/// Returns which share of the service's upstream calls is known to belong to an exchange. `ambient`: some upstream may be called outside of
/// exchanges.
pub(super) fn upstream_calls(manifests: &[Manifest], ambient: bool) -> Step {
    let mut calls = Calls::default();
    for manifest in manifests {
        calls.add(&manifest.calls);
    }
    let Calls { attributed, ambiguous, unattributed, late, .. } = calls;
    let all = attributed + ambiguous + unattributed + late;
    if all == 0 {
        return Step::fine(UPSTREAM_CALLS, "none was recorded in the last day");
    }
    let found = format!(
        "{} of {} attributed to an exchange; ambiguous {}, unattributed {}, late {}",
        count(attributed),
        counted(all, "call", "calls"),
        count(ambiguous),
        count(unattributed),
        count(late)
    );
    if ambiguous > 0 {
        let next = "let the service pass `tracestate` on (OpenTelemetry does), or name a value that both requests have as [recorder] business_key";
        return Step::act(UPSTREAM_CALLS, found, next);
    }
    if late > 0 {
        return Step::act(
            UPSTREAM_CALLS,
            found,
            "raise [recorder] linger to how long after its answer the service still calls",
        );
    }
    if unattributed > 0 && !ambient {
        let next = "let the service pass `traceparent` on; where the calls are made outside of requests (token, timer, cache), set `ambient_age_max` on their [[upstream]]";
        return Step::act(UPSTREAM_CALLS, found, next);
    }
    Step::fine(UPSTREAM_CALLS, found)
}

/// Returns how the traffic of the last hour reads under the ledger mapping.
pub(super) fn mapping(traffic: Result<&Summary, &str>) -> Step {
    let summary = match traffic {
        Ok(summary) if summary.exchanges() > 0 => summary,
        Ok(_) => {
            return Step::act(
                MAPPING,
                "no exchange was recorded in the last hour",
                "send traffic through the recorder and wait until it has sealed (a minute)",
            );
        }
        Err(what) => return Step::act(MAPPING, what, "remove the cause and ask again"),
    };
    let counts = summary.counts();
    let found = format!(
        "{} of the last hour: {} booked, {} booked nothing, {} failed, {} unmapped, {} unparseable, {} broken off",
        exchanges(summary.exchanges()),
        count(counts.mapped),
        count(counts.empty),
        count(counts.failed),
        count(counts.unmapped),
        count(counts.unparseable),
        count(counts.broken_off)
    );
    match summary.mend_mapping() {
        Some(next) => {
            Step::act(MAPPING, found, format!("{next}; `shadow-analyzer map` shows them"))
        }
        None => Step::fine(MAPPING, found),
    }
}

/// Returns whether each gated dimension, and each of its cells in the traffic, has a threshold; and each currency a rate.
pub(super) fn policy(policy: Option<&Policy>, summary: &Summary) -> [Step; 2] {
    let Some(policy) = policy else {
        let missing = || "section [certify] is missing";
        return [
            Step::act(
                THRESHOLDS,
                missing(),
                "write [certify] with reporting_currency, and `net` in [certify.thresholds.line_of_business], …gl_account and …line_of_business_gl_account",
            ),
            Step::act(
                RATES,
                missing(),
                "write reporting_currency in [certify], and [certify.rates]",
            ),
        ];
    };
    let bare = policy.dimensions.iter().find(|(_, of)| of.gate && of.are_missing());
    let thresholds = match (bare, summary.set_thresholds(policy)) {
        (Some((dimension, _)), _) => Step::act(
            THRESHOLDS,
            format!("no {} has a threshold", dimension.title()),
            format!(
                "set `net` in [certify.thresholds.{}], or `gate = false` there",
                dimension.word()
            ),
        ),
        (None, Some(next)) => Step::act(THRESHOLDS, "a cell that is judged has none", next),
        (None, None) => {
            Step::fine(THRESHOLDS, "every gated dimension has one, and every cell of the last hour")
        }
    };
    let reporting = &policy.rates.reporting_currency;
    let rates = match summary.set_rates(policy) {
        Some(next) => Step::act(
            RATES,
            format!("a currency of the last hour has no rate to {reporting}"),
            next,
        ),
        None => {
            Step::fine(RATES, format!("every currency of the last hour has one to {reporting}"))
        }
    };
    [thresholds, rates]
}

/// Returns whether production's own build is certified by its own recording.
pub(super) fn own_build(verdict: &Verdict, report: &str) -> Step {
    let score =
        if verdict.decided { format!("score {}", verdict.confidence) } else { "no score".into() };
    let found = format!(
        "{}, {score}, {} compared: {}",
        verdict.verdict.word(),
        exchanges(
            verdict.exchanges.matched + verdict.exchanges.different + verdict.exchanges.errored
        ),
        verdict.why
    );
    if verdict.verdict == Decision::Certified && verdict.confidence == 100 {
        return Step::fine(OWN_BUILD, found);
    }
    Step::act(OWN_BUILD, found, format!("{} See {report}", verdict.next))
}

/// Says how production's own build is tried.
pub(super) fn own_build_not_tried(file: &Path) -> Step {
    Step::not_tried(
        OWN_BUILD,
        format!(
            "start production's build beside its stub and give its address: shadow-analyzer --config {} doctor --candidate http://HOST:PORT; it must be certified with 100",
            file.display()
        ),
    )
}

/// Writes a length of time in its largest unit.
fn length(of: SignedDuration) -> String {
    match of.as_secs() {
        seconds if seconds < 120 => format!("{} s", seconds.max(0)),
        seconds if seconds < 7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", of.as_hours()),
    }
}
