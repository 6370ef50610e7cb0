//! Dying anywhere, several at once, and state that cannot be read.

use super::*;
use crate::twins::{Effect, for_each_crash_point};

fn backups_asked(world: &World) -> usize {
    world.effects().into_iter().filter(|effect| matches!(effect, Effect::BackupAsked { .. })).count()
}

#[tokio::test]
async fn whoever_comes_after_a_crash_at_any_call_finishes_the_same_one_backup() {
    let report = for_each_crash_point(
        || {
            let (world, instance) = serving();
            world.node(&instance).drop_class("Note");
            mark(&world);
            world.advance(Duration::from_secs(1));
            world
        },
        async |world, ports| {
            let ports = Ports {
                bucket: &ports.bucket,
                markers: &ports.markers,
                group: &ports.group,
                nodes: &ports.nodes,
                hosts: &ports.hosts,
                clock: &ports.clock,
            };
            let patience = Patience { until: world.now() + MINUTE, poll: Duration::from_secs(2) };
            let _ = run(&ports, &policy(), &Hint::Tick, patience).await;
            // Verification and flip, which are not under test here.
            if record(&world).open.is_some_and(|open| open.phase == CreatePhase::Handed) {
                judge(&world, CloseOutcome::Published);
            }
        },
        |world| {
            let run = record(world);
            let written = ["expectations.json", "observed-after.json"]
                .map(|name| world.bucket().keys("manifests/").iter().filter(|key| key.ends_with(name)).count());
            let done = world.bucket().keys("runs/create-backup/done/").len();
            let last = run.last.map(|last| (last.outcome, last.reason));
            (run.open.is_none(), last, run.failed_attempts, backups_asked(world), written, done)
        },
    )
    .await;
    assert_eq!(report.end, (true, Some((CloseOutcome::Published, String::new())), 0, 1, [1, 1], 1));
    assert!(report.points > 100, "{report:?}");
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
