//! Doing what was planned: evidence first, then delete markers, each backup looked at again before its data goes.

use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::retention::{Act, Deleted, PruneRun, Pruned, Reprieve, Tombstone, plan};

use super::observe::{self, look_again, observe};
use super::{Outcome, Ports, PruneError, PrunePolicy, close};
use crate::invocation::Patience;
use crate::ports::deletes::Deletes;
use crate::ports::{Bucket, Clock};
use crate::store::{self, StoreError, Versioned};

pub(super) async fn carry_out(
    ports: &Ports<'_, impl Bucket, impl Deletes, impl Clock>,
    policy: &PrunePolicy,
    record: &Versioned<PruneRun>,
    patience: Patience,
) -> Result<Outcome, PruneError> {
    let (bucket, now) = (ports.bucket, record.last_modified);
    let mut seen = observe(bucket).await?;
    let planned = match plan(&seen.world, &policy.retention, now) {
        Ok(planned) => planned,
        Err(refusal) => {
            let pruned =
                Pruned { stay: seen.world.backups.len(), refused: Some(refusal.to_string()), ..Pruned::default() };
            close(bucket, record, &pruned).await?;
            return Ok(Outcome::Pruned { pruned });
        }
    };
    let mut pruned = Pruned { stay: planned.stays.len(), ..Pruned::default() };
    for (id, act) in planned.acts {
        if ports.clock.now() >= patience.until {
            let so_far = format!("{} deleted, {} buried", pruned.deleted.len(), pruned.buried.len());
            return Ok(Outcome::Unfinished { so_far });
        }
        match act {
            Act::Bury { reason } => {
                let grace_seconds = policy.retention.grace.as_secs();
                let tombstone = Tombstone { backup_id: id.clone(), reason, grace_seconds };
                store::create(bucket, &Key::Evidence(id.clone(), "tombstone".into(), now), &tombstone).await?;
                pruned.buried.push(id);
            }
            Act::Reprieve { reason } => {
                reprieve(bucket, &id, reason, now).await?;
                pruned.reprieved.push(id);
            }
            Act::DeleteData => {
                look_again(bucket, &mut seen, &id).await?;
                match plan(&seen.world, &policy.retention, now).map(|p| p.acts.get(&id).cloned()) {
                    Ok(Some(Act::DeleteData)) => {
                        let prefix = Key::backup_prefix(&id);
                        if !hide_all(ports, &id, &prefix, patience).await? {
                            return Ok(Outcome::Unfinished { so_far: format!("{id} is half deleted") });
                        }
                        let reason = "its tombstone stood for the grace, and nothing needed it".to_owned();
                        let deleted = Deleted { backup_id: id.clone(), reason };
                        store::create(bucket, &Key::Evidence(id.clone(), "deleted".into(), now), &deleted).await?;
                        observe::forget_data(&mut seen, &id);
                        pruned.deleted.push(id);
                    }
                    Ok(Some(Act::Reprieve { reason })) => {
                        reprieve(bucket, &id, reason, now).await?;
                        pruned.reprieved.push(id);
                    }
                    Ok(Some(Act::Bury { .. } | Act::DeleteEvidence) | None) | Err(_) => pruned.stay += 1,
                }
            }
            Act::DeleteEvidence => {
                if !hide_all(ports, &id, &Key::manifest_prefix(&id), patience).await? {
                    return Ok(Outcome::Unfinished { so_far: format!("the evidence of {id} is half deleted") });
                }
                pruned.forgotten.push(id);
            }
        }
    }
    close(bucket, record, &pruned).await?;
    Ok(Outcome::Pruned { pruned })
}

async fn reprieve(bucket: &impl Bucket, id: &BackupId, reason: String, now: jiff::Timestamp) -> Result<(), PruneError> {
    let reprieve = Reprieve { backup_id: id.clone(), reason };
    store::create(bucket, &Key::Evidence(id.clone(), "reprieve".into(), now), &reprieve).await?;
    Ok(())
}

/// Hides everything current below a prefix; `false` when time was up before the end.
async fn hide_all(
    ports: &Ports<'_, impl Bucket, impl Deletes, impl Clock>,
    id: &BackupId,
    prefix: &str,
    patience: Patience,
) -> Result<bool, PruneError> {
    let mut after: Option<String> = None;
    loop {
        let fault = |source| StoreError::Bucket { key: prefix.to_owned(), source };
        let page = ports.bucket.list(prefix, after.as_deref()).await.map_err(fault)?;
        let keys: Vec<String> = page.entries.into_iter().map(|e| e.key).collect();
        if let Some(first) = keys.first() {
            must_have_versions(ports.bucket, first).await?;
            let hidden = ports.deletes.hide(&keys).await;
            hidden.map_err(|source| PruneError::Delete { backup_id: id.to_string(), source })?;
        }
        after = keys.last().cloned();
        if !page.more || after.is_none() {
            return Ok(true);
        }
        if ports.clock.now() >= patience.until {
            return Ok(false);
        }
    }
}

/// In a bucket without versions a delete cannot be taken back, so there is none.
async fn must_have_versions(bucket: &impl Bucket, key: &str) -> Result<(), PruneError> {
    let fault = |source| StoreError::Bucket { key: key.to_owned(), source };
    let page = bucket.list_versions(key, None).await.map_err(fault)?;
    match page.entries.iter().find(|v| v.key == key && v.is_latest) {
        Some(version) if version.version_id.as_deref().is_none_or(|id| id == "null") => {
            Err(PruneError::NoVersions { key: key.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}
