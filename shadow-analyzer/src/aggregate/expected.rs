//! What the declared changes take out of a run's differences.
//!
//! All lines that they could take are read at once, over all shards, since they are taken in the order of the exchanges. They are those
//! of the kinds and cells that somebody named.

use std::collections::BTreeMap;

use polars::prelude::*;

use super::grain::Grain;
use super::largest::with_wanted;
use super::rows::Rows;
use super::{AggregateError, on_one_side, run};
use crate::expected::{Appeared, Cell, Cells, Change, Line, Matcher, Taken};
use crate::load::Journal;
use crate::policy::Policy;
use crate::totals::{Money, Place};

/// What was taken, by exchange.
#[derive(Default)]
pub(super) struct Declared {
    pub(super) appeared: Vec<Appeared>,
    taken: BTreeMap<String, Taken>,
    nothing: Taken,
}

impl Declared {
    /// Returns what was taken of an exchange's differences.
    pub(super) fn of(&self, exchange_id: &str) -> &Taken {
        self.taken.get(exchange_id).unwrap_or(&self.nothing)
    }
}

/// Takes what is declared out of the differences of a run.
pub(super) fn take(
    journal: &Journal,
    grain: &Grain,
    policy: &Policy,
) -> Result<Declared, AggregateError> {
    let changes = policy.expected.in_force();
    let Some(meant) = changes.iter().map(|(_, change)| meant(change)).reduce(Expr::or) else {
        return Ok(Declared::default());
    };
    let frame = run("expected changes", query(journal, grain, meant)?)?;
    let rows = Rows::of("expected changes", &frame);
    let (mut matcher, mut taken) = (Matcher::new(&changes, &policy.rates), BTreeMap::new());
    let mut at = 0;
    while at < rows.len() {
        let (id, of_exchange) = rows.exchange(at)?;
        at = of_exchange.end;
        let mut lines = Vec::new();
        for row in of_exchange {
            let (debit, credit) = (rows.units("debit", row)?, rows.units("credit", row)?);
            lines.push(Line {
                transaction: rows.small("transaction", row)?.unwrap_or(0),
                kind: rows.owned("kind", row)?,
                place: grain.place(&rows, row)?,
                is_shadow: rows.is_shadow(row)?,
                money: Money { debit, credit },
            });
        }
        let of = matcher.take(&id, lines)?;
        if !of.is_empty() {
            taken.insert(id, of);
        }
    }
    Ok(Declared { appeared: matcher.finish(), taken, nothing: Taken::new() })
}

/// Returns what an exchange's differences are beside what was taken of them.
pub(super) fn rest(
    differences: Vec<(Place, Money)>,
    taken: &Taken,
) -> Result<Vec<(Place, Money)>, AggregateError> {
    let rest = |(place, money): (Place, Money)| match taken.get(&place) {
        Some(taken) => Ok((place, money.minus(*taken)?)),
        None => Ok((place, money)),
    };
    differences.into_iter().map(rest).collect()
}

fn query(journal: &Journal, grain: &Grain, meant: Expr) -> Result<LazyFrame, AggregateError> {
    // A failed answer, and one that books what does not balance, is never as expected.
    let sound = journal
        .exchanges()?
        .filter(col("outcome").eq(lit("different")).and(col("newly_unbalanced").eq(lit(0))))
        .select([col("exchange_id")]);
    let columns = ["exchange_id", "transaction", "kind", "source", "debit", "credit"].map(col);
    let columns = [grain.keys(), columns.into()].concat();
    let lines = journal.entries()?.filter(on_one_side().and(meant));
    Ok(with_wanted(lines, sound)
        .select(columns)
        .sort(["exchange_id"], SortMultipleOptions::default()))
}

/// The lines that a change could take.
fn meant(change: &Change) -> Expr {
    let is = |column: &'static str, value: &Option<String>| {
        value.as_ref().map(|value| col(column).eq(lit(value.clone())))
    };
    let within = |cell: &Cell| {
        let line = is("line_of_business", &cell.line_of_business);
        let parts = [line, is("gl_account", &cell.gl_account)];
        parts.into_iter().flatten().reduce(Expr::and).unwrap_or_else(|| lit(true))
    };
    let cells = match &change.cells {
        Cells::In(cell) => within(cell),
        Cells::Between { from, to } => within(from).or(within(to)),
    };
    col("kind").eq(lit(change.kind.clone())).and(cells)
}
