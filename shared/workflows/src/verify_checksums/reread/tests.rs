use std::time::Duration;

use lifeboat_domain::document::encode;
use lifeboat_domain::event::Hint;
use lifeboat_domain::keys::Function;
use lifeboat_domain::runs::{Action, Request};
use lifeboat_domain::verify::{EtagMeaning, T0Level};

use super::*;
use crate::twins::{Call, World, for_each_crash_point};
use crate::verify_checksums::sample::*;
use crate::verify_checksums::{VerifyReport, run};

const CHUNK: &str = "backups/a/weaviate-0/Article/chunk-1";
const DAY: Duration = Duration::from_hours(24);

async fn published(names: &[&'static str]) -> World {
    let world = owned();
    for (n, name) in names.iter().enumerate() {
        Sample::new(name, 1, 10 + i64::try_from(n).unwrap()).hand_over(&world);
        ticks(&world, 3).await;
    }
    assert_eq!(named(&world).map(|(name, _)| name).as_deref(), names.last().copied());
    world.bucket().erase(&Key::CurrentRun(Function::CreateBackup).to_string());
    world
}

fn fixity(world: &World) -> FixityRun {
    document(world, &Key::Fixity).unwrap_or_default()
}

fn evidence(world: &World, name: &str) -> Vec<FixityEvidence> {
    let keys = world.bucket().keys(&format!("manifests/{name}/evidence/fixity-"));
    keys.iter().map(|key| document(world, &Key::parse(key).unwrap()).unwrap()).collect()
}

/// Ticks for so long, ten minutes apart; gives what needed attention.
async fn for_long(world: &World, long: Duration) -> Vec<VerifyReport> {
    let policy = VerifyPolicy::new(World::BUCKET);
    for_long_under(world, &policy, long).await
}

async fn for_long_under(world: &World, policy: &VerifyPolicy, long: Duration) -> Vec<VerifyReport> {
    let end = world.now().saturating_add(jiff::SignedDuration::try_from(long).unwrap()).unwrap();
    let mut told = Vec::new();
    while world.now() < end {
        let (bucket, clock) = (world.bucket(), world.clock());
        let report =
            run(&Ports { bucket: &bucket, clock: &clock }, policy, &Hint::Tick, patience(world)).await.unwrap();
        if report.attention() {
            told.push(report);
        }
        world.advance(Duration::from_mins(10));
    }
    told
}

fn ask_to_verify(world: &World, request: &str, name: &str) {
    let action = Action::Verify { backup_id: id(name) };
    let asked = Request { by: "ada".into(), reason: "before the audit".into(), action };
    world.bucket().put_raw(&format!("requests/verify-checksums/{request}.json"), encode(&asked));
}

#[tokio::test]
async fn what_the_pointer_names_is_read_again_slice_by_slice_and_said_to_be_whole() {
    let world = published(&["a"]).await;
    let before = (named(&world), world.bucket().keys("backups/"), world.count_on(Call::Read, CHUNK));
    assert!(for_long(&world, 14 * DAY).await.is_empty());
    assert_eq!(world.count_on(Call::Read, CHUNK), before.2, "it was read at its verification");
    assert!(for_long(&world, 4 * DAY).await.is_empty());
    let [whole] = &evidence(&world, "a")[..] else { panic!("{:?}", evidence(&world, "a")) };
    assert!(whole.passed && whole.complete && !whole.asked, "{whole:?}");
    assert_eq!((whole.objects_read, whole.findings_total), (6, 0));
    assert_eq!(whole.t0.as_ref().map(|t0| (t0.level, t0.findings)), Some((T0Level::Full, 0)));
    assert!(fixity(&world).slices >= 4, "a slice at a time: {}", fixity(&world).slices);
    assert_eq!((named(&world), world.bucket().keys("backups/")), (before.0, before.1), "nothing else changes");
    assert!(world.count_on(Call::Read, CHUNK) > before.2);
    assert!(for_long(&world, 11 * DAY).await.is_empty());
    assert_eq!(evidence(&world, "a").len(), 1, "and not again before half a period");
}

#[tokio::test]
async fn a_byte_that_flips_after_publication_alarms_each_hour_until_a_clean_reading_and_nothing_is_deleted() {
    let world = published(&["a"]).await;
    let keys = world.bucket().keys("backups/");
    world.bucket().flip_byte_in_place(CHUNK, 7);
    // Under KMS an ETag says nothing, so the catalogue alone tells.
    for etags in [EtagMeaning::Md5, EtagMeaning::Opaque] {
        let world = published(&["a"]).await;
        world.bucket().flip_byte_in_place(CHUNK, 7);
        let policy = VerifyPolicy { etags, ..VerifyPolicy::new(World::BUCKET) };
        let told = for_long_under(&world, &policy, 18 * DAY).await;
        let says = if etags == EtagMeaning::Md5 { "its bytes changed at rest" } else { "the catalogue has" };
        assert!(told.iter().any(|report| report.to_string().contains(says)), "{says}: {told:?}");
    }
    let told = for_long(&world, 18 * DAY).await;
    assert!(told.len() > 24, "{} times", told.len());
    assert!(told.last().unwrap().to_string().contains("still stands"), "{}", told.last().unwrap());
    let found = evidence(&world, "a");
    assert!(found.iter().any(|e| !e.passed && e.findings_total == 1), "{found:?}");
    assert!(!found.last().unwrap().passed, "the end of the reading knows what its middle found");
    assert_eq!(world.bucket().keys("backups/"), keys);
    assert_eq!(named(&world), Some(("a".into(), 1)), "no pointer moves");
    world.bucket().flip_byte_in_place(CHUNK, 7);
    let _ = for_long(&world, 18 * DAY).await;
    assert!(for_long(&world, DAY).await.is_empty(), "{:?}", fixity(&world).failing);
    assert!(evidence(&world, "a").last().unwrap().passed);
}

#[tokio::test]
async fn what_a_restore_would_refuse_and_what_is_gone_is_found_too() {
    let world = published(&["a"]).await;
    world.bucket().put_multipart(CHUNK, b"other".to_vec());
    let told = for_long(&world, 18 * DAY).await;
    assert!(told.iter().any(|r| r.to_string().contains("a restore would refuse it")), "{told:?}");
    let last = evidence(&world, "a").pop().unwrap();
    assert_eq!((last.passed, last.t0.unwrap().findings), (false, 1));

    let world = published(&["a"]).await;
    world.bucket().erase(CHUNK);
    let told = for_long(&world, 18 * DAY).await;
    assert!(told.iter().any(|r| r.to_string().contains("vanished")), "{told:?}");

    let world = published(&["a"]).await;
    world.bucket().put_raw("manifests/a/objects.ndjson", b"{}\n".to_vec());
    let told = for_long(&world, 18 * DAY).await;
    assert!(told.iter().any(|r| r.to_string().contains("its proof does not hold")), "{told:?}");
    world.bucket().put_raw("manifests/a/manifest.json", b"{".to_vec());
    let told = for_long(&world, DAY).await;
    assert!(told.len() > 20, "an unreadable manifest is told each hour: {}", told.len());
}

#[tokio::test]
async fn the_pointers_the_previous_and_what_is_pinned_are_read_and_others_are_not() {
    let world = published(&["a", "b", "c", "d"]).await;
    world.bucket().put_raw("manifests/a/evidence/pin-2026-11-20t010203z.json", b"{}".to_vec());
    assert!(for_long(&world, 30 * DAY).await.is_empty());
    let read: Vec<&str> = ["a", "b", "c", "d"].into_iter().filter(|n| !evidence(&world, n).is_empty()).collect();
    assert_eq!(read, ["a", "c", "d"]);
    let slices = world.bucket().keys("work/fixity_");
    assert!(!slices.is_empty() && slices.iter().all(|key| Key::parse(key).is_some()), "{slices:?}");
}

#[tokio::test]
async fn a_backup_that_is_being_let_go_of_raises_no_alarm() {
    let world = published(&["a"]).await;
    ask_to_verify(&world, "r1", "a");
    let _ = verify(&world, &Hint::Tick).await.unwrap();
    assert!(fixity(&world).open.is_some());
    world.bucket().put_raw("manifests/a/evidence/tombstone-2026-11-20t010203z.json", b"{}".to_vec());
    world.bucket().erase(CHUNK);
    assert!(for_long(&world, DAY).await.is_empty());
    assert_eq!((fixity(&world).open, evidence(&world, "a").len()), (None, 0));
}

#[tokio::test]
async fn what_a_person_asks_for_is_read_whole_and_now_by_events_alone_and_once() {
    let world = published(&["a"]).await;
    world.take_events();
    ask_to_verify(&world, "r1", "a");
    pump(&world, 2).await;
    let slice = fixity(&world).open.unwrap();
    assert!(slice.asked && slice.completes && slice.objects == 6, "{slice:?}");
    assert_eq!(world.bucket().keys(&format!("work/{}/part-", slice.name)).len(), 1, "its shard's event had it read");
    assert!(for_long(&world, DAY).await.is_empty());
    let [whole] = &evidence(&world, "a")[..] else { panic!("one reading") };
    assert!(whole.passed && whole.asked && whole.objects_read == 6, "{whole:?}");
    assert_eq!(fixity(&world).handled_requests, ["r1"]);
    ask_to_verify(&world, "r2", "a");
    let _ = verify(&world, &Hint::Tick).await.unwrap();
    assert!(fixity(&world).open.is_some(), "another request is another reading");
}

#[tokio::test]
async fn shards_of_a_slice_that_is_closed_are_left_alone_and_one_that_nobody_can_read_ends_it() {
    let world = published(&["a"]).await;
    ask_to_verify(&world, "r1", "a");
    let _ = verify(&world, &Hint::Tick).await.unwrap();
    let name = fixity(&world).open.unwrap().name;
    world.advance(Duration::from_hours(7));
    let report = verify(&world, &Hint::Tick).await.unwrap();
    assert!(report.attention() && report.to_string().contains("was not read within"), "{report}");
    let key = Key::Shard(name, 0).to_string();
    let late = verify(&world, &Hint::ObjectCreated { bucket: World::BUCKET.into(), key }).await.unwrap();
    assert!(late.to_string().contains("its verification is not open"), "{late}");
    assert_eq!(fixity(&world).failing.len(), 1);
}

#[tokio::test]
async fn whatever_call_it_dies_at_ticks_finish_the_reading_and_write_its_evidence_once() {
    let report = for_each_crash_point(
        || {
            let world = World::new();
            let made = world.clone();
            std::thread::scope(|scope| {
                let filled = scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(fill(&made));
                });
                filled.join().unwrap();
            });
            world
        },
        async |world, ports| {
            let _ = verify_on(&world, &ports.bucket, &ports.clock, &Hint::Tick).await;
        },
        |world| {
            let run = fixity(world);
            (run.open, run.asked, run.handled_requests, run.failing, evidence(world, "a"))
        },
    )
    .await;
    assert!(report.points > 20, "{report:?}");
    assert_eq!(report.end.4.len(), 1);
}

/// A published backup that a person wants to have read again.
async fn fill(world: &World) {
    own(world, 1, lifeboat_domain::ownership::Origin::Empty);
    Sample::new("a", 1, 10).hand_over(world);
    ticks(world, 3).await;
    assert!(named(world).is_some());
    ask_to_verify(world, "r1", "a");
}
