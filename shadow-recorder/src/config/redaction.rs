//! `[redaction]` and `[[redact]]`: what is removed before anything is written.

use std::sync::Arc;

use super::upstream::Upstream;
use super::{At, Document, Table};
use crate::ledger::Mapping;
use crate::redact::{Format, KEY_CHARS_MIN, Key, Redactor, Rule, With, Written, headers_dropped};
use crate::segment;

/// The rules as configured.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// The key of the tokens.
    pub key: Option<Key>,
    /// Whether a recorded request says who called, by a token of the credential that is dropped.
    pub principal: bool,
    /// The rules.
    pub rules: Vec<Rule>,
    /// The same as they are written.
    pub written: Vec<Written>,
}

impl Redaction {
    /// Returns what applies the rules; `None` where they need a key and there is none.
    pub fn redactor(&self) -> Option<Arc<Redactor>> {
        Redactor::new(self.rules.clone(), self.key.clone()).map(Arc::new)
    }

    /// Returns what a segment's header says of the rules.
    pub fn header(&self) -> segment::Redaction {
        let fingerprint = self.key.as_ref().filter(|_| self.needs_key()).map(Key::fingerprint);
        segment::Redaction {
            headers_dropped: headers_dropped(),
            rules: self.written.clone(),
            principal: self.principal,
            key_fingerprint: fingerprint,
        }
    }

    /// Returns whether tokens are made.
    pub fn needs_key(&self) -> bool {
        self.principal || self.rules.iter().any(Rule::makes_tokens)
    }
}

/// The keys of `[[redact]]`.
const KNOWN: [&str; 10] =
    ["upstream", "route", "header", "query", "path", "json", "form", "opaque", "with", "format"];

/// Takes `[redaction]` and `[[redact]]`. Who only reads recordings needs no key to be configured.
pub fn redaction(document: &Document<'_>, upstreams: &[Upstream], mapping: &Mapping) -> Redaction {
    let mut table = document.section("redaction");
    let key = table.text("key").and_then(|key| checked_key(&table, &key));
    let principal = table.flag("principal").unwrap_or(false);
    table.finish(&["key", "principal"]);
    let mut redaction = Redaction { key, principal, ..Redaction::default() };
    for mut table in document.sections("redact") {
        if let Some((written, rule)) = rule(&mut table, upstreams) {
            for what in rule.money_in(mapping) {
                table.mistake(&format!(
                    "it would redact what a [[ledger]] reads as {what}: amounts and accounts are compared and must stay"
                ));
            }
            redaction.written.push(written);
            redaction.rules.push(rule);
        }
        table.finish(&KNOWN);
    }
    redaction
}

/// Reports a missing key where tokens are made.
pub fn require_key(document: &Document<'_>, redaction: &Redaction) {
    if redaction.key.is_none() && redaction.needs_key() {
        document.mistake_of_all(
            "[redaction]: `key` is missing: where tokens are made set it, or SHADOW_REDACTION_KEY, to a secret text, the same for all sidecars and the replayer".into(),
        );
    }
}

/// No mistake shows the key.
fn checked_key(table: &Table<'_, '_>, key: &At<String>) -> Option<Key> {
    if key.value.chars().count() >= KEY_CHARS_MIN {
        return Some(Key::new(&key.value));
    }
    table.mistake_at(
        key,
        &format!("`key` has less than {KEY_CHARS_MIN} characters and could be guessed: make one by `openssl rand -hex 32`"),
    );
    None
}

fn rule(table: &mut Table<'_, '_>, upstreams: &[Upstream]) -> Option<(Written, Rule)> {
    let text = |table: &mut Table<'_, '_>, key| table.text(key).map(|text| text.value);
    let upstream = table.text("upstream");
    let unknown = |named: &&At<String>| !upstreams.iter().any(|known| known.name == named.value);
    if let Some(named) = upstream.as_ref().filter(unknown) {
        table.mistake_at(named, &format!("there is no [[upstream]] `{}`", named.value));
    }
    // A word that is wrong is reported as such, and not as missing as well.
    let (has_with, has_format) = (table.has("with"), table.has("format"));
    let written = Written {
        upstream: upstream.map(|upstream| upstream.value),
        route: text(table, "route"),
        header: text(table, "header"),
        query: text(table, "query"),
        path: text(table, "path"),
        json: text(table, "json"),
        form: text(table, "form"),
        opaque: table.flag("opaque").unwrap_or(false),
        with: table.parsed("with", with),
        format: table.parsed("format", format),
    };
    if has_with != written.with.is_some() || has_format != written.format.is_some() {
        return None;
    }
    match Rule::parse(&written) {
        Ok(rule) => Some((written, rule)),
        Err(mistakes) => {
            for what in mistakes {
                table.mistake(&what);
            }
            None
        }
    }
}

fn with(text: &str) -> Result<With, String> {
    match text {
        "drop" => Ok(With::Drop),
        "mask" => Ok(With::Mask),
        "token" => Ok(With::Token),
        _ => Err(format!("`{text}` is unknown: write \"drop\", \"mask\" or \"token\"")),
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "digits" => Ok(Format::Digits),
        "email" => Ok(Format::Email),
        "luhn" => Ok(Format::Luhn),
        "iban" => Ok(Format::Iban),
        _ => Err(format!(
            "`{text}` is no format: write \"text\", \"digits\", \"email\", \"luhn\" or \"iban\""
        )),
    }
}

#[cfg(test)]
mod tests;
