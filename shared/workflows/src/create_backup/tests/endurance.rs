//! Dying anywhere, several at once, and state that cannot be read.

use lifeboat_domain::expectations::TenantStatus;

use super::*;
use crate::twins::{Effect, for_each_crash_point};

fn backups_asked(world: &World) -> usize {
    world.effects().into_iter().filter(|effect| matches!(effect, Effect::BackupAsked { .. })).count()
}

/// What must be the same however often somebody died: nothing open, how it ended, what was asked and written.
#[derive(Debug, PartialEq)]
struct End {
    open: bool,
    last: Option<(CloseOutcome, bool)>,
    failed_attempts: u32,
    backups_asked: usize,
    observed_after: usize,
    done: usize,
}

fn end(world: &World) -> End {
    let run = record(world);
    let observed_after =
        world.bucket().keys("manifests/").into_iter().filter(|key| key.ends_with("observed-after.json"));
    End {
        open: run.open.is_some(),
        last: run.last.map(|last| (last.outcome, last.is_final)),
        failed_attempts: run.failed_attempts,
        backups_asked: backups_asked(world),
        observed_after: observed_after.count(),
        done: world.bucket().keys("runs/create-backup/done/").len(),
    }
}

/// Dies at every call of a run that begins in this world; `between` is what others do between two invocations.
async fn die_everywhere(make_world: impl Fn() -> World, between: impl Fn(&World)) -> (End, usize) {
    let report = for_each_crash_point(
        make_world,
        async |world, ports| {
            between(&world); // the one after a death is not reached
            let ports = Ports {
                bucket: &ports.bucket,
                markers: &ports.markers,
                group: &ports.group,
                nodes: &ports.nodes,
                hosts: &ports.hosts,
                addresses: &ports.addresses,
                clock: &ports.clock,
            };
            let patience = Patience { until: world.now() + MINUTE / 3, poll: Duration::from_secs(6) };
            let _ = run(&ports, &policy(), &Hint::Tick, patience).await;
            // Verification and flip, which are not under test here.
            if record(&world).open.is_some_and(|open| open.phase == CreatePhase::Handed) {
                judge(&world, CloseOutcome::Published);
            }
            between(&world);
        },
        end,
    )
    .await;
    (report.end, report.points)
}

/// An owner in service with two objects, so that there are few calls to die at, and a marker.
fn marked() -> (World, InstanceId) {
    let (world, instance) = serving();
    let node = world.node(&instance);
    for class in ["Article", "Note", "Tenanted"] {
        node.drop_class(class);
    }
    node.add_class("Small", false, "cosine").put_many("Small", None, 2);
    mark(&world);
    world.advance(Duration::from_secs(1));
    (world, instance)
}

#[tokio::test]
async fn whoever_comes_after_a_crash_at_any_call_finishes_the_same_one_backup() {
    let with_tenants = || {
        let (world, instance) = marked();
        let node = world.node(&instance);
        node.add_class("Many", true, "cosine").set_tenant("Many", "on", TenantStatus::Active);
        node.put_many("Many", Some("on"), 2).set_tenant("Many", "off", TenantStatus::Inactive);
        world
    };
    let (end, points) = die_everywhere(with_tenants, |_| {}).await;
    let last = Some((CloseOutcome::Published, false));
    assert_eq!(end, End { open: false, last, failed_attempts: 0, backups_asked: 1, observed_after: 1, done: 1 });
    assert!(points > 80, "{points}");
}

#[tokio::test]
async fn a_crash_at_any_call_of_a_narrowed_backup_never_saves_it() {
    let narrowed = || {
        let (world, instance) = marked();
        world.node(&instance).add_class("Other", false, "cosine").put_many("Other", None, 2);
        world.node(&instance).faults(|f| f.narrow_to = Some(vec!["Other".into()]));
        world
    };
    // The rights are put right once the first try has failed.
    let put_right = |world: &World| {
        if record(world).last.is_some() {
            let owner: Ownership = get(world, &Key::Ownership);
            world.node(&owner.owner).faults(|f| f.narrow_to = None);
        }
    };
    let (end, _) = die_everywhere(narrowed, put_right).await;
    let last = Some((CloseOutcome::Published, false));
    assert_eq!(end, End { open: false, last, failed_attempts: 0, backups_asked: 2, observed_after: 1, done: 2 });
}

#[tokio::test]
async fn a_crash_at_any_call_of_a_final_backup_leaves_one_final_backup() {
    let leaving = || {
        let (world, instance) = marked();
        world.replace(&instance);
        world.advance(Duration::from_secs(5));
        world
    };
    let (end, _) = die_everywhere(leaving, |_| {}).await;
    let last = Some((CloseOutcome::Published, true));
    assert_eq!(end, End { open: false, last, failed_attempts: 0, backups_asked: 1, observed_after: 1, done: 1 });
}

#[tokio::test]
async fn a_crash_at_any_call_on_an_empty_database_asks_for_nothing() {
    let empty = || {
        let (world, instance) = marked();
        world.node(&instance).drop_class("Small");
        world
    };
    let (end, _) = die_everywhere(empty, |_| {}).await;
    let last = Some((CloseOutcome::NothingToProtect, false));
    assert_eq!(end, End { open: false, last, failed_attempts: 0, backups_asked: 0, observed_after: 0, done: 1 });
}

#[tokio::test]
async fn what_cannot_be_read_stops_everything_and_is_not_overwritten() {
    for key in ["latest_weaviate_backup.manifest.json", "ownership.json", "runs/create-backup/current.json"] {
        for body in ["{", r#"{"schema":"lifeboat/pointer/2.0"}"#, ""] {
            let (world, _) = serving();
            mark(&world);
            world.bucket().put_raw(key, body);
            let error = invoke_for(&world, &Hint::Tick, MINUTE).await.unwrap_err();
            assert!(matches!(error, Error::Store(_)), "{error:?}");
            assert_eq!((world.count(Call::Put), asked(&world)), (0, 0), "{key} {body}");
            assert_eq!(world.bucket().bytes(key).unwrap(), body.as_bytes());
        }
    }
}

#[tokio::test]
async fn an_unreadable_manifest_of_the_handed_backup_is_an_error_and_not_a_verdict() {
    let (world, _) = serving();
    mark(&world);
    let id = invoke(&world).await.backup_id.unwrap();
    world.bucket().put_raw(&Key::Manifest(id).to_string(), "{");
    assert!(invoke_for(&world, &Hint::Tick, MINUTE).await.is_err());
    assert!(record(&world).open.is_some());
}

#[tokio::test]
async fn two_invocations_at_once_take_one_backup() {
    let (world, _) = serving();
    mark(&world);
    world.advance(Duration::from_secs(1));
    let (one, other) = futures::join!(invoke(&world), invoke(&world));
    assert_eq!((one.phase, other.phase), (Some(CreatePhase::Handed), Some(CreatePhase::Handed)));
    assert_eq!(one.backup_id, other.backup_id);
    let ids: std::collections::BTreeSet<String> =
        world.bucket().keys("backups/").iter().filter_map(|key| key.split('/').nth(1).map(str::to_owned)).collect();
    assert_eq!(ids.len(), 1, "{one:?} {other:?}");
}

#[tokio::test]
async fn an_outcome_is_one_flat_line() {
    let (world, _) = serving();
    let outcome = invoke(&world).await;
    let line = serde_json::to_value(&outcome).unwrap();
    assert_eq!(line, json!({"decision": "idle", "reason": outcome.reason, "steps": [], "attention": false}));
}
