//! Death at every call, and several invocations at once.

use lifeboat_engine::{Answer, Ask, Description, Listing, Opened, ReadFault, Source};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifeboat_domain::Timestamp;
use lifeboat_domain::document::decode;
use lifeboat_domain::event::Hint;
use lifeboat_domain::flip::RequestOutcome;
use lifeboat_domain::ids::Sha256Digest;
use lifeboat_domain::keys::Key;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::runs::Action;

use crate::inventory::list_all;
use crate::ports::bucket::{
    CopyOutcome, Listed, ListedVersion, Page, Pinned, PutMode, PutOutcome, ReadOutcome, Stored, VersionContent,
    VersionMarker,
};
use crate::ports::{Bucket, Fault};
use crate::twins::{BucketTwin, World, for_each_crash_point};
use crate::verify_checksums::sample::*;

async fn next(world: &World, sample: &Sample) {
    sample.hand_over(world);
    ticks(world, 3).await;
}

/// What counts of the end: the pointer without the writer's clock, verdicts, manifests, outcomes of requests.
fn end(world: &World) -> impl PartialEq + std::fmt::Debug + use<> {
    let pointer = pointer(world).map(|p| Pointer { published_at: Timestamp::UNIX_EPOCH, ..p });
    let pointer = pointer.map(|p| (p.backup_id, p.sequence, p.generation, p.overridden, p.flips_stopped, p.previous));
    let outcomes: Vec<_> = world
        .bucket()
        .keys("runs/flip-manifest/done/")
        .iter()
        .map(|k| document::<RequestOutcome>(world, &Key::parse(k).unwrap()).unwrap())
        .collect();
    (pointer, record(world), world.bucket().keys("manifests/"), outcomes)
}

/// A world prepared by these backups; on a thread of its own, because the harness makes worlds synchronously.
fn prepared(backups: &[Sample]) -> World {
    let world = owned();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                for sample in backups {
                    next(&world, sample).await;
                }
            });
        });
    });
    world
}

async fn survives(least: usize, make_world: impl Fn() -> World) {
    let report = for_each_crash_point(
        make_world,
        async |world, ports| {
            let _ = flip_on(&world, &ports.bucket, &ports.clock, &Hint::Tick).await;
        },
        end,
    )
    .await;
    assert!(report.points > least, "{report:?}");
}

#[tokio::test]
async fn whatever_call_it_dies_at_a_rollback_is_done_once() {
    survives(20, || {
        let world = prepared(&[Sample::new("a", 1, 10), Sample::new("b", 1, 20)]);
        ask(&world, "r1", Action::Rollback { to: id("a") });
        world
    })
    .await;
}

#[tokio::test]
async fn whatever_call_it_dies_at_a_rollback_and_its_resumption_are_done_once_and_in_order() {
    survives(30, || {
        let world = prepared(&[Sample::new("a", 1, 10), Sample::new("b", 1, 20)]);
        ask(&world, "r1", Action::Rollback { to: id("a") });
        world.advance(Duration::from_secs(2));
        ask(&world, "r2", Action::ResumeFlips);
        world
    })
    .await;
}

#[tokio::test]
async fn whatever_call_it_dies_at_a_restamp_is_done_once() {
    survives(8, || {
        let world = prepared(&[Sample::new("a", 1, 10), Sample::new("b", 1, 20)]);
        own(&world, 2, restored("a"));
        world
    })
    .await;
}

#[tokio::test]
async fn whatever_call_it_dies_at_an_approval_is_done_once() {
    survives(20, || {
        let mut small = Sample::new("b", 1, 20);
        small.counts.insert("Article", 1);
        let world = prepared(&[Sample::new("a", 1, 10), small]);
        ask(&world, "r1", Action::Approve { backup_id: id("b") });
        world
    })
    .await;
}

/// A bucket that lets others go first, a number of times that the seed decides, before each call.
struct Yielding {
    bucket: BucketTwin,
    random: Arc<Mutex<u64>>,
}

impl Yielding {
    async fn others_first(&self) {
        let times = {
            let mut state = self.random.lock().unwrap();
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 33) % 4
        };
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    }
}

impl Bucket for Yielding {
    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Stored>, Fault> {
        self.others_first().await;
        self.bucket.get(key, limit_bytes).await
    }
    async fn head(&self, key: &str) -> Result<Option<Listed>, Fault> {
        self.others_first().await;
        self.bucket.head(key).await
    }
    async fn put(&self, key: &str, body: Vec<u8>, mode: PutMode) -> Result<PutOutcome, Fault> {
        self.others_first().await;
        self.bucket.put(key, body, mode).await
    }
    async fn list(&self, prefix: &str, start_after: Option<&str>) -> Result<Page<Listed>, Fault> {
        self.others_first().await;
        self.bucket.list(prefix, start_after).await
    }
    async fn list_versions(&self, prefix: &str, after: Option<&VersionMarker>) -> Result<Page<ListedVersion>, Fault> {
        self.others_first().await;
        self.bucket.list_versions(prefix, after).await
    }
    async fn read(&self, object: &Pinned, offset: u64, length: u64) -> Result<ReadOutcome, Fault> {
        self.others_first().await;
        self.bucket.read(object, offset, length).await
    }
    async fn copy(&self, from: &Pinned, size_bytes: u64, to: &str) -> Result<CopyOutcome, Fault> {
        self.others_first().await;
        self.bucket.copy(from, size_bytes, to).await
    }
    async fn stored_sha256(&self, object: &Pinned) -> Result<Option<Sha256Digest>, Fault> {
        self.others_first().await;
        self.bucket.stored_sha256(object).await
    }
}

impl Source for Yielding {
    type Body = <BucketTwin as Source>::Body;

    async fn describe(&self, object: &Pinned) -> Result<Answer<Description>, ReadFault> {
        self.others_first().await;
        self.bucket.describe(object).await
    }
    async fn open(&self, object: &Pinned, ask: Ask) -> Result<Answer<Opened<Self::Body>>, ReadFault> {
        self.others_first().await;
        self.bucket.open(object, ask).await
    }
    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Listing, ReadFault> {
        self.others_first().await;
        self.bucket.page(prefix, after).await
    }
}

/// Every pointer ever written, oldest first.
async fn history(world: &World) -> Vec<Pointer> {
    let bucket = world.bucket();
    let key = Key::Pointer.to_string();
    let (versions, _) = list_all(&bucket, &key).await.unwrap();
    let mut pointers = Vec::new();
    for version in versions.into_iter().rev().filter(|v| v.key == key) {
        let VersionContent::Object { size_bytes, etag } = version.content else { panic!("a delete marker") };
        let pinned = Pinned { key: key.clone(), etag, version_id: version.version_id };
        let ReadOutcome::Bytes(bytes) = bucket.read(&pinned, 0, size_bytes).await.unwrap() else { panic!() };
        pointers.push(decode::<Pointer>(&key, &bytes).unwrap());
    }
    pointers
}

#[tokio::test]
async fn flips_a_rollback_and_a_gate_at_once_move_the_pointer_one_step_at_a_time_and_never_back_unrecorded() {
    for seed in 0..40 {
        let world = owned();
        next(&world, &Sample::new("a", 1, 10)).await;
        for (name, as_of) in [("b", 20), ("c", 30)] {
            Sample::new(name, 1, as_of).hand_over(&world);
            for _ in 0..2 {
                let _ = verify(&world, &Hint::Tick).await.unwrap();
                world.advance(Duration::from_mins(2));
            }
        }
        if seed % 2 == 0 {
            ask(&world, "r1", Action::Rollback { to: id("a") });
        }
        let random = Arc::new(Mutex::new(seed));
        let worker = async || {
            let bucket = Yielding { bucket: world.bucket(), random: Arc::clone(&random) };
            let _ = flip_on(&world, &bucket, &world.clock(), &Hint::Tick).await;
        };
        let gate = async {
            for _ in 0..seed {
                tokio::task::yield_now().await;
            }
            own(&world, 2, restored("a"));
            worker().await;
        };
        futures::join!(worker(), worker(), gate, worker());
        ticks(&world, 2).await;

        let history = history(&world).await;
        let context = || format!("seed {seed}: {history:#?}");
        for pair in history.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.next(), "{}", context());
            assert!(pair[1].generation >= pair[0].generation, "{}", context());
            assert!(pair[1].data_as_of >= pair[0].data_as_of || pair[1].overridden.is_some(), "{}", context());
        }
        let last = history.last().unwrap();
        assert_eq!((last.backup_id.as_str(), last.generation.0), ("a", 2), "{}", context());
        let by = |text: &str| history.iter().filter(|p| p.published_by.contains(text)).count();
        assert_eq!(by("at the gate"), 1, "{}", context());
        assert!(by("request r1") <= 1, "{}", context());
        let done = world.bucket().keys("runs/flip-manifest/done/");
        for outcome in done.iter().map(|k| document::<RequestOutcome>(&world, &Key::parse(k).unwrap()).unwrap()) {
            assert_eq!(outcome.done, by("request r1") == 1, "{outcome:?} {}", context());
        }
        let record = record(&world);
        assert!(record.open.is_empty() && record.closed.len() == 3, "{record:?}");
    }
}
