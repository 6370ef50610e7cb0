//! Which backups stay, which are let go of, and when (DESIGN §1.4; review R14, M16).
//!
//! Three looks, three facts. [`protected()`] says what must not be touched whatever the policy says. [`plan()`] says which of
//! the others the policy no longer asks for: those get a tombstone, and nothing else happens to them. Only a backup that
//! is *still* unprotected and unwanted a whole grace after S3's date of its tombstone is deleted, so that whoever
//! flagged it in the meantime (a restore's choice, a pin, a rollback) wins.

mod plan;
mod protected;
mod standing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::ids::BackupId;

pub use plan::{Act, Plan, Refusal, plan};
pub use protected::{Protection, protected};
pub use standing::Standing;

/// How much is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The newest published ones, whatever their age.
    pub last: u32,
    /// Days (UTC) of which the newest published one is kept, counted from the newest day that has one.
    pub daily: u32,
    /// ISO weeks, the same.
    pub weekly: u32,
    /// Months, the same.
    pub monthly: u32,
    /// Fewer published ones than this are never left.
    pub published_min: u32,
    /// How long a tombstone stands before anything is deleted.
    pub grace: Duration,
    /// How long a backup that was never published (failed, refused, rejected) is kept for whoever looks into it.
    pub unpublished: Duration,
    /// How long manifest, catalogue, expectations and evidence outlive the data.
    pub evidence: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            last: 7,
            daily: 7,
            weekly: 5,
            monthly: 12,
            published_min: 2,
            grace: Duration::from_secs(DAY),
            unpublished: Duration::from_secs(14 * DAY),
            evidence: Duration::from_secs(400 * DAY),
        }
    }
}

/// Everything that is known of one backup, from its manifest and from the names below its prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its id.
    pub id: BackupId,
    /// S3's date of the newest of its current objects under `backups/`, `None` when there is none left.
    pub data: Option<Timestamp>,
    /// What its manifest says; `None` when there is no manifest.
    pub manifest: Option<Known>,
    /// Whether its expectations are on record: then it is one of ours.
    pub ours: bool,
    /// Whether people pinned it (the newest of pin and unpin).
    pub pinned: bool,
    /// Whether people excluded it (the newest of exclude and include): never restored from by itself.
    pub excluded: bool,
    /// S3's date of its newest tombstone, if no reprieve is newer.
    pub tombstone: Option<Timestamp>,
    /// S3's date of the record of its deletion.
    pub deleted: Option<Timestamp>,
    /// S3's date of its newest good drill.
    pub drilled: Option<Timestamp>,
}

/// What the manifest of a backup says, as far as retention asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The recovery point.
    pub data_as_of: Timestamp,
    /// The last backup of a node.
    pub is_final: bool,
    /// Whether the guard passed it or a person overrode the guard.
    pub published: bool,
    /// Whether it waits for a person's decision.
    pub held: bool,
    /// The base of a chain that it needs.
    pub base: Option<BackupId>,
}

/// Everything that retention looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// Every backup of which anything is left.
    pub backups: Vec<Backup>,
    /// Manifests that exist and cannot be read, by key: with one of them nothing at all is deleted.
    pub unreadable: Vec<String>,
    /// What the pointer names.
    pub pointer: Option<BackupId>,
    /// What it named before.
    pub previous: Option<BackupId>,
    /// What the owner was restored from.
    pub owner: Option<BackupId>,
    /// What a restore chose, or a person asked for, or a drill copies.
    pub in_use: Vec<BackupId>,
    /// What is being taken, verified, or waits for a verdict.
    pub unverified: Vec<BackupId>,
}

/// `manifests/<id>/evidence/tombstone-<time>.json`: this backup will be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The backup.
    pub backup_id: BackupId,
    /// Why the policy no longer asks for it.
    pub reason: String,
    /// Nothing is deleted before S3's date of this document plus this many seconds.
    pub grace_seconds: u64,
}

impl Document for Tombstone {
    const KIND: &'static str = "tombstone";
}

/// `manifests/<id>/evidence/reprieve-<time>.json`: a tombstone is taken back, because something needs the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reprieve {
    /// The backup.
    pub backup_id: BackupId,
    /// Why it is needed.
    pub reason: String,
}

impl Document for Reprieve {
    const KIND: &'static str = "reprieve";
}

/// `manifests/<id>/evidence/deleted-<time>.json`: the data is hidden behind delete markers; S3's lifecycle removes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The backup.
    pub backup_id: BackupId,
    /// The tombstone's reason.
    pub reason: String,
}

impl Document for Deleted {
    const KIND: &'static str = "deleted";
}

/// `runs/prune-backups/current.json`. S3's date of it while it is open is the time that ages are measured against.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneRun {
    /// What it was opened for, until it has ended.
    pub open: Option<String>,
    /// How the last one ended.
    pub last: Option<Pruned>,
    /// Ids of requests already acted upon, newest last.
    #[serde(default)]
    pub handled_requests: Vec<String>,
}

impl Document for PruneRun {
    const KIND: &'static str = "prune-run";
}

/// How a prune ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Backups that stay.
    pub stay: usize,
    /// Backups that got a tombstone.
    pub buried: Vec<BackupId>,
    /// Backups whose tombstone was taken back.
    pub reprieved: Vec<BackupId>,
    /// Backups whose data went behind delete markers.
    pub deleted: Vec<BackupId>,
    /// Backups whose manifest and evidence went too.
    pub forgotten: Vec<BackupId>,
    /// Why nothing was deleted, when nothing may be.
    pub refused: Option<String>,
}
