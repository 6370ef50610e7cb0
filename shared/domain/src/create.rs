//! Whether a backup is owed, and what is the next step of one that is being taken (DESIGN §2, R18, R24, R28).
//!
//! Owed is a level, not a queue: however many markers come, at most one backup runs and one is owed. What is older than
//! S3's date of the run record of a backup is covered by it, and only strictly older: S3's dates are whole seconds.
//!
//! Refuses to act for anybody but the owner in service, or the owner under its own terminate hook. Weaviate's SUCCESS
//! is a hint: only with `backup_config.json` in the bucket saying so without an error does a backup go on. A backup of
//! fewer classes than were asked for is no backup.

mod open;
mod owed;
mod reason;
mod record;
pub mod writers;

use std::time::Duration;

use jiff::Timestamp;

use crate::expectations::Expectations;
use crate::manifest::Trigger;
use crate::ownership::Ownership;
use crate::pointer::Pointer;
use crate::runs::{CancelCause, CloseOutcome, CreateRun, NamedBackup};
use crate::weaviate::{GlobalDescriptor, OperationStatus};

pub use reason::{CloseReason, IdleReason, WaitReason};
pub use record::{
    DoneBackup, FinalBackup, cancelling, closed, done, final_backup, moved, named, opened, restamped, restarting,
};

/// How often backups are taken and how long anything is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Below it, `<dataset>/_SUCCESS` asks for a backup; ends with a slash.
    pub marker_prefix: String,
    /// A backup is owed when the newest is this old.
    pub interval: Duration,
    /// A backup without an end after this is stuck.
    pub stall: Duration,
    /// How long a cancel may take: Weaviate looks every 10 s (facts: weaviate.md §1.4).
    pub cancel_patience: Duration,
    /// How long a final backup is refused because Weaviate is at something else before its container is restarted, once: what
    /// is left of a backup that hung cannot always be cancelled.
    pub busy_patience: Duration,
    /// How long verification and flip may take, longer than their own deadlines; also how long a silent node is waited
    /// for after SUCCESS.
    pub verification_max: Duration,
    /// Tries in a row that are paced by [`Self::pauses`]. Then a final backup is given up, loudly, and any other is
    /// tried once an interval, each time loudly.
    pub attempts_max: u32,
    /// The pause after the first failed try, the second, and each one after.
    pub pauses: [Duration; 3],
    /// How writers are shut out before a final backup; without it they are not, and the final backup is a live one.
    pub writers: Option<writers::Policy>,
}

impl Policy {
    /// The defaults, with what the deployment decides.
    pub fn new(marker_prefix: String, interval: Duration, stall: Duration) -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            marker_prefix,
            interval,
            stall,
            cancel_patience: Duration::from_secs(30),
            busy_patience: Duration::from_secs(60),
            verification_max: minutes(390),
            attempts_max: 4,
            pauses: [minutes(1), minutes(5), minutes(15)],
            writers: None,
        }
    }

    /// The same, with writers shut out before a final backup.
    #[must_use]
    pub fn shutting_out(self, writers: writers::Policy) -> Self {
        Self { writers: Some(writers), ..self }
    }

    fn pause_after(&self, failed: u32) -> Duration {
        let [first, second, further] = self.pauses;
        match failed {
            0 | 1 => first,
            2 => second,
            n if n < self.attempts_max => further,
            _ => self.interval.max(further),
        }
    }
}

/// Where an instance stands in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberState {
    /// In service.
    InService,
    /// Under its terminate hook: it still answers, and is about to go.
    Leaving,
    /// Listed in any other state.
    Elsewhere(String),
    /// Not listed, or its end cannot be stopped any more.
    Gone,
}

/// A success marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Its key.
    pub key: String,
    /// The dataset in it.
    pub dataset: String,
    /// S3's date of it.
    pub written_at: Timestamp,
}

/// A person's request for a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Its id.
    pub id: String,
    /// Who, as they claim.
    pub by: String,
    /// S3's date of it.
    pub written_at: Timestamp,
}

/// Everything that a decision rests on.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Now: bounds waits and paces tries, orders nothing.
    pub now: Timestamp,
    /// Who owns the data.
    pub ownership: Option<&'a Ownership>,
    /// Where the instance stands that the open backup is taken from, or the owner when none is open.
    pub member: MemberState,
    /// The pointer.
    pub pointer: Option<&'a Pointer>,
    /// The run record.
    pub run: &'a CreateRun,
    /// S3's date of the run record; the present when there is none.
    pub written_at: Timestamp,
    /// What was looked at besides, by the phase of the open backup.
    pub seen: Seen<'a>,
}

/// What was looked at besides, by the phase of the open backup.
#[derive(Debug, Clone)]
pub enum Seen<'a> {
    /// None is open: who wants one.
    Wishes {
        /// The newest success marker that the look came across.
        marker: Option<Marker>,
        /// Requests, oldest first.
        requests: Vec<Asking>,
    },
    /// Opened: S3's date of the marker that asked for it, if one did and is there still.
    Trigger(Option<Timestamp>),
    /// Named: what the node is expected to show.
    Before(Before<'a>),
    /// Asked: what Weaviate says, and what it stored.
    Progress {
        /// What `backup_config.json` in the bucket says.
        stored: Stored,
        /// What the node says.
        answer: Answer,
        /// The classes that were asked for; read only when `stored` is a success.
        expected: Option<&'a Expectations>,
        /// What proves that the node is gone, if it is.
        gone: Option<String>,
    },
    /// Saved: what the node shows afterwards.
    After(After),
    /// Handed: what became of it.
    Verdict(Option<Verdict>),
}

/// What the node is expected to show.
#[derive(Debug, Clone)]
pub enum Before<'a> {
    /// Recorded.
    Recorded(&'a Expectations),
    /// Read just now, and not recorded.
    Read {
        /// Whether there is nothing to protect.
        empty: bool,
    },
    /// The node gives no evidence.
    Silent(String),
}

/// What the node showed after SUCCESS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Recorded.
    Recorded,
    /// Read, or proved to be gone, just now, and not recorded.
    Known,
    /// The node gives no evidence.
    Silent(String),
}

/// What `backup_config.json` in the bucket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It is not there.
    Absent,
    /// It cannot be read, so it says nothing.
    Unreadable(String),
    /// No end yet.
    Running,
    /// SUCCESS without an error.
    Success {
        /// The classes in it, over all nodes.
        classes: Vec<String>,
    },
    /// FAILED, CANCELED, or with an error.
    Failed(String),
}

impl Stored {
    /// What a descriptor says of this backup.
    pub fn of(id: &str, descriptor: &GlobalDescriptor) -> Self {
        if descriptor.id != id {
            return Self::Unreadable(format!("it names {:?}", descriptor.id));
        }
        match (&descriptor.status, descriptor.error.is_empty()) {
            (OperationStatus::Failed | OperationStatus::Canceled, _) | (_, false) => {
                Self::Failed(format!("{:?}: {}", descriptor.status, descriptor.error))
            }
            (OperationStatus::Success, true) => {
                Self::Success { classes: descriptor.nodes.values().flat_map(|n| n.classes.clone()).collect() }
            }
            (
                OperationStatus::Started
                | OperationStatus::Transferring
                | OperationStatus::Transferred
                | OperationStatus::Finalizing
                | OperationStatus::Cancelling
                | OperationStatus::Unknown(_),
                true,
            ) => Self::Running,
        }
    }
}

/// What the node says to a status question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A status, with its error text.
    Status(OperationStatus, String),
    /// It knows no such backup.
    NotFound,
    /// It refuses the question.
    Refused(String),
    /// No usable answer.
    Silent(String),
}

/// What became of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Its outcome.
    pub outcome: CloseOutcome,
    /// The reasons' texts.
    pub reasons: Vec<String>,
}

/// The next step; at most one is irreversible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is to be done.
    Idle(IdleReason),
    /// Something is under way: look again later.
    Wait(WaitReason),
    /// Record a new backup.
    Open {
        /// What asks for it.
        trigger: Trigger,
        /// Whether it is the owner's last.
        is_final: bool,
        /// From 1.
        attempt: u32,
        /// Requests that are acted upon with it.
        requests: Vec<String>,
    },
    /// Record it once more, for a later date: S3's dates are whole seconds.
    Restamp,
    /// Record its id.
    Name(NamedBackup),
    /// Create `expectations.json`.
    RecordExpectations,
    /// Record that Weaviate is asked, then ask.
    Ask,
    /// Ask: it is recorded, but Weaviate knows nothing of it.
    Post,
    /// Record why it is cancelled, then cancel.
    Cancel(CancelCause),
    /// Cancel: it is recorded.
    CancelAgain,
    /// Record that Weaviate is restarted, then have the host restart it, and see it to its end.
    Restart,
    /// Record that it is saved.
    Save,
    /// Create `observed-after.json`.
    RecordAfter,
    /// Record that verification has it.
    Hand,
    /// Record its end.
    Close(CloseReason),
}

/// Decides the next step.
pub fn decide(facts: &Facts<'_>, policy: &Policy) -> Decision {
    match &facts.run.open {
        None => owed::decide(facts, policy),
        Some(open) => open::decide(facts, open, policy),
    }
}

/// What Weaviate says to the request for a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostAnswer {
    /// Taken, with these classes.
    Accepted(Vec<String>),
    /// Understood and refused, with this message.
    Refused(String),
    /// No usable answer: it may have been taken.
    Silent(String),
}

/// What the answer to the request for a backup means.
pub fn after_post(id: &str, include: &[String], answer: PostAnswer) -> Decision {
    match answer {
        PostAnswer::Accepted(classes) => {
            let missing: Vec<String> = include.iter().filter(|c| !classes.contains(c)).cloned().collect();
            if missing.is_empty() {
                Decision::Wait(WaitReason::Running { detail: "accepted".into() })
            } else {
                Decision::Cancel(CancelCause::Narrowed { missing })
            }
        }
        PostAnswer::Silent(detail) => Decision::Wait(WaitReason::Running { detail }),
        PostAnswer::Refused(message) => {
            // Our own id is known already: it was asked for, by us, and its reply was lost. The last text is what
            // Weaviate says of an id that was cancelled (facts §1.5).
            let known = ["already exists", "already in progress", "%!w(<nil>)"];
            let ours = message.contains(id) && known.iter().any(|text| message.contains(text));
            // Weaviate has one slot; and it takes nothing just after its start or while it reindexes (facts §1.5).
            let busy = ["already in progress", "startup window", "reindex in flight"];
            if ours {
                Decision::Wait(WaitReason::Running { detail: message })
            } else if busy.iter().any(|text| message.contains(text)) {
                Decision::Wait(WaitReason::Busy { message })
            } else {
                Decision::Close(CloseReason::NotTaken { message })
            }
        }
    }
}

/// What is strictly older than this, by S3's dates, is covered by a backup with a verdict, or by the one that the
/// pointer names; `None` when there is none at all.
pub fn covered(run: &CreateRun, pointer: Option<&Pointer>) -> Option<Timestamp> {
    [run.covered_through, run.attempted_through, pointer.map(|p| p.data_as_of)].into_iter().flatten().max()
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
