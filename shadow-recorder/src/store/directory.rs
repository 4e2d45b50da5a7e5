//! A store in a directory of the local disk.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::{Created, Entries};

const TEMPORARY: &str = ".writing-";

/// The directory. Keys were checked before they come here.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) async fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(key);
        let temporary = write_beside(&path, bytes).await?;
        fs::rename(&temporary, &path).await?;
        sync_folder(&path).await
    }

    pub(super) async fn create(&self, key: &str, bytes: &[u8]) -> io::Result<Created> {
        let path = self.root.join(key);
        let temporary = write_beside(&path, bytes).await?;
        let named = name_once(&temporary, &path).await;
        let _ = fs::remove_file(&temporary).await;
        match named {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read(&path).await? != bytes {
                    return Ok(Created::Conflict);
                }
            }
            Err(error) => return Err(error),
        }
        sync_folder(&path).await?;
        Ok(Created::Done)
    }

    pub(super) async fn get(&self, key: &str) -> io::Result<Vec<u8>> {
        fs::read(self.root.join(key)).await
    }

    pub(super) async fn remove(&self, key: &str) -> io::Result<()> {
        let path = self.root.join(key);
        match fs::remove_file(&path).await {
            Ok(()) => sync_folder(&path).await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn entries(&self, prefix: &str) -> io::Result<Entries> {
        let mut found = Entries::default();
        let mut entries = match fs::read_dir(self.root.join(prefix)).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().await?;
            if kind.is_dir() {
                found.folders.push(format!("{prefix}{name}/"));
            } else if kind.is_file() && !name.starts_with(TEMPORARY) {
                found.objects.push(format!("{prefix}{name}"));
            }
        }
        Ok(found)
    }
}

/// Writes and syncs a file beside the target: a reader or a crash sees the whole object or none.
async fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    fs::create_dir_all(folder).await?;
    // With an ending of its own: what a killed process was writing must not be read as a Parquet file of the folder.
    let temporary = folder.join(format!("{TEMPORARY}{}-{name}.part", std::process::id()));
    let mut file = fs::File::create(&temporary).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    Ok(temporary)
}

/// Gives a file its name, unless the name is taken.
async fn name_once(temporary: &Path, path: &Path) -> io::Result<()> {
    // A link, unlike a renaming, fails where the name is taken.
    match fs::hard_link(temporary, path).await {
        Err(error) if has_no_links(&error) => {
            if fs::try_exists(path).await? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(temporary, path).await
        }
        linked => linked,
    }
}

/// Returns whether the file system has no links, as some network file systems.
fn has_no_links(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

/// Syncs the folder, so that the name survives a power cut as well.
async fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::File::open(folder).await?.sync_all().await
}
