use std::time::Duration;

use lifeboat_domain::document::encode;
use lifeboat_domain::event::Hint;
use lifeboat_domain::expectations::AfterObservation;
use lifeboat_domain::flip::{DecisionEvidence, OverrideEvidence, RequestOutcome};
use lifeboat_domain::manifest::{Consistency, GuardDecision, Manifest};
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::runs::{Action, CloseOutcome, FlipRun};

use super::*;
use crate::twins::{Call, Effect, Failure, World};
use crate::verify_checksums::sample::*;

async fn tick(world: &World) -> FlipReport {
    flip(world, &Hint::Tick).await.unwrap()
}

/// A world in which backup `a` (as of 10) is published in generation 1.
async fn published() -> World {
    let world = owned();
    Sample::new("a", 1, 10).hand_over(&world);
    ticks(&world, 3).await;
    assert_eq!(named(&world), Some(("a".into(), 1)));
    world
}

async fn next(world: &World, sample: &Sample) {
    sample.hand_over(world);
    ticks(world, 3).await;
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn manifest(world: &World, name: &str) -> Manifest {
    document(world, &key(&format!("manifests/{name}/manifest.json"))).unwrap()
}

#[tokio::test]
async fn with_every_event_off_ticks_alone_take_a_backup_from_success_to_the_pointer() {
    let world = owned();
    let sample = Sample::new("a", 1, 10);
    sample.hand_over(&world);
    ticks(&world, 3).await;
    let pointer = pointer(&world).unwrap();
    assert_eq!((pointer.backup_id.as_str(), pointer.sequence.0, pointer.generation.0), ("a", 1, 1));
    assert_eq!(pointer.data_as_of, sample.recorded_at());
    let manifest = manifest(&world, "a");
    assert_eq!((manifest.consistency, &manifest.decision), (Consistency::Exact, &GuardDecision::Publish));
    assert_eq!((manifest.totals.files, manifest.totals.objects), (6, 120));
    assert_eq!(manifest.requirements.uncompressed_size_bytes, 12345);
    assert_eq!(verdict(&world, "a").outcome, CloseOutcome::Published);
    let staged = world.bucket().bytes("latest_weaviate_backup.manifest.json.tmp");
    assert_eq!(staged, world.bucket().bytes("latest_weaviate_backup.manifest.json"));
    let sums = String::from_utf8(world.bucket().bytes("manifests/a/SHA256SUMS").unwrap()).unwrap();
    assert!(sums.lines().any(|l| l.ends_with("  weaviate-0/Article/chunk-1")), "{sums}");
}

#[tokio::test]
async fn with_events_alone_and_each_of_them_twice_the_end_is_the_same_and_the_pointer_is_written_once() {
    for times in [1, 2, 3] {
        let world = owned();
        let sample = Sample::new("a", 1, 10);
        sample.save(&world);
        pump(&world, times).await;
        assert_eq!(named(&world), None, "nothing is published before it is observed");
        sample.observe(&world);
        pump(&world, times).await;
        assert_eq!(named(&world), Some(("a".into(), 1)));
        let writes = world.effects().iter().filter(|e| matches!(e, Effect::PointerWritten { .. })).count();
        assert_eq!(writes, 1, "times {times}");
        ticks(&world, 2).await;
        assert_eq!(named(&world), Some(("a".into(), 1)));
    }
}

#[tokio::test]
async fn an_older_backup_that_is_verified_late_is_refused_and_keeps_its_manifest() {
    let world = owned();
    let (a, b) = (Sample::new("a", 1, 10), Sample::new("b", 1, 20));
    a.save(&world);
    next(&world, &b).await;
    assert_eq!(named(&world), Some(("b".into(), 1)));
    a.observe(&world);
    next(&world, &a).await;
    assert_eq!(named(&world), Some(("b".into(), 1)));
    let verdict = verdict(&world, "a");
    assert_eq!(verdict.outcome, CloseOutcome::Refused);
    assert!(verdict.reasons[0].contains("its data is as of"), "{:?}", verdict.reasons);
    assert!(matches!(manifest(&world, "a").decision, GuardDecision::Refuse { .. }));
}

#[tokio::test]
async fn a_dead_nodes_backup_that_is_verified_after_its_successors_gate_is_refused() {
    let world = published().await;
    let b = Sample::new("b", 1, 20);
    b.save(&world);
    own(&world, 2, restored("a"));
    let opened = Hint::ObjectCreated { bucket: World::BUCKET.into(), key: "ownership.json".into() };
    assert_eq!(flip(&world, &opened).await.unwrap().to_string(), "the pointer stands for generation 2, sequence 2: a");
    let mut gone = b.observed();
    gone.observation = AfterObservation::NodeGone { proof: "terminated".into() };
    world.bucket().put_raw("manifests/b/observed-after.json", encode(&gone));
    b.name_in_run(&world);
    ticks(&world, 3).await;
    assert_eq!(named(&world), Some(("a".into(), 2)));
    assert!(verdict(&world, "b").reasons[0].contains("owned by generation 2"));
    assert_eq!(manifest(&world, "b").consistency, Consistency::OneSided);
}

#[tokio::test]
async fn a_flip_that_slips_in_before_the_restamp_is_replaced_by_it_with_both_backups_recorded() {
    let world = published().await;
    next(&world, &Sample::new("b", 1, 20)).await;
    own(&world, 2, restored("a"));
    let _ = tick(&world).await;
    let pointer = pointer(&world).unwrap();
    assert_eq!((pointer.backup_id.as_str(), pointer.generation.0, pointer.sequence.0), ("a", 2, 3));
    let overridden = pointer.overridden.unwrap();
    assert_eq!((overridden.replaces, overridden.chosen), (Some(id("b")), id("a")));
    assert_eq!(tick(&world).await.acts, [], "once is enough");
}

#[tokio::test]
async fn a_rollback_holds_against_the_next_scheduled_backup_until_the_gate_of_a_node_restored_from_it() {
    let world = published().await;
    next(&world, &Sample::new("b", 1, 20)).await;
    ask(&world, "r1", Action::Rollback { to: id("a") });
    let report = tick(&world).await.to_string();
    assert_eq!(report, "request r1 is done: the pointer names a, sequence 3");
    next(&world, &Sample::new("c", 1, 30)).await;
    assert_eq!(named(&world), Some(("a".into(), 3)));
    assert!(verdict(&world, "c").reasons[0].contains("ann stopped flips"));

    own(&world, 2, restored("a"));
    let _ = tick(&world).await;
    assert_eq!((named(&world), pointer(&world).unwrap().flips_stopped), (Some(("a".into(), 4)), None));
    next(&world, &Sample::new("d", 2, 40)).await;
    assert_eq!(named(&world), Some(("d".into(), 5)));

    let keys = world.bucket().keys("manifests/a/evidence/override-");
    let evidence: OverrideEvidence = document(&world, &key(&keys[0])).unwrap();
    assert_eq!((evidence.request.as_str(), evidence.asked.by.as_str()), ("r1", "ann"));
    assert_eq!((evidence.replaces, evidence.chosen), (Some(id("b")), id("a")));
}

#[tokio::test]
async fn resume_flips_lifts_the_stop_and_the_next_backup_is_published() {
    let world = published().await;
    next(&world, &Sample::new("b", 1, 20)).await;
    ask(&world, "r1", Action::Rollback { to: id("a") });
    ask(&world, "r2", Action::ResumeFlips);
    let _ = tick(&world).await;
    assert_eq!(named(&world), Some(("a".into(), 4)));
    next(&world, &Sample::new("c", 1, 30)).await;
    assert_eq!(named(&world), Some(("c".into(), 5)));
}

#[tokio::test]
async fn a_backup_that_shrank_is_held_until_a_person_approves_or_rejects_it() {
    for approve in [true, false] {
        let world = published().await;
        let mut small = Sample::new("b", 1, 20);
        small.counts.insert("Article", 1);
        next(&world, &small).await;
        assert_eq!((named(&world), verdict(&world, "b").outcome), (Some(("a".into(), 1)), CloseOutcome::Held));
        assert!(matches!(manifest(&world, "b").decision, GuardDecision::Hold { .. }));
        let backup_id = id("b");
        ask(&world, "r", if approve { Action::Approve { backup_id } } else { Action::Reject { backup_id } });
        let _ = tick(&world).await;
        let (name, outcome) = if approve { ("b", CloseOutcome::Published) } else { ("a", CloseOutcome::Refused) };
        assert_eq!(named(&world).unwrap().0, name);
        assert_eq!(verdict(&world, "b").outcome, outcome);
        if approve {
            assert_eq!(pointer(&world).unwrap().overridden.unwrap().replaces, Some(id("a")));
        } else {
            assert_eq!(verdict(&world, "b").reasons, ["rejected by ann: bad import"]);
        }
    }
}

#[tokio::test]
async fn a_collection_that_was_lost_is_held_by_name() {
    let world = published().await;
    let mut narrow = Sample::new("b", 1, 20);
    narrow.counts.remove("Note");
    next(&world, &narrow).await;
    assert!(verdict(&world, "b").reasons[0].contains("[\"Note\"]"));
    assert_eq!(named(&world), Some(("a".into(), 1)));
}

#[tokio::test]
async fn requests_that_cannot_be_done_are_refused_with_their_reason_and_done_ones_never_repeated() {
    let world = published().await;
    next(&world, &Sample::new("b", 1, 20)).await;
    ask(&world, "q1", Action::Rollback { to: id("none") });
    ask(&world, "q2", Action::Reject { backup_id: id("a") });
    ask(&world, "q3", Action::Approve { backup_id: id("b") });
    ask(&world, "q4", Action::Backup);
    ask(&world, "q5", Action::ResumeFlips);
    world.bucket().put_raw("requests/flip-manifest/q6.json", b"{".to_vec());
    let report = tick(&world).await;
    let expected = ["does not exist", "is not held", "published already", "create-backup", "not stopped", "q6.json"];
    assert_eq!(report.acts.len(), expected.len(), "{report}");
    for (act, says) in report.acts.iter().zip(expected) {
        let FlipAct::Request { done: false, outcome, .. } = act else { panic!("{act}") };
        assert!(outcome.contains(says), "{says}: {outcome}");
    }
    assert_eq!(named(&world), Some(("b".into(), 2)));
    let done = world.bucket().keys("runs/flip-manifest/done/");
    assert_eq!(done.len(), 6);
    let outcome: RequestOutcome = document(&world, &key(&done[0])).unwrap();
    assert!(!outcome.done);

    // Forgotten by the run record, they are still known by their outcomes.
    ask(&world, "r1", Action::Rollback { to: id("a") });
    let _ = tick(&world).await;
    world.bucket().put_raw("runs/flip-manifest/current.json", encode(&FlipRun::default()));
    world.advance(Duration::from_hours(1));
    assert_eq!(tick(&world).await.acts, []);
    assert_eq!(named(&world), Some(("a".into(), 3)));
}

#[tokio::test]
async fn a_rollback_to_a_backup_whose_objects_are_gone_is_refused() {
    let world = published().await;
    next(&world, &Sample::new("b", 1, 20)).await;
    world.bucket().erase(&Sample::new("a", 1, 10).chunk("Note", 1));
    ask(&world, "r1", Action::Rollback { to: id("a") });
    let report = tick(&world).await.to_string();
    assert!(report.contains("request r1 is refused") && report.contains("is gone"), "{report}");
    assert_eq!(named(&world), Some(("b".into(), 2)));
}

#[tokio::test]
async fn an_unreadable_or_deleted_pointer_ownership_or_manifest_is_never_written_over() {
    type Damage = fn(&World);
    let cases: Vec<(&str, Damage)> = vec![
        ("latest_weaviate_backup.manifest.json", |w| {
            w.bucket().put_raw("latest_weaviate_backup.manifest.json", b"{\"schema\":".to_vec());
        }),
        ("latest_weaviate_backup.manifest.json", |w| {
            w.bucket()
                .put_raw("latest_weaviate_backup.manifest.json", br#"{"schema":"lifeboat/pointer/2.0"}"#.to_vec());
        }),
        ("latest_weaviate_backup.manifest.json", |w| {
            w.bucket().put_raw("latest_weaviate_backup.manifest.json", vec![b' '; 5000]);
        }),
        ("latest_weaviate_backup.manifest.json", |w| w.bucket().delete("latest_weaviate_backup.manifest.json")),
        ("ownership.json", |w| drop(w.bucket().put_raw("ownership.json", b"".to_vec()))),
        ("manifests/a/manifest.json", |w| drop(w.bucket().put_raw("manifests/a/manifest.json", b"{}".to_vec()))),
        ("manifests/a/manifest.json", |w| w.bucket().delete("manifests/a/manifest.json")),
        ("manifests/a/objects.ndjson", |w| drop(w.bucket().put_raw("manifests/a/objects.ndjson", b"".to_vec()))),
        ("manifests/a/expectations.json", |w| {
            let mut other = Sample::new("a", 1, 10).expectations();
            other.collections.clear();
            w.bucket().put_raw("manifests/a/expectations.json", encode(&other));
        }),
    ];
    for (n, (damaged, damage)) in cases.into_iter().enumerate() {
        let world = published().await;
        let b = Sample::new("b", 1, 20);
        b.hand_over(&world);
        damage(&world);
        let writes = world.effects().len();
        let versions = world.bucket().versions(damaged);
        let mut failed = false;
        for _ in 0..4 {
            let _ = verify(&world, &Hint::Tick).await.unwrap();
            failed |= flip(&world, &Hint::Tick).await.is_err();
            world.advance(Duration::from_mins(2));
        }
        assert!(failed, "case {n} {damaged}");
        assert_eq!(world.effects().len(), writes, "case {n} {damaged}: the pointer was written");
        assert_eq!(world.bucket().versions(damaged), versions, "case {n} {damaged}");
        assert!(record(&world).open.contains_key(&id("b")), "case {n}: it is decided once that is repaired");
    }
}

#[tokio::test]
async fn a_gate_can_replace_a_pointer_whose_manifest_is_gone_by_the_backup_that_was_restored() {
    let world = published().await;
    next(&world, &Sample::new("b", 1, 20)).await;
    world.bucket().delete("manifests/b/manifest.json");
    own(&world, 2, restored("a"));
    let _ = tick(&world).await;
    assert_eq!(named(&world), Some(("a".into(), 3)));
}

#[tokio::test]
async fn without_an_owner_nothing_is_published_and_nothing_is_closed() {
    let world = World::new();
    Sample::new("a", 1, 10).hand_over(&world);
    ticks(&world, 3).await;
    assert_eq!(named(&world), None);
    assert!(tick(&world).await.to_string().contains("ownership.json is missing"));
    own(&world, 1, lifeboat_domain::ownership::Origin::Empty);
    let _ = tick(&world).await;
    assert_eq!(named(&world), Some(("a".into(), 1)));
}

#[tokio::test]
async fn a_lost_race_is_decided_again_and_the_later_decision_is_evidence() {
    // Manifest of b is written with "publish"; then c wins the pointer before b's flip.
    let world = published().await;
    let (b, c) = (Sample::new("b", 1, 20), Sample::new("c", 1, 30));
    b.hand_over(&world);
    ticks(&world, 1).await;
    let _ = verify(&world, &Hint::Tick).await.unwrap();
    world.fail_next(Call::Put, "manifest.json.tmp", Failure::Unreachable);
    assert!(flip(&world, &Hint::Tick).await.is_err());
    assert!(matches!(manifest(&world, "b").decision, GuardDecision::Publish));
    let held = world.bucket().bytes("runs/verify-checksums/current.json").unwrap();
    world.bucket().put_raw("runs/verify-checksums/current.json", encode(&lifeboat_domain::runs::VerifyRun::default()));
    next(&world, &c).await;
    assert_eq!(named(&world), Some(("c".into(), 2)));
    world.bucket().put_raw("runs/verify-checksums/current.json", held);
    let _ = tick(&world).await;
    assert_eq!((named(&world), verdict(&world, "b").outcome), (Some(("c".into(), 2)), CloseOutcome::Refused));
    let keys = world.bucket().keys("manifests/b/evidence/refuse-");
    let evidence: DecisionEvidence = document(&world, &key(&keys[0])).unwrap();
    assert_eq!(evidence.against.unwrap().0, 2);
}

#[tokio::test]
async fn a_flip_whose_verdict_was_lost_is_known_by_the_pointers_versions_after_it_moved_on() {
    let world = published().await;
    let open = record(&world);
    next(&world, &Sample::new("b", 1, 20)).await;
    next(&world, &Sample::new("c", 1, 30)).await;
    let mut lost = open;
    lost.closed.clear();
    lost.open.insert(id("a"), lifeboat_domain::runs::OpenVerification { shards: 1, ..Default::default() });
    world.bucket().put_raw("runs/verify-checksums/current.json", encode(&lost));
    let _ = tick(&world).await;
    assert_eq!(verdict(&world, "a").outcome, CloseOutcome::Published);
    assert_eq!(named(&world), Some(("c".into(), 3)));
}

#[tokio::test]
async fn a_catalogue_that_says_something_else_already_fails_the_backup() {
    let world = owned();
    world.bucket().put_raw("manifests/a/objects.ndjson", b"{}\n".to_vec());
    next(&world, &Sample::new("a", 1, 10)).await;
    assert!(verdict(&world, "a").reasons[0].contains("manifests/a/objects.ndjson exists with other bytes"));
    assert_eq!(named(&world), None);
}

#[tokio::test]
async fn a_manifest_of_another_cluster_moves_no_pointer() {
    let world = published().await;
    let mut foreign = pointer(&world).unwrap();
    foreign.cluster = "other".into();
    foreign.sequence = foreign.sequence.next();
    world.bucket().put_raw("latest_weaviate_backup.manifest.json", encode::<Pointer>(&foreign));
    next(&world, &Sample::new("b", 1, 20)).await;
    assert_eq!(named(&world), Some(("a".into(), 2)));
    assert!(verdict(&world, "b").reasons[0].contains("ClusterName"));
}

#[tokio::test]
async fn a_store_without_versions_works_too() {
    let world = owned();
    world.set(|s| s.versioned = false);
    let a = Sample::new("a", 1, 10);
    next(&world, &a).await;
    next(&world, &Sample::new("b", 1, 20)).await;
    assert_eq!(named(&world), Some(("b".into(), 2)));
    let bucket = world.bucket();
    let (pointer, b) = (pointer(&world).unwrap(), id("b"));
    assert_eq!(pointer.backup_id, b);
    let proof = crate::inventory::load_verified_manifest(&bucket, crate::inventory::Which::Pointer(&pointer));
    let proof = proof.await.unwrap();
    let t0 = crate::inventory::t0(&bucket, proof.manifest(), proof.rows()).await.unwrap();
    assert!(t0.passed() && t0.level == lifeboat_domain::verify::T0Level::Weak);
}

#[tokio::test]
async fn a_tick_with_nothing_to_do_reads_a_handful_of_keys_however_many_backups_there_were() {
    let world = published().await;
    for (name, as_of) in [("b", 20), ("c", 30), ("d", 40)] {
        next(&world, &Sample::new(name, 1, as_of)).await;
    }
    let before = world.calls().len();
    assert_eq!(tick(&world).await.acts, []);
    assert!(world.calls().len() - before <= 6, "{:?}", &world.calls()[before..]);
}

#[tokio::test]
async fn t0_takes_one_request_for_each_page_of_versions() {
    let world = published().await;
    world.set(|s| s.page_size = 3);
    let (bucket, a) = (world.bucket(), id("a"));
    let which = crate::inventory::Which::Backup(&a);
    let proof = crate::inventory::load_verified_manifest(&bucket, which).await.unwrap();
    let before = world.calls().len();
    let t0 = crate::inventory::t0(&bucket, proof.manifest(), proof.rows()).await.unwrap();
    assert!(t0.passed());
    // Seven versions: six objects, of which one was written twice.
    assert_eq!((t0.listing_pages, world.calls().len() - before), (3, 3));
}
