//! Verifies backups: every object is read in full and hashed, in shards that many invocations read at once.
//!
//! # Flow
//! 1. A backup whose `backup_config.json` says SUCCESS and that has `expectations.json` is opened in the record
//!    (compare-and-swap). It is found by the event, by the open run of create-backup, or by the record itself.
//! 2. Listing, descriptors and expectations are held to each other. A finding fails the backup: evidence, verdict.
//! 3. Shards are written (create-only); each one's event starts an invocation that reads it and writes its part.
//! 4. The tick re-drives shards that nobody answered. flip-manifest folds the parts.
//!
//! # Guarantees
//! Plan and parts depend on the pinned objects alone, so duplicates, late and lost events end the same. A part has a
//! digest only of bytes that came in full, at the pinned version. The pointer is never touched here.
//!
//! # Errors
//! The bucket gave no answer, or a record does not parse. On ticks such an error is counted, and one that keeps coming
//! fails the backup with its reason, so that a wait for it ends.

mod asked;
mod hash;
pub(crate) mod planning;
mod protected;
pub(crate) mod record;
mod report;
mod reread;
pub(crate) mod shards;

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use lifeboat_domain::event::Hint;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::manifest::CatalogueRow;
use lifeboat_domain::runs::{CreateRun, VerifyRun};
use lifeboat_domain::verify::plan::Limits;
use lifeboat_domain::verify::{EtagMeaning, Finding, Shard, ShardObject, fixity, plan};

use crate::invocation::Patience;
use crate::ports::{Bucket, Clock};
use crate::store::{self, StoreError};

pub use record::RecordError;
pub use report::{VerifyAct, VerifyReport};
pub use reread::FixityOutcome;

/// What verification and flip need of the world.
#[derive(Debug)]
pub struct Ports<'a, B, C> {
    /// The bucket.
    pub bucket: &'a B,
    /// Time.
    pub clock: &'a C,
}

/// How to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyPolicy {
    /// The bucket's name: events of others are ignored.
    pub bucket: String,
    /// What ETags in it mean; [`EtagMeaning::Opaque`] under SSE-KMS.
    pub etags: EtagMeaning,
    /// Bytes that one request reads.
    pub range_bytes: u64,
    /// Objects begun, and requests for bytes under way, at once; memory is bounded by the engine.
    pub objects_parallel: usize,
    /// Errors on ticks after which a backup is failed.
    pub attempts_max: u32,
    /// How old a shard must be for a tick to read it, beside the time that its bytes take.
    pub redrive_after: Duration,
    /// How often a shard that its event's reader did not answer is tried again, each time after twice the wait, before
    /// its backup is failed.
    pub shard_tries_max: u32,
    /// How old a shard without part may become before its backup is failed.
    pub shard_age_max: Duration,
    /// What one invocation reads in its time.
    pub limits: Limits,
    /// How often what is protected is read again.
    pub fixity: fixity::Policy,
}

impl VerifyPolicy {
    /// The usual policy for this bucket.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            etags: hash::ETAGS,
            range_bytes: lifeboat_engine::Policy::default().range_bytes,
            objects_parallel: lifeboat_engine::Policy::default().connections,
            attempts_max: 30,
            redrive_after: Duration::from_mins(1),
            shard_tries_max: 6,
            shard_age_max: Duration::from_hours(6),
            limits: Limits::default(),
            fixity: fixity::Policy::default(),
        }
    }
}

/// Why an invocation did not end well.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The bucket gave no answer, or a document does not parse.
    #[error("verifying a backup")]
    Store(#[source] StoreError),
    /// The record could not be changed.
    #[error("recording a verification")]
    Record(#[source] RecordError),
}

/// Does what is due: for what the hint names, or for everything open on a tick.
pub async fn run(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    hint: &Hint,
    patience: Patience,
) -> Result<VerifyReport, VerifyError> {
    let ignored = |reason: String| Ok(VerifyReport { acts: vec![VerifyAct::Ignored { reason }] });
    match hint {
        Hint::Tick => tick(ports, policy, patience).await,
        Hint::ObjectCreated { bucket, key } if *bucket == policy.bucket => match Key::parse(key) {
            Some(Key::BackupObject(id, path)) if path == "backup_config.json" => one(ports, policy, &id).await,
            Some(Key::Shard(id, index)) => shard(ports, policy, &id, index).await,
            // What it asks is looked up among all requests, as on a tick.
            Some(Key::Request(Function::VerifyChecksums, _)) => {
                let mut acts = asked::take_up(ports, policy).await?;
                if acts.is_empty() {
                    return ignored(format!("{key} is gone, or was taken up already"));
                }
                let (more, failed) = reread::advance(ports, policy, patience.until).await?;
                acts.extend(more);
                failed.map_or(Ok(VerifyReport { acts }), Err)
            }
            Some(_) | None => ignored(format!("{key} is neither a backup_config.json, nor a shard, nor a request")),
        },
        Hint::ObjectCreated { bucket, .. } => ignored(format!("{bucket} is not our bucket")),
        Hint::LifecycleAction { .. } => ignored("lifecycle actions belong to drive-restore".to_owned()),
        Hint::NotForUs { reason } => ignored(reason.clone()),
    }
}

async fn one(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    backup_id: &BackupId,
) -> Result<VerifyReport, VerifyError> {
    let run = record::read(ports.bucket).await.map_err(VerifyError::Record)?;
    let act = match open_and_plan(ports.bucket, policy, &run, backup_id).await? {
        Some(act) => act,
        None => VerifyAct::Waiting { backup_id: backup_id.clone(), why: "its shards are being read".to_owned() },
    };
    Ok(VerifyReport { acts: vec![act] })
}

async fn shard(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    backup_id: &BackupId,
    index: u32,
) -> Result<VerifyReport, VerifyError> {
    let waiting = |why: &str| VerifyAct::Waiting { backup_id: backup_id.clone(), why: why.to_owned() };
    let open = if fixity::is_slice(backup_id) {
        reread::is_open(ports.bucket, backup_id).await?
    } else {
        record::read(ports.bucket).await.map_err(VerifyError::Record)?.open.contains_key(backup_id)
    };
    if !open {
        return Ok(VerifyReport { acts: vec![waiting("its verification is not open")] });
    }
    let act = shards::answer(ports.bucket, policy, backup_id, index).await?;
    Ok(VerifyReport { acts: vec![act.unwrap_or_else(|| waiting("the shard is answered already, or gone"))] })
}

/// Opens and plans as far as needed; `None` when it is planned already.
async fn open_and_plan(
    bucket: &impl Bucket,
    policy: &VerifyPolicy,
    run: &VerifyRun,
    backup_id: &BackupId,
) -> Result<Option<VerifyAct>, VerifyError> {
    if let Err(act) = planning::open(bucket, run, backup_id).await? {
        return Ok(Some(act));
    }
    match run.open.get(backup_id) {
        Some(open) if open.shards > 0 => Ok(None),
        Some(_) | None => planning::plan(bucket, policy.limits, backup_id).await.map(Some),
    }
}

async fn tick(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    patience: Patience,
) -> Result<VerifyReport, VerifyError> {
    let run = record::read(ports.bucket).await.map_err(VerifyError::Record)?;
    let created = store::read::<CreateRun>(ports.bucket, &Key::CurrentRun(Function::CreateBackup)).await;
    let mut report = VerifyReport::default();
    let mut failure = None;
    let mut due: BTreeSet<BackupId> = run.open.keys().cloned().collect();
    match created {
        Ok(created) => {
            let named = created.and_then(|r| r.value.open).and_then(|open| open.named);
            due.extend(named.map(|named| named.backup_id));
        }
        // What is open already does not depend on create-backup's record.
        Err(error) => failure = Some(VerifyError::Store(error)),
    }
    // What is asked, and what is read again, waits for no backup and keeps none waiting.
    match asked::take_up(ports, policy).await {
        Ok(acts) => report.acts.extend(acts),
        Err(error) => {
            failure.get_or_insert(error);
        }
    }
    for backup_id in due {
        match advance(ports, policy, &run, &backup_id, patience).await {
            Ok((acts, failed)) => {
                report.acts.extend(acts);
                // A shard's error is counted as its try.
                failure = failure.or(failed);
            }
            Err(error) => {
                report.acts.extend(count(ports.bucket, policy, &backup_id, &error).await?);
                failure.get_or_insert(error);
            }
        }
    }
    match reread::advance(ports, policy, patience.until).await {
        Ok((acts, failed)) => {
            report.acts.extend(acts);
            failure = failure.or(failed);
        }
        Err(error) => {
            failure.get_or_insert(error);
        }
    }
    match failure {
        // What people must see is reported; the error that comes again next minute is not lost by that.
        Some(error) if report.attention() => {
            report.acts.push(VerifyAct::Fault { reason: chain(&error) });
            Ok(report)
        }
        Some(error) => Err(error),
        None => Ok(report),
    }
}

/// What was done, and the error that the next try may not meet.
type Advanced = (Vec<VerifyAct>, Option<VerifyError>);

async fn advance(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    run: &VerifyRun,
    backup_id: &BackupId,
    patience: Patience,
) -> Result<Advanced, VerifyError> {
    match (open_and_plan(ports.bucket, policy, run, backup_id).await?, run.open.get(backup_id)) {
        (Some(act), _) => Ok((vec![act], None)),
        (None, Some(open)) => {
            let work = shards::list_work(ports.bucket, backup_id).await.map_err(VerifyError::Store)?;
            if (0..open.shards).any(|n| !work.shards.contains_key(&n)) {
                return Ok((vec![planning::plan(ports.bucket, policy.limits, backup_id).await?], None));
            }
            let tries = shards::Tries::Backup(&open.tries);
            let (mut acts, failed, end) =
                shards::redrive(ports, policy, (backup_id, &work), tries, patience.until).await?;
            if let Some(reason) = end {
                let findings = vec![Finding::Unfinished { reason }];
                record::fail(ports.bucket, backup_id, &findings).await.map_err(VerifyError::Record)?;
                acts.push(VerifyAct::Failed { backup_id: backup_id.clone(), findings });
            }
            Ok((acts, failed))
        }
        (None, None) => Ok((Vec::new(), None)),
    }
}

/// Reads one object in full, at its pinned version: its row, or what is wrong with it.
pub(crate) async fn read_in_full(
    bucket: &impl Bucket,
    policy: &VerifyPolicy,
    object: &ShardObject,
) -> Result<Result<CatalogueRow, Finding>, StoreError> {
    let objects = vec![object.clone()];
    let plan_sha256 = plan::plan_digest(&objects);
    let backup_id = BackupId::parse("one").expect("a name");
    let shard = Shard { backup_id, index: 0, of: 1, plan_sha256, objects };
    let mut part = hash::hash_shard(bucket, policy, &shard).await?;
    let lost = || Finding::Vanished { key: object.key.clone() };
    Ok(part.rows.pop().ok_or_else(|| part.findings.pop().unwrap_or_else(lost)))
}

/// Counts an error of a tick; the last one that is allowed fails the backup, so that whoever waits for it learns why.
async fn count(
    bucket: &impl Bucket,
    policy: &VerifyPolicy,
    backup_id: &BackupId,
    error: &VerifyError,
) -> Result<Option<VerifyAct>, VerifyError> {
    let run = record::update(bucket, |run| {
        if let Some(open) = run.open.get_mut(backup_id) {
            open.attempts += 1;
        }
    });
    let run = run.await.map_err(VerifyError::Record)?;
    if run.open.get(backup_id).is_none_or(|open| open.attempts < policy.attempts_max) {
        return Ok(None);
    }
    let findings = vec![Finding::Unfinished { reason: chain(error) }];
    record::fail(bucket, backup_id, &findings).await.map_err(VerifyError::Record)?;
    Ok(Some(VerifyAct::Failed { backup_id: backup_id.clone(), findings }))
}

/// An error with its sources.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
