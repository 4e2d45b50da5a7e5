//! The files that somebody brings: which they are, in which format, and what proves later that they were these.

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use shadow_recorder::digest::sha256_of;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values with a line of names, RFC 4180.
    Csv,
    /// One JSON document a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Returns the name for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::JsonLines => "JSON lines",
            Self::Parquet => "Parquet",
        }
    }

    /// Tells the format by a file's name; the error says what to do.
    fn of(path: &Path) -> Result<Self, String> {
        let extension = path.extension().and_then(|text| text.to_str()).unwrap_or_default();
        match &*extension.to_ascii_lowercase() {
            "csv" => Ok(Self::Csv),
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "parquet" => Ok(Self::Parquet),
            _ => Err(format!(
                "{} does not say by its name how it is written: rename it to .csv, .jsonl, .ndjson or .parquet, or give --format",
                path.display()
            )),
        }
    }
}

/// Which side of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What production booked.
    Primary,
    /// What the candidate booked.
    Shadow,
}

impl Side {
    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Shadow => "shadow",
        }
    }
}

/// A file as the evidence of a run keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuppliedFile {
    /// Whose entries it holds.
    pub side: Side,
    /// Its name, as it was given.
    pub name: String,
    /// How it is written.
    pub format: Format,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// Its rows, or documents; those that could not be read among them.
    pub rows: u64,
    /// Those that could not be read.
    pub unreadable: u64,
    /// The file before it with the same content, so that this one was not read a second time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<String>,
}

/// A file that is open to be read.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) of: SuppliedFile,
}

impl Opened {
    /// Opens a file and takes its digest: what is read afterwards is the same file, whatever is put in its place meanwhile.
    pub(super) fn open(side: Side, path: &Path, format: Option<Format>) -> Result<Self, String> {
        let format = format.map_or_else(|| Format::of(path), Ok)?;
        let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
        let mut file = File::open(path).map_err(cannot)?;
        let (bytes, sha256) = sha256_of(&mut file).map_err(cannot)?;
        file.rewind().map_err(cannot)?;
        let name = path.display().to_string();
        let of = SuppliedFile {
            side,
            name,
            format,
            bytes,
            sha256,
            rows: 0,
            unreadable: 0,
            repeats: None,
        };
        Ok(Self { file, of })
    }
}

/// Returns the files that names and patterns such as `entries/*.parquet` stand for, each once, sorted.
pub(super) fn expand(patterns: &[String]) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for pattern in patterns {
        // A file may have the signs of a pattern in its name.
        if Path::new(pattern).is_file() || !pattern.contains(['*', '?', '[']) {
            paths.push(PathBuf::from(pattern));
            continue;
        }
        let before = paths.len();
        let found = glob::glob(pattern)
            .map_err(|error| format!("`{pattern}` is not a pattern: {error}"))?;
        for path in found {
            let path = path.map_err(|error| format!("cannot look for {pattern}: {error}"))?;
            if path.is_file() {
                paths.push(path);
            }
        }
        if paths.len() == before {
            return Err(format!("no file is called {pattern}"));
        }
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}
