//! The rule about changes that were declared and are not in the build.

use super::{Finding, one};
use crate::score::Case;
use crate::verdict::Rule;

/// Whoever declared a change says that the build has it; where it does not appear, another build was replayed, or another range.
pub(super) fn absent(case: &Case<'_>) -> Vec<Finding> {
    if case.evidence.failure.is_some() || case.compared() == 0 {
        return Vec::new();
    }
    let changes = &case.policy.expected.changes;
    let absent = case.totals.expected.iter().filter_map(|appeared| {
        let change = changes.get(appeared.change)?;
        appeared.is_absent(change).then_some((appeared, change))
    });
    let mut findings: Vec<Finding> = absent
        .flat_map(|(appeared, change)| {
            let declared = change.document();
            let reporting = &case.policy.rates.reporting_currency;
            let currency = declared.currency.as_deref().unwrap_or(reporting);
            let found = format!(
                "the expected change {} ({} in {}) did not appear: {} {currency} was found, at least {} was declared by {}",
                declared.ticket,
                declared.kind.replace('_', " "),
                declared.place(),
                appeared.text(),
                declared.minimum,
                declared.owner,
            );
            one(
                Rule::ExpectedChangeAbsent,
                found,
                "check that this build holds the change and that the range reaches it, or take it out of the file of expected changes",
            )
        })
        .collect();
    // What to do is the same for all, and said once.
    findings.iter_mut().skip(1).for_each(|finding| finding.advice.clear());
    findings
}
