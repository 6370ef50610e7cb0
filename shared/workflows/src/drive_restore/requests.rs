//! What people ask of drive-restore: each request is acted upon once.

use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::restore::run::GroupAttempts;
use lifeboat_domain::runs::{Action, Request, remember};

use super::{Error, Ports, Seen, overwrite, save};
use crate::ports::{Bucket, Group};
use crate::store::{self, StoreError};

/// Takes one request that was not acted upon yet; `true` when there was one, and everything must be looked at again.
/// Requests expire in the bucket, so one page is all there can be.
pub(super) async fn take<P: Ports>(ports: &P, seen: &mut Seen) -> Result<bool, Error> {
    let page = ports.bucket().list(&Key::requests_prefix(Function::DriveRestore), None).await?;
    for listed in page.entries {
        let Some(Key::Request(Function::DriveRestore, id)) = Key::parse(&listed.key) else {
            tracing::warn!(object.key = listed.key, "not a request: its name is not one; remove it");
            continue;
        };
        if seen.run.handled_requests.contains(&id) {
            continue;
        }
        let key = Key::Request(Function::DriveRestore, id.clone());
        match store::read::<Request>(ports.bucket(), &key).await {
            Ok(Some(request)) => act(ports, seen, &id, &request.value).await?,
            Ok(None) => continue,
            // A request is a person's input: a bad one is named and set aside, it must not stop a restore.
            Err(StoreError::Document { source, .. }) => {
                tracing::error!(object.key = %key, reason = %source, "a request cannot be understood and is set aside");
            }
            Err(error) => return Err(error.into()),
        }
        remember(&mut seen.run.handled_requests, &id);
        save(ports, seen).await?;
        return Ok(true);
    }
    Ok(false)
}

async fn act<P: Ports>(ports: &P, seen: &mut Seen, id: &str, request: &Request) -> Result<(), Error> {
    tracing::info!(request.id = id, by = request.by, reason = request.reason, "a request is acted upon");
    match &request.action {
        Action::Restore { backup_id } => seen.run.requested = Some(backup_id.clone()),
        Action::AllowEmptyStart => seen.run.empty_grant = Some(id.to_owned()),
        Action::ResumeLaunches => {
            // Attempts start anew before launches do, or the first of them would be the last again.
            overwrite(ports, &Key::RestoreGroup, &GroupAttempts::default()).await?;
            ports.group().resume_launches().await?;
        }
        Action::Backup
        | Action::Verify { .. }
        | Action::Rollback { .. }
        | Action::ResumeFlips
        | Action::Approve { .. }
        | Action::Reject { .. }
        | Action::Prune => {
            let owner = request.action.function().name();
            tracing::error!(
                request.id = id,
                owner,
                "not an action of drive-restore; write it under its owner's prefix"
            );
        }
    }
    Ok(())
}
