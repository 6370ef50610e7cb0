//! Where backups are kept: one small trait, an S3 and a directory implementation, and the faults that knobs ask for.

pub(crate) mod directory;
pub(crate) mod s3;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::knobs::Knobs;

/// Bucket and path that a request may set in place of the configured ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) path: String,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone)]
pub(crate) enum StoreError {
    /// The key does not exist.
    NotFound(String),
    /// Anything else.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

/// A place for backups. Keys are relative to the configured (or overriding) path: `<id>/backup_config.json`.
pub(crate) trait BackupStore: Send + Sync + fmt::Debug {
    /// How responses name the place of this backup.
    fn home(&self, place: &Place, id: &str) -> String;
    /// Reads a whole object.
    fn get<'a>(&'a self, place: &'a Place, key: &'a str) -> BoxFuture<'a, Result<Vec<u8>, StoreError>>;
    /// Writes a small object at once.
    fn put<'a>(&'a self, place: &'a Place, key: &'a str, bytes: Vec<u8>) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Writes a chunk as the real client streams it: on S3 always in parts.
    fn put_chunk<'a>(&'a self, place: &'a Place, key: &'a str, bytes: Vec<u8>)
    -> BoxFuture<'a, Result<(), StoreError>>;
    /// Proves that objects can be written and removed below `<prefix>/`.
    fn probe<'a>(&'a self, place: &'a Place, prefix: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Directories directly below the configured path.
    fn directories(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>>;
}

/// A store with the faults of the knobs around it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    inner: Arc<dyn BackupStore>,
    knobs: Arc<Knobs>,
}

impl Store {
    /// Puts the faults around a store.
    pub(crate) fn new(inner: Arc<dyn BackupStore>, knobs: Arc<Knobs>) -> Self {
        Self { inner, knobs }
    }

    async fn slow(&self) {
        if !self.knobs.slow_store.is_zero() {
            tokio::time::sleep(self.knobs.slow_store).await;
        }
    }

    /// See [`BackupStore::home`].
    pub(crate) fn home(&self, place: &Place, id: &str) -> String {
        self.inner.home(place, id)
    }

    /// See [`BackupStore::get`].
    pub(crate) async fn get(&self, place: &Place, key: &str) -> Result<Vec<u8>, StoreError> {
        self.slow().await;
        if self.knobs.fails_get(key) {
            return Err(StoreError::Failed(format!("get object contents from {key}: injected failure")));
        }
        self.inner.get(place, key).await
    }

    /// See [`BackupStore::put`].
    pub(crate) async fn put(&self, place: &Place, key: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.slow().await;
        self.refuse_put(key)?;
        self.inner.put(place, key, bytes).await
    }

    /// See [`BackupStore::put_chunk`].
    pub(crate) async fn put_chunk(&self, place: &Place, key: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.slow().await;
        self.refuse_put(key)?;
        self.inner.put_chunk(place, key, bytes).await
    }

    /// See [`BackupStore::probe`].
    pub(crate) async fn probe(&self, place: &Place, prefix: &str) -> Result<(), StoreError> {
        self.slow().await;
        self.refuse_put(&format!("{prefix}/access-check"))?;
        self.inner.probe(place, prefix).await
    }

    /// See [`BackupStore::directories`].
    pub(crate) async fn directories(&self) -> Result<Vec<String>, StoreError> {
        self.slow().await;
        self.inner.directories().await
    }

    fn refuse_put(&self, key: &str) -> Result<(), StoreError> {
        if self.knobs.fails_put(key) {
            return Err(StoreError::Failed(format!("put object: {key}: injected failure")));
        }
        Ok(())
    }
}

/// Joins path pieces with single slashes and none at the ends.
pub(crate) fn join(pieces: &[&str]) -> String {
    pieces.iter().flat_map(|piece| piece.split('/')).filter(|piece| !piece.is_empty()).collect::<Vec<_>>().join("/")
}
