//! `runs/verify-checksums/current.json`: which verifications are open, and how the newest ended.

use lifeboat_domain::document::encode;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::runs::{CloseOutcome, ClosedVerification, REMEMBERED_MAX, VerifyRun};
use lifeboat_domain::verify::finding::reasons;
use lifeboat_domain::verify::{Finding, VerifyEvidence};

use crate::ports::Bucket;
use crate::ports::bucket::PutOutcome;
use crate::store::{self, StoreError};

/// How often a lost race for a record is tried again within one invocation.
pub(crate) const RACES_MAX: u32 = 20;

/// Why a record could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bucket gave no answer, or the record does not parse.
    #[error("the record of verifications")]
    Store(#[source] StoreError),
    /// Others were faster, `RACES_MAX` times.
    #[error("{key} was changed by others {RACES_MAX} times in a row; the next tick tries again")]
    LostRaces {
        /// The record.
        key: String,
    },
}

/// The key of the record.
pub(crate) fn key() -> Key {
    Key::CurrentRun(Function::VerifyChecksums)
}

/// The record; an absent one is empty.
pub(crate) async fn read(bucket: &impl Bucket) -> Result<VerifyRun, RecordError> {
    let read = store::read::<VerifyRun>(bucket, &key()).await.map_err(RecordError::Store)?;
    Ok(read.map(|r| r.value).unwrap_or_default())
}

/// Changes the record by compare-and-swap; nothing is written when nothing changes.
pub(crate) async fn update(
    bucket: &impl Bucket,
    mut change: impl FnMut(&mut VerifyRun),
) -> Result<VerifyRun, RecordError> {
    for _ in 0..RACES_MAX {
        let found = store::read::<VerifyRun>(bucket, &key()).await.map_err(RecordError::Store)?;
        let mut run = found.as_ref().map(|r| r.value.clone()).unwrap_or_default();
        change(&mut run);
        if found.as_ref().is_some_and(|r| r.value == run) || (found.is_none() && run == VerifyRun::default()) {
            return Ok(run);
        }
        let etag = found.as_ref().map(|r| r.etag.as_str());
        match store::swap(bucket, &key(), etag, &run).await.map_err(RecordError::Store)? {
            PutOutcome::Written { .. } => return Ok(run),
            PutOutcome::Lost => {}
        }
    }
    Err(RecordError::LostRaces { key: key().to_string() })
}

/// The verdict on a backup, if it is remembered.
pub(crate) fn verdict<'r>(run: &'r VerifyRun, backup_id: &BackupId) -> Option<&'r ClosedVerification> {
    run.closed.iter().find(|c| c.backup_id == *backup_id)
}

/// Records the verdict on a backup and closes its verification. A verdict that is there already stays, unless a
/// person's decision replaces it.
pub(crate) async fn close(
    bucket: &impl Bucket,
    verdict: &ClosedVerification,
    replace: bool,
) -> Result<(), RecordError> {
    update(bucket, |run| {
        run.open.remove(&verdict.backup_id);
        match run.closed.iter_mut().find(|c| c.backup_id == verdict.backup_id) {
            Some(closed) if replace => *closed = verdict.clone(),
            Some(_) => {}
            None => run.closed.push(verdict.clone()),
        }
        let over = run.closed.len().saturating_sub(REMEMBERED_MAX);
        run.closed.drain(..over);
    })
    .await
    .map(|_| ())
}

/// Fails a backup: the evidence first, named by S3's date of `backup_config.json` so that a repetition meets it, then
/// the verdict.
pub(crate) async fn fail(bucket: &impl Bucket, backup_id: &BackupId, findings: &[Finding]) -> Result<(), RecordError> {
    let global = Key::backup_config(backup_id).to_string();
    let head = bucket.head(&global).await;
    let head = head.map_err(|source| RecordError::Store(StoreError::Bucket { key: global, source }))?;
    let at = head.map_or(lifeboat_domain::Timestamp::UNIX_EPOCH, |h| h.last_modified);
    let evidence = VerifyEvidence {
        backup_id: backup_id.clone(),
        verified: false,
        findings: findings.to_vec(),
        notes: Vec::new(),
        notes_total: 0,
        objects_read: 0,
        t0: None,
    };
    let key = Key::Evidence(backup_id.clone(), "verify".to_owned(), at);
    let put = store::put(bucket, &key, encode(&evidence), crate::ports::bucket::PutMode::Create).await;
    put.map_err(RecordError::Store)?;
    let verdict =
        ClosedVerification { backup_id: backup_id.clone(), outcome: CloseOutcome::Failed, reasons: reasons(findings) };
    close(bucket, &verdict, false).await
}
