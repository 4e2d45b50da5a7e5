//! The rule about accounts that nobody opened.

use super::{CELL_REASONS_MAX, Finding, again, one};
use crate::number::counted;
use crate::score::Case;
use crate::verdict::{CellName, DimensionName, OutsidePlace, Rule};

/// Where production books there too, it is the chart that is behind; that is shown, and judged as any cell.
pub(super) fn outside_chart(case: &Case<'_>) -> Vec<Finding> {
    let places = case.outside_chart.iter().flat_map(|outside| &outside.places);
    let new: Vec<&OutsidePlace> = places.filter(|place| place.is_new()).collect();
    let of = |place: &OutsidePlace| Finding {
        rule: Rule::OutsideChart,
        found: format!(
            "line of business {}: the candidate booked {} under GL account {}, which the chart does not know and production did not use",
            place.line_of_business,
            counted(place.entries_shadow, "line", "lines"),
            place.gl_account
        ),
        advice: String::new(),
        cell: Some(CellName {
            dimension: DimensionName::LineOfBusinessGlAccount,
            value: vec![place.line_of_business.clone(), place.gl_account.clone()],
        }),
    };
    let mut findings: Vec<Finding> =
        new.iter().take(CELL_REASONS_MAX).map(|place| of(place)).collect();
    if new.len() > CELL_REASONS_MAX {
        let more = new.len() - CELL_REASONS_MAX;
        findings.extend(one(
            Rule::OutsideChart,
            format!("the same is true of {more} further accounts"),
            "see `outside_chart` in verdict.json",
        ));
    }
    if let Some(first) = findings.first_mut() {
        first.advice = format!(
            "correct the account in the build, or add it to the file of [certify] chart and {}",
            again(case)
        );
    }
    findings
}
