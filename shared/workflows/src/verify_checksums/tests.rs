use std::time::Duration;

use lifeboat_domain::document::encode;
use lifeboat_domain::event::Hint;
use lifeboat_domain::keys::Key;
use lifeboat_domain::runs::{Action, CloseOutcome, ClosedVerification, REMEMBERED_MAX, Request};
use lifeboat_domain::verify::{Note, Part, Shard, VerifyEvidence};
use serde_json::json;

use super::sample::*;
use super::*;
use crate::inventory::{Which, load_verified_manifest, t0};
use crate::twins::{Call, Event, Failure, World, for_each_crash_point, shuffled};

fn created(key: &str) -> Hint {
    Hint::ObjectCreated { bucket: World::BUCKET.into(), key: key.into() }
}

#[tokio::test]
async fn a_backup_is_opened_planned_and_read_by_its_events_alone() {
    let world = owned();
    let sample = Sample::new("a", 1, 10);
    sample.save(&world);
    world.take_events();
    let report = verify(&world, &created(&sample.key("backup_config.json"))).await.unwrap();
    assert_eq!(report.to_string(), "a is planned in 1 shards");
    let shard: Shard = document(&world, &Key::Shard(id("a"), 0)).unwrap();
    assert_eq!(shard.objects.len(), 6);
    let report = verify(&world, &created("work/a/shard-00000.json")).await.unwrap();
    assert_eq!(report.to_string(), "a shard 0: 6 objects read");
    let part: Part = document(&world, &Key::Part(id("a"), 0)).unwrap();
    assert_eq!((part.findings, part.notes), (vec![], vec![]));
    let keys: Vec<&str> = part.rows.iter().map(|r| r.key.as_str()).collect();
    assert!(keys.is_sorted() && keys.len() == 6, "{keys:?}");
}

#[tokio::test]
async fn a_persons_request_opens_a_verification_once_and_another_functions_is_refused() {
    let world = owned();
    Sample::new("a", 1, 10).save(&world);
    let ask = |action| Request { by: "ada".into(), reason: "its event was lost".into(), action };
    let (mine, other) = ("requests/verify-checksums/r1.json", "requests/verify-checksums/r2.json");
    world.bucket().put_raw(other, encode(&ask(Action::Backup)));
    let report = verify(&world, &created(other)).await.unwrap();
    assert!(report.to_string().contains("asks create-backup to act"), "{report}");
    assert_eq!(record(&world), VerifyRun::default());
    world.bucket().put_raw(mine, encode(&ask(Action::Verify { backup_id: id("a") })));
    let report = verify(&world, &Hint::Tick).await.unwrap();
    assert_eq!(report.to_string(), "request r1: a is verified; a is planned in 1 shards");
    for key in [mine, "requests/verify-checksums/r3.json"] {
        let again = verify(&world, &created(key)).await.unwrap();
        assert!(again.to_string().contains("is gone, or was taken up already"), "{again}");
    }
}

#[tokio::test]
async fn what_is_not_a_finished_backup_of_ours_is_left_alone() {
    let world = owned();
    let sample = Sample::new("a", 1, 10);
    sample.save(&world);
    let says = async |hint: &Hint| verify(&world, hint).await.unwrap().to_string();
    let bucket = world.bucket();
    let config = sample.key("backup_config.json");

    bucket.put_raw(&config, sample.global("STARTED").to_string());
    assert!(says(&created(&config)).await.contains("does not say SUCCESS"));
    bucket.put_raw(&config, sample.global("SUCCESS").to_string());
    bucket.delete("manifests/a/expectations.json");
    assert!(says(&created(&config)).await.contains("no expectations.json"));
    assert!(says(&created("backups/none/backup_config.json")).await.contains("no backup_config.json"));
    assert!(says(&created("work/a/shard-00000.json")).await.contains("not open"));
    assert!(says(&created("backups/a/weaviate-0/backup.json")).await.contains("not for verify-checksums"));
    let other = Hint::ObjectCreated { bucket: "other".into(), key: config };
    assert!(says(&other).await.contains("not our bucket"));
    assert_eq!(says(&Hint::Tick).await, "nothing to verify");
    assert_eq!(record(&world), VerifyRun::default());
}

#[tokio::test]
async fn a_tick_with_nothing_to_do_makes_four_calls_however_much_was_verified() {
    let world = owned();
    let idle = async |world: &World| {
        let _ = verify(world, &Hint::Tick).await.unwrap();
        let before = world.calls().len();
        let _ = verify(world, &Hint::Tick).await.unwrap();
        world.calls()[before..].iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let calls = idle(&world).await;
    assert_eq!(calls.len(), 4, "two records, one listing of requests, and the re-reading: {calls:?}");
    for (n, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        Sample::new(name, 1, 10 + i64::try_from(n).unwrap()).hand_over(&world);
        ticks(&world, 3).await;
    }
    assert_eq!(named(&world), Some(("e".into(), 5)));
    world.bucket().erase(&Key::CurrentRun(Function::CreateBackup).to_string());
    assert_eq!(idle(&world).await.len(), 4);
}

/// Each kind of damage done before verification; the verdict must name it, and no pointer may appear.
#[tokio::test]
async fn damage_done_before_verification_fails_the_backup_by_name_and_no_pointer_appears() {
    type Damage = fn(&World, &Sample);
    let cases: Vec<(&str, Damage)> = vec![
        ("its bytes changed at rest", |w, s| w.bucket().flip_byte_in_place(&s.chunk("Article", 1), 7)),
        ("its bytes changed at rest", |w, s| {
            w.bucket().flip_byte_in_place(&s.key(&format!("{NODE}/Note/chunk-2")), 0);
        }),
        ("was overwritten or deleted", |w, s| drop(w.bucket().put_multipart(&s.chunk("Article", 1), b"new".to_vec()))),
        ("is missing", |w, s| w.bucket().delete(&s.chunk("Article", 2))),
        ("is missing", |w, s| w.bucket().erase(&s.chunk("Article", 2))),
        ("named by no descriptor", |w, s| drop(w.bucket().put_raw(&s.chunk("Article", 3), b"x".to_vec()))),
        ("is empty", |w, s| {
            w.bucket().erase(&s.chunk("Note", 1));
            w.bucket().put_multipart(&s.chunk("Note", 1), Vec::new());
        }),
        ("backup.json is missing", |w, s| w.bucket().erase(&s.key("weaviate-0/backup.json"))),
        ("does not parse as a Weaviate descriptor", |w, s| {
            w.bucket().erase(&s.key("weaviate-0/backup.json"));
            w.bucket().put_raw(&s.key("weaviate-0/backup.json"), b"{".to_vec());
        }),
        ("does not parse as a Weaviate descriptor", |w, s| {
            w.bucket().erase(&s.key("backup_config.json"));
            w.bucket().put_raw(&s.key("backup_config.json"), b"<html>".to_vec());
        }),
        ("lacks the classes [\"Note\"]", |w, s| {
            let mut narrowed = s.clone();
            narrowed.counts.remove("Note");
            w.bucket().erase(&s.key("backup_config.json"));
            w.bucket().put_raw(&s.key("backup_config.json"), narrowed.global("SUCCESS").to_string());
        }),
        ("backup_config.json says", |w, s| {
            let mut node = s.node();
            node["classes"].as_array_mut().unwrap().pop();
            w.bucket().erase(&s.key("weaviate-0/backup.json"));
            w.bucket().put_raw(&s.key("weaviate-0/backup.json"), node.to_string());
        }),
        ("incremental_not_supported", |w, s| {
            let mut global = s.global("SUCCESS");
            global["baseBackupId"] = json!("older");
            w.bucket().erase(&s.key("backup_config.json"));
            w.bucket().put_raw(&s.key("backup_config.json"), global.to_string());
        }),
    ];
    for (n, (says, damage)) in cases.into_iter().enumerate() {
        let world = owned();
        let sample = Sample::new("a", 1, 10);
        sample.hand_over(&world);
        damage(&world, &sample);
        ticks(&world, 4).await;
        assert_eq!(pointer(&world), None, "case {n} {says}");
        let verdict = verdict(&world, "a");
        assert_eq!(verdict.outcome, CloseOutcome::Failed, "case {n}");
        assert!(verdict.reasons.iter().any(|r| r.contains(says)), "case {n} {says}: {:?}", verdict.reasons);
        let evidence = world.bucket().keys("manifests/a/evidence/verify-");
        assert_eq!(evidence.len(), 1, "case {n} {says}");
        let evidence: VerifyEvidence = document(&world, &Key::parse(&evidence[0]).unwrap()).unwrap();
        assert!(!evidence.verified && !evidence.findings.is_empty(), "case {n}");
        assert!(world.bucket().bytes("manifests/a/manifest.json").is_none(), "case {n}");
    }
}

#[tokio::test]
async fn an_object_replaced_or_gone_between_plan_and_read_is_a_finding_and_never_a_digest() {
    for (says, erase) in [("overwritten", false), ("vanished", true)] {
        let world = owned();
        let sample = Sample::new("a", 1, 10);
        sample.hand_over(&world);
        let _ = verify(&world, &created(&sample.key("backup_config.json"))).await.unwrap();
        let chunk = sample.chunk("Article", 1);
        if erase {
            world.bucket().erase(&chunk);
            ticks(&world, 3).await;
            let verdict = verdict(&world, "a");
            assert!(verdict.reasons[0].contains(says), "{:?}", verdict.reasons);
        } else {
            // The pinned version is still there: it is what was verified, and T0 of a restore sees the rest.
            world.bucket().put_multipart(&chunk, b"other".to_vec());
            ticks(&world, 3).await;
            let rows = document::<Part>(&world, &Key::Part(id("a"), 0)).unwrap().rows;
            assert_eq!(rows.iter().find(|r| r.key == chunk).unwrap().size_bytes, 300);
            let (bucket, backup_id) = (world.bucket(), id("a"));
            let proof = load_verified_manifest(&bucket, Which::Backup(&backup_id)).await.unwrap();
            let t0 = t0(&world.bucket(), proof.manifest(), proof.rows()).await.unwrap();
            assert!(t0.healable() && t0.findings[0].to_string().contains(says), "{t0:?}");
        }
    }
}

#[tokio::test]
async fn a_read_that_breaks_off_is_gone_on_with_and_one_that_always_does_is_no_verdict() {
    let world = owned();
    let sample = Sample::new("a", 1, 10);
    sample.hand_over(&world);
    let _ = verify(&world, &created(&sample.key("backup_config.json"))).await.unwrap();
    (0..100).for_each(|_| world.cut_next_read(&sample.chunk("Note", 1)));
    assert!(verify(&world, &created("work/a/shard-00000.json")).await.is_err());
    let world = owned();
    sample.hand_over(&world);
    let _ = verify(&world, &created(&sample.key("backup_config.json"))).await.unwrap();
    world.cut_next_read(&sample.chunk("Article", 1));
    (0..2).for_each(|_| world.cut_next_read(&sample.chunk("Note", 1)));
    let report = verify(&world, &created("work/a/shard-00000.json")).await.unwrap();
    let [VerifyAct::Hashed { findings, objects: 6, .. }] = &report.acts[..] else { panic!("{report}") };
    assert!(findings.is_empty());
}

#[tokio::test]
async fn etags_of_more_than_one_part_are_recomputed_and_a_flipped_byte_in_any_part_is_found() {
    let mut sample = Sample::new("a", 1, 10);
    sample.counts = std::collections::BTreeMap::from([("Article", 5)]);
    (sample.chunks, sample.chunk_bytes) = (1, (16 << 20) + 12345);
    for flipped in [None, Some(3), Some((16 << 20) + 12344)] {
        let world = owned();
        sample.hand_over(&world);
        if let Some(offset) = flipped {
            world.bucket().flip_byte_in_place(&sample.chunk("Article", 1), offset);
        }
        ticks(&world, 3).await;
        let part: Part = document(&world, &Key::Part(id("a"), 0)).unwrap();
        assert_eq!(part.findings.len(), usize::from(flipped.is_some()), "{flipped:?}");
        assert_eq!(pointer(&world).is_some(), flipped.is_none());
    }
}

#[tokio::test]
async fn an_etag_that_cannot_be_recomputed_is_recorded_and_not_passed_over_in_silence() {
    let world = owned();
    let sample = Sample::new("a", 1, 10);
    sample.hand_over(&world);
    let opaque = VerifyPolicy { etags: EtagMeaning::Opaque, ..VerifyPolicy::new(World::BUCKET) };
    let (bucket, clock) = (world.bucket(), world.clock());
    let ports = Ports { bucket: &bucket, clock: &clock };
    for key in [sample.key("backup_config.json"), "work/a/shard-00000.json".into()] {
        let _ = run(&ports, &opaque, &created(&key), patience(&world)).await.unwrap();
    }
    let _ = flip(&world, &Hint::Tick).await.unwrap();
    let part: Part = document(&world, &Key::Part(id("a"), 0)).unwrap();
    assert_eq!((part.rows.len(), part.notes.len()), (6, 6));
    assert!(matches!(&part.notes[0], Note::EtagNotRecomputed { .. }));
    let evidence = world.bucket().keys("manifests/a/evidence/verify-");
    let evidence: VerifyEvidence = document(&world, &Key::parse(&evidence[0]).unwrap()).unwrap();
    assert_eq!((evidence.verified, evidence.notes_total, evidence.objects_read), (true, 6, 6));
}

/// Many shards, with small bounds of the world: pages of three entries.
fn large(world: &World) -> Sample {
    let mut sample = Sample::new("a", 1, 10);
    // Every object costs 128 KiB beside its bytes, so 4,100 of them make three shards.
    (sample.chunks, sample.chunk_bytes) = (2050, 1);
    sample.hand_over(world);
    sample
}

#[tokio::test]
async fn shards_answered_twice_late_and_in_any_order_give_the_same_parts() {
    let clean = owned();
    large(&clean);
    ticks(&clean, 4).await;
    let parts = |world: &World| {
        let keys = world.bucket().keys("work/a/part-");
        keys.iter().map(|k| world.bucket().bytes(k).unwrap()).map(|b| pinned_out(&b)).collect::<Vec<_>>()
    };
    assert_eq!(parts(&clean).len(), 3);
    for seed in [1, 2, 3] {
        let world = owned();
        let sample = large(&world);
        world.take_events();
        let mut events = vec![created(&sample.key("backup_config.json")); 2];
        while !events.is_empty() {
            for hint in shuffled(seed, events.clone()) {
                let _ = verify(&world, &hint).await.unwrap();
                let _ = verify(&world, &hint).await.unwrap();
            }
            events = world.take_events().iter().map(Event::hint).collect();
        }
        assert_eq!(parts(&world), parts(&clean), "seed {seed}");
        assert!(world.bucket().keys("work/a/").iter().all(|k| world.bucket().versions(k) == 1));
    }
}

/// A part without the versions and times that differ between worlds.
fn pinned_out(bytes: &[u8]) -> serde_json::Value {
    let mut part: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    for row in part["rows"].as_array_mut().unwrap() {
        row["version_id"] = json!(null);
    }
    part["plan_sha256"] = json!(null);
    part
}

#[tokio::test]
async fn ticks_reread_only_shards_that_are_old_enough_and_one_that_is_lost_is_written_again() {
    let world = owned();
    let sample = large(&world);
    let _ = verify(&world, &created(&sample.key("backup_config.json"))).await.unwrap();
    let young = verify(&world, &Hint::Tick).await.unwrap();
    assert!(young.acts.iter().all(|a| matches!(a, VerifyAct::Waiting { .. })), "{young}");
    world.bucket().erase("work/a/shard-00001.json");
    world.advance(Duration::from_mins(5));
    let _ = verify(&world, &Hint::Tick).await.unwrap();
    assert_eq!(world.bucket().keys("work/a/shard-").len(), 3);
    ticks(&world, 3).await;
    assert_eq!(named(&world), Some(("a".into(), 1)));
}

#[tokio::test]
async fn a_plan_that_differs_from_one_under_way_fails_the_backup() {
    let world = owned();
    let sample = Sample::new("a", 1, 10);
    sample.hand_over(&world);
    let _ = verify(&world, &created(&sample.key("backup_config.json"))).await.unwrap();
    let mut shard: Shard = document(&world, &Key::Shard(id("a"), 0)).unwrap();
    shard.objects.pop();
    world.bucket().erase("work/a/shard-00000.json");
    world.bucket().put_raw("work/a/shard-00000.json", encode(&shard));
    let mut open = record(&world);
    open.open.get_mut(&id("a")).unwrap().shards = 0;
    world.bucket().put_raw(&record::key().to_string(), encode(&open));
    ticks(&world, 1).await;
    assert!(verdict(&world, "a").reasons[0].contains("changed while it was being verified"));
}

#[tokio::test]
async fn a_fault_of_planning_that_keeps_coming_fails_the_backup_with_its_reason() {
    let world = owned();
    let sample = Sample::new("a", 1, 10);
    sample.hand_over(&world);
    let _ = verify(&world, &created(&sample.key("backup_config.json"))).await.unwrap();
    world.bucket().erase("work/a/shard-00000.json");
    let attempts = VerifyPolicy::new(World::BUCKET).attempts_max;
    for n in 1..=attempts {
        world.advance(Duration::from_mins(2));
        world.fail_next(Call::ListVersions, "backups/a/", Failure::Denied);
        let outcome = verify(&world, &Hint::Tick).await;
        assert_eq!(outcome.is_err(), n < attempts, "attempt {n}: {outcome:?}");
    }
    let verdict = verdict(&world, "a");
    assert!(verdict.reasons[0].contains("AccessDenied"), "{:?}", verdict.reasons);
    // One that goes away does not.
    let world = owned();
    sample.hand_over(&world);
    let _ = verify(&world, &created(&sample.key("backup_config.json"))).await.unwrap();
    for _ in 0..3 {
        world.fail_next(Call::Read, "Article/chunk-1", Failure::Denied);
        world.advance(Duration::from_mins(20));
        assert!(verify(&world, &Hint::Tick).await.is_err());
    }
    ticks(&world, 12).await;
    assert_eq!(named(&world), Some(("a".into(), 1)));
}

#[tokio::test]
async fn a_shard_that_nobody_can_read_in_time_ends_the_wait_for_it() {
    let world = owned();
    let sample = Sample::new("a", 1, 10);
    sample.hand_over(&world);
    let _ = verify(&world, &created(&sample.key("backup_config.json"))).await.unwrap();
    world.advance(Duration::from_hours(7));
    ticks(&world, 1).await;
    assert!(verdict(&world, "a").reasons[0].contains("was not read within 21600 s"));
}

#[tokio::test]
async fn one_backup_that_cannot_be_read_does_not_keep_another_from_being_verified() {
    let world = owned();
    let (a, b) = (Sample::new("a", 1, 10), Sample::new("b", 1, 20));
    for sample in [&a, &b] {
        sample.hand_over(&world);
        let _ = verify(&world, &created(&sample.key("backup_config.json"))).await.unwrap();
    }
    world.bucket().put_raw("work/a/shard-00000.json", b"{".to_vec());
    world.advance(Duration::from_mins(2));
    assert!(verify(&world, &Hint::Tick).await.is_err());
    assert!(world.bucket().bytes("work/b/part-00000.json").is_some());
}

#[tokio::test]
async fn a_verdict_stays_unless_a_person_replaces_it_and_only_the_newest_are_remembered() {
    let world = owned();
    let bucket = world.bucket();
    let of = |name: &str, outcome| ClosedVerification { backup_id: id(name), outcome, reasons: Vec::new() };
    record::close(&bucket, &of("a", CloseOutcome::Published), false).await.unwrap();
    record::close(&bucket, &of("a", CloseOutcome::Held), false).await.unwrap();
    assert_eq!(verdict(&world, "a").outcome, CloseOutcome::Published);
    record::close(&bucket, &of("a", CloseOutcome::Refused), true).await.unwrap();
    assert_eq!(verdict(&world, "a").outcome, CloseOutcome::Refused);
    for n in 0..REMEMBERED_MAX {
        record::close(&bucket, &of(&format!("b{n}"), CloseOutcome::Published), false).await.unwrap();
    }
    let closed = record(&world).closed;
    assert_eq!((closed.len(), closed[0].backup_id.as_str()), (REMEMBERED_MAX, "b0"));
}

#[tokio::test]
async fn an_unreadable_record_stops_everything_and_is_not_written_over() {
    let world = owned();
    let sample = Sample::new("a", 1, 10);
    sample.hand_over(&world);
    let key = record::key().to_string();
    world.bucket().put_raw(&key, br#"{"schema":"lifeboat/verify-run/2.0"}"#.to_vec());
    assert!(verify(&world, &created(&sample.key("backup_config.json"))).await.is_err());
    assert!(verify(&world, &Hint::Tick).await.is_err());
    assert_eq!(world.bucket().versions(&key), 1);
}

#[tokio::test]
async fn whatever_call_it_dies_at_ticks_finish_the_verification_and_the_flip() {
    let report = for_each_crash_point(
        || {
            let world = owned();
            Sample::new("a", 1, 10).hand_over(&world);
            world
        },
        async |world, ports| {
            let _ = verify_on(&world, &ports.bucket, &ports.clock, &Hint::Tick).await;
            let _ = flip_on(&world, &ports.bucket, &ports.clock, &Hint::Tick).await;
        },
        |world| (named(world), record(world), world.bucket().keys("manifests/a/manifest.json")),
    )
    .await;
    assert!(report.points > 60, "{report:?}");
}
