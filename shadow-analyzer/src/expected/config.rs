//! The file of expected changes, which `[certify] expected_changes` names.
//!
//! ```toml
//! [[change]]
//! kind = "amount_changed"            # the kind of difference, as the report names it
//! line_of_business = "Rides"         # where: this, `gl_account`, or both
//! gl_account = "4000"
//! sign = "increase"                  # the candidate books more; or "decrease", or "either" (default)
//! minimum = 100                      # in a run; less is inconclusive: the change is not in the build (default: it must appear at all)
//! maximum = "2500.00"                # in a run, debits and credits together; what is beyond is judged
//! currency = "USD"                   # only differences in it (default: in any, the amounts in the reporting currency)
//! reason = "fares include the airport fee"
//! ticket = "FIN-1204"
//! owner = "rides-ledger"
//! expires = "2026-12-31"             # the last day, in UTC, on which it applies
//! [[change]]
//! kind = "reclassified"              # the same money leaves one cell and arrives in another, in one transaction
//! from = { line_of_business = "Eats", gl_account = "4000" }
//! to = { line_of_business = "Rides", gl_account = "4000" }
//! ```

use shadow_recorder::amount::Amount;
use shadow_recorder::config::{ConfigError, Document, Table};
use shadow_recorder::digest::sha256;

use super::{Cell, Cells, Change, Expected, Sign};

/// The kinds of difference that have money, as the journal names them.
const KINDS: [&str; 8] = [
    RECLASSIFIED,
    "amount_changed",
    "missing",
    "extra",
    "currency_changed",
    "reversal_style",
    "period_changed",
    "entity_changed",
];
const RECLASSIFIED: &str = "reclassified";

const CELL_KEYS: [&str; 2] = ["line_of_business", "gl_account"];
const COMMON_KEYS: [&str; 8] =
    ["kind", "minimum", "maximum", "currency", "reason", "ticket", "owner", "expires"];

/// Takes `expected_changes` and reads the file that it names; mistakes in it are reported with those of the configuration.
pub(crate) fn take(certify: &mut Table<'_, '_>) -> Expected {
    let Some(file) = certify.text("expected_changes") else { return Expected::default() };
    let path = certify.document().resolve(&file.value);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!(
                "cannot read {}: {error}; the path is relative to this file",
                path.display()
            );
            certify.mistake_at(&file, &what);
            return Expected::default();
        }
    };
    let document = match Document::parse(&path, &text, |_| None) {
        Ok(document) => document,
        Err(mistakes) => {
            for mistake in told(&mistakes) {
                certify.mistake_at(&file, &mistake);
            }
            return Expected::default();
        }
    };
    let changes = document.sections("change").into_iter().filter_map(change).collect();
    if let Err(mistakes) = document.finish() {
        for mistake in told(&mistakes) {
            certify.mistake_at(&file, &mistake);
        }
    }
    Expected { sha256: Some(sha256(&text)), changes }
}

fn told(error: &ConfigError) -> Vec<String> {
    match error {
        ConfigError::Mistakes(all) => all.iter().map(|mistake| mistake.trim().to_owned()).collect(),
        ConfigError::Read { .. } => vec![error.to_string()],
    }
}

fn change(mut table: Table<'_, '_>) -> Option<Change> {
    let kind = kind(&mut table);
    let is_move = kind.as_deref() == Some(RECLASSIFIED);
    let (cells, sign) = if is_move {
        (between(&mut table), Some(Sign::Either))
    } else {
        (single(&mut table), sign(&mut table))
    };
    let currency = table.text("currency");
    if let Some(currency) = &currency
        && iso_currency::Currency::from_code(&currency.value).is_none()
    {
        let what = format!("`{}` is not an ISO 4217 code, for example USD", currency.value);
        table.mistake_at(currency, &what);
    }
    let (minimum, maximum) = limits(&mut table);
    let texts = ["reason", "ticket", "owner"].map(|key| table.required(key));
    if !table.has("expires") {
        table.missing("expires");
    }
    let expires = table.parsed("expires", |text| {
        text.parse().map_err(|_| format!("`{text}` is not a day: write it as in \"2026-12-31\""))
    });
    let place: &[&str] =
        if is_move { &["from", "to"] } else { &["line_of_business", "gl_account", "sign"] };
    table.finish(&[&COMMON_KEYS[..], place].concat());
    let [reason, ticket, owner] = texts.map(|text| text.map(|text| text.value));
    Some(Change {
        kind: kind?,
        cells: cells?,
        sign: sign?,
        currency: currency.map(|currency| currency.value),
        minimum,
        maximum: maximum?,
        reason: reason?,
        ticket: ticket?,
        owner: owner?,
        expires: expires?,
        expired: false,
    })
}

fn kind(table: &mut Table<'_, '_>) -> Option<String> {
    if !table.has("kind") {
        table.missing("kind");
    }
    table.parsed("kind", |text| {
        let known = KINDS.contains(&text);
        known.then(|| text.to_owned()).ok_or_else(|| {
            format!("`{text}` is not a kind of difference: write one of {}", KINDS.join(", "))
        })
    })
}

fn sign(table: &mut Table<'_, '_>) -> Option<Sign> {
    if !table.has("sign") {
        return Some(Sign::Either);
    }
    table.parsed("sign", |text| {
        let found = Sign::ALL.into_iter().find(|sign| sign.word() == text);
        found.ok_or_else(|| format!("`{text}` is not a sign: write increase, decrease or either"))
    })
}

fn single(table: &mut Table<'_, '_>) -> Option<Cells> {
    let cell = cell(table);
    if cell.is_none() {
        table.mistake(
            "`line_of_business` or `gl_account` is missing: a change is expected somewhere",
        );
    }
    cell.map(Cells::In)
}

fn between(table: &mut Table<'_, '_>) -> Option<Cells> {
    let mut end = |key: &str| {
        let Some(mut inner) = table.table(key) else {
            table.missing(key);
            return None;
        };
        let cell = cell(&mut inner);
        if cell.is_none() {
            inner.mistake("`line_of_business` or `gl_account` is missing");
        }
        inner.finish(&CELL_KEYS);
        cell
    };
    let (from, to) = (end("from"), end("to"));
    let (from, to) = (from?, to?);
    if from == to {
        table.mistake("`from` and `to` are the same cell: nothing moves");
        return None;
    }
    Some(Cells::Between { from, to })
}

fn cell(table: &mut Table<'_, '_>) -> Option<Cell> {
    let named = CELL_KEYS.iter().any(|key| table.has(key));
    let [line_of_business, gl_account] =
        CELL_KEYS.map(|key| table.text(key).map(|text| text.value));
    named.then_some(Cell { line_of_business, gl_account })
}

fn limits(table: &mut Table<'_, '_>) -> (Amount, Option<Amount>) {
    let minimum = table.amount("minimum").unwrap_or(Amount::ZERO);
    if !table.has("maximum") {
        table.missing("maximum");
    }
    let maximum = table.amount("maximum");
    if minimum.is_negative() {
        table.mistake("`minimum` is below zero: `sign` says in which direction");
    }
    if maximum.is_some_and(|maximum| maximum <= Amount::ZERO || maximum < minimum) {
        table.mistake("`maximum` must be above zero, and not below `minimum`");
    }
    (minimum, maximum)
}

#[cfg(test)]
mod tests;
