//! What the replacement starts from: waited for, chosen, and checked object by object before anything is restored.
//!
//! The choice is recorded before it is looked at closely: prune writes a tombstone, waits, and looks for such a record
//! before it deletes, so one of the two sees the other (review R14).

use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{BACKUP_PATH, Function, Key};
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::choice::{Candidate, EarlierLife, candidate, empty_start};
use lifeboat_domain::restore::run::{Choice, OpenRestore, PassedOver, Phase, Rung, StepName};
use lifeboat_domain::restore::{Refusal, Waiting};
use lifeboat_domain::runs::{CloseOutcome, ClosedBackup, CreateRun, VerifyRun};
use lifeboat_domain::verify::VerifiedManifest;
use lifeboat_domain::weaviate::{GlobalDescriptor, OperationStatus};

use super::abandon::abandon;
use super::{Error, Outcome, Policy, Ports, Seen, elapsed, fallback, leaving, overdue, record, waiting};
use crate::heal::{self, HealPolicy};
use crate::inventory::{LoadError, Which, load_verified_manifest, t0};
use crate::invocation::{Patience, Turn};
use crate::ports::group::LifecycleState;
use crate::ports::{Bucket, Clock};
use crate::standing;
use crate::store::{self, StoreError};

pub(super) async fn choose<P: Ports>(
    ports: &P,
    policy: &Policy,
    patience: Patience,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    if matches!(open.choice, Some(Choice::Backup { .. })) {
        return check(ports, policy, patience, seen, open).await;
    }
    if let Some(turn) = wait(ports, policy, seen, &mut open).await? {
        return Ok(turn);
    }
    let pointer = store::read::<Pointer>(ports.bucket(), &Key::Pointer).await?.map(|v| v.value);
    let requested = seen.run.requested.as_ref();
    match candidate(requested, pointer.as_ref(), &open.passed_over, policy.restore.fall_back) {
        Candidate::Requested(id) => take(ports, seen, open, Which::Backup(&id), None, Rung::Requested).await,
        Candidate::Pointed => {
            // `candidate` says Pointed only when there is a pointer.
            let Some(which) = pointer.as_ref() else { return Ok(Turn::Again) };
            take(ports, seen, open, Which::Pointer(which), pointer.as_ref(), Rung::Pointer).await
        }
        Candidate::Previous(id) => take(ports, seen, open, Which::Backup(&id), pointer.as_ref(), Rung::Previous).await,
        Candidate::Newest => match fallback::newest_usable(ports.bucket(), &open.passed_over).await? {
            Some(id) => take(ports, seen, open, Which::Backup(&id), pointer.as_ref(), Rung::Newest).await,
            None => exhausted(ports, seen, open, "no other published backup can be restored").await,
        },
        Candidate::Exhausted => {
            let stopped = pointer.as_ref().is_some_and(|p| p.flips_stopped.is_some());
            let rest = match () {
                () if seen.run.requested.is_some() => "a person named it, so nothing else is restored in its place",
                () if stopped => "a person rolled back to it, so nothing else is restored in its place",
                () => "policy allows no other backup in its place (RestoreFallBack)",
            };
            exhausted(ports, seen, open, rest).await
        }
        Candidate::Nothing => {
            let permitted = policy.restore.allow_empty_start || seen.run.empty_grant.is_some();
            let ownership = seen.ownership.as_ref().map(|o| &o.value);
            match empty_start(&earlier_life(ports).await?, ownership, permitted) {
                Ok(()) => {
                    // The grant is for one start; it is consumed by the same compare-and-swap that uses it.
                    seen.run.empty_grant = None;
                    open.choice = Some(Choice::Empty);
                    open.advance(Phase::Preparing, StepName::Chosen, ports.clock().now());
                    record(ports, seen, open).await
                }
                Err(refusal) => abandon(ports, seen, open, &refusal).await,
            }
        }
    }
}

/// What must end before a choice is made: the owner's final backup, and a finished backup still in verification.
async fn wait<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    open: &mut OpenRestore,
) -> Result<Option<Turn<Outcome>>, Error> {
    let Some(ownership) = &seen.ownership else { return Ok(None) };
    let generation = ownership.value.generation;
    let create = store::read::<CreateRun>(ports.bucket(), &Key::CurrentRun(Function::CreateBackup)).await?;
    let create = create.map(|v| v.value).unwrap_or_default();
    let owner = &ownership.value.owner;
    let owner_listed = matches!(
        seen.group.state_of(owner),
        Some(LifecycleState::InService | LifecycleState::Terminating | LifecycleState::TerminatingWait)
    );
    let verify = store::read::<VerifyRun>(ports.bucket(), &Key::CurrentRun(Function::VerifyChecksums)).await?;
    let verify = verify.map(|v| v.value).unwrap_or_default();
    let last = create.last.as_ref().filter(|l| l.is_final && &l.instance == owner);
    // One that is held may still be approved or rejected, until the deadline.
    let held = |l: &&ClosedBackup| {
        let decided = verify.closed.iter().find(|c| Some(&c.backup_id) == l.backup_id.as_ref());
        decided.map_or(l.outcome, |c| c.outcome) == CloseOutcome::Held
    };
    let final_over = last.is_some_and(|l| !held(&l));
    let patient = !overdue(open, StepName::Opened, seen.now, policy.restore.predecessor_deadline);
    if owner_listed && !final_over && patient && !leaving::is_gone(ports, seen, owner).await? {
        return Ok(Some(waiting(&open.instance, Waiting::FinalBackup { predecessor: owner.to_string() })));
    }
    let named = create.open.as_ref().filter(|o| o.generation == generation).and_then(|o| o.named.as_ref());
    let mut unjudged = verify.open.keys().next().cloned();
    if let Some(id) = named.map(|n| &n.backup_id) {
        let judged = verify.closed.iter().any(|c| &c.backup_id == id);
        if !judged && says_success(ports, id).await? {
            unjudged = Some(id.clone());
        }
    }
    let Some(id) = unjudged else { return Ok(None) };
    let Some(since) = open.verifying_since else {
        // The bound counts from here: the final backup may have been waited for long before.
        open.verifying_since = Some(seen.now);
        return record(ports, seen, open.clone()).await.map(Some);
    };
    if elapsed(since, seen.now) > policy.restore.verification_deadline {
        tracing::error!(instance = %open.instance, backup.id = %id, "a finished backup is still being verified, and is not waited for any longer: what is newer than the published one is lost");
        return Ok(None);
    }
    Ok(Some(waiting(&open.instance, Waiting::Verification { backup_id: id.to_string() })))
}

async fn says_success<P: Ports>(ports: &P, id: &BackupId) -> Result<bool, Error> {
    let key = Key::backup_config(id).to_string();
    let stored = ports.bucket().get(&key, store::DOCUMENT_BYTES_MAX).await?;
    let descriptor = stored.and_then(|s| serde_json::from_slice::<GlobalDescriptor>(&s.body).ok());
    Ok(descriptor.is_some_and(|d| d.status == OperationStatus::Success))
}

/// Records a candidate as the choice, once its documents hold to their digests.
async fn take<P: Ports>(
    ports: &P,
    seen: &mut Seen,
    mut open: OpenRestore,
    which: Which<'_>,
    pointer: Option<&Pointer>,
    rung: Rung,
) -> Result<Turn<Outcome>, Error> {
    let id = match which {
        Which::Pointer(pointer) => pointer.backup_id.clone(),
        Which::Backup(id) => id.clone(),
    };
    match load(ports, which).await? {
        Ok(verified) => {
            open.choice = Some(Choice::Backup {
                backup_id: id,
                manifest: verified.reference().clone(),
                sequence: pointer.map(|p| p.sequence),
                rung,
                path: None,
            });
            record(ports, seen, open).await
        }
        Err(what) => {
            let refusal = Refusal::Unusable { backup_id: id.to_string(), what };
            pass_over(ports, seen, open, id, &refusal).await
        }
    }
}

/// A backup's documents, or what does not agree in them.
async fn load<P: Ports>(ports: &P, which: Which<'_>) -> Result<Result<VerifiedManifest, String>, Error> {
    match load_verified_manifest(ports.bucket(), which).await {
        Ok(verified) => Ok(Ok(verified)),
        // The bucket gave no answer: look again. Anything else is wrong with the backup itself.
        Err(LoadError::Store(error @ StoreError::Bucket { .. })) => Err(error.into()),
        Err(error) => Ok(Err(crate::verify_checksums::chain(&error))),
    }
}

/// Looks at the recorded choice closely: whether it may be used, and whether a restore would read what was verified.
async fn check<P: Ports>(
    ports: &P,
    policy: &Policy,
    patience: Patience,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    let Some(Choice::Backup { backup_id: id, rung, .. }) = open.choice.clone() else { return Ok(Turn::Again) };
    let standing = standing::of(ports.bucket(), &id).await?;
    if let Some(since) = standing.tombstone() {
        let refusal = Refusal::Tombstoned { backup_id: id.to_string(), since: since.to_string() };
        return pass_over(ports, seen, open, id, &refusal).await;
    }
    if standing.excluded() && rung != Rung::Requested {
        let refusal = Refusal::Excluded { backup_id: id.to_string() };
        return pass_over(ports, seen, open, id, &refusal).await;
    }
    let verified = match load(ports, Which::Backup(&id)).await? {
        Ok(verified) => verified,
        Err(what) => {
            let refusal = Refusal::Unusable { backup_id: id.to_string(), what };
            return pass_over(ports, seen, open, id, &refusal).await;
        }
    };
    let outcome = t0(ports.bucket(), verified.manifest(), verified.rows()).await?;
    if outcome.passed() {
        open.advance(Phase::Preparing, StepName::Chosen, ports.clock().now());
        return record(ports, seen, open).await;
    }
    let first = outcome.findings.first().map_or_else(String::new, ToString::to_string);
    let failed = Refusal::FailsT0 { backup_id: id.to_string(), findings: outcome.findings.len(), first };
    if !outcome.healable() {
        return pass_over(ports, seen, open, id, &failed).await;
    }
    tracing::error!(instance = %open.instance, backup.id = %id, reason = %failed, "a backup must be healed before it can be restored");
    let limits = HealPolicy::new(&policy.bucket);
    match heal::heal(ports.bucket(), ports.clock(), &limits, &verified, patience.until).await? {
        heal::Outcome::UnderWay { backup_id, done, of } => {
            Ok(waiting(&open.instance, Waiting::Healing { backup_id: backup_id.to_string(), done, of }))
        }
        heal::Outcome::Healed(healed) => {
            tracing::error!(instance = %open.instance, backup.id = %id, object.key = healed.evidence, "a backup is healed, and restored from the copies of its verified versions: find out who overwrites or deletes under backups/");
            if let Some(Choice::Backup { path, .. }) = &mut open.choice {
                *path = Some(healed.path);
            }
            open.advance(Phase::Preparing, StepName::Chosen, ports.clock().now());
            record(ports, seen, open).await
        }
        heal::Outcome::Refused { findings, .. } => {
            let first = findings.first().map_or_else(String::new, ToString::to_string);
            let refusal = Refusal::CannotBeHealed { backup_id: id.to_string(), findings: findings.len(), first };
            pass_over(ports, seen, open, id, &refusal).await
        }
    }
}

/// Pages that a backup cannot be restored, notes it, and goes on to the next one.
async fn pass_over<P: Ports>(
    ports: &P,
    seen: &mut Seen,
    mut open: OpenRestore,
    id: BackupId,
    refusal: &Refusal,
) -> Result<Turn<Outcome>, Error> {
    tracing::error!(instance = %open.instance, backup.id = %id, reason = %refusal, "a backup cannot be restored and is passed over");
    open.passed_over.push(PassedOver { backup_id: id, why: refusal.to_string() });
    open.choice = None;
    record(ports, seen, open).await
}

/// Nothing is left: the first choice's reason stands first.
async fn exhausted<P: Ports>(
    ports: &P,
    seen: &mut Seen,
    open: OpenRestore,
    rest: &str,
) -> Result<Turn<Outcome>, Error> {
    let first = open.passed_over.first().map_or_else(|| "nothing was looked at".to_owned(), |p| p.why.clone());
    let others: Vec<&str> = open.passed_over.iter().skip(1).map(|p| p.why.as_str()).collect();
    let rest = others.into_iter().chain([rest]).collect::<Vec<_>>().join("; ");
    abandon(ports, seen, open, &Refusal::NothingUsable { first, rest }).await
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
