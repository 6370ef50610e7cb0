//! The contract of [`Bucket`], beside what of S3 itself the product rests on.
//!
//! Each case works below a prefix of its own, needs nothing to be there, and leaves its objects behind.

mod ambiguous;
mod conditions;
mod copies;
mod keys;
mod listings;
mod reads;
mod told;
mod versions;

use super::Report;
use crate::ports::Bucket;
use crate::ports::bucket::{
    Listed, ListedVersion, Page, Pinned, PutMode, PutOutcome, ReadOutcome, Stored, VersionMarker,
};

/// Our documents are smaller.
const LIMIT: u64 = 1 << 21;

/// A store under contract: the port, and somebody who goes round it.
pub trait Place: Sync {
    /// The port.
    type Bucket: Bucket;

    /// The port as a process of its own has it: two writers share nothing but the store.
    fn writer(&self) -> Self::Bucket;
    /// Whether the store has versions.
    fn versioned(&self) -> bool;
    /// Makes pages of listings this small, or as large as they are by themselves.
    fn page_size(&self, entries: Option<usize>);
    /// Whether trouble can be made here; if not, why.
    ///
    /// # Errors
    /// The reason.
    fn can_trouble(&self) -> Result<(), String>;
    /// The port with trouble ahead: it befalls its next put.
    fn troubled(&self, trouble: Trouble) -> impl Future<Output = Self::Bucket> + Send;

    /// Overwrites a key unconditionally.
    fn overwrite(&self, key: &str, body: Vec<u8>) -> impl Future<Output = ()> + Send;
    /// Uploads in these parts; the ETag.
    fn upload(&self, key: &str, parts: Vec<Vec<u8>>) -> impl Future<Output = String> + Send;
    /// Deletes a key: with versions, a delete marker becomes current.
    fn delete(&self, key: &str) -> impl Future<Output = ()> + Send;
    /// Removes one version, or marker, for good.
    fn delete_version(&self, key: &str, version_id: &str) -> impl Future<Output = ()> + Send;
    /// Whether events can be seen here; if not, why.
    ///
    /// # Errors
    /// The reason.
    fn can_tell(&self) -> Result<(), String>;
    /// The keys below a prefix whose creation was told as an event, in no order, once the creation of `last` has been.
    fn told(&self, prefix: &str, last: &str) -> impl Future<Output = Vec<String>> + Send;
}

/// What befalls a put on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The store writes, and this many times in a row its reply is lost.
    ReplyLost {
        /// How often: 1 is absorbed by a retry, [`ATTEMPTS`] is not.
        times: u32,
    },
    /// The first attempt never arrives. Before the second, somebody else writes this under this key.
    Overtaken {
        /// The key.
        key: String,
        /// The other's bytes.
        by: Vec<u8>,
    },
    /// The store writes, its reply is lost, and before the retry somebody overwrites it.
    WrittenOver {
        /// The key.
        key: String,
        /// The other's bytes.
        by: Vec<u8>,
    },
    /// A byte of the body changes on the way.
    Damaged,
}

/// How often an adapter tries a call.
pub const ATTEMPTS: u32 = 3;

/// Plays every case below `prefix`.
pub async fn play(place: &impl Place, prefix: &str, report: &mut Report) {
    conditions::play(place, prefix, report).await;
    ambiguous::play(place, prefix, report).await;
    listings::play(place, prefix, report).await;
    versions::play(place, prefix, report).await;
    reads::play(place, prefix, report).await;
    keys::play(place, prefix, report).await;
    copies::play(place, prefix, report).await;
    told::play(place, prefix, report).await;
}

async fn outcome(bucket: &impl Bucket, key: &str, body: &[u8], mode: PutMode) -> PutOutcome {
    bucket.put(key, body.to_vec(), mode).await.expect("the put is answered")
}

async fn written(bucket: &impl Bucket, key: &str, body: &[u8], mode: PutMode) -> (String, Option<String>) {
    match outcome(bucket, key, body, mode).await {
        PutOutcome::Written { etag, version_id } => (etag, version_id),
        PutOutcome::Lost => panic!("{key}: the condition holds, so the put is written"),
    }
}

/// Written anew, and pinned.
async fn created(bucket: &impl Bucket, key: &str, body: &[u8]) -> Pinned {
    let (etag, version_id) = written(bucket, key, body, PutMode::Create).await;
    Pinned { key: key.to_owned(), etag, version_id }
}

async fn got(bucket: &impl Bucket, key: &str) -> Stored {
    bucket.get(key, LIMIT).await.expect("answered").expect("there")
}

async fn read(bucket: &impl Bucket, object: &Pinned, offset: u64, length: u64) -> ReadOutcome {
    bucket.read(object, offset, length).await.expect("answered")
}

/// Every current object below a prefix, page by page, with the number of pages.
async fn all(bucket: &impl Bucket, prefix: &str) -> (Vec<Listed>, usize) {
    let (mut found, mut pages) = (Vec::<Listed>::new(), 0);
    loop {
        let after = found.last().map(|e| e.key.clone());
        let Page { entries, more } = bucket.list(prefix, after.as_deref()).await.expect("answered");
        assert!(entries.len() <= 1000, "a page has at most 1,000 entries");
        assert!(!more || !entries.is_empty(), "a page that promises more has something");
        found.extend(entries);
        pages += 1;
        if !more {
            return (found, pages);
        }
    }
}

/// All versions and markers below a prefix, page by page, with the number of pages.
async fn all_versions(bucket: &impl Bucket, prefix: &str) -> (Vec<ListedVersion>, usize) {
    let (mut found, mut pages) = (Vec::<ListedVersion>::new(), 0);
    loop {
        let after = found.last().map(|v| VersionMarker { key: v.key.clone(), version_id: v.version_id.clone() });
        let page = bucket.list_versions(prefix, after.as_ref()).await.expect("answered");
        assert!(page.entries.len() <= 1000 && (!page.more || !page.entries.is_empty()));
        found.extend(page.entries);
        pages += 1;
        if !page.more {
            return (found, pages);
        }
    }
}
