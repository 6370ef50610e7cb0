//! The `backup-filesystem` module: the same layout as directories. Chunks are written aside and renamed; JSON is written in place.

use std::io;
use std::path::PathBuf;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::fs;

use super::{BackupStore, Place, StoreError, join};

/// Backups below one directory.
#[derive(Debug)]
pub(crate) struct DirectoryStore {
    /// Absolute.
    pub(crate) root: PathBuf,
}

impl DirectoryStore {
    fn path(&self, place: &Place, key: &str) -> PathBuf {
        let root = if place.path.is_empty() { self.root.clone() } else { PathBuf::from(&place.path) };
        root.join(join(&[key]))
    }
}

fn failed(what: &str, path: &std::path::Path, error: &io::Error) -> StoreError {
    let text = format!("{what} {}: {error}", path.display());
    if error.kind() == io::ErrorKind::NotFound { StoreError::NotFound(text) } else { StoreError::Failed(text) }
}

async fn write(path: PathBuf, bytes: Vec<u8>) -> Result<(), StoreError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).await.map_err(|e| StoreError::Failed(failed("make dir", parent, &e).to_string()))?;
    }
    fs::write(&path, bytes).await.map_err(|e| StoreError::Failed(failed("write file", &path, &e).to_string()))
}

impl BackupStore for DirectoryStore {
    fn home(&self, place: &Place, id: &str) -> String {
        self.path(place, id).display().to_string()
    }

    fn get<'a>(&'a self, place: &'a Place, key: &'a str) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        async move {
            let path = self.path(place, key);
            fs::read(&path).await.map_err(|error| failed("get object path could not find", &path, &error))
        }
        .boxed()
    }

    fn put<'a>(&'a self, place: &'a Place, key: &'a str, bytes: Vec<u8>) -> BoxFuture<'a, Result<(), StoreError>> {
        write(self.path(place, key), bytes).boxed()
    }

    fn put_chunk<'a>(
        &'a self,
        place: &'a Place,
        key: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let path = self.path(place, key);
            let mut aside = path.clone().into_os_string();
            aside.push(".tmp");
            write(PathBuf::from(&aside), bytes).await?;
            fs::rename(&aside, &path).await.map_err(|error| failed("rename to", &path, &error))
        }
        .boxed()
    }

    fn probe<'a>(&'a self, place: &'a Place, prefix: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let path = self.path(place, prefix);
            fs::create_dir_all(&path).await.map_err(|error| failed("make backup dir", &path, &error))
        }
        .boxed()
    }

    fn directories(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        async move {
            let mut names = Vec::new();
            let mut entries = match fs::read_dir(&self.root).await {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
                Err(error) => return Err(failed("list", &self.root, &error)),
            };
            while let Some(entry) = entries.next_entry().await.map_err(|error| failed("list", &self.root, &error))? {
                if entry.path().is_dir() {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            Ok(names)
        }
        .boxed()
    }
}
