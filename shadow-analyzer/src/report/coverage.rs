//! Which of production's scenarios were compared.

use crate::number::{count, counted};
use crate::report::text::{Figure, Text, more};
use crate::verdict::{Coverage, Scenario};

/// Scenarios that the page shows of each list; the verdict has more.
const ROWS_MAX: usize = 30;

/// The section.
pub(super) struct Scenarios {
    /// Absent where no money of production was read.
    pub(super) summary: Option<Text>,
    pub(super) lists: Vec<List>,
}

/// Scenarios that were not reached, or that were.
pub(super) struct List {
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
    pub(super) more: u64,
}

/// A scenario.
pub(super) struct Row {
    pub(super) line_of_business: Text,
    pub(super) gl_account: Text,
    pub(super) route: Text,
    /// Compared, and all.
    pub(super) exchanges: [String; 2],
    /// Compared, and all; absent where a rate is missing.
    pub(super) money: [Option<Figure>; 2],
}

impl Scenarios {
    pub(super) fn of(coverage: &Coverage) -> Self {
        let missed = coverage.scenarios.saturating_sub(coverage.reached);
        let lists = [
            list("scenarios-missed", "Not reached", missed, &coverage.not_reached),
            list("scenarios-reached", "Reached", coverage.reached, &coverage.compared),
        ];
        Self {
            summary: (coverage.scenarios > 0).then(|| summary(coverage)),
            lists: lists.into_iter().filter(|list| !list.rows.is_empty()).collect(),
        }
    }
}

fn summary(coverage: &Coverage) -> Text {
    let share = coverage.money_share.as_deref();
    let money = share.map_or_else(
        || "how much of its money that is, is not known: a rate is missing".to_owned(),
        |share| format!("with {share} of 1 of the money that it booked"),
    );
    Text::sentence(&format!(
        "{} of {} of production compared, {money}.",
        count(coverage.reached),
        counted(coverage.scenarios, "scenario", "scenarios"),
    ))
}

fn list(id: &'static str, title: &str, total: u64, scenarios: &[Scenario]) -> List {
    let rows: Vec<Row> = scenarios.iter().take(ROWS_MAX).map(row).collect();
    let total_more = more(usize::try_from(total).unwrap_or(usize::MAX), rows.len());
    List { id, title: format!("{title}: {}", count(total)), rows, more: total_more }
}

fn row(of: &Scenario) -> Row {
    let figure = |money: &Option<String>| money.as_deref().map(Figure::amount);
    Row {
        line_of_business: Text::name(&of.line_of_business),
        gl_account: Text::name(&of.gl_account),
        route: Text::name(&of.route),
        exchanges: [of.exchanges_compared, of.exchanges].map(count),
        money: [&of.money_compared, &of.money].map(figure),
    }
}
