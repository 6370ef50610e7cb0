//! The guard: whether the pointer may move, to what, and why not (DESIGN §1.1–1.3, R1).
//!
//! The pointer moves forward in sequence, in data and in lineage. A backup that shrank is held; one of another
//! lineage, or older than what is published, is refused; a person's decision may waive a hold or go back, and is
//! recorded with both backups. Nothing here can make a pointer without a [`VerifiedManifest`].

pub mod gate;
pub mod guard;
pub mod request;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::{Document, encode};
use crate::ids::{BackupId, Generation, Sequence};
use crate::manifest::GuardDecision;
use crate::ownership::Ownership;
use crate::pointer::{FlipsStopped, Override, POINTER_BYTES_MAX, Pointer, Previous};
use crate::runs::Request;
use crate::verify::VerifiedManifest;

pub use gate::{Gate, gate, restamp};
pub use guard::{Candidate, Decision, HoldReason, Limits, RefuseReason, WaitReason, decide};
pub use request::{Asked, approve, resume, rollback};

/// What a decision is made against, all freshly read.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// The cluster that this deployment serves.
    pub cluster: &'a str,
    /// The pointer; `None` when nothing was ever published.
    pub pointer: Option<&'a Pointer>,
    /// Who owns the data.
    pub ownership: Option<&'a Ownership>,
    /// The classes of the backup that the pointer names, from its manifest.
    pub baseline: Option<&'a VerifiedManifest>,
}

/// A decided pointer write; made by [`decide`], [`approve`], [`rollback`], [`resume`] and [`restamp`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flip {
    backup_id: BackupId,
    generation: Generation,
    sequence: Sequence,
    previous: Option<Previous>,
    published_by: String,
    overridden: Option<Override>,
    flips_stopped: Option<FlipsStopped>,
}

impl Flip {
    /// A flip to this backup that follows what the world's pointer is, keeping its stop.
    fn following(world: &World<'_>, backup_id: &BackupId, generation: Generation, published_by: String) -> Self {
        Self {
            backup_id: backup_id.clone(),
            generation: world.pointer.map_or(generation, |p| generation.max(p.generation)),
            sequence: world.pointer.map_or(Sequence(1), |p| p.sequence.next()),
            previous: world.pointer.and_then(|p| {
                // A write that names the same backup again keeps what a restore could fall back to.
                let before = Previous { sequence: p.sequence, backup_id: p.backup_id.clone() };
                if p.backup_id == *backup_id { p.previous.clone() } else { Some(before) }
            }),
            published_by,
            overridden: None,
            flips_stopped: world.pointer.and_then(|p| p.flips_stopped.clone()),
        }
    }

    /// The backup to be published.
    pub fn backup_id(&self) -> &BackupId {
        &self.backup_id
    }

    /// The sequence that the write will carry.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The override that the write will carry.
    pub fn overridden(&self) -> Option<&Override> {
        self.overridden.as_ref()
    }

    /// The pointer to be written. Refused when the proof is of another backup or cluster, or the pointer would be
    /// larger than anybody reads.
    pub fn compose(&self, proof: &VerifiedManifest, cluster: &str, at: Timestamp) -> Result<Pointer, ComposeError> {
        let manifest = proof.manifest();
        if manifest.backup_id != self.backup_id {
            return Err(ComposeError::OtherBackup {
                decided: self.backup_id.clone(),
                proved: manifest.backup_id.clone(),
            });
        }
        if manifest.cluster != cluster {
            return Err(ComposeError::OtherCluster { found: manifest.cluster.clone(), cluster: cluster.to_owned() });
        }
        let pointer = Pointer {
            cluster: cluster.to_owned(),
            generation: self.generation,
            sequence: self.sequence,
            backup_id: self.backup_id.clone(),
            manifest: proof.reference().clone(),
            verification: manifest.verification,
            verified_at: manifest.verified_at,
            data_as_of: manifest.data_as_of,
            is_final: manifest.is_final,
            totals: manifest.totals.clone(),
            previous: self.previous.clone(),
            published_at: at,
            published_by: self.published_by.clone(),
            overridden: self.overridden.clone(),
            flips_stopped: self.flips_stopped.clone(),
        };
        let size_bytes = encode(&pointer).len() as u64;
        if size_bytes > POINTER_BYTES_MAX {
            return Err(ComposeError::TooLarge { size_bytes });
        }
        Ok(pointer)
    }
}

/// Why a decided flip cannot become a pointer: a defect, or documents of another cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// Proof of another backup was handed in.
    #[error("the flip is decided for {decided}, the proof is of {proved}")]
    OtherBackup {
        /// What was decided.
        decided: BackupId,
        /// What was proved.
        proved: BackupId,
    },
    /// The manifest is another cluster's.
    #[error("the manifest is of cluster {found:?}, this is {cluster:?}; check the bucket and ClusterName parameters")]
    OtherCluster {
        /// The manifest's cluster.
        found: String,
        /// Ours.
        cluster: String,
    },
    /// Over [`POINTER_BYTES_MAX`].
    #[error("the pointer would have {size_bytes} bytes, more than {POINTER_BYTES_MAX}; shorten the request's reason")]
    TooLarge {
        /// Its bytes.
        size_bytes: u64,
    },
}

/// A person's words, short enough for a pointer: control characters become spaces, and it is cut at a character
/// boundary of at most `bytes_max` bytes.
fn short(text: &str, bytes_max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if out.len() + c.len_utf8() > bytes_max {
            break;
        }
        out.push(c);
    }
    out
}

/// `manifests/<id>/evidence/<hold|refuse|publish>-<time>.json`: what the guard decided later than the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionEvidence {
    /// The backup.
    pub backup_id: BackupId,
    /// The decision.
    pub decision: GuardDecision,
    /// The pointer's sequence that it was decided against.
    pub against: Option<Sequence>,
}

impl Document for DecisionEvidence {
    const KIND: &'static str = "decision-evidence";
}

/// `manifests/<id>/evidence/override-<time>.json`: what a person decided about a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideEvidence {
    /// The request's id.
    pub request: String,
    /// The request.
    pub asked: Request,
    /// The sequence of the pointer that carries it; none for a rejection.
    pub sequence: Option<Sequence>,
    /// The backup that the pointer named before; none for a rejection.
    pub replaces: Option<BackupId>,
    /// The backup that it is about.
    pub chosen: BackupId,
}

impl Document for OverrideEvidence {
    const KIND: &'static str = "override-evidence";
}

/// `runs/flip-manifest/done/<time>-<request>.json`: what came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOutcome {
    /// The request's id.
    pub request: String,
    /// Whether it was done.
    pub done: bool,
    /// What was done, or why not.
    pub outcome: String,
}

impl Document for RequestOutcome {
    const KIND: &'static str = "request-outcome";
}

#[cfg(test)]
mod tests;
