//! The store: immutable objects under slash-separated keys, in a directory.
//!
//! Captures, journals, kept answers and reports lie in one store. The contract, which a bucket keeps as well:
//! - an object appears whole or not at all, and is durable when `put` returns;
//! - `list` returns every object under a prefix, in key order;
//! - a key never leaves the store: every part is `[A-Za-z0-9._=-]+` and none is `.` or `..`.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs;
use tokio::io::AsyncWriteExt;

/// Where objects are kept.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What failed, with the key.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The key has a part that could leave the store.
    #[error("`{0}` is not a key of the store: parts are letters, digits and ._=-")]
    Key(String),
    /// Reading failed.
    #[error("cannot read {key} in {root}")]
    Get {
        /// The object.
        key: String,
        /// The store's directory.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {key} in {root}")]
    Put {
        /// The object.
        key: String,
        /// The store's directory.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Listing failed.
    #[error("cannot list {prefix} in {root}")]
    List {
        /// The prefix.
        prefix: String,
        /// The store's directory.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StoreError {
    /// Returns whether the object does not exist, as opposed to a failure of the store.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Get { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Store {
    /// Opens the store in a directory, which is created when the first object is put.
    pub fn directory(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns where the object lies, to be shown to a person.
    pub fn location(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }

    /// Writes an object.
    pub async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(key)?;
        write_durably(&path, bytes).await.map_err(|source| self.put_failed(key, source))
    }

    /// Reads an object.
    pub async fn get(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        fs::read(self.path(key)?).await.map_err(|source| StoreError::Get {
            key: key.into(),
            root: self.root.clone(),
            source,
        })
    }

    /// Removes an object; one that is not there is removed already.
    pub async fn remove(&self, key: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.path(key)?).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.put_failed(key, error))
            }
            _ => Ok(()),
        }
    }

    /// Returns the keys under a prefix that ends with a slash, in order, without those of folders below it.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let folder = self.path(prefix.trim_end_matches('/'))?;
        let failed =
            |source| StoreError::List { prefix: prefix.into(), root: self.root.clone(), source };
        let mut entries = match fs::read_dir(&folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut keys = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_file = entry.file_type().await.map_err(failed)?.is_file();
            if is_file && !name.starts_with(TEMPORARY) {
                keys.push(format!("{prefix}{name}"));
            }
        }
        keys.sort();
        Ok(keys)
    }

    /// Returns a local path by which engines read the object as it lies.
    pub fn path(&self, key: &str) -> Result<PathBuf, StoreError> {
        let part_is_safe = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._=-".contains(&byte))
        };
        if !key.split('/').all(part_is_safe) {
            return Err(StoreError::Key(key.into()));
        }
        Ok(self.root.join(key))
    }

    fn put_failed(&self, key: &str, source: io::Error) -> StoreError {
        StoreError::Put { key: key.into(), root: self.root.clone(), source }
    }
}

const TEMPORARY: &str = ".writing-";

/// Writes beside the target, syncs, renames, and syncs the folder: a reader or a crash sees the whole object or none.
async fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    fs::create_dir_all(folder).await?;
    let temporary = folder.join(format!("{TEMPORARY}{}-{name}", std::process::id()));
    let mut file = fs::File::create(&temporary).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    drop(file);
    fs::rename(&temporary, path).await?;
    fs::File::open(folder).await?.sync_all().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_reads_back_and_is_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::directory(folder.path());
        assert_eq!(store.list("a/b/").await.unwrap(), Vec::<String>::new());
        store.put("a/b/two", b"2").await.unwrap();
        store.put("a/b/one", b"1").await.unwrap();
        store.put("a/b/c/deeper", b"3").await.unwrap();
        assert_eq!(store.list("a/b/").await.unwrap(), ["a/b/one", "a/b/two"]);
        assert_eq!(store.get("a/b/one").await.unwrap(), b"1");
        assert!(store.get("a/b/three").await.unwrap_err().is_missing());
        store.remove("a/b/one").await.unwrap();
        store.remove("a/b/one").await.unwrap();
        assert!(store.get("a/b/one").await.unwrap_err().is_missing());
    }

    #[tokio::test]
    async fn a_key_never_leaves_the_store() {
        let store = Store::directory("/nonexistent");
        for key in
            ["../x", "a/../x", "/etc/passwd", "a//b", "a/\0", "a/%2e%2e", "", "a b", "a\u{2215}b"]
        {
            assert!(matches!(store.get(key).await, Err(StoreError::Key(_))), "{key}");
        }
    }
}
