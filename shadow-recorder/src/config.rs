//! One `shadow.toml` for the three programs: how it is read, and the recorder's sections of it.
//!
//! A program takes the sections it knows from a [`Document`]; the rest is another program's. Every scalar of a section that exists
//! once can be overridden by an environment variable `SHADOW_<SECTION>_<KEY>`. All mistakes are reported together, each with its
//! line; an unknown key is a mistake.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use toml_span::value::{Table as TomlTable, Value, ValueInner};

pub mod egress;
pub mod recorder;
pub mod redaction;
pub mod sidecar;
pub mod store;
pub mod upstream;
mod business_key;
mod sampling;
mod table;

pub use table::{At, Table, parse_duration, parse_regex};

/// The sections of `shadow.toml`, whichever program reads them.
const SECTIONS: [&str; 12] = [
    "service",
    "store",
    "recorder",
    "stratum",
    "redaction",
    "redact",
    "upstream",
    "egress",
    "ledger",
    "replay",
    "supplied",
    "certify",
];

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

    /// Returns a variable of the environment, in which secrets are kept.
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }

    /// Reports a mistake that no single place of the file makes.
    pub fn mistake_of_all(&self, what: String) {
        self.mistake(0, what);
    }

    fn mistake(&self, at: usize, what: String) {
        let line = self.text[..at.min(self.text.len())].matches('\n').count() + 1;
        self.mistakes.borrow_mut().push((line, what));
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
