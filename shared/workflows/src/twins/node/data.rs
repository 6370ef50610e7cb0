//! What a node twin holds, and how it looks in a chunk: bytes that carry the data itself, so that a restore gives back
//! what was really there, and a flipped bit is noticed as it is by zstd's and gzip's own checksums.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lifeboat_domain::expectations::TenantStatus;
use lifeboat_domain::ids::Sha256Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The name of the one shard of a collection without tenants.
pub(super) const SHARD: &str = "VG9w3GpadzYm";

/// A collection.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassData {
    /// Its definition.
    pub definition: Value,
    /// Whether it has tenants.
    pub multi_tenant: bool,
    /// Its tenants, or its one shard.
    pub shards: BTreeMap<String, ShardData>,
}

/// A tenant, or the one shard.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardData {
    /// Its activity status; the one shard of a collection without tenants is always active.
    pub status: TenantStatus,
    /// Its objects by id.
    pub objects: BTreeMap<String, ObjectData>,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectData {
    /// Its properties.
    pub properties: Value,
    /// Its vectors by name, as the bits of their numbers, so that JSON cannot round them.
    vectors: BTreeMap<String, Vec<u32>>,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl ObjectData {
    /// An object.
    pub fn new(properties: Value, vectors: &[(&str, &[f32])], updated_at: Timestamp) -> Self {
        let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect();
        let vectors = vectors.iter().map(|(name, numbers)| ((*name).to_owned(), bits(numbers))).collect();
        Self { properties, vectors, updated_at }
    }

    /// Its vectors.
    pub fn vectors(&self) -> BTreeMap<String, Vec<f32>> {
        let numbers = |bits: &Vec<u32>| bits.iter().map(|b| f32::from_bits(*b)).collect();
        self.vectors.iter().map(|(name, bits)| (name.clone(), numbers(bits))).collect()
    }
}

impl ClassData {
    /// A collection without objects.
    pub fn new(name: &str, multi_tenant: bool, distance: &str) -> Self {
        let definition = json!({
            "class": name,
            "multiTenancyConfig": {"enabled": multi_tenant},
            "properties": [{"name": "title", "dataType": ["text"]}, {"name": "n", "dataType": ["int"]}],
            "vectorIndexConfig": {"distance": distance},
            "vectorizer": "none",
        });
        let mut shards = BTreeMap::new();
        if !multi_tenant {
            shards.insert(SHARD.to_owned(), ShardData { status: TenantStatus::Active, objects: BTreeMap::new() });
        }
        Self { definition, multi_tenant, shards }
    }

    /// What `shardingState` says of its shards.
    pub(super) fn sharding_state(&self, name: &str, node: &str) -> Value {
        let physical: BTreeMap<&String, Value> = self
            .shards
            .iter()
            .map(|(shard, data)| {
                let mut entry = json!({"name": shard, "belongsToNodes": [node]});
                if self.multi_tenant {
                    entry["status"] = Value::String(activity(&data.status).to_owned());
                }
                (shard, entry)
            })
            .collect();
        json!({
            "indexID": name, "config": {}, "physical": physical,
            "partitioningEnabled": self.multi_tenant, "replicationFactor": 1
        })
    }

    /// A collection from a descriptor's definition and sharding state, without objects yet.
    pub(super) fn described(definition: Value, sharding_state: &Value) -> Option<Self> {
        let multi_tenant = sharding_state["partitioningEnabled"].as_bool()?;
        let shards = sharding_state["physical"]
            .as_object()?
            .iter()
            .map(|(shard, entry)| {
                let status = entry["status"].as_str().map_or(TenantStatus::Active, status_of);
                (shard.clone(), ShardData { status, objects: BTreeMap::new() })
            })
            .collect();
        Some(Self { definition, multi_tenant, shards })
    }
}

/// The status in Weaviate's older spelling, which descriptors have.
fn activity(status: &TenantStatus) -> &str {
    match status {
        TenantStatus::Active => "HOT",
        TenantStatus::Inactive => "COLD",
        TenantStatus::Offloaded => "FROZEN",
        TenantStatus::Other(text) => text,
    }
}

fn status_of(text: &str) -> TenantStatus {
    match text {
        "HOT" | "ACTIVE" => TenantStatus::Active,
        "COLD" | "INACTIVE" => TenantStatus::Inactive,
        "FROZEN" | "OFFLOADED" => TenantStatus::Offloaded,
        other => TenantStatus::Other(other.to_owned()),
    }
}

/// The bytes of one chunk: a digest of what follows, then the objects of (a part of) one shard.
pub(super) fn chunk(shard: &str, objects: &[(&String, &ObjectData)]) -> Vec<u8> {
    let objects: BTreeMap<&String, &ObjectData> = objects.iter().copied().collect();
    let text = json!({"shard": shard, "objects": objects}).to_string();
    format!("{}\n{text}", Sha256Digest::of(text.as_bytes())).into_bytes()
}

/// The shard and objects of a chunk; `None` when a bit of it was flipped.
pub(super) fn open_chunk(bytes: &[u8]) -> Option<(String, BTreeMap<String, ObjectData>)> {
    let (digest, text) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    if Sha256Digest::of(text.as_bytes()).as_str() != digest {
        return None;
    }
    let mut value: Value = serde_json::from_str(text).ok()?;
    let shard = value["shard"].as_str()?.to_owned();
    Some((shard, serde_json::from_value(value["objects"].take()).ok()?))
}
