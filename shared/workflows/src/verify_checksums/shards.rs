//! Reading shards: the one that an event names, and on a tick those that nobody answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::runs::OpenVerification;
use lifeboat_domain::verify::{Finding, Shard};

use super::{VerifyAct, VerifyError, VerifyPolicy, hash, planning, record};
use crate::ports::{Bucket, Clock};
use crate::store::{self, StoreError};

/// How fast a shard is surely read; until it should be done, nobody else is put on it.
const BYTES_PER_SECOND_MIN: u64 = 16 << 20;

/// What lies under `work/<id>/`.
pub(crate) struct Work {
    /// Shards, with S3's date of each.
    pub(crate) shards: BTreeMap<u32, Timestamp>,
    /// Parts, with S3's date of each.
    pub(crate) parts: BTreeMap<u32, Timestamp>,
}

impl Work {
    /// Whether every shard of a plan of this many has its part.
    pub(crate) fn is_complete(&self, shards: u32) -> bool {
        shards > 0 && (0..shards).all(|n| self.shards.contains_key(&n) && self.parts.contains_key(&n))
    }
}

/// Lists shards and parts: three pages at most.
pub(crate) async fn list_work(bucket: &impl Bucket, backup_id: &BackupId) -> Result<Work, StoreError> {
    let prefix = Key::work_prefix(backup_id);
    let mut work = Work { shards: BTreeMap::new(), parts: BTreeMap::new() };
    let mut after: Option<String> = None;
    loop {
        let page = bucket.list(&prefix, after.as_deref()).await;
        let page = page.map_err(|source| StoreError::Bucket { key: prefix.clone(), source })?;
        after = page.entries.last().map(|e| e.key.clone());
        for listed in &page.entries {
            match Key::parse(&listed.key) {
                Some(Key::Shard(_, n)) => work.shards.insert(n, listed.last_modified),
                Some(Key::Part(_, n)) => work.parts.insert(n, listed.last_modified),
                Some(_) | None => None,
            };
        }
        if !page.more || after.is_none() {
            return Ok(work);
        }
    }
}

/// Reads one shard and writes its part, unless there is one.
pub(super) async fn answer(
    bucket: &impl Bucket,
    policy: &VerifyPolicy,
    backup_id: &BackupId,
    index: u32,
) -> Result<Option<VerifyAct>, VerifyError> {
    let part_key = Key::Part(backup_id.clone(), index);
    let fault = |source| VerifyError::Store(StoreError::Bucket { key: part_key.to_string(), source });
    if bucket.head(&part_key.to_string()).await.map_err(fault)?.is_some() {
        return Ok(None);
    }
    let shard = store::read::<Shard>(bucket, &Key::Shard(backup_id.clone(), index)).await;
    match shard.map_err(VerifyError::Store)? {
        None => Ok(None),
        Some(shard) => Ok(Some(read(bucket, policy, &shard.value).await?)),
    }
}

async fn read(bucket: &impl Bucket, policy: &VerifyPolicy, shard: &Shard) -> Result<VerifyAct, VerifyError> {
    let part = hash::hash_shard(bucket, policy, shard).await.map_err(VerifyError::Store)?;
    let key = Key::Part(shard.backup_id.clone(), shard.index);
    // Somebody else's answer is as good: the pins are the same.
    store::create(bucket, &key, &part).await.map_err(VerifyError::Store)?;
    Ok(VerifyAct::Hashed {
        backup_id: shard.backup_id.clone(),
        shard: shard.index,
        objects: part.rows.len(),
        findings: part.findings,
    })
}

/// Answers the shards that nobody answered, oldest first, as long as there is time. A shard that is young may still
/// be under way elsewhere and is left; one that is older than the policy allows fails the backup.
pub(super) async fn redrive(
    bucket: &impl Bucket,
    clock: &impl Clock,
    policy: &VerifyPolicy,
    (backup_id, open): (&BackupId, &OpenVerification),
    until: Timestamp,
) -> Result<Vec<VerifyAct>, VerifyError> {
    let work = list_work(bucket, backup_id).await.map_err(VerifyError::Store)?;
    if (0..open.shards).any(|n| !work.shards.contains_key(&n)) {
        return Ok(vec![planning::plan(bucket, backup_id).await?]);
    }
    let open_shards = work.shards.iter().filter(|(n, _)| !work.parts.contains_key(n));
    let oldest_first: BTreeSet<(Timestamp, u32)> = open_shards.map(|(n, at)| (*at, *n)).collect();
    let mut acts = Vec::new();
    for (at, index) in oldest_first {
        if clock.now() >= until {
            acts.push(VerifyAct::Waiting { backup_id: backup_id.clone(), why: "time is up".to_owned() });
            break;
        }
        if age(clock.now(), at) > policy.shard_age_max {
            let reason = format!("shard {index} was not read within {} s", policy.shard_age_max.as_secs());
            let findings = vec![Finding::Unfinished { reason }];
            record::fail(bucket, backup_id, &findings).await.map_err(VerifyError::Record)?;
            acts.push(VerifyAct::Failed { backup_id: backup_id.clone(), findings });
            break;
        }
        let shard = store::read::<Shard>(bucket, &Key::Shard(backup_id.clone(), index)).await;
        let Some(shard) = shard.map_err(VerifyError::Store)? else {
            continue;
        };
        let underway = Duration::from_secs(shard.value.size_bytes() / BYTES_PER_SECOND_MIN);
        if age(clock.now(), at) < policy.redrive_after + underway {
            let why = format!("shard {index} may be under way");
            acts.push(VerifyAct::Waiting { backup_id: backup_id.clone(), why });
            continue;
        }
        acts.extend(answer(bucket, policy, backup_id, index).await?);
    }
    Ok(acts)
}

/// How old something is, by S3's date and our clock; it paces work, nothing safe rests on it.
fn age(now: Timestamp, at: Timestamp) -> Duration {
    let age: SignedDuration = now.duration_since(at);
    age.unsigned_abs() * u32::from(age.is_positive())
}
