//! `[supplied]`: how entries are read that somebody brings, instead of replaying (`shadow-analyzer certify --primary … --shadow …`).
//!
//! ```toml
//! [supplied]
//! event_id = "$.event_id"            # required: rows of the same id are one event, on both sides alike
//! occurred_at = "$.booked_at"        # optional: an instant such as 2026-11-20T07:00:00Z; without it --from and --to are needed
//! delimiter = ","                    # of CSV
//! route = "POST /bookings"           # the [[ledger]] of this route reads each row; or, instead, its keys stand here:
//! transactions = "$"                 # a row of CSV or Parquet is an object with a member for each column, and one entry
//! entries = "$"
//! key = "$.transaction_id"           # optional: rows of an event with the same key are one transaction; without it all are
//! line_of_business = "$.lob"
//! # … as in [[ledger]]
//! ```

use shadow_recorder::config::Document;
use shadow_recorder::digest::sha256;
use shadow_recorder::ledger::config::extract;
use shadow_recorder::ledger::{Extract, Mapping, Path, Source};

/// What stands for the route of rows that no `[[ledger]]` reads.
pub const ROUTE: &str = "supplied";

/// `[supplied]`.
#[derive(Clone, Debug)]
pub struct Supplied {
    /// What says which event a row belongs to.
    pub event_id: Path,
    /// When it occurred.
    pub occurred_at: Option<Path>,
    /// What stands between two columns of CSV.
    pub delimiter: u8,
    /// How a row is read.
    pub extract: Extract,
    /// The route whose `[[ledger]]` that is, or [`ROUTE`].
    pub route: String,
    /// The SHA-256 of all this as it is configured.
    pub mapping_sha256: String,
}

const KNOWN: [&str; 19] = [
    "event_id",
    "occurred_at",
    "delimiter",
    "route",
    "transactions",
    "entries",
    "key",
    "line_of_business",
    "gl_account",
    "currency",
    "debit",
    "credit",
    "amount",
    "positive",
    "side",
    "accounting_date",
    "entity",
    "dimensions",
    "fields",
];

/// Returns the digest of what decides how a row is read; it is taken before the sections are.
pub(super) fn digest(document: &Document<'_>) -> String {
    sha256(format!("{}\n{}", document.canonical("supplied"), document.canonical("ledger")))
}

/// Takes `[supplied]`, where it is there; mistakes are collected in the document.
pub(super) fn take(
    document: &Document<'_>,
    mapping: &Mapping,
    mapping_sha256: String,
) -> Option<Supplied> {
    let is_there = document.canonical("supplied") != "null";
    let mut table = document.section("supplied");
    if !is_there {
        return None;
    }
    if !table.has("event_id") {
        table.missing("event_id");
    }
    let event_id = table.parsed("event_id", Path::parse);
    let occurred_at = table.parsed("occurred_at", Path::parse);
    let delimiter = table.parsed("delimiter", delimiter).unwrap_or(b',');
    let (extract, route) = match table.text("route") {
        None => (extract(&mut table), ROUTE.to_owned()),
        Some(route) => {
            let found = of_route(mapping, &route.value);
            if found.is_none() {
                let what = format!(
                    "there is no [[ledger]] with route `{}` that reads entries",
                    route.value
                );
                table.mistake_at(&route, &what);
            }
            (found, route.value)
        }
    };
    table.finish(&KNOWN);
    let (event_id, extract) = (event_id?, extract?);
    Some(Supplied { event_id, occurred_at, delimiter, extract, route, mapping_sha256 })
}

/// Returns how the first rule of a route reads entries, be it from answers or from what a sink is sent.
fn of_route(mapping: &Mapping, route: &str) -> Option<Extract> {
    let mut rules = mapping.rules.iter().filter(|rule| rule.route.to_string() == route);
    rules.find_map(|rule| match &rule.source {
        Source::Answer(extract) | Source::Sink(_, extract) => Some(extract.clone()),
        Source::Nothing => None,
    })
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [one] if !one.is_ascii_alphanumeric() && !matches!(one, b'"' | b'\n' | b'\r') => Ok(*one),
        _ => Err(format!("`{text}` is not one sign such as \",\", \";\" or \"\\t\"")),
    }
}
