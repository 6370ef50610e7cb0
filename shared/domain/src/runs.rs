//! The open runs, `runs/<function>/current.json`, changed by compare-and-swap only.
//!
//! They carry intent: what is about to be done is recorded before it is done, so that whoever comes after a crash
//! knows what may have happened (DESIGN §1.12). A tick with nothing to do reads these few keys and lists no history.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::ids::{BackupId, Generation, InstanceId, JobId};
use crate::manifest::Trigger;

/// How many closed verifications a record remembers.
pub const REMEMBERED_MAX: usize = 50;

/// How many handled requests a record remembers: as many as one page of a listing shows, so that none is acted upon
/// again while its file is still there. The bucket expires requests.
pub const REQUESTS_REMEMBERED_MAX: usize = 1_000;

/// `runs/create-backup/current.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateRun {
    /// The backup that is being taken; at most one.
    pub open: Option<OpenBackup>,
    /// S3's date of the run record of the newest published backup: success markers older than this are covered.
    pub covered_through: Option<Timestamp>,
    /// The same of the newest backup with a verdict of any kind: what is older than this is not owed again, so that a
    /// held backup is not taken over and over.
    #[serde(default)]
    pub attempted_through: Option<Timestamp>,
    /// Tries in a row, for this owner, that failed; they pace the next one.
    pub failed_attempts: u32,
    /// What the failed tries were for; owed until a try has a verdict.
    #[serde(default)]
    pub owed: Option<Trigger>,
    /// Where the next look at the success markers starts, when they are more than one look takes.
    #[serde(default)]
    pub marker_cursor: Option<String>,
    /// How the newest closed try ended.
    pub last: Option<ClosedBackup>,
    /// Ids of requests already acted upon, newest last.
    #[serde(default)]
    pub handled_requests: Vec<String>,
    /// How far writers are shut out, while they are or are to be.
    #[serde(default)]
    pub writers: Option<crate::create::writers::Writers>,
}

impl Document for CreateRun {
    const KIND: &'static str = "create-run";
}

/// A backup that is being taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenBackup {
    /// What asked for it.
    pub trigger: Trigger,
    /// The owner's generation.
    pub generation: Generation,
    /// The owner.
    pub instance: InstanceId,
    /// The owner's own address.
    pub address: String,
    /// True for the last backup of a node before it goes.
    pub is_final: bool,
    /// From 1; part of the backup's id.
    pub attempt: u32,
    /// How far it is.
    pub phase: CreatePhase,
    /// Its id, once S3's date of this record is known.
    pub named: Option<NamedBackup>,
    /// Why it is being cancelled; recorded before Weaviate is asked to.
    #[serde(default)]
    pub cancel: Option<CancelCause>,
    /// The function's clock at opening: shown, never compared.
    #[serde(default)]
    pub opened_at: Timestamp,
    /// The restart of Weaviate that a final backup needed, because Weaviate was at something that would not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
}

/// A restart of the container, once for a final backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// The job; recorded before it is sent.
    pub job: JobId,
    /// Its command, once known.
    pub command: Option<String>,
    /// Whether it has ended, well or not.
    pub over: bool,
}

/// Why a backup that was asked for is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum CancelCause {
    /// It has had no end for too long.
    Stuck,
    /// Weaviate took fewer classes than it was asked for (facts: weaviate.md §5).
    Narrowed {
        /// The classes that it left out.
        missing: Vec<String>,
    },
    /// The final backup of the node goes first.
    Preempted,
}

/// A backup with its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedBackup {
    /// The id, minted from `recorded_at`, generation and attempt.
    pub backup_id: BackupId,
    /// S3's date of the run record in phase `opened`: the recovery point starts here.
    pub recorded_at: Timestamp,
}

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreatePhase {
    /// Recorded; S3's date of this record names the backup. Nothing was asked of Weaviate.
    Opened,
    /// Named; expectations are being read. Nothing was asked of Weaviate.
    Named,
    /// Weaviate is about to be asked, or was.
    Asked,
    /// Weaviate and `backup_config.json` say SUCCESS; what the node shows afterwards is being recorded.
    Saved,
    /// Everything is recorded; verification and flip have it.
    Handed,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedBackup {
    /// Its id, when it got one.
    pub backup_id: Option<BackupId>,
    /// S3's date of its run record, when it got one.
    pub recorded_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: CloseOutcome,
    /// The typed reason's text; empty for `published`.
    pub reason: String,
    /// True for a final backup.
    pub is_final: bool,
    /// The owner at the time.
    pub instance: InstanceId,
    /// The function's clock at closing: shown, and paces the next try; nothing safe rests on it.
    pub closed_at: Timestamp,
}

/// How a backup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseOutcome {
    /// The pointer names it, or named it.
    Published,
    /// Verified, kept, waiting for approval.
    Held,
    /// Verified, kept, never latest by itself.
    Refused,
    /// Not verified, or not taken.
    Failed,
    /// Not taken, because the node holds no objects. Only a create run closes so, never a verification.
    NothingToProtect,
}

/// `runs/verify-checksums/current.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyRun {
    /// Backups whose verification is neither done nor failed.
    pub open: BTreeMap<BackupId, OpenVerification>,
    /// The newest verdicts, newest last, at most [`REMEMBERED_MAX`].
    #[serde(default)]
    pub closed: Vec<ClosedVerification>,
}

impl Document for VerifyRun {
    const KIND: &'static str = "verify-run";
}

/// A verification under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenVerification {
    /// Shards planned; 0 while none are written yet.
    pub shards: u32,
    /// Tries of the plan that ended in an error of ours (not a finding).
    pub attempts: u32,
    /// Shards that nobody answered in time, and how often they were tried since.
    #[serde(default)]
    pub tries: BTreeMap<u32, ShardTry>,
}

/// The tries of a shard that nobody answered, counted before each one begins: one that kills its reader is counted too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardTry {
    /// How many have begun.
    pub count: u32,
    /// When the newest began, by our clock: it paces the next one.
    pub at: Timestamp,
    /// How the newest ended that had an end; empty when none had.
    pub reason: String,
}

/// A verification's verdict, as flip-manifest or verify-checksums reached it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedVerification {
    /// The backup.
    pub backup_id: BackupId,
    /// How it ended.
    pub outcome: CloseOutcome,
    /// The reasons' texts; empty for `published`.
    pub reasons: Vec<String>,
}

/// `runs/flip-manifest/current.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlipRun {
    /// Ids of requests already acted upon, newest last, at most [`REQUESTS_REMEMBERED_MAX`].
    #[serde(default)]
    pub handled_requests: Vec<String>,
}

impl Document for FlipRun {
    const KIND: &'static str = "flip-run";
}

/// Remembers a handled request, dropping the oldest over [`REQUESTS_REMEMBERED_MAX`].
pub fn remember(handled: &mut Vec<String>, id: &str) {
    if !handled.iter().any(|h| h == id) {
        handled.push(id.to_owned());
    }
    let over = handled.len().saturating_sub(REQUESTS_REMEMBERED_MAX);
    handled.drain(..over);
}

/// `requests/<function>/<id>.json`: what a person asks of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who, as they claim.
    pub by: String,
    /// Why, in their words; never empty.
    pub reason: String,
    /// What.
    pub action: Action,
}

impl Document for Request {
    const KIND: &'static str = "request";
}

/// What a person can ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Action {
    /// create-backup: take a backup now.
    Backup,
    /// verify-checksums: verify a finished backup that nobody has judged yet.
    Verify {
        /// The backup.
        backup_id: BackupId,
    },
    /// flip-manifest: name an older backup as latest, and stop automatic flips.
    Rollback {
        /// The backup.
        to: BackupId,
    },
    /// flip-manifest: lift the stop.
    ResumeFlips,
    /// flip-manifest: publish a held backup.
    Approve {
        /// The backup.
        backup_id: BackupId,
    },
    /// flip-manifest: close a hold without publishing.
    Reject {
        /// The backup.
        backup_id: BackupId,
    },
    /// drive-restore: restore this backup next, and no other.
    Restore {
        /// The backup.
        backup_id: BackupId,
    },
    /// drive-restore: let the next first node start empty, once.
    AllowEmptyStart,
    /// drive-restore: let the group launch again.
    ResumeLaunches,
    /// prune-backups: look now at what the policy no longer asks for.
    Prune,
}

impl Action {
    /// Which function owns the action.
    pub fn function(&self) -> crate::keys::Function {
        use crate::keys::Function;
        match self {
            Self::Backup => Function::CreateBackup,
            Self::Verify { .. } => Function::VerifyChecksums,
            Self::Rollback { .. } | Self::ResumeFlips | Self::Approve { .. } | Self::Reject { .. } => {
                Function::FlipManifest
            }
            Self::Restore { .. } | Self::AllowEmptyStart | Self::ResumeLaunches => Function::DriveRestore,
            Self::Prune => Function::PruneBackups,
        }
    }
}
