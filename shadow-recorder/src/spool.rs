//! The spool: the folder in which segments are written until they are in the store.
//!
//! Each start of a recorder (a *boot*) owns the files that bear its name, by a lock beside them, so that a recorder begins while the one
//! before it still drains, and neither touches what is the other's. The files of a boot whose lock nobody holds are left over.
//!
//! ```text
//! <boot>.lock                      held while the boot lives; says whose it is
//! <boot>-<sequence>.ndjson.zst     a segment
//! <boot>.unfinished                a segment whose header is being written
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lock::{self, Lock};

const SUFFIX: &str = ".ndjson.zst";
const DAMAGED: &str = ".damaged";
const UNFINISHED: &str = ".unfinished";

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder cannot be created or written.
    #[error(
        "cannot use the spool {path}: set `spool` in [recorder] to a folder that can be written"
    )]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SpoolError {
    /// Returns whether the disk's condition is the cause, which passes, and not the configuration, which stays.
    pub(crate) fn is_condition(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        matches!(self, Self::Unusable { source, .. }
            if matches!(source.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull))
    }
}

/// The folder, and this boot's right to its files in it.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    boot: String,
    /// What the lock says to people.
    note: String,
    lock: Option<Arc<Lock>>,
    /// Boots whose files were taken, so that none is taken twice.
    claimed: BTreeSet<String>,
}

impl Spool {
    pub(crate) fn new(directory: PathBuf, boot: String, note: String) -> Self {
        Self { directory, boot, note, lock: None, claimed: BTreeSet::new() }
    }

    /// Returns the name of this start.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// Returns the folder.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Creates the folder and takes the lock, where that has not been done.
    pub(crate) fn ready(&mut self) -> Result<Arc<Lock>, SpoolError> {
        if let Some(lock) = &self.lock {
            return Ok(Arc::clone(lock));
        }
        let unusable = |source| SpoolError::Unusable { path: self.directory.clone(), source };
        fs::create_dir_all(&self.directory).map_err(unusable)?;
        let lock = Lock::create(&self.directory, &self.boot, &self.note).map_err(unusable)?;
        self.lock = Some(Arc::clone(&lock));
        Ok(lock)
    }

    /// Returns the segments of boots that have ended since the last call, oldest first.
    pub(crate) fn leftovers(&mut self) -> io::Result<Vec<Leftover>> {
        let mut ended = BTreeSet::new();
        for name in self.names()? {
            if let Some(boot) = boot_of(&name)
                && boot != self.boot
                && !self.claimed.contains(boot)
            {
                ended.insert(boot.to_owned());
            }
        }
        let mut left = Vec::new();
        for boot in ended {
            if let Some(lock) = Lock::claim(&self.directory, &boot)? {
                left.extend(self.leftovers_of(&boot, &lock)?);
                self.claimed.insert(boot);
            }
        }
        Ok(left)
    }

    // Looked for once the lock is held: until then the boot, or another recorder, was at work on them.
    fn leftovers_of(&self, boot: &str, lock: &Arc<Lock>) -> io::Result<Vec<Leftover>> {
        let _ = fs::remove_file(self.directory.join(format!("{boot}{UNFINISHED}")));
        let mut sequences: Vec<u64> = self
            .names()?
            .iter()
            .filter_map(|name| segment_of(name).filter(|(of, _)| *of == boot))
            .map(|(_, sequence)| sequence)
            .collect();
        sequences.sort_unstable();
        let last = sequences.last().copied();
        let leftover = |sequence| Leftover {
            path: self.directory.join(format!("{boot}-{sequence}{SUFFIX}")),
            ends_boot: Some(sequence) == last,
            _lock: Arc::clone(lock),
        };
        Ok(sequences.into_iter().map(leftover).collect())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(&self.directory)?.map(name).collect()
    }

    /// Creates the file of a segment with its first frame.
    pub(crate) fn create(&mut self, sequence: u64, frame: &[u8]) -> Result<SpoolFile, SpoolError> {
        let lock = self.ready()?;
        let path = self.directory.join(format!("{}-{sequence}{SUFFIX}", self.boot));
        self.create_durably(path, frame, lock)
            .map_err(|source| SpoolError::Unusable { path: self.directory.clone(), source })
    }

    // Under another name at first: a segment without its header would say nothing of itself.
    fn create_durably(
        &self,
        path: PathBuf,
        frame: &[u8],
        lock: Arc<Lock>,
    ) -> io::Result<SpoolFile> {
        let unfinished = self.directory.join(format!("{}{UNFINISHED}", self.boot));
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        let mut file = SpoolFile { path, file, bytes: 0, torn: false, lock };
        file.append(frame)?;
        fs::rename(&unfinished, &file.path)?;
        // The name must survive a power cut as well.
        File::open(&self.directory)?.sync_all()?;
        Ok(file)
    }
}

/// Returns the boot that a file belongs to.
fn boot_of(name: &str) -> Option<&str> {
    let boot = segment_of(name)
        .map(|(boot, _)| boot)
        .or_else(|| lock::boot_of(name))
        .or_else(|| name.strip_suffix(UNFINISHED))?;
    let is_boot = !boot.is_empty() && boot.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_boot.then_some(boot)
}

fn segment_of(name: &str) -> Option<(&str, u64)> {
    let (boot, sequence) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((boot, sequence.parse().ok()?))
}

/// A segment that an earlier start left behind.
#[derive(Clone, Debug)]
pub(crate) struct Leftover {
    pub(crate) path: PathBuf,
    /// Whether it is the last of its boot, which wrote nothing after it.
    pub(crate) ends_boot: bool,
    /// Held until it is stored: no other recorder must take it.
    _lock: Arc<Lock>,
}

/// Sets a file aside that cannot be read, so that a person can.
pub(crate) fn set_aside(path: &Path) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(DAMAGED);
    fs::rename(path, aside)
}

/// The file of one segment: frames that are on disk when `append` returns, and nothing else.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// Bytes that are on disk.
    pub(crate) bytes: u64,
    torn: bool,
    /// Held until it is stored: the next recorder must not take it for left over.
    pub(crate) lock: Arc<Lock>,
}

impl SpoolFile {
    /// Appends a frame and syncs it. After a failure the file is as before, or cut back by the next call.
    // A failed fsync may have lost any of the bytes written since the last, so the frame counts as not written.
    pub(crate) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
        }
        self.torn = true;
        self.file.write_all(frame)?;
        self.file.sync_data()?;
        self.torn = false;
        self.bytes += frame.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
