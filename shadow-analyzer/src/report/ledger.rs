//! The books of both sides over the range: the ledger validation.

use crate::number::{count, counted};
use crate::report::text::{Figure, Text, more};
use crate::verdict::{LedgerResult, LedgerRow, LedgerSum, LedgerValidation};

/// Rows that the page shows; the verdict has more.
const ROWS_MAX: usize = 60;

/// The section.
pub(super) struct Ledger {
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
    pub(super) sums: Vec<Books>,
    pub(super) more: u64,
}

/// A GL account of a line of business in one currency.
pub(super) struct Row {
    pub(super) line_of_business: Text,
    pub(super) gl_account: Text,
    pub(super) period: Option<Text>,
    pub(super) books: Books,
    pub(super) threshold: Option<Figure>,
    /// `✓`, `✕` or `?`.
    pub(super) symbol: &'static str,
    pub(super) result: &'static str,
}

/// What both sides booked in a currency.
pub(super) struct Books {
    pub(super) currency: Text,
    /// Production's lines, and the candidate's.
    pub(super) entries: [String; 2],
    /// Production's debits and credits, and the candidate's.
    pub(super) amounts: [Figure; 4],
    /// Of the debits, the credits and the balance.
    pub(super) differences: [Figure; 3],
}

impl Ledger {
    pub(super) fn of(ledger: &LedgerValidation) -> Self {
        let rows = counted(ledger.total, "account and currency", "accounts and currencies");
        Self {
            title: format!("{rows}, {} beyond the threshold", count(ledger.failed)),
            rows: ledger.rows.iter().take(ROWS_MAX).map(row).collect(),
            sums: ledger.sums.iter().take(ROWS_MAX).map(books).collect(),
            more: more(ledger.rows.len(), ROWS_MAX) + ledger.left_out,
        }
    }
}

fn row(row: &LedgerRow) -> Row {
    Row {
        line_of_business: Text::name(&row.line_of_business),
        gl_account: Text::name(&row.gl_account),
        period: row.period.as_deref().map(Text::name),
        books: books(&row.books),
        threshold: row.threshold.as_deref().map(Figure::amount),
        symbol: match row.result {
            LedgerResult::Pass => "✓",
            LedgerResult::Fail => "✕",
            LedgerResult::NotJudged => "?",
        },
        result: row.result.words(),
    }
}

fn books(sum: &LedgerSum) -> Books {
    let (debit, credit) = (&sum.debit, &sum.credit);
    let amounts = [&debit.primary, &credit.primary, &debit.shadow, &credit.shadow];
    let differences = [&debit.difference, &credit.difference, &sum.balance.difference];
    Books {
        currency: Text::name(&sum.currency),
        entries: [sum.entries_primary, sum.entries_shadow].map(count),
        amounts: amounts.map(|text| Figure::amount(text)),
        differences: differences.map(|text| Figure::difference(text)),
    }
}
