//! The lock of one start of a recorder on its files in the spool. The files of a start whose lock nobody holds are left over.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SUFFIX: &str = ".lock";
const UNFINISHED: &str = ".lock-unfinished";

/// A lock that is held, by all who still need the files. The last one removes it.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    // Held as long as it is open.
    _file: File,
}

impl Lock {
    /// Takes the lock of a start that begins; `note` says for people whose it is.
    pub(crate) fn create(directory: &Path, boot: &str, note: &str) -> io::Result<Arc<Self>> {
        // Under another name until it is held: nobody must find it free.
        let unfinished = directory.join(format!("{boot}{UNFINISHED}"));
        let mut file = File::create(&unfinished)?;
        file.try_lock()?;
        file.write_all(note.as_bytes())?;
        let path = directory.join(format!("{boot}{SUFFIX}"));
        fs::rename(&unfinished, &path)?;
        Ok(Arc::new(Self { path, _file: file }))
    }

    /// Takes the lock of another start; `None` while that one lives.
    pub(crate) fn claim(directory: &Path, boot: &str) -> io::Result<Option<Arc<Self>>> {
        let path = directory.join(format!("{boot}{SUFFIX}"));
        let file = File::options().write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Arc::new(Self { path, _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Returns the notes of the starts that live.
    pub(crate) fn holders(directory: &Path) -> io::Result<Vec<String>> {
        let mut notes = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if !path.to_string_lossy().ends_with(SUFFIX) {
                continue;
            }
            let mut file = File::open(&path)?;
            if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
                let mut note = String::new();
                file.read_to_string(&mut note)?;
                notes.push(note);
            }
        }
        Ok(notes)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A start without a lock is left over as well, and one whose name is gone has no files.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the start that a lock's file belongs to.
pub(crate) fn boot_of(name: &str) -> Option<&str> {
    name.strip_suffix(SUFFIX)
}
