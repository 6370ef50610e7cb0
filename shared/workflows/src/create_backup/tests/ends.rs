//! How a backup ends, good or bad.

use super::*;

fn last_reason(world: &World) -> String {
    record(world).last.unwrap().reason
}

/// A marker, and an invocation for it.
async fn marked(world: &World) -> Outcome {
    mark(world);
    world.advance(Duration::from_secs(1));
    invoke(world).await
}

#[tokio::test]
async fn a_node_that_dies_before_success_ends_the_try_and_nothing_is_asked_of_a_successor_before_its_gate() {
    let (world, instance) = serving();
    mark(&world);
    until_asked(&world).await;
    world.kill(&instance);
    world.advance(10 * MINUTE);
    let outcome = invoke(&world).await;
    assert!(last_reason(&world).starts_with("node_gone"), "{outcome:?}");
    assert!(outcome.reason.starts_with("not_the_owner"), "{outcome:?}");

    let successor = world.instances().pop().unwrap();
    world.start_node(&successor).seed();
    own(&world, &successor, 2);
    let outcome = invoke(&world).await;
    assert!(outcome.reason.starts_with("not_the_owner"), "its gate is not open yet: {outcome:?}");
    assert_eq!(asked(&world), 1);
}

#[tokio::test]
async fn a_node_that_dies_after_success_leaves_a_one_sided_backup_with_the_proof() {
    let (world, instance) = serving();
    mark(&world);
    let id = until_asked(&world).await;
    world.advance(Duration::from_secs(5));
    world.kill(&instance);
    world.advance(Duration::from_secs(30));
    let outcome = invoke_for(&world, &Hint::Tick, Duration::ZERO).await.unwrap();
    assert_eq!(outcome.phase, Some(CreatePhase::Saved), "SSM lists it still, so nothing is proved: {outcome:?}");
    world.advance(10 * MINUTE);
    assert_eq!(invoke(&world).await.phase, Some(CreatePhase::Handed));
    let after: ObservedAfter = get(&world, &Key::ObservedAfter(id));
    let AfterObservation::NodeGone { proof } = after.observation else { panic!() };
    assert!(proof.contains("Auto Scaling lists") && proof.contains("does not answer"), "{proof}");
    judge(&world, CloseOutcome::Published);
    invoke(&world).await;
    assert_eq!(record(&world).last.unwrap().outcome, CloseOutcome::Published);
}

#[tokio::test]
async fn a_backup_of_fewer_classes_is_cancelled_and_fails() {
    let (world, instance) = serving();
    world.node(&instance).faults(|f| f.narrow_to = Some(vec!["Note".into(), "Tenanted".into()]));
    let outcome = marked(&world).await;
    assert!(outcome.attention, "{outcome:?}");
    assert!(last_reason(&world).starts_with("narrowed: Weaviate left out Article"), "{}", last_reason(&world));
    assert!(world.count(Call::CancelBackup) > 0);
    assert!(outcome.reason.starts_with("paced"), "{outcome:?}");
    world.node(&instance).faults(|f| f.narrow_to = None);
    world.advance(MINUTE);
    assert_eq!(invoke(&world).await.phase, Some(CreatePhase::Handed));
    assert_eq!(asked(&world), 2);
}

#[tokio::test]
async fn a_narrowed_backup_whose_reply_was_lost_is_found_by_its_descriptor() {
    let (world, instance) = serving();
    world.node(&instance).faults(|f| f.narrow_to = Some(vec!["Note".into()]));
    world.fail_next(Call::CreateBackup, "", Failure::ReplyLost);
    marked(&world).await;
    assert!(last_reason(&world).starts_with("narrowed"), "{}", last_reason(&world));
    assert_eq!(record(&world).covered_through, record(&world).attempted_through, "it covers nothing");
}

#[tokio::test]
async fn a_backup_without_an_end_is_cancelled_and_taken_again_under_a_new_id() {
    let (world, instance) = serving();
    world.node(&instance).faults(|f| f.hang_create = true);
    mark(&world);
    let first = until_asked(&world).await;
    world.advance(31 * MINUTE);
    let outcome = invoke(&world).await;
    assert!(outcome.attention && last_reason(&world).starts_with("stuck"), "{outcome:?}");
    world.node(&instance).faults(|f| f.hang_create = false);
    world.advance(2 * MINUTE);
    let outcome = invoke(&world).await;
    assert_eq!((outcome.phase, outcome.attempt), (Some(CreatePhase::Handed), Some(2)), "{outcome:?}");
    assert_ne!(outcome.backup_id, Some(first));
    judge(&world, CloseOutcome::Published);
    invoke(&world).await;
    assert_eq!(record(&world).failed_attempts, 0);
}

#[tokio::test]
async fn a_node_that_restarts_forgets_its_backup_which_stays_started_until_it_is_given_up() {
    let (world, instance) = serving();
    mark(&world);
    until_asked(&world).await;
    world.node(&instance).restart();
    world.advance(31 * MINUTE);
    invoke(&world).await;
    assert!(last_reason(&world).starts_with("stuck"), "{}", last_reason(&world));
    world.advance(2 * MINUTE);
    assert_eq!(invoke(&world).await.phase, Some(CreatePhase::Handed));
}

#[tokio::test]
async fn a_success_that_never_reaches_the_bucket_is_no_success() {
    let (world, instance) = serving();
    world.node(&instance).faults(|f| f.lose_final_put = true);
    mark(&world);
    until_asked(&world).await;
    world.advance(31 * MINUTE);
    invoke(&world).await;
    assert_eq!(record(&world).last.unwrap().outcome, CloseOutcome::Failed);
    assert!(world.bucket().keys("manifests/").iter().all(|key| !key.ends_with("observed-after.json")));
}

#[tokio::test]
async fn failing_polls_are_waited_out() {
    let (world, instance) = serving();
    world.node(&instance).faults(|f| f.failing_polls = 3);
    assert_eq!(marked(&world).await.phase, Some(CreatePhase::Handed));
    assert_eq!(asked(&world), 1);
}

#[tokio::test]
async fn weaviates_own_failure_and_refusal_end_the_try_with_their_text() {
    for refused in [true, false] {
        let (world, instance) = serving();
        world.node(&instance).faults(|f| {
            if refused {
                f.refuse_create = Some("no available classes to backup".into());
            } else {
                f.fail_create = Some("disk full".into());
            }
        });
        marked(&world).await;
        let says = if refused { "not_taken: Weaviate refuses it: no available" } else { "failed: Failed: disk full" };
        assert!(last_reason(&world).starts_with(says), "{}", last_reason(&world));
    }
}

#[tokio::test]
async fn another_backup_on_the_node_is_waited_for() {
    let (world, instance) = serving();
    world.node(&instance).faults(|f| f.refuse_create = Some("backup somebody-elses already in progress".into()));
    let outcome = marked(&world).await;
    assert!(outcome.reason.starts_with("busy") && outcome.phase == Some(CreatePhase::Asked), "{outcome:?}");
    assert_eq!(invoke(&world).await.phase, Some(CreatePhase::Handed));
}

#[tokio::test]
async fn an_empty_database_is_no_error_and_leaves_the_bucket_provably_empty() {
    let (world, instance) = World::serving();
    own(&world, &instance, 1);
    let outcome = invoke(&world).await;
    assert!(outcome.decision == "idle" && !outcome.attention, "{outcome:?}");
    assert_eq!(record(&world).last.unwrap().outcome, CloseOutcome::NothingToProtect);
    let backups = world.bucket().keys("backups/").len();
    assert_eq!((asked(&world), world.bucket().keys("manifests/").len(), backups), (0, 0, 0));
    let puts = world.count(Call::Put);
    world.advance(MINUTE);
    assert!(invoke(&world).await.reason.starts_with("nothing_owed"));
    assert_eq!(world.count(Call::Put), puts, "looked at once an interval, not once a minute");

    world.replace(&instance);
    world.advance(Duration::from_secs(5));
    let outcome = invoke(&world).await;
    assert!(outcome.reason.starts_with("final_taken"), "{outcome:?}");
    let last = record(&world).last.unwrap();
    assert!(last.is_final && last.outcome == CloseOutcome::NothingToProtect);
}

#[tokio::test]
async fn the_owner_under_its_terminate_hook_gets_one_final_backup_before_anything_else_that_runs() {
    let (world, instance) = serving();
    world.node(&instance).faults(|f| f.hang_create = true);
    mark(&world);
    let first = until_asked(&world).await;
    world.replace(&instance);
    world.advance(Duration::from_secs(5));
    let mut steps = Vec::new();
    while !steps.iter().any(|step: &String| step.starts_with("closed: preempted")) {
        steps.extend(invoke_for(&world, &Hint::Tick, Duration::from_secs(5)).await.unwrap().steps);
    }
    world.node(&instance).faults(|f| f.hang_create = false);
    let mut outcome = invoke_for(&world, &Hint::Tick, MINUTE).await.unwrap();
    for _ in 0..3 {
        outcome = invoke_for(&world, &Hint::Tick, MINUTE).await.unwrap();
    }
    assert_eq!(outcome.phase, Some(CreatePhase::Handed), "{outcome:?}");
    let expectations: Expectations = get(&world, &Key::Expectations(outcome.backup_id.clone().unwrap()));
    assert!(expectations.is_final && outcome.backup_id != Some(first));
    judge(&world, CloseOutcome::Published);
    for _ in 0..3 {
        assert!(invoke(&world).await.reason.starts_with("final_taken"));
    }
    assert_eq!(world.bucket().keys("runs/create-backup/done/").len(), 2);
}

#[tokio::test]
async fn a_backup_without_a_verdict_is_given_up_in_the_end() {
    let (world, _) = serving();
    marked(&world).await;
    world.advance(390 * MINUTE);
    invoke_for(&world, &Hint::Tick, Duration::ZERO).await.unwrap();
    assert!(last_reason(&world).starts_with("unverified"), "{}", last_reason(&world));
}
