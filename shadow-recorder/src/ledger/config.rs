//! `[[ledger]]`: how the mapping is written.
//!
//! `dimensions` and `fields` hold fields by names of their own. A dimension is a column of the journal, and money is judged by it; a
//! field is compared line by line and is a part of no total.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::{
    AmountField, Extract, Field, Level, Mapping, Money, Path, Route, Rule, Side, Source,
    StatusPattern,
};
use crate::config::upstream::Upstream;
use crate::config::{Document, Table, parse_regex};

/// Names that a dimension or a field cannot have: the columns of the journal's table `entry`, and the parts of its files' keys.
pub const TAKEN: [&str; 21] = [
    "run_id",
    "exchange_id",
    "occurred_at",
    "transaction",
    "line",
    "transaction_key",
    "source",
    "line_of_business",
    "gl_account",
    "currency",
    "debit",
    "credit",
    "accounting_date",
    "entity",
    "kind",
    "pi",
    "blame",
    "field",
    "change",
    "revision",
    "shard",
];

const KNOWN: [&str; 20] = [
    "route",
    "status",
    "no_entries",
    "sink",
    "transactions",
    "key",
    "entries",
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
    "name",
];

/// Takes every `[[ledger]]`. A sink that is misspelt or that no rule reads would be money that nobody compares.
pub fn mapping(document: &Document<'_>, upstreams: &[Upstream]) -> Mapping {
    let sinks: BTreeSet<String> = upstreams
        .iter()
        .filter(|upstream| upstream.sink)
        .map(|upstream| upstream.name.clone())
        .collect();
    let mut rules: Vec<Rule> = Vec::new();
    for mut table in document.sections("ledger") {
        rules.extend(rule(&mut table, &sinks));
        table.finish(&KNOWN);
    }
    let is_read = |sink: &String| {
        rules.iter().any(|rule| matches!(&rule.source, Source::Sink(name, _) if name == sink))
    };
    for unread in sinks.iter().filter(|sink| !is_read(sink)) {
        document.mistake_of_all(format!(
            "upstream {unread} is a sink, and no [[ledger]] reads what is posted to it: add one with `sink = \"{unread}\"`"
        ));
    }
    Mapping { rules, sinks }
}

fn rule(table: &mut Table<'_, '_>, sinks: &BTreeSet<String>) -> Option<Rule> {
    if !table.has("route") {
        table.missing("route");
    }
    let route = table.parsed("route", Route::parse);
    let status = table.parsed("status", StatusPattern::parse).unwrap_or(StatusPattern::Class(2));
    let source = if table.flag("no_entries").unwrap_or(false) {
        Some(Source::Nothing)
    } else {
        let sink = table.text("sink");
        if let Some(sink) = sink.as_ref().filter(|sink| !sinks.contains(&sink.value)) {
            let what = format!("`{}` is not an [[upstream]] with `sink = true`", sink.value);
            table.mistake_at(sink, &what);
        }
        let extract = extract(table);
        extract.map(|extract| match sink {
            Some(name) => Source::Sink(name.value, extract),
            None => Source::Answer(extract),
        })
    };
    Some(Rule { route: route?, status, source: source? })
}

/// Takes how transactions are read from one document.
pub fn extract(table: &mut Table<'_, '_>) -> Option<Extract> {
    let transactions = path(table, "transactions");
    let entries = path(table, "entries");
    let key = table.has("key").then(|| field(table, "key", Level::Transaction));
    let line_of_business = field(table, "line_of_business", Level::Entry);
    let gl_account = field(table, "gl_account", Level::Entry);
    let currency = field(table, "currency", Level::Entry);
    let money = money(table);
    let mut optional = |name| table.has(name).then(|| field(table, name, Level::Entry)).flatten();
    let accounting_date = optional("accounting_date");
    let entity = optional("entity");
    let (dimensions, fields) = (named(table, "dimensions"), named(table, "fields"));
    for twice in dimensions.keys().filter(|name| fields.contains_key(*name)) {
        table.mistake(&format!(
            "`{twice}` is in `dimensions` and in `fields`: money is compared by a dimension anyway, so take it out of `fields`"
        ));
    }
    Some(Extract {
        transactions: transactions?,
        entries: entries?,
        key: key.flatten(),
        line_of_business: line_of_business?,
        gl_account: gl_account?,
        currency: currency?,
        money: money?,
        accounting_date,
        entity,
        dimensions,
        fields,
    })
}

/// Takes a table of fields, each under a name of its own.
fn named(table: &mut Table<'_, '_>, key: &str) -> BTreeMap<String, Field> {
    let Some(mut inner) = table.table(key) else { return BTreeMap::new() };
    let mut fields = BTreeMap::new();
    for name in inner.keys() {
        if !is_name(&name) {
            inner.mistake(&format!(
                "`{name}` is not a name: write lower-case letters, digits and `_`, a letter first"
            ));
        } else if TAKEN.contains(&&*name) {
            inner.mistake(&format!(
                "`{name}` is taken by a column of the journal: choose another name"
            ));
        }
        fields.extend(field(&mut inner, &name, Level::Entry).map(|field| (name, field)));
    }
    inner.finish(&[]);
    fields
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn money(table: &mut Table<'_, '_>) -> Option<Money> {
    let apart = table.has("debit") || table.has("credit");
    match (apart, table.has("amount")) {
        (true, true) => {
            table.mistake("write either `debit` and `credit`, or `amount`");
            None
        }
        (false, false) => {
            table.mistake("`debit` and `credit`, or `amount`, are missing");
            None
        }
        (true, false) => {
            let (debit, credit) = (amount(table, "debit"), amount(table, "credit"));
            Some(Money::Apart { debit: debit?, credit: credit? })
        }
        (false, true) => {
            let amount = amount(table, "amount");
            if let Some(mut side) = table.holds_table("side").then(|| table.table("side")).flatten()
            {
                let debit = side.text("debit").map_or("debit".into(), |text| text.value);
                let credit = side.text("credit").map_or("credit".into(), |text| text.value);
                let side = field_of(side, Level::Entry, &["debit", "credit"]);
                return Some(Money::Sided { amount: amount?, side: side?, debit, credit });
            }
            let positive = table.parsed("positive", |text| match text {
                "debit" => Ok(Side::Debit),
                "credit" => Ok(Side::Credit),
                _ => Err(format!("`{text}` is no side: write \"debit\" or \"credit\"")),
            });
            Some(Money::Signed { amount: amount?, positive: positive.unwrap_or(Side::Debit) })
        }
    }
}

fn amount(table: &mut Table<'_, '_>, key: &str) -> Option<AmountField> {
    if !table.holds_table(key) {
        return field(table, key, Level::Entry)
            .map(|field| AmountField::Decimal { field, minor_units: false });
    }
    let mut inner = table.table(key)?;
    if !inner.has("mantissa") {
        let minor_units = inner.flag("minor_units").unwrap_or(false);
        let field = field_of(inner, Level::Entry, &["minor_units", "mantissa", "places"])?;
        return Some(AmountField::Decimal { field, minor_units });
    }
    let from = level(&mut inner, Level::Entry);
    let optional = inner.flag("optional").unwrap_or(false);
    let read = |path| Field::Read { from, path, capture: None, optional };
    let mantissa = path(&mut inner, "mantissa");
    let places = path(&mut inner, "places");
    inner.finish(&["mantissa", "places", "from", "optional"]);
    Some(AmountField::Mantissa { mantissa: read(mantissa?), places: read(places?) })
}

/// Takes a field that must be there: a path in quotes, or a table with `path` or `value`.
fn field(table: &mut Table<'_, '_>, key: &str, level: Level) -> Option<Field> {
    if table.holds_table(key) {
        return field_of(table.table(key)?, level, &[]);
    }
    path(table, key).map(|path| Field::Read { from: level, path, capture: None, optional: false })
}

fn field_of(mut table: Table<'_, '_>, default: Level, further: &[&str]) -> Option<Field> {
    let constant = table.text("value");
    let from = level(&mut table, default);
    let capture = table.parsed("capture", capture);
    let optional = table.flag("optional").unwrap_or(false);
    let field = match constant {
        Some(constant) if table.has("path") => {
            table.mistake_at(&constant, "write either `path` or `value`");
            None
        }
        Some(constant) => Some(Field::Constant(constant.value)),
        None => path(&mut table, "path").map(|path| Field::Read { from, path, capture, optional }),
    };
    let known: Vec<&str> =
        ["path", "value", "from", "capture", "optional"].iter().chain(further).copied().collect();
    table.finish(&known);
    field
}

fn capture(text: &str) -> Result<Regex, String> {
    let pattern = parse_regex(text)?;
    if pattern.captures_len() < 2 {
        return Err(format!("`{text}` has no group: put what is to be kept in parentheses"));
    }
    Ok(pattern)
}

fn level(table: &mut Table<'_, '_>, default: Level) -> Level {
    let level = table.parsed("from", |text| match text {
        "entry" => Ok(Level::Entry),
        "transaction" => Ok(Level::Transaction),
        "answer" => Ok(Level::Answer),
        _ => Err(format!("`{text}` is no level: write \"entry\", \"transaction\" or \"answer\"")),
    });
    level.unwrap_or(default)
}

fn path(table: &mut Table<'_, '_>, key: &str) -> Option<Path> {
    if !table.has(key) {
        table.missing(key);
    }
    table.parsed(key, Path::parse)
}
