//! The re-stamp at a gate: the new owner's generation is put on the pointer, after which every late flip of the old
//! lineage loses its compare-and-swap and, deciding again, is refused (DESIGN §1.2, §6).

use super::guard::foreign;
use super::{Decision, Flip, World};
use crate::ids::BackupId;
use crate::ownership::Origin;
use crate::pointer::Override;

/// Whether the pointer must be re-stamped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// It stands for the owner's generation, or there is nothing that the owner was restored from.
    NotDue,
    /// It stands for an older generation than the owner's, who was restored from this backup.
    Due {
        /// The backup.
        backup_id: BackupId,
    },
}

/// Whether the pointer must be re-stamped, and to which backup.
pub fn gate(world: &World<'_>) -> Gate {
    let Some(ownership) = world.ownership else {
        return Gate::NotDue;
    };
    match ownership.restored_from() {
        Some(backup_id) if world.pointer.is_none_or(|p| p.generation < ownership.generation) => {
            Gate::Due { backup_id: backup_id.clone() }
        }
        Some(_) | None => Gate::NotDue,
    }
}

/// The re-stamp: the backup that the owner was restored from, the owner's generation, the next sequence. A stop is
/// lifted when the owner was restored from the backup rolled back to. When the pointer named another backup (the
/// restore fell back, a person named one, or a late flip slipped in between), both are recorded.
pub fn restamp(world: &World<'_>) -> Decision {
    let reasons = foreign(world);
    if !reasons.is_empty() {
        return Decision::Refuse { reasons };
    }
    let (Gate::Due { backup_id }, Some(ownership)) = (gate(world), world.ownership) else {
        return Decision::AlreadyPublished;
    };
    let published_by = format!("flip-manifest at the gate of generation {}", ownership.generation);
    let mut flip = Flip::following(world, &backup_id, ownership.generation, published_by);
    flip.flips_stopped = flip.flips_stopped.filter(|stop| stop.until_restored_from != backup_id);
    let replaced = world.pointer.map(|p| p.backup_id.clone());
    if replaced.as_ref() != Some(&backup_id) {
        flip.overridden = Some(Override {
            by: "drive-restore".to_owned(),
            reason: format!("instance {} was restored from it and opened its gate", ownership.owner),
            replaces: replaced,
            chosen: backup_id,
        });
    }
    if let (None, Origin::Restored { sequence: Some(at_choice), .. }) = (world.pointer, &ownership.origin) {
        flip.sequence = flip.sequence.max(at_choice.next());
    }
    Decision::Flip(Box::new(flip))
}
