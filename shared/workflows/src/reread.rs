//! A published backup read again in full, here and now, and held to its catalogue: T1 against a manifest, for people.
//!
//! The same bytes as at the first reading, at the same pinned versions, or a [`Finding`]. Nothing is written.

use std::pin::pin;

use futures::StreamExt as _;
use lifeboat_domain::ids::Sha256Digest;
use lifeboat_domain::keys::Key;
use lifeboat_domain::manifest::{CatalogueRow, sums};
use lifeboat_domain::verify::{Finding, VerifiedManifest};
use lifeboat_engine::{Digests, Engine, EtagIs, Object, Progress, Unanswered};

use crate::inventory::CATALOGUE_BYTES_MAX;
use crate::ports::Bucket;
use crate::ports::bucket::Pinned;
use crate::store::StoreError;

/// What reading a backup again came to.
#[derive(Debug)]
#[must_use]
pub struct Reread {
    /// Objects that read as the catalogue has them.
    pub objects: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// What is wrong with the others, and with `SHA256SUMS`.
    pub findings: Vec<Finding>,
    /// Objects of which the bucket gave no answer: no verdict.
    pub unanswered: Vec<Unanswered>,
}

/// Reads every object of the catalogue at its pinned version, and `SHA256SUMS`.
///
/// # Errors
/// The bucket gave no answer about `SHA256SUMS`.
pub async fn reread(
    bucket: &impl Bucket,
    engine: &Engine,
    verified: &VerifiedManifest,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Reread, StoreError> {
    let mut reread = Reread { objects: 0, size_bytes: 0, findings: Vec::new(), unanswered: Vec::new() };
    let rows = verified.rows();
    let objects = futures::stream::iter(rows).map(pinned);
    let mut answers = pin!(engine.hash_objects(bucket, objects, progress));
    while let Some((object, answer)) = answers.next().await {
        let found = rows.binary_search_by(|row| row.key.as_str().cmp(&object.pinned.key));
        let row = &rows[found.expect("only objects of the catalogue are asked for")];
        let held = |answer: Result<Digests, lifeboat_engine::Finding>| {
            answer.map_err(|finding| named(row, finding)).and_then(|digests| same(row, &digests))
        };
        let mut answer = answer.map(held);
        if matches!(answer, Ok(Err(Finding::Sha256Differs { .. }))) {
            // Damage on the way is not damage at rest.
            answer = engine.hash_object(bucket, &object, progress).await.map(held);
        }
        match answer {
            Ok(Ok(())) => {
                reread.objects += 1;
                reread.size_bytes += row.size_bytes;
            }
            Ok(Err(finding)) => reread.findings.push(finding),
            Err(unanswered) => reread.unanswered.push(unanswered),
        }
    }
    let backup_id = &verified.manifest().backup_id;
    let key = Key::Sums(backup_id.clone()).to_string();
    let stored = bucket.get(&key, CATALOGUE_BYTES_MAX).await;
    let stored = stored.map_err(|source| StoreError::Bucket { key: key.clone(), source })?;
    match stored {
        Some(stored) if stored.body == sums(rows, &Key::backup_prefix(backup_id)).into_bytes() => {}
        Some(_) => reread.findings.push(Finding::ProofDiffers { key }),
        None => reread.findings.push(Finding::ObjectMissing { key }),
    }
    reread.findings.sort();
    Ok(reread)
}

fn pinned(row: &CatalogueRow) -> Object {
    let CatalogueRow { key, size_bytes, etag, version_id, .. } = row.clone();
    // The ETag pins; the catalogue's SHA-256 is what the bytes are held to.
    Object { pinned: Pinned { key, etag, version_id }, size_bytes, etag_is: EtagIs::Opaque }
}

fn same(row: &CatalogueRow, digests: &Digests) -> Result<(), Finding> {
    let computed = Sha256Digest::from_raw(&digests.sha256);
    if computed == row.sha256 {
        return Ok(());
    }
    Err(Finding::Sha256Differs { key: row.key.clone(), recorded: row.sha256.clone(), computed })
}

fn named(row: &CatalogueRow, finding: lifeboat_engine::Finding) -> Finding {
    use lifeboat_engine::Finding as Engine;
    let key = row.key.clone();
    match finding {
        Engine::Changed => Finding::Changed { key },
        Engine::Missing => Finding::Vanished { key },
        Engine::WrongLength { expected_bytes, received_bytes } => {
            Finding::WrongLength { key, expected_bytes, received_bytes }
        }
        Engine::ChecksumDiffers { algorithm, recorded, computed } => {
            Finding::ChecksumDiffers { key, algorithm: algorithm.to_string(), recorded, computed }
        }
        Engine::EtagDiffers { recorded, computed } => Finding::EtagDiffers { key, recorded, computed },
    }
}
