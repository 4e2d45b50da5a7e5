//! One `shadow.toml` for the three programs: how it is read, and the recorder's sections of it.
//!
//! A program takes the sections it knows from a [`Document`]; the rest is another program's. Every scalar of a section
//! that exists once can be overridden by an environment variable `SHADOW_<SECTION>_<KEY>`. All mistakes are reported together, each with its line; an unknown
//! key is a mistake.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;
use toml_span::value::{Table as TomlTable, Value, ValueInner};

use crate::amount::Amount;

pub mod recorder;
pub mod sidecar;

/// The sections of `shadow.toml`, whichever program reads them.
const SECTIONS: [&str; 7] =
    ["service", "store", "recorder", "upstream", "ledger", "replay", "certify"];

/// Reads an environment variable; a parameter, so that tests need no process-wide state.
pub type Environment = fn(&str) -> Option<String>;

/// The environment of this process.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What is wrong with a configuration, all of it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: give its path with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that cannot be used.
    #[error("the configuration has {} mistake{}:\n{}", .0.len(), if .0.len() == 1 { "" } else { "s" }, .0.join("\n"))]
    Mistakes(Vec<String>),
}

/// A configuration file of which sections are being taken.
#[derive(Debug)]
pub struct Document<'t> {
    file: &'t Path,
    text: &'t str,
    environment: Environment,
    root: RefCell<TomlTable<'t>>,
    mistakes: RefCell<Vec<(usize, String)>>,
}

/// Reads the file's text, to be handed to [`Document::parse`].
pub fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })
}

impl<'t> Document<'t> {
    /// Parses the file's text.
    pub fn parse(
        file: &'t Path,
        text: &'t str,
        environment: Environment,
    ) -> Result<Self, ConfigError> {
        let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let mut value = toml_span::parse(text).map_err(|error| {
            ConfigError::Mistakes(vec![format!(
                "  {}:{}: {}",
                file.display(),
                line(error.span.start),
                error.kind
            )])
        })?;
        let root = match value.take() {
            ValueInner::Table(table) => table,
            _ => TomlTable::default(),
        };
        Ok(Self { file, text, environment, root: RefCell::new(root), mistakes: RefCell::default() })
    }

    /// Takes a section `[name]`. Where it is absent, an empty one whose required keys will be reported.
    pub fn section(&self, name: &'static str) -> Table<'_, 't> {
        match self.root.borrow_mut().remove(name) {
            Some(value) => Table { overridable: true, ..self.table(name.into(), value) },
            None => Table {
                document: self,
                name: name.into(),
                at: None,
                entries: TomlTable::default(),
                overridable: true,
            },
        }
    }

    /// Returns a section that has not been taken yet as canonical JSON: the same rules give the same text, whatever the
    /// layout, comments and order of the file. Digests of the policy are made from it.
    pub fn canonical(&self, name: &str) -> String {
        self.root.borrow().get(name).map_or("null".into(), |value| canonical(value).to_string())
    }

    /// Takes the sections `[[name]]`, in order.
    pub fn sections(&self, name: &'static str) -> Vec<Table<'_, 't>> {
        let Some(mut value) = self.root.borrow_mut().remove(name) else { return Vec::new() };
        let at = value.span.start;
        if let ValueInner::Array(items) = value.take() {
            items.into_iter().map(|item| self.table(name.into(), item)).collect()
        } else {
            self.mistake(at, format!("write [[{name}]], not [{name}]: there may be several"));
            Vec::new()
        }
    }

    /// Reports every mistake found, unknown sections included.
    pub fn finish(self) -> Result<(), ConfigError> {
        for (key, value) in self.root.borrow().iter() {
            if !SECTIONS.contains(&&*key.name) {
                let hint = nearest(&key.name, &SECTIONS);
                self.mistake(
                    value.span.start.min(key.span.start),
                    format!("unknown section [{}]{hint}", key.name),
                );
            }
        }
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        mistakes.dedup();
        if mistakes.is_empty() {
            return Ok(());
        }
        let file = self.file.display();
        Err(ConfigError::Mistakes(
            mistakes.into_iter().map(|(line, what)| format!("  {file}:{line}: {what}")).collect(),
        ))
    }

    /// Returns a path of the configuration, which is relative to the configuration's own folder.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    fn table(&self, name: String, mut value: Value<'t>) -> Table<'_, 't> {
        let at = value.span.start;
        let entries = match value.take() {
            ValueInner::Table(entries) => entries,
            other => {
                self.mistake(at, format!("{name} must be a table, not {}", other.type_str()));
                TomlTable::default()
            }
        };
        Table { document: self, name, at: Some(at), entries, overridable: false }
    }

    fn mistake(&self, at: usize, what: String) {
        let line = self.text[..at.min(self.text.len())].matches('\n').count() + 1;
        self.mistakes.borrow_mut().push((line, what));
    }
}

/// A section whose keys are being taken. What is left when it is [finished](Table::finish) is unknown.
#[derive(Debug)]
pub struct Table<'d, 't> {
    document: &'d Document<'t>,
    name: String,
    at: Option<usize>,
    entries: TomlTable<'t>,
    // Only the keys of a section that exists once have an environment variable of their own.
    overridable: bool,
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

    /// Returns whether the section was written at all.
    pub fn is_present(&self) -> bool {
        self.at.is_some()
    }

    /// Returns whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
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
        let keys: Vec<String> = table.entries.keys().map(|key| key.name.to_string()).collect();
        Some(keys.into_iter().filter_map(|key| table.text(&key).map(|text| (key, text))).collect())
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

fn canonical(value: &Value<'_>) -> serde_json::Value {
    match value.as_ref() {
        ValueInner::String(text) => text.as_ref().into(),
        ValueInner::Integer(number) => (*number).into(),
        ValueInner::Float(number) => number.to_string().into(),
        ValueInner::Boolean(flag) => (*flag).into(),
        ValueInner::Array(items) => items.iter().map(canonical).collect(),
        // A map of serde_json is sorted by key.
        ValueInner::Table(table) => {
            table.iter().map(|(key, value)| (key.name.to_string(), canonical(value))).collect()
        }
    }
}

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
    match &text[split..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        "d" => seconds(86_400),
        _ => Err(wrong()),
    }
}

/// Reads a regular expression.
pub fn parse_regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("`{text}` is not a regular expression: {error}"))
}

/// Returns ` (did you mean …?)`, or the known names where nothing is near.
fn nearest(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (distance(name, known), known)).min();
    match near {
        Some((distance, known)) if distance <= 2 => format!("; did you mean `{known}`?"),
        _ if known.is_empty() => String::new(),
        _ => format!("; known are {}", known.join(", ")),
    }
}

/// Levenshtein distance, for a hint.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests;
