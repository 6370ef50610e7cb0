//! A small whole backup, for the tests of this crate; each test then breaks one thing.

use std::collections::BTreeMap;

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::descriptors::{self, Descriptors};
use super::inventory::{Content, Entry};
use super::proof::{Composition, StoredProof};
use super::{Fold, VerifiedBackup, VerifiedManifest};
use crate::document::encode;
use crate::expectations::{
    AfterObservation, CollectionExpectation, EvidenceAdapter, Expectations, ObservedAfter, TenantExpectation,
    TenantStatus,
};
use crate::ids::{BackupId, Generation, InstanceId, Sha256Digest};
use crate::keys::Key;
use crate::manifest::{CatalogueRow, GuardDecision, Manifest, Trigger};
use crate::pointer::ManifestRef;

pub(crate) const NODE: &str = "weaviate-0";

#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) id: BackupId,
    pub(crate) global: Value,
    pub(crate) node: Value,
    pub(crate) entries: Vec<Entry>,
    pub(crate) expectations: Expectations,
    pub(crate) observed: ObservedAfter,
}

pub(crate) fn id(text: &str) -> BackupId {
    BackupId::parse(text).unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

pub(crate) fn sharding(value: &Value) -> String {
    base64::engine::general_purpose::STANDARD.encode(value.to_string())
}

pub(crate) fn entry(key: &str, version: &str, size_bytes: u64) -> Entry {
    Entry {
        key: key.into(),
        version_id: Some(version.into()),
        is_latest: true,
        content: Content::Object { size_bytes, etag: format!("\"{version}\"") },
        last_modified: at(0),
    }
}

pub(crate) fn expectations(id: &BackupId, generation: u64, as_of: i64, counts: &[(&str, u64)]) -> Expectations {
    let collection = |count| CollectionExpectation {
        definition_sha256: Sha256Digest::of(b"definition"),
        count,
        tenants: BTreeMap::new(),
        canaries: Vec::new(),
    };
    Expectations {
        backup_id: id.clone(),
        generation: Generation(generation),
        instance: InstanceId::parse("i-0a").unwrap(),
        trigger: Trigger::Schedule,
        is_final: false,
        recorded_at: at(as_of),
        weaviate_version: "1.38.11".into(),
        node_name: NODE.into(),
        adapter: EvidenceAdapter::Rest,
        collections: counts.iter().map(|(name, count)| ((*name).to_owned(), collection(*count))).collect(),
        freeze: None,
    }
}

pub(crate) fn observed(expectations: &Expectations) -> ObservedAfter {
    ObservedAfter {
        backup_id: expectations.backup_id.clone(),
        observation: AfterObservation::Node {
            counts: expectations.collections.iter().map(|(name, c)| (name.clone(), c.count)).collect(),
            tenant_counts: BTreeMap::new(),
            confirmed: Vec::new(),
            changed: Vec::new(),
            queries_changed: Vec::new(),
            tenants_changed: BTreeMap::new(),
        },
    }
}

impl Sample {
    /// `Article` with one shard in two chunks, `Tenanted` with an active, an inactive and an offloaded tenant.
    pub(crate) fn new() -> Self {
        let id = id("b_1");
        let physical = |tenants: &[(&str, &str)]| {
            let shard = |status: &str| json!({"belongsToNodes": [NODE], "status": status});
            let map: BTreeMap<&str, Value> = tenants.iter().map(|(n, s)| (*n, shard(s))).collect();
            sharding(&json!({ "physical": map }))
        };
        let node = json!({"id": "b_1", "status": "SUCCESS", "error": "", "classes": [
            {"name": "Article", "chunks": {"1": ["s1"], "2": ["s1"]}, "shards": [{"name": "s1"}],
             "shardingState": physical(&[("s1", "")])},
            {"name": "Tenanted", "chunks": {"1": ["hot"], "2": ["cold"]},
             "shards": [{"name": "hot", "incrementalBackupInfo": {}}, {"name": "cold"}],
             "shardingState": physical(&[("hot", "HOT"), ("cold", "COLD"), ("gone", "FROZEN")])}]});
        let global = json!({"id": "b_1", "status": "SUCCESS", "error": "", "version": "2.1",
            "serverVersion": "1.38.11", "compressionType": "zstd", "baseBackupId": "", "preCompressionSizeBytes": 9,
            "nodes": {NODE: {"classes": ["Article", "Tenanted"]}}});
        let mut expectations = expectations(&id, 1, 100, &[("Article", 25), ("Tenanted", 8)]);
        let tenant = |status, count| TenantExpectation { status, count };
        expectations.collections.get_mut("Tenanted").unwrap().tenants = BTreeMap::from([
            ("hot".to_owned(), tenant(TenantStatus::Active, Some(8))),
            ("cold".to_owned(), tenant(TenantStatus::Inactive, None)),
            ("gone".to_owned(), tenant(TenantStatus::Offloaded, None)),
        ]);
        let mut observed = observed(&expectations);
        if let AfterObservation::Node { tenant_counts, .. } = &mut observed.observation {
            tenant_counts.insert("Tenanted".to_owned(), BTreeMap::from([("hot".to_owned(), 8)]));
        }
        let paths = ["Article/chunk-1", "Article/chunk-2", "Tenanted/chunk-1", "Tenanted/chunk-2", "backup.json"];
        let mut entries: Vec<Entry> = paths.iter().map(|p| entry(&format!("backups/b_1/{NODE}/{p}"), p, 10)).collect();
        let mut started = entry("backups/b_1/backup_config.json", "started", 9);
        started.is_latest = false;
        entries.extend([entry("backups/b_1/backup_config.json", "success", 10), started]);
        Self { id, global, node, entries, expectations, observed }
    }

    pub(crate) fn descriptors(&self) -> Descriptors {
        let (global, node) = (self.global.to_string(), self.node.to_string());
        let node_digest = Sha256Digest::of(node.as_bytes());
        let parsed = descriptors::parse_node(&self.id, NODE, node.as_bytes()).unwrap();
        Descriptors {
            global: descriptors::parse_global(&self.id, global.as_bytes()).unwrap(),
            global_sha256: Sha256Digest::of(global.as_bytes()),
            nodes: BTreeMap::from([(NODE.to_owned(), (parsed, node_digest))]),
        }
    }

    /// What reading every current object gives.
    pub(crate) fn rows(&self) -> Vec<CatalogueRow> {
        let descriptors = self.descriptors();
        let rows = self.entries.iter().filter(|e| e.is_latest).filter_map(|e| match &e.content {
            Content::Object { size_bytes, etag } => Some(CatalogueRow {
                key: e.key.clone(),
                size_bytes: *size_bytes,
                sha256: match e.key.rsplit('/').next() {
                    Some("backup.json") => descriptors.nodes[NODE].1.clone(),
                    Some("backup_config.json") => descriptors.global_sha256.clone(),
                    Some(_) | None => Sha256Digest::of(e.key.as_bytes()),
                },
                etag: etag.clone(),
                version_id: e.version_id.clone(),
            }),
            Content::DeleteMarker => None,
        });
        rows.collect()
    }

    pub(crate) fn proved(&self) -> Result<VerifiedBackup, Vec<super::Finding>> {
        let fold = Fold { rows: self.rows(), findings: Vec::new(), notes: Vec::new() };
        let (before, after) = (encode(&self.expectations), encode(&self.observed));
        let expectations = (self.expectations.clone(), before.as_slice());
        let observed = (self.observed.clone(), after.as_slice());
        VerifiedBackup::prove(&self.id, fold, self.descriptors(), expectations, observed)
    }

    /// The four documents of the proof, with this decision.
    pub(crate) fn stored(&self, decision: GuardDecision) -> Stored {
        let backup = self.proved().unwrap();
        let manifest = backup.manifest(Composition {
            tool_version: "0.1.0",
            cluster: "c",
            group: "g",
            decision,
            verified_at: at(500),
        });
        Stored {
            id: self.id.clone(),
            catalogue: backup.catalogue(),
            expectations: encode(&self.expectations),
            observed_after: encode(&self.observed),
            manifest,
        }
    }
}

/// The documents of a proof, to be broken.
pub(crate) struct Stored {
    pub(crate) id: BackupId,
    pub(crate) manifest: Manifest,
    pub(crate) catalogue: Vec<u8>,
    pub(crate) expectations: Vec<u8>,
    pub(crate) observed_after: Vec<u8>,
}

impl Stored {
    pub(crate) fn check(&self) -> Result<VerifiedManifest, super::ProofError> {
        self.check_as(None)
    }

    pub(crate) fn check_named_by(&self, pointer: &ManifestRef) -> Result<VerifiedManifest, super::ProofError> {
        self.check_as(Some(pointer))
    }

    fn check_as(&self, named_by: Option<&ManifestRef>) -> Result<VerifiedManifest, super::ProofError> {
        let manifest = encode(&self.manifest.clone().sealed());
        let stored = StoredProof {
            manifest: &manifest,
            manifest_version_id: Some("m1"),
            catalogue: &self.catalogue,
            expectations: &self.expectations,
            observed_after: &self.observed_after,
        };
        VerifiedManifest::check(&self.id, named_by, stored)
    }
}

/// A proof of a backup of `Article` with this many objects.
pub(crate) fn proof(name: &str, generation: u64, as_of: i64, counts: &[(&str, u64)]) -> VerifiedManifest {
    let id = id(name);
    let prefix = Key::backup_prefix(&id);
    let classes: Vec<&str> = counts.iter().map(|(class, _)| *class).collect();
    let class = |name: &str| {
        json!({"name": name, "chunks": {"1": ["s"]}, "shards": [{"name": "s"}],
               "shardingState": sharding(&json!({"physical": {"s": {"belongsToNodes": [NODE]}}}))})
    };
    let nodes: Vec<Value> = classes.iter().map(|c| class(c)).collect();
    let mut entries = vec![
        entry(&format!("{prefix}backup_config.json"), "g", 1),
        entry(&format!("{prefix}{NODE}/backup.json"), "n", 1),
    ];
    entries.extend(classes.iter().map(|c| entry(&format!("{prefix}{NODE}/{c}/chunk-1"), c, 1)));
    let expectations = expectations(&id, generation, as_of, counts);
    let observed = observed(&expectations);
    let global = json!({"id": name, "status": "SUCCESS", "version": "2.1", "serverVersion": "1.38.11",
        "nodes": {NODE: {"classes": classes}}});
    let node = json!({"id": name, "status": "SUCCESS", "classes": nodes});
    let sample = Sample { id, global, node, entries, expectations, observed };
    sample.stored(GuardDecision::Publish).check().unwrap()
}
