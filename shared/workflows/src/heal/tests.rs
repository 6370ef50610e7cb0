use std::collections::BTreeMap;

use lifeboat_domain::document::decode;
use lifeboat_domain::verify::T0Level;

use super::*;
use crate::inventory::{Which, load_verified_manifest};
use crate::twins::{Call, Failure, World, for_each_crash_point};
use crate::verify_checksums::sample::*;

/// A published backup, every object of which was then overwritten, deleted, or both.
async fn vandalised(sample: &Sample) -> World {
    let world = owned();
    sample.hand_over(&world);
    ticks(&world, 3).await;
    assert_eq!(named(&world), Some((sample.name.into(), 1)));
    for (n, key) in world.bucket().keys(&format!("backups/{}/", sample.name)).iter().enumerate() {
        if n % 2 == 0 {
            world.bucket().put_raw(key, b"ransom".to_vec());
        } else {
            world.bucket().delete(key);
        }
    }
    world
}

async fn proof_of(world: &World, name: &str) -> VerifiedManifest {
    load_verified_manifest(&world.bucket(), Which::Backup(&id(name))).await.unwrap()
}

async fn healed(world: &World, bucket: &impl Bucket) -> Result<Outcome, StoreError> {
    let proof = proof_of(world, "a").await;
    heal(bucket, &world.clock(), &HealPolicy::new(World::BUCKET), &proof, patience(world).until).await
}

fn copies_of(world: &World) -> BTreeMap<String, Vec<u8>> {
    let keys = world.bucket().keys("healed/");
    keys.into_iter().map(|key| (key.clone(), world.bucket().bytes(&key).unwrap())).collect()
}

fn evidence_of(world: &World) -> Vec<HealEvidence> {
    let keys = world.bucket().keys("manifests/a/evidence/heal-");
    keys.iter().map(|key| decode(key, &world.bucket().bytes(key).unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn a_backup_of_which_every_object_was_overwritten_or_deleted_is_copied_from_its_verified_versions() {
    let sample = Sample::new("a", 1, 10);
    let clean = owned();
    sample.hand_over(&clean);
    let world = vandalised(&sample).await;
    let before = world.bucket().keys("backups/");
    let outcome = healed(&world, &world.bucket()).await.unwrap();
    let Outcome::Healed(healed_now) = &outcome else { panic!("{outcome}") };
    assert_eq!((healed_now.copied, healed_now.objects, healed_now.path.as_str()), (6, 6, "healed"));
    assert!(outcome.attention() && outcome.to_string().contains("find out who overwrites"), "{outcome}");
    for (key, bytes) in copies_of(&world) {
        let original = clean.bucket().bytes(&key.replace("healed/", "backups/")).unwrap();
        assert_eq!(bytes, original, "{key}");
    }
    assert_eq!(copies_of(&world).len(), 6);
    assert_eq!(world.bucket().keys("backups/"), before, "what is under the backup stays as it is");
    let [evidence] = &evidence_of(&world)[..] else { panic!("one record") };
    assert_eq!((evidence.copies.len(), evidence.t0.level, evidence.t0.findings), (6, T0Level::Full, 6));

    let calls = world.calls().len();
    let again = healed_again(&world).await;
    assert_eq!((again.copied, again.evidence), (0, healed_now.evidence.clone()));
    // The proof's four documents and their versions, two listings, and the record.
    assert!(world.calls().len() - calls <= 5 + 3, "{:?}", &world.calls()[calls..]);
}

async fn healed_again(world: &World) -> Healed {
    match healed(world, &world.bucket()).await.unwrap() {
        Outcome::Healed(healed) => healed,
        other @ (Outcome::UnderWay { .. } | Outcome::Refused { .. }) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_copy_that_somebody_changed_is_made_again_and_recorded_anew_and_one_that_rots_is_too() {
    let world = vandalised(&Sample::new("a", 1, 10)).await;
    let first = healed_again(&world).await;
    let key = "healed/a/weaviate-0/Article/chunk-1";
    let good = world.bucket().bytes(key).unwrap();
    for (n, change) in ["overwritten", "same size", "deleted"].iter().enumerate() {
        match *change {
            "overwritten" => drop(world.bucket().put_raw(key, b"other".to_vec())),
            "same size" => drop(world.bucket().put_raw(key, vec![7; good.len()])),
            _ => world.bucket().delete(key),
        }
        world.advance(std::time::Duration::from_secs(90));
        let again = healed_again(&world).await;
        assert_eq!((again.copied, world.bucket().bytes(key)), (1, Some(good.clone())), "{change}");
        assert_ne!(again.evidence, first.evidence, "{change}");
        assert_eq!(evidence_of(&world).len(), n + 2, "{change}");
    }
    world.bucket().put_raw("healed/a/weaviate-0/Strange/chunk-1", b"x".to_vec());
    let refused = healed(&world, &world.bucket()).await.unwrap();
    assert!(refused.attention() && refused.to_string().contains("is no copy of an object"), "{refused}");
}

#[tokio::test]
async fn what_is_gone_or_rotten_is_refused_by_name() {
    let chunk = "backups/a/weaviate-0/Article/chunk-1";
    let world = vandalised(&Sample::new("a", 1, 10)).await;
    world.bucket().erase(chunk);
    let refused = healed(&world, &world.bucket()).await.unwrap();
    assert!(refused.attention() && refused.to_string().contains("is gone in the version"), "{refused}");
    assert_eq!(copies_of(&world).len(), 0, "nothing is copied in vain");

    let world = owned();
    Sample::new("a", 1, 10).hand_over(&world);
    ticks(&world, 3).await;
    world.bucket().flip_byte_in_place(chunk, 3);
    world.bucket().put_raw("backups/a/backup_config.json", b"{}".to_vec());
    let refused = healed(&world, &world.bucket()).await.unwrap();
    assert!(refused.to_string().contains("the original's bytes changed at rest"), "{refused}");
    assert_eq!(evidence_of(&world), []);
}

#[tokio::test]
async fn copies_of_which_the_store_has_no_digest_are_read_and_hashed() {
    let world = vandalised(&Sample::new("a", 1, 10)).await;
    world.set(|settings| settings.whole_copy_bytes_max = 10);
    assert_eq!(healed_again(&world).await.copied, 6);
    let reads = world.calls().iter().filter(|c| c.call == Call::Read && c.subject.starts_with("healed/")).count();
    assert!(reads >= 6, "{reads}");
    // Those that are there are read again, not copied again, when the record is lost.
    world.bucket().erase(&world.bucket().keys("manifests/a/evidence/heal-")[0]);
    assert_eq!(healed_again(&world).await.copied, 0);
}

#[tokio::test]
async fn a_healing_that_runs_out_of_time_is_carried_on_and_copies_nothing_twice() {
    let mut sample = Sample::new("a", 1, 10);
    sample.chunks = 40;
    let world = vandalised(&sample).await;
    let (proof, bucket) = (proof_of(&world, "a").await, world.bucket());
    let policy = HealPolicy { objects_parallel: 1, ..HealPolicy::new(World::BUCKET) };
    let mut rounds = 0;
    loop {
        // Listings and some 20 of the 82 copies: a call takes 10 ms.
        let until = world.now().saturating_add(jiff::SignedDuration::from_millis(250)).unwrap();
        let outcome = heal(&bucket, &world.clock(), &policy, &proof, until).await.unwrap();
        rounds += 1;
        match outcome {
            Outcome::UnderWay { done, of, .. } => assert!(done < of && of == 82, "{done} of {of}"),
            Outcome::Healed(_) => break,
            Outcome::Refused { .. } => panic!("{outcome}"),
        }
        // Looking at what is there takes time too, so a budget that never grows would never end.
        assert!(rounds < 40, "it comes to its end");
        if rounds > 2 {
            let done = heal(&bucket, &world.clock(), &policy, &proof, patience(&world).until).await.unwrap();
            assert!(matches!(done, Outcome::Healed(_)), "{done}");
        }
    }
    let copies = world.calls().iter().filter(|c| c.call == Call::Copy).count();
    assert_eq!(copies, 82);
}

#[tokio::test]
async fn a_bucket_without_an_answer_is_an_error_and_no_verdict() {
    let world = vandalised(&Sample::new("a", 1, 10)).await;
    world.fail_next(Call::Copy, "chunk-1", Failure::Denied);
    assert!(healed(&world, &world.bucket()).await.is_err());
    assert_eq!(healed_again(&world).await.objects, 6);
}

/// Runs to its end on a thread of its own: the crash harness makes its worlds outside of async code.
fn apart(make: impl AsyncFnOnce() -> World + Send) -> World {
    std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(make())
        });
        made.join().unwrap()
    })
}

#[tokio::test]
async fn whatever_call_it_dies_at_the_next_one_finishes_the_healing() {
    let report = for_each_crash_point(
        || apart(async || vandalised(&Sample::new("a", 1, 10)).await),
        async |world, ports| {
            let _ = healed(&world, &ports.bucket).await;
        },
        |world| (copies_of(world), evidence_of(world).iter().map(|e| e.copies.len()).collect::<Vec<_>>().pop()),
    )
    .await;
    assert!(report.points >= 10 && report.end.0.len() == 6, "{} points", report.points);
}
