//! A section of the configuration, whose keys are taken one by one with their types.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use regex::Regex;
use toml_span::value::{Table as TomlTable, Value, ValueInner};

use super::{Document, nearest};
use crate::amount::Amount;

/// A section whose keys are being taken. What is left when it is [finished](Table::finish) is unknown.
#[derive(Debug)]
pub struct Table<'d, 't> {
    pub(super) document: &'d Document<'t>,
    pub(super) name: String,
    pub(super) at: Option<usize>,
    pub(super) entries: TomlTable<'t>,
    // Only the keys of a section that exists once have an environment variable of their own.
    pub(super) overridable: bool,
}

/// A value with its place, so that a check of its meaning can report where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    at: usize,
}

impl<'d, 't> Table<'d, 't> {
    /// Returns the document, for paths.
    pub fn document(&self) -> &'d Document<'t> {
        self.document
    }

    /// Returns whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Returns the names of the keys that were not taken yet.
    pub fn keys(&self) -> Vec<String> {
        self.entries.keys().map(|key| key.name.to_string()).collect()
    }

    /// Reports a mistake of the section as a whole.
    pub fn mistake(&self, what: &str) {
        self.document.mistake(self.at.unwrap_or(0), format!("{}: {what}", self.label()));
    }

    /// Reports a mistake at a value.
    pub fn mistake_at<T>(&self, at: &At<T>, what: &str) {
        self.document.mistake(at.at, format!("{}: {what}", self.label()));
    }

    /// Takes a text; numbers and booleans are not texts.
    pub fn text(&mut self, key: &str) -> Option<At<String>> {
        if let Some(value) = self.overridden(key) {
            self.entries.remove(key);
            return Some(value);
        }
        let mut value = self.entries.remove(key)?;
        let at = value.span.start;
        match value.take() {
            ValueInner::String(text) => Some(At { value: text.into_owned(), at }),
            other => {
                self.wrong(at, key, &format!("must be a text in quotes, not {}", other.type_str()))
            }
        }
    }

    /// Takes a text that must be there.
    pub fn required(&mut self, key: &str) -> Option<At<String>> {
        let had = self.has(key);
        let value = self.text(key);
        if value.is_none() && !had {
            self.missing(key);
        }
        value
    }

    /// Reports a key that must be there.
    pub fn missing(&self, key: &str) {
        let label = self.label();
        match self.at {
            Some(at) => self.document.mistake(at, format!("{label}: `{key}` is missing")),
            None => {
                self.document.mistake(0, format!("section {label} is missing; it needs `{key}`"));
            }
        }
    }

    /// Takes a text and reads it by `parse`, whose error is reported at the value.
    pub fn parsed<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        match parse(&text.value) {
            Ok(value) => Some(value),
            Err(what) => self.wrong(text.at, key, &what),
        }
    }

    /// Takes an address `IP:PORT`.
    pub fn address(&mut self, key: &str) -> Option<SocketAddr> {
        self.parsed(key, |text| {
            text.parse().map_err(|_| {
                format!("`{text}` is not an address: write IP:PORT, for example 127.0.0.1:8080")
            })
        })
    }

    /// Takes a duration such as `250ms`, `30s`, `5m`, `24h` or `14d`.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        self.parsed(key, parse_duration)
    }

    /// Takes an exact amount: a whole number, or a decimal in quotes.
    pub fn amount(&mut self, key: &str) -> Option<Amount> {
        if let Some(whole) = self.entries.get(key).and_then(Value::as_integer) {
            self.entries.remove(key);
            return whole.to_string().parse().ok();
        }
        if let Some(value) = self.entries.get(key)
            && value.as_float().is_some()
        {
            let at = value.span.start;
            self.entries.remove(key);
            return self.wrong(at, key, "write an amount with decimals in quotes, for example \"1000.50\": money is never a float");
        }
        self.parsed(key, |text| text.parse().map_err(|error| format!("{error}")))
    }

    /// Takes a whole number that is at least `least`.
    pub fn integer(&mut self, key: &str, least: u64) -> Option<u64> {
        let read = |number: i64| u64::try_from(number).ok().filter(|number| *number >= least);
        if let Some(text) = self.overridden(key) {
            self.entries.remove(key);
            let number = text.value.parse().ok().and_then(read);
            return number.or_else(|| {
                self.wrong(text.at, key, &format!("must be a whole number of at least {least}"))
            });
        }
        let value = self.entries.remove(key)?;
        let number = value.as_integer().and_then(read);
        number.or_else(|| {
            self.wrong(
                value.span.start,
                key,
                &format!("must be a whole number of at least {least}"),
            )
        })
    }

    /// Takes a boolean.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        if let Some(text) = self.overridden(key) {
            self.entries.remove(key);
            let flag = text.value.parse().ok();
            return flag.or_else(|| self.wrong(text.at, key, "must be true or false"));
        }
        let value = self.entries.remove(key)?;
        value.as_bool().or_else(|| self.wrong(value.span.start, key, "must be true or false"))
    }

    /// Takes a list of texts.
    pub fn texts(&mut self, key: &str) -> Option<Vec<At<String>>> {
        let mut value = self.entries.remove(key)?;
        let at = value.span.start;
        let ValueInner::Array(items) = value.take() else {
            return self.wrong(at, key, "must be a list of texts");
        };
        let mut texts = Vec::new();
        for mut item in items {
            let at = item.span.start;
            match item.take() {
                ValueInner::String(text) => texts.push(At { value: text.into_owned(), at }),
                _ => return self.wrong(at, key, "must be a list of texts"),
            }
        }
        Some(texts)
    }

    /// Takes a table of texts, whatever its keys.
    pub fn text_map(&mut self, key: &str) -> Option<BTreeMap<String, At<String>>> {
        let mut table = self.table(key)?;
        let texts = table.keys().into_iter();
        Some(texts.filter_map(|key| table.text(&key).map(|text| (key, text))).collect())
    }

    /// Takes a table within this one.
    pub fn table(&mut self, key: &str) -> Option<Table<'d, 't>> {
        let value = self.entries.remove(key)?;
        Some(self.document.table(format!("{}.{key}", self.name), value))
    }

    /// Takes a list of tables within this one.
    pub fn tables(&mut self, key: &str) -> Vec<Table<'d, 't>> {
        let Some(mut value) = self.entries.remove(key) else { return Vec::new() };
        let at = value.span.start;
        let ValueInner::Array(items) = value.take() else {
            self.wrong::<()>(at, key, "there may be several: write it as [[…]]");
            return Vec::new();
        };
        items
            .into_iter()
            .map(|item| self.document.table(format!("{}.{key}", self.name), item))
            .collect()
    }

    /// Returns whether the key holds a list.
    pub fn holds_list(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.as_array().is_some())
    }

    /// Returns whether the key holds a table.
    pub fn holds_table(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.as_table().is_some())
    }

    /// Reports what was not taken.
    pub fn finish(self, known: &[&str]) {
        for key in self.entries.keys() {
            let hint = nearest(&key.name, known);
            self.document.mistake(
                key.span.start,
                format!("{}: unknown key `{}`{hint}", self.label(), key.name),
            );
        }
    }

    fn wrong<T>(&self, at: usize, key: &str, what: &str) -> Option<T> {
        self.document.mistake(at, format!("{}: `{key}` {what}", self.label()));
        None
    }

    fn label(&self) -> String {
        format!("[{}]", self.name)
    }

    fn overridden(&self, key: &str) -> Option<At<String>> {
        if !self.overridable {
            return None;
        }
        let name = format!("SHADOW_{}_{}", self.name, key).to_uppercase();
        let value = (self.document.environment)(&name)?;
        Some(At { value, at: self.at.unwrap_or(0) })
    }
}

/// Longer durations than ten years are slips of the pen, and overflow where they are added to a time.
const DURATION_MAX: Duration = Duration::from_hours(10 * 366 * 24);

/// Reads a duration: a whole number and a unit, nothing else.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is not a duration: write a whole number and a unit, for example 250ms, 30s, 5m, 24h or 14d"
        )
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..split].parse().map_err(|_| wrong())?;
    let seconds = |unit: u64| number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong);
    let duration = match &text[split..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        "d" => seconds(86_400),
        _ => Err(wrong()),
    }?;
    if duration > DURATION_MAX {
        return Err(format!("`{text}` is longer than ten years"));
    }
    Ok(duration)
}

/// Reads a regular expression.
pub fn parse_regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("`{text}` is not a regular expression: {error}"))
}
