use std::time::Duration;

use lifeboat_domain::expectations::{EvidenceAdapter, TenantStatus};
use lifeboat_domain::ids::{BackupId, InstanceId};
use lifeboat_domain::weaviate::{GlobalDescriptor, NodeDescriptor, OperationStatus};
use serde_json::json;

use super::super::*;
use crate::ports::node::{Equals, NodeError, Place};
use crate::ports::{Node, Nodes};

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn id(text: &str) -> BackupId {
    BackupId::parse(text).unwrap()
}

pub(super) fn place(class: &str, tenant: Option<&str>) -> Place {
    Place { class: class.to_owned(), tenant: tenant.map(str::to_owned) }
}

pub(super) fn seeded() -> (World, InstanceId, NodeTwin) {
    let (world, instance) = World::serving();
    world.node(&instance).seed();
    let node = world.nodes().at(&world.address_of(&instance));
    (world, instance, node)
}

pub(super) fn says(error: NodeError) -> String {
    error.to_string()
}

#[tokio::test]
async fn a_backup_is_written_as_weaviate_writes_it_and_says_success_a_moment_early() {
    let (world, _, node) = seeded();
    let bucket = world.bucket();
    let accepted = node.create_backup(&id("b1"), &[]).await.unwrap();
    assert_eq!(accepted.classes, ["Article", "Note", "Tenanted"]);
    assert_eq!(bucket.keys("backups/"), ["backups/b1/backup_config.json"]);
    assert_eq!(bucket.json("backups/b1/backup_config.json").unwrap()["status"], "STARTED");
    assert_eq!(node.backup_status(&id("b1")).await.unwrap().status, OperationStatus::Started);
    let before = bucket.json("backups/b1/backup_config.json").unwrap();
    world.set(|s| s.call_takes = Duration::ZERO);
    world.advance(Duration::from_millis(1995));
    assert_eq!(node.backup_status(&id("b1")).await.unwrap().status, OperationStatus::Success, "from memory");
    assert_eq!(bucket.json("backups/b1/backup_config.json").unwrap(), before, "and the store says STARTED");
    world.advance(Duration::from_millis(50));
    let global = bucket.bytes("backups/b1/backup_config.json").unwrap();
    let global: GlobalDescriptor = serde_json::from_slice(&global).unwrap();
    assert_eq!(global.status, OperationStatus::Success);
    assert!(global.completed_at.is_some() && global.pre_compression_size_bytes > 0);
    assert_eq!(bucket.versions("backups/b1/backup_config.json"), 2, "written exactly twice");
    let descriptor = bucket.bytes("backups/b1/weaviate-0/backup.json").unwrap();
    let descriptor: NodeDescriptor = serde_json::from_slice(&descriptor).unwrap();
    assert_eq!(descriptor.status, OperationStatus::Success);
    for class in &descriptor.classes {
        for n in class.chunks.keys() {
            let key = format!("backups/b1/weaviate-0/{}/chunk-{n}", class.name);
            assert!(bucket.bytes(&key).is_some_and(|b| !b.is_empty()), "{key}");
        }
    }
    let chunks = |class: &str| descriptor.classes.iter().find(|c| c.name == class).unwrap().chunks.len();
    assert_eq!((chunks("Article"), chunks("Note"), chunks("Tenanted")), (3, 2, 2));
    let tenanted = descriptor.classes.iter().find(|c| c.name == "Tenanted").unwrap();
    let shards: Vec<&str> = tenanted.shards.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(shards, ["acme", "globex"], "an offloaded tenant is not in it");
    assert_eq!(tenanted.decoded_sharding_state().unwrap()["physical"]["initech"]["status"], "FROZEN");
    let etag = world.bucket().put_multipart("x", "y");
    assert!(!etag.is_empty());
}

#[tokio::test]
async fn ids_are_single_use_one_backup_runs_at_a_time_and_an_empty_node_has_nothing_to_do() {
    let (world, instance, node) = seeded();
    node.create_backup(&id("b1"), &["Note".to_owned()]).await.unwrap();
    let again = says(node.create_backup(&id("b1"), &[]).await.unwrap_err());
    assert!(again.contains("already exists"), "{again}");
    let busy = says(node.create_backup(&id("b2"), &[]).await.unwrap_err());
    assert!(busy.contains("(422): backup b1 already in progress"), "{busy}");
    world.advance(secs(3));
    let twice = ["Note".to_owned(), "Note".to_owned()];
    assert!(says(node.create_backup(&id("b3"), &twice).await.unwrap_err()).contains("duplicate"));
    assert!(says(node.create_backup(&id("b3"), &["Nope".to_owned()]).await.unwrap_err()).contains("doesn't exist"));
    for class in ["Article", "Note", "Tenanted"] {
        world.node(&instance).drop_class(class);
    }
    let empty = says(node.create_backup(&id("b3"), &[]).await.unwrap_err());
    assert!(empty.contains("nothing to do here"), "{empty}");
    assert!(matches!(node.backup_status(&id("b3")).await.unwrap_err(), NodeError::NotFound { .. }));
    let asked = world.effects().iter().filter(|e| matches!(e, Effect::BackupAsked { .. })).count();
    assert_eq!(asked, 2, "the accepted one and the one of an id that was used");
}

#[tokio::test]
async fn a_restart_leaves_the_backup_started_for_ever_and_the_id_used() {
    let (world, instance, node) = seeded();
    node.create_backup(&id("b1"), &[]).await.unwrap();
    world.node(&instance).restart();
    node.ready().await.unwrap_err();
    world.advance(secs(600));
    assert!(node.ready().await.unwrap());
    assert_eq!(node.backup_status(&id("b1")).await.unwrap().status, OperationStatus::Started);
    node.cancel_backup(&id("b1")).await.unwrap();
    world.advance(secs(60));
    assert_eq!(node.backup_status(&id("b1")).await.unwrap().status, OperationStatus::Started, "204 and no effect");
    assert!(says(node.create_backup(&id("b1"), &[]).await.unwrap_err()).contains("already exists"));
    node.create_backup(&id("b2"), &[]).await.unwrap();
    world.advance(secs(3));
    let listed = node.list_backups().await.unwrap();
    let expected = [("b1".to_owned(), OperationStatus::Started), ("b2".to_owned(), OperationStatus::Success)];
    assert_eq!(listed, expected);
    world.bucket().put_raw("backups/b1/backup_config.json", "{");
    assert!(matches!(node.list_backups().await.unwrap_err(), NodeError::Unknown { .. }), "one broken breaks the list");
}

#[tokio::test]
async fn a_cancel_shows_at_the_next_round_and_never_undoes_a_success() {
    let (world, instance, node) = seeded();
    world.node(&instance).set(|s| s.rounds = 3);
    node.create_backup(&id("b1"), &[]).await.unwrap();
    world.advance(secs(3));
    node.cancel_backup(&id("b1")).await.unwrap();
    assert_eq!(node.backup_status(&id("b1")).await.unwrap().status, OperationStatus::Started, "not yet");
    world.advance(secs(10));
    assert_eq!(node.backup_status(&id("b1")).await.unwrap().status, OperationStatus::Canceled);
    assert!(says(node.create_backup(&id("b1"), &[]).await.unwrap_err()).contains("%!w(<nil>)"));
    node.create_backup(&id("b2"), &[]).await.unwrap();
    world.advance(secs(21));
    assert_eq!(node.backup_status(&id("b2")).await.unwrap().status, OperationStatus::Started, "at 2, 12 and 22 s");
    world.advance(secs(2));
    assert_eq!(node.backup_status(&id("b2")).await.unwrap().status, OperationStatus::Success);
    assert!(says(node.cancel_backup(&id("b2")).await.unwrap_err()).contains("already succeeded"));
    node.cancel_backup(&id("never-heard-of")).await.unwrap();
}

#[tokio::test]
async fn scripted_faults_of_a_create_are_what_they_say() {
    let (world, instance, node) = seeded();
    let handle = world.node(&instance);
    handle.faults(|f| f.refuse_create = Some("reindex in flight".into()));
    assert!(says(node.create_backup(&id("b1"), &[]).await.unwrap_err()).contains("reindex in flight"));
    handle.faults(|f| (f.fail_create, f.failing_polls) = (Some("upload: closed pipe".into()), 1));
    node.create_backup(&id("b1"), &[]).await.unwrap();
    assert!(matches!(node.backup_status(&id("b1")).await.unwrap_err(), NodeError::Unknown { .. }));
    world.advance(secs(3));
    let progress = node.backup_status(&id("b1")).await.unwrap();
    assert_eq!((progress.status, progress.error.as_str()), (OperationStatus::Failed, "upload: closed pipe"));

    handle.faults(|f| (f.narrow_to, f.lose_final_put) = (Some(vec!["Note".into()]), true));
    assert_eq!(node.create_backup(&id("b2"), &[]).await.unwrap().classes, ["Note"]);
    world.advance(secs(3));
    assert_eq!(node.backup_status(&id("b2")).await.unwrap().status, OperationStatus::Started, "lost the last write");
    handle.faults(|f| (f.narrow_to, f.lose_node_descriptor) = (None, true));
    node.create_backup(&id("b3"), &[]).await.unwrap();
    world.advance(secs(3));
    assert_eq!(node.backup_status(&id("b3")).await.unwrap().status, OperationStatus::Success);
    assert_eq!(world.bucket().bytes("backups/b3/weaviate-0/backup.json"), None);

    handle.faults(|f| f.hang_create = true);
    node.create_backup(&id("b4"), &[]).await.unwrap();
    world.advance(secs(3600));
    assert_eq!(node.backup_status(&id("b4")).await.unwrap().status, OperationStatus::Started);
    handle.faults(|f| f.says_status = Some("DONE".into()));
    assert_eq!(node.backup_status(&id("b4")).await.unwrap().status, OperationStatus::Unknown("DONE".into()));
    handle.faults(|f| f.unauthorized = true);
    assert!(matches!(node.schema().await.unwrap_err(), NodeError::Unauthorized { status: 401, .. }));
    handle.faults(|f| f.unreachable = true);
    assert!(matches!(node.ready().await.unwrap_err(), NodeError::Unknown { .. }));
}

#[tokio::test]
async fn counts_are_exact_and_a_tenant_that_sleeps_is_not_woken() {
    let (world, instance, node) = seeded();
    let adapter = node.evidence_adapter().await.unwrap();
    assert_eq!(adapter, EvidenceAdapter::Graphql);
    let count = async |class: &str, tenant: Option<&str>| node.count(adapter, &place(class, tenant), None).await;
    assert_eq!(count("Article", None).await.unwrap(), 25);
    assert_eq!(count("Tenanted", Some("acme")).await.unwrap(), 8);
    for (tenant, text) in [
        (Some("globex"), "tenant not active"),
        (Some("initech"), "tenant not active"),
        (Some("nope"), "tenant not found"),
        (None, "without tenant"),
    ] {
        let error = says(count("Tenanted", tenant).await.unwrap_err());
        assert!(error.contains(text), "{error}");
    }
    assert!(matches!(count("Nope", None).await.unwrap_err(), NodeError::NotFound { .. }));
    let statuses: Vec<TenantStatus> = node.tenants("Tenanted").await.unwrap().into_iter().map(|t| t.status).collect();
    assert_eq!(statuses, [TenantStatus::Active, TenantStatus::Inactive, TenantStatus::Offloaded]);
    let filter = Equals { property: "n".into(), value: json!(3) };
    assert_eq!(node.count(adapter, &place("Article", None), Some(&filter)).await.unwrap(), 5);
    assert!(node.count(EvidenceAdapter::Rest, &place("Article", None), None).await.is_err());
    world.node(&instance).set(|s| s.rest_search = true);
    assert_eq!(node.evidence_adapter().await.unwrap(), EvidenceAdapter::Rest);
}

#[tokio::test]
async fn queries_find_what_is_there_own_object_first() {
    let (world, instance, node) = seeded();
    let (adapter, article) = (EvidenceAdapter::Graphql, place("Article", None));
    let hits = node.bm25(adapter, &article, "title", "number harbour 8", 5).await.unwrap();
    assert_eq!(hits[0].id, object_id("Article", None, 8), "the rare word decides: {hits:?}");
    assert!(hits.windows(2).all(|w| w[0].score >= w[1].score));
    assert_eq!(node.bm25(adapter, &article, "title", "nowhere", 5).await.unwrap(), []);
    assert_eq!(node.bm25(adapter, &article, "n", "1", 5).await.unwrap(), [], "not a text");
    for class in ["Article", "Note"] {
        let own = object_id(class, None, 3);
        let near = node.near_object(adapter, &place(class, None), &own, None, 10).await.unwrap();
        assert_eq!((near.len(), &near[0].id), (10, &own));
    }
    world.node(&instance).put("Article", None, "bare", json!({"title": "x"}), &[]);
    assert!(node.near_object(adapter, &article, "bare", None, 10).await.is_err());
    let all = world.node(&instance).data()["Article"].shards.values().next().unwrap().objects.len();
    let (mut after, mut seen) = (String::new(), 0);
    while let Some(object) = node.object_after(&article, &after).await.unwrap() {
        assert!(object.id > after);
        (after, seen) = (object.id, seen + 1);
    }
    assert_eq!(seen, all);
    let object = node.object(&article, &object_id("Article", None, 1)).await.unwrap().unwrap();
    assert_eq!(object.vectors["default"][0].to_bits(), 1_f32.sin().to_bits());
    assert_eq!(node.object(&article, "nope").await.unwrap(), None);
    assert_eq!(node.nodes().await.unwrap()[0].name, "weaviate-0");
    assert_eq!(node.meta().await.unwrap().modules["backup-s3"]["bucketName"], World::BUCKET);
}
