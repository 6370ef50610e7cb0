//! Backups whose verification is open: prove, decide, publish, record the verdict.

use lifeboat_domain::Timestamp;
use lifeboat_domain::flip::{Candidate, Decision, DecisionEvidence, decide};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::manifest::GuardDecision;
use lifeboat_domain::runs::{CloseOutcome, ClosedVerification};
use lifeboat_domain::verify::VerifiedManifest;

use super::observe::{Seen, observe, written_since};
use super::prove::{Proved, prove};
use super::publish::{Written, publish};
use super::{FlipAct, FlipError, FlipPolicy, Ports, RACES_MAX};
use crate::inventory::{Which, load_verified_manifest};
use crate::ports::{Bucket, Clock};
use crate::store;
use crate::verify_checksums::record;

/// Takes one open verification as far as it goes.
pub(super) async fn candidate(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &FlipPolicy,
    backup_id: &BackupId,
    shards: u32,
) -> Result<FlipAct, FlipError> {
    match prove(ports, policy, backup_id, shards).await? {
        Proved::Waiting(why) => return Ok(FlipAct::Waiting { backup_id: backup_id.clone(), why }),
        Proved::Failed(findings) => {
            record::fail(ports.bucket, backup_id, &findings).await.map_err(FlipError::Record)?;
            return Ok(FlipAct::Failed { backup_id: backup_id.clone(), findings });
        }
        Proved::Manifest => {}
    }
    let proof = load_verified_manifest(ports.bucket, Which::Backup(backup_id)).await.map_err(FlipError::Load)?;
    let candidate = Candidate::of(proof.expectations(), proof.observed_after());
    for _ in 0..RACES_MAX {
        let seen = observe(ports.bucket).await?;
        let baseline = baseline(ports.bucket, &seen, backup_id).await?;
        let decision = decide(&candidate, &seen.world(&policy.cluster, baseline.as_ref()), policy.limits);
        let later = decision.recorded().filter(|decided| *decided != proof.manifest().decision);
        let (outcome, reasons, act) = match decision {
            Decision::Wait(reason) => {
                return Ok(FlipAct::Waiting { backup_id: backup_id.clone(), why: reason.to_string() });
            }
            Decision::Flip(flip) => match publish(ports, policy, &seen, &flip, &proof).await? {
                Written::Lost => continue,
                Written::Yes(pointer) => {
                    let act = FlipAct::Published { backup_id: backup_id.clone(), sequence: pointer.sequence };
                    (CloseOutcome::Published, Vec::new(), act)
                }
            },
            Decision::AlreadyPublished => published(backup_id),
            Decision::Hold { reasons } => {
                let reasons = texts(&reasons);
                let act = FlipAct::Held { backup_id: backup_id.clone(), reasons: reasons.clone() };
                (CloseOutcome::Held, reasons, act)
            }
            Decision::Refuse { reasons } => {
                if was_published(ports.bucket, &proof).await? {
                    published(backup_id)
                } else {
                    let reasons = texts(&reasons);
                    let act = FlipAct::Refused { backup_id: backup_id.clone(), reasons: reasons.clone() };
                    (CloseOutcome::Refused, reasons, act)
                }
            }
        };
        if let Some(decision) = later.filter(|_| !matches!(act, FlipAct::AlreadyPublished { .. })) {
            later_decision(ports.bucket, &proof, &seen, decision).await?;
        }
        let verdict = ClosedVerification { backup_id: backup_id.clone(), outcome, reasons };
        record::close(ports.bucket, &verdict, false).await.map_err(FlipError::Record)?;
        return Ok(act);
    }
    Err(FlipError::LostRaces)
}

fn published(backup_id: &BackupId) -> (CloseOutcome, Vec<String>, FlipAct) {
    let act = FlipAct::AlreadyPublished { backup_id: backup_id.clone() };
    (CloseOutcome::Published, Vec::new(), act)
}

fn texts(reasons: &[impl ToString]) -> Vec<String> {
    reasons.iter().map(ToString::to_string).collect()
}

/// Whether the pointer named this backup before it moved on: then a crash kept the verdict from being recorded.
async fn was_published(bucket: &impl Bucket, proof: &VerifiedManifest) -> Result<bool, FlipError> {
    let manifest = proof.manifest();
    let named = |pointer: &lifeboat_domain::pointer::Pointer| pointer.backup_id == manifest.backup_id;
    Ok(written_since(bucket, manifest.verified_at, named).await?.is_some())
}

/// The manifest that the pointer names, to compare with: none when there is no pointer, or when it names the
/// candidate itself. One that cannot be read in full is an error: nothing is published on top of what is not
/// understood.
pub(super) async fn baseline(
    bucket: &impl Bucket,
    seen: &Seen,
    candidate: &BackupId,
) -> Result<Option<VerifiedManifest>, FlipError> {
    match seen.pointer().filter(|p| p.backup_id != *candidate) {
        Some(pointer) => {
            load_verified_manifest(bucket, Which::Pointer(pointer)).await.map(Some).map_err(FlipError::Load)
        }
        None => Ok(None),
    }
}

/// Records a decision that differs from the manifest's, named by S3's date of the pointer it was made against.
async fn later_decision(
    bucket: &impl Bucket,
    proof: &VerifiedManifest,
    seen: &Seen,
    decision: GuardDecision,
) -> Result<(), FlipError> {
    let manifest = proof.manifest();
    let at: Timestamp = seen.pointer.as_ref().map_or(manifest.verified_at, |p| p.last_modified);
    let kind = match decision {
        GuardDecision::Publish => "publish",
        GuardDecision::Hold { .. } => "hold",
        GuardDecision::Refuse { .. } => "refuse",
    };
    let evidence = DecisionEvidence {
        backup_id: manifest.backup_id.clone(),
        decision,
        against: seen.pointer().map(|p| p.sequence),
    };
    let key = Key::Evidence(manifest.backup_id.clone(), kind.to_owned(), at);
    store::create(bucket, &key, &evidence).await.map_err(FlipError::Store)?;
    Ok(())
}
