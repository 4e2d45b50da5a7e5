//! Brings a journal to where polars reads it: each file held against the digest with which its attempt won, because nobody judges a
//! journal that was changed. A directory is read as it lies; of a bucket the files are copied to a temporary folder.

use std::path::{Path, PathBuf};

use shadow_recorder::digest::sha256;
use shadow_recorder::store::Store;
use shadow_replayer::store::WonFile;
use tempfile::TempDir;

use crate::certify::CertifyError;

/// Where the files lie on this machine, each at its key.
#[derive(Debug)]
pub(crate) enum Local {
    /// In the store itself.
    InPlace(PathBuf),
    /// In a folder that is removed with this value.
    Fetched(TempDir),
}

impl Local {
    pub(crate) fn root(&self) -> &Path {
        match self {
            Self::InPlace(root) => root,
            Self::Fetched(folder) => folder.path(),
        }
    }
}

/// Verifies the files, one after another.
pub(crate) async fn verified<'f>(
    store: &Store,
    files: impl Iterator<Item = &'f WonFile>,
) -> Result<Local, CertifyError> {
    let local = match store.root() {
        Some(root) => Local::InPlace(root.to_owned()),
        None => Local::Fetched(tempfile::tempdir().map_err(CertifyError::Scratch)?),
    };
    for file in files {
        let bytes = store.get(&file.target).await.map_err(CertifyError::Journal)?;
        if sha256(&bytes) != file.sha256 {
            return Err(CertifyError::Changed(file.target.clone()));
        }
        if let Local::Fetched(folder) = &local {
            // The store has checked the key.
            keep(&folder.path().join(&file.target), &bytes).await.map_err(CertifyError::Scratch)?;
        }
    }
    Ok(local)
}

async fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(path, bytes).await
}
