//! What a verdict tells of entries that were supplied instead of replayed.

use serde::{Deserialize, Serialize};
use shadow_replayer::supplied::SuppliedFile;

/// Where both sides of a comparison came from, where nothing was replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supplied {
    /// The files, production's first: name, format, size, SHA-256, rows and those of them that could not be read.
    pub files: Vec<SuppliedFile>,
    /// Events that only production's files have.
    pub only_primary: u64,
    /// Events that only the candidate's files have.
    pub only_shadow: u64,
}
