//! The tables of a dimension: what each side booked, and how far they are apart.

use crate::money::people;
use crate::number::{count, counted};
use crate::report::bar::Bar;
use crate::report::text::{Figure, Text, is_zero, more};
use crate::verdict::{Cell, Dimension, Judged, Sides};

/// Cells that a table shows, worst first.
pub(super) const CELLS_MAX: usize = 40;
/// Rows after which a table shows no further cell: 300 of them are about 400 KiB.
const ROWS_MAX: usize = 300;
/// Currencies that a cell shows.
pub(super) const CURRENCIES_MAX: usize = 12;

/// The table of a dimension.
pub(super) struct CellTable {
    /// The anchor: the word of the dimension in the verdict, apart from the page's own where the mapping made it.
    pub(super) id: String,
    pub(super) title: &'static str,
    pub(super) gated: bool,
    pub(super) total: String,
    pub(super) differing: String,
    pub(super) blocks: Vec<Block>,
    pub(super) more: u64,
}

/// The rows of one cell.
pub(super) struct Block {
    pub(super) value: Vec<Text>,
    pub(super) notes: Vec<String>,
    pub(super) not_examined: Option<Figure>,
    pub(super) confidence: Option<u8>,
    pub(super) state: State,
    pub(super) rows: Vec<Row>,
    pub(super) currencies_more: u64,
}

/// What a cell's difference comes to; told by symbol and word, the colour only repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Equal,
    Within,
    Beyond,
    Unjudged,
}

impl State {
    pub(super) fn of(cell: &Cell) -> Self {
        let judged = || [&cell.net, &cell.gross].into_iter().flatten();
        let differs = judged().any(|judged| !is_zero(judged.difference()));
        if judged().any(|judged| judged.breached) {
            Self::Beyond
        } else if cell.confidence.is_none() {
            Self::Unjudged
        } else if differs {
            Self::Within
        } else {
            Self::Equal
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Within => "within",
            Self::Beyond => "beyond",
            Self::Unjudged => "unjudged",
        }
    }

    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Within => "✓",
            Self::Beyond => "▲",
            Self::Unjudged => "?",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Equal => "no difference",
            Self::Within => "within threshold",
            Self::Beyond => "beyond threshold",
            Self::Unjudged => "not judged",
        }
    }
}

/// One side of the books in one currency, or over all of them.
pub(super) struct Row {
    pub(super) side: &'static str,
    /// The currency code; absent on a row over all currencies.
    pub(super) currency: Option<Text>,
    pub(super) primary: Option<Figure>,
    pub(super) shadow: Option<Figure>,
    pub(super) difference: Figure,
    pub(super) threshold: Option<Figure>,
    pub(super) bar: Option<Bar>,
    pub(super) gross: Figure,
    pub(super) gross_threshold: Option<Figure>,
    pub(super) gross_breached: bool,
}

impl CellTable {
    pub(super) fn of(dimension: &Dimension, reporting_currency: &str) -> Self {
        let (mut blocks, mut rows) = (Vec::new(), 0);
        for cell in dimension.cells.iter().take(CELLS_MAX) {
            if rows >= ROWS_MAX {
                break;
            }
            let block = Block::of(cell, reporting_currency);
            rows += block.rows.len();
            blocks.push(block);
        }
        let differing = dimension.cells.iter().filter(|cell| cell.exchanges_differing > 0).count();
        Self {
            id: if dimension.name.is_standard() {
                dimension.name.word().into()
            } else {
                format!("dimension-{}", dimension.name.word())
            },
            title: dimension.name.title(),
            gated: dimension.gated,
            total: counted(dimension.cells.len() as u64, "cell", "cells"),
            differing: count(differing as u64),
            more: more(dimension.cells.len(), blocks.len()),
            blocks,
        }
    }

    /// Returns whether a row over all currencies is shown.
    pub(super) fn has_converted(&self) -> bool {
        self.blocks.iter().flat_map(|block| &block.rows).any(|row| row.currency.is_none())
    }
}

impl Block {
    fn of(cell: &Cell, reporting_currency: &str) -> Self {
        Self {
            value: cell.value.iter().map(|value| Text::name(value)).collect(),
            notes: notes(cell, reporting_currency),
            not_examined: cell
                .not_examined
                .as_deref()
                .filter(|money| !is_zero(money))
                .map(Figure::amount),
            confidence: cell.confidence,
            state: State::of(cell),
            rows: rows(cell, reporting_currency),
            currencies_more: more(cell.currencies.len(), CURRENCIES_MAX),
        }
    }
}

fn notes(cell: &Cell, reporting_currency: &str) -> Vec<String> {
    let mut notes = Vec::new();
    for (kind, judged) in [("net", &cell.net), ("gross", &cell.gross)] {
        let Some(judged) = judged else { continue };
        if let Some(day) = judged.day {
            notes.push(format!("{kind} judged per UTC day; the worst is {day}"));
        }
        if let Some(observed) = &judged.observed {
            let money = |text: &str| people(text, reporting_currency);
            notes.push(format!(
                "{kind} {}: {} observed, {} projected to all traffic",
                judged.worst.word(),
                money(observed.of(judged.worst)),
                money(judged.difference())
            ));
        }
    }
    if cell.new {
        notes.push(if cell.declared {
            "new in this build, declared in the policy".to_owned()
        } else {
            "new: production never booked here".to_owned()
        });
    }
    if cell.exchanges_differing > 0 {
        notes.push(counted(cell.exchanges_differing, "exchange differs", "exchanges differ"));
    }
    let (primary, shadow) = (cell.entries_primary, cell.entries_shadow);
    notes.push(if primary == shadow {
        format!("{} on each side", counted(primary, "line", "lines"))
    } else {
        format!("{} primary, {} shadow", counted(primary, "line", "lines"), count(shadow))
    });
    notes
}

fn rows(cell: &Cell, reporting_currency: &str) -> Vec<Row> {
    // One currency, and it is the one that thresholds are in: its rows are what was judged, unless that is a day or a projection.
    let as_observed = |judged: &Judged| judged.day.is_none() && judged.observed.is_none();
    let plain = matches!(&cell.currencies[..], [only] if only.currency == reporting_currency)
        && cell.net.iter().chain(&cell.gross).all(as_observed);
    let mut rows = Vec::new();
    for money in cell.currencies.iter().take(CURRENCIES_MAX) {
        let sides =
            [("Debit", &money.debit), ("Credit", &money.credit), ("Balance", &money.balance)];
        for (side, of) in sides {
            let differs = !is_zero(&of.difference) || !is_zero(&of.gross);
            let booked = !is_zero(&of.primary) || !is_zero(&of.shadow);
            // Of a single currency both sides are always shown; of several, those on which anything was booked.
            if !(differs || side != "Balance" && (booked || cell.currencies.len() == 1)) {
                continue;
            }
            let judged = plain.then_some(cell).map(|cell| (cell.net.as_ref(), cell.gross.as_ref()));
            rows.push(currency_row(side, &money.currency, of, judged.unwrap_or_default()));
        }
    }
    if let (false, Some(net), Some(gross)) = (plain, &cell.net, &cell.gross) {
        let sides = [
            ("Debit", &net.debit, &gross.debit),
            ("Credit", &net.credit, &gross.credit),
            ("Balance", &net.balance, &gross.balance),
        ];
        for (side, difference, gross_difference) in sides {
            if side != "Balance" || !is_zero(difference) || !is_zero(gross_difference) {
                rows.push(converted_row(side, (difference, net), (gross_difference, gross)));
            }
        }
    }
    rows
}

fn currency_row(
    side: &'static str,
    currency: &str,
    of: &Sides,
    (net, gross): (Option<&Judged>, Option<&Judged>),
) -> Row {
    let net = net.and_then(|judged| judged.threshold.as_deref());
    let gross = gross.and_then(|judged| judged.threshold.as_deref());
    Row {
        side,
        currency: Some(Text::name(currency)),
        primary: Some(Figure::amount(&of.primary)),
        shadow: Some(Figure::amount(&of.shadow)),
        difference: Figure::difference(&of.difference),
        threshold: net.map(Figure::amount),
        bar: net.and_then(|threshold| Bar::of(&of.difference, threshold)),
        gross: Figure::amount(&of.gross),
        gross_threshold: gross.map(Figure::amount),
        gross_breached: gross.is_some_and(|threshold| breached(&of.gross, threshold)),
    }
}

fn converted_row(
    side: &'static str,
    (difference, net): (&str, &Judged),
    (gross_difference, gross): (&str, &Judged),
) -> Row {
    let threshold = net.threshold.as_deref();
    let gross_threshold = gross.threshold.as_deref();
    Row {
        side,
        currency: None,
        primary: None,
        shadow: None,
        difference: Figure::amount(difference),
        threshold: threshold.map(Figure::amount),
        bar: threshold.and_then(|threshold| Bar::of(difference, threshold)),
        gross: Figure::amount(gross_difference),
        gross_threshold: gross_threshold.map(Figure::amount),
        gross_breached: gross_threshold.is_some_and(|most| breached(gross_difference, most)),
    }
}

fn breached(difference: &str, threshold: &str) -> bool {
    Bar::of(difference, threshold).is_some_and(|bar| bar.breached)
}
