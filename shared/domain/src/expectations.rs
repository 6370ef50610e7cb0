//! What a restored node must show: counts and canaries, recorded with the backup (DESIGN §4).

pub mod canary;
pub mod compare;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::ids::{BackupId, Generation, InstanceId, Sha256Digest};
use crate::manifest::Trigger;

/// `expectations.json`: read before the backup is asked for, created once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectations {
    /// The backup.
    pub backup_id: BackupId,
    /// The generation of the node.
    pub generation: Generation,
    /// The instance.
    pub instance: InstanceId,
    /// What asked for the backup.
    pub trigger: Trigger,
    /// True for the last backup of a node before it goes.
    pub is_final: bool,
    /// S3's date of the run record: where the recovery point starts.
    pub recorded_at: Timestamp,
    /// Weaviate's version.
    pub weaviate_version: String,
    /// The node's name.
    pub node_name: String,
    /// Which API gave the evidence.
    pub adapter: EvidenceAdapter,
    /// Each collection of the schema, by name.
    pub collections: BTreeMap<String, CollectionExpectation>,
    /// The proof that writers were shut out before it; only a final backup can have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<crate::create::writers::Freeze>,
}

impl Document for Expectations {
    const KIND: &'static str = "expectations";
}

/// Which API gave counts and queries (facts: weaviate.md §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceAdapter {
    /// REST search and aggregate.
    Rest,
    /// GraphQL, deprecated since 2026-10-26.
    Graphql,
}

/// What is expected of one collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionExpectation {
    /// Digest of the class definition: [`canary::definition_digest`].
    pub definition_sha256: Sha256Digest,
    /// Objects; for a multi-tenant collection the sum over the tenants counted.
    pub count: u64,
    /// Each tenant, for a multi-tenant collection; empty for any other.
    pub tenants: BTreeMap<String, TenantExpectation>,
    /// Objects that must still give the same answers.
    pub canaries: Vec<Canary>,
}

/// What is expected of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantExpectation {
    /// Its activity status.
    pub status: TenantStatus,
    /// Its objects; absent for one that is not counted (never woken, or outside the sample).
    pub count: Option<u64>,
}

/// A tenant's activity status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TenantStatus {
    /// Loaded; counted. Older name: HOT.
    Active,
    /// On disk, not loaded; in the backup, never woken. Older name: COLD.
    Inactive,
    /// Not on this node; not in the backup, so not protected. Older name: FROZEN.
    Offloaded,
    /// Anything else, on its way between two of them.
    #[serde(untagged)]
    Other(String),
}

/// One object that must answer as before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// Its tenant.
    pub tenant: Option<String>,
    /// Its id.
    pub id: String,
    /// Digest of its properties as canonical JSON.
    pub properties_sha256: Sha256Digest,
    /// Digest of each vector, by name (`default` for the unnamed one), as little-endian f32.
    pub vectors_sha256: BTreeMap<String, Sha256Digest>,
    /// Queries around it that gave the same answer twice.
    pub queries: Vec<CanaryQuery>,
}

/// A query around a canary, with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum CanaryQuery {
    /// The count of the objects whose property equals this value.
    FilteredCount {
        /// A text, integer or boolean property.
        property: String,
        /// Its value.
        value: serde_json::Value,
        /// The count.
        count: u64,
    },
    /// The ids that BM25 gives, as a set.
    Bm25 {
        /// The query text.
        query: String,
        /// The property searched.
        property: String,
        /// The ids, sorted.
        ids: Vec<String>,
    },
    /// The nearest objects by vector; at least 8 of 10 must come back, its own id first.
    NearObject {
        /// The ids, nearest first.
        ids: Vec<String>,
        /// The named vector that was searched; absent where the objects have one without a name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vector: Option<String>,
    },
}

/// `observed-after.json`: what the node showed after SUCCESS, or the proof that it is gone. Created once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedAfter {
    /// The backup.
    pub backup_id: BackupId,
    /// What was seen.
    pub observation: AfterObservation,
}

impl Document for ObservedAfter {
    const KIND: &'static str = "observed-after";
}

/// What was seen after SUCCESS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum AfterObservation {
    /// The node answered.
    Node {
        /// Counts by collection, as in [`CollectionExpectation::count`].
        counts: BTreeMap<String, u64>,
        /// Counts by collection and tenant, where counted.
        tenant_counts: BTreeMap<String, BTreeMap<String, u64>>,
        /// Canaries whose object was still the same.
        confirmed: Vec<CanaryName>,
        /// Canaries whose object was not; they are not used.
        changed: Vec<CanaryName>,
        /// Confirmed canaries around which a query gave another answer; they are used by id alone.
        #[serde(default)]
        queries_changed: Vec<CanaryName>,
        /// Tenants, by collection, that had another activity status than before, or were gone.
        #[serde(default)]
        tenants_changed: BTreeMap<String, Vec<String>>,
    },
    /// The node is gone: Auto Scaling no longer lists it in service and SSM has lost it.
    NodeGone {
        /// What proves it.
        proof: String,
    },
}

/// Which canary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CanaryName {
    /// Its collection.
    pub collection: String,
    /// Its tenant.
    pub tenant: Option<String>,
    /// Its id.
    pub id: String,
}

impl Expectations {
    /// All objects counted.
    pub fn objects(&self) -> u64 {
        self.collections.values().map(|c| c.count).sum()
    }
}

/// Whether there is nothing to protect: no collection, or none with an object or with a tenant whose objects nobody
/// counted. INACTIVE tenants may hold everything there is; OFFLOADED ones are in no backup.
pub fn nothing_in(collections: &BTreeMap<String, CollectionExpectation>) -> bool {
    collections
        .values()
        .all(|c| c.count == 0 && c.tenants.values().all(|t| t.count.is_some() || t.status == TenantStatus::Offloaded))
}
