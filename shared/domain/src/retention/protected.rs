//! What must not be touched, whatever the policy says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::World;
use crate::ids::BackupId;

/// Why a backup must stay (DESIGN §1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// The pointer names it.
    Pointer,
    /// The pointer named it before.
    Previous,
    /// The owner of the data was restored from it.
    Owner,
    /// The newest final backup that was published.
    NewestFinal,
    /// The newest backup that a drill restored.
    NewestDrilled,
    /// People pinned it.
    Pinned,
    /// A restore or a drill uses it, or a person asked for one.
    InUse,
    /// It waits for a person's decision.
    Held,
    /// It is being taken or verified, or has no verdict.
    Unverified,
    /// A backup that stays is built on it.
    Base,
    /// It is not ours: nothing on record says that we asked for it.
    NotOurs,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pointer => "the pointer names it",
            Self::Previous => "the pointer named it before",
            Self::Owner => "the owner of the data was restored from it",
            Self::NewestFinal => "it is the newest final backup",
            Self::NewestDrilled => "it is the newest that a drill restored",
            Self::Pinned => "it is pinned",
            Self::InUse => "a restore or a drill uses it",
            Self::Held => "it waits for approve or reject",
            Self::Unverified => "it has no verdict yet",
            Self::Base => "a backup that stays is built on it",
            Self::NotOurs => "nothing on record says that Lifeboat asked for it",
        })
    }
}

/// Every protected backup with all its reasons. A base is protected by what stands on it, however long the chain.
pub fn protected(world: &World) -> BTreeMap<BackupId, BTreeSet<Protection>> {
    let mut found: BTreeMap<BackupId, BTreeSet<Protection>> = BTreeMap::new();
    let mut add = |id: &BackupId, why| {
        found.entry(id.clone()).or_default().insert(why);
    };
    for (id, why) in [
        (&world.pointer, Protection::Pointer),
        (&world.previous, Protection::Previous),
        (&world.owner, Protection::Owner),
    ] {
        if let Some(id) = id {
            add(id, why);
        }
    }
    world.in_use.iter().for_each(|id| add(id, Protection::InUse));
    world.unverified.iter().for_each(|id| add(id, Protection::Unverified));
    for backup in &world.backups {
        let known = backup.manifest.as_ref();
        for (holds, why) in [
            (backup.pinned, Protection::Pinned),
            (known.is_some_and(|k| k.held), Protection::Held),
            (known.is_none() && !backup.ours, Protection::NotOurs),
        ] {
            if holds {
                add(&backup.id, why);
            }
        }
    }
    let finals = world.backups.iter().filter_map(|b| {
        let known = b.manifest.as_ref().filter(|k| k.is_final && k.published)?;
        Some((known.data_as_of, &b.id))
    });
    let drilled = world.backups.iter().filter_map(|b| Some((b.drilled?, &b.id)));
    for (newest, why) in [(finals.max(), Protection::NewestFinal), (drilled.max(), Protection::NewestDrilled)] {
        if let Some((_, id)) = newest {
            add(id, why);
        }
    }
    found
}

/// Adds the bases of everything that stays, to the end of each chain.
pub(super) fn with_bases(
    world: &World,
    mut staying: BTreeMap<BackupId, BTreeSet<Protection>>,
    kept: &BTreeSet<BackupId>,
) -> BTreeMap<BackupId, BTreeSet<Protection>> {
    let base_of: BTreeMap<&BackupId, &BackupId> =
        world.backups.iter().filter_map(|b| Some((&b.id, b.manifest.as_ref()?.base.as_ref()?))).collect();
    let mut to_follow: Vec<BackupId> = staying.keys().chain(kept).cloned().collect();
    while let Some(id) = to_follow.pop() {
        if let Some(base) = base_of.get(&id)
            && staying.entry((*base).clone()).or_default().insert(Protection::Base)
        {
            to_follow.push((*base).clone());
        }
    }
    staying
}
