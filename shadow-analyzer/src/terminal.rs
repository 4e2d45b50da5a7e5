//! What `certify` prints: about twenty lines, drawn from the verdict.

use std::fmt::Write;

pub(crate) mod expected;
mod history;

use crate::certify::Certified;
use crate::money::people;
use crate::number;
use crate::verdict::{
    Cell, Decision, Dimension, DimensionName, Judged, KindCount, OutcomeReason, OutsidePlace,
    Verdict,
};
use shadow_recorder::table::{Align, plain, table};
use shadow_replayer::filter::NOT_DRAWN;
use shadow_replayer::supplied::Side;

/// Cells shown; the report has all.
const CELLS_MAX: usize = 6;
/// Kinds of difference shown; the report has more.
const KINDS_MAX: usize = 4;
/// Reasons shown beside the first; the report has all.
const REASONS_MAX: usize = 4;

/// Returns the text. `color`: standard output is a terminal.
pub fn render(certified: &Certified, color: bool) -> String {
    let verdict = &certified.verdict;
    let score = if verdict.decided {
        format!("score {} of 100", verdict.confidence)
    } else {
        "no score".into()
    };
    let unnamed = if verdict.supplied.is_some() { "(build not named)" } else { "none" };
    let primary = verdict.primary_build.as_deref().unwrap_or(unnamed);
    let mut text =
        format!("{}  {score}  ({})\n\n", headline(verdict.verdict, color), verdict.basis.text);
    let _ = writeln!(
        text,
        "  {} {} against production {}, {} to {}",
        plain(&verdict.service),
        plain(&verdict.candidate.build),
        plain(primary),
        verdict.from,
        verdict.to
    );
    let _ = write!(text, "  {}\n  why: {}\n", verdict.completeness.text, line(&verdict.why));
    for reason in verdict.reasons.iter().skip(1).take(REASONS_MAX) {
        let _ = writeln!(text, "  also {}: {}", reason.effect.word(), line(&reason.text));
    }
    if verdict.reasons.len() > REASONS_MAX + 1 {
        let _ = writeln!(text, "  and {} further reasons", verdict.reasons.len() - REASONS_MAX - 1);
    }
    text.push_str(&cells(verdict));
    text.push_str(&expected::lines(verdict));
    text.push_str(&history::lines(verdict));
    let _ = write!(text, "\n  not examined: {}\n", not_examined(verdict));
    text.push_str(&kinds(verdict));
    text.push_str(&time(verdict));
    text.push_str(&outside_chart(verdict));
    if let Some(replay) = &verdict.replay {
        let _ = writeln!(text, "  {}", line(&replay.isolation));
    }
    if let Some(supplied) = &verdict.supplied {
        let rows = |side| {
            let of_side = supplied.files.iter().filter(|file| file.side == side);
            let (files, rows) =
                of_side.fold((0, 0), |(files, rows), file| (files + 1, rows + file.rows));
            let files = number::counted(files, "file", "files");
            format!("{} of {files}", number::counted(rows, "row", "rows"))
        };
        let (primary, shadow) = (rows(Side::Primary), rows(Side::Shadow));
        let _ = writeln!(text, "  supplied: {primary} by production, {shadow} by the candidate");
    }
    let _ = write!(text, "  report:  {}\n  verdict: {}\n", certified.report, certified.document);
    let _ = writeln!(text, "  next: {}", line(&verdict.next));
    text
}

/// Returns a line on the kinds of difference, those in most exchanges first, and one on what does not balance, where there is any.
fn kinds(verdict: &Verdict) -> String {
    let one = |of: &KindCount| {
        let beside = of.field.as_deref().map(|field| format!(" ({field})")).unwrap_or_default();
        let kind = of.kind.replace('_', " ");
        line(&format!("{kind}{beside} in {}", number::exchanges(of.exchanges)))
    };
    let shown: Vec<String> = verdict.kinds.lines.iter().take(KINDS_MAX).map(one).collect();
    let mut text = String::new();
    if !shown.is_empty() {
        let _ = writeln!(text, "  differences: {}", shown.join(", "));
    }
    let unbalanced = &verdict.kinds.unbalanced;
    if unbalanced.primary + unbalanced.shadow > 0 {
        let transactions = |count| number::counted(count, "transaction", "transactions");
        let (primary, shadow) = (transactions(unbalanced.primary), transactions(unbalanced.shadow));
        let _ = writeln!(text, "  unbalanced: {primary} of production, {shadow} of the candidate");
    }
    text
}

fn headline(decision: Decision, color: bool) -> String {
    let word = decision.word().to_uppercase();
    if !color {
        return word;
    }
    let code = match decision {
        Decision::Certified => 32,
        Decision::Refused => 31,
        Decision::Inconclusive => 33,
    };
    format!("\u{1b}[1;{code}m{word}\u{1b}[0m")
}

/// Keeps a sentence that quotes recordings on one line and off the terminal's controls.
fn line(text: &str) -> String {
    // The one sign of our own sentences that not every terminal has.
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().replace('×', "x")
}

/// What recorders left uncovered, where they did.
fn time(verdict: &Verdict) -> String {
    let time = &verdict.time;
    let mut text = String::new();
    if let Some(longest) = time.gaps.first() {
        let gaps = number::counted(time.gaps.len() as u64 + time.gaps_left_out, "gap", "gaps");
        let _ = writeln!(
            text,
            "  recorded: {} of {} instance-seconds; {gaps}, the longest of instance {}, {} s from {}",
            time.covered_seconds,
            time.instance_seconds,
            plain(&longest.instance),
            longest.time.seconds,
            longest.time.from
        );
    }
    if let Some(first) = time.unrecorded.first() {
        let more = time.unrecorded.len() as u64 + time.unrecorded_left_out - 1;
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let _ = writeln!(text, "  no recorder was there from {} to {}{more}", first.from, first.to);
    }
    text
}

fn cells(verdict: &Verdict) -> String {
    let currency = &verdict.reporting_currency;
    let gated = verdict.dimensions.iter().filter(|dimension| dimension.gated);
    let mut worst: Vec<(&Dimension, &Cell)> = gated
        .flat_map(|dimension| dimension.cells.iter().map(move |cell| (dimension, cell)))
        .collect();
    // Each dimension is in this order already; a stable sort merges them. A cell that could not be judged comes before one at 100.
    worst.sort_by_key(|(_, cell)| {
        (cell.confidence.unwrap_or(99), u8::from(cell.exchanges_differing == 0))
    });
    let rows: Vec<Vec<String>> =
        worst.iter().take(CELLS_MAX).map(|(dimension, cell)| row(dimension, cell)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = [
        ("DIMENSION", Align::Left),
        ("CELL", Align::Left),
        ("NET", Align::Right),
        ("THRESHOLD", Align::Right),
        ("GROSS", Align::Right),
        ("THRESHOLD", Align::Right),
        ("SCORE", Align::Right),
    ];
    let shown = rows.len();
    format!(
        "\n  the worst {shown} of {} cells, in {currency}:\n{}",
        worst.len(),
        table(&columns, &rows)
    )
}

fn row(dimension: &Dimension, cell: &Cell) -> Vec<String> {
    let none = || "-".to_owned();
    let amount = |text: Option<&str>| text.map_or_else(none, |text| people(text, ""));
    let (net, gross) = (cell.net.as_ref(), cell.gross.as_ref());
    vec![
        dimension.name.word().into(),
        match net.and_then(|net| net.day) {
            Some(day) => format!("{} ({day})", cell.value.join(" / ")),
            None => cell.value.join(" / "),
        },
        amount(net.map(Judged::difference)),
        amount(net.and_then(|net| net.threshold.as_deref())),
        amount(gross.map(Judged::difference)),
        amount(gross.and_then(|gross| gross.threshold.as_deref())),
        cell.confidence.map_or_else(none, |confidence| confidence.to_string()),
    ]
}

/// The first few accounts that the chart does not know.
fn outside_chart(verdict: &Verdict) -> String {
    let Some(outside) = verdict.outside_chart.as_ref().filter(|of| !of.places.is_empty()) else {
        return String::new();
    };
    let name = |place: &OutsidePlace| {
        let whose = if place.is_new() { "the candidate alone" } else { "production too" };
        let name = format!("{} / {}", place.line_of_business, place.gl_account);
        format!("{} ({whose})", plain(&name))
    };
    let mut names: Vec<String> = outside.places.iter().take(CELLS_MAX).map(name).collect();
    let more = outside.places.len() as u64 + outside.left_out - names.len() as u64;
    if more > 0 {
        names.push(format!("{more} more"));
    }
    format!("  outside of the chart: {}\n", names.join(", "))
}

fn not_examined(verdict: &Verdict) -> String {
    let counts = &verdict.exchanges;
    // For these others stand.
    let not_drawn = |reason: &&OutcomeReason| reason.reason == NOT_DRAWN;
    let estimated: u64 = verdict.not_compared.iter().filter(not_drawn).map(|of| of.count).sum();
    let exchanges = (counts.filtered + counts.unverified).saturating_sub(estimated);
    if exchanges == 0 {
        return "nothing".into();
    }
    let left_out =
        |reason: &&OutcomeReason| reason.outcome != "errored" && reason.reason != NOT_DRAWN;
    let most = verdict.not_compared.iter().find(left_out);
    let most = most.map_or(String::new(), |most| format!("; most often: {}", line(&most.reason)));
    format!("{}{}{most}", number::exchanges(exchanges), money_not_examined(verdict))
}

/// The money that was not examined, for the first few lines of business that have any.
fn money_not_examined(verdict: &Verdict) -> String {
    let cells = verdict
        .dimension(DimensionName::LineOfBusiness)
        .map_or(&[][..], |dimension| &dimension.cells);
    let money = |cell: &Cell| {
        let money = cell.not_examined.as_deref().unwrap_or("unknown");
        (money != "0.00")
            .then(|| format!("{} {}", plain(&cell.value.join(" / ")), people(money, "")))
    };
    let mut shown: Vec<String> = cells.iter().filter_map(money).collect();
    let more = shown.len().saturating_sub(CELLS_MAX);
    shown.truncate(CELLS_MAX);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    if shown.is_empty() {
        String::new()
    } else {
        format!(", {} of {}", verdict.reporting_currency, shown.join(", "))
    }
}

#[cfg(test)]
mod tests;
