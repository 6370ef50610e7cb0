//! What an invocation says that it did.

use std::fmt;

use lifeboat_domain::ids::BackupId;
use lifeboat_domain::verify::{Finding, fixity};

use super::FixityOutcome;

/// What an invocation did, act by act.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct VerifyReport {
    /// In order.
    pub acts: Vec<VerifyAct>,
}

/// Something that was done, or not, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyAct {
    /// The event is not for this function.
    Ignored {
        /// Why.
        reason: String,
    },
    /// Nothing can be done for this backup now.
    Waiting {
        /// The backup.
        backup_id: BackupId,
        /// Why.
        why: String,
    },
    /// The shards are written.
    Planned {
        /// The backup.
        backup_id: BackupId,
        /// How many.
        shards: u32,
    },
    /// A shard was read.
    Hashed {
        /// The backup.
        backup_id: BackupId,
        /// Its index.
        shard: u32,
        /// Objects read well.
        objects: usize,
        /// What is wrong with the others.
        findings: Vec<Finding>,
    },
    /// A shard was tried, and its reader got no answer.
    Tried {
        /// The backup.
        backup_id: BackupId,
        /// Its index.
        shard: u32,
        /// Which try it was, and of how many.
        tries: (u32, u32),
        /// Why.
        reason: String,
    },
    /// What is protected was read again, in part or whole.
    Fixity {
        /// The backup.
        backup_id: BackupId,
        /// What it came to.
        outcome: FixityOutcome,
    },
    /// A person's request was taken up, or refused.
    Request {
        /// Its id.
        id: String,
        /// What is done about it.
        outcome: String,
    },
    /// Beside all that, an error that the next tick may not meet.
    Fault {
        /// What it was.
        reason: String,
    },
    /// The backup is failed.
    Failed {
        /// The backup.
        backup_id: BackupId,
        /// Why.
        findings: Vec<Finding>,
    },
}

impl VerifyReport {
    /// Whether a person must look: a backup failed, a shard has a finding, bytes that are protected changed.
    pub fn attention(&self) -> bool {
        self.acts.iter().any(|act| match act {
            VerifyAct::Failed { .. } => true,
            // Of a slice it is told when the slice is closed.
            VerifyAct::Hashed { backup_id, findings, .. } => !findings.is_empty() && !fixity::is_slice(backup_id),
            VerifyAct::Fixity { outcome, .. } => outcome.attention(),
            VerifyAct::Tried { tries: (tried, most), .. } => tried >= most,
            VerifyAct::Ignored { .. }
            | VerifyAct::Waiting { .. }
            | VerifyAct::Planned { .. }
            | VerifyAct::Request { .. }
            | VerifyAct::Fault { .. } => false,
        })
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.acts.is_empty() {
            return f.write_str("nothing to verify");
        }
        for (n, act) in self.acts.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            act.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for VerifyAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored { reason } => write!(f, "not for verify-checksums: {reason}"),
            Self::Waiting { backup_id, why } => write!(f, "{backup_id} waits: {why}"),
            Self::Planned { backup_id, shards } => write!(f, "{backup_id} is planned in {shards} shards"),
            Self::Hashed { backup_id, shard, objects, findings } if findings.is_empty() => {
                write!(f, "{backup_id} shard {shard}: {objects} objects read")
            }
            Self::Hashed { backup_id, shard, findings, .. } => {
                write!(f, "{backup_id} shard {shard} has {} findings, first: {}", findings.len(), findings[0])
            }
            Self::Tried { backup_id, shard, tries: (tried, most), reason } => {
                write!(f, "{backup_id} shard {shard}: try {tried} of {most} failed: {reason}")
            }
            Self::Fixity { backup_id, outcome } => write!(f, "fixity of {backup_id}: {outcome}"),
            Self::Fault { reason } => write!(f, "an error: {reason}"),
            Self::Request { id, outcome } => write!(f, "request {id}: {outcome}"),
            Self::Failed { backup_id, findings } => {
                let first = findings.first().map_or_else(String::new, ToString::to_string);
                write!(f, "{backup_id} FAILED with {} findings, first: {first}", findings.len())
            }
        }
    }
}
