//! Everything that retention looks at.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use lifeboat_domain::flip::OverrideEvidence;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::manifest::{GuardDecision, Manifest};
use lifeboat_domain::ownership::Ownership;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::run::{Choice, RestoreRun};
use lifeboat_domain::retention::{Backup, Known, Standing, World};
use lifeboat_domain::runs::{Action, CreateRun, Request, VerifyRun};

use super::PruneError;
use crate::ports::Bucket;
use crate::ports::bucket::Listed;
use crate::store::{self, DOCUMENT_BYTES_MAX, StoreError};

/// How many manifests are read at once.
const AT_ONCE: usize = 16;

/// The world, with what its parts were read from.
pub(super) struct Seen {
    pub(super) world: World,
}

/// What the names below `manifests/<id>/` say.
#[derive(Debug, Default)]
struct Named {
    manifest: bool,
    ours: bool,
    standing: Standing,
}

/// Looks at everything.
pub(super) async fn observe(bucket: &impl Bucket) -> Result<Seen, PruneError> {
    let mut named: BTreeMap<BackupId, Named> = BTreeMap::new();
    for listed in list(bucket, "manifests/").await? {
        let Some(key) = Key::parse(&listed.key) else { continue };
        let (Key::Manifest(id)
        | Key::Expectations(id)
        | Key::ObservedAfter(id)
        | Key::Catalogue(id)
        | Key::Sums(id)
        | Key::Evidence(id, ..)) = &key
        else {
            continue;
        };
        let entry = named.entry(id.clone()).or_default();
        entry.standing.take(&key);
        entry.manifest |= matches!(key, Key::Manifest(_));
        entry.ours |= matches!(key, Key::Expectations(_));
    }
    let data = data(bucket).await?;
    for id in data.keys() {
        named.entry(id.clone()).or_default();
    }
    let read = stream::iter(named.iter().map(|(id, named)| one(bucket, id, named, data.get(id).copied())));
    let read: Vec<Result<Backup, String>> = read.buffered(AT_ONCE).try_collect().await?;
    let mut world = World::default();
    for one in read {
        match one {
            Ok(backup) => world.backups.push(backup),
            Err(key) => world.unreadable.push(key),
        }
    }
    let mut seen = Seen { world };
    flags(bucket, &mut seen.world).await?;
    let unjudged: Vec<BackupId> = seen
        .world
        .backups
        .iter()
        .filter(|b| b.data.is_some() && b.manifest.is_none() && b.ours)
        .map(|b| b.id.clone())
        .collect();
    for id in unjudged {
        if !ended_badly(bucket, &id, &named[&id].standing).await? {
            seen.world.unverified.push(id);
        }
    }
    Ok(seen)
}

/// Looks again at what may have come to need a backup, just before its data goes.
pub(super) async fn look_again(bucket: &impl Bucket, seen: &mut Seen, id: &BackupId) -> Result<(), PruneError> {
    let unverified = std::mem::take(&mut seen.world.unverified);
    flags(bucket, &mut seen.world).await?;
    seen.world.unverified.extend(unverified);
    let standing = crate::standing::of(bucket, id).await?;
    if let Some(backup) = seen.world.backups.iter_mut().find(|b| b.id == *id) {
        flag(backup, &standing);
    }
    Ok(())
}

/// Notes that a backup's data is gone.
pub(super) fn forget_data(seen: &mut Seen, id: &BackupId) {
    if let Some(backup) = seen.world.backups.iter_mut().find(|b| b.id == *id) {
        backup.data = None;
    }
}

fn flag(backup: &mut Backup, standing: &Standing) {
    backup.pinned = standing.pinned();
    backup.excluded = standing.excluded();
    backup.tombstone = standing.tombstone();
    backup.deleted = standing.deleted();
    backup.drilled = standing.newest("drill");
}

/// Pointer, owner, runs and requests: whatever names a backup. One that cannot be read is an error, so nothing is deleted.
async fn flags(bucket: &impl Bucket, world: &mut World) -> Result<(), PruneError> {
    let pointer = store::read::<Pointer>(bucket, &Key::Pointer).await?.map(|p| p.value);
    let ownership = store::read::<Ownership>(bucket, &Key::Ownership).await?.map(|o| o.value);
    let restore = store::read::<RestoreRun>(bucket, &Key::CurrentRun(Function::DriveRestore)).await?.map(|r| r.value);
    let create = store::read::<CreateRun>(bucket, &Key::CurrentRun(Function::CreateBackup)).await?.map(|r| r.value);
    let verify = store::read::<VerifyRun>(bucket, &Key::CurrentRun(Function::VerifyChecksums)).await?.map(|r| r.value);
    world.previous = pointer.as_ref().and_then(|p| p.previous.as_ref()).map(|p| p.backup_id.clone());
    let stop = pointer.as_ref().and_then(|p| p.flips_stopped.as_ref()).map(|s| s.until_restored_from.clone());
    world.pointer = pointer.map(|p| p.backup_id);
    world.owner = ownership.as_ref().and_then(Ownership::restored_from).cloned();
    world.in_use = stop.into_iter().collect();
    if let Some(run) = restore {
        world.in_use.extend(run.requested);
        if let Some(Choice::Backup { backup_id, .. }) = run.open.and_then(|open| open.choice) {
            world.in_use.push(backup_id);
        }
    }
    for function in [Function::FlipManifest, Function::DriveRestore, Function::VerifyChecksums] {
        for listed in list(bucket, &Key::requests_prefix(function)).await? {
            let Some(key) = Key::parse(&listed.key) else { continue };
            // A request that does not parse is refused by its function, so it needs no backup.
            match store::read::<Request>(bucket, &key).await {
                Ok(found) => world.in_use.extend(found.and_then(|r| named_by(r.value.action))),
                Err(StoreError::Document { .. }) => {}
                Err(error @ StoreError::Bucket { .. }) => return Err(error.into()),
            }
        }
    }
    world.unverified = verify.map(|run| run.open.into_keys().collect()).unwrap_or_default();
    world.unverified.extend(create.and_then(|run| Some(run.open?.named?.backup_id)));
    Ok(())
}

fn named_by(action: Action) -> Option<BackupId> {
    match action {
        Action::Verify { backup_id }
        | Action::Rollback { to: backup_id }
        | Action::Approve { backup_id }
        | Action::Reject { backup_id }
        | Action::Restore { backup_id } => Some(backup_id),
        Action::Backup | Action::ResumeFlips | Action::AllowEmptyStart | Action::ResumeLaunches | Action::Prune => None,
    }
}

/// One backup, or the key of its manifest when that cannot be read.
async fn one(
    bucket: &impl Bucket,
    id: &BackupId,
    named: &Named,
    data: Option<Timestamp>,
) -> Result<Result<Backup, String>, StoreError> {
    let mut backup = Backup {
        id: id.clone(),
        data,
        manifest: None,
        ours: named.ours,
        pinned: false,
        excluded: false,
        tombstone: None,
        deleted: None,
        drilled: None,
    };
    flag(&mut backup, &named.standing);
    // Of a backup whose data is gone nothing is asked any more.
    if named.manifest && !(data.is_none() && backup.deleted.is_some()) {
        let key = Key::Manifest(id.clone());
        match store::read::<Manifest>(bucket, &key).await {
            Ok(Some(found)) => backup.manifest = Some(known(bucket, &found.value, &named.standing).await?),
            Ok(None) => {}
            Err(StoreError::Document { .. }) => return Ok(Err(key.to_string())),
            Err(error @ StoreError::Bucket { .. }) => return Err(error),
        }
    }
    Ok(Ok(backup))
}

async fn known(bucket: &impl Bucket, manifest: &Manifest, standing: &Standing) -> Result<Known, StoreError> {
    let (mut published, mut held) = match (standing.later_decision(), &manifest.decision) {
        (Some("publish"), _) | (None, GuardDecision::Publish) => (true, false),
        (Some("hold"), _) | (None, GuardDecision::Hold { .. }) => (false, true),
        (Some(_), _) | (None, GuardDecision::Refuse { .. }) => (false, false),
    };
    if let Some(at) = standing.newest("override") {
        let key = Key::Evidence(manifest.backup_id.clone(), "override".to_owned(), at);
        let asked = store::read::<OverrideEvidence>(bucket, &key).await?;
        held = false;
        published |= asked.is_some_and(|a| !matches!(a.value.asked.action, Action::Reject { .. }));
    }
    let base = manifest.engine.base_backup_id.as_deref().filter(|base| !base.is_empty());
    Ok(Known {
        data_as_of: manifest.data_as_of,
        is_final: manifest.is_final,
        published,
        held,
        base: base.and_then(|base| BackupId::parse(base).ok()),
    })
}

/// Whether a backup of ours without a manifest came to an end that nobody waits for: its verification failed, or Weaviate
/// itself says that it did not succeed. Whatever cannot be told may still become one.
async fn ended_badly(bucket: &impl Bucket, id: &BackupId, standing: &Standing) -> Result<bool, StoreError> {
    if standing.newest("verify").is_some() {
        return Ok(true);
    }
    let key = Key::backup_config(id).to_string();
    let found = bucket.get(&key, DOCUMENT_BYTES_MAX).await;
    let Some(stored) = found.map_err(|source| StoreError::Bucket { key, source })? else {
        return Ok(true);
    };
    let status = serde_json::from_slice::<serde_json::Value>(&stored.body).ok();
    let status = status.as_ref().and_then(|v| v.get("status")).and_then(serde_json::Value::as_str);
    Ok(status.is_some_and(|status| matches!(status, "FAILED" | "CANCELED" | "STARTED")))
}

/// S3's date of the newest current object of every backup under `backups/`.
async fn data(bucket: &impl Bucket) -> Result<BTreeMap<BackupId, Timestamp>, PruneError> {
    let mut found: BTreeMap<BackupId, Timestamp> = BTreeMap::new();
    for listed in list(bucket, "backups/").await? {
        if let Some(Key::BackupObject(id, _)) = Key::parse(&listed.key) {
            let newest = found.entry(id).or_insert(listed.last_modified);
            *newest = (*newest).max(listed.last_modified);
        }
    }
    Ok(found)
}

async fn list(bucket: &impl Bucket, prefix: &str) -> Result<Vec<Listed>, StoreError> {
    let mut all: Vec<Listed> = Vec::new();
    loop {
        let page = bucket.list(prefix, all.last().map(|e| e.key.as_str())).await;
        let page = page.map_err(|source| StoreError::Bucket { key: prefix.to_owned(), source })?;
        let came = !page.entries.is_empty();
        all.extend(page.entries);
        if !page.more || !came {
            return Ok(all);
        }
    }
}
