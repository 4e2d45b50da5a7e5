//! The money of exchanges that passed and were not recorded, from the recorders' censuses.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::policy::Policy;
use crate::score::Evidence;
use crate::totals::{Books, Money, Overflow, Part, Place, Totals};
use crate::verdict::LostMoney;

/// Returns what is known of the money of exchanges that were dropped; `None` where none was, or nothing was counted.
pub(crate) fn lost(totals: &Totals, policy: &Policy, evidence: &Evidence) -> Option<LostMoney> {
    let counted = &evidence.counted;
    let dropped: u64 = evidence.dropped.values().sum();
    // What the sampling left out is in the census too, and nothing tells the two apart.
    let is_sampled = evidence.sampled_out > 0 || totals.exchanges.sampled > 0;
    if dropped == 0 || counted.census.exchanges == 0 || is_sampled {
        return None;
    }
    // Money beyond the bound on cells is known per currency alone, and so is of no cell.
    let has_cells = counted.census.cells.keys().all(|cell| cell.line_of_business.is_some());
    let is_read = counted.census.unread <= totals.exchanges.money_unknown;
    // A census tells line of business, account and currency, and of no day nor further dimension.
    let mut gated = policy.dimensions.iter().filter(|(_, thresholds)| thresholds.gate);
    let is_judged = gated.all(|(name, _)| name.is_standard()) && !policy.is_daily();
    Some(LostMoney {
        uncounted: counted.uncounted,
        known: counted.uncounted == 0 && has_cells && is_read && is_judged,
        at_most: counted.beyond,
    })
}

/// Adds what the census has beyond the journal to the money that was not examined.
pub(crate) fn with_lost<'t>(
    totals: &'t Totals,
    policy: &Policy,
    evidence: &Evidence,
) -> Result<Cow<'t, Totals>, Overflow> {
    if lost(totals, policy, evidence).is_none() {
        return Ok(Cow::Borrowed(totals));
    }
    let mut books: BTreeMap<[&str; 3], Books> = BTreeMap::new();
    for (place, of) in &totals.ledger {
        let sum = books.entry([&place.line_of_business, &place.gl_account, &place.currency]);
        let sum = sum.or_default();
        *sum = sum.plus(*of)?;
    }
    let mut with = totals.clone();
    for (cell, sums) in &evidence.counted.census.cells {
        let (Some(line_of_business), Some(gl_account)) = (&cell.line_of_business, &cell.gl_account)
        else {
            continue;
        };
        let of = books.get(&[&**line_of_business, &**gl_account, &*cell.currency]);
        let of = of.copied().unwrap_or_default();
        let passed = Money { debit: sums.debit_units, credit: sums.credit_units };
        let beyond = passed.minus(of.primary)?.absolute()?.minus(of.not_examined)?;
        let beyond = Money { debit: beyond.debit.max(0), credit: beyond.credit.max(0) };
        let lines = (sums.debit_entries + sums.credit_entries)
            .saturating_sub(of.entries_primary + of.entries_not_examined);
        if lines > 0 || !beyond.is_zero() {
            let place = Place {
                line_of_business: line_of_business.clone(),
                gl_account: gl_account.clone(),
                currency: cell.currency.clone(),
                ..Place::default()
            };
            with.add_lines(&place, Part::NotExamined, beyond, lines)?;
        }
    }
    Ok(Cow::Owned(with))
}
