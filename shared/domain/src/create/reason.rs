//! The typed reasons of a decision, each with its text: a short name, a colon, and what a person should know.

use jiff::Timestamp;
use serde::Serialize;

use crate::ids::BackupId;
use crate::runs::{CancelCause, CloseOutcome};

/// Why there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "idle")]
pub enum IdleReason {
    /// There is no `ownership.json`.
    #[error("no_owner: nobody owns the data yet; drive-restore writes ownership.json when it opens the first gate")]
    NoOwner,
    /// The owner is neither in service nor under its terminate hook.
    #[error("not_the_owner: the owner {instance} is {state}; backups are taken only of the owner in service")]
    NotTheOwner {
        /// The owner.
        instance: String,
        /// Its state.
        state: String,
    },
    /// Nobody wants one.
    #[error("nothing_owed: the next backup is due at {due_at}")]
    NothingOwed {
        /// When the schedule wants the next.
        due_at: Timestamp,
    },
    /// One is owed, but the last try failed a moment ago.
    #[error("paced: {failed} tries in a row failed, the next is at {until}; the last one: {last}")]
    Paced {
        /// Tries in a row that failed.
        failed: u32,
        /// When the next is.
        until: Timestamp,
        /// How the last ended.
        last: String,
        /// Whether the quick tries are used up.
        exhausted: bool,
    },
    /// The owner's final backup is taken.
    #[error("final_taken: the owner's final backup ended as {outcome:?}")]
    FinalTaken {
        /// Its id.
        backup_id: Option<BackupId>,
        /// How it ended.
        outcome: CloseOutcome,
    },
    /// The owner's final backup failed for good.
    #[error(
        "final_failed: {failed} tries of the final backup failed, no more are made unasked; the last one: {last}. Ask \
         with `lifeboat backup` while the instance is kept"
    )]
    FinalFailed {
        /// Tries in a row that failed.
        failed: u32,
        /// How the last ended.
        last: String,
    },
}

impl IdleReason {
    /// Whether a person must look.
    pub fn needs_attention(&self) -> bool {
        match self {
            Self::Paced { exhausted, .. } => *exhausted,
            Self::FinalFailed { .. } => true,
            Self::NoOwner | Self::NotTheOwner { .. } | Self::NothingOwed { .. } | Self::FinalTaken { .. } => false,
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "waiting")]
pub enum WaitReason {
    /// The owner is between two states.
    #[error("owner_elsewhere: the owner is {state}")]
    Elsewhere {
        /// Its state.
        state: String,
    },
    /// The node gives no evidence yet.
    #[error("evidence: the node gives no evidence yet: {detail}")]
    Evidence {
        /// What it said.
        detail: String,
        /// Whether it has been so for longer than a stall.
        overdue: bool,
    },
    /// Weaviate is at it.
    #[error("running: Weaviate is at it: {detail}")]
    Running {
        /// What it said last.
        detail: String,
    },
    /// Weaviate is at something else.
    #[error("busy: Weaviate takes no backup now: {message}")]
    Busy {
        /// What it said.
        message: String,
    },
    /// Weaviate refuses to say how far it is.
    #[error("status_refused: Weaviate refuses the status: {message}")]
    StatusRefused {
        /// What it said.
        message: String,
    },
    /// Weaviate says SUCCESS, the bucket does not yet.
    #[error("not_stored_yet: Weaviate says SUCCESS, backup_config.json in the bucket does not: {stored}")]
    NotStoredYet {
        /// What the bucket says.
        stored: String,
    },
    /// Writers are being shut out before the final backup, or let in again.
    #[error("writers: {detail}")]
    Writers {
        /// What is waited for.
        detail: String,
    },
    /// A cancel is under way.
    #[error("cancelling: {}", cause_text(.cause))]
    Cancelling {
        /// Why.
        cause: CancelCause,
    },
    /// Verification and flip have it.
    #[error("verification: verify-checksums and flip-manifest have it")]
    Verification,
}

impl WaitReason {
    /// Whether a person must look.
    pub fn needs_attention(&self) -> bool {
        match self {
            Self::Evidence { overdue, .. } => *overdue,
            Self::StatusRefused { .. } => true,
            Self::Elsewhere { .. }
            | Self::Running { .. }
            | Self::Busy { .. }
            | Self::NotStoredYet { .. }
            | Self::Writers { .. }
            | Self::Cancelling { .. }
            | Self::Verification => false,
        }
    }
}

/// How a backup ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "end")]
pub enum CloseReason {
    /// The pointer names it, or named it.
    #[error("published")]
    Published,
    /// Kept, waiting for approval.
    #[error("held: {}", .reasons.join("; "))]
    Held {
        /// Why.
        reasons: Vec<String>,
    },
    /// Kept, never latest by itself.
    #[error("refused: {}", .reasons.join("; "))]
    Refused {
        /// Why.
        reasons: Vec<String>,
    },
    /// The node holds no objects.
    #[error("nothing_to_protect: the node holds no objects{}", if *.pointer_has_objects { ", although the pointer names a backup that does" } else { "" })]
    NothingToProtect {
        /// Whether the pointer names objects: then they are gone from the node.
        pointer_has_objects: bool,
    },
    /// The node's instance is gone, before SUCCESS.
    #[error("node_gone: {proof}")]
    NodeGone {
        /// What says so.
        proof: String,
    },
    /// Its node does not own the data any more, or is not in service.
    #[error("not_the_owner: {detail}")]
    NotTheOwner {
        /// What says so.
        detail: String,
    },
    /// The final backup of the node goes first.
    #[error("preempted: the final backup of the node goes first")]
    Preempted,
    /// The final backup of the node goes first; this one's verification goes on.
    #[error("superseded: saved, and verified still, but the final backup of the node goes first")]
    Superseded,
    /// The node gave no evidence before it could be asked.
    #[error("evidence_unreadable: {detail}")]
    EvidenceUnreadable {
        /// What it said last.
        detail: String,
    },
    /// The recorded expectations are not of this backup.
    #[error("foreign_expectations: expectations.json names another backup, node or generation")]
    ForeignExpectations,
    /// Weaviate refused it.
    #[error("not_taken: Weaviate refuses it: {message}")]
    NotTaken {
        /// What it said.
        message: String,
    },
    /// Weaviate was asked again and again, and never knew of it.
    #[error("never_started: Weaviate was asked, and knows nothing of it")]
    NeverStarted,
    /// Weaviate says that it failed or was cancelled by somebody.
    #[error("failed: {error}")]
    Failed {
        /// What it said.
        error: String,
    },
    /// It had no end, and was cancelled.
    #[error("stuck: it had no end in time and was cancelled; if Weaviate now takes no other, restart its container")]
    Stuck,
    /// Weaviate took fewer classes than it was asked for.
    #[error("narrowed: Weaviate left out {}; check the rights of the operator key", .missing.join(", "))]
    Narrowed {
        /// Which.
        missing: Vec<String>,
    },
    /// Weaviate says SUCCESS, the bucket never did.
    #[error("not_stored: Weaviate says SUCCESS, backup_config.json in the bucket does not: {stored}")]
    NotStored {
        /// What the bucket says.
        stored: String,
    },
    /// The bucket and the node contradict each other.
    #[error("contradiction: backup_config.json says SUCCESS, Weaviate says {answer}")]
    Contradiction {
        /// What the node says.
        answer: String,
    },
    /// What the node shows after SUCCESS could not be read, and the node is not gone.
    #[error("after_unreadable: the node was neither read after SUCCESS nor proved gone: {detail}")]
    AfterUnreadable {
        /// What it said last.
        detail: String,
    },
    /// Verification found something.
    #[error("verification_failed: {}", .reasons.join("; "))]
    VerificationFailed {
        /// What.
        reasons: Vec<String>,
    },
    /// There was no verdict in time.
    #[error("unverified: no verdict in time; look at runs/verify-checksums/current.json and its failure queue")]
    Unverified,
}

impl CloseReason {
    /// The end of a backup that is cancelled for this.
    pub fn cancelled(cause: &CancelCause) -> Self {
        match cause {
            CancelCause::Stuck => Self::Stuck,
            CancelCause::Narrowed { missing } => Self::Narrowed { missing: missing.clone() },
            CancelCause::Preempted => Self::Preempted,
        }
    }

    /// The outcome that is recorded for it.
    pub fn outcome(&self) -> CloseOutcome {
        match self {
            Self::Published => CloseOutcome::Published,
            Self::Held { .. } => CloseOutcome::Held,
            Self::Refused { .. } => CloseOutcome::Refused,
            Self::NothingToProtect { .. } => CloseOutcome::NothingToProtect,
            Self::NodeGone { .. }
            | Self::NotTheOwner { .. }
            | Self::Preempted
            | Self::Superseded
            | Self::EvidenceUnreadable { .. }
            | Self::ForeignExpectations
            | Self::NotTaken { .. }
            | Self::NeverStarted
            | Self::Failed { .. }
            | Self::Stuck
            | Self::Narrowed { .. }
            | Self::NotStored { .. }
            | Self::Contradiction { .. }
            | Self::AfterUnreadable { .. }
            | Self::VerificationFailed { .. }
            | Self::Unverified => CloseOutcome::Failed,
        }
    }

    /// Whether it only made way: not a failed try.
    pub fn made_way(&self) -> bool {
        matches!(self, Self::Preempted | Self::Superseded)
    }

    /// Whether a person must look.
    pub fn needs_attention(&self) -> bool {
        match self.outcome() {
            CloseOutcome::Published => false,
            CloseOutcome::Held | CloseOutcome::Refused => true,
            CloseOutcome::NothingToProtect => {
                matches!(self, Self::NothingToProtect { pointer_has_objects: true })
            }
            CloseOutcome::Failed => !self.made_way(),
        }
    }
}

fn cause_text(cause: &CancelCause) -> String {
    CloseReason::cancelled(cause).to_string()
}
