//! What the replacement starts from: waited for, chosen, and checked object by object before anything is restored.

use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{BACKUP_PATH, Function, Key};
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::choice::{Candidate, EarlierLife, candidate, empty_start};
use lifeboat_domain::restore::run::{Choice, OpenRestore, Phase, StepName};
use lifeboat_domain::restore::{Refusal, Waiting};
use lifeboat_domain::runs::{CreateRun, VerifyRun};
use lifeboat_domain::weaviate::{GlobalDescriptor, OperationStatus};

use super::abandon::abandon;
use super::{Error, Outcome, Policy, Ports, Seen, leaving, overdue, record, waiting};
use crate::inventory::{LoadError, Which, load_verified_manifest, t0};
use crate::invocation::Turn;
use crate::ports::group::LifecycleState;
use crate::ports::{Bucket, Clock};
use crate::store::{self, StoreError};

pub(super) async fn choose<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    if let Some(reason) = wait_for(ports, policy, seen, &open).await? {
        return Ok(waiting(&open.instance, reason));
    }
    let pointer = store::read::<Pointer>(ports.bucket(), &Key::Pointer).await?.map(|v| v.value);
    let found = match candidate(seen.run.requested.as_ref(), pointer.as_ref()) {
        Candidate::Requested(id) => checked(ports, Which::Backup(&id), None).await?,
        Candidate::Pointed => {
            // `candidate` says Pointed only when there is a pointer.
            let Some(pointer) = &pointer else { return Ok(Turn::Again) };
            checked(ports, Which::Pointer(pointer), Some(pointer)).await?
        }
        Candidate::Nothing => {
            let permitted = policy.restore.allow_empty_start || seen.run.empty_grant.is_some();
            let ownership = seen.ownership.as_ref().map(|o| &o.value);
            empty_start(&earlier_life(ports).await?, ownership, permitted).map(|()| Choice::Empty)
        }
    };
    match found {
        Ok(choice) => {
            if choice == Choice::Empty {
                // The grant is for one start; it is consumed by the same compare-and-swap that uses it.
                seen.run.empty_grant = None;
            }
            open.choice = Some(choice);
            open.advance(Phase::Preparing, StepName::Chosen, ports.clock().now());
            record(ports, seen, open).await
        }
        Err(refusal) => abandon(ports, seen, open, &refusal).await,
    }
}

/// What must end before a choice is made: the owner's final backup, and a finished backup still in verification.
async fn wait_for<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &Seen,
    open: &OpenRestore,
) -> Result<Option<Waiting>, Error> {
    let Some(ownership) = &seen.ownership else { return Ok(None) };
    let create = store::read::<CreateRun>(ports.bucket(), &Key::CurrentRun(Function::CreateBackup)).await?;
    let create = create.map(|v| v.value).unwrap_or_default();
    let owner = &ownership.value.owner;
    let owner_listed = matches!(
        seen.group.state_of(owner),
        Some(LifecycleState::InService | LifecycleState::Terminating | LifecycleState::TerminatingWait)
    );
    let final_over = create.last.as_ref().is_some_and(|l| l.is_final && &l.instance == owner);
    let patient = !overdue(open, StepName::Opened, seen.now, policy.restore.predecessor_deadline);
    if owner_listed && !final_over && patient && !leaving::is_gone(ports, seen, owner).await? {
        return Ok(Some(Waiting::FinalBackup { predecessor: owner.to_string() }));
    }
    if overdue(open, StepName::Opened, seen.now, policy.restore.verification_deadline) {
        return Ok(None);
    }
    let verify = store::read::<VerifyRun>(ports.bucket(), &Key::CurrentRun(Function::VerifyChecksums)).await?;
    let verify = verify.map(|v| v.value).unwrap_or_default();
    let named = create.open.as_ref().filter(|o| o.generation == ownership.value.generation);
    let named = named.and_then(|o| o.named.as_ref()).map(|n| &n.backup_id);
    if let Some(id) = named {
        let judged = verify.closed.iter().any(|c| &c.backup_id == id);
        if !judged && says_success(ports, id).await? {
            return Ok(Some(Waiting::Verification { backup_id: id.to_string() }));
        }
    }
    Ok(verify.open.keys().next().map(|id| Waiting::Verification { backup_id: id.to_string() }))
}

async fn says_success<P: Ports>(ports: &P, id: &BackupId) -> Result<bool, Error> {
    let key = Key::backup_config(id).to_string();
    let stored = ports.bucket().get(&key, store::DOCUMENT_BYTES_MAX).await?;
    let descriptor = stored.and_then(|s| serde_json::from_slice::<GlobalDescriptor>(&s.body).ok());
    Ok(descriptor.is_some_and(|d| d.status == OperationStatus::Success))
}

/// Loads a backup's documents, held to their digests, and passes its objects through T0.
async fn checked<P: Ports>(
    ports: &P,
    which: Which<'_>,
    pointer: Option<&Pointer>,
) -> Result<Result<Choice, Refusal>, Error> {
    let id = match which {
        Which::Pointer(pointer) => pointer.backup_id.to_string(),
        Which::Backup(id) => id.to_string(),
    };
    let verified = match load_verified_manifest(ports.bucket(), which).await {
        Ok(verified) => verified,
        // The bucket gave no answer: look again. Anything else is wrong with the backup itself.
        Err(LoadError::Store(error @ StoreError::Bucket { .. })) => return Err(error.into()),
        Err(error) => {
            let mut what = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                what = format!("{what}: {cause}");
                source = cause.source();
            }
            return Ok(Err(Refusal::Unusable { backup_id: id, what }));
        }
    };
    let outcome = t0(ports.bucket(), verified.manifest(), verified.rows()).await?;
    if !outcome.passed() {
        let first = outcome.findings.first().map_or_else(String::new, ToString::to_string);
        return Ok(Err(Refusal::FailsT0 { backup_id: id, findings: outcome.findings.len(), first }));
    }
    Ok(Ok(Choice::Backup {
        backup_id: verified.manifest().backup_id.clone(),
        manifest: verified.reference().clone(),
        sequence: pointer.map(|p| p.sequence),
    }))
}

/// Any version or delete marker counts: a deleted pointer is not "never".
async fn earlier_life<P: Ports>(ports: &P) -> Result<EarlierLife, Error> {
    let count = async |prefix: &str| ports.bucket().list_versions(prefix, None).await.map(|page| page.entries.len());
    Ok(EarlierLife {
        pointer: count(&Key::Pointer.to_string()).await?,
        manifests: count("manifests/").await?,
        backups: count(&format!("{BACKUP_PATH}/")).await?,
    })
}
