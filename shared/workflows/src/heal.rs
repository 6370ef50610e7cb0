//! Heals a backup that T0 refuses though every verified version still exists: copies these versions to `healed/<id>/`,
//! from where it can be restored (DESIGN §5; review M10).
//!
//! # Flow
//! Originals and copies are listed; what is not copied yet is copied inside S3, version by version, and the SHA-256 that
//! S3 computed over the copy is held to the catalogue's. A copy that was there already is held by the checksum that S3
//! keeps of it; where S3 has none of the whole (objects over 5 GiB), the copy is read and hashed. When all are there, what
//! they are is recorded as evidence, created once.
//!
//! # Guarantees
//! The backup's own prefix is never written, nothing is deleted. Whatever call it dies at, the next one carries on from
//! what the listings show. A recorded healing is held to the listing each time, so that copies that were meddled with
//! are copied again. It says so when it is done: somebody overwrote or deleted objects of a backup.
//!
//! # Errors
//! The bucket gave no answer, or a record does not parse.

use std::fmt;

use futures::StreamExt as _;
use jiff::Timestamp;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{HEALED_PATH, Key};
use lifeboat_domain::manifest::CatalogueRow;
use lifeboat_domain::verify::heal::{self, HealEvidence, HealFinding, HealedObject, Step};
use lifeboat_domain::verify::inventory::Inventory;
use lifeboat_domain::verify::{ShardObject, T0Summary, VerifiedManifest, t0};
use serde::Serialize;

use crate::inventory::{CATALOGUE_BYTES_MAX, entry, inventory, list_all};
use crate::ports::bucket::{CopyOutcome, Pinned, PutMode, PutOutcome};
use crate::ports::{Bucket, Clock};
use crate::store::{self, StoreError};
use crate::verify_checksums::{VerifyPolicy, read_in_full};

/// How to heal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealPolicy {
    /// Objects copied or looked at at once.
    pub objects_parallel: usize,
    /// How a copy is read of which S3 holds no checksum.
    pub reading: VerifyPolicy,
}

impl HealPolicy {
    /// The usual policy for this bucket.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self { objects_parallel: 16, reading: VerifyPolicy::new(bucket) }
    }
}

/// How far a healing came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "heal")]
pub enum Outcome {
    /// It can be restored from its copies.
    Healed(Healed),
    /// Time was up; the next call carries on.
    UnderWay {
        /// The backup.
        backup_id: BackupId,
        /// Objects that are done.
        done: u64,
        /// Of so many.
        of: u64,
    },
    /// It cannot be healed.
    Refused {
        /// The backup.
        backup_id: BackupId,
        /// Why.
        findings: Vec<HealFinding>,
    },
}

/// A backup that can be restored from its copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Healed {
    /// The backup.
    pub backup_id: BackupId,
    /// The path that the restore is given in place of `backups`; its status must be asked for with the same.
    pub path: String,
    /// The key of the record.
    pub evidence: String,
    /// Objects copied by this call; 0 when it was healed already.
    pub copied: u64,
    /// Objects of the backup.
    pub objects: u64,
}

impl Outcome {
    /// Whether a person must hear of it: somebody overwrote or deleted objects of a backup.
    pub fn attention(&self) -> bool {
        match self {
            Self::Healed(healed) => healed.copied > 0,
            Self::UnderWay { .. } => false,
            Self::Refused { .. } => true,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healed(Healed { backup_id, path, evidence, copied, objects }) => write!(
                f,
                "{backup_id} is HEALED: all {objects} verified versions are under {path}/{backup_id}/ ({copied} copied \
                 now), recorded in {evidence}; find out who overwrites or deletes under backups/"
            ),
            Self::UnderWay { backup_id, done, of } => write!(f, "{backup_id} is being healed: {done} of {of} objects"),
            Self::Refused { backup_id, findings } => {
                let first = findings.first().map_or_else(String::new, ToString::to_string);
                write!(f, "{backup_id} CANNOT be healed, {} findings, first: {first}", findings.len())
            }
        }
    }
}

/// Goes on healing until it is done, refused, or time is up. Calling it again for a backup that is healed costs two
/// listings and one read, and holds the copies to what was recorded of them.
pub async fn heal(
    bucket: &impl Bucket,
    clock: &impl Clock,
    policy: &HealPolicy,
    proof: &VerifiedManifest,
    until: Timestamp,
) -> Result<Outcome, StoreError> {
    let (backup_id, rows) = (&proof.manifest().backup_id, proof.rows());
    let there = copies(bucket, backup_id).await?;
    if let Some(healed) = recorded(bucket, backup_id, rows, &there).await? {
        return Ok(Outcome::Healed(healed));
    }
    let (originals, pages) = inventory(bucket, backup_id).await?;
    let t0 = t0::compare(rows, &originals, pages).summary();
    let steps = match heal::plan(backup_id, rows, &originals, &there) {
        Ok(steps) => steps,
        Err(findings) => return Ok(Outcome::Refused { backup_id: backup_id.clone(), findings }),
    };
    let of = steps.len() as u64;
    let (mut done, mut copied, mut findings) = (Vec::new(), 0, Vec::new());
    let mut doing = futures::stream::iter(steps.iter().map(|step| async move {
        // What was begun is finished; nothing new is begun when time is up.
        if clock.now() >= until { Ok(None) } else { one(bucket, policy, step).await.map(Some) }
    }))
    .buffered(policy.objects_parallel.max(1));
    while let Some(answer) = doing.next().await {
        match answer? {
            Some(Ok((copy, new))) => {
                copied += u64::from(new);
                done.push(copy);
            }
            Some(Err(finding)) => findings.push(finding),
            None => {}
        }
    }
    drop(doing);
    if !findings.is_empty() {
        return Ok(Outcome::Refused { backup_id: backup_id.clone(), findings });
    }
    let under_way = Outcome::UnderWay { backup_id: backup_id.clone(), done: done.len() as u64, of };
    if (done.len() as u64) < of {
        return Ok(under_way);
    }
    let record = copied_objects(backup_id, rows, done);
    let now = copies(bucket, backup_id).await?;
    if !heal::check(backup_id, rows, &record, &now).is_empty() {
        // Somebody meddles with the copies at this moment: look again.
        return Ok(under_way);
    }
    let evidence = file(bucket, backup_id, record, t0, &now).await?;
    Ok(Outcome::Healed(Healed {
        backup_id: backup_id.clone(),
        path: HEALED_PATH.to_owned(),
        evidence,
        copied,
        objects: of,
    }))
}

/// What is under `healed/<id>/`.
async fn copies(bucket: &impl Bucket, backup_id: &BackupId) -> Result<Inventory, StoreError> {
    let prefix = Key::healed_prefix(backup_id);
    let (entries, _) = list_all(bucket, &prefix).await?;
    Ok(Inventory::below(prefix, entries.into_iter().map(entry)))
}

/// The newest record of a healing, if the copies are still as it says.
async fn recorded(
    bucket: &impl Bucket,
    backup_id: &BackupId,
    rows: &[CatalogueRow],
    there: &Inventory,
) -> Result<Option<Healed>, StoreError> {
    let prefix = format!("{}{KIND}-", Key::evidence_prefix(backup_id));
    let mut newest: Option<String> = None;
    loop {
        let page = bucket.list(&prefix, newest.as_deref()).await;
        let page = page.map_err(|source| StoreError::Bucket { key: prefix.clone(), source })?;
        // Keys come in the order of their times.
        newest = page.entries.last().map(|e| e.key.clone()).or(newest);
        if !page.more || page.entries.is_empty() {
            break;
        }
    }
    let Some(key) = newest else { return Ok(None) };
    let record = read(bucket, &key).await?;
    let holds =
        record.is_some_and(|r| r.backup_id == *backup_id && heal::check(backup_id, rows, &r.copies, there).is_empty());
    Ok(holds.then(|| Healed {
        backup_id: backup_id.clone(),
        path: HEALED_PATH.to_owned(),
        evidence: key,
        copied: 0,
        objects: rows.len() as u64,
    }))
}

const KIND: &str = "heal";

async fn read(bucket: &impl Bucket, key: &str) -> Result<Option<HealEvidence>, StoreError> {
    let stored = bucket.get(key, CATALOGUE_BYTES_MAX).await;
    let stored = stored.map_err(|source| StoreError::Bucket { key: key.to_owned(), source })?;
    let decoded = stored.map(|stored| lifeboat_domain::document::decode::<HealEvidence>(key, &stored.body));
    decoded.transpose().map_err(|source| StoreError::Document { key: key.to_owned(), source })
}

/// One object: the copy that is good, and whether it was made now.
async fn one(
    bucket: &impl Bucket,
    policy: &HealPolicy,
    step: &Step,
) -> Result<Result<(ShardObject, bool), HealFinding>, StoreError> {
    let fault = |source| StoreError::Bucket { key: step.to.clone(), source };
    if let Some(there) = &step.there {
        let kept = bucket.stored_sha256(&pin(there)).await.map_err(fault)?;
        let good = match kept {
            Some(sha256) => sha256 == step.sha256,
            None => hashed(bucket, policy, step, there).await?.is_ok(),
        };
        if good {
            return Ok(Ok((there.clone(), false)));
        }
    }
    let gone = |key: &str| Err(HealFinding::PinnedGone { key: key.to_owned() });
    match bucket.copy(&pin(&step.from), step.from.size_bytes, &step.to).await.map_err(fault)? {
        CopyOutcome::Missing => Ok(gone(&step.from.key)),
        CopyOutcome::Changed => {
            Ok(Err(HealFinding::PinnedDiffers { key: step.from.key.clone(), what: "ETag".to_owned() }))
        }
        CopyOutcome::Copied { etag, version_id, sha256 } => {
            let copy = ShardObject { key: step.to.clone(), size_bytes: step.from.size_bytes, etag, version_id };
            let held = match sha256 {
                Some(copied) if copied == step.sha256 => Ok(()),
                Some(copied) => {
                    let recorded = step.sha256.clone();
                    Err(HealFinding::CopyDiffers { key: step.to.clone(), recorded, copied })
                }
                None => hashed(bucket, policy, step, &copy).await?,
            };
            Ok(held.map(|()| (copy, true)))
        }
    }
}

/// Reads a copy of which S3 holds no digest, and holds it to the catalogue's.
async fn hashed(
    bucket: &impl Bucket,
    policy: &HealPolicy,
    step: &Step,
    copy: &ShardObject,
) -> Result<Result<(), HealFinding>, StoreError> {
    let key = || step.to.clone();
    Ok(match read_in_full(bucket, &policy.reading, copy).await? {
        Ok(row) if row.sha256 == step.sha256 => Ok(()),
        Ok(row) => Err(HealFinding::CopyDiffers { key: key(), recorded: step.sha256.clone(), copied: row.sha256 }),
        Err(finding) => Err(HealFinding::CopyUnreadable { key: key(), detail: finding.to_string() }),
    })
}

fn pin(object: &ShardObject) -> Pinned {
    Pinned { key: object.key.clone(), etag: object.etag.clone(), version_id: object.version_id.clone() }
}

fn copied_objects(backup_id: &BackupId, rows: &[CatalogueRow], copies: Vec<ShardObject>) -> Vec<HealedObject> {
    let prefix = Key::healed_prefix(backup_id);
    let object = |(row, copy): (&CatalogueRow, ShardObject)| HealedObject {
        path: copy.key.strip_prefix(&prefix).unwrap_or(&copy.key).to_owned(),
        from_version_id: row.version_id.clone(),
        etag: copy.etag,
        version_id: copy.version_id,
    };
    rows.iter().zip(copies).map(object).collect()
}

/// Records the healing, named by S3's date of the newest copy, so that whoever repeats it meets it. A record of other
/// copies that have the same date stays, and this one goes a second later.
async fn file(
    bucket: &impl Bucket,
    backup_id: &BackupId,
    copies: Vec<HealedObject>,
    t0: T0Summary,
    now: &Inventory,
) -> Result<String, StoreError> {
    let dates = now.keys().filter_map(|key| now.current(key).map(|(entry, _)| entry.last_modified));
    let mut at = dates.max().unwrap_or(Timestamp::UNIX_EPOCH);
    let evidence = HealEvidence { backup_id: backup_id.clone(), path: HEALED_PATH.to_owned(), t0, copies };
    loop {
        let key = Key::Evidence(backup_id.clone(), KIND.to_owned(), at);
        let put = store::put(bucket, &key, lifeboat_domain::document::encode(&evidence), PutMode::Create).await?;
        let text = key.to_string();
        match put {
            PutOutcome::Written { .. } => return Ok(text),
            PutOutcome::Lost => match read(bucket, &text).await? {
                Some(there) if there.copies == evidence.copies => return Ok(text),
                Some(_) | None => at = at.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(at),
            },
        }
    }
}

#[cfg(test)]
mod tests;
