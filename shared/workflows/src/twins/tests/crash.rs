use lifeboat_domain::ids::{BackupId, InstanceId};
use lifeboat_domain::weaviate::OperationStatus;
use serde_json::{Value, json};

use super::super::*;
use crate::ports::bucket::{PutMode, PutOutcome};
use crate::ports::fault::Happened;
use crate::ports::node::NodeError;
use crate::ports::{Bucket, Clock, Node, Nodes};

const RUN: &str = "runs/toy.json";

fn backup() -> BackupId {
    BackupId::parse("toy_1").unwrap()
}

/// A toy of a workflow over the ports: records its intent, asks for a backup, and points at it when the store says
/// SUCCESS. Each invocation goes on from what it reads.
async fn take_a_backup(world: World, ports: PlannedPorts, careful: bool) -> Option<()> {
    let address = world.address_of(&InstanceId::parse("i-00000000000000001").unwrap());
    let node = ports.nodes.at(&address);
    let run = ports.bucket.get(RUN, 1024).await.ok()?;
    let Some(run) = run else {
        ports.bucket.put(RUN, json!({"phase": "intended"}).to_string().into_bytes(), PutMode::Create).await.ok()?;
        return Some(());
    };
    let phase: Value = serde_json::from_slice(&run.body).unwrap();
    if phase["phase"] == "done" {
        return Some(());
    }
    let known = node.backup_status(&backup()).await;
    if !careful || matches!(known, Err(NodeError::NotFound { .. })) {
        let _ = node.create_backup(&backup(), &[]).await;
    }
    ports.clock.sleep(std::time::Duration::from_secs(5)).await;
    let config = ports.bucket.get("backups/toy_1/backup_config.json", 1 << 20).await.ok()??;
    let config: Value = serde_json::from_slice(&config.body).unwrap();
    if config["status"] == "SUCCESS" {
        let pointer = json!({"sequence": 1, "backup": "toy_1"}).to_string().into_bytes();
        let key = lifeboat_domain::keys::Key::Pointer.to_string();
        ports.bucket.put(&key, pointer, PutMode::Create).await.ok()?;
        let done = json!({"phase": "done"}).to_string().into_bytes();
        ports.bucket.put(RUN, done, PutMode::Update(run.etag)).await.ok()?;
    }
    Some(())
}

fn make_world() -> World {
    let (world, instance) = World::serving();
    world.node(&instance).seed();
    world
}

fn end_state(world: &World) -> (Option<Value>, Option<Value>, usize) {
    let bucket = world.bucket();
    let pointer = lifeboat_domain::keys::Key::Pointer.to_string();
    (bucket.json(RUN), bucket.json(&pointer), bucket.keys("backups/").len())
}

#[tokio::test]
async fn a_workflow_that_observes_before_it_acts_survives_every_crash_point() {
    for identical in [true, false] {
        let world = || {
            let world = make_world();
            world.set(|s| s.identical_put_counts_as_written = identical);
            world
        };
        let invoke = async |world, ports| {
            take_a_backup(world, ports, true).await;
        };
        let report = for_each_crash_point(world, invoke, end_state).await;
        assert_eq!(report.end.0, Some(json!({"phase": "done"})));
        assert_eq!(report.end.1.unwrap()["backup"], "toy_1");
        // Two calls to record the intent; then run, status, create, descriptor, pointer, run.
        assert_eq!((report.points, report.runs), (8, 24));
    }
}

#[tokio::test]
#[should_panic(expected = "backup toy_1 asked of")]
async fn a_workflow_that_asks_again_blindly_is_caught() {
    let invoke = async |world, ports| {
        take_a_backup(world, ports, false).await;
    };
    for_each_crash_point(make_world, invoke, end_state).await;
}

#[tokio::test]
#[should_panic(expected = "is not that of the clean run")]
async fn a_workflow_that_acts_before_it_records_and_then_gives_up_is_caught() {
    let invoke = async |_: World, ports: PlannedPorts| {
        if let Ok(PutOutcome::Written { .. }) = ports.bucket.put("a", b"1".to_vec(), PutMode::Create).await
            && ports.bucket.bytes_once().await
        {
            let _ = ports.bucket.put("b", b"2".to_vec(), PutMode::Create).await;
        }
    };
    let world = || {
        let world = World::new();
        world.set(|s| s.identical_put_counts_as_written = false);
        world
    };
    for_each_crash_point(world, invoke, |world| world.bucket().keys("")).await;
}

impl Planned<BucketTwin> {
    async fn bytes_once(&self) -> bool {
        self.head("a").await.is_ok()
    }
}

#[tokio::test]
async fn the_three_modes_differ_in_what_happened_and_in_who_lives() {
    for (mode, there, dead) in [
        (Mode::Before { call: 2 }, false, true),
        (Mode::Stop { after: 2 }, true, true),
        (Mode::LostReply { call: 2 }, true, false),
    ] {
        let (world, plan) = (World::new(), FaultPlan::new(mode));
        let bucket = plan.wrap(world.bucket());
        bucket.head("k").await.unwrap();
        let fault = bucket.put("k", b"x".to_vec(), PutMode::Create).await.unwrap_err();
        assert_eq!((fault.happened, is_crash(&fault)), (Happened::Maybe, dead), "{mode:?}");
        assert_eq!((world.bucket().bytes("k").is_some(), plan.is_dead()), (there, dead), "{mode:?}");
        assert_eq!(bucket.head("k").await.is_err_and(|f| is_crash(&f)), dead, "{mode:?}: all later calls too");
        let node = plan.wrap(world.nodes()).at("127.16.0.2");
        assert_eq!(node.ready().await.is_err_and(|e| is_node_crash(&e)), dead, "{mode:?}: of every port");
        let calls = plan.calls();
        assert_eq!(calls[1], (Call::Put, "k".to_owned()));
        assert_eq!(calls.len(), if dead { 2 } else { 4 }, "a dead process makes no calls");
    }
}

#[tokio::test]
async fn a_process_that_dies_is_dropped_where_it_stands() {
    let (world, plan) = (make_world(), FaultPlan::new(Mode::Stop { after: 1 }));
    let ports = plan.ports(&world);
    let mut ran_on = false;
    let died = until_death(&plan, async {
        let _ = ports.bucket.put("k", b"x".to_vec(), PutMode::Create).await;
        ran_on = true;
    })
    .await;
    assert_eq!(died, None);
    assert!(!ran_on, "not one line after the call");
    assert!(world.bucket().bytes("k").is_some());
    let node = world.nodes().at(World::FIXED_ADDRESS);
    node.create_backup(&backup(), &[]).await.unwrap();
    world.advance(std::time::Duration::from_secs(3));
    assert_eq!(node.backup_status(&backup()).await.unwrap().status, OperationStatus::Success);
}
