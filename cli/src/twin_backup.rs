//! A small published backup in a bucket twin, for the tests of this crate.

use std::collections::BTreeMap;

use lifeboat_domain::document::encode;
use lifeboat_domain::event::Hint;
use lifeboat_domain::expectations::{
    AfterObservation, CollectionExpectation, EvidenceAdapter, Expectations, ObservedAfter,
};
use lifeboat_domain::ids::{BackupId, Generation, InstanceId, Sha256Digest};
use lifeboat_domain::keys::Function;
use lifeboat_domain::keys::Key;
use lifeboat_domain::manifest::Trigger;
use lifeboat_domain::ownership::{Origin, Ownership};
use lifeboat_domain::runs::{Action, Request};
use lifeboat_workflows::flip_manifest::{self, FlipPolicy};
use lifeboat_workflows::invocation::Patience;
use lifeboat_workflows::twins::World;
use lifeboat_workflows::verify_checksums::{self, Ports, VerifyPolicy};
use serde_json::json;

/// The backup's id.
pub(crate) const BACKUP: &str = "b_1";

/// A bucket whose pointer names the backup, put there by the real functions.
pub(crate) async fn published() -> World {
    let world = World::new();
    let bucket = world.bucket();
    let id = BackupId::parse(BACKUP).unwrap();
    let recorded_at = world.now();
    let collection = CollectionExpectation {
        definition_sha256: Sha256Digest::of(b"d"),
        count: 2,
        tenants: BTreeMap::new(),
        canaries: Vec::new(),
    };
    let expectations = Expectations {
        backup_id: id.clone(),
        generation: Generation(1),
        instance: InstanceId::parse("i-0a").unwrap(),
        trigger: Trigger::Schedule,
        is_final: false,
        recorded_at,
        weaviate_version: "1.38.11".into(),
        node_name: "weaviate-0".into(),
        adapter: EvidenceAdapter::Rest,
        freeze: None,
        collections: BTreeMap::from([("Article".to_owned(), collection)]),
    };
    let observed = ObservedAfter {
        backup_id: id.clone(),
        observation: AfterObservation::NodeGone { proof: "it is not listed any more".into() },
    };
    let ownership = Ownership {
        cluster: "weaviate".into(),
        generation: Generation(1),
        owner: expectations.instance.clone(),
        owner_address: "127.16.0.2".into(),
        origin: Origin::Empty,
        opened_at: recorded_at,
    };
    // {"physical":{"s":{"belongsToNodes":["weaviate-0"]}}}
    let sharding = "eyJwaHlzaWNhbCI6eyJzIjp7ImJlbG9uZ3NUb05vZGVzIjpbIndlYXZpYXRlLTAiXX19fQ==";
    let node = json!({"id": BACKUP, "status": "SUCCESS", "error": "", "version": "2.1", "serverVersion": "1.38.11",
        "classes": [{"name": "Article", "chunks": {"1": ["s"]}, "shards": [{"name": "s"}], "shardingState": sharding}]});
    let global = json!({"id": BACKUP, "status": "SUCCESS", "error": "", "version": "2.1", "serverVersion": "1.38.11",
        "nodes": {"weaviate-0": {"classes": ["Article"]}}, "preCompressionSizeBytes": 50, "baseBackupId": ""});
    bucket.put_raw(&Key::Ownership.to_string(), encode(&ownership));
    bucket.put_raw(&Key::Expectations(id.clone()).to_string(), encode(&expectations));
    bucket.put_multipart(&format!("backups/{BACKUP}/weaviate-0/Article/chunk-1"), "the bytes of the only chunk");
    bucket.put_raw(&format!("backups/{BACKUP}/weaviate-0/backup.json"), node.to_string());
    bucket.put_raw(&format!("backups/{BACKUP}/backup_config.json"), global.to_string());
    bucket.put_raw(&Key::ObservedAfter(id.clone()).to_string(), encode(&observed));
    let request = Key::Request(Function::VerifyChecksums, "r1".into()).to_string();
    let asked = Request { by: "ada".into(), reason: "a test".into(), action: Action::Verify { backup_id: id.clone() } };
    bucket.put_raw(&request, encode(&asked));
    let clock = world.clock();
    let ports = Ports { bucket: &bucket, clock: &clock };
    let poll = std::time::Duration::from_secs(2);
    let mut hint = Hint::ObjectCreated { bucket: World::BUCKET.into(), key: request };
    for _ in 0..10 {
        let patience = Patience { until: world.now() + poll, poll };
        let _ = verify_checksums::run(&ports, &VerifyPolicy::new(World::BUCKET), &hint, patience).await.unwrap();
        hint = Hint::Tick;
        let policy = FlipPolicy::new(World::BUCKET, "weaviate", World::GROUP);
        let _ = flip_manifest::run(&ports, &policy, &hint, patience).await.unwrap();
        if bucket.bytes(&Key::Pointer.to_string()).is_some() {
            return world;
        }
        world.advance(std::time::Duration::from_mins(2));
    }
    panic!("the backup is not published: {:#?}", bucket.keys(""))
}
