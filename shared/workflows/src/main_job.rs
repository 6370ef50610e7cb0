//! The main job on the twins: the four functions together, with events or without, doubled, shuffled, and killed after
//! any call (DESIGN §1.8). What the local stack shows once and slowly, this shows everywhere and fast.

use std::time::Duration;

use lifeboat_domain::document::encode;
use lifeboat_domain::event::Hint;
use lifeboat_domain::ids::{BackupId, Generation, InstanceId};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::ownership::Ownership;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::RestorePolicy;
use lifeboat_domain::restore::run::ClosedRestore;
use lifeboat_domain::runs::{Action, CloseOutcome, CreateRun, Request};

use crate::invocation::Patience;
use crate::ports::group::LifecycleState;
use crate::ports::{Addresses, Bucket, Clock, Group, Hosts, Nodes};
use crate::twins::{
    Call, Event, NodeHandle, PlannedPorts, READER_GROUP, WRITER_GROUP, World, for_each_crash_point, shuffled,
};
use crate::{create_backup, drive_restore, flip_manifest, store, verify_checksums};

/// The ports of one invocation of any function.
struct All<B, M, G, H, A, N, C>(drive_restore::World<B, M, G, H, A, N, C>);

fn all(world: &World) -> All<impl Bucket, impl Bucket, impl Group, impl Hosts, impl Addresses, impl Nodes, impl Clock> {
    All(drive_restore::World {
        bucket: world.bucket(),
        markers: world.bucket(),
        group: world.group(),
        hosts: world.hosts(),
        addresses: world.addresses(),
        nodes: world.nodes(),
        clock: world.clock(),
    })
}

fn planned(
    ports: PlannedPorts,
) -> All<impl Bucket, impl Bucket, impl Group, impl Hosts, impl Addresses, impl Nodes, impl Clock> {
    All(drive_restore::World {
        markers: ports.bucket.clone(),
        bucket: ports.bucket,
        group: ports.group,
        hosts: ports.hosts,
        addresses: ports.addresses,
        nodes: ports.nodes,
        clock: ports.clock,
    })
}

impl<B: Bucket, M: Bucket, G: Group, H: Hosts, A: Addresses, N: Nodes, C: Clock> All<B, M, G, H, A, N, C> {
    fn patience(&self) -> Patience {
        Patience { until: self.0.clock.now() + Duration::from_secs(40), poll: Duration::from_secs(2) }
    }

    /// One invocation; a failure is what the next tick is for.
    async fn invoke(&self, function: Function, hint: &Hint) {
        let (ports, patience) = (&self.0, self.patience());
        match function {
            Function::CreateBackup => {
                let hour = Duration::from_secs(3600);
                let policy = lifeboat_domain::create::Policy::new("indexing/".into(), 24 * hour, hour / 2);
                let ports = create_backup::Ports {
                    bucket: &ports.bucket,
                    markers: &ports.markers,
                    group: &ports.group,
                    nodes: &ports.nodes,
                    hosts: &ports.hosts,
                    clock: &ports.clock,
                };
                let _ = create_backup::run(&ports, &policy, hint, patience).await;
            }
            Function::VerifyChecksums => {
                let ports = verify_checksums::Ports { bucket: &ports.bucket, clock: &ports.clock };
                let policy = verify_checksums::VerifyPolicy::new(World::BUCKET);
                let _ = verify_checksums::run(&ports, &policy, hint, patience).await;
            }
            Function::FlipManifest => {
                let ports = verify_checksums::Ports { bucket: &ports.bucket, clock: &ports.clock };
                let policy = flip_manifest::FlipPolicy::new(World::BUCKET, "weaviate", World::GROUP);
                let _ = flip_manifest::run(&ports, &policy, hint, patience).await;
            }
            Function::DriveRestore => {
                let policy = drive_restore::Policy {
                    cluster: "weaviate".into(),
                    group: World::GROUP.into(),
                    fixed_address: World::FIXED_ADDRESS.into(),
                    reader_group: READER_GROUP.into(),
                    writer_group: WRITER_GROUP.into(),
                    marker_prefix: "indexing/".into(),
                    restore: RestorePolicy { allow_empty_start: true, ..RestorePolicy::default() },
                };
                let _ = drive_restore::run(ports, &policy, hint, patience).await;
            }
        }
    }

    /// The minute's tick of every function.
    async fn tick(&self) {
        for function in Function::ALL {
            self.invoke(function, &Hint::Tick).await;
        }
    }
}

/// Who an event starts, as the template's rules have it.
fn listeners(event: &Event) -> Vec<Function> {
    match event {
        Event::LifecycleAction { .. } => vec![Function::CreateBackup, Function::DriveRestore],
        Event::ObjectCreated { key, .. } => match Key::parse(key) {
            Some(Key::BackupObject(_, path)) if path == "backup_config.json" => vec![Function::VerifyChecksums],
            Some(Key::Shard(..)) => vec![Function::VerifyChecksums],
            Some(Key::Part(..) | Key::ObservedAfter(_) | Key::Ownership) => vec![Function::FlipManifest],
            Some(Key::Request(function, _)) => vec![function],
            _ if key.ends_with("/_SUCCESS") => vec![Function::CreateBackup],
            _ => vec![],
        },
    }
}

/// Ticks, a minute apart, until something holds; at most two hours of the world's time.
async fn tick_until<T>(world: &World, what: &str, holds: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..120 {
        if let Some(found) = holds().await {
            return found;
        }
        all(world).tick().await;
        world.advance(Duration::from_secs(20));
    }
    panic!("{what} did not happen in two hours; keys: {:#?}", world.bucket().keys(""));
}

async fn pointer(world: &World) -> Option<Pointer> {
    store::read(&world.bucket(), &Key::Pointer).await.expect("the pointer is readable").map(|v| v.value)
}

async fn ownership(world: &World) -> Option<Ownership> {
    store::read(&world.bucket(), &Key::Ownership).await.expect("ownership is readable").map(|v| v.value)
}

async fn create_run(world: &World) -> CreateRun {
    let run = store::read(&world.bucket(), &Key::CurrentRun(Function::CreateBackup)).await.expect("it is readable");
    run.map(|v| v.value).unwrap_or_default()
}

/// The owner, once it serves in this generation.
async fn serving(world: &World, generation: u64) -> InstanceId {
    tick_until(world, &format!("generation {generation}"), async || {
        let owner = ownership(world).await.filter(|o| o.generation == Generation(generation))?.owner;
        (world.lifecycle(&owner) == Some(LifecycleState::InService)).then_some(owner)
    })
    .await
}

/// A cluster whose first node serves seeded data.
async fn cluster() -> (World, InstanceId) {
    let world = World::new();
    world.set_desired(1);
    let first = serving(&world, 1).await;
    world.node(&first).seed();
    (world, first)
}

fn mark(world: &World, dataset: &str) {
    world.bucket().put_raw(&format!("indexing/{dataset}/_SUCCESS"), Vec::new());
}

async fn published(world: &World, after: u64) -> Pointer {
    tick_until(world, "a flip", async || pointer(world).await.filter(|p| p.sequence.0 > after)).await
}

fn data(node: &NodeHandle) -> String {
    format!("{:?}", node.data())
}

#[tokio::test]
async fn ticks_alone_do_the_whole_job_from_a_marker_to_a_replacement_with_the_same_data() {
    let (world, first) = cluster().await;
    let before = data(&world.node(&first));
    mark(&world, "wiki");
    let flipped = published(&world, 0).await;
    assert_eq!((flipped.sequence.0, flipped.generation), (1, Generation(1)));
    world.kill(&first);
    let second = serving(&world, 2).await;
    assert_ne!(first, second);
    assert_eq!(data(&world.node(&second)), before, "the replacement holds what the first node held");
    let stamped = pointer(&world).await.unwrap();
    assert_eq!((stamped.sequence.0, stamped.generation), (2, Generation(2)));
    assert_eq!(stamped.backup_id, flipped.backup_id);
    let attached = format!("{:?}", world.attachment());
    assert!(attached.contains(second.as_str()), "{attached}");
    tick_until(&world, "the first instance's end", async || (!world.instances().contains(&first)).then_some(())).await;
}

#[tokio::test]
async fn every_event_twice_and_in_any_order_ends_the_same() {
    for seed in 0..8 {
        let (world, first) = cluster().await;
        let before = data(&world.node(&first));
        world.take_events();
        mark(&world, "wiki");
        let mut killed = false;
        for round in 0..400_u64 {
            let events: Vec<Event> = world.take_events().into_iter().flat_map(|e| [e.clone(), e]).collect();
            for event in shuffled(seed ^ round, events) {
                for function in listeners(&event) {
                    all(&world).invoke(function, &event.hint()).await;
                }
            }
            world.advance(Duration::from_secs(5));
            if pointer(&world).await.is_some() && !killed {
                killed = true;
                world.kill(&first);
            }
            if round % 12 == 11 {
                all(&world).tick().await;
            }
        }
        let second = serving(&world, 2).await;
        assert_eq!(data(&world.node(&second)), before, "seed {seed}");
        assert_eq!(world.count(Call::CreateBackup), 1, "seed {seed}: one marker is one backup");
        assert_eq!(pointer(&world).await.unwrap().sequence.0, 2, "seed {seed}");
    }
}

#[tokio::test]
async fn the_same_marker_three_times_is_one_backup_and_one_during_a_backup_is_one_after_it() {
    let (world, _) = cluster().await;
    for _ in 0..3 {
        mark(&world, "wiki");
    }
    let first = published(&world, 0).await;
    for _ in 0..5 {
        all(&world).tick().await;
        world.advance(Duration::from_secs(60));
    }
    assert_eq!(world.count(Call::CreateBackup), 1);
    assert_eq!(pointer(&world).await.unwrap().sequence, first.sequence);

    mark(&world, "books");
    tick_until(&world, "the next backup", async || create_run(&world).await.open).await;
    world.advance(Duration::from_secs(2));
    mark(&world, "films");
    let later = published(&world, first.sequence.0 + 1).await;
    assert_eq!((world.count(Call::CreateBackup), later.sequence.0), (3, 3));
}

#[tokio::test]
async fn a_node_that_dies_right_after_success_is_waited_for_by_its_replacement() {
    let (world, first) = cluster().await;
    let before = data(&world.node(&first));
    mark(&world, "wiki");
    tick_until(&world, "a finished backup", async || {
        all(&world).invoke(Function::CreateBackup, &Hint::Tick).await;
        let named = create_run(&world).await.open?.named?;
        let config = world.bucket().json(&Key::backup_config(&named.backup_id).to_string())?;
        (config["status"] == "SUCCESS").then_some(())
    })
    .await;
    world.kill(&first);
    let second = serving(&world, 2).await;
    assert_eq!(data(&world.node(&second)), before);
}

#[tokio::test]
async fn a_dead_nodes_backup_that_is_verified_after_its_successor_opened_the_gate_does_not_move_the_pointer() {
    let (world, first) = cluster().await;
    mark(&world, "wiki");
    let flipped = published(&world, 0).await;
    mark(&world, "books");
    // The second backup ends with SUCCESS, but nobody verifies it until the successor serves.
    tick_until(&world, "a second finished backup", async || {
        all(&world).invoke(Function::CreateBackup, &Hint::Tick).await;
        let named = create_run(&world).await.open?.named?;
        let config = world.bucket().json(&Key::backup_config(&named.backup_id).to_string())?;
        (named.backup_id != flipped.backup_id && config["status"] == "SUCCESS").then_some(named.backup_id)
    })
    .await;
    let late: BackupId = create_run(&world).await.open.unwrap().named.unwrap().backup_id;
    world.kill(&first);
    for _ in 0..60 {
        all(&world).invoke(Function::DriveRestore, &Hint::Tick).await;
        // Only the re-stamp at the gate, not the flip of a late verification, may be wanted of flip-manifest here.
        all(&world).invoke(Function::FlipManifest, &Hint::Tick).await;
        world.advance(Duration::from_secs(60));
        if ownership(&world).await.unwrap().generation == Generation(2) {
            break;
        }
    }
    serving(&world, 2).await;
    for _ in 0..10 {
        all(&world).tick().await;
        world.advance(Duration::from_secs(60));
    }
    let now = pointer(&world).await.unwrap();
    assert_eq!((now.generation, &now.backup_id), (Generation(2), &flipped.backup_id));
    let run: lifeboat_domain::runs::VerifyRun =
        store::read(&world.bucket(), &Key::CurrentRun(Function::VerifyChecksums)).await.unwrap().unwrap().value;
    let verdict = run.closed.iter().find(|c| c.backup_id == late).expect("the late backup has a verdict");
    assert_eq!(verdict.outcome, CloseOutcome::Refused, "{verdict:?}");
}

#[tokio::test]
async fn a_rollback_is_not_undone_by_the_next_scheduled_backup() {
    let (world, _) = cluster().await;
    mark(&world, "wiki");
    let first = published(&world, 0).await;
    world.advance(Duration::from_secs(120));
    mark(&world, "books");
    let second = published(&world, 1).await;
    let action = Action::Rollback { to: first.backup_id.clone() };
    let request = Request { by: "ada".into(), reason: "the books are wrong".into(), action };
    world.bucket().put_raw(&Key::Request(Function::FlipManifest, "r1".into()).to_string(), encode(&request));
    let rolled = published(&world, second.sequence.0).await;
    assert_eq!(rolled.backup_id, first.backup_id);
    world.advance(Duration::from_secs(120));
    mark(&world, "films");
    for _ in 0..10 {
        all(&world).tick().await;
        world.advance(Duration::from_secs(60));
    }
    assert_eq!(world.count(Call::CreateBackup), 3, "it is taken and kept");
    assert_eq!(pointer(&world).await.unwrap().backup_id, first.backup_id, "and not published");
}

#[tokio::test]
async fn a_restore_that_says_success_over_missing_data_is_abandoned_with_its_reason() {
    let (world, first) = cluster().await;
    mark(&world, "wiki");
    published(&world, 0).await;
    world.set(|s| s.node.faults.empty_on_restore = Some("Article".into()));
    world.kill(&first);
    let reason = tick_until(&world, "an abandoned replacement", async || {
        let keys = world.bucket().keys("runs/drive-restore/done/");
        for key in keys.iter().filter_map(|k| Key::parse(k)) {
            let closed: ClosedRestore = store::read(&world.bucket(), &key).await.unwrap().unwrap().value;
            if closed.run.refusal.is_some() {
                return closed.run.refusal;
            }
        }
        None
    })
    .await;
    assert!(reason.contains("Article") && reason.contains("evidence"), "{reason}");
    assert_eq!(ownership(&world).await.unwrap().generation, Generation(1));
}

#[tokio::test]
async fn drive_restore_invoked_twice_at_once_has_one_effect_on_the_host() {
    let (world, first) = cluster().await;
    let before = data(&world.node(&first));
    mark(&world, "wiki");
    published(&world, 0).await;
    world.kill(&first);
    for _ in 0..120 {
        let (one, two) = (all(&world), all(&world));
        tokio::join!(
            one.invoke(Function::DriveRestore, &Hint::Tick),
            two.invoke(Function::DriveRestore, &Hint::Tick),
            two.invoke(Function::FlipManifest, &Hint::Tick),
        );
        world.advance(Duration::from_secs(20));
    }
    let second = serving(&world, 2).await;
    assert_eq!(data(&world.node(&second)), before);
    let jobs: Vec<String> = world.effects().iter().filter(|e| e.once_only()).map(ToString::to_string).collect();
    let mut once = jobs.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), jobs.len(), "something happened twice: {jobs:#?}");
}

/// Waits within a closure that cannot.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

#[tokio::test]
async fn a_planned_replacement_takes_a_final_backup_and_the_old_node_goes_only_when_the_new_one_serves() {
    let (world, first) = cluster().await;
    mark(&world, "wiki");
    published(&world, 0).await;
    world.advance(Duration::from_secs(60));
    world.node(&first).put_many("Article", None, 40);
    let before = data(&world.node(&first));
    world.replace(&first);
    let second = serving(&world, 2).await;
    assert_eq!(data(&world.node(&second)), before, "what was written after the last marker is there");
    let stamped = pointer(&world).await.unwrap();
    assert!(stamped.is_final, "{stamped:?}");
    tick_until(&world, "the first instance's end", async || (!world.instances().contains(&first)).then_some(())).await;
    let answers: Vec<String> = world.effects().iter().map(ToString::to_string).collect();
    let at = |text: String| answers.iter().position(|a| a.starts_with(&text)).unwrap_or_else(|| panic!("{answers:#?}"));
    assert!(at(format!("address attached to {second}")) < at(format!("Terminate hook of {first}")));
}

#[tokio::test]
async fn a_predecessor_that_neither_answers_nor_is_gone_is_retained_at_the_deadline_and_the_pointer_is_restored() {
    let (world, first) = cluster().await;
    mark(&world, "wiki");
    published(&world, 0).await;
    let before = data(&world.node(&first));
    world.hang_host(&first);
    world.replace(&first);
    // Two hours is the deadline; the loss is stated by the pointer that was restored.
    for _ in 0..200 {
        all(&world).tick().await;
        world.advance(Duration::from_secs(60));
    }
    let second = serving(&world, 2).await;
    assert_eq!(data(&world.node(&second)), before);
    assert_eq!(world.lifecycle(&first), Some(LifecycleState::TerminatingRetained));
}

/// What of a recovery counts: who owns, serves and is reached, from which backup, and that nothing is left open.
async fn end_state(world: &World) -> String {
    let (owner, pointer) = (ownership(world).await, pointer(world).await);
    let serves = owner.as_ref().map(|o| (o.generation, world.lifecycle(&o.owner)));
    let held = owner.as_ref().map(|o| format!("{:?}", world.attachment()).contains(o.owner.as_str()));
    let in_service = |o: &&Ownership| world.lifecycle(&o.owner) == Some(LifecycleState::InService);
    let data = owner.as_ref().filter(in_service).map(|o| data(&world.node(&o.owner)));
    let run: Option<store::Versioned<lifeboat_domain::restore::run::RestoreRun>> =
        store::read(&world.bucket(), &Key::CurrentRun(Function::DriveRestore)).await.unwrap();
    let idle = run.is_some_and(|r| r.value.open.is_none());
    let pointer = pointer.map(|p| (p.sequence, p.generation, p.backup_id));
    format!("{serves:?} attached {held:?} idle {idle} {pointer:?} members {} {data:?}", world.instances().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_killed_after_any_of_its_calls_is_finished_by_the_next_ticks() {
    let report = for_each_crash_point(
        || {
            wait(async {
                let (world, first) = cluster().await;
                mark(&world, "wiki");
                published(&world, 0).await;
                world.kill(&first);
                world.advance(Duration::from_secs(60));
                world
            })
        },
        async |_, ports| planned(ports).tick().await,
        |world| wait(end_state(world)),
    )
    .await;
    eprintln!("killed at {} calls in {} runs", report.points, report.runs);
    assert!(report.points > 100, "{report:?}");
    assert!(
        report.end.contains("Some((Generation(2), Some(InService))) attached Some(true) idle true"),
        "{}",
        report.end
    );
}
