//! What the guard decides by itself.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Flip, World};
use crate::expectations::{AfterObservation, Expectations, ObservedAfter, TenantStatus};
use crate::ids::{BackupId, Generation};
use crate::manifest::GuardDecision;
use crate::verify::VerifiedManifest;

/// What is weighed of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The backup.
    pub backup_id: BackupId,
    /// The generation of the node that it was taken from.
    pub generation: Generation,
    /// Where its recovery point starts.
    pub data_as_of: Timestamp,
    /// Its collections.
    pub collections: BTreeSet<String>,
    /// Objects that it surely has: of each collection the lower of the counts before and after.
    pub objects: u64,
    /// Tenants that are in it and that nobody counted: they are never woken.
    pub uncounted_tenants: u64,
}

impl Candidate {
    /// What the recorded observations say of a backup.
    pub fn of(expectations: &Expectations, observed: &ObservedAfter) -> Self {
        let after = |name: &str, before: u64| match &observed.observation {
            AfterObservation::Node { counts, .. } => counts.get(name).copied().unwrap_or(0).min(before),
            AfterObservation::NodeGone { .. } => before,
        };
        let tenants = expectations.collections.values().flat_map(|c| c.tenants.values());
        Self {
            backup_id: expectations.backup_id.clone(),
            generation: expectations.generation,
            data_as_of: expectations.recorded_at,
            collections: expectations.collections.keys().cloned().collect(),
            objects: expectations.collections.iter().map(|(name, c)| after(name, c.count)).sum(),
            uncounted_tenants: tenants.filter(|t| t.count.is_none() && t.status != TenantStatus::Offloaded).count()
                as u64,
        }
    }

    /// Whether nothing at all would be protected by it.
    pub(super) fn is_empty(&self) -> bool {
        self.collections.is_empty() || (self.objects == 0 && self.uncounted_tenants == 0)
    }
}

/// What the guard tolerates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The share of the published backup's objects that may be missing, in percent.
    pub objects_lost_percent_max: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { objects_lost_percent_max: 10 }
    }
}

/// What is to be done with the pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Move it.
    Flip(Box<Flip>),
    /// It names the backup, or named it just before: nothing is to be done.
    AlreadyPublished,
    /// Keep the backup, and ask.
    Hold {
        /// Why.
        reasons: Vec<HoldReason>,
    },
    /// Keep the backup; it never becomes latest by itself.
    Refuse {
        /// Why.
        reasons: Vec<RefuseReason>,
    },
    /// Decide later.
    Wait(WaitReason),
}

impl Decision {
    /// The decision as a manifest records it; `None` when there is none yet.
    pub fn recorded(&self) -> Option<GuardDecision> {
        match self {
            Self::Flip(_) | Self::AlreadyPublished => Some(GuardDecision::Publish),
            Self::Hold { reasons } => {
                Some(GuardDecision::Hold { reasons: reasons.iter().map(ToString::to_string).collect() })
            }
            Self::Refuse { reasons } => {
                Some(GuardDecision::Refuse { reasons: reasons.iter().map(ToString::to_string).collect() })
            }
            Self::Wait(_) => None,
        }
    }
}

/// Why a backup is held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldReason {
    /// Collections are gone.
    #[error(
        "collections {names:?} of the published backup are gone; if that was meant: lifeboat approve, else reject it"
    )]
    LostCollections {
        /// Which.
        names: Vec<String>,
    },
    /// Too many objects are gone.
    #[error(
        "it has {objects} objects, the published backup {published}: more than {percent_max} % are gone; \
         if that was meant: lifeboat approve, else reject it"
    )]
    LostObjects {
        /// The candidate's.
        objects: u64,
        /// The pointer's.
        published: u64,
        /// The allowed share.
        percent_max: u8,
    },
}

/// Why a backup is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefuseReason {
    /// The pointer or the ownership is another cluster's.
    #[error("{document} is of cluster {found:?}, this is {cluster:?}; check the bucket and ClusterName parameters")]
    OtherCluster {
        /// Which document.
        document: &'static str,
        /// Its cluster.
        found: String,
        /// Ours.
        cluster: String,
    },
    /// The node it was taken from does not own the data now.
    #[error("it was taken from generation {generation}, the data is owned by generation {current}")]
    NotCurrentGeneration {
        /// The backup's.
        generation: Generation,
        /// The owner's.
        current: Generation,
    },
    /// The pointer stands for a later generation.
    #[error("it was taken from generation {generation}, the pointer stands for generation {pointer}")]
    BelowPointerGeneration {
        /// The backup's.
        generation: Generation,
        /// The pointer's.
        pointer: Generation,
    },
    /// Newer data is published already.
    #[error("its data is as of {data_as_of}, the pointer's as of {published}")]
    NotLater {
        /// The backup's.
        data_as_of: Timestamp,
        /// The pointer's.
        published: Timestamp,
    },
    /// A person rolled back.
    #[error("{by} stopped flips by a rollback to {until}: {reason}; lifeboat resume flips lifts the stop")]
    FlipsStopped {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// The backup rolled back to.
        until: BackupId,
    },
    /// It protects nothing.
    #[error("its expectations are empty: no collections, or no objects in any")]
    EmptyExpectations,
    /// There is no pointer to go back from.
    #[error("nothing was ever published, so there is nothing to go back from")]
    NoPointer,
    /// The pointer names it already.
    #[error("the pointer names it already")]
    NamedAlready,
    /// There is no stop to lift.
    #[error("flips are not stopped")]
    NotStopped,
}

/// Why there is no decision yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitReason {
    /// Nobody owns the data, so no lineage can be told.
    #[error("ownership.json is missing, so the current generation is unknown; nothing is published until it is there")]
    NoOwnership,
}

/// Who the pointer says wrote it when the guard alone decided.
const GUARD: &str = "flip-manifest";

/// Decides whether a verified backup becomes latest.
pub fn decide(candidate: &Candidate, world: &World<'_>, limits: Limits) -> Decision {
    let holds = holds(candidate, world, limits);
    match allowed(candidate, world) {
        Ok(generation) if holds.is_empty() => {
            Decision::Flip(Box::new(Flip::following(world, &candidate.backup_id, generation, GUARD.to_owned())))
        }
        Ok(_) => Decision::Hold { reasons: holds },
        Err(decision) => decision,
    }
}

/// Whether the rules that nobody can waive allow a flip to this backup; else what to do instead.
pub(super) fn allowed(candidate: &Candidate, world: &World<'_>) -> Result<Generation, Decision> {
    let foreign = foreign(world);
    if !foreign.is_empty() {
        return Err(Decision::Refuse { reasons: foreign });
    }
    let named = |id: &BackupId| *id == candidate.backup_id;
    if world.pointer.is_some_and(|p| named(&p.backup_id) || p.previous.as_ref().is_some_and(|p| named(&p.backup_id))) {
        return Err(Decision::AlreadyPublished);
    }
    let Some(ownership) = world.ownership else {
        return Err(Decision::Wait(WaitReason::NoOwnership));
    };
    let mut reasons = Vec::new();
    let generation = candidate.generation;
    if generation != ownership.generation {
        reasons.push(RefuseReason::NotCurrentGeneration { generation, current: ownership.generation });
    }
    if candidate.is_empty() {
        reasons.push(RefuseReason::EmptyExpectations);
    }
    if let Some(pointer) = world.pointer {
        if generation < pointer.generation {
            reasons.push(RefuseReason::BelowPointerGeneration { generation, pointer: pointer.generation });
        }
        if candidate.data_as_of <= pointer.data_as_of {
            let (data_as_of, published) = (candidate.data_as_of, pointer.data_as_of);
            reasons.push(RefuseReason::NotLater { data_as_of, published });
        }
        if let Some(stop) = &pointer.flips_stopped {
            reasons.push(RefuseReason::FlipsStopped {
                by: stop.by.clone(),
                reason: stop.reason.clone(),
                until: stop.until_restored_from.clone(),
            });
        }
    }
    if reasons.is_empty() { Ok(generation) } else { Err(Decision::Refuse { reasons }) }
}

/// Documents of another cluster: a wrong bucket or parameter, on which nothing may be decided.
pub(super) fn foreign(world: &World<'_>) -> Vec<RefuseReason> {
    let documents =
        [("the pointer", world.pointer.map(|p| &p.cluster)), ("ownership.json", world.ownership.map(|o| &o.cluster))];
    let other = |(document, found): (&'static str, Option<&String>)| {
        found.filter(|found| *found != world.cluster).map(|found| RefuseReason::OtherCluster {
            document,
            found: found.clone(),
            cluster: world.cluster.to_owned(),
        })
    };
    documents.into_iter().filter_map(other).collect()
}

fn holds(candidate: &Candidate, world: &World<'_>, limits: Limits) -> Vec<HoldReason> {
    let mut reasons = Vec::new();
    let Some(baseline) = world.baseline.map(VerifiedManifest::manifest) else {
        return reasons;
    };
    let published: BTreeSet<String> = baseline.engine.returned_classes.iter().cloned().collect();
    let names: Vec<String> = published.difference(&candidate.collections).cloned().collect();
    if !names.is_empty() {
        reasons.push(HoldReason::LostCollections { names });
    }
    let published = baseline.totals.objects;
    let lost = u128::from(published.saturating_sub(candidate.objects));
    if lost * 100 > u128::from(published) * u128::from(limits.objects_lost_percent_max) {
        reasons.push(HoldReason::LostObjects {
            objects: candidate.objects,
            published,
            percent_max: limits.objects_lost_percent_max,
        });
    }
    reasons
}
