//! The files of which a run was made without a replay.

use shadow_replayer::supplied::SuppliedFile;

use crate::number::count;
use crate::report::text::{Text, more};
use crate::verdict::Supplied as Of;

/// Files that the page shows; the verdict has all.
const FILES_MAX: usize = 40;

/// The section of supplied files.
pub(super) struct Supplied {
    pub(super) files: Vec<File>,
    pub(super) more: u64,
    pub(super) only_primary: String,
    pub(super) only_shadow: String,
}

/// A file.
pub(super) struct File {
    pub(super) side: &'static str,
    pub(super) name: Text,
    pub(super) format: &'static str,
    pub(super) bytes: String,
    pub(super) rows: String,
    pub(super) unreadable: String,
    pub(super) sha256: Text,
    /// The file with the same content that was read instead.
    pub(super) repeats: Option<Text>,
}

impl Supplied {
    pub(super) fn of(supplied: &Of) -> Self {
        Self {
            files: supplied.files.iter().take(FILES_MAX).map(file).collect(),
            more: more(supplied.files.len(), FILES_MAX),
            only_primary: count(supplied.only_primary),
            only_shadow: count(supplied.only_shadow),
        }
    }
}

fn file(file: &SuppliedFile) -> File {
    File {
        side: file.side.word(),
        name: Text::name(&file.name),
        format: file.format.word(),
        bytes: count(file.bytes),
        rows: count(file.rows),
        unreadable: count(file.unreadable),
        sha256: Text::name(&file.sha256),
        repeats: file.repeats.as_deref().map(Text::name),
    }
}
