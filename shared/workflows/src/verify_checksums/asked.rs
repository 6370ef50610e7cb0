//! What people ask: to verify a backup that nobody judged yet, or to read one again that has a manifest.

use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::runs::{Action, Request, remember};

use super::{Ports, VerifyAct, VerifyError, VerifyPolicy, open_and_plan, record, reread};
use crate::ports::{Bucket, Clock};
use crate::store::{self, StoreError};

/// Takes up every request that was not taken up yet. With none there it costs one listing.
pub(super) async fn take_up(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
) -> Result<Vec<VerifyAct>, VerifyError> {
    let bucket = ports.bucket;
    let prefix = Key::requests_prefix(Function::VerifyChecksums);
    let page = bucket.list(&prefix, None).await;
    let page = page.map_err(|source| VerifyError::Store(StoreError::Bucket { key: prefix, source }))?;
    let asked: Vec<String> = page
        .entries
        .iter()
        .filter_map(|listed| match Key::parse(&listed.key) {
            Some(Key::Request(Function::VerifyChecksums, id)) => Some(id),
            Some(_) | None => None,
        })
        .collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let run = reread::read(bucket).await?;
    let mut acts = Vec::new();
    for id in asked.into_iter().filter(|id| !run.handled_requests.contains(id)) {
        acts.extend(one(ports, policy, &id).await?);
    }
    Ok(acts)
}

async fn one(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    id: &str,
) -> Result<Vec<VerifyAct>, VerifyError> {
    let bucket = ports.bucket;
    let key = Key::Request(Function::VerifyChecksums, id.to_owned());
    let (mut acts, mut again) = (Vec::new(), None::<BackupId>);
    let outcome = match store::read::<Request>(bucket, &key).await {
        Ok(None) => return Ok(acts),
        Err(error @ StoreError::Bucket { .. }) => return Err(VerifyError::Store(error)),
        Err(error @ StoreError::Document { .. }) => format!("refused: {}", super::chain(&error)),
        Ok(Some(request)) => {
            if let Action::Verify { backup_id } = request.value.action {
                if has_manifest(bucket, &backup_id).await? {
                    let outcome = format!("every object of {backup_id} is read again");
                    again = Some(backup_id);
                    outcome
                } else {
                    let run = record::read(bucket).await.map_err(VerifyError::Record)?;
                    acts.extend(open_and_plan(bucket, policy, &run, &backup_id).await?);
                    format!("{backup_id} is verified")
                }
            } else {
                format!("refused: it asks {} to act", request.value.action.function().name())
            }
        }
    };
    reread::update(bucket, |run| {
        if let Some(backup_id) = again.as_ref().filter(|_| !run.handled_requests.iter().any(|h| h == id))
            && !run.asked.contains(backup_id)
        {
            run.asked.push(backup_id.clone());
        }
        remember(&mut run.handled_requests, id);
    })
    .await?;
    acts.insert(0, VerifyAct::Request { id: id.to_owned(), outcome });
    Ok(acts)
}

async fn has_manifest(bucket: &impl Bucket, backup_id: &BackupId) -> Result<bool, VerifyError> {
    let key = Key::Manifest(backup_id.clone()).to_string();
    let head = bucket.head(&key).await;
    head.map(|found| found.is_some()).map_err(|source| VerifyError::Store(StoreError::Bucket { key, source }))
}
