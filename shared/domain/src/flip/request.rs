//! What a person may decide instead of the guard; each is recorded with who, why, and both backups.

use super::guard::{allowed, foreign};
use super::{Candidate, Decision, Flip, RefuseReason, World, short};
use crate::ids::{BackupId, Generation};
use crate::pointer::{FlipsStopped, Override};

/// The most bytes of a person's reason that a pointer keeps; the whole text stays in the request.
const REASON_BYTES_MAX: usize = 400;
/// The most bytes of a person's name that a pointer keeps.
const BY_BYTES_MAX: usize = 100;

/// Who asks, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The request's id.
    pub request: &'a str,
    /// Who, as they claim.
    pub by: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl Asked<'_> {
    /// What the pointer's `published_by` says for this request: by it a repeated request finds what it did.
    pub fn published_by(&self) -> String {
        format!("flip-manifest for request {}", self.request)
    }

    fn overriding(&self, world: &World<'_>, chosen: &BackupId) -> Override {
        Override {
            by: short(self.by, BY_BYTES_MAX),
            reason: short(self.reason, REASON_BYTES_MAX),
            replaces: world.pointer.map(|p| p.backup_id.clone()),
            chosen: chosen.clone(),
        }
    }
}

/// Publishes a held backup: every rule holds as for the guard, except those of shrinking.
pub fn approve(candidate: &Candidate, world: &World<'_>, asked: Asked<'_>) -> Decision {
    match allowed(candidate, world) {
        Ok(generation) => Decision::Flip(Box::new(Flip {
            overridden: Some(asked.overriding(world, &candidate.backup_id)),
            ..Flip::following(world, &candidate.backup_id, generation, asked.published_by())
        })),
        Err(decision) => decision,
    }
}

/// Names another verified backup as latest, whatever its age and lineage, and stops automatic flips until a node was
/// restored from it. The pointer's generation does not fall, so late flips of older lineages stay refused.
pub fn rollback(candidate: &Candidate, world: &World<'_>, asked: Asked<'_>) -> Decision {
    let mut reasons = foreign(world);
    match world.pointer {
        None => reasons.push(RefuseReason::NoPointer),
        Some(pointer) if pointer.backup_id == candidate.backup_id => reasons.push(RefuseReason::NamedAlready),
        Some(_) => {}
    }
    if candidate.is_empty() {
        reasons.push(RefuseReason::EmptyExpectations);
    }
    if !reasons.is_empty() {
        return Decision::Refuse { reasons };
    }
    let overridden = asked.overriding(world, &candidate.backup_id);
    Decision::Flip(Box::new(Flip {
        flips_stopped: Some(FlipsStopped {
            by: overridden.by.clone(),
            reason: overridden.reason.clone(),
            until_restored_from: candidate.backup_id.clone(),
        }),
        overridden: Some(overridden),
        ..Flip::following(world, &candidate.backup_id, candidate.generation, asked.published_by())
    }))
}

/// Lifts the stop that a rollback set; the pointer names what it named.
pub fn resume(world: &World<'_>, asked: Asked<'_>) -> Decision {
    let mut reasons = foreign(world);
    let Some(pointer) = world.pointer else {
        reasons.push(RefuseReason::NoPointer);
        return Decision::Refuse { reasons };
    };
    if pointer.flips_stopped.is_none() {
        reasons.push(RefuseReason::NotStopped);
    }
    if !reasons.is_empty() {
        return Decision::Refuse { reasons };
    }
    Decision::Flip(Box::new(Flip {
        flips_stopped: None,
        overridden: Some(asked.overriding(world, &pointer.backup_id)),
        ..Flip::following(world, &pointer.backup_id, Generation(0), asked.published_by())
    }))
}
