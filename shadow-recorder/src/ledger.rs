//! The ledger mapping: from the JSON a service writes to transactions with their journal entry lines.
//!
//! It is configuration only (`[[ledger]]`) and pure: the same bytes read the same on production's side and the candidate's.
//! What cannot be read exactly is *unparseable* with a reason, never skipped and never zero.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::amount::Amount;
use crate::exchange::{Body, End, Exchange, Request};

pub mod config;
mod duplicate;
mod field;
pub(crate) mod path;
mod route;

pub use field::{AmountField, Field, Level, Money, Side};
pub use path::Path;
pub use route::{Route, StatusPattern};

/// One line of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The line of business.
    pub line_of_business: String,
    /// The general-ledger account.
    pub gl_account: String,
    /// ISO 4217 code.
    pub currency: String,
    /// What is debited; zero where the line credits.
    pub debit: Amount,
    /// What is credited; zero where the line debits.
    pub credit: Amount,
    /// The accounting date, where mapped, as written.
    pub accounting_date: Option<String>,
    /// The legal entity, where mapped.
    pub entity: Option<String>,
    /// The values of the further dimensions that the mapping names, less those that are optional and absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, String>,
    /// The values of the fields beside money that the mapping names: a part of a line's equality and of no total.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// Entries that are booked together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Transaction {
    /// What identifies it on both sides, where the mapping names it.
    pub key: Option<String>,
    /// Its lines.
    pub entries: Vec<Entry>,
}

impl Transaction {
    /// Returns whether debits equal credits in every currency, as double-entry accounting demands.
    pub fn balances(&self) -> bool {
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for entry in &self.entries {
            *sums.entry(&entry.currency).or_default() += entry.debit.units() - entry.credit.units();
        }
        sums.values().all(|sum| *sum == 0)
    }
}

/// All rules, in the order of the configuration.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The rules.
    pub rules: Vec<Rule>,
    /// The upstreams that are sinks: whatever is posted there is money.
    pub sinks: BTreeSet<String>,
}

/// One `[[ledger]]`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which requests.
    pub route: Route,
    /// Which answers.
    pub status: StatusPattern,
    /// Where the entries are.
    pub source: Source,
}

/// Where a rule finds entries.
#[derive(Clone, Debug)]
pub enum Source {
    /// The route books nothing, as declared by `no_entries = true`.
    Nothing,
    /// The service's answer.
    Answer(Extract),
    /// The bodies that the service sends to a sink.
    Sink(String, Extract),
}

/// How transactions are read from one JSON document.
#[derive(Clone, Debug)]
pub struct Extract {
    /// From the document to its transactions.
    pub transactions: Path,
    /// From a transaction to its entries.
    pub entries: Path,
    /// What identifies a transaction.
    pub key: Option<Field>,
    /// The line of business.
    pub line_of_business: Field,
    /// The general-ledger account.
    pub gl_account: Field,
    /// ISO 4217 code.
    pub currency: Field,
    /// Debit and credit.
    pub money: Money,
    /// The accounting date.
    pub accounting_date: Option<Field>,
    /// The legal entity.
    pub entity: Option<Field>,
    /// Further dimensions of money, by name.
    pub dimensions: BTreeMap<String, Field>,
    /// Fields beside money that are compared, by name.
    pub fields: BTreeMap<String, Field>,
}

/// One side's answer, as the mapping looks at it: production's or the candidate's.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The request, for its route.
    pub request: &'a Request,
    /// The answer's status.
    pub status: u16,
    /// The answer's content.
    pub body: &'a Body,
    /// The upstream calls by upstream name, in order, for the sinks among them.
    pub calls: &'a [(&'a str, &'a Request)],
}

/// What the mapping made of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It booked these transactions, possibly none.
    Booked(Vec<Transaction>),
    /// It failed (status 400 and above, not mapped otherwise) and booked nothing.
    Failed,
    /// No rule says how to read it.
    Unmapped(String),
    /// It could not be read exactly.
    Unparseable(String),
}

impl Mapping {
    /// Returns the names of the further dimensions, of all rules together.
    pub fn dimensions(&self) -> BTreeSet<String> {
        let of_rule = |rule: &Rule| match &rule.source {
            Source::Answer(extract) | Source::Sink(_, extract) => {
                extract.dimensions.keys().cloned().collect()
            }
            Source::Nothing => Vec::new(),
        };
        self.rules.iter().flat_map(of_rule).collect()
    }

    /// Reads what production booked in an exchange; `None` where its answer did not pass to its end: a part of one says nothing about
    /// money, even where it happens to parse.
    pub fn read_exchange(&self, exchange: &Exchange) -> Option<Reading> {
        let response = exchange.response.as_ref().filter(|_| exchange.end == End::Complete)?;
        let calls = exchange.upstream.iter().map(|call| (&*call.name, &call.request));
        let calls: Vec<(&str, &Request)> = calls.collect();
        let (request, body) = (&exchange.request, &response.body);
        Some(self.read(&Answered { request, status: response.status, body, calls: &calls }))
    }

    /// Reads what an answer booked: from the answer by the first rule for it, and from the sinks by every rule for them.
    pub fn read(&self, answered: &Answered<'_>) -> Reading {
        let method = &*answered.request.method;
        let path = answered.request.path();
        let of_route: Vec<&Rule> =
            self.rules.iter().filter(|rule| rule.route.matches(method, path)).collect();
        let applying: Vec<&Rule> =
            of_route.iter().copied().filter(|rule| rule.status.matches(answered.status)).collect();
        let unread = |(name, _): &&(&str, &Request)| {
            let reads =
                |rule: &&Rule| matches!(&rule.source, Source::Sink(sink, _) if sink == name);
            self.sinks.contains(*name) && !applying.iter().any(reads)
        };
        if let Some((sink, _)) = answered.calls.iter().find(unread) {
            return Reading::Unmapped(format!(
                "no [[ledger]] for what {method} {path} posts to sink {sink} with status {}",
                answered.status
            ));
        }
        if applying.is_empty() {
            return match answered.status {
                400.. if !of_route.is_empty() => Reading::Failed,
                status => Reading::Unmapped(format!(
                    "no [[ledger]] for {method} {path} with status {status}"
                )),
            };
        }
        let mut booked = Vec::new();
        let mut answer_was_read = false;
        for rule in applying {
            let read = match &rule.source {
                Source::Nothing => {
                    answer_was_read = true;
                    Ok(Vec::new())
                }
                Source::Answer(_) if answer_was_read => continue,
                Source::Answer(extract) => {
                    answer_was_read = true;
                    parse(answered.body, extract)
                        .and_then(|document| extract.transactions(&document))
                        .map_err(|what| format!("answer: {what}"))
                }
                Source::Sink(name, extract) => read_sink(name, extract, answered.calls),
            };
            match read {
                Ok(transactions) => booked.extend(transactions),
                Err(what) => return Reading::Unparseable(what),
            }
        }
        Reading::Booked(booked)
    }
}

fn read_sink(
    name: &str,
    extract: &Extract,
    calls: &[(&str, &Request)],
) -> Result<Vec<Transaction>, String> {
    let mut booked = Vec::new();
    for (position, (_, request)) in
        calls.iter().filter(|(upstream, _)| *upstream == name).enumerate()
    {
        let read =
            parse(&request.body, extract).and_then(|document| extract.transactions(&document));
        booked
            .extend(read.map_err(|what| format!("call {} to sink {name}: {what}", position + 1))?);
    }
    Ok(booked)
}

/// Parses what an extract reads. A name that is there twice within it is refused: readers of JSON disagree which one counts.
fn parse(body: &Body, extract: &Extract) -> Result<Value, String> {
    let Some(text) = &body.text else {
        return Err(format!(
            "the body was not recorded ({})",
            body.omitted.map_or("absent".into(), |why| format!("{why:?}"))
        ));
    };
    if text.is_empty() {
        return Err("the body is empty, not JSON".into());
    }
    let document =
        serde_json::from_str(text).map_err(|error| format!("the body is not JSON: {error}"))?;
    match duplicate::within(text, &document, extract) {
        Some(place) => Err(format!("`{place}` is there more than once in its object")),
        None => Ok(document),
    }
}

impl Extract {
    /// Returns what is read as money, by name; beside it the [fields](Extract::fields) are read.
    pub fn money_fields(&self) -> Vec<(&str, &Field)> {
        let mut read = vec![
            ("line_of_business", &self.line_of_business),
            ("gl_account", &self.gl_account),
            ("currency", &self.currency),
        ];
        let optional = [
            ("key", &self.key),
            ("accounting_date", &self.accounting_date),
            ("entity", &self.entity),
        ];
        read.extend(optional.into_iter().filter_map(|(name, field)| Some((name, field.as_ref()?))));
        read.extend(self.dimensions.iter().map(|(name, field)| (&**name, field)));
        read.extend(self.money.fields());
        read
    }

    /// Returns the paths from the document to where a field's path begins.
    pub fn above(&self, level: Level) -> Vec<&Path> {
        match level {
            Level::Answer => vec![],
            Level::Transaction => vec![&self.transactions],
            Level::Entry => vec![&self.transactions, &self.entries],
        }
    }

    /// Reads the transactions of a document; the error says which field of which entry.
    pub fn transactions(&self, document: &Value) -> Result<Vec<Transaction>, String> {
        let nodes =
            self.transactions.all(document).map_err(|error| format!("transactions: {error}"))?;
        let mut transactions = Vec::with_capacity(nodes.len());
        for (t, node) in nodes.into_iter().enumerate() {
            let scope = field::Scope { answer: document, transaction: node, entry: node };
            let at = |what: String| format!("transaction {}: {what}", t + 1);
            let key = self
                .key
                .as_ref()
                .map(|key| key.text(&scope))
                .transpose()
                .map_err(|what| at(format!("key: {what}")))?;
            let lines = self.entries.all(node).map_err(|error| at(format!("entries: {error}")))?;
            let mut entries = Vec::with_capacity(lines.len());
            for (e, line) in lines.into_iter().enumerate() {
                let scope = field::Scope { entry: line, ..scope };
                entries.push(
                    self.entry(&scope).map_err(|what| at(format!("entry {}: {what}", e + 1)))?,
                );
            }
            transactions.push(Transaction { key: key.flatten(), entries });
        }
        Ok(transactions)
    }

    fn entry(&self, scope: &field::Scope<'_>) -> Result<Entry, String> {
        let named = |name: &str, field: &Field| {
            let text = field.text(scope).map_err(|what| format!("{name}: {what}"))?;
            text.ok_or_else(|| {
                format!("{name}: it is optional and absent, but every entry needs it")
            })
        };
        let optional = |name: &str, field: &Option<Field>| match field {
            Some(field) => field.text(scope).map_err(|what| format!("{name}: {what}")),
            None => Ok(None),
        };
        let all = |fields: &BTreeMap<String, Field>| {
            let mut values = BTreeMap::new();
            for (name, field) in fields {
                let value = field.text(scope).map_err(|what| format!("{name}: {what}"))?;
                values.extend(value.map(|value| (name.clone(), value)));
            }
            Ok::<_, String>(values)
        };
        let currency = named("currency", &self.currency)?;
        if iso_currency::Currency::from_code(&currency).is_none() {
            return Err(format!("currency: `{currency}` is not an ISO 4217 code"));
        }
        let (debit, credit) = self.money.read(scope, &currency)?;
        Ok(Entry {
            line_of_business: named("line_of_business", &self.line_of_business)?,
            gl_account: named("gl_account", &self.gl_account)?,
            debit,
            credit,
            accounting_date: optional("accounting_date", &self.accounting_date)?,
            entity: optional("entity", &self.entity)?,
            dimensions: all(&self.dimensions)?,
            fields: all(&self.fields)?,
            currency,
        })
    }
}

#[cfg(test)]
mod tests;
