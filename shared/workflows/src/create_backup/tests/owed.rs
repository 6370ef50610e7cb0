//! What asks for a backup, and how often one is taken.

use lifeboat_domain::runs::{Action, Request};

use super::*;

#[tokio::test]
async fn the_same_marker_three_times_is_one_backup_with_everything_recorded_about_it() {
    let (world, instance) = serving();
    let hint = mark(&world);
    for _ in 0..2 {
        mark(&world);
    }
    for _ in 0..3 {
        let outcome = invoke_for(&world, &hint, 10 * MINUTE).await.unwrap();
        assert_eq!((outcome.decision, outcome.phase), ("waiting", Some(CreatePhase::Handed)), "{outcome:?}");
    }
    let id = judge(&world, CloseOutcome::Published);
    let outcome = invoke(&world).await;
    assert_eq!(outcome.decision, "idle");
    assert!(outcome.reason.starts_with("nothing_owed") && !outcome.attention, "{outcome:?}");
    assert_eq!(asked(&world), 1);

    let expectations: Expectations = get(&world, &Key::Expectations(id.clone()));
    assert_eq!(expectations.instance, instance);
    assert_eq!(expectations.trigger, Trigger::Marker { key: MARKER.into(), dataset: "wiki".into() });
    assert_eq!(expectations.collections["Article"].count, 25);
    assert!((4..=16).contains(&expectations.collections["Article"].canaries.len()));
    assert_eq!(expectations.collections["Tenanted"].tenants["globex"].count, None, "never woken");
    let after: ObservedAfter = get(&world, &Key::ObservedAfter(id.clone()));
    let AfterObservation::Node { counts, changed, queries_changed, .. } = after.observation else { panic!() };
    assert_eq!((counts["Note"], changed.len(), queries_changed.len()), (12, 0, 0));
    let run = record(&world);
    assert_eq!(run.covered_through, Some(expectations.recorded_at));
    assert_eq!(run.last.unwrap().backup_id, Some(id));
    assert_eq!(world.bucket().keys("runs/create-backup/done/").len(), 1);
}

#[tokio::test]
async fn a_marker_in_the_very_second_of_the_record_is_covered_by_one_backup() {
    let (world, _) = serving();
    let hint = mark(&world);
    let marker_at = world.now();
    invoke_for(&world, &hint, 10 * MINUTE).await.unwrap();
    judge(&world, CloseOutcome::Published);
    assert_eq!(invoke(&world).await.decision, "idle");
    assert_eq!(asked(&world), 1);
    assert!(record(&world).covered_through.unwrap() > marker_at);
}

#[tokio::test]
async fn markers_during_a_running_backup_are_one_more_after_it() {
    let (world, _) = serving();
    mark(&world);
    until_asked(&world).await;
    for _ in 0..5 {
        mark(&world);
        let outcome = invoke(&world).await;
        assert_eq!(outcome.phase, Some(CreatePhase::Handed), "one at a time: {outcome:?}");
    }
    assert_eq!(asked(&world), 1);
    judge(&world, CloseOutcome::Published);
    assert_eq!(invoke(&world).await.phase, Some(CreatePhase::Handed));
    judge(&world, CloseOutcome::Published);
    assert_eq!(invoke(&world).await.decision, "idle");
    assert_eq!(asked(&world), 2);
}

#[tokio::test]
async fn a_held_backup_is_loud_and_not_taken_again_for_the_same_marker() {
    let (world, _) = serving();
    mark(&world);
    invoke(&world).await;
    judge(&world, CloseOutcome::Held);
    let outcome = invoke(&world).await;
    assert!(outcome.attention && outcome.steps.iter().any(|s| s == "closed: held: because"), "{outcome:?}");
    assert_eq!(invoke(&world).await.decision, "idle");
    assert_eq!(asked(&world), 1);
}

#[tokio::test]
async fn the_schedule_takes_a_backup_without_any_event() {
    let (world, _) = serving();
    assert_eq!(invoke(&world).await.decision, "idle");
    world.advance(60 * MINUTE);
    invoke(&world).await;
    judge(&world, CloseOutcome::Published);
    invoke(&world).await;
    assert_eq!(asked(&world), 1);
    assert_eq!(record(&world).last.unwrap().outcome, CloseOutcome::Published);
}

#[tokio::test]
async fn a_request_is_acted_upon_once_and_one_that_cannot_be_read_is_named_and_stops_nothing() {
    let (world, _) = serving();
    let request = Request { by: "ann".into(), reason: "before the upgrade".into(), action: Action::Backup };
    put(&world, &Key::Request(Function::CreateBackup, "r1".into()), &request);
    world.bucket().put_raw("requests/create-backup/r2.json", "{");
    world.advance(Duration::from_secs(1));
    let outcome = invoke(&world).await;
    let expectations: Expectations = get(&world, &Key::Expectations(outcome.backup_id.unwrap()));
    assert_eq!(expectations.trigger, Trigger::Request { id: "r1".into(), by: "ann".into() });
    judge(&world, CloseOutcome::Refused);
    invoke(&world).await;
    assert_eq!(invoke(&world).await.decision, "idle");
    assert_eq!(asked(&world), 1);

    world.bucket().put_raw("requests/create-backup/r3.json", "{}");
    let outcome = invoke(&world).await;
    assert_eq!(outcome.decision, "idle");
    assert!(outcome.attention && outcome.refused_requests[0].contains("r3.json"), "{outcome:?}");
}

#[tokio::test]
async fn nobody_but_the_owner_in_service_is_backed_up() {
    let (world, instance) = serving();
    mark(&world);
    let mut other: Ownership = get(&world, &Key::Ownership);
    other.owner = InstanceId::parse("i-0dead").unwrap();
    put(&world, &Key::Ownership, &other);
    assert!(invoke(&world).await.reason.starts_with("not_the_owner"));
    world.bucket().erase("ownership.json");
    assert!(invoke(&world).await.reason.starts_with("no_owner"));
    assert_eq!((asked(&world), world.count(Call::Meta)), (0, 0));
    own(&world, &instance, 2);
    assert_eq!(invoke(&world).await.phase, Some(CreatePhase::Handed));
}

#[tokio::test]
async fn an_event_that_is_not_ours_reads_nothing() {
    let (world, _) = serving();
    let before = world.calls().len();
    let outcome = invoke_for(&world, &Hint::NotForUs { reason: "x".into() }, MINUTE).await.unwrap();
    assert_eq!((outcome.decision, world.calls().len()), ("not_for_us", before));
}

#[tokio::test]
async fn an_idle_tick_costs_the_same_after_ten_backups_and_after_many_and_writes_nothing() {
    let mut costs = Vec::new();
    for backups in [10, 2_000] {
        let (world, _) = serving();
        for n in 0..backups {
            world.bucket().put_raw(&format!("manifests/b{n}/manifest.json"), "{}");
            world.bucket().put_raw(&format!("runs/create-backup/done/2026-11-20t000000z-b{n}.json"), "{}");
        }
        let before = world.calls().len();
        assert_eq!(invoke(&world).await.decision, "idle");
        assert_eq!(world.count(Call::Put), 0);
        costs.push(world.calls().len() - before);
    }
    assert_eq!(costs, [6, 6], "three keys, the group, one page of markers, one of requests");
}

#[tokio::test]
async fn a_marker_among_more_than_one_look_takes_is_found_by_later_ticks_and_at_once_by_its_event() {
    for by_event in [false, true] {
        let (world, _) = serving();
        world.set(|s| s.page_size = 2);
        world.advance(MINUTE);
        let markers = world.bucket_named("markers");
        for n in 0..95 {
            markers.put_raw(&format!("indexing/data/part-{n:03}"), "");
        }
        let hint = mark(&world);
        let hint = if by_event { hint } else { Hint::Tick };
        let mut ticks = 0;
        while asked(&world) == 0 {
            ticks += 1;
            invoke_for(&world, &hint, 10 * MINUTE).await.unwrap();
        }
        assert_eq!(ticks, if by_event { 1 } else { 3 });
        judge(&world, CloseOutcome::Published);
        for _ in 0..5 {
            invoke(&world).await;
        }
        assert_eq!(asked(&world), 1);
    }
}
