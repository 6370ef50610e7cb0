//! The bucket: compare-and-swap on small documents, listings, and reads pinned to a version.

use jiff::Timestamp;
use lifeboat_domain::ids::Sha256Digest;
use lifeboat_engine::Source;

use super::Fault;

pub use lifeboat_engine::Pinned;

/// An S3 bucket as the workflows use it. Reads and listings are strongly consistent, a put is all or nothing
/// (facts: aws.md §5.1). Every bucket is a [`Source`] too: that is how objects are read in full.
pub trait Bucket: Source {
    /// The current object, or `None` when there is none. An object over `limit_bytes` is a [`Fault`] that never
    /// retries: nothing of ours is that large.
    fn get(&self, key: &str, limit_bytes: u64) -> impl Future<Output = Result<Option<Stored>, Fault>> + Send;

    /// The current object's metadata without its bytes, or `None` when there is none.
    fn head(&self, key: &str) -> impl Future<Output = Result<Option<Listed>, Fault>> + Send;

    /// Writes if the condition holds. A lost race is a result, also when the winner wrote the same bytes: of any number
    /// of writers at once exactly one hears `Written`. An answer "condition failed" after a retry of one's own write that
    /// did arrive is recognised by the mark that the write left, and is `Written`. Every put carries a SHA-256 checksum,
    /// so that S3 refuses damaged bytes.
    fn put(&self, key: &str, body: Vec<u8>, mode: PutMode) -> impl Future<Output = Result<PutOutcome, Fault>> + Send;

    /// One page, in key order, of at most 1,000 current objects below `prefix` and after `start_after`.
    fn list(&self, prefix: &str, start_after: Option<&str>)
    -> impl Future<Output = Result<Page<Listed>, Fault>> + Send;

    /// One page of at most 1,000 versions and delete markers below `prefix`, after the marker of the page before. Keys are
    /// in order, and each key's latest comes first; of older ones within one second the order is not known. A store
    /// without versions gives its current objects with `version_id: None`.
    fn list_versions(
        &self,
        prefix: &str,
        after: Option<&VersionMarker>,
    ) -> impl Future<Output = Result<Page<ListedVersion>, Fault>> + Send;

    /// The bytes `offset..offset + length` of exactly this version with exactly this ETag.
    fn read(
        &self,
        object: &Pinned,
        offset: u64,
        length: u64,
    ) -> impl Future<Output = Result<ReadOutcome, Fault>> + Send;

    /// Copies exactly this version, of this many bytes, inside the store and over whatever is under `to`. All or
    /// nothing: `to` is the old object or the whole copy.
    fn copy(&self, from: &Pinned, size_bytes: u64, to: &str)
    -> impl Future<Output = Result<CopyOutcome, Fault>> + Send;

    /// The SHA-256 that the store itself computed over all bytes of exactly this version. `None` when it holds none, or
    /// only one of parts, or when that version is not there.
    fn stored_sha256(&self, object: &Pinned) -> impl Future<Output = Result<Option<Sha256Digest>, Fault>> + Send;
}

/// An object with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The bytes.
    pub body: Vec<u8>,
    /// The compare-and-swap token.
    pub etag: String,
    /// Its version, absent on a store without versions.
    pub version_id: Option<String>,
    /// S3's date of it, in whole seconds.
    pub last_modified: Timestamp,
}

/// When a put may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutMode {
    /// Only if there is no current object.
    Create,
    /// Only if the current object has this ETag.
    Update(String),
}

/// How a put ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// Written, by this call.
    Written {
        /// The new compare-and-swap token.
        etag: String,
        /// The new version, absent on a store without versions.
        version_id: Option<String>,
    },
    /// The condition did not hold: somebody else was first. Nothing was written.
    Lost,
}

/// A listed current object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size_bytes: u64,
    /// Its ETag.
    pub etag: String,
    /// S3's date of it.
    pub last_modified: Timestamp,
}

/// A listed version or delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its key.
    pub key: String,
    /// Its version, absent on a store without versions.
    pub version_id: Option<String>,
    /// Whether it is the current one.
    pub is_latest: bool,
    /// Its bytes and ETag, or a delete marker.
    pub content: VersionContent,
    /// S3's date of it.
    pub last_modified: Timestamp,
}

/// What a version is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionContent {
    /// An object.
    Object {
        /// Its bytes.
        size_bytes: u64,
        /// Its ETag.
        etag: String,
    },
    /// A delete marker.
    DeleteMarker,
}

/// Where the next page of versions starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionMarker {
    /// The last key.
    pub key: String,
    /// The last version of it.
    pub version_id: Option<String>,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Its entries.
    pub entries: Vec<T>,
    /// Whether more follow.
    pub more: bool,
}

/// How a pinned read ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The bytes; exactly as many as asked for.
    Bytes(Vec<u8>),
    /// Another object is there now.
    Changed,
    /// Nothing is there.
    Missing,
    /// S3 sent fewer or more bytes than the range has.
    WrongLength {
        /// Bytes that came.
        received_bytes: u64,
    },
}

/// How a copy ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyOutcome {
    /// The copy is there.
    Copied {
        /// Its ETag; not the source's, where that came of an upload in parts.
        etag: String,
        /// Its version, absent on a store without versions.
        version_id: Option<String>,
        /// The SHA-256 that the store computed over all its bytes; `None` when it computes none, as for a copy in parts.
        sha256: Option<Sha256Digest>,
    },
    /// The source is another object now.
    Changed,
    /// The source is not there.
    Missing,
}
