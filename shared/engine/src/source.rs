//! What the engine needs of a store: pages of a listing, what a store recorded of an object, and streams of its bytes.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;

/// A store of objects, read at exactly the version and ETag that a listing gave.
///
/// An implementation makes one attempt a call: the engine retries, pauses and times out. It never hides that an answer
/// is for other bytes than those asked for: [`Opened`] says what the store announced, and the engine holds it to what
/// was asked.
pub trait Source: Send + Sync {
    /// The bytes of an answer, as they come. Dropping it gives the answer up.
    type Body: Stream<Item = Result<Bytes, ReadFault>> + Send + Unpin;

    /// What the store recorded of this object, without its bytes.
    fn describe(&self, object: &Pinned) -> impl Future<Output = Result<Answer<Description>, ReadFault>> + Send;

    /// Bytes of this object. Returns as soon as the answer's head is there.
    fn open(
        &self,
        object: &Pinned,
        ask: Ask,
    ) -> impl Future<Output = Result<Answer<Opened<Self::Body>>, ReadFault>> + Send;

    /// One page, in key order, of the current objects below `prefix` and after `after`.
    fn page(&self, prefix: &str, after: Option<&str>) -> impl Future<Output = Result<Listing, ReadFault>> + Send;

    /// Waits before a request is tried again. A store with a clock of its own waits on that.
    fn pause(&self, how_long: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(how_long)
    }
}

/// An object as a listing gave it: whatever else is under its key now is not it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Its key.
    pub key: String,
    /// Its ETag, in its quotes.
    pub etag: String,
    /// Its version, absent on a store without versions.
    pub version_id: Option<String>,
}

/// Which bytes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// All of them. The answer also says what the store recorded.
    Whole,
    /// `length` bytes from `offset`; `length` is not 0.
    Range {
        /// The first byte.
        offset: u64,
        /// How many.
        length: u64,
    },
}

/// How a pinned request was answered.
#[derive(Debug)]
pub enum Answer<T> {
    /// By what was asked for.
    Here(T),
    /// Another object is under the key.
    Changed,
    /// The object, or the version, is gone.
    Missing,
    /// The object ends before the range begins.
    BeyondEnd,
}

/// What a store recorded of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its bytes.
    pub size_bytes: u64,
    /// A checksum of all its bytes, where the store has one.
    pub recorded: Option<Recorded>,
}

/// An answer under way, as its head announced it.
#[derive(Debug)]
pub struct Opened<B> {
    /// The first byte that it brings.
    pub offset: u64,
    /// How many it brings.
    pub length: u64,
    /// The whole object's bytes.
    pub size_bytes: u64,
    /// A checksum of the *whole* object, where the head has one.
    pub recorded: Option<Recorded>,
    /// The bytes.
    pub body: B,
}

/// A checksum that a store computed over all bytes of an object when it was written (of type `FULL_OBJECT`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// Its raw bytes, the most significant first.
    pub digest: Vec<u8>,
}

/// The algorithms of full-object checksums that are recomputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// What S3 adds by itself.
    Crc64Nvme,
    /// What SDKs add.
    Crc32,
    /// Castagnoli's.
    Crc32c,
    /// Only of objects written by one PUT.
    Sha256,
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Sha256 => "SHA256",
        })
    }
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Objects, in key order.
    pub objects: Vec<ListedObject>,
    /// Whether more follow.
    pub more: bool,
}

/// A listed current object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size_bytes: u64,
    /// Its ETag, in its quotes.
    pub etag: String,
}

/// A request brought no answer, or an answer broke off.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ReadFault {
    /// What happened, in a few words.
    pub what: String,
    /// Whether the same request may succeed later.
    pub again: Again,
    /// What it came from.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl ReadFault {
    /// A fault without a source.
    pub fn new(what: impl Into<String>, again: Again) -> Self {
        Self { what: what.into(), again, source: None }
    }

    /// A fault that came from something.
    pub fn from_source(what: impl Into<String>, again: Again, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what: what.into(), again, source: Some(source.into()) }
    }
}

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It may.
    Soon,
    /// It may, when asked more slowly (503 SlowDown).
    Slower,
    /// Not until something is changed: rights, a name, a setting.
    Never,
}
