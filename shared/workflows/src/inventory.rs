//! What is in the bucket: listings of versions, T0, and manifests read back with everything that they vouch for.

use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::manifest::{CatalogueRow, Manifest};
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::verify::inventory::{Content, Entry, Inventory};
use lifeboat_domain::verify::proof::StoredProof;
use lifeboat_domain::verify::{Finding, ProofError, ShardObject, T0Outcome, VerifiedManifest, t0 as compare};

use crate::ports::bucket::{ListedVersion, Pinned, ReadOutcome, Stored, VersionContent, VersionMarker};
use crate::ports::{Bucket, Fault};
use crate::store::{DOCUMENT_BYTES_MAX, StoreError};

/// The largest catalogue that is read, in bytes: some three million objects.
pub const CATALOGUE_BYTES_MAX: u64 = 1 << 30;

/// All versions and delete markers below a prefix, with the number of requests that they took.
pub(crate) async fn list_all(bucket: &impl Bucket, prefix: &str) -> Result<(Vec<ListedVersion>, u32), StoreError> {
    let fault = |source: Fault| StoreError::Bucket { key: prefix.to_owned(), source };
    let mut entries: Vec<ListedVersion> = Vec::new();
    let mut pages = 0;
    loop {
        let after = entries.last().map(|e| VersionMarker { key: e.key.clone(), version_id: e.version_id.clone() });
        let page = bucket.list_versions(prefix, after.as_ref()).await.map_err(fault)?;
        pages += 1;
        let came = !page.entries.is_empty();
        entries.extend(page.entries);
        if !page.more || !came {
            return Ok((entries, pages));
        }
    }
}

/// Everything under a backup's prefix, with the number of requests that it took: one for each 1,000 versions.
pub(crate) async fn inventory(bucket: &impl Bucket, backup_id: &BackupId) -> Result<(Inventory, u32), StoreError> {
    let (entries, pages) = list_all(bucket, &Key::backup_prefix(backup_id)).await?;
    Ok((Inventory::of(backup_id, entries.into_iter().map(entry)), pages))
}

pub(crate) fn entry(listed: ListedVersion) -> Entry {
    let content = match listed.content {
        VersionContent::Object { size_bytes, etag } => Content::Object { size_bytes, etag },
        VersionContent::DeleteMarker => Content::DeleteMarker,
    };
    let ListedVersion { key, version_id, is_latest, last_modified, .. } = listed;
    Entry { key, version_id, is_latest, content, last_modified }
}

/// T0: whether a restore of this backup would read exactly what was verified (DESIGN §5).
///
/// # Guarantees
/// Reads no object; at most one request for each 1,000 versions under the backup, and one more.
///
/// # Errors
/// Only when the bucket gives no answer; whatever is wrong with the backup is in the outcome.
pub async fn t0(bucket: &impl Bucket, manifest: &Manifest, rows: &[CatalogueRow]) -> Result<T0Outcome, StoreError> {
    t0_of(bucket, &manifest.backup_id, rows).await
}

/// [`t0`] of the rows of a backup's catalogue.
///
/// # Errors
/// As [`t0`].
pub async fn t0_of(bucket: &impl Bucket, backup_id: &BackupId, rows: &[CatalogueRow]) -> Result<T0Outcome, StoreError> {
    let (inventory, pages) = inventory(bucket, backup_id).await?;
    Ok(compare::compare(rows, &inventory, pages))
}

/// Which manifest to read.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The one that a pointer names, held to the digest that the pointer pins.
    Pointer(&'a Pointer),
    /// This backup's, whoever named it.
    Backup(&'a BackupId),
}

/// Why there is no manifest that can be relied upon.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is none, or something that it vouches for is gone.
    #[error("{key} does not exist; look for a delete marker among its versions")]
    Missing {
        /// What does not exist.
        key: String,
    },
    /// The bucket gave no answer.
    #[error("reading the proof of a backup")]
    Store(#[source] StoreError),
    /// The bytes do not hold together.
    #[error("holding a manifest to what it vouches for")]
    Proof(#[source] ProofError),
}

/// Reads a manifest with catalogue, expectations and observation, and holds every digest: the pointer's of the
/// manifest, the manifest's of the others.
///
/// A manifest that was put back from its pinned version is another version with the same bytes, so the digest is held
/// and not the version.
pub async fn load_verified_manifest(bucket: &impl Bucket, which: Which<'_>) -> Result<VerifiedManifest, LoadError> {
    let (backup_id, named_by) = match which {
        Which::Pointer(pointer) => (&pointer.backup_id, Some(&pointer.manifest)),
        Which::Backup(backup_id) => (backup_id, None),
    };
    let manifest = must(bucket, &Key::Manifest(backup_id.clone()), DOCUMENT_BYTES_MAX).await?;
    let catalogue = must(bucket, &Key::Catalogue(backup_id.clone()), CATALOGUE_BYTES_MAX).await?;
    let expectations = must(bucket, &Key::Expectations(backup_id.clone()), DOCUMENT_BYTES_MAX).await?;
    let observed_after = must(bucket, &Key::ObservedAfter(backup_id.clone()), DOCUMENT_BYTES_MAX).await?;
    let stored = StoredProof {
        manifest: &manifest.body,
        manifest_version_id: manifest.version_id.as_deref(),
        catalogue: &catalogue.body,
        expectations: &expectations.body,
        observed_after: &observed_after.body,
    };
    let verified = VerifiedManifest::check(backup_id, named_by, stored).map_err(LoadError::Proof)?;
    let pointer = match which {
        Which::Pointer(pointer) => Some(pointer),
        Which::Backup(_) => None,
    };
    crate::history::hold(bucket, pointer, verified.manifest()).await?;
    Ok(verified)
}

async fn must(bucket: &impl Bucket, key: &Key, limit_bytes: u64) -> Result<Stored, LoadError> {
    let key = key.to_string();
    let read = bucket.get(&key, limit_bytes).await;
    let stored = read.map_err(|source| LoadError::Store(StoreError::Bucket { key: key.clone(), source }))?;
    stored.ok_or(LoadError::Missing { key })
}

/// How much of an object one request reads.
pub(crate) const RANGE_BYTES: u64 = 8 << 20;

/// The bytes of an object as pinned by a listing, or what keeps them from being had.
pub(crate) async fn read_whole(
    bucket: &impl Bucket,
    object: &ShardObject,
) -> Result<Result<Vec<u8>, Finding>, StoreError> {
    let mut bytes: Vec<u8> = Vec::new();
    if object.size_bytes > CATALOGUE_BYTES_MAX {
        let (key, size_bytes) = (object.key.clone(), object.size_bytes);
        return Ok(Err(Finding::ObjectTooLarge { key, size_bytes, size_bytes_max: CATALOGUE_BYTES_MAX }));
    }
    loop {
        let offset = bytes.len() as u64;
        let length = RANGE_BYTES.min(object.size_bytes - offset);
        if length == 0 {
            return Ok(Ok(bytes));
        }
        match read_range(bucket, object, offset, length).await? {
            Ok(more) => bytes.extend(more),
            Err(finding) => return Ok(Err(finding)),
        }
    }
}

/// One range of a pinned object: exactly `length` bytes, or a finding.
pub(crate) async fn read_range(
    bucket: &impl Bucket,
    object: &ShardObject,
    offset: u64,
    length: u64,
) -> Result<Result<Vec<u8>, Finding>, StoreError> {
    let pinned = Pinned { key: object.key.clone(), etag: object.etag.clone(), version_id: object.version_id.clone() };
    let read = bucket.read(&pinned, offset, length).await;
    let key = || object.key.clone();
    let wrong = |received_bytes| Finding::WrongLength { key: key(), expected_bytes: length, received_bytes };
    Ok(match read.map_err(|source| StoreError::Bucket { key: key(), source })? {
        ReadOutcome::Bytes(bytes) if bytes.len() as u64 == length => Ok(bytes),
        ReadOutcome::Bytes(bytes) => Err(wrong(bytes.len() as u64)),
        ReadOutcome::Changed => Err(Finding::Changed { key: key() }),
        ReadOutcome::Missing => Err(Finding::Vanished { key: key() }),
        ReadOutcome::WrongLength { received_bytes } => Err(wrong(received_bytes)),
    })
}

#[cfg(test)]
mod tests;
