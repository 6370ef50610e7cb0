use std::time::Duration;

use lifeboat_domain::event::Hint;
use lifeboat_domain::keys::Key;
use lifeboat_domain::runs::CloseOutcome;
use lifeboat_domain::verify::Part;

use crate::twins::{Call, Failure, FaultPlan, Mode, World, until_death};
use crate::verify_checksums::sample::*;
use crate::verify_checksums::{VerifyAct, VerifyPolicy};

/// A backup whose one shard is written and was answered by nobody.
async fn unanswered() -> World {
    let world = owned();
    let sample = Sample::new("a", 1, 10);
    sample.hand_over(&world);
    let hint = Hint::ObjectCreated { bucket: World::BUCKET.into(), key: sample.key("backup_config.json") };
    let _ = verify(&world, &hint).await.unwrap();
    world
}

fn tries(world: &World) -> u32 {
    record(world).open.get(&id("a")).and_then(|open| open.tries.get(&0)).map_or(0, |t| t.count)
}

/// Longer than any wait between two tries of a small shard.
const LONG: Duration = Duration::from_mins(35);

#[tokio::test]
async fn a_shard_that_keeps_failing_fails_its_backup_with_the_reason_after_a_bounded_number_of_tries() {
    let world = unanswered().await;
    let most = VerifyPolicy::new(World::BUCKET).shard_tries_max;
    for n in 1..=most {
        world.advance(LONG);
        world.fail_next(Call::Read, "Article/chunk-1", Failure::Denied);
        let outcome = verify(&world, &Hint::Tick).await;
        // The last one is reported: a person must look.
        assert_eq!(outcome.is_err(), n < most, "try {n}: {outcome:?}");
        assert_eq!(tries(&world), n);
    }
    let open = record(&world).open[&id("a")].clone();
    assert!(open.tries[&0].reason.contains("AccessDenied"), "{open:?}");
    assert_eq!(open.attempts, 0, "a shard's tries are counted as such");
    world.advance(LONG);
    let report = verify(&world, &Hint::Tick).await.unwrap();
    assert!(report.attention() && matches!(&report.acts[..], [VerifyAct::Failed { .. }]), "{report}");
    let verdict = verdict(&world, "a");
    assert_eq!(verdict.outcome, CloseOutcome::Failed);
    let reason = &verdict.reasons[0];
    assert!(reason.contains("shard 0 was tried 6 times") && reason.contains("AccessDenied"), "{reason}");
    assert_eq!(pointer(&world), None);
}

/// The number of the call at which the reader of the shard dies, when it is tried.
async fn deadly_call() -> usize {
    let world = unanswered().await;
    let _ = verify(&world, &Hint::Tick).await.unwrap();
    world.advance(LONG);
    let plan = FaultPlan::new(Mode::Watch);
    let ports = plan.ports(&world);
    let _ = verify_on(&world, &ports.bucket, &ports.clock, &Hint::Tick).await.unwrap();
    plan.calls().iter().position(|(_, key)| key.starts_with("backups/a/weaviate-0")).expect("the shard is read") + 1
}

/// A tick whose process dies as soon as it reads the shard.
async fn deadly_tick(world: &World, call: usize) {
    let plan = FaultPlan::new(Mode::Before { call });
    let ports = plan.ports(world);
    until_death(&plan, verify_on(world, &ports.bucket, &ports.clock, &Hint::Tick)).await;
}

#[tokio::test]
async fn a_shard_that_kills_its_readers_is_counted_before_each_dies_and_ends_the_same() {
    let (world, call) = (unanswered().await, deadly_call().await);
    let _ = verify(&world, &Hint::Tick).await.unwrap();
    for n in 1..=VerifyPolicy::new(World::BUCKET).shard_tries_max {
        world.advance(LONG);
        deadly_tick(&world, call).await;
        assert_eq!(tries(&world), n);
        assert!(world.bucket().keys("work/a/part-").is_empty());
        // The tick beside it leaves the shard to its reader.
        let beside = verify(&world, &Hint::Tick).await.unwrap();
        assert!(beside.to_string().contains("may be under way"), "{beside}");
        assert_eq!(tries(&world), n);
    }
    world.advance(LONG);
    let _ = verify(&world, &Hint::Tick).await.unwrap();
    assert!(verdict(&world, "a").reasons[0].contains("they may lack memory or time"));
}

#[tokio::test]
async fn each_try_waits_twice_as_long_as_the_one_before_and_one_that_is_answered_late_ends_it() {
    let (world, call) = (unanswered().await, deadly_call().await);
    let _ = verify(&world, &Hint::Tick).await.unwrap();
    let mut began = Vec::new();
    for minute in 1..=40 {
        world.advance(Duration::from_mins(1));
        let before = tries(&world);
        deadly_tick(&world, call).await;
        if tries(&world) > before {
            began.push(minute);
        }
    }
    let waits: Vec<i32> = began.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(waits, [2, 4, 8, 16], "tries began at the minutes {began:?}");
    // The event's own reader comes late.
    let hint = Hint::ObjectCreated { bucket: World::BUCKET.into(), key: "work/a/shard-00000.json".into() };
    let _ = verify(&world, &hint).await.unwrap();
    assert_eq!(document::<Part>(&world, &Key::Part(id("a"), 0)).unwrap().findings, []);
    ticks(&world, 2).await;
    assert_eq!(named(&world), Some(("a".into(), 1)));
}
