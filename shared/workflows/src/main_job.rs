//! The main job on the twins: the four functions together, with events or without, doubled, shuffled, and killed after
//! any call (DESIGN §1.8). What the local stack shows once and slowly, this shows everywhere and fast.

mod choosing;
mod endurance;
mod protection;
mod recovery;
mod traps;

use std::time::Duration;

use lifeboat_domain::document::encode;
use lifeboat_domain::event::Hint;
use lifeboat_domain::ids::{BackupId, Generation, InstanceId};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::ownership::Ownership;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::RestorePolicy;
use lifeboat_domain::restore::run::{ClosedRestore, OpenRestore, Phase, RestoreRun};
use lifeboat_domain::runs::{Action, CloseOutcome, CreateRun, Request};

use crate::invocation::Patience;
use crate::ports::group::LifecycleState;
use crate::ports::{Addresses, Bucket, Clock, Deletes, Group, Hosts, Nodes};
use crate::twins::{
    Call, Event, NodeHandle, PlannedPorts, READER_GROUP, WRITER_GROUP, World, for_each_crash_point, shuffled,
};
use crate::{create_backup, drive_restore, flip_manifest, prune_backups, store, verify_checksums};

/// The ports of one invocation of any function.
struct All<B, M, G, H, A, N, C>(drive_restore::World<B, M, G, H, A, N, C>);

fn all(
    world: &World,
) -> All<impl Bucket + Deletes, impl Bucket, impl Group, impl Hosts, impl Addresses, impl Nodes, impl Clock> {
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
) -> All<impl Bucket + Deletes, impl Bucket, impl Group, impl Hosts, impl Addresses, impl Nodes, impl Clock> {
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

impl<B: Bucket + Deletes, M: Bucket, G: Group, H: Hosts, A: Addresses, N: Nodes, C: Clock> All<B, M, G, H, A, N, C> {
    fn patience(&self) -> Patience {
        Patience { until: self.0.clock.now() + Duration::from_secs(40), poll: Duration::from_secs(2) }
    }

    /// One invocation; a failure is what the next tick is for.
    async fn invoke(&self, function: Function, hint: &Hint) {
        let (ports, patience) = (&self.0, self.patience());
        match function {
            Function::CreateBackup => {
                let hour = Duration::from_secs(3600);
                let writers = lifeboat_domain::create::writers::Policy::new(READER_GROUP.into(), WRITER_GROUP.into());
                let policy = lifeboat_domain::create::Policy::new("indexing/".into(), 24 * hour, hour / 2);
                let policy = policy.shutting_out(writers);
                let ports = create_backup::Ports {
                    bucket: &ports.bucket,
                    markers: &ports.markers,
                    group: &ports.group,
                    nodes: &ports.nodes,
                    hosts: &ports.hosts,
                    addresses: &ports.addresses,
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
                let _ = drive_restore::run(ports, &restore_policy(), hint, patience).await;
            }
            Function::PruneBackups => {
                let ports = prune_backups::Ports { bucket: &ports.bucket, deletes: &ports.bucket, clock: &ports.clock };
                let policy = prune_backups::PrunePolicy {
                    bucket: World::BUCKET.into(),
                    retention: Default::default(),
                    every: Duration::from_secs(86_400),
                };
                let _ = prune_backups::run(&ports, &policy, hint, patience).await;
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

fn restore_policy() -> drive_restore::Policy {
    drive_restore::Policy {
        cluster: "weaviate".into(),
        bucket: World::BUCKET.into(),
        group: World::GROUP.into(),
        fixed_address: World::FIXED_ADDRESS.into(),
        reader_group: READER_GROUP.into(),
        writer_group: WRITER_GROUP.into(),
        marker_prefix: "indexing/".into(),
        restore: RestorePolicy { allow_empty_start: true, ..RestorePolicy::default() },
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

/// Every closed restore, oldest first.
async fn closed(world: &World) -> Vec<ClosedRestore> {
    let mut closed = Vec::new();
    for key in world.bucket().keys("runs/drive-restore/done/").iter().filter_map(|k| Key::parse(k)) {
        closed.push(store::read::<ClosedRestore>(&world.bucket(), &key).await.unwrap().unwrap().value);
    }
    closed
}

/// The reason of the first replacement that is abandoned.
async fn refusal(world: &World) -> String {
    tick_until(world, "an abandoned replacement", async || closed(world).await.into_iter().find_map(|c| c.run.refusal))
        .await
}

/// The open restore, once it is in this phase or past it: drive-restore alone, a look at a time.
async fn reached(world: &World, phase: Phase) -> OpenRestore {
    for _ in 0..2_000 {
        let ports = all(world);
        let patience = Patience { until: world.now(), poll: Duration::from_secs(2) };
        let _ = drive_restore::run(&ports.0, &restore_policy(), &Hint::Tick, patience).await;
        if let Some(open) = restore_run(world).await.open.filter(|open| open.phase >= phase) {
            return open;
        }
        world.advance(Duration::from_secs(1));
    }
    panic!("{phase:?} was not reached: {:?}", restore_run(world).await.open);
}

async fn restore_run(world: &World) -> RestoreRun {
    let run = store::read(&world.bucket(), &Key::CurrentRun(Function::DriveRestore)).await.expect("it is readable");
    run.map(|v| v.value).unwrap_or_default()
}

fn ask(world: &World, id: &str, action: Action) {
    let key = Key::Request(action.function(), id.to_owned()).to_string();
    world.bucket().put_raw(&key, encode(&Request { by: "ada".into(), reason: "to see it done".into(), action }));
}

fn data(node: &NodeHandle) -> String {
    format!("{:?}", node.data())
}
