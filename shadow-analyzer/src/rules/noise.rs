//! The rules about what the replay itself, or the candidate by itself, makes different.

use super::{CELL_REASONS_MAX, Finding, named, one, per_cell};
use crate::score::Case;
use crate::verdict::Rule;

/// Where production's own build, replayed, is beyond the threshold, a candidate within it proves nothing.
pub(super) fn control_differs(case: &Case<'_>) -> Vec<Finding> {
    let beyond = case.gated().filter(|cell| cell.control_beyond.is_some());
    let mut findings = per_cell(Rule::ControlDiffers, beyond, |cell| {
        let difference = cell.control_beyond.as_deref().unwrap_or_default();
        let found = format!(
            "{}: the control, which is production's own build, differs from production by {}, beyond the threshold",
            named(cell),
            case.money(difference)
        );
        (found, "find what makes the replay differ (time, randomness, stored state), remove it and replay again".into())
    });
    let asked = case.evidence.control && case.evidence.failure.is_none() && case.compared() > 0;
    if asked && case.totals.control.replayed == 0 {
        findings.extend(one(
            Rule::ControlDiffers,
            "a control was asked for, and no exchange was replayed against it",
            "check that it runs production's build, and replay again",
        ));
    }
    findings
}

/// Upstreams of its own answer the candidate as they like; only a control that was answered by them alike shows that it does not matter.
pub(super) fn own_upstreams(case: &Case<'_>) -> Vec<Finding> {
    if !case.evidence.own_upstreams || case.evidence.control || case.evidence.failure.is_some() {
        return Vec::new();
    }
    one(
        Rule::OwnUpstreams,
        "the candidate called upstreams of its own, so that a difference may be theirs, and there was no control",
        "replay with --control, or record the upstream calls and set [replay] upstreams = \"recorded\"",
    )
}

/// What the run itself found that speaks against judging it.
pub(super) fn doubts(case: &Case<'_>) -> Vec<Finding> {
    let Some(tally) = &case.evidence.tally else { return Vec::new() };
    let shown = tally.doubts.iter().take(CELL_REASONS_MAX);
    let advice = "find the cause, remove it and replay the range again";
    let mut findings: Vec<Finding> =
        shown.flat_map(|doubt| one(Rule::Doubt, doubt.as_str(), advice)).collect();
    if tally.doubts.len() > CELL_REASONS_MAX {
        let more = tally.doubts.len() - CELL_REASONS_MAX;
        findings.extend(one(Rule::Doubt, format!("there are {more} further doubts"), advice));
    }
    // What to do is the same for all, and said once.
    findings.iter_mut().skip(1).for_each(|finding| finding.advice.clear());
    findings
}
