//! The rules about thresholds: a difference that was observed refuses, one that is only projected decides nothing.

use super::{Finding, again, named, per_cell};
use crate::cell::JudgedCell;
use crate::number;
use crate::score::Case;
use crate::verdict::{Cell, Judged, Rule};

/// The net or the gross difference of a cell.
type Kind = fn(&Cell) -> Option<&Judged>;

pub(super) fn net_beyond_threshold(case: &Case<'_>) -> Vec<Finding> {
    let observed = |judged: &Judged| !judged.is_projected_breach();
    beyond(case, Rule::NetBeyondThreshold, "net", |cell| cell.net.as_ref(), observed)
}

pub(super) fn gross_beyond_threshold(case: &Case<'_>) -> Vec<Finding> {
    let observed = |judged: &Judged| !judged.is_projected_breach();
    beyond(case, Rule::GrossBeyondThreshold, "gross", |cell| cell.gross.as_ref(), observed)
}

/// What was observed is within the threshold; what it stands for is not, and how far that may be off is not known.
pub(super) fn projection_beyond_threshold(case: &Case<'_>) -> Vec<Finding> {
    let kinds: [(&str, Kind); 2] =
        [("net", |cell| cell.net.as_ref()), ("gross", |cell| cell.gross.as_ref())];
    let rule = Rule::ProjectionBeyondThreshold;
    let of = |(kind, judged)| beyond(case, rule, kind, judged, Judged::is_projected_breach);
    kinds.into_iter().flat_map(of).collect()
}

/// The gated cells with such a breach.
fn beyond(
    case: &Case<'_>,
    rule: Rule,
    kind: &str,
    judged: Kind,
    such: impl Fn(&Judged) -> bool,
) -> Vec<Finding> {
    let breached = |cell: &&JudgedCell| {
        judged(&cell.shown).is_some_and(|judged| judged.breached && such(judged))
    };
    per_cell(rule, case.gated().filter(breached), |cell| {
        let judged = judged(&cell.shown).expect("a breach is judged");
        let undeclared = cell.shown.new && !cell.shown.declared;
        let limit = match &judged.threshold {
            _ if undeclared => {
                "production booked nothing under it in the range, so it is allowed none".to_owned()
            }
            Some(threshold) => format!("its threshold is {}", case.money(threshold)),
            None => String::new(),
        };
        let found = format!("{}: {}; {limit}", named(cell), difference(case, kind, cell, judged));
        let intended = if undeclared {
            "declare the value with its threshold"
        } else {
            "give the cell its own threshold"
        };
        let advice = format!(
            "compare the differing exchanges in the report; if the change is intended, {intended} in [[certify.threshold]] and {}",
            again(case)
        );
        (found, advice)
    })
}

/// Says how large a difference is, on which day, and what of it was observed.
fn difference(case: &Case<'_>, kind: &str, cell: &JudgedCell, judged: &Judged) -> String {
    let day = judged.day.map_or(String::new(), |day| format!(" of {day}"));
    let measure = judged.worst.word();
    let projected = case.money(judged.difference());
    let Some(observed) = &judged.observed else {
        return format!("the {kind} {measure} difference{day} is {projected}");
    };
    let observed = case.money(observed.of(judged.worst));
    format!(
        "the {kind} {measure} difference{day} is {observed} as observed in {} of the sample and {projected} as projected to all traffic",
        number::exchanges(cell.shown.exchanges_differing)
    )
}
