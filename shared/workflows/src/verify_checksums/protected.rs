//! What is read again: the backups that must not be lost.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::manifest::{GuardDecision, Manifest};
use lifeboat_domain::ownership::Ownership;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::retention::{self, Backup, Known, Standing, World};
use lifeboat_domain::verify::fixity::Protected;

use super::VerifyError;
use crate::ports::Bucket;
use crate::store::{self, StoreError};

/// How many manifests are read at once.
const READS_PARALLEL: usize = 16;

/// What is protected and has a manifest.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Backups whose manifest is readable, and not being let go of.
    pub(super) protected: Vec<Protected>,
    /// Backups whose manifest cannot be understood, and why.
    pub(super) unreadable: Vec<(BackupId, String)>,
}

impl Seen {
    /// The bytes of all of them.
    pub(super) fn size_bytes(&self) -> u64 {
        self.protected.iter().map(|p| p.size_bytes).sum()
    }
}

/// Looks at the pointer, the owner, and everything on record below `manifests/`. Lists no data.
pub(super) async fn look(bucket: &impl Bucket) -> Result<Seen, VerifyError> {
    let named = named(bucket).await.map_err(VerifyError::Store)?;
    let reads = named.into_iter().map(|(id, standing)| async move {
        let read = store::read::<Manifest>(bucket, &Key::Manifest(id.clone())).await;
        match read {
            Ok(found) => Ok((id, standing, Ok(found.map(|f| f.value)))),
            Err(StoreError::Document { source, .. }) => Ok((id, standing, Err(super::chain(&source)))),
            Err(error @ StoreError::Bucket { .. }) => Err(VerifyError::Store(error)),
        }
    });
    let read: Vec<_> = stream::iter(reads).buffered(READS_PARALLEL).try_collect().await?;
    let pointer = store::read::<Pointer>(bucket, &Key::Pointer).await.map_err(VerifyError::Store)?.map(|p| p.value);
    let ownership = store::read::<Ownership>(bucket, &Key::Ownership).await.map_err(VerifyError::Store)?;
    let mut world = World {
        previous: pointer.as_ref().and_then(|p| p.previous.as_ref()).map(|p| p.backup_id.clone()),
        pointer: pointer.map(|p| p.backup_id),
        owner: ownership.as_ref().and_then(|o| o.value.restored_from()).cloned(),
        ..World::default()
    };
    let (mut seen, mut manifests) = (Seen::default(), BTreeMap::new());
    for (id, standing, manifest) in read {
        match manifest {
            // What is being let go of is nobody's loss.
            Ok(Some(manifest)) if standing.tombstone().is_none() && standing.deleted().is_none() => {
                world.backups.push(backup(&manifest, &standing));
                manifests.insert(id, manifest);
            }
            Ok(_) => {}
            Err(why) => seen.unreadable.push((id, why)),
        }
    }
    let protected = retention::protected(&world);
    seen.protected = manifests
        .into_iter()
        .filter(|(id, _)| protected.contains_key(id))
        .map(|(backup_id, manifest)| Protected {
            backup_id,
            verified_at: manifest.verified_at,
            size_bytes: manifest.totals.size_bytes,
        })
        .collect();
    Ok(seen)
}

/// Every backup that has a manifest, with how it stands, by one listing.
async fn named(bucket: &impl Bucket) -> Result<BTreeMap<BackupId, Standing>, StoreError> {
    const PREFIX: &str = "manifests/";
    let (mut named, mut after) = (BTreeMap::<BackupId, (bool, Standing)>::new(), None::<String>);
    loop {
        let page = bucket.list(PREFIX, after.as_deref()).await;
        let page = page.map_err(|source| StoreError::Bucket { key: PREFIX.to_owned(), source })?;
        for key in page.entries.iter().filter_map(|listed| Key::parse(&listed.key)) {
            if let Key::Manifest(id) | Key::Evidence(id, ..) = &key {
                let (manifest, standing) = named.entry(id.clone()).or_default();
                *manifest |= matches!(key, Key::Manifest(_));
                standing.take(&key);
            }
        }
        after = page.entries.last().map(|e| e.key.clone());
        if !page.more || after.is_none() {
            return Ok(named.into_iter().filter(|(_, (m, _))| *m).map(|(id, (_, standing))| (id, standing)).collect());
        }
    }
}

/// A backup as far as its protection asks.
fn backup(manifest: &Manifest, standing: &Standing) -> Backup {
    let decided = |word: &str, composed: bool| match standing.later_decision() {
        Some(later) => later == word,
        None => composed,
    };
    let overridden = standing.newest("override").is_some();
    let held = decided("hold", matches!(manifest.decision, GuardDecision::Hold { .. })) && !overridden;
    let published = decided("publish", manifest.decision == GuardDecision::Publish) || overridden;
    Backup {
        id: manifest.backup_id.clone(),
        data: Some(manifest.verified_at),
        manifest: Some(Known {
            data_as_of: manifest.data_as_of,
            is_final: manifest.is_final,
            published,
            held,
            base: manifest.engine.base_backup_id.as_deref().and_then(|base| BackupId::parse(base).ok()),
        }),
        ours: true,
        pinned: standing.pinned(),
        excluded: standing.excluded(),
        tombstone: None,
        deleted: None,
        drilled: standing.newest("drill"),
    }
}
