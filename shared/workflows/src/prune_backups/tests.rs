use std::time::Duration;

use lifeboat_domain::Timestamp;
use lifeboat_domain::document::{decode, encode};
use lifeboat_domain::event::Hint;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::restore::run::{Choice, OpenRestore, RestoreRun};
use lifeboat_domain::retention::{Policy, PruneRun, Pruned};
use lifeboat_domain::runs::{Action, Request};

use super::{Outcome, Ports, PruneError, PrunePolicy, run};
use crate::invocation::Patience;
use crate::ports::{Bucket, Clock, Deletes};
use crate::twins::{Call, Failure, World, for_each_crash_point};
use crate::verify_checksums::sample::*;

const DAY: Duration = Duration::from_secs(86_400);

fn policy(last: u32) -> PrunePolicy {
    let retention = Policy { last, daily: 0, weekly: 0, monthly: 0, published_min: 0, grace: DAY, ..Policy::default() };
    PrunePolicy { bucket: World::BUCKET.into(), retention, every: DAY }
}

async fn prune_on(
    world: &World,
    bucket: &(impl Bucket + Deletes),
    clock: &impl Clock,
    hint: &Hint,
) -> Result<Outcome, PruneError> {
    let patience = Patience { until: world.now() + Duration::from_secs(600), poll: Duration::from_secs(2) };
    run(&Ports { bucket, deletes: bucket, clock }, &policy(1), hint, patience).await
}

async fn prune(world: &World) -> Result<Outcome, PruneError> {
    prune_on(world, &world.bucket(), &world.clock(), &Hint::Tick).await
}

async fn pruned(world: &World) -> Pruned {
    match prune(world).await {
        Ok(Outcome::Pruned { pruned }) => pruned,
        other => panic!("{other:?}"),
    }
}

/// Backups of these names published one after the other, a day between them.
async fn published(names: &[&'static str]) -> World {
    let world = owned();
    for (n, name) in (0..).zip(names) {
        Sample::new(name, 1, 10 + n).hand_over(&world);
        ticks(&world, 3).await;
        world.advance(DAY);
    }
    assert_eq!(named(&world).map(|(name, _)| name).as_deref(), names.last().copied());
    world
}

fn names(ids: &[lifeboat_domain::ids::BackupId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn data(world: &World, name: &str) -> usize {
    world.bucket().keys(&format!("backups/{name}/")).len()
}

fn put<T: lifeboat_domain::document::Document>(world: &World, key: &Key, document: &T) {
    world.bucket().put_raw(&key.to_string(), encode(document));
}

#[tokio::test]
async fn what_the_policy_no_longer_asks_for_gets_a_tombstone_waits_and_then_goes_and_its_evidence_stays() {
    let world = published(&["a", "b", "c", "d"]).await;
    let first = pruned(&world).await;
    assert_eq!(names(&first.buried), ["a", "b"], "c is the pointer's previous");
    assert!(first.deleted.is_empty());
    assert_eq!(prune(&world).await.unwrap(), Outcome::NotDue);
    let before = data(&world, "a");
    assert!(before > 0);

    world.advance(DAY);
    let second = pruned(&world).await;
    assert_eq!(names(&second.deleted), ["a", "b"]);
    assert_eq!((data(&world, "a"), data(&world, "b")), (0, 0));
    assert!(data(&world, "c") > 0 && data(&world, "d") > 0);
    let kept = world.bucket().keys("manifests/a/");
    for what in ["manifest.json", "objects.ndjson", "SHA256SUMS", "evidence/tombstone-", "evidence/deleted-"] {
        assert!(kept.iter().any(|key| key.contains(what)), "{what} of {kept:?}");
    }
    let chunk = Sample::new("a", 1, 10).chunk("Article", 1);
    assert!(world.bucket().versions(&chunk) > 1, "the version is still there, behind the marker");

    world.advance(DAY * 399);
    assert!(pruned(&world).await.forgotten.is_empty());
    world.advance(DAY);
    assert_eq!(names(&pruned(&world).await.forgotten), ["a", "b"]);
    assert_eq!(world.bucket().keys("manifests/a/"), [""; 0]);
}

#[tokio::test]
async fn whatever_comes_to_need_a_backup_during_the_grace_keeps_it() {
    type Need = fn(&World);
    let needs: [(&str, Need); 4] = [
        ("a pin", |world| {
            world.bucket().put_raw("manifests/a/evidence/pin-2026-12-30t000000z.json", "{}");
        }),
        ("a restore that chose it", |world| {
            let manifest = pointer(world).unwrap().manifest;
            let mut open = OpenRestore::new("i-0b".parse_id(), None, world.now());
            open.choice = Some(Choice::Backup {
                backup_id: id("a"),
                manifest,
                sequence: None,
                rung: Default::default(),
                path: None,
            });
            let run = RestoreRun { open: Some(open), ..RestoreRun::default() };
            put(world, &Key::CurrentRun(Function::DriveRestore), &run);
        }),
        ("a person's wish to restore it", |world| {
            let run = RestoreRun { requested: Some(id("a")), ..RestoreRun::default() };
            put(world, &Key::CurrentRun(Function::DriveRestore), &run);
        }),
        ("a request that nobody has read yet", |world| ask(world, "r1", Action::Rollback { to: id("a") })),
    ];
    for (what, need) in needs {
        let world = published(&["a", "b", "c"]).await;
        assert_eq!(names(&pruned(&world).await.buried), ["a"], "{what}");
        need(&world);
        world.advance(DAY);
        let pruned = pruned(&world).await;
        assert_eq!((names(&pruned.reprieved), pruned.deleted.len()), (vec!["a".to_owned()], 0), "{what}");
        assert!(data(&world, "a") > 0, "{what}");
        assert_eq!(crate::standing::of(&world.bucket(), &id("a")).await.unwrap().tombstone(), None, "{what}");
    }
}

trait ParseId {
    fn parse_id(self) -> lifeboat_domain::ids::InstanceId;
}

impl ParseId for &str {
    fn parse_id(self) -> lifeboat_domain::ids::InstanceId {
        lifeboat_domain::ids::InstanceId::parse(self).unwrap()
    }
}

#[tokio::test]
async fn a_need_that_appears_between_the_plan_and_the_delete_is_seen() {
    let world = published(&["a", "b", "c", "d"]).await;
    pruned(&world).await;
    world.advance(DAY);
    // The deletion of a fails; meanwhile b, planned to go in the same run, is chosen by a restore.
    world.fail_next(Call::Hide, "backups/a/", Failure::Denied);
    assert!(matches!(prune(&world).await, Err(PruneError::Delete { .. })));
    ask(&world, "r1", Action::Restore { backup_id: id("b") });
    let second = pruned(&world).await;
    assert_eq!((names(&second.deleted), names(&second.reprieved)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert!(data(&world, "b") > 0);
}

#[tokio::test]
async fn with_one_manifest_that_cannot_be_read_nothing_at_all_is_deleted_and_a_person_is_told() {
    let world = published(&["a", "b", "c"]).await;
    pruned(&world).await;
    world.bucket().put_raw("manifests/b/manifest.json", "{");
    world.advance(DAY);
    let outcome = prune(&world).await.unwrap();
    assert!(outcome.attention(), "{outcome:?}");
    let Outcome::Pruned { pruned } = outcome else { panic!("{outcome:?}") };
    assert!(pruned.refused.unwrap().contains("manifests/b/manifest.json"));
    assert!(data(&world, "a") > 0);
}

#[tokio::test]
async fn with_a_record_that_cannot_be_read_nothing_at_all_is_deleted() {
    for key in ["latest_weaviate_backup.manifest.json", "ownership.json", "runs/drive-restore/current.json"] {
        let world = published(&["a", "b", "c"]).await;
        pruned(&world).await;
        world.bucket().put_raw(key, "{");
        world.advance(DAY);
        let error = prune(&world).await.unwrap_err();
        assert!(matches!(error, PruneError::Store(_)), "{key}: {error:?}");
        assert!(data(&world, "a") > 0, "{key}");
    }
}

#[tokio::test]
async fn a_failed_backup_goes_after_a_fortnight_and_one_that_nobody_judged_never() {
    let world = published(&["a"]).await;
    let (failed, unjudged, foreign) = (Sample::new("f", 1, 20), Sample::new("u", 1, 21), Sample::new("x", 1, 22));
    for sample in [&failed, &unjudged, &foreign] {
        sample.save(&world);
    }
    world.bucket().erase("manifests/x/expectations.json");
    world.bucket().put_raw(&failed.key("backup_config.json"), failed.global("FAILED").to_string());
    world.advance(DAY * 15);
    assert_eq!(names(&pruned(&world).await.buried), ["f"]);
    world.advance(DAY);
    assert_eq!(names(&pruned(&world).await.deleted), ["f"]);
    assert!(data(&world, "u") > 0 && data(&world, "x") > 0);
}

#[tokio::test]
async fn in_a_bucket_without_versions_nothing_is_deleted() {
    let world = published(&["a", "b", "c"]).await;
    pruned(&world).await;
    world.set(|settings| settings.versioned = false);
    world.advance(DAY);
    assert!(matches!(prune(&world).await, Err(PruneError::NoVersions { .. })));
    assert!(data(&world, "a") > 0);
}

#[tokio::test]
async fn a_person_can_ask_for_a_look_now_once() {
    let world = published(&["a", "b", "c"]).await;
    pruned(&world).await;
    let request = Request { by: "ada".into(), reason: "the disk bill".into(), action: Action::Prune };
    let key = Key::Request(Function::PruneBackups, "r1".into());
    put(&world, &key, &request);
    let hint = Hint::ObjectCreated { bucket: World::BUCKET.into(), key: key.to_string() };
    let ask = async || prune_on(&world, &world.bucket(), &world.clock(), &hint).await.unwrap();
    assert!(matches!(ask().await, Outcome::Pruned { .. }));
    assert!(matches!(ask().await, Outcome::Ignored { .. }));
}

#[tokio::test]
async fn an_idle_tick_reads_one_key_however_many_backups_there_are() {
    let world = published(&["a", "b", "c"]).await;
    pruned(&world).await;
    let before = world.calls().len();
    assert_eq!(prune(&world).await.unwrap(), Outcome::NotDue);
    let calls: Vec<Call> = world.calls()[before..].iter().map(|c| c.call).collect();
    assert_eq!(calls, [Call::Get]);
}

#[tokio::test]
async fn whatever_call_it_dies_at_the_same_backups_are_gone_and_the_same_evidence_is_there() {
    let make = || {
        std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    let world = published(&["a", "b", "c", "d"]).await;
                    pruned(&world).await;
                    ask(&world, "r1", Action::Verify { backup_id: id("b") });
                    world.advance(DAY);
                    world
                })
            });
            made.join().unwrap()
        })
    };
    let end = |world: &World| {
        let kinds = |name: &str| {
            let keys = world.bucket().keys(&format!("manifests/{name}/evidence/"));
            let kind = |key: &String| match Key::parse(key) {
                Some(Key::Evidence(_, kind, _)) => kind,
                other => panic!("{other:?}"),
            };
            keys.iter().map(kind).collect::<std::collections::BTreeSet<_>>()
        };
        let record = world.bucket().bytes("runs/prune-backups/current.json").unwrap();
        let record: PruneRun = decode("record", &record).unwrap();
        let data = ["a", "b", "c", "d"].map(|name| data(world, name) > 0);
        (data, kinds("a"), kinds("b"), record.open.is_some())
    };
    let report = for_each_crash_point(
        make,
        async |world, ports| {
            let _ = prune_on(&world, &ports.bucket, &ports.clock, &Hint::Tick).await;
        },
        end,
    )
    .await;
    assert_eq!(report.end.0, [false, true, true, true]);
    assert!(report.points > 20, "{report:?}");
}

#[tokio::test]
async fn time_that_is_up_leaves_the_run_open_for_the_next_tick() {
    let world = published(&["a", "b", "c", "d"]).await;
    let patience = Patience { until: Timestamp::UNIX_EPOCH, poll: Duration::from_secs(2) };
    let (bucket, clock) = (world.bucket(), world.clock());
    let ports = Ports { bucket: &bucket, deletes: &bucket, clock: &clock };
    let outcome = run(&ports, &policy(1), &Hint::Tick, patience).await.unwrap();
    assert!(matches!(outcome, Outcome::Unfinished { .. }), "{outcome:?}");
    assert_eq!(names(&pruned(&world).await.buried), ["a", "b"]);
}
