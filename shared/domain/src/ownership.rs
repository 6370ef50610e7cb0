//! `ownership.json`: who owns the data now. Written by compare-and-swap, by drive-restore alone, just before a gate
//! opens (DESIGN §3).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::ids::{BackupId, Generation, InstanceId, Sequence};

/// The owner of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The cluster's name.
    pub cluster: String,
    /// Rises by one with each owner.
    pub generation: Generation,
    /// The instance that serves this generation.
    pub owner: InstanceId,
    /// The owner's own address, which only the functions may reach.
    pub owner_address: String,
    /// What the owner started from.
    pub origin: Origin,
    /// When the record was composed, by the writer's clock: shown, never compared.
    pub opened_at: Timestamp,
}

impl Document for Ownership {
    const KIND: &'static str = "ownership";
}

/// What an owner's data came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Origin {
    /// A proven and permitted first start without data.
    Empty,
    /// A restore of this backup, which the pointer of this sequence named (absent when a person named it).
    Restored {
        /// The backup.
        backup_id: BackupId,
        /// The pointer's sequence at the choice.
        sequence: Option<Sequence>,
    },
}

impl Ownership {
    /// The backup that the owner was restored from, if any.
    pub fn restored_from(&self) -> Option<&BackupId> {
        match &self.origin {
            Origin::Empty => None,
            Origin::Restored { backup_id, .. } => Some(backup_id),
        }
    }
}
