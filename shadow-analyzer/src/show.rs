//! What `show` prints: parts of a stored verdict as tables, drawn from `verdict.json` and from nothing else.

use std::fmt::Write;

use shadow_recorder::store::{Store, StoreError};
use shadow_recorder::table::{Align, plain, table};
use shadow_replayer::run::RunId;

use crate::money::people;
use crate::number::{count, counted, exchanges};
use crate::verdict::{
    self, Coverage, DifferingExchange, LedgerRow, LedgerSum, LedgerValidation, Scenario, VERSION,
    Verdict,
};

/// Rows of one table; the verdict has more.
const ROWS_MAX: usize = 200;

/// Why a verdict cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShowError {
    /// The store failed.
    #[error("cannot read the verdict")]
    Store(#[from] StoreError),
    /// There is none.
    #[error("there is no verdict on run {0}: run `shadow-analyzer certify --run {0}`")]
    None(RunId),
    /// It is damaged, or of a later version.
    #[error("{0} is no verdict that this version reads: {1}")]
    Unreadable(String, String),
}

/// A part of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The books of both sides, account by account.
    Ledger,
    /// The exchanges that differ, field by field.
    Samples,
    /// Production's scenarios, compared or not.
    Coverage,
}

impl Part {
    /// Every part, in the order in which they are printed.
    pub(crate) const ALL: [Self; 3] = [Self::Ledger, Self::Samples, Self::Coverage];
}

/// Reads the verdict on the newest revision of a run.
pub(crate) async fn newest(store: &Store, run: &RunId) -> Result<Verdict, ShowError> {
    let folders = store.folders(&format!("reports/run_id={run}/")).await?;
    let number = |folder: &String| -> Option<u32> {
        folder.trim_end_matches('/').rsplit_once("revision=")?.1.parse().ok()
    };
    let revision = folders.iter().filter_map(number).max();
    let revision = revision.ok_or_else(|| ShowError::None(run.clone()))?;
    let key = verdict::key(run.as_str(), revision);
    let bytes = store.get(&key).await?;
    read(&bytes).map_err(|what| ShowError::Unreadable(key, what))
}

fn read(bytes: &[u8]) -> Result<Verdict, String> {
    let verdict: Verdict = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if verdict.format != verdict::FORMAT || verdict.version > VERSION {
        return Err(format!("it is of format {} {}", verdict.format, verdict.version));
    }
    Ok(verdict)
}

/// Returns a part as JSON.
pub(crate) fn json(verdict: &Verdict, part: Option<Part>) -> String {
    let text = match part {
        None => serde_json::to_string_pretty(verdict),
        Some(Part::Ledger) => serde_json::to_string_pretty(&verdict.ledger),
        Some(Part::Samples) => serde_json::to_string_pretty(&verdict.differing),
        Some(Part::Coverage) => serde_json::to_string_pretty(&verdict.coverage),
    };
    text.expect("texts and numbers are JSON") + "\n"
}

/// Returns parts as tables.
pub(crate) fn text(verdict: &Verdict, parts: &[Part]) -> String {
    let mut text = format!(
        "{} {} of run {} is {} ({})\n{}\n",
        plain(&verdict.service),
        plain(&verdict.candidate.build),
        plain(&verdict.run_id),
        verdict.verdict.word(),
        plain(&verdict.basis.text),
        verdict.completeness.text,
    );
    for part in parts {
        text.push('\n');
        text.push_str(&match part {
            Part::Ledger => ledger(&verdict.ledger, &verdict.reporting_currency),
            Part::Samples => samples(verdict),
            Part::Coverage => coverage(&verdict.coverage, &verdict.reporting_currency),
        });
    }
    text
}

/// Lays out at most [`ROWS_MAX`] rows, and says how many there are beside them.
fn bounded(columns: &[(&str, Align)], mut rows: Vec<Vec<String>>, left_out: u64) -> String {
    let more = rows.len().saturating_sub(ROWS_MAX) as u64 + left_out;
    rows.truncate(ROWS_MAX);
    if rows.is_empty() {
        return String::new();
    }
    let mut text = table(columns, &rows);
    if more > 0 {
        let _ = writeln!(text, "  {} more in verdict.json or the journal of the run", count(more));
    }
    text
}

fn ledger(ledger: &LedgerValidation, currency: &str) -> String {
    let columns = [
        ("LOB", Align::Left),
        ("GL ACCOUNT", Align::Left),
        ("PERIOD", Align::Left),
        ("CUR", Align::Left),
        ("LINES", Align::Right),
        ("SHADOW", Align::Right),
        ("DEBIT", Align::Right),
        ("SHADOW", Align::Right),
        ("CREDIT", Align::Right),
        ("SHADOW", Align::Right),
        ("BALANCE DIFFERENCE", Align::Right),
        ("THRESHOLD", Align::Right),
        ("RESULT", Align::Left),
    ];
    let of = |sum: &LedgerSum| {
        let money = |text: &str| people(text, "");
        vec![
            sum.currency.clone(),
            count(sum.entries_primary),
            count(sum.entries_shadow),
            money(&sum.debit.primary),
            money(&sum.debit.shadow),
            money(&sum.credit.primary),
            money(&sum.credit.shadow),
            money(&sum.balance.difference),
        ]
    };
    let row = |row: &LedgerRow| {
        let threshold = row.threshold.as_deref().map_or("-".into(), |text| people(text, ""));
        let period = row.period.clone().unwrap_or_else(|| "-".into());
        let name = vec![row.line_of_business.clone(), row.gl_account.clone(), period];
        [name, of(&row.books), vec![threshold, row.result.words().into()]].concat()
    };
    let all =
        |sum: &LedgerSum| [vec!["all".into(), String::new(), String::new()], of(sum)].concat();
    let rows = ledger.sums.iter().map(all).chain(ledger.rows.iter().map(row)).collect();
    format!(
        "ledger validation: {}, {} beyond the threshold, thresholds in {currency}\n{}",
        counted(ledger.total, "account and currency", "accounts and currencies"),
        count(ledger.failed),
        bounded(&columns, rows, ledger.left_out)
    )
}

fn samples(verdict: &Verdict) -> String {
    let columns = [
        ("EXCHANGE", Align::Left),
        ("TRANSACTION", Align::Left),
        ("LINE", Align::Right),
        ("KIND", Align::Left),
        ("FIELD", Align::Left),
        ("PRIMARY", Align::Left),
        ("SHADOW", Align::Left),
    ];
    let differing = &verdict.differing;
    let rows: Vec<_> = differing.exchanges.iter().flat_map(fields).collect();
    let left_out = differing.exchanges.iter().map(|exchange| exchange.fields_left_out).sum();
    let beyond = match differing.left_out {
        0 => String::new(),
        more => format!(", {} of them only in the journal of the run", count(more)),
    };
    format!(
        "sample validation: {} booked differently{beyond}\n{}",
        exchanges(differing.total),
        bounded(&columns, rows, left_out)
    )
}

fn fields(exchange: &DifferingExchange) -> impl Iterator<Item = Vec<String>> {
    exchange.fields.iter().map(|of| {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        vec![
            exchange.exchange_id.clone(),
            // People count from one.
            of.transaction_key
                .clone()
                .unwrap_or_else(|| (i64::from(of.transaction) + 1).to_string()),
            of.line.to_string(),
            of.kind.clone().unwrap_or_default(),
            of.field.clone(),
            value(&of.primary),
            value(&of.shadow),
        ]
    })
}

fn coverage(coverage: &Coverage, currency: &str) -> String {
    let columns = [
        ("LOB", Align::Left),
        ("GL ACCOUNT", Align::Left),
        ("ROUTE", Align::Left),
        ("COMPARED", Align::Right),
        ("EXCHANGES", Align::Right),
        ("MONEY COMPARED", Align::Right),
        ("MONEY", Align::Right),
    ];
    let row = |of: &Scenario| {
        let money = |money: &Option<String>| {
            money.as_deref().map_or_else(|| "-".to_owned(), |text| people(text, ""))
        };
        vec![
            of.line_of_business.clone(),
            of.gl_account.clone(),
            of.route.clone(),
            count(of.exchanges_compared),
            count(of.exchanges),
            money(&of.money_compared),
            money(&of.money),
        ]
    };
    let rows = |list: &[Scenario]| list.iter().map(row).collect();
    let share = coverage.money_share.as_deref().unwrap_or("an unknown part");
    format!(
        "coverage: {} of {} compared, {share} of 1 of production's money, in {currency}\n{}{}",
        count(coverage.reached),
        counted(coverage.scenarios, "scenario", "scenarios"),
        bounded(&columns, rows(&coverage.not_reached), coverage.not_reached_left_out),
        bounded(&columns, rows(&coverage.compared), coverage.compared_left_out),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::refused;
    use crate::verdict::FieldDifference;

    fn verdict() -> Verdict {
        let mut verdict = refused();
        verdict.differing.exchanges[0].fields = vec![FieldDifference {
            transaction: 0,
            transaction_key: Some("trip-1".into()),
            line: 1,
            kind: Some("reclassified".into()),
            field: "line_of_business".into(),
            primary: Some("Eats".into()),
            shadow: Some("Rides\u{1b}[31m".into()),
        }];
        verdict
    }

    #[test]
    fn each_part_is_a_table_and_names_what_it_leaves_out() {
        let shown = text(&verdict(), &Part::ALL);
        let words: Vec<&str> = shown.split_whitespace().collect();
        let words = words.join(" ");
        for expected in [
            "ledger validation: 4 accounts and currencies, 1 beyond the threshold, thresholds in USD",
            "Eats 4000 Revenue 2026-03 USD 31 29 0.00 0.00 9,100.25 7,100.25 2,000.00 1,000.00 fail",
            "sample validation: 20 exchanges booked differently",
            "trip-1 1 reclassified line_of_business Eats Rides [31m",
            "coverage: 1 of 9 scenarios compared, 0.50 of 1 of production's money, in USD",
            "Eats 4000 Revenue POST /v1/refunds 0 12 0.00 640.50",
            "7 more in verdict.json",
        ] {
            assert!(words.contains(expected), "{expected:?} is not in {words}");
        }
        let ledger = text(&verdict(), &[Part::Ledger]);
        assert!(ledger.contains("ledger validation") && !ledger.contains("sample validation"));
    }

    #[test]
    fn a_part_is_the_verdicts_own_json() {
        let verdict = verdict();
        let ledger: LedgerValidation =
            serde_json::from_str(&json(&verdict, Some(Part::Ledger))).unwrap();
        assert_eq!(ledger, verdict.ledger);
        let whole: Verdict = serde_json::from_str(&json(&verdict, None)).unwrap();
        assert_eq!(whole, verdict);
    }

    #[tokio::test]
    async fn the_verdict_on_the_newest_revision_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::directory(folder.path());
        let run: RunId = "0195b6f0-2d11-7c55-8a90-6e1f0c2b7d44".parse().unwrap();
        assert!(matches!(newest(&store, &run).await, Err(ShowError::None(_))));
        for revision in [1, 2, 10] {
            let document = json(&Verdict { revision, ..verdict() }, None);
            store.put(&verdict::key(run.as_str(), revision), document).await.unwrap();
        }
        assert_eq!(newest(&store, &run).await.unwrap().revision, 10);
        store.put(&verdict::key(run.as_str(), 11), "{}").await.unwrap();
        assert!(matches!(newest(&store, &run).await, Err(ShowError::Unreadable(..))));
    }
}
