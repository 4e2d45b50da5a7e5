//! Differences that were declared before: what came of each, and what they leave of the cells' differences.

use crate::number::count;
use crate::report::text::{Figure, Text, more};
use crate::verdict::{
    Cell, CurrencyMoney, Dimension, ExpectedChange, ExpectedMoney, Sides, Verdict,
};

/// Declarations that the page shows.
const CHANGES_MAX: usize = 40;
/// Differences of cells that it shows.
const CELLS_MAX: usize = 60;

/// The section of expected changes.
pub(super) struct Expected {
    pub(super) changes: Vec<Change>,
    pub(super) changes_more: u64,
    pub(super) cells: Vec<Share>,
    pub(super) cells_more: u64,
}

/// A declared change.
pub(super) struct Change {
    pub(super) state: &'static str,
    pub(super) exhausted: bool,
    pub(super) kind: Text,
    pub(super) place: Text,
    pub(super) sign: Text,
    pub(super) currency: Text,
    pub(super) found: Figure,
    pub(super) minimum: Figure,
    pub(super) maximum: Figure,
    pub(super) exchanges: String,
    pub(super) example: Option<Text>,
    pub(super) reason: Text,
    pub(super) ticket: Text,
    pub(super) owner: Text,
    pub(super) expires: Text,
}

/// What was declared of one difference of a cell.
pub(super) struct Share {
    pub(super) dimension: &'static str,
    pub(super) cell: Text,
    pub(super) side: &'static str,
    pub(super) currency: Text,
    pub(super) difference: Figure,
    pub(super) expected: Figure,
    pub(super) gross: Figure,
    pub(super) expected_gross: Figure,
}

impl Expected {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let change = |change: &ExpectedChange| self::change(change, &verdict.reporting_currency);
        let all: Vec<Share> = verdict.dimensions.iter().flat_map(shares).collect();
        Self {
            changes: verdict.expected.iter().take(CHANGES_MAX).map(change).collect(),
            changes_more: more(verdict.expected.len(), CHANGES_MAX),
            cells_more: more(all.len(), CELLS_MAX),
            cells: all.into_iter().take(CELLS_MAX).collect(),
        }
    }
}

fn change(of: &ExpectedChange, reporting_currency: &str) -> Change {
    let declared = &of.declared;
    Change {
        state: of.state.word(),
        exhausted: of.exhausted,
        kind: Text::name(&declared.kind.replace('_', " ")),
        place: Text::name(&declared.place()),
        sign: Text::name(&declared.sign),
        currency: Text::name(declared.currency.as_deref().unwrap_or(reporting_currency)),
        found: Figure::amount(&of.money),
        minimum: Figure::amount(&declared.minimum),
        maximum: Figure::amount(&declared.maximum),
        exchanges: count(of.exchanges),
        example: of.example.as_deref().map(Text::name),
        reason: Text::sentence(&declared.reason),
        ticket: Text::name(&declared.ticket),
        owner: Text::name(&declared.owner),
        expires: Text::name(&declared.expires),
    }
}

fn shares(dimension: &Dimension) -> Vec<Share> {
    let of = |cell: &Cell| {
        cell.currencies.iter().flat_map(|money| of_cell(dimension, cell, money)).collect::<Vec<_>>()
    };
    dimension.cells.iter().flat_map(of).collect()
}

fn of_cell(dimension: &Dimension, cell: &Cell, money: &CurrencyMoney) -> Vec<Share> {
    let Some(ExpectedMoney { debit, credit, balance, gross }) = &money.expected else {
        return Vec::new();
    };
    let sides: [(&'static str, &Sides, &String, &String); 3] = [
        ("debit", &money.debit, debit, &gross[0]),
        ("credit", &money.credit, credit, &gross[1]),
        ("balance", &money.balance, balance, &gross[2]),
    ];
    let share = |(side, sides, expected, gross): (&'static str, &Sides, &String, &String)| Share {
        dimension: dimension.name.title(),
        cell: Text::names(&cell.value),
        side,
        currency: Text::name(&money.currency),
        difference: Figure::difference(&sides.difference),
        expected: Figure::difference(expected),
        gross: Figure::amount(&sides.gross),
        expected_gross: Figure::difference(gross),
    };
    sides
        .into_iter()
        .map(share)
        .filter(|share| !(share.expected.zero && share.expected_gross.zero))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::report::fixture::refused;
    use crate::report::render;
    use crate::verdict::{
        ChangeState, ExpectedCell, ExpectedChange, ExpectedMoney, ExpectedPolicy,
    };

    #[test]
    fn what_was_declared_by_whom_and_what_came_of_it_is_on_the_page() {
        let mut verdict = refused();
        let cell =
            |line: &str| ExpectedCell { line_of_business: Some(line.into()), gl_account: None };
        let declared = ExpectedPolicy {
            kind: "reclassified".into(),
            cell: cell("Eats"),
            to: Some(cell("<Rides>")),
            sign: "either".into(),
            currency: None,
            minimum: "100.00".into(),
            maximum: "1500.00".into(),
            reason: "delivery moved".into(),
            ticket: "FIN-7".into(),
            owner: "ledger-team".into(),
            expires: "2026-12-31".into(),
        };
        let change = |state| ExpectedChange {
            declared: declared.clone(),
            state,
            money: "1500.00".into(),
            exhausted: state == ChangeState::Appeared,
            exchanges: 15,
            example: Some("x-1".into()),
        };
        verdict.expected = vec![change(ChangeState::Appeared), change(ChangeState::Expired)];
        verdict.dimensions[0].cells[0].currencies[0].expected = Some(ExpectedMoney {
            debit: "0.00".into(),
            credit: "-1500.00".into(),
            balance: "1500.00".into(),
            gross: ["0.00", "1500.00", "1500.00"].map(Into::into),
        });
        let page = render(&verdict).expect("a page");
        for text in [
            "there is more, which is judged",
            "▲ expired",
            "Eats → &#60;Rides&#62;",
            "delivery moved",
            "FIN-7</bdi>, <bdi>ledger-team</bdi>, until <bdi>2026-12-31</bdi>",
            "<data value=\"-1500.00\">\u{2212}1,500.00</data>",
            "What was declared of the cells",
        ] {
            assert!(page.contains(text), "{text} is not on the page");
        }
        assert!(!render(&refused()).expect("a page").contains("Expected changes"));
        let text = crate::terminal::expected::lines(&verdict);
        let expected = "
  2 expected changes:
    expired FIN-7 reclassified in Eats -> <Rides>: 2026-12-31 was its last day, it applied to nothing
    appeared FIN-7 reclassified in Eats -> <Rides>: 1,500.00 of at most 1,500.00 USD not judged, the rest is
";
        assert_eq!(text, expected);
    }
}
