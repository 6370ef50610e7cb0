//! What each step leaves in the run record: pure, so that whoever loses a race decides again from what is there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CloseReason, Policy};
use crate::document::Document;
use crate::ids::{BackupId, Generation, InstanceId};
use crate::manifest::Trigger;
use crate::ownership::Ownership;
use crate::runs::{
    CancelCause, CloseOutcome, ClosedBackup, CreatePhase, CreateRun, NamedBackup, OpenBackup, Restart, remember,
};

/// `runs/create-backup/done/<time>-<id>.json`: a backup that got an id, and how it ended. Written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneBackup {
    /// What asked for it.
    pub trigger: Trigger,
    /// The owner's generation.
    pub generation: Generation,
    /// From 1.
    pub attempt: u32,
    /// How it ended.
    pub closed: ClosedBackup,
}

impl Document for DoneBackup {
    const KIND: &'static str = "create-done";
}

/// A new backup is recorded.
pub fn opened(
    run: &CreateRun,
    ownership: &Ownership,
    trigger: Trigger,
    is_final: bool,
    attempt: u32,
    requests: &[String],
    now: Timestamp,
) -> CreateRun {
    let mut next = run.clone();
    next.open = Some(OpenBackup {
        trigger,
        generation: ownership.generation,
        instance: ownership.owner.clone(),
        address: ownership.owner_address.clone(),
        is_final,
        attempt,
        phase: CreatePhase::Opened,
        named: None,
        cancel: None,
        opened_at: now,
        restart: None,
    });
    next.marker_cursor = None;
    for id in requests {
        remember(&mut next.handled_requests, id);
    }
    next
}

/// The same, with another time, so that S3 dates it anew.
pub fn restamped(run: &CreateRun, now: Timestamp) -> CreateRun {
    with_open(run, |open| open.opened_at = now)
}

/// Its id is recorded.
pub fn named(run: &CreateRun, name: NamedBackup) -> CreateRun {
    with_open(run, |open| {
        open.phase = CreatePhase::Named;
        open.named = Some(name);
    })
}

/// It is this far. What was cancelled and succeeded all the same is not cancelled any more.
pub fn moved(run: &CreateRun, phase: CreatePhase) -> CreateRun {
    with_open(run, |open| {
        open.phase = phase;
        open.cancel = None;
    })
}

/// How far the restart of Weaviate is, is recorded.
pub fn restarting(run: &CreateRun, restart: Restart) -> CreateRun {
    with_open(run, |open| open.restart = Some(restart))
}

/// Why it is cancelled is recorded.
pub fn cancelling(run: &CreateRun, cause: CancelCause) -> CreateRun {
    with_open(run, |open| open.cancel = Some(cause))
}

fn with_open(run: &CreateRun, change: impl FnOnce(&mut OpenBackup)) -> CreateRun {
    let mut next = run.clone();
    if let Some(open) = &mut next.open {
        change(open);
    }
    next
}

/// Its end is recorded. A verdict of any kind covers what was asked before it; a failure is owed still; one that made
/// way is owed still and counts as no failure.
pub fn closed(run: &CreateRun, reason: &CloseReason, now: Timestamp) -> CreateRun {
    let mut next = run.clone();
    let Some(open) = next.open.take() else { return next };
    let closed = end(&open, reason, now);
    match closed.outcome {
        CloseOutcome::Failed => {
            if !reason.made_way() {
                next.failed_attempts = open.attempt;
            }
            next.owed = Some(open.trigger);
        }
        CloseOutcome::Published | CloseOutcome::Held | CloseOutcome::Refused | CloseOutcome::NothingToProtect => {
            next.failed_attempts = 0;
            next.owed = None;
            next.attempted_through = next.attempted_through.max(closed.recorded_at);
            if closed.outcome == CloseOutcome::Published {
                next.covered_through = next.covered_through.max(closed.recorded_at);
            }
        }
    }
    next.last = Some(closed);
    next
}

/// What is kept of it for ever: its key's date and id, and the document. A backup without an id leaves nothing.
pub fn done(run: &CreateRun, reason: &CloseReason, now: Timestamp) -> Option<(NamedBackup, DoneBackup)> {
    let open = run.open.as_ref()?;
    let document = DoneBackup {
        trigger: open.trigger.clone(),
        generation: open.generation,
        attempt: open.attempt,
        closed: end(open, reason, now),
    };
    Some((open.named.clone()?, document))
}

fn end(open: &OpenBackup, reason: &CloseReason, now: Timestamp) -> ClosedBackup {
    ClosedBackup {
        backup_id: open.named.as_ref().map(|n| n.backup_id.clone()),
        recorded_at: open.named.as_ref().map(|n| n.recorded_at),
        outcome: reason.outcome(),
        reason: if *reason == CloseReason::Published { String::new() } else { reason.to_string() },
        is_final: open.is_final,
        instance: open.instance.clone(),
        closed_at: now,
    }
}

/// How far the final backup of an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "final_backup")]
pub enum FinalBackup {
    /// Not opened, or tried and to be tried again.
    NotYet,
    /// Under way.
    Running {
        /// Its id, once it has one.
        backup_id: Option<BackupId>,
    },
    /// It has a verdict; `NothingToProtect` when the node held nothing.
    Taken {
        /// Its id.
        backup_id: Option<BackupId>,
        /// The verdict.
        outcome: CloseOutcome,
    },
    /// Its tries are used up; no more are made unless a person asks.
    Failed {
        /// How the last ended.
        reason: String,
    },
}

/// How far the final backup of this instance is.
pub fn final_backup(run: &CreateRun, instance: &InstanceId, policy: &Policy) -> FinalBackup {
    if let Some(open) = run.open.as_ref().filter(|open| open.is_final && &open.instance == instance) {
        return FinalBackup::Running { backup_id: open.named.as_ref().map(|n| n.backup_id.clone()) };
    }
    match run.last.as_ref().filter(|last| last.is_final && &last.instance == instance) {
        None => FinalBackup::NotYet,
        Some(last) if last.outcome != CloseOutcome::Failed => {
            FinalBackup::Taken { backup_id: last.backup_id.clone(), outcome: last.outcome }
        }
        Some(last) if run.failed_attempts >= policy.attempts_max => FinalBackup::Failed { reason: last.reason.clone() },
        Some(_) => FinalBackup::NotYet,
    }
}
