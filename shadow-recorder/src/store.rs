//! The store: objects under slash-separated keys, in a directory or in an S3-compatible bucket.
//!
//! Captures, journals, kept answers and reports lie in one store. The contract, which both kinds keep and one set of tests holds both to:
//! - an object appears whole or not at all, and is durable when `put` or `create` returns;
//! - `create` never replaces another content, and creating the same content again changes nothing; `put` replaces;
//! - what is read is what was written: a bucket's objects carry the SHA-256 of their content, held against it by every `get`;
//! - `list` returns every object under a prefix, in key order;
//! - a key never leaves the store: every part is `[A-Za-z0-9._=-]+` and none is `.` or `..`.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

mod directory;
pub mod bucket;

use bucket::{Bucket, BucketError};
use directory::Directory;

/// Where objects are kept.
#[derive(Clone, Debug)]
pub struct Store(Kind);

// What a bucket is asked is boxed: its futures are large, and would make those of all who may ask so.
#[derive(Clone, Debug)]
enum Kind {
    Directory(Directory),
    Bucket(Bucket),
}

/// What failed, with the key.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The key has a part that could leave the store.
    #[error("`{0}` is not a key of the store: parts are letters, digits and ._=-")]
    Key(String),
    /// Reading failed.
    #[error("cannot read {key} in {store}")]
    Get {
        /// The object.
        key: String,
        /// The store.
        store: String,
        /// Why.
        source: Cause,
    },
    /// Writing failed.
    #[error("cannot write {key} in {store}")]
    Put {
        /// The object.
        key: String,
        /// The store.
        store: String,
        /// Why.
        source: Cause,
    },
    /// Removing failed.
    #[error("cannot remove {key} in {store}")]
    Remove {
        /// The object.
        key: String,
        /// The store.
        store: String,
        /// Why.
        source: Cause,
    },
    /// Listing failed.
    #[error("cannot list {prefix} in {store}")]
    List {
        /// The prefix.
        prefix: String,
        /// The store.
        store: String,
        /// Why.
        source: Cause,
    },
    /// An object that is written once is there already, with another content.
    #[error(
        "{key} in {store} is there with another content, and an object of this kind is written once"
    )]
    Conflict {
        /// The object.
        key: String,
        /// The store.
        store: String,
    },
}

/// Why an object could not be read, written or listed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The directory's disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The bucket failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl StoreError {
    /// Returns whether the object does not exist, as opposed to a failure of the store.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Get { source: Cause::Disk(error), .. } => error.kind() == io::ErrorKind::NotFound,
            Self::Get { source: Cause::Bucket(error), .. } => {
                matches!(error, BucketError::Missing)
            }
            _ => false,
        }
    }

    /// Returns whether the bucket refused the credentials: trying again alone does not mend it.
    pub fn is_refused(&self) -> bool {
        matches!(self.cause(), Some(Cause::Bucket(BucketError::Refused { .. })))
    }

    fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Get { source, .. }
            | Self::Put { source, .. }
            | Self::Remove { source, .. }
            | Self::List { source, .. } => Some(source),
            Self::Key(_) | Self::Conflict { .. } => None,
        }
    }
}

/// What became of an object that is written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Created {
    /// It is there, with this content.
    Done,
    /// It was there before, with another.
    Conflict,
}

impl Store {
    /// Opens the store in a directory, which is created when the first object is put.
    pub fn directory(root: impl Into<PathBuf>) -> Self {
        Self(Kind::Directory(Directory::new(root.into())))
    }

    /// Opens the store in a bucket, which is asked for the first time when an object is.
    pub fn bucket(settings: bucket::Settings) -> Self {
        Self(Kind::Bucket(Bucket::new(settings)))
    }

    /// Returns where the object lies, to be shown to a person.
    pub fn location(&self, key: &str) -> String {
        match &self.0 {
            Kind::Directory(directory) => directory.root().join(key).display().to_string(),
            Kind::Bucket(bucket) => bucket.location(key),
        }
    }

    /// Writes an object, whether or not there is one.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        check(key)?;
        let bytes = bytes.into();
        let put = match &self.0 {
            Kind::Directory(directory) => directory.put(key, &bytes).await.map_err(Cause::from),
            Kind::Bucket(bucket) => Box::pin(bucket.put(key, bytes)).await.map_err(Cause::from),
        };
        put.map_err(|source| self.put_failed(key, source))
    }

    /// Writes an object that is written once. The same content again changes nothing; another is a [`StoreError::Conflict`].
    pub async fn create(&self, key: &str, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        check(key)?;
        let bytes = bytes.into();
        let created = match &self.0 {
            Kind::Directory(directory) => directory.create(key, &bytes).await.map_err(Cause::from),
            Kind::Bucket(bucket) => Box::pin(bucket.create(key, bytes)).await.map_err(Cause::from),
        };
        match created.map_err(|source| self.put_failed(key, source))? {
            Created::Done => Ok(()),
            Created::Conflict => {
                Err(StoreError::Conflict { key: key.into(), store: self.location("") })
            }
        }
    }

    /// Reads an object.
    pub async fn get(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        check(key)?;
        let bytes = match &self.0 {
            Kind::Directory(directory) => directory.get(key).await.map_err(Cause::from),
            Kind::Bucket(bucket) => Box::pin(bucket.get(key)).await.map_err(Cause::from),
        };
        bytes.map_err(|source| StoreError::Get {
            key: key.into(),
            store: self.location(""),
            source,
        })
    }

    /// Removes an object; one that is not there is removed already.
    pub async fn remove(&self, key: &str) -> Result<(), StoreError> {
        check(key)?;
        let removed = match &self.0 {
            Kind::Directory(directory) => directory.remove(key).await.map_err(Cause::from),
            Kind::Bucket(bucket) => Box::pin(bucket.remove(key)).await.map_err(Cause::from),
        };
        removed.map_err(|source| StoreError::Remove {
            key: key.into(),
            store: self.location(""),
            source,
        })
    }

    /// Returns the keys under a prefix that ends with a slash, in order, without those of folders below it.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.entries(prefix).await?.objects)
    }

    /// Returns the folders under a prefix that ends with a slash, in order, each ending with a slash.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.entries(prefix).await?.folders)
    }

    async fn entries(&self, prefix: &str) -> Result<Entries, StoreError> {
        check(prefix.trim_end_matches('/'))?;
        let entries = match &self.0 {
            Kind::Directory(directory) => directory.entries(prefix).await.map_err(Cause::from),
            Kind::Bucket(bucket) => Box::pin(bucket.entries(prefix)).await.map_err(Cause::from),
        };
        let mut entries = entries.map_err(|source| StoreError::List {
            prefix: prefix.into(),
            store: self.location(""),
            source,
        })?;
        entries.objects.sort();
        entries.folders.sort();
        Ok(entries)
    }

    /// Returns the folder in which engines read objects as they lie, each at its key; `None` of a bucket.
    pub fn root(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Directory(directory) => Some(directory.root()),
            Kind::Bucket(_) => None,
        }
    }

    /// Returns what the bucket's keys begin with, before those of the store; `None` of a directory.
    pub fn prefix(&self) -> Option<&str> {
        match &self.0 {
            Kind::Directory(_) => None,
            Kind::Bucket(bucket) => Some(bucket.prefix()),
        }
    }

    fn put_failed(&self, key: &str, source: Cause) -> StoreError {
        StoreError::Put { key: key.into(), store: self.location(""), source }
    }
}

/// What lies directly under a prefix.
#[derive(Debug, Default)]
struct Entries {
    objects: Vec<String>,
    folders: Vec<String>,
}

fn check(key: &str) -> Result<(), StoreError> {
    if is_key(key) { Ok(()) } else { Err(StoreError::Key(key.into())) }
}

/// Returns whether a text is a key: no part of it could leave the store.
pub(crate) fn is_key(key: &str) -> bool {
    let part_is_safe = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._=-".contains(&byte))
    };
    key.split('/').all(part_is_safe)
}

#[cfg(test)]
mod tests;
