use std::time::Duration;

use lifeboat_domain::create::{Policy, writers};
use lifeboat_domain::document::{decode, encode};
use lifeboat_domain::event::Hint;
use lifeboat_domain::expectations::{AfterObservation, Expectations, ObservedAfter};
use lifeboat_domain::ids::{BackupId, Generation, InstanceId};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::manifest::Trigger;
use lifeboat_domain::ownership::{Origin, Ownership};
use lifeboat_domain::runs::{CloseOutcome, ClosedVerification, CreatePhase, CreateRun, VerifyRun};
use serde_json::json;

use super::{Error, Outcome, Ports, run};
use crate::invocation::Patience;
use crate::twins::{Call, Failure, READER_GROUP, WRITER_GROUP, World};

mod ends;
mod endurance;
mod owed;
mod writers_out;

const MARKER: &str = "indexing/wiki/_SUCCESS";
const MINUTE: Duration = Duration::from_secs(60);

fn policy() -> Policy {
    Policy::new("indexing/".into(), 60 * MINUTE, 30 * MINUTE)
        .shutting_out(writers::Policy::new(READER_GROUP.into(), WRITER_GROUP.into()))
}

/// A seeded owner in service, with a backup published a moment ago, so that nothing is owed.
fn serving() -> (World, InstanceId) {
    let (world, instance) = World::serving();
    world.node(&instance).seed();
    own(&world, &instance, 1);
    world.advance(MINUTE);
    let published =
        CreateRun { covered_through: Some(world.now()), attempted_through: Some(world.now()), ..CreateRun::default() };
    put(&world, &Key::CurrentRun(Function::CreateBackup), &published);
    world.advance(MINUTE);
    (world, instance)
}

fn own(world: &World, instance: &InstanceId, generation: u64) {
    let ownership = Ownership {
        cluster: "c".into(),
        generation: Generation(generation),
        owner: instance.clone(),
        owner_address: world.address_of(instance),
        origin: Origin::Empty,
        opened_at: world.now(),
    };
    put(world, &Key::Ownership, &ownership);
}

fn put<T: lifeboat_domain::document::Document>(world: &World, key: &Key, document: &T) {
    world.bucket().put_raw(&key.to_string(), encode(document));
}

fn get<T: lifeboat_domain::document::Document>(world: &World, key: &Key) -> T {
    decode(&key.to_string(), &world.bucket().bytes(&key.to_string()).unwrap()).unwrap()
}

fn mark(world: &World) -> Hint {
    world.bucket_named("markers").put_raw(MARKER, "");
    Hint::ObjectCreated { bucket: "markers".into(), key: MARKER.into() }
}

fn record(world: &World) -> CreateRun {
    get(world, &Key::CurrentRun(Function::CreateBackup))
}

async fn invoke_for(world: &World, hint: &Hint, time: Duration) -> Result<Outcome, Error> {
    let (bucket, markers) = (world.bucket(), world.bucket_named("markers"));
    let (group, nodes, hosts) = (world.group(), world.nodes(), world.hosts());
    let (addresses, clock) = (world.addresses(), world.clock());
    let ports = Ports {
        bucket: &bucket,
        markers: &markers,
        group: &group,
        nodes: &nodes,
        hosts: &hosts,
        addresses: &addresses,
        clock: &clock,
    };
    let patience = Patience { until: world.now() + time, poll: Duration::from_secs(2) };
    run(&ports, &policy(), hint, patience).await
}

async fn invoke(world: &World) -> Outcome {
    invoke_for(world, &Hint::Tick, 10 * MINUTE).await.unwrap()
}

/// Goes on until Weaviate was asked, and no further.
async fn until_asked(world: &World) -> BackupId {
    for _ in 0..100 {
        let outcome = invoke_for(world, &Hint::Tick, Duration::ZERO).await.unwrap();
        if outcome.phase == Some(CreatePhase::Asked) {
            return outcome.backup_id.unwrap();
        }
    }
    panic!("Weaviate is never asked: {:?}", record(world))
}

/// What verification and flip come to.
fn judge(world: &World, outcome: CloseOutcome) -> BackupId {
    let id = record(world).open.and_then(|open| open.named).unwrap().backup_id;
    let closed = vec![ClosedVerification { backup_id: id.clone(), outcome, reasons: vec!["because".into()] }];
    put(world, &Key::CurrentRun(Function::VerifyChecksums), &VerifyRun { closed, ..VerifyRun::default() });
    id
}

fn asked(world: &World) -> usize {
    world.count(Call::CreateBackup)
}
