//! Reading shards: the one that an event names, and on a tick those that nobody answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::runs::ShardTry;
use lifeboat_domain::verify::Shard;

use super::{Ports, VerifyAct, VerifyError, VerifyPolicy, hash, record, reread};
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
    /// Whether there is a part for every shard of a plan of this many.
    pub(crate) fn is_answered(&self, shards: u32) -> bool {
        shards > 0 && (0..shards).all(|n| self.parts.contains_key(&n))
    }
}

/// Lists shards and parts: three pages at most.
pub(crate) async fn list_work(bucket: &impl Bucket, backup_id: &BackupId) -> Result<Work, StoreError> {
    list(bucket, &Key::work_prefix(backup_id)).await
}

/// Lists parts alone: one page.
pub(crate) async fn list_parts(bucket: &impl Bucket, backup_id: &BackupId) -> Result<Work, StoreError> {
    list(bucket, &Key::parts_prefix(backup_id)).await
}

async fn list(bucket: &impl Bucket, prefix: &str) -> Result<Work, StoreError> {
    let mut work = Work { shards: BTreeMap::new(), parts: BTreeMap::new() };
    let mut after: Option<String> = None;
    loop {
        let page = bucket.list(prefix, after.as_deref()).await;
        let page = page.map_err(|source| StoreError::Bucket { key: prefix.to_owned(), source })?;
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

/// Where the tries of shards are counted.
pub(super) enum Tries<'t> {
    /// In the record of verifications.
    Backup(&'t BTreeMap<u32, ShardTry>),
    /// In the record of re-reading.
    Slice(&'t BTreeMap<u32, ShardTry>),
}

/// Answers the shards that nobody answered, oldest first, as long as there is time. One that may still be under way
/// elsewhere, young or just tried, is left. Each try is counted before it begins, so that one that kills its reader is
/// counted too, and so that of several ticks one takes it. The text is why there will be no end: a shard that is older
/// than the policy allows, or was tried too often.
pub(super) async fn redrive(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    (id, work): (&BackupId, &Work),
    tries: Tries<'_>,
    until: Timestamp,
) -> Result<(Vec<VerifyAct>, Option<VerifyError>, Option<String>), VerifyError> {
    let (bucket, clock) = (ports.bucket, ports.clock);
    let open_shards = work.shards.iter().filter(|(n, _)| !work.parts.contains_key(n));
    let oldest_first: BTreeSet<(Timestamp, u32)> = open_shards.map(|(n, at)| (*at, *n)).collect();
    let (Tries::Backup(counted) | Tries::Slice(counted)) = &tries;
    let (mut acts, mut failed) = (Vec::new(), None);
    let waiting = |why: String| VerifyAct::Waiting { backup_id: id.clone(), why };
    for (written_at, index) in oldest_first {
        if clock.now() >= until {
            acts.push(waiting("time is up".to_owned()));
            break;
        }
        if age(clock.now(), written_at) > policy.shard_age_max {
            let reason = format!("shard {index} was not read within {} s", policy.shard_age_max.as_secs());
            return Ok((acts, failed, Some(reason)));
        }
        let shard = store::read::<Shard>(bucket, &Key::Shard(id.clone(), index)).await;
        let shard = match shard {
            Ok(Some(shard)) => shard.value,
            Ok(None) => continue,
            // One that cannot be understood keeps no other from being read.
            Err(error) => {
                failed.get_or_insert(VerifyError::Store(error));
                continue;
            }
        };
        let tried = counted.get(&index);
        let count = tried.map_or(0, |t| t.count);
        let since = tried.map_or(written_at, |t| t.at);
        if age(clock.now(), since) < policy.patience_with(&shard, count) {
            acts.push(waiting(format!("shard {index} may be under way")));
            continue;
        }
        if count >= policy.shard_tries_max {
            let last = tried.map(|t| t.reason.as_str()).filter(|reason| !reason.is_empty());
            let reason = last.unwrap_or("none of its readers came to an end: they may lack memory or time");
            return Ok((acts, failed, Some(format!("shard {index} was tried {count} times again: {reason}"))));
        }
        if !begin(bucket, &tries, id, index, (count, clock.now())).await? {
            acts.push(waiting(format!("shard {index} is being read by another")));
            continue;
        }
        match answer(bucket, policy, id, index).await {
            Ok(act) => acts.extend(act),
            Err(error) => {
                let reason = super::chain(&error);
                note(bucket, &tries, id, index, &reason).await?;
                let tries = (count + 1, policy.shard_tries_max);
                acts.push(VerifyAct::Tried { backup_id: id.clone(), shard: index, tries, reason });
                failed.get_or_insert(error);
            }
        }
    }
    Ok((acts, failed, None))
}

impl VerifyPolicy {
    /// How long nobody else is put on a shard that was tried again this often.
    fn patience_with(&self, shard: &Shard, tries: u32) -> Duration {
        let under_way = Duration::from_secs(shard.size_bytes() / BYTES_PER_SECOND_MIN);
        let doublings = tries.min(self.shard_tries_max.saturating_sub(1)).min(16);
        self.redrive_after.saturating_mul(1 << doublings) + under_way
    }
}

/// Counts a try that begins; false when another began one meanwhile, or the work is closed.
async fn begin(
    bucket: &impl Bucket,
    tries: &Tries<'_>,
    id: &BackupId,
    index: u32,
    (seen, now): (u32, Timestamp),
) -> Result<bool, VerifyError> {
    let mut began = false;
    change(bucket, tries, id, |tries| {
        let tried = tries.entry(index).or_insert_with(|| ShardTry { count: 0, at: now, reason: String::new() });
        began = tried.count == seen;
        if began {
            (tried.count, tried.at) = (seen + 1, now);
        }
    })
    .await
    .map(|open| open && began)
}

/// Records how a try ended.
async fn note(
    bucket: &impl Bucket,
    tries: &Tries<'_>,
    id: &BackupId,
    index: u32,
    reason: &str,
) -> Result<(), VerifyError> {
    change(bucket, tries, id, |tries| {
        if let Some(tried) = tries.get_mut(&index) {
            tried.reason = reason.chars().take(REASON_CHARS_MAX).collect();
        }
    })
    .await
    .map(drop)
}

/// The longest reason that a try keeps.
const REASON_CHARS_MAX: usize = 500;

/// Changes the tries where they are counted; false when the work is no longer open.
async fn change(
    bucket: &impl Bucket,
    tries: &Tries<'_>,
    id: &BackupId,
    mut change: impl FnMut(&mut BTreeMap<u32, ShardTry>),
) -> Result<bool, VerifyError> {
    let mut open = false;
    match tries {
        Tries::Backup(_) => {
            let update = record::update(bucket, |run| {
                let found = run.open.get_mut(id);
                open = found.is_some();
                found.into_iter().for_each(|backup| change(&mut backup.tries));
            });
            update.await.map(drop).map_err(VerifyError::Record)?;
        }
        Tries::Slice(_) => {
            let update = reread::update(bucket, |run| {
                let found = run.open.as_mut().filter(|slice| slice.name == *id);
                open = found.is_some();
                found.into_iter().for_each(|slice| change(&mut slice.tries));
            });
            update.await?;
        }
    }
    Ok(open)
}

/// How old something is, by S3's date and our clock; it paces work, nothing safe rests on it.
fn age(now: Timestamp, at: Timestamp) -> Duration {
    let age: SignedDuration = now.duration_since(at);
    age.unsigned_abs() * u32::from(age.is_positive())
}

#[cfg(test)]
mod tests;
