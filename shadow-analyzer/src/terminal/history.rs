//! What the terminal says of new differences and of the verdicts before.

use std::fmt::Write;

use super::line;
use crate::number::{count, counted, exchanges};
use crate::verdict::{Earlier, PolicyChange, Signature, Verdict};
use shadow_recorder::table::plain;

/// Classes of difference shown; the report has more.
const CLASSES_MAX: usize = 4;
/// Lines of the policy shown.
const CHANGES_MAX: usize = 4;
/// Earlier verdicts on the build shown.
const EARLIER_MAX: usize = 4;

/// Returns the lines, none where there is nothing to say.
pub(super) fn lines(verdict: &Verdict) -> String {
    let said = [differences(verdict), policy(verdict), same_build(verdict)].concat();
    if said.is_empty() { said } else { format!("\n{said}") }
}

fn differences(verdict: &Verdict) -> String {
    let signatures = &verdict.signatures;
    let all = signatures.shown.len() as u64 + signatures.left_out;
    if all == 0 {
        return String::new();
    }
    let classes = counted(all, "class of difference", "classes of difference");
    let mut text = match &verdict.history.last_certified {
        Some(last) => {
            let new = signatures.shown.iter().filter(|signature| signature.new == Some(true));
            format!("  {classes}, {} new since {}\n", count(new.count() as u64), named(last))
        }
        None => format!("  {classes}; no run of the service was certified before\n"),
    };
    for signature in signatures.shown.iter().take(CLASSES_MAX) {
        let _ = writeln!(text, "    {}", line(&class(signature)));
    }
    text
}

fn class(signature: &Signature) -> String {
    let state = match signature.new {
        Some(true) => "NEW    ",
        Some(false) => "known  ",
        None => "",
    };
    let first = signature.first.as_ref().filter(|_| signature.new == Some(false));
    let since = first.map_or(String::new(), |first| {
        format!(", since run {} of build {}", first.run_id, plain(&first.build))
    });
    format!(
        "{state}{} {}: {}, {}{since}",
        signature.kind.replace('_', " "),
        plain(&signature.place()),
        signature.direction.replace('_', " "),
        exchanges(signature.exchanges)
    )
}

fn policy(verdict: &Verdict) -> String {
    let history = &verdict.history;
    let all = history.policy_changes.len() as u64 + history.policy_changes_left_out;
    let Some(last) = history.last_certified.as_ref().filter(|_| all > 0) else {
        return String::new();
    };
    let mut text = format!(
        "  the policy changed in {} since {}\n",
        counted(all, "line", "lines"),
        named(last)
    );
    for change in history.policy_changes.iter().take(CHANGES_MAX) {
        let PolicyChange { line: place, before, after } = change;
        let of = |side: &Option<String>| plain(side.as_deref().unwrap_or("none"));
        let _ = writeln!(text, "    {}: {} -> {}", plain(place), of(before), of(after));
    }
    text
}

fn same_build(verdict: &Verdict) -> String {
    let history = &verdict.history;
    let all = history.same_build.len() as u64 + history.same_build_left_out;
    if all == 0 {
        return String::new();
    }
    let shown = history.same_build.iter().take(EARLIER_MAX);
    let shown: Vec<String> = shown
        .map(|earlier| format!("{} by run {}", earlier.verdict.word(), earlier.run_id))
        .collect();
    format!(
        "  this build was judged {} before: {}{}\n",
        counted(all, "time", "times"),
        shown.join(", "),
        if all > EARLIER_MAX as u64 { ", ..." } else { "" }
    )
}

fn named(earlier: &Earlier) -> String {
    format!("run {} of build {}", earlier.run_id, plain(&earlier.build))
}
