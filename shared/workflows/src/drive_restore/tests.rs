//! drive-restore on the twins, without the other functions: the first node, and what keeps a gate shut.

use std::time::Duration;

use lifeboat_domain::document::encode;
use lifeboat_domain::event::Hint;
use lifeboat_domain::ids::{BackupId, Generation, InstanceId};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::ownership::{Origin, Ownership};
use lifeboat_domain::restore::RestorePolicy;
use lifeboat_domain::restore::run::{ClosedRestore, GroupAttempts, RestoreRun};
use lifeboat_domain::runs::{Action, Request};

use super::{Outcome, Policy, World as Ports, run};
use crate::invocation::Patience;
use crate::ports::Clock;
use crate::ports::group::LifecycleState;
use crate::ports::hosts::HostDocument;
use crate::store;
use crate::twins::{CommandScript, READER_GROUP, WRITER_GROUP, World};

fn policy(allow_empty_start: bool) -> Policy {
    Policy {
        cluster: "weaviate".into(),
        bucket: World::BUCKET.into(),
        group: "group".into(),
        fixed_address: World::FIXED_ADDRESS.into(),
        reader_group: READER_GROUP.into(),
        writer_group: WRITER_GROUP.into(),
        marker_prefix: "indexing/".into(),
        restore: RestorePolicy { allow_empty_start, ..RestorePolicy::default() },
    }
}

async fn tick(world: &World, policy: &Policy) -> Result<Outcome, super::Error> {
    let ports = Ports {
        bucket: world.bucket(),
        markers: world.bucket(),
        group: world.group(),
        hosts: world.hosts(),
        addresses: world.addresses(),
        nodes: world.nodes(),
        clock: world.clock(),
    };
    let until = world.clock().now() + Duration::from_secs(240);
    run(&ports, policy, &Hint::Tick, Patience { until, poll: Duration::from_secs(2) }).await
}

/// Ticks until the outcome is not a wait, at most an hour of the world's time.
async fn settle(world: &World, policy: &Policy) -> Outcome {
    for _ in 0..60 {
        let outcome = tick(world, policy).await.expect("the twins answer");
        if !matches!(outcome, Outcome::Waiting { .. }) {
            return outcome;
        }
        world.advance(Duration::from_secs(60));
    }
    panic!("nothing ended within the hour: {:?}", tick(world, policy).await);
}

fn launched() -> World {
    let world = World::new();
    world.set_desired(1);
    world.advance(Duration::from_secs(10));
    world
}

fn members(world: &World) -> Vec<InstanceId> {
    world.instances()
}

async fn closed(world: &World) -> Vec<ClosedRestore> {
    let mut closed = Vec::new();
    for key in world.bucket().keys("runs/drive-restore/done/") {
        let key = Key::parse(&key).expect("a key of ours");
        closed.push(store::read(&world.bucket(), &key).await.unwrap().unwrap().value);
    }
    closed
}

#[tokio::test]
async fn a_first_node_starts_empty_with_proof_and_permission_and_owns_generation_one() {
    let world = launched();
    let outcome = settle(&world, &policy(true)).await;
    let instance = members(&world)[0].clone();
    assert!(matches!(outcome, Outcome::Opened { generation: 1, backup_id: None, .. }), "{outcome:?}");
    world.advance(Duration::from_secs(10));
    assert_eq!(world.lifecycle(&instance), Some(LifecycleState::InService));
    let owner: Ownership = store::read(&world.bucket(), &Key::Ownership).await.unwrap().unwrap().value;
    assert_eq!((owner.generation, owner.owner, owner.origin), (Generation(1), instance.clone(), Origin::Empty));
    let attached = world.attachment().expect("the address is attached");
    assert!(format!("{attached:?}").contains(instance.as_str()), "{attached:?}");
    assert_eq!(closed(&world).await.len(), 1);
    let run: RestoreRun =
        store::read(&world.bucket(), &Key::CurrentRun(Function::DriveRestore)).await.unwrap().unwrap().value;
    assert_eq!(run.open, None);
    assert_eq!(settle(&world, &policy(true)).await, Outcome::Idle);
}

#[tokio::test]
async fn without_permission_nothing_starts_empty_and_launches_stop_after_three() {
    let world = launched();
    for attempt in 1..=3 {
        let outcome = settle(&world, &policy(false)).await;
        let Outcome::Abandoned { reason, attempt: counted, launches_suspended, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert!(reason.contains("lifeboat restore --empty"), "{reason}");
        assert_eq!((counted, launches_suspended), (attempt, attempt == 3));
        world.advance(Duration::from_secs(120));
    }
    assert_eq!(settle(&world, &policy(false)).await, Outcome::Idle);
    assert!(!world.bucket().keys("").contains(&Key::Ownership.to_string()));
    let resume = Request { by: "ada".into(), reason: "the prefix is right now".into(), action: Action::ResumeLaunches };
    world.bucket().put_raw("requests/drive-restore/r1.json", encode(&resume));
    let outcome = settle(&world, &policy(true)).await;
    assert_eq!(outcome, Outcome::Idle, "launches were resumed, the next one is under way");
    world.advance(Duration::from_secs(120));
    assert!(matches!(settle(&world, &policy(true)).await, Outcome::Opened { generation: 1, .. }));
    let attempts: GroupAttempts = store::read(&world.bucket(), &Key::RestoreGroup).await.unwrap().unwrap().value;
    assert_eq!(attempts.instances.len(), 1);
}

#[tokio::test]
async fn a_wrong_prefix_is_not_a_first_boot() {
    for key in ["latest_weaviate_backup.manifest.json", "manifests/b_1/manifest.json", "backups/b_1/backup_config.json"]
    {
        let world = launched();
        world.bucket().put_raw(key, b"{}");
        world.bucket().delete(key);
        let outcome = settle(&world, &policy(true)).await;
        assert!(
            matches!(&outcome, Outcome::Abandoned { reason, .. } if reason.contains("delete markers")),
            "{key}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn an_unreadable_pointer_or_ownership_stops_everything_and_nothing_is_overwritten() {
    for key in [Key::Pointer, Key::Ownership, Key::CurrentRun(Function::DriveRestore)] {
        let world = launched();
        world.bucket().put_raw(&key.to_string(), b"{\"schema\": \"lifeboat/");
        world.advance(Duration::from_secs(60));
        let error = tick(&world, &policy(true)).await.expect_err("it stops");
        let text = format!("{:?}", error);
        assert!(text.contains(&key.to_string()), "{text}");
        assert_eq!(world.bucket().bytes(&key.to_string()).as_deref(), Some(&b"{\"schema\": \"lifeboat/"[..]));
        assert!(!members(&world).iter().any(|i| world.lifecycle(i) == Some(LifecycleState::InService)));
    }
}

#[tokio::test]
async fn a_grant_of_an_empty_start_is_used_once() {
    let world = launched();
    let grant = Request { by: "ada".into(), reason: "a new cluster".into(), action: Action::AllowEmptyStart };
    world.bucket().put_raw("requests/drive-restore/r1.json", encode(&grant));
    assert!(matches!(settle(&world, &policy(false)).await, Outcome::Opened { generation: 1, .. }));
    let run: RestoreRun =
        store::read(&world.bucket(), &Key::CurrentRun(Function::DriveRestore)).await.unwrap().unwrap().value;
    assert_eq!((run.empty_grant, run.handled_requests), (None, vec!["r1".to_owned()]));
}

#[tokio::test]
async fn a_request_that_cannot_be_understood_is_set_aside_and_stops_nothing() {
    let world = launched();
    world.bucket().put_raw("requests/drive-restore/bad.json", b"{\"by\": 1}");
    assert!(matches!(settle(&world, &policy(true)).await, Outcome::Opened { .. }));
}

#[tokio::test]
async fn a_backup_that_a_person_named_is_never_replaced_by_another() {
    let world = launched();
    let action = Action::Restore { backup_id: BackupId::parse("not_there").unwrap() };
    let wish = Request { by: "ada".into(), reason: "the one before the bad import".into(), action };
    world.bucket().put_raw("requests/drive-restore/r1.json", encode(&wish));
    let outcome = settle(&world, &policy(true)).await;
    assert!(matches!(&outcome, Outcome::Abandoned { reason, .. } if reason.contains("not_there")), "{outcome:?}");
}

#[tokio::test]
async fn a_host_document_that_fails_is_named_with_its_exit_code() {
    let world = launched();
    world
        .script_command(HostDocument::Prepare, CommandScript::Exit { code: 4, stderr: "mount: no such device".into() });
    let outcome = settle(&world, &policy(true)).await;
    assert!(
        matches!(&outcome, Outcome::Abandoned { reason, .. } if reason.contains("mount: no such device") && reason.contains("4")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn another_groups_hooks_are_not_for_us() {
    let world = World::new();
    let hint = Hint::LifecycleAction {
        transition: lifeboat_domain::event::Transition::Launching,
        group: "staging".into(),
        instance: InstanceId::parse("i-0").unwrap(),
    };
    let ports = Ports {
        bucket: world.bucket(),
        markers: world.bucket(),
        group: world.group(),
        hosts: world.hosts(),
        addresses: world.addresses(),
        nodes: world.nodes(),
        clock: world.clock(),
    };
    let patience = Patience { until: world.clock().now(), poll: Duration::from_secs(2) };
    let outcome = run(&ports, &policy(true), &hint, patience).await.unwrap();
    assert!(matches!(outcome, Outcome::Ignored { .. }));
    assert!(world.calls().is_empty());
}
