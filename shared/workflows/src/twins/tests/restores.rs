use lifeboat_domain::ids::InstanceId;
use lifeboat_domain::weaviate::OperationStatus;

use super::super::*;
use super::nodes::{id, place, says, secs, seeded};
use crate::ports::node::NodeError;
use crate::ports::{Bucket, Node, Nodes};

/// A finished backup `b1` and a fresh, empty node beside the old one.
async fn backed_up() -> (World, InstanceId, InstanceId, NodeTwin) {
    let (world, old, node) = seeded();
    node.create_backup(&id("b1"), &[]).await.unwrap();
    world.advance(secs(3));
    world.replace(&old);
    world.advance(secs(10));
    let new = world.instances().remove(1);
    world.start_node(&new);
    let fresh = world.nodes().at(&world.address_of(&new));
    (world, old, new, fresh)
}

async fn status(world: &World, node: &NodeTwin) -> (OperationStatus, String) {
    world.advance(secs(3));
    let progress = node.restore_status(&id("b1")).await.unwrap();
    (progress.status, progress.error)
}

#[tokio::test]
async fn a_restore_gives_back_every_bit_through_its_phases() {
    let (world, old, new, fresh) = backed_up().await;
    assert!(matches!(fresh.restore_status(&id("b1")).await.unwrap_err(), NodeError::NotFound { .. }));
    world.node(&new).faults(|f| f.queue_after_restore = secs(60));
    assert_eq!(fresh.start_restore(&id("b1"), &[]).await.unwrap().classes.len(), 3);
    assert_eq!(fresh.restore_status(&id("b1")).await.unwrap().status, OperationStatus::Transferring);
    assert_eq!(fresh.schema().await.unwrap(), [], "nothing is there before the end");
    world.advance(secs(2));
    assert_eq!(fresh.restore_status(&id("b1")).await.unwrap().status, OperationStatus::Finalizing);
    assert!(says(fresh.cancel_restore(&id("b1")).await.unwrap_err()).contains("cannot be cancelled"));
    assert_eq!(status(&world, &fresh).await.0, OperationStatus::Success);
    assert_eq!(world.node(&new).data(), world.node(&old).data());
    assert!(fresh.nodes().await.unwrap()[0].vector_queue_length > 0);
    world.advance(secs(60));
    assert_eq!(fresh.nodes().await.unwrap()[0].vector_queue_length, 0);
    assert_eq!(world.bucket().versions("backups/b1/restore_config.json"), 3);
    fresh.object(&place("Article", None), &object_id("Article", None, 1)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_any_chunk_fails_the_restore_and_nothing_is_restored() {
    let (world, _, new, fresh) = backed_up().await;
    let chunks: Vec<String> =
        world.bucket().keys("backups/b1/").into_iter().filter(|k| k.contains("/chunk-")).collect();
    assert_eq!(chunks.len(), 7);
    for key in chunks {
        for offset in [0, 64, world.bucket().bytes(&key).unwrap().len() - 1] {
            world.bucket().flip_byte_in_place(&key, offset);
            fresh.start_restore(&id("b1"), &[]).await.unwrap();
            let (status, error) = status(&world, &fresh).await;
            assert_eq!(status, OperationStatus::Failed, "{key} at {offset}: {error}");
            assert!(world.node(&new).data().is_empty());
            world.bucket().flip_byte_in_place(&key, offset);
        }
    }
    fresh.start_restore(&id("b1"), &[]).await.unwrap();
    assert_eq!(status(&world, &fresh).await.0, OperationStatus::Success, "the same id may be tried again");
}

#[tokio::test]
async fn a_missing_chunk_fails_late_and_a_missing_descriptor_at_once() {
    let (world, _, _, fresh) = backed_up().await;
    world.bucket().delete("backups/b1/weaviate-0/Note/chunk-2");
    fresh.start_restore(&id("b1"), &[]).await.unwrap();
    assert!(status(&world, &fresh).await.1.contains("NoSuchKey"));
    world.bucket().delete("backups/b1/weaviate-0/backup.json");
    let missing = fresh.start_restore(&id("b1"), &[]).await.unwrap_err();
    assert!(matches!(&missing, NodeError::NotFound { message, .. } if message.contains("fetch meta of node")));
    assert!(matches!(fresh.start_restore(&id("b9"), &[]).await.unwrap_err(), NodeError::NotFound { .. }));
}

#[tokio::test]
async fn a_class_that_is_there_already_fails_only_at_the_end_and_the_others_are_restored() {
    let (world, _, new, fresh) = backed_up().await;
    world.node(&new).add_class("note", false, "cosine").add_alias("tenanted", "note");
    fresh.start_restore(&id("b1"), &[]).await.unwrap();
    let (status, error) = status(&world, &fresh).await;
    assert_eq!(status, OperationStatus::Failed);
    assert!(error.contains("class name Note already exists") && error.contains("Tenanted"), "{error}");
    let classes: Vec<String> = world.node(&new).data().into_keys().collect();
    assert_eq!(classes, ["Article", "note"]);
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused_for_its_reason() {
    let (world, _, new, fresh) = backed_up().await;
    assert!(says(fresh.start_restore(&id("b1"), &["Nope".to_owned()]).await.unwrap_err()).contains("but does have"));
    world.node(&new).set(|s| s.name = "other".into());
    let unknown = fresh.start_restore(&id("b1"), &[]).await.unwrap_err();
    assert!(matches!(&unknown, NodeError::Unknown { detail, .. } if detail.contains("cannot resolve hostname")));
    world.node(&new).set(|s| s.name = "weaviate-0".into());
    let mut descriptor = world.bucket().json("backups/b1/backup_config.json").unwrap();
    descriptor["status"] = "FAILED".into();
    world.bucket().put_raw("backups/b1/backup_config.json", descriptor.to_string());
    assert!(says(fresh.start_restore(&id("b1"), &[]).await.unwrap_err()).contains("invalid backup"));
    descriptor["status"] = "SUCCESS".into();
    descriptor["version"] = "3.0".into();
    world.bucket().put_raw("backups/b1/backup_config.json", descriptor.to_string());
    assert!(says(fresh.start_restore(&id("b1"), &[]).await.unwrap_err()).contains("higher version"));
}

#[tokio::test]
async fn success_may_be_a_lie_and_failures_and_hangs_can_be_scripted() {
    let (world, old, new, fresh) = backed_up().await;
    let handle = world.node(&new);
    handle.faults(|f| f.fail_restore = Some("disk full".into()));
    fresh.start_restore(&id("b1"), &[]).await.unwrap();
    assert_eq!(status(&world, &fresh).await, (OperationStatus::Failed, "disk full".to_owned()));
    handle.faults(|f| f.hang_restore = true);
    fresh.start_restore(&id("b1"), &[]).await.unwrap();
    world.advance(secs(3600));
    assert_eq!(status(&world, &fresh).await.0, OperationStatus::Transferring);
    let busy = says(fresh.start_restore(&id("b1"), &[]).await.unwrap_err());
    assert!(busy.contains("already in progress"), "{busy}");
    fresh.cancel_restore(&id("of-another")).await.unwrap();
    assert_eq!(fresh.restore_status(&id("b1")).await.unwrap().status, OperationStatus::Cancelling, "not id-safe");
    world.advance(secs(10));
    assert_eq!(status(&world, &fresh).await.0, OperationStatus::Canceled);
    handle.faults(|f| (f.hang_restore, f.empty_on_restore) = (false, Some("Note".into())));
    fresh.start_restore(&id("b1"), &[]).await.unwrap();
    assert_eq!(status(&world, &fresh).await.0, OperationStatus::Success);
    let (before, after) = (world.node(&old).data(), handle.data());
    assert_eq!(before["Article"], after["Article"]);
    assert!(after["Note"].shards.values().all(|s| s.objects.is_empty()));
    assert!(says(fresh.cancel_restore(&id("b1")).await.unwrap_err()).contains("already succeeded"));
}

#[tokio::test]
async fn a_restart_in_the_middle_leaves_a_stale_status_and_a_cancel_in_it_wedges_the_id() {
    let (world, _, new, fresh) = backed_up().await;
    fresh.start_restore(&id("b1"), &[]).await.unwrap();
    world.node(&new).restart();
    world.advance(secs(60));
    assert_eq!(fresh.restore_status(&id("b1")).await.unwrap().status, OperationStatus::Transferring, "for ever");
    fresh.start_restore(&id("b1"), &[]).await.unwrap();
    fresh.cancel_restore(&id("b1")).await.unwrap();
    world.node(&new).restart();
    world.advance(secs(60));
    fresh.start_restore(&id("b1"), &[]).await.unwrap();
    assert_eq!(status(&world, &fresh).await.0, OperationStatus::Cancelling, "says STARTED, and does nothing");
    assert!(world.node(&new).data().is_empty());
    world.bucket().delete("backups/b1/restore_config.json");
    fresh.start_restore(&id("b1"), &[]).await.unwrap();
    assert_eq!(status(&world, &fresh).await.0, OperationStatus::Success);
    let accepted = world.effects().iter().filter(|e| matches!(e, Effect::RestoreAsked { .. })).count();
    assert_eq!(accepted, 3, "the one that did nothing does not count");
    world.bucket().get("backups/b1/restore_config.json", 1 << 20).await.unwrap().unwrap();
}
