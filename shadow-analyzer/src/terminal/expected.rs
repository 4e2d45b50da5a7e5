//! What the terminal says of expected changes.

use std::fmt::Write;

use super::line;
use crate::money::people;
use crate::number::counted;
use crate::verdict::{ChangeState, ExpectedChange, Verdict};
use shadow_recorder::table::plain;

/// Changes shown; the report has more.
const CHANGES_MAX: usize = 6;

/// Returns the lines, none where nothing was declared.
pub(crate) fn lines(verdict: &Verdict) -> String {
    if verdict.expected.is_empty() {
        return String::new();
    }
    let declared = counted(verdict.expected.len() as u64, "expected change", "expected changes");
    let mut text = format!("\n  {declared}:\n");
    // What did not come as declared is what a reader has to deal with.
    let mut changes: Vec<&ExpectedChange> = verdict.expected.iter().collect();
    changes.sort_by_key(|change| change.state == ChangeState::Appeared);
    for change in changes.into_iter().take(CHANGES_MAX) {
        let _ = writeln!(text, "    {}", line(&described(change, &verdict.reporting_currency)));
    }
    text
}

fn described(change: &ExpectedChange, reporting_currency: &str) -> String {
    let declared = &change.declared;
    let currency = declared.currency.as_deref().unwrap_or(reporting_currency);
    let place = declared.place().replace('→', "->");
    let what = format!(
        "{} {} {} in {}",
        change.state.word(),
        plain(&declared.ticket),
        declared.kind.replace('_', " "),
        plain(&place)
    );
    match change.state {
        ChangeState::Expired => {
            format!("{what}: {} was its last day, it applied to nothing", declared.expires)
        }
        ChangeState::Appeared | ChangeState::Absent => format!(
            "{what}: {} of at most {} not judged{}",
            people(&change.money, ""),
            people(&declared.maximum, currency),
            if change.exhausted { ", the rest is" } else { "" }
        ),
    }
}
