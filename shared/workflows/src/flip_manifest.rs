//! Composes manifests and moves the pointer; re-stamps it at a gate; acts upon people's decisions about it.
//!
//! # Flow
//! Each invocation, whatever woke it: re-stamp if a gate opened; requests, oldest first; then every open verification
//! whose shards are all answered and whose observation is recorded: fold, prove, decide, write the immutable manifest,
//! decide again against a pointer and ownership just read, stage, swap, read back, record the verdict.
//!
//! # Guarantees
//! The pointer is written by compare-and-swap against what the decision was made on; a lost race is decided again.
//! Everything else is created once, or recorded by compare-and-swap, under names that do not depend on who writes or
//! when: whatever an invocation leaves undone, the next one finishes.
//!
//! # Errors
//! A pointer, ownership or manifest that cannot be read in full, or that was deleted: nothing is written over it.

mod candidates;
mod observe;
mod prove;
mod publish;
mod requests;
mod restamp;

use std::fmt;

use lifeboat_domain::event::Hint;
use lifeboat_domain::flip::{ComposeError, Limits};
use lifeboat_domain::ids::{BackupId, Generation, Sequence};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::verify::Finding;

use crate::inventory::LoadError;
use crate::invocation::Patience;
use crate::ports::{Bucket, Clock};
use crate::store::StoreError;
use crate::verify_checksums::{RecordError, record};

pub use crate::verify_checksums::Ports;

/// How often a lost race is decided again within one invocation.
pub(crate) const RACES_MAX: u32 = 8;

/// What flips are held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlipPolicy {
    /// The bucket's name: events of others are ignored.
    pub bucket: String,
    /// The cluster's name.
    pub cluster: String,
    /// The Auto Scaling group's name.
    pub group: String,
    /// The tool's version.
    pub tool_version: String,
    /// What the guard tolerates.
    pub limits: Limits,
}

impl FlipPolicy {
    /// The usual policy.
    pub fn new(bucket: impl Into<String>, cluster: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            cluster: cluster.into(),
            group: group.into(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            limits: Limits::default(),
        }
    }
}

/// What an invocation did, act by act.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct FlipReport {
    /// In order.
    pub acts: Vec<FlipAct>,
}

/// Something that was done, or not, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlipAct {
    /// The event is not for this function.
    Ignored {
        /// Why.
        reason: String,
    },
    /// Something is still to come.
    Waiting {
        /// The backup.
        backup_id: BackupId,
        /// What.
        why: String,
    },
    /// The pointer names it.
    Published {
        /// The backup.
        backup_id: BackupId,
        /// The pointer's sequence.
        sequence: Sequence,
    },
    /// The pointer named it already; the verdict is recorded now.
    AlreadyPublished {
        /// The backup.
        backup_id: BackupId,
    },
    /// It waits for a person.
    Held {
        /// The backup.
        backup_id: BackupId,
        /// Why.
        reasons: Vec<String>,
    },
    /// It never becomes latest by itself.
    Refused {
        /// The backup.
        backup_id: BackupId,
        /// Why.
        reasons: Vec<String>,
    },
    /// It is no proof.
    Failed {
        /// The backup.
        backup_id: BackupId,
        /// Why.
        findings: Vec<Finding>,
    },
    /// The pointer stands for the new owner's generation.
    Restamped {
        /// The backup that it names.
        backup_id: BackupId,
        /// The generation.
        generation: Generation,
        /// The pointer's sequence.
        sequence: Sequence,
    },
    /// A request was acted upon, or refused.
    Request {
        /// Its id.
        id: String,
        /// Whether it was done.
        done: bool,
        /// What was done, or why not.
        outcome: String,
    },
}

impl fmt::Display for FlipReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.acts.is_empty() {
            return f.write_str("nothing to decide");
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

impl fmt::Display for FlipAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignored { reason } => write!(f, "not for flip-manifest: {reason}"),
            Self::Waiting { backup_id, why } => write!(f, "{backup_id} waits: {why}"),
            Self::Published { backup_id, sequence } => write!(f, "{backup_id} is published, sequence {sequence}"),
            Self::AlreadyPublished { backup_id } => write!(f, "{backup_id} was published already"),
            Self::Held { backup_id, reasons } => write!(f, "{backup_id} is HELD: {}", reasons.join("; ")),
            Self::Refused { backup_id, reasons } => write!(f, "{backup_id} is refused: {}", reasons.join("; ")),
            Self::Failed { backup_id, findings } => {
                let first = findings.first().map_or_else(String::new, ToString::to_string);
                write!(f, "{backup_id} FAILED with {} findings, first: {first}", findings.len())
            }
            Self::Restamped { backup_id, generation, sequence } => {
                write!(f, "the pointer stands for generation {generation}, sequence {sequence}: {backup_id}")
            }
            Self::Request { id, done: true, outcome } => write!(f, "request {id} is done: {outcome}"),
            Self::Request { id, done: false, outcome } => write!(f, "request {id} is refused: {outcome}"),
        }
    }
}

/// Why an invocation did not end well. Nothing was written over what could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FlipError {
    /// The bucket gave no answer, or a document does not parse.
    #[error("deciding a flip")]
    Store(#[source] StoreError),
    /// A manifest cannot be relied upon.
    #[error("reading a manifest to decide a flip")]
    Load(#[source] LoadError),
    /// The record of verifications could not be changed.
    #[error("recording a verdict")]
    Record(#[source] RecordError),
    /// The pointer cannot be composed.
    #[error("composing the pointer")]
    Compose(#[source] ComposeError),
    /// There was a pointer once.
    #[error(
        "the pointer was deleted: only older versions of it are there, so its sequence would start again; \
         put the newest version back, by copying it over its key"
    )]
    PointerDeleted,
    /// An older pointer cannot be read.
    #[error("an older version of the pointer cannot be read: {finding}")]
    PointerHistory {
        /// Why.
        finding: Finding,
    },
    /// Others were faster, `RACES_MAX` times.
    #[error("the pointer or a record was changed by others {RACES_MAX} times in a row; the next tick decides again")]
    LostRaces,
}

/// Does everything that is due. What woke it is only a reason to look.
pub async fn run(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &FlipPolicy,
    hint: &Hint,
    patience: Patience,
) -> Result<FlipReport, FlipError> {
    if let Some(reason) = not_for_us(policy, hint) {
        return Ok(FlipReport { acts: vec![FlipAct::Ignored { reason }] });
    }
    let mut report = FlipReport::default();
    let mut failure = None;
    // One that fails does not keep the others from being done: each decides on its own fresh reads.
    match restamp::restamp(ports, policy).await {
        Ok(act) => report.acts.extend(act),
        Err(error) => failure = Some(error),
    }
    match requests::requests(ports, policy).await {
        Ok(acts) => report.acts.extend(acts),
        Err(error) => {
            failure.get_or_insert(error);
        }
    }
    let run = record::read(ports.bucket).await.map_err(FlipError::Record)?;
    for (backup_id, open) in &run.open {
        if ports.clock.now() >= patience.until {
            break;
        }
        match candidates::candidate(ports, policy, backup_id, open.shards).await {
            Ok(act) => report.acts.push(act),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(report), Err)
}

fn not_for_us(policy: &FlipPolicy, hint: &Hint) -> Option<String> {
    match hint {
        Hint::Tick => None,
        Hint::ObjectCreated { bucket, .. } if *bucket != policy.bucket => Some(format!("{bucket} is not our bucket")),
        Hint::ObjectCreated { key, .. } => match Key::parse(key) {
            Some(Key::Part(..) | Key::ObservedAfter(_) | Key::Ownership | Key::Request(Function::FlipManifest, _)) => {
                None
            }
            Some(_) | None => Some(format!("{key} decides nothing about the pointer")),
        },
        Hint::LifecycleAction { .. } => Some("lifecycle actions belong to drive-restore".to_owned()),
        Hint::NotForUs { reason } => Some(reason.clone()),
    }
}

#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
