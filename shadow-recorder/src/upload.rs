//! The upload: takes sealed segments from the spool to the store. First the segment, then the manifest that commits it, then the
//! spool file is removed; a crash in between is repaired by doing it again, which changes nothing.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::digest::sha256;
use crate::lock::Lock;
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::segment::{Header, Line, Reader};
use crate::spool::{self, Leftover, SpoolFile};
use crate::store::{Store, StoreError};
use crate::totals::Totals;

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Attempts per segment once the recorder stops: an orchestrator's patience ends soon after.
const ATTEMPTS_AT_STOP: u32 = 3;
/// Attempts to read a spool file.
const READ_ATTEMPTS: u32 = 3;
/// Sealed segments whose files stay open until they are stored, so that a lost name costs nothing. More, in a long outage of the store,
/// are opened again: the process would run out of files, which its connections need.
const OPEN_FILES_MAX: u64 = 64;

/// What the upload receives.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// A segment of this start.
    Sealed(Box<Sealed>),
    /// A file that an earlier start left behind.
    Leftover(Leftover),
}

/// A segment to which nothing is added any more.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    pub(crate) totals: Totals,
    bytes: u64,
    file: Option<File>,
    _lock: Arc<Lock>,
}

impl Sealed {
    /// Takes a segment's file while so many others wait.
    pub(crate) fn new(file: SpoolFile, header: Header, totals: Totals, waiting: u64) -> Self {
        let SpoolFile { path, file, bytes, lock, .. } = file;
        let file = (waiting < OPEN_FILES_MAX).then_some(file);
        Self { path, header, totals, bytes, file, _lock: lock }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut file = match &self.file {
            Some(file) => file.try_clone()?,
            None => File::open(&self.path)?,
        };
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        // What lies behind is a frame that failed.
        file.take(self.bytes).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// What the upload did since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uploaded {
    pub(crate) committed: u64,
    pub(crate) left: u64,
}

/// The upload task.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Whose segments are stored.
    pub(crate) service: String,
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    /// Cancelled when the recorder stops: what fails then is left for the next start.
    pub(crate) stopping: CancellationToken,
    /// Cancelled when it must end at once: what is not stored yet is left for the next start.
    pub(crate) now: CancellationToken,
}

impl Upload {
    /// Commits what it receives, in order, until nothing more can come.
    pub(crate) async fn run(self, mut parcels: UnboundedReceiver<Parcel>) -> Uploaded {
        let mut uploaded = Uploaded::default();
        let mut gives_up = false;
        while let Some(parcel) = parcels.recv().await {
            // Once one is given up at the stop all are, so that what ends their boot is among those left.
            if gives_up || self.now.is_cancelled() {
                uploaded.left += 1;
                continue;
            }
            // A panic costs its parcel, until the next start.
            let stored = AssertUnwindSafe(self.store(parcel)).catch_unwind();
            let stored = tokio::select! {
                stored = stored => stored.unwrap_or(Stored::Left),
                () = self.now.cancelled() => Stored::Left,
            };
            match stored {
                Stored::Committed => uploaded.committed += 1,
                Stored::SetAside | Stored::Foreign => {}
                Stored::Left => {
                    uploaded.left += 1;
                    gives_up = self.stopping.is_cancelled();
                }
            }
        }
        uploaded
    }

    /// Tries until it is stored, or the recorder stops. Between attempts nothing of it is held in memory: an outage may be long.
    async fn store(&self, parcel: Parcel) -> Stored {
        let parcel = Arc::new(parcel);
        let path = parcel.path().to_owned();
        let mut wait = RETRY_FIRST;
        let (mut unreadable, mut attempts_at_stop) = (0, 0);
        loop {
            let read = Arc::clone(&parcel);
            match spawn_blocking(move || read.open()).await.map_err(io::Error::other).flatten() {
                Ok(None) => {
                    self.metrics.segments_damaged.inc();
                    tracing::error!(path = %path.display(), "a spool file without a readable header is set aside");
                    return Stored::SetAside;
                }
                // Another service's recorder may have another store.
                Ok(Some(content)) if content.manifest.service != self.service => {
                    let service = content.manifest.service;
                    tracing::error!(path = %path.display(), service, "a spool file of another service is left to its own recorder: give each its own `spool`");
                    return Stored::Foreign;
                }
                Ok(Some(content)) => match self.commit(&content).await {
                    Ok(()) => {
                        self.committed(&content);
                        self.remove(path, &content).await;
                        return Stored::Committed;
                    }
                    // Those behind it must not wait for what no attempt mends.
                    Err(StoreError::Conflict { .. }) => return self.conflicts(&path, &content),
                    Err(error) => self.failed(&content, error),
                },
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "cannot read a spool file");
                    unreadable += 1;
                    // Those behind it must not wait for it for ever.
                    if unreadable == READ_ATTEMPTS {
                        return Stored::Left;
                    }
                }
            }
            self.metrics.upload_failures.inc();
            if self.stopping.is_cancelled() {
                attempts_at_stop += 1;
                if attempts_at_stop == ATTEMPTS_AT_STOP {
                    return Stored::Left;
                }
                tokio::time::sleep(RETRY_FIRST).await;
            } else {
                let pause = tokio::time::sleep(clock::jittered(wait));
                tokio::select! {
                    () = pause => wait = (wait * 2).min(RETRY_MAX),
                    () = self.stopping.cancelled() => {}
                }
            }
        }
    }

    fn committed(&self, content: &Content) {
        self.metrics.segments_committed.inc();
        if content.damaged {
            self.metrics.segments_damaged.inc();
            tracing::warn!(segment = content.manifest.segment, "recovered a torn segment");
        }
    }

    fn failed(&self, content: &Content, error: StoreError) {
        if error.is_refused() {
            self.metrics.upload_refusals.inc();
        }
        let error = format!("{:#}", anyhow::Error::new(error));
        tracing::error!(segment = content.manifest.segment, error, "cannot store a segment");
    }

    fn conflicts(&self, path: &Path, content: &Content) -> Stored {
        self.metrics.segments_damaged.inc();
        tracing::error!(
            segment = content.manifest.segment,
            path = %path.display(),
            "another segment lies in the store under this one's name: the spool file is set aside"
        );
        match spool::set_aside(path) {
            Ok(()) => Stored::SetAside,
            Err(_) => Stored::Left,
        }
    }

    async fn commit(&self, content: &Content) -> Result<(), StoreError> {
        match self.store.create(&content.manifest.segment, content.bytes.clone()).await {
            // A file may end with a frame that failed, which the attempt that knew of it did not store.
            Err(StoreError::Conflict { .. }) if self.is_committed(content).await? => return Ok(()),
            created => created?,
        }
        let text = serde_json::to_vec_pretty(&content.manifest)
            .expect("a manifest is texts, numbers and maps with text keys");
        // Written last, and of this very segment: a later start may know more of how the boot ended.
        self.store.put(&content.key, text).await
    }

    /// Returns whether the store holds the segment's manifest, and the segment that it describes.
    async fn is_committed(&self, content: &Content) -> Result<bool, StoreError> {
        let text = match self.store.get(&content.key).await {
            Err(error) if error.is_missing() => return Ok(false),
            text => text?,
        };
        let Ok(there) = serde_json::from_slice::<Manifest>(&text) else { return Ok(false) };
        let segment = self.store.get(&there.segment).await?;
        Ok(sha256(&segment) == there.sha256 && content.bytes.starts_with(&segment))
    }

    async fn remove(&self, path: PathBuf, content: &Content) {
        self.metrics.spool_bytes.dec_by(i64::try_from(content.bytes.len()).unwrap_or(i64::MAX));
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot remove a stored segment from the spool");
            }
            _ => {}
        }
    }
}

/// What became of a parcel.
#[derive(Clone, Copy, Debug)]
enum Stored {
    Committed,
    /// It says nothing of itself, and a person has to look at it.
    SetAside,
    /// It is another service's.
    Foreign,
    /// It stays in the spool.
    Left,
}

/// A segment ready to be stored.
struct Content {
    bytes: Bytes,
    manifest: Manifest,
    key: String,
    damaged: bool,
}

impl Parcel {
    fn path(&self) -> &Path {
        match self {
            Self::Sealed(sealed) => &sealed.path,
            Self::Leftover(leftover) => &leftover.path,
        }
    }

    /// Reads the content; `None` where it says nothing of itself and was set aside.
    fn open(&self) -> io::Result<Option<Content>> {
        match self {
            Self::Sealed(sealed) => {
                let Sealed { header, totals, .. } = &**sealed;
                let bytes = sealed.read()?;
                let manifest = totals.manifest(header, &bytes, false);
                let key = totals.key(header).manifest();
                Ok(Some(Content { bytes: bytes.into(), manifest, key, damaged: false }))
            }
            Self::Leftover(leftover) => {
                let recovered = recover(fs::read(&leftover.path)?, leftover.ends_boot);
                if recovered.is_none() {
                    spool::set_aside(&leftover.path)?;
                }
                Ok(recovered)
            }
        }
    }
}

/// Adds up the sound frames of a file. The bytes stay as they are, so that readers see the damage too.
fn recover(bytes: Vec<u8>, ends_boot: bool) -> Option<Content> {
    let mut reader = Reader::<Line>::new(&bytes);
    let mut header = None;
    let mut totals = Totals::default();
    for line in reader.lines() {
        totals.add(&line);
        if let Line::Header(first) = line {
            header.get_or_insert(first);
        }
    }
    let damaged = reader.damage().any();
    let header = header?;
    let manifest = totals.manifest(&header, &bytes, ends_boot);
    Some(Content { key: totals.key(&header).manifest(), bytes: bytes.into(), manifest, damaged })
}

#[cfg(test)]
mod tests;
