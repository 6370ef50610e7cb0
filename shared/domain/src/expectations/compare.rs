//! Holds what a node shows to what was recorded with the backup (DESIGN §4, R5, R6, R24).
//!
//! Refuses to pass anything without evidence: expectations of nothing, another backup's observation, a backup of which
//! no canary can be used. What changed under a writer while the backup was taken is expected within its bracket, and
//! never held against the restored node.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::canary::{agrees, vector_digests};
use super::{
    AfterObservation, Canary, CanaryName, CanaryQuery, CollectionExpectation, Expectations, ObservedAfter,
    TenantExpectation, TenantStatus, nothing_in,
};
use crate::ids::{BackupId, Sha256Digest};
use crate::manifest::Consistency;

/// How far outside its bracket the count of a live or one-sided backup may be, in percent of the bracket's upper end:
/// the snapshot is taken class by class between the two counts, and writers also delete.
pub const LIVE_SHARE_PERCENT: u64 = 1;

/// What a node shows, asked for along the lines of an [`Expectations`].
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Its version.
    pub weaviate_version: String,
    /// Every collection of its schema.
    pub collections: BTreeMap<String, ObservedCollection>,
    /// The canaries that were looked for; `None` for one that is not there.
    pub canaries: BTreeMap<CanaryName, Option<CanarySeen>>,
}

/// What a node shows of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedCollection {
    /// [`super::canary::definition_digest`] of its definition.
    pub definition_sha256: Sha256Digest,
    /// Its objects, for one without tenants; else the sum of what was counted.
    pub count: u64,
    /// Every tenant; counted where the expectations are and it is active.
    pub tenants: BTreeMap<String, TenantExpectation>,
}

/// A canary as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct CanarySeen {
    /// Digest of its properties.
    pub properties_sha256: Sha256Digest,
    /// Digest of each vector.
    pub vectors_sha256: BTreeMap<String, Sha256Digest>,
    /// The answers to its questions, in the order of [`Canary::queries`]; `None` for one that was refused.
    pub answers: Vec<Option<CanaryQuery>>,
}

impl CanarySeen {
    /// What is seen of an object, before its questions are asked.
    pub fn of(properties: &serde_json::Value, vectors: &BTreeMap<String, Vec<f32>>) -> Self {
        Self {
            properties_sha256: super::canary::properties_digest(properties),
            vectors_sha256: vector_digests(vectors),
            answers: Vec::new(),
        }
    }

    fn is(&self, canary: &Canary) -> bool {
        self.properties_sha256 == canary.properties_sha256 && self.vectors_sha256 == canary.vectors_sha256
    }

    fn differing<'c>(&'c self, canary: &'c Canary) -> impl Iterator<Item = &'c CanaryQuery> {
        canary.queries.iter().enumerate().filter_map(|(i, query)| {
            let same = self.answers.get(i).and_then(Option::as_ref).is_some_and(|now| agrees(&canary.id, query, now));
            (!same).then_some(query)
        })
    }
}

/// Which canaries of a backup a restored node is held to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usable {
    /// Them.
    pub canaries: Vec<UsableCanary>,
    /// Collections with objects of which no canary can be used: counted only. The guard treats it as a finding.
    pub counted_only: Vec<String>,
}

/// A canary that a restored node is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsableCanary {
    /// Which.
    pub name: CanaryName,
    /// Whether the queries around it are asked too; false while others wrote.
    pub queries: bool,
}

/// What the counts of a count were, or are allowed to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedCount {
    /// Exactly this.
    Exactly(u64),
    /// In this bracket, or outside it by at most [`LIVE_SHARE_PERCENT`].
    Between(u64, u64),
    /// At least this, less [`LIVE_SHARE_PERCENT`].
    AtLeast(u64),
}

/// Something that a restored node does not show as it should. Any one of them keeps the gate shut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Finding {
    /// The expectations name no collection, no object and no sleeping tenant.
    #[error("the expectations name no collection or no object, so they prove nothing")]
    NothingExpected,
    /// The two documents are not of one backup.
    #[error("expectations of {expectations} were given with an observation of {observed_after}")]
    OtherBackup {
        /// Whose expectations.
        expectations: BackupId,
        /// Whose observation.
        observed_after: BackupId,
    },
    /// No canary of the whole backup can be used, although objects were counted.
    #[error("no canary of the backup can be used, so counts alone would have to prove it")]
    NoCanaryUsable,
    /// A collection is not there.
    #[error("collection {collection} is missing")]
    CollectionMissing {
        /// Which.
        collection: String,
    },
    /// A collection is there that the backup does not have.
    #[error("collection {collection} is not in the backup")]
    CollectionExtra {
        /// Which.
        collection: String,
    },
    /// A collection is defined otherwise, on the same version of Weaviate.
    #[error("the definition of collection {collection} differs")]
    DefinitionDiffers {
        /// Which.
        collection: String,
    },
    /// A count is not what it may be.
    #[error("{collection}{} holds {restored} objects, expected {expected}", of_tenant(.tenant))]
    CountDiffers {
        /// The collection.
        collection: String,
        /// The tenant, where it is one's count.
        tenant: Option<String>,
        /// What it may be.
        expected: ExpectedCount,
        /// What it is.
        restored: u64,
    },
    /// A tenant is not there.
    #[error("{collection} has no tenant {tenant}")]
    TenantMissing {
        /// The collection.
        collection: String,
        /// Which.
        tenant: String,
    },
    /// A tenant has another activity status.
    #[error("{collection}, tenant {tenant} is {restored}, expected {expected}")]
    TenantStatusDiffers {
        /// The collection.
        collection: String,
        /// The tenant.
        tenant: String,
        /// What it should be.
        expected: String,
        /// What it is.
        restored: String,
    },
    /// A canary is not there.
    #[error("the object {} is missing", canary_text(.canary))]
    CanaryMissing {
        /// Which.
        canary: CanaryName,
    },
    /// A canary has other properties or vectors.
    #[error("the object {} has other properties or vectors", canary_text(.canary))]
    CanaryChanged {
        /// Which.
        canary: CanaryName,
    },
    /// A query around a canary gives another answer.
    #[error("the {query} query around {} gives another answer", canary_text(.canary))]
    QueryDiffers {
        /// Which canary.
        canary: CanaryName,
        /// `filtered_count`, `bm25` or `near_object`.
        query: &'static str,
    },
}

impl fmt::Display for ExpectedCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(n) => write!(f, "{n}"),
            Self::Between(low, high) => write!(f, "{low} to {high}"),
            Self::AtLeast(n) => write!(f, "at least {n}"),
        }
    }
}

fn of_tenant(tenant: &Option<String>) -> String {
    tenant.as_ref().map(|t| format!(", tenant {t}")).unwrap_or_default()
}

// The id is customer data, but without it nobody can look: findings stay under manifests/ and runs/ (DESIGN §1.10).
fn canary_text(canary: &CanaryName) -> String {
    format!("{}{} {}", canary.collection, of_tenant(&canary.tenant), canary.id)
}

impl ExpectedCount {
    /// Whether a count is what it may be.
    pub fn admits(self, count: u64) -> bool {
        match self {
            Self::Exactly(n) => count == n,
            Self::Between(low, high) => {
                let slack = share(high);
                (low.saturating_sub(slack)..=high.saturating_add(slack)).contains(&count)
            }
            Self::AtLeast(n) => count >= n.saturating_sub(share(n)),
        }
    }
}

fn share(count: u64) -> u64 {
    count / 100 * LIVE_SHARE_PERCENT
}

/// What a node showed after SUCCESS, held to what was expected before.
pub fn after(expectations: &Expectations, seen: &Observed) -> AfterObservation {
    let mut counts = BTreeMap::new();
    let mut tenant_counts = BTreeMap::new();
    let mut tenants_changed = BTreeMap::new();
    for (name, expected) in &expectations.collections {
        let Some(now) = seen.collections.get(name) else { continue };
        counts.insert(name.clone(), now.count);
        let counted: BTreeMap<String, u64> =
            now.tenants.iter().filter_map(|(tenant, t)| Some((tenant.clone(), t.count?))).collect();
        if !counted.is_empty() {
            tenant_counts.insert(name.clone(), counted);
        }
        let changed: Vec<String> = expected
            .tenants
            .iter()
            .filter(|(tenant, was)| now.tenants.get(*tenant).is_none_or(|is| is.status != was.status))
            .map(|(tenant, _)| tenant.clone())
            .collect();
        if !changed.is_empty() {
            tenants_changed.insert(name.clone(), changed);
        }
    }
    let (mut confirmed, mut changed, mut queries_changed) = (Vec::new(), Vec::new(), Vec::new());
    for (name, canary) in canaries(expectations) {
        match seen.canaries.get(&name) {
            Some(Some(now)) if now.is(canary) => {
                if now.differing(canary).next().is_some() {
                    queries_changed.push(name.clone());
                }
                confirmed.push(name);
            }
            Some(_) | None => changed.push(name),
        }
    }
    AfterObservation::Node { counts, tenant_counts, confirmed, changed, queries_changed, tenants_changed }
}

/// Every canary of the expectations, with its name.
pub fn canaries(expectations: &Expectations) -> impl Iterator<Item = (CanaryName, &Canary)> {
    expectations.collections.iter().flat_map(|(collection, c)| {
        c.canaries.iter().map(move |canary| (CanaryName::new(collection, canary.tenant.as_deref(), &canary.id), canary))
    })
}

/// How exact the counts of a backup are. Equal counts with a changed object or tenant are *live*: somebody wrote, and
/// the snapshot between them need not have had the same count. So is a final backup without the proof that writers were
/// shut out: nobody comes after it to take what it missed, so it must not look better than it is.
pub fn consistency(expectations: &Expectations, after: &ObservedAfter) -> Consistency {
    match &after.observation {
        AfterObservation::NodeGone { .. } => Consistency::OneSided,
        AfterObservation::Node { counts, tenant_counts, changed, tenants_changed, .. } => {
            let equal = expectations.collections.iter().all(|(name, expected)| {
                counts.get(name) == Some(&expected.count)
                    && counted(expected)
                        .all(|(tenant, count)| tenant_counts.get(name).and_then(|t| t.get(tenant)) == Some(&count))
            });
            let frozen = !expectations.is_final || expectations.freeze.is_some();
            if frozen && equal && changed.is_empty() && tenants_changed.is_empty() {
                Consistency::Exact
            } else {
                Consistency::Live
            }
        }
    }
}

fn counted(expected: &CollectionExpectation) -> impl Iterator<Item = (&str, u64)> {
    expected.tenants.iter().filter_map(|(tenant, t)| Some((tenant.as_str(), t.count?)))
}

/// Which canaries a restored node is held to: those confirmed after SUCCESS; the queries around them only when nobody
/// wrote meanwhile. Of a node that is gone nothing was confirmed, so all stand, and [`findings`] is content with one a
/// collection.
pub fn usable(expectations: &Expectations, after: &ObservedAfter) -> Usable {
    let exact = consistency(expectations, after) == Consistency::Exact;
    let stands = |name: &CanaryName| match &after.observation {
        AfterObservation::NodeGone { .. } => Some(false),
        AfterObservation::Node { confirmed, queries_changed, .. } => {
            confirmed.contains(name).then(|| exact && !queries_changed.contains(name))
        }
    };
    let canaries: Vec<UsableCanary> = canaries(expectations)
        .filter_map(|(name, _)| stands(&name).map(|queries| UsableCanary { name, queries }))
        .collect();
    let counted_only = expectations
        .collections
        .iter()
        .filter(|(name, c)| c.count > 0 && !canaries.iter().any(|u| &u.name.collection == *name))
        .map(|(name, _)| name.clone())
        .collect();
    Usable { canaries, counted_only }
}

/// Holds a restored node to what was recorded. Empty means that the evidence passed.
pub fn findings(seen: &Observed, expectations: &Expectations, after: &ObservedAfter) -> Vec<Finding> {
    let mut found = Vec::new();
    if after.backup_id != expectations.backup_id {
        found.push(Finding::OtherBackup {
            expectations: expectations.backup_id.clone(),
            observed_after: after.backup_id.clone(),
        });
    }
    if nothing_in(&expectations.collections) {
        found.push(Finding::NothingExpected);
        return found;
    }
    let consistency = consistency(expectations, after);
    for (name, expected) in &expectations.collections {
        let Some(now) = seen.collections.get(name) else {
            found.push(Finding::CollectionMissing { collection: name.clone() });
            continue;
        };
        // A newer server adds settings with their defaults, so only the same version must define it alike.
        if now.definition_sha256 != expected.definition_sha256 && seen.weaviate_version == expectations.weaviate_version
        {
            found.push(Finding::DefinitionDiffers { collection: name.clone() });
        }
        if expected.tenants.is_empty() {
            let before = expected.count;
            let expected = match &after.observation {
                AfterObservation::Node { counts, .. } => allowed(consistency, before, counts.get(name).copied()),
                AfterObservation::NodeGone { .. } => allowed(consistency, before, None),
            };
            if !expected.admits(now.count) {
                let (collection, restored) = (name.clone(), now.count);
                found.push(Finding::CountDiffers { collection, tenant: None, expected, restored });
            }
        } else {
            tenant_findings(name, expected, &now.tenants, &after.observation, consistency, &mut found);
        }
    }
    let extra = seen.collections.keys().filter(|name| !expectations.collections.contains_key(*name));
    found.extend(extra.map(|name| Finding::CollectionExtra { collection: name.clone() }));
    canary_findings(seen, expectations, after, consistency, &mut found);
    found
}

fn allowed(consistency: Consistency, before: u64, after: Option<u64>) -> ExpectedCount {
    match consistency {
        Consistency::Exact => ExpectedCount::Exactly(before),
        Consistency::OneSided => ExpectedCount::AtLeast(before),
        Consistency::Live => {
            let after = after.unwrap_or(0);
            ExpectedCount::Between(before.min(after), before.max(after))
        }
    }
}

mod parts;
use parts::{canary_findings, tenant_findings};

impl fmt::Display for TenantStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Offloaded => "OFFLOADED",
            Self::Other(text) => text,
        })
    }
}

#[cfg(test)]
mod tests;
