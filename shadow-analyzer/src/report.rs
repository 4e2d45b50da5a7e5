//! The report of a run: one HTML file, drawn from the verdict and from nothing else.
//!
//! Invariants:
//! - it loads nothing and runs nothing: no script, no font, no picture from elsewhere, so that it opens from an e-mail;
//! - every amount is a `<data value>` with the verdict's own text, beside the same digits set for reading; no digit is dropped;
//! - whatever a name holds, it is shown as text: escaped by the templates, its unseen characters made visible, isolated by `<bdi>`;
//! - nothing is said by colour alone;
//! - its size is bounded whatever the run was, and it says what was left out and where that is.

mod expected;
mod history;
mod text;
mod bar;
mod head;
mod uncovered;
mod cells;
mod chart;
mod heat;
mod exchange;
mod structure;
mod evidence;
mod ledger;
mod coverage;
mod supplied;
mod policy;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use askama::Template;

use crate::verdict::{Dimension, DimensionName, Verdict};

/// The page. Its parts are laid out in `templates/report/`.
#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    format: text::Text,
    version: u32,
    reporting_currency: text::Text,
    before: history::Before,
    expected: expected::Expected,
    head: head::Head,
    uncovered: Vec<uncovered::Item>,
    tables: Vec<cells::CellTable>,
    /// Whether a row over all currencies is shown, which then needs its explanation.
    has_converted: bool,
    map: Option<heat::HeatMap>,
    both: Option<cells::CellTable>,
    outside_chart: Option<chart::Outside>,
    exchanges: exchange::Exchanges,
    structure: structure::Structural,
    evidence: evidence::Evidence,
    ledger: ledger::Ledger,
    coverage: coverage::Scenarios,
    supplied: Option<supplied::Supplied>,
    not_compared: policy::NotCompared,
    running: policy::Running,
    policy: policy::Policy,
}

/// Returns the report of a verdict as one self-contained HTML document.
pub fn render(verdict: &Verdict) -> Result<String, askama::Error> {
    let table = |dimension| cells::CellTable::of(dimension, &verdict.reporting_currency);
    let both = verdict.dimension(DimensionName::LineOfBusinessGlAccount);
    // That of both is drawn as a map, with its table folded away.
    let alone = |dimension: &&Dimension| dimension.name != DimensionName::LineOfBusinessGlAccount;
    let tables: Vec<_> = verdict.dimensions.iter().filter(alone).map(table).collect();
    let page = Page {
        format: text::Text::name(&verdict.format),
        version: verdict.version,
        reporting_currency: text::Text::name(&verdict.reporting_currency),
        before: history::Before::of(verdict),
        expected: expected::Expected::of(verdict),
        head: head::Head::of(verdict),
        uncovered: uncovered::items(verdict),
        has_converted: tables.iter().any(cells::CellTable::has_converted),
        tables,
        map: both.and_then(heat::HeatMap::of),
        both: both.map(table),
        outside_chart: chart::Outside::of(verdict),
        exchanges: exchange::Exchanges::of(&verdict.differing, &verdict.kinds),
        structure: structure::Structural::of(&verdict.structure),
        evidence: evidence::Evidence::of(verdict),
        ledger: ledger::Ledger::of(&verdict.ledger),
        coverage: coverage::Scenarios::of(&verdict.coverage),
        supplied: verdict.supplied.as_ref().map(supplied::Supplied::of),
        not_compared: policy::NotCompared::of(&verdict.not_compared),
        running: policy::Running::of(verdict),
        policy: policy::Policy::of(verdict),
    };
    page.render()
}
