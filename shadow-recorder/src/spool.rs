//! The spool: the folder in which segments are written until they are in the store. One recorder owns it, by a lock.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".ndjson.zst";
const DAMAGED: &str = ".damaged";
const UNFINISHED: &str = "unfinished";

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder is another recorder's.
    #[error("the spool {0} is in use by another recorder: give each its own `spool` in [recorder]")]
    InUse(PathBuf),
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

/// The folder.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    lock: Option<File>,
}

impl Spool {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, lock: None }
    }

    /// Creates the folder and takes its lock, where that has not been done.
    pub(crate) fn ready(&mut self) -> Result<(), SpoolError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let unusable = |source| SpoolError::Unusable { path: self.directory.clone(), source };
        fs::create_dir_all(&self.directory).map_err(unusable)?;
        let lock = File::create(self.directory.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => self.lock = Some(lock),
            Err(TryLockError::WouldBlock) => {
                return Err(SpoolError::InUse(self.directory.clone()));
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        Ok(())
    }

    /// Returns the segments that earlier starts left behind, oldest first.
    pub(crate) fn leftovers(&self) -> io::Result<Vec<Leftover>> {
        let mut left = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            if let Some((boot, sequence)) = name.as_deref().and_then(parse_name) {
                left.push(Leftover { path, boot: boot.to_owned(), sequence, ends_boot: true });
            }
        }
        left.sort();
        for i in 1..left.len() {
            left[i - 1].ends_boot = left[i - 1].boot != left[i].boot;
        }
        Ok(left)
    }

    /// Creates the file of a segment with its first frame.
    pub(crate) fn create(
        &mut self,
        boot: &str,
        sequence: u64,
        frame: &[u8],
    ) -> Result<SpoolFile, SpoolError> {
        self.ready()?;
        let path = self.directory.join(format!("{boot}-{sequence}{SUFFIX}"));
        self.create_durably(path, frame)
            .map_err(|source| SpoolError::Unusable { path: self.directory.clone(), source })
    }

    // Under another name at first: a segment without its header would say nothing of itself.
    fn create_durably(&self, path: PathBuf, frame: &[u8]) -> io::Result<SpoolFile> {
        let unfinished = self.directory.join(UNFINISHED);
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        let mut file = SpoolFile { path, file, bytes: 0, torn: false };
        file.append(frame)?;
        fs::rename(&unfinished, &file.path)?;
        // The name must survive a power cut as well.
        File::open(&self.directory)?.sync_all()?;
        Ok(file)
    }
}

fn parse_name(name: &str) -> Option<(&str, u64)> {
    let (boot, sequence) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((boot, sequence.parse().ok()?))
}

/// A segment that an earlier start left behind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Leftover {
    pub(crate) boot: String,
    pub(crate) sequence: u64,
    pub(crate) path: PathBuf,
    /// Whether it is the last of its boot, which wrote nothing after it.
    pub(crate) ends_boot: bool,
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
    // Kept open until the upload, so that a lost name costs nothing.
    pub(crate) file: File,
    /// Bytes that are on disk.
    pub(crate) bytes: u64,
    torn: bool,
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
mod tests {
    use super::*;

    #[test]
    fn two_recorders_do_not_share_a_spool() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut first = Spool::new(path.clone());
        first.ready().unwrap();
        assert!(matches!(Spool::new(path.clone()).ready(), Err(SpoolError::InUse(_))));
        drop(first);
        Spool::new(path).ready().unwrap();
    }

    #[test]
    fn a_failed_frame_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path().into());
        let mut file = spool.create("b", 1, b"one").unwrap();
        // As after a write that stopped half-way.
        file.file.write_all(b"garbage").unwrap();
        file.torn = true;
        file.append(b"two").unwrap();
        assert_eq!(fs::read(&file.path).unwrap(), b"onetwo");
    }

    #[test]
    fn leftovers_are_ordered_and_the_last_of_each_boot_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path().into());
        for (boot, sequence) in [("b", 10), ("a", 3), ("b", 9)] {
            spool.create(boot, sequence, b"header").unwrap();
        }
        let left = spool.leftovers().unwrap();
        let names: Vec<_> = left.iter().map(|l| (&*l.boot, l.sequence, l.ends_boot)).collect();
        assert_eq!(names, [("a", 3, true), ("b", 9, false), ("b", 10, true)]);
    }
}
