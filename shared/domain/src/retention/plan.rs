//! What is done to each backup now.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::protected::with_bases;
use super::{Backup, Policy, Protection, World, protected};
use crate::ids::BackupId;

/// What is done to one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "act")]
pub enum Act {
    /// It gets a tombstone: the policy no longer asks for it.
    Bury {
        /// Why.
        reason: String,
    },
    /// Its tombstone is taken back: something needs it, or the policy asks for it again.
    Reprieve {
        /// Why.
        reason: String,
    },
    /// Its tombstone has stood for the grace, and still nothing needs it: its data goes behind delete markers.
    DeleteData,
    /// Its data has been gone for the time that evidence outlives it: its manifest and evidence go too.
    DeleteEvidence,
}

/// What is done, and what stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What is done, by backup.
    pub acts: BTreeMap<BackupId, Act>,
    /// What stays and why, in words.
    pub stays: BTreeMap<BackupId, Vec<String>>,
}

/// Why nothing at all is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refusal")]
pub enum Refusal {
    /// Manifests that exist cannot be read: one of them may be the base, or the only good copy, of anything.
    #[error("{} cannot be read; nothing is deleted until it is mended or its last good version is put back", keys.join(", "))]
    Unreadable {
        /// Their keys.
        keys: Vec<String>,
    },
    /// No pointer, but published backups: then nobody knows what is latest.
    #[error("there are published backups but no pointer; nothing is deleted until it is put back")]
    NoPointer,
    /// The pointer names a backup of which there is no manifest.
    #[error("the pointer names {backup_id}, of which there is no manifest; nothing is deleted until it is put back")]
    PointerDangles {
        /// What it names.
        backup_id: BackupId,
    },
}

/// What to do now. `now` is S3's date of a fresh write, so that no clock of ours can shorten a grace.
///
/// # Guarantees
/// Nothing that [`protected()`] names gets [`Act::Bury`] or [`Act::DeleteData`]; at least `published_min` published
/// backups with data stay (all, if there are fewer); nothing is deleted without a tombstone that is older than the grace.
pub fn plan(world: &World, policy: &Policy, now: Timestamp) -> Result<Plan, Refusal> {
    refuse(world)?;
    let wanted = wanted(world, policy);
    let stay = with_bases(world, protected(world), &wanted.keys().cloned().collect());
    let mut plan = Plan::default();
    for backup in &world.backups {
        let id = &backup.id;
        let mut reasons: Vec<String> =
            stay.get(id).map(|why| why.iter().map(Protection::to_string).collect()).unwrap_or_default();
        reasons.extend(wanted.get(id).map(|kept| format!("the policy keeps it as {}", kept.join(", "))));
        let act = if backup.data.is_none() {
            match (backup.deleted, backup.tombstone) {
                (Some(at), _) if passed(at, policy.evidence, now) && reasons.is_empty() => Some(Act::DeleteEvidence),
                // Who deleted it died before saying so.
                (None, Some(_)) => Some(Act::DeleteData),
                (Some(_) | None, _) => None,
            }
        } else if reasons.is_empty() {
            unneeded(backup, policy, now).filter(|act| *act != Act::DeleteData || !stood_on(world, id))
        } else {
            backup.tombstone.map(|_| Act::Reprieve { reason: reasons.join("; ") })
        };
        match act {
            Some(act) => {
                plan.acts.insert(id.clone(), act);
            }
            None => {
                plan.stays.insert(id.clone(), reasons);
            }
        }
    }
    Ok(plan)
}

/// Whether a backup with data is built on this one. The base of a chain goes after what stands on it, never with it: until
/// then whoever takes the other's tombstone back finds the chain whole.
fn stood_on(world: &World, id: &BackupId) -> bool {
    let base = |b: &Backup| b.manifest.as_ref().and_then(|k| k.base.clone());
    world.backups.iter().any(|b| b.data.is_some() && base(b).as_ref() == Some(id))
}

fn refuse(world: &World) -> Result<(), Refusal> {
    if !world.unreadable.is_empty() {
        return Err(Refusal::Unreadable { keys: world.unreadable.clone() });
    }
    let published = |b: &Backup| b.manifest.as_ref().is_some_and(|k| k.published);
    match &world.pointer {
        None if world.backups.iter().any(published) => Err(Refusal::NoPointer),
        Some(named) if !world.backups.iter().any(|b| b.id == *named && b.manifest.is_some()) => {
            Err(Refusal::PointerDangles { backup_id: named.clone() })
        }
        None | Some(_) => Ok(()),
    }
}

/// What happens to a backup with data that nothing needs.
fn unneeded(backup: &Backup, policy: &Policy, now: Timestamp) -> Option<Act> {
    let published = backup.manifest.as_ref().is_some_and(|k| k.published);
    match (backup.tombstone, backup.data) {
        (Some(at), _) => passed(at, policy.grace, now).then_some(Act::DeleteData),
        (None, _) if published => Some(Act::Bury { reason: Unwanted::Superseded.to_string() }),
        (None, Some(at)) => {
            passed(at, policy.unpublished, now).then(|| Act::Bury { reason: Unwanted::Unpublished.to_string() })
        }
        (None, None) => None,
    }
}

enum Unwanted {
    Superseded,
    Unpublished,
}

impl fmt::Display for Unwanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "newer published backups take its place in every row of the policy",
            Self::Unpublished => "it was never published, and nobody asked for it since",
        })
    }
}

fn passed(since: Timestamp, span: Duration, now: Timestamp) -> bool {
    now.as_millisecond() - since.as_millisecond() >= i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// The published backups with data that the policy asks for, each with the rows that ask.
fn wanted(world: &World, policy: &Policy) -> BTreeMap<BackupId, Vec<String>> {
    let mut published: Vec<(Timestamp, &BackupId)> = world
        .backups
        .iter()
        .filter(|b| b.data.is_some() && !b.excluded)
        .filter_map(|b| Some((b.manifest.as_ref().filter(|k| k.published)?.data_as_of, &b.id)))
        .collect();
    published.sort();
    published.reverse();
    let mut wanted: BTreeMap<BackupId, Vec<String>> = BTreeMap::new();
    let mut want = |id: &BackupId, row: String| wanted.entry(id.clone()).or_default().push(row);
    let last = policy.last.max(policy.published_min) as usize;
    for (_, id) in published.iter().take(last) {
        want(id, format!("one of the last {last}"));
    }
    for (periods, name, period) in [
        (policy.daily, "day", day as fn(Timestamp) -> (i16, i16)),
        (policy.weekly, "week", week),
        (policy.monthly, "month", month),
    ] {
        let mut seen = BTreeSet::new();
        for (at, id) in &published {
            if seen.len() < periods as usize && seen.insert(period(*at)) {
                want(id, format!("the newest of its {name}"));
            }
        }
    }
    wanted
}

fn day(at: Timestamp) -> (i16, i16) {
    let date = at.to_zoned(TimeZone::UTC).date();
    (date.year(), date.day_of_year())
}

fn week(at: Timestamp) -> (i16, i16) {
    let week = at.to_zoned(TimeZone::UTC).date().iso_week_date();
    (week.year(), i16::from(week.week()))
}

fn month(at: Timestamp) -> (i16, i16) {
    let date = at.to_zoned(TimeZone::UTC).date();
    (date.year(), i16::from(date.month()))
}
