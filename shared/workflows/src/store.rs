//! Documents in the bucket, read and written by compare-and-swap.

use jiff::Timestamp;
use lifeboat_domain::document::{Document, DocumentError, decode, encode};
use lifeboat_domain::keys::Key;

use crate::ports::bucket::{PutMode, PutOutcome};
use crate::ports::{Bucket, Fault};

/// The largest document of ours that is read whole, in bytes. A manifest of 1,000 collections is far below it.
pub const DOCUMENT_BYTES_MAX: u64 = 64 << 20;

/// A document with what is needed to replace it.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    /// The document.
    pub value: T,
    /// The compare-and-swap token.
    pub etag: String,
    /// Its version, absent on a store without versions.
    pub version_id: Option<String>,
    /// S3's date of it.
    pub last_modified: Timestamp,
    /// Its bytes as stored.
    pub body: Vec<u8>,
}

/// Why a document could not be read. Whatever depends on it stops.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The bucket gave no answer.
    #[error("reading or writing {key}")]
    Bucket {
        /// The key.
        key: String,
        /// What the port says.
        #[source]
        source: Fault,
    },
    /// The bytes are not the document.
    #[error("understanding {key}")]
    Document {
        /// The key.
        key: String,
        /// What is wrong with them.
        #[source]
        source: DocumentError,
    },
}

/// Reads a document; `None` when there is none. An unreadable one is an error: it is never treated as absent.
pub async fn read<T: Document>(bucket: &impl Bucket, key: &Key) -> Result<Option<Versioned<T>>, StoreError> {
    let text = key.to_string();
    let stored = bucket
        .get(&text, DOCUMENT_BYTES_MAX)
        .await
        .map_err(|source| StoreError::Bucket { key: text.clone(), source })?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let value = decode(&text, &stored.body).map_err(|source| StoreError::Document { key: text, source })?;
    Ok(Some(Versioned {
        value,
        etag: stored.etag,
        version_id: stored.version_id,
        last_modified: stored.last_modified,
        body: stored.body,
    }))
}

/// Writes a document in place of the one that was read, or creates it when none was.
pub async fn swap<T: Document>(
    bucket: &impl Bucket,
    key: &Key,
    previous: Option<&str>,
    document: &T,
) -> Result<PutOutcome, StoreError> {
    let mode = previous.map_or(PutMode::Create, |etag| PutMode::Update(etag.to_owned()));
    put(bucket, key, encode(document), mode).await
}

/// Creates a document; `Lost` when there is one already.
pub async fn create<T: Document>(bucket: &impl Bucket, key: &Key, document: &T) -> Result<PutOutcome, StoreError> {
    put(bucket, key, encode(document), PutMode::Create).await
}

/// Writes bytes on a condition.
pub async fn put(bucket: &impl Bucket, key: &Key, body: Vec<u8>, mode: PutMode) -> Result<PutOutcome, StoreError> {
    let key = key.to_string();
    bucket.put(&key, body, mode).await.map_err(|source| StoreError::Bucket { key, source })
}
