//! What only the older versions of a key can tell: whether a document was written once, and the pointer in order.
//!
//! Digests hold a document to what vouches for it; a writer who recomputes every digest above it leaves older versions
//! behind, which no role of the template may erase. On a store without versions there is no history, and nothing here
//! finds anything.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_domain::document::decode;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::manifest::Manifest;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::verify::{Finding, ProofError, ShardObject};

use crate::inventory::{LoadError, list_all, read_whole};
use crate::ports::Bucket;
use crate::ports::bucket::VersionContent;
use crate::store::StoreError;

/// What is wrong with a pointer that is not the next one, or of which the one before cannot be read.
const NOT_IN_ORDER: &str = "does not follow the pointer that was written before it";

/// A document below a prefix that was written with more than one content, among those that are written once, with the
/// number of contents. The same bytes put back, or put twice, are one content.
pub(crate) async fn rewritten(bucket: &impl Bucket, prefix: &str) -> Result<Option<(String, u32)>, StoreError> {
    let (entries, _) = list_all(bucket, prefix).await?;
    let mut contents: BTreeMap<String, BTreeSet<(u64, String)>> = BTreeMap::new();
    for entry in entries {
        if let (true, VersionContent::Object { size_bytes, etag }) = (is_written_once(&entry.key), entry.content) {
            contents.entry(entry.key).or_default().insert((size_bytes, etag));
        }
    }
    let rewritten = contents.into_iter().find(|(_, contents)| contents.len() > 1);
    Ok(rewritten.map(|(key, contents)| (key, u32::try_from(contents.len()).unwrap_or(u32::MAX))))
}

fn is_written_once(key: &str) -> bool {
    matches!(
        Key::parse(key),
        Some(
            Key::Expectations(_)
                | Key::ObservedAfter(_)
                | Key::Manifest(_)
                | Key::Catalogue(_)
                | Key::Sums(_)
                | Key::Shard(..)
                | Key::Part(..)
        )
    )
}

/// The documents that a backup is proved from, as a finding.
pub(crate) async fn rewritten_while_proving(
    bucket: &impl Bucket,
    backup_id: &BackupId,
) -> Result<Option<Finding>, StoreError> {
    for prefix in [Key::work_prefix(backup_id), Key::proof_prefix(backup_id)] {
        if let Some((key, versions)) = rewritten(bucket, &prefix).await? {
            return Ok(Some(Finding::Overwritten { key, versions }));
        }
    }
    Ok(None)
}

/// Holds a manifest's documents to having been written once, and a pointer that names it to the manifest and to the
/// pointer before it.
pub(crate) async fn hold(
    bucket: &impl Bucket,
    pointer: Option<&Pointer>,
    manifest: &Manifest,
) -> Result<(), LoadError> {
    let differs = |key: String, what| Err(LoadError::Proof(ProofError::Differs { key, what }));
    let prefix = Key::proof_prefix(&manifest.backup_id);
    if let Some((key, _)) = rewritten(bucket, &prefix).await.map_err(LoadError::Store)? {
        return differs(key, "was written more than once, and a document of a proof never is");
    }
    let Some(pointer) = pointer else { return Ok(()) };
    if !pointer.agrees_with(manifest) {
        return differs(Key::Pointer.to_string(), "says otherwise of the backup than its manifest");
    }
    match before(bucket).await? {
        Some((before, now_etag, before_etag)) if now_etag != before_etag => {
            if pointer.sequence != before.sequence.next() || pointer.generation < before.generation {
                return differs(Key::Pointer.to_string(), NOT_IN_ORDER);
            }
            // A gate may fall back to an older backup; it opens a new generation.
            let same = pointer.generation == before.generation;
            let back = same && pointer.data_as_of < before.data_as_of && pointer.overridden.is_none();
            if back {
                return differs(Key::Pointer.to_string(), "goes back to older data without a person's decision");
            }
            Ok(())
        }
        Some(_) | None => Ok(()),
    }
}

/// The pointer that was written before the current one, with the ETags of the current and of it.
async fn before(bucket: &impl Bucket) -> Result<Option<(Pointer, String, String)>, LoadError> {
    let key = Key::Pointer.to_string();
    let page = bucket.list_versions(&key, None).await;
    let page = page.map_err(|source| LoadError::Store(StoreError::Bucket { key: key.clone(), source }))?;
    // Versions of a key come newest first, and nothing sorts before the pointer's own key below it.
    let mut objects = page.entries.into_iter().filter(|v| v.key == key).filter_map(|v| match v.content {
        VersionContent::Object { size_bytes, etag } => {
            Some(ShardObject { key: v.key, size_bytes, etag, version_id: v.version_id })
        }
        VersionContent::DeleteMarker => None,
    });
    let (Some(now), Some(before)) = (objects.next(), objects.next()) else { return Ok(None) };
    let etag = before.etag.clone();
    let bytes = match read_whole(bucket, &before).await.map_err(LoadError::Store)? {
        Ok(bytes) => bytes,
        Err(_) => {
            return Err(LoadError::Proof(ProofError::Differs { key, what: NOT_IN_ORDER }));
        }
    };
    let before = decode(&key, &bytes).map_err(|source| LoadError::Store(StoreError::Document { key, source }))?;
    Ok(Some((before, now.etag, etag)))
}
