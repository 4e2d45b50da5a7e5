//! The map of lines of business by GL accounts: where in the books the difference sits.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::cells::State;
use crate::report::text::{Figure, Text, more};
use crate::verdict::{Cell, Dimension};

/// Lines of business that the map shows, worst first.
const ROWS_MAX: usize = 25;
/// GL accounts that the map shows. More do not fit a page; the worst are taken.
const COLUMNS_MAX: usize = 8;

/// The map.
pub(super) struct HeatMap {
    pub(super) accounts: Vec<Text>,
    pub(super) rows: Vec<(Text, Vec<Option<Spot>>)>,
    pub(super) rows_more: u64,
    pub(super) accounts_more: u64,
    pub(super) gated: bool,
}

/// One place of the map.
pub(super) struct Spot {
    pub(super) state: State,
    /// The deciding net difference, converted; absent where a rate is missing.
    pub(super) difference: Option<Figure>,
    pub(super) confidence: Option<u8>,
}

impl HeatMap {
    /// Returns the map of a dimension of two values; `None` where there is nothing to draw.
    pub(super) fn of(dimension: &Dimension) -> Option<Self> {
        let mut spots: BTreeMap<(&str, &str), &Cell> = BTreeMap::new();
        let (mut lines, mut accounts) = (Vec::new(), Vec::new());
        let (mut lines_seen, mut accounts_seen) = (BTreeSet::new(), BTreeSet::new());
        for cell in &dimension.cells {
            let [line, account] = &cell.value[..] else { continue };
            if lines_seen.insert(line) {
                lines.push(line.as_str());
            }
            if accounts_seen.insert(account) {
                accounts.push(account.as_str());
            }
            spots.insert((line, account), cell);
        }
        if lines.is_empty() {
            return None;
        }
        let (rows_more, accounts_more) =
            (more(lines.len(), ROWS_MAX), more(accounts.len(), COLUMNS_MAX));
        lines.truncate(ROWS_MAX);
        accounts.truncate(COLUMNS_MAX);
        // The worst accounts are chosen, and then read in the order of the chart of accounts.
        accounts.sort_unstable();
        let row = |line: &&str| {
            let spot = |account: &&str| spots.get(&(*line, *account)).map(|cell| Spot::of(cell));
            (Text::name(line), accounts.iter().map(spot).collect())
        };
        Some(Self {
            rows: lines.iter().map(row).collect(),
            accounts: accounts.iter().map(|account| Text::name(account)).collect(),
            rows_more,
            accounts_more,
            gated: dimension.gated,
        })
    }
}

impl Spot {
    fn of(cell: &Cell) -> Self {
        Self {
            state: State::of(cell),
            difference: cell.net.as_ref().map(|net| Figure::amount(net.difference())),
            confidence: cell.confidence,
        }
    }
}
