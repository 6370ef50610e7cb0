//! What a flip is decided against, read afresh each time.

use lifeboat_domain::Timestamp;
use lifeboat_domain::document::decode;
use lifeboat_domain::flip::World;
use lifeboat_domain::keys::Key;
use lifeboat_domain::ownership::Ownership;
use lifeboat_domain::pointer::{POINTER_BYTES_MAX, Pointer};
use lifeboat_domain::verify::{ShardObject, VerifiedManifest};

use super::FlipError;
use crate::inventory::read_whole;
use crate::ports::Bucket;
use crate::ports::bucket::{ListedVersion, VersionContent, VersionMarker};
use crate::store::{self, StoreError, Versioned};

/// Pointer and ownership, as they are now.
pub(super) struct Seen {
    pub(super) pointer: Option<Versioned<Pointer>>,
    pub(super) ownership: Option<Versioned<Ownership>>,
}

impl Seen {
    /// The world to decide in.
    pub(super) fn world<'s>(&'s self, cluster: &'s str, baseline: Option<&'s VerifiedManifest>) -> World<'s> {
        World {
            cluster,
            pointer: self.pointer.as_ref().map(|p| &p.value),
            ownership: self.ownership.as_ref().map(|o| &o.value),
            baseline,
        }
    }

    /// The pointer, if there is one.
    pub(super) fn pointer(&self) -> Option<&Pointer> {
        self.pointer.as_ref().map(|p| &p.value)
    }
}

/// Reads pointer and ownership. An unreadable one is an error, and so is a pointer that was there once: its sequence
/// would start again.
pub(super) async fn observe(bucket: &impl Bucket) -> Result<Seen, FlipError> {
    let ownership = store::read::<Ownership>(bucket, &Key::Ownership).await.map_err(FlipError::Store)?;
    let mut pointer = read_pointer(bucket).await?;
    if pointer.is_none() {
        let key = Key::Pointer.to_string();
        let page = bucket.list_versions(&key, None).await;
        let page = page.map_err(|source| FlipError::Store(StoreError::Bucket { key: key.clone(), source }))?;
        if page.entries.iter().any(|v| v.key == key) {
            // Or another invocation published the first one between the two looks.
            pointer = read_pointer(bucket).await?;
            if pointer.is_none() {
                return Err(FlipError::PointerDeleted);
            }
        }
    }
    Ok(Seen { pointer, ownership })
}

/// Reads the pointer; one over its bound is an error.
pub(super) async fn read_pointer(bucket: &impl Bucket) -> Result<Option<Versioned<Pointer>>, FlipError> {
    let key = Key::Pointer.to_string();
    let fault = |source| FlipError::Store(StoreError::Bucket { key: key.clone(), source });
    let Some(stored) = bucket.get(&key, POINTER_BYTES_MAX).await.map_err(fault)? else {
        return Ok(None);
    };
    let unreadable = |source| FlipError::Store(StoreError::Document { key: key.clone(), source });
    Ok(Some(Versioned {
        value: decode(&key, &stored.body).map_err(unreadable)?,
        etag: stored.etag,
        version_id: stored.version_id,
        last_modified: stored.last_modified,
        body: stored.body,
    }))
}

/// A pointer written at or after `since` (S3's date) of which this is true, among all versions of the pointer. A crash
/// between a pointer write and the record of it is told by this from a write that never was.
pub(super) async fn written_since(
    bucket: &impl Bucket,
    since: Timestamp,
    is_it: impl Fn(&Pointer) -> bool,
) -> Result<Option<Pointer>, FlipError> {
    let key = Key::Pointer.to_string();
    let mut after = None;
    loop {
        // Versions of a key come newest first, so the history that matters ends where it gets older than `since`.
        let page = bucket.list_versions(&key, after.as_ref()).await;
        let page = page.map_err(|source| FlipError::Store(StoreError::Bucket { key: key.clone(), source }))?;
        let last = page.entries.last().map(|v| (v.key == key && v.last_modified >= since, marker(v)));
        for version in page.entries.into_iter().filter(|v| v.key == key && v.last_modified >= since) {
            let Some(pointer) = read_version(bucket, &key, version).await? else {
                continue;
            };
            if is_it(&pointer) {
                return Ok(Some(pointer));
            }
        }
        match last {
            Some((true, marker)) if page.more => after = Some(marker),
            Some(_) | None => return Ok(None),
        }
    }
}

fn marker(version: &ListedVersion) -> VersionMarker {
    VersionMarker { key: version.key.clone(), version_id: version.version_id.clone() }
}

/// A version of the pointer; `None` for a delete marker.
async fn read_version(bucket: &impl Bucket, key: &str, version: ListedVersion) -> Result<Option<Pointer>, FlipError> {
    let VersionContent::Object { size_bytes, etag } = version.content else {
        return Ok(None);
    };
    let object = ShardObject { key: key.to_owned(), size_bytes, etag, version_id: version.version_id };
    match read_whole(bucket, &object).await.map_err(FlipError::Store)? {
        Ok(bytes) => decode(key, &bytes)
            .map(Some)
            .map_err(|source| FlipError::Store(StoreError::Document { key: key.to_owned(), source })),
        Err(finding) => Err(FlipError::PointerHistory { finding }),
    }
}
