//! The newest published backup that may be restored, of what the manifests say. Looked for only when the pointer's backup
//! and the one before it cannot be: it reads every manifest.

use std::collections::BTreeMap;

use lifeboat_domain::flip::OverrideEvidence;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::manifest::{GuardDecision, Manifest};
use lifeboat_domain::restore::choice::{Known, newest};
use lifeboat_domain::restore::run::PassedOver;
use lifeboat_domain::retention::Standing;
use lifeboat_domain::runs::Action;

use super::Error;
use crate::ports::Bucket;
use crate::store::{self, StoreError};

/// The backup to try next, if there is one. A manifest that cannot be understood is passed by, loudly: it may not keep a
/// sound one from being restored.
pub(super) async fn newest_usable(bucket: &impl Bucket, passed_over: &[PassedOver]) -> Result<Option<BackupId>, Error> {
    let mut named: BTreeMap<BackupId, (bool, Standing)> = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = bucket.list("manifests/", after.as_deref()).await?;
        for key in page.entries.iter().filter_map(|e| Key::parse(&e.key)) {
            if let Key::Manifest(id) = &key {
                named.entry(id.clone()).or_default().0 = true;
            } else if let Key::Evidence(id, ..) = &key {
                named.entry(id.clone()).or_default().1.take(&key);
            }
        }
        after = page.entries.last().map(|e| e.key.clone());
        if !page.more || after.is_none() {
            break;
        }
    }
    let mut known = Vec::new();
    for (id, (has_manifest, standing)) in named {
        let out = standing.excluded() || standing.tombstone().is_some() || standing.deleted().is_some();
        if !has_manifest || out || passed_over.iter().any(|p| p.backup_id == id) {
            continue;
        }
        let key = Key::Manifest(id.clone());
        match store::read::<Manifest>(bucket, &key).await {
            Ok(Some(found)) => known.push(of(bucket, &found.value, &standing).await?),
            Ok(None) => {}
            Err(StoreError::Document { source, .. }) => {
                tracing::error!(object.key = %key, reason = %source, "a manifest cannot be understood and is not restored from");
            }
            Err(error @ StoreError::Bucket { .. }) => return Err(error.into()),
        }
    }
    Ok(newest(&known, passed_over).map(|k| k.backup_id.clone()))
}

/// Whether the guard passed it, then or later, or a person waived the guard; a rejection is no waiver.
async fn of(bucket: &impl Bucket, manifest: &Manifest, standing: &Standing) -> Result<Known, StoreError> {
    let mut published = match (standing.later_decision(), &manifest.decision) {
        (Some(later), _) => later == "publish",
        (None, decision) => matches!(decision, GuardDecision::Publish),
    };
    if let Some(at) = standing.newest("override") {
        let key = Key::Evidence(manifest.backup_id.clone(), "override".to_owned(), at);
        let asked = store::read::<OverrideEvidence>(bucket, &key).await?;
        published = asked.is_some_and(|a| !matches!(a.value.asked.action, Action::Reject { .. }));
    }
    Ok(Known {
        backup_id: manifest.backup_id.clone(),
        generation: manifest.source.generation,
        data_as_of: manifest.data_as_of,
        published,
    })
}
