//! The books of both sides over the range, row by row against the thresholds.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use num_rational::BigRational;
use num_traits::Zero;
use shadow_recorder::amount::format_units;

use crate::cell::JudgedCell;
use crate::money::Rates;
use crate::totals::{Books, Ledger, LedgerPlace, Overflow};
use crate::verdict::{
    Compared, DimensionName, LEDGER_ROWS_MAX, LedgerResult, LedgerRow, LedgerSum, LedgerValidation,
};

/// Returns the rows of the ledger; each is held against the threshold of its account's cell.
pub(crate) fn validation(
    ledger: &Ledger,
    cells: &[JudgedCell],
    rates: &Rates,
) -> Result<LedgerValidation, Overflow> {
    let of_both =
        |cell: &&JudgedCell| cell.name.dimension == DimensionName::LineOfBusinessGlAccount;
    let cells: BTreeMap<&[String], &JudgedCell> =
        cells.iter().filter(of_both).map(|cell| (&*cell.name.value, cell)).collect();
    let mut rows: Vec<(Option<BigRational>, LedgerRow)> = Vec::new();
    let mut sums: BTreeMap<&str, Books> = BTreeMap::new();
    for (place, books) in ledger.iter().filter(|(_, books)| books.is_compared()) {
        let sum = sums.entry(&place.currency).or_default();
        *sum = sum.plus(*books)?;
        let name = [place.line_of_business.clone(), place.gl_account.clone()];
        rows.push(row(place, books, cells.get(&name[..]).copied(), rates)?);
    }
    // Stable: among equals by name. A difference without a rate comes before every other.
    rows.sort_by_cached_key(|(difference, row)| {
        (row.result, difference.is_some(), Reverse(difference.clone()))
    });
    let sums = sums.into_iter().map(|(currency, books)| sum(currency, &books));
    Ok(LedgerValidation {
        total: rows.len() as u64,
        failed: rows.iter().filter(|(_, row)| row.result == LedgerResult::Fail).count() as u64,
        left_out: rows.len().saturating_sub(LEDGER_ROWS_MAX) as u64,
        sums: sums.collect::<Result<_, _>>()?,
        rows: rows.into_iter().take(LEDGER_ROWS_MAX).map(|(_, row)| row).collect(),
    })
}

fn row(
    place: &LedgerPlace,
    books: &Books,
    cell: Option<&JudgedCell>,
    rates: &Rates,
) -> Result<(Option<BigRational>, LedgerRow), Overflow> {
    let money = books.shadow.minus(books.primary)?;
    let measures = [money.debit, money.credit, money.balance()?];
    let largest = measures.into_iter().max_by_key(|units| units.unsigned_abs()).unwrap_or(0);
    let converted = rates.convert([(&*place.currency, largest)]);
    let difference = converted.whole.then_some(converted.sum);
    let cell = cell.filter(|cell| cell.gated);
    let row = LedgerRow {
        line_of_business: place.line_of_business.clone(),
        gl_account: place.gl_account.clone(),
        period: place.period.clone(),
        books: sum(&place.currency, books)?,
        threshold: cell.and_then(threshold),
        result: cell.map_or(LedgerResult::NotJudged, |cell| judged(cell, difference.as_ref())),
    };
    Ok((difference, row))
}

fn threshold(cell: &JudgedCell) -> Option<String> {
    cell.shown.net.as_ref().and_then(|net| net.threshold.clone())
}

/// Holds a row's difference against its cell's threshold. Rows that are each within it and together beyond it fail, all that differ.
fn judged(cell: &JudgedCell, difference: Option<&BigRational>) -> LedgerResult {
    let breached = cell.shown.net.as_ref().is_some_and(|net| net.breached);
    let differs = difference.is_none_or(|difference| !difference.is_zero());
    match (&cell.allowed, difference) {
        (Some(_), _) if breached && differs => LedgerResult::Fail,
        (Some(allowed), Some(difference)) if *difference > allowed.net => LedgerResult::Fail,
        (Some(_), Some(_)) => LedgerResult::Pass,
        _ => LedgerResult::NotJudged,
    }
}

fn sum(currency: &str, books: &Books) -> Result<LedgerSum, Overflow> {
    let (primary, shadow) = (books.primary, books.shadow);
    let difference = shadow.minus(primary)?;
    let compared = |primary, shadow, difference| Compared {
        primary: format_units(primary),
        shadow: format_units(shadow),
        difference: format_units(difference),
    };
    Ok(LedgerSum {
        currency: currency.into(),
        entries_primary: books.entries_primary,
        entries_shadow: books.entries_shadow,
        debit: compared(primary.debit, shadow.debit, difference.debit),
        credit: compared(primary.credit, shadow.credit, difference.credit),
        balance: compared(primary.balance()?, shadow.balance()?, difference.balance()?),
    })
}

#[cfg(test)]
mod tests;
