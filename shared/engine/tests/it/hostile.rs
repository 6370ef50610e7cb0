//! Right digest or a clear finding; never a wrong digest, never a hang.

use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use lifeboat_engine::{
    Again, Algorithm, Digests, Engine, Finding, HeldTo, Object, Policy, Progress, Recorded, Unanswered,
};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};

use crate::scripted::{Act, KEY, Store, bytes};

/// Ten ranges and a bit.
const SIZE: usize = 10_500;

fn policy() -> Policy {
    Policy { range_bytes: 1_000, hash_threads: 2, ..Policy::default() }
}

async fn read(store: &Store) -> Result<Result<Digests, Finding>, Unanswered> {
    let object = store.listed(KEY);
    read_pinned(store, &object).await
}

/// Nothing may take longer than this, in virtual time: a hang is a failed test.
async fn read_pinned(store: &Store, object: &Object) -> Result<Result<Digests, Finding>, Unanswered> {
    let engine = Engine::new(policy());
    let read = timeout(Duration::from_secs(3_600), engine.hash_object(&store, object, &|_| {})).await;
    read.expect("whatever the store does, a reading ends")
}

async fn reads_well(script: impl IntoIterator<Item = Act>) {
    let body = bytes(SIZE);
    let store = Store::new(body.clone(), script);
    let digests = read(&store).await.expect("there is an answer").expect("nothing is wrong with it");
    assert_eq!(digests.sha256, <[u8; 32]>::from(Sha256::digest(&body)));
    assert_eq!(digests.size_bytes, SIZE as u64);
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

async fn unanswered(script: impl IntoIterator<Item = Act>) -> String {
    let store = Store::new(bytes(SIZE), script);
    chain(&read(&store).await.expect_err("there is no verdict"))
}

async fn finding(script: impl IntoIterator<Item = Act>) -> Finding {
    let store = Store::new(bytes(SIZE), script);
    read(&store).await.expect("there is an answer").expect_err("something is wrong with it")
}

#[tokio::test(start_paused = true)]
async fn connections_cut_inside_a_range_are_gone_on_with_where_they_broke() {
    reads_well([Act::Cut(0), Act::Cut(1), Act::Cut(999), Act::Serve, Act::Cut(500), Act::Cut(250)]).await;
    reads_well(std::iter::repeat_n(Act::Cut(700), 25)).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_always_cut_is_no_verdict() {
    let said = unanswered(std::iter::repeat_n(Act::Cut(1), 1_000)).await;
    assert!(said.contains("k: bytes ") && said.contains("in 8 attempts: connection reset"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_slow_down_is_sat_out_and_one_without_end_is_said() {
    let begun = Instant::now();
    reads_well(std::iter::repeat_n(Act::SlowDown, 150)).await;
    assert!(begun.elapsed() > Duration::from_secs(5), "it was asked more slowly: {:?}", begun.elapsed());
    let said = unanswered(std::iter::repeat_n(Act::SlowDown, 10_000)).await;
    assert!(said.contains("25 attempts: 503 SlowDown"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_or_silent_server_is_cut_and_asked_again() {
    let begun = Instant::now();
    reads_well([Act::Stall(300), Act::Stall(0), Act::Silent, Act::Serve, Act::Stall(999)]).await;
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
    let said = unanswered(std::iter::repeat_n(Act::Silent, 1_000)).await;
    assert!(said.contains("no answer came in time"), "{said}");
    let said = unanswered(std::iter::repeat_n(Act::Stall(0), 1_000)).await;
    assert!(said.contains("it stalled after 0 of"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drips_is_cut_although_it_never_stalls() {
    // Fifty bytes each eight seconds: no silence is long enough to be cut.
    let drip = |many| {
        let mut store = Store::new(bytes(SIZE), std::iter::repeat_n(Act::Drip(6), many));
        store.piece_bytes = 50;
        store
    };
    let store = drip(10);
    read(&store).await.expect("there is an answer").expect("others serve");
    let said = chain(&read(&drip(100_000)).await.expect_err("there is no verdict"));
    assert!(said.contains("it is too slow"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn fewer_bytes_than_promised_are_never_taken_for_all() {
    reads_well([Act::End(0), Act::End(999), Act::Serve, Act::End(1)]).await;
    let said = unanswered(std::iter::repeat_n(Act::End(0), 1_000)).await;
    assert!(said.contains("it ended after"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn more_bytes_than_asked_for_are_not_taken() {
    let said = unanswered([Act::Serve, Act::More]).await;
    assert!(said.contains("more than the 1000 bytes asked for came"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_ranges_is_said_to() {
    let said = unanswered([Act::Serve, Act::IgnoreRange]).await;
    assert!(said.contains("ignored the range"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn bytes_from_elsewhere_are_asked_for_again() {
    reads_well([Act::WrongRange, Act::Serve, Act::WrongRange]).await;
    let said = unanswered(std::iter::repeat_n(Act::WrongRange, 1_000)).await;
    assert!(said.contains("announced"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn another_size_than_listed_is_a_finding_when_it_stays() {
    reads_well([Act::Serve, Act::WrongSize]).await;
    let all = std::iter::repeat_n(Act::WrongSize, 1_000);
    assert_eq!(finding(all).await, Finding::WrongLength { expected_bytes: 10_500, received_bytes: 10_501 });
    let store = Store::new(bytes(SIZE), []);
    let listed = Object { size_bytes: 10_501, ..store.listed(KEY) };
    let finding = read_pinned(&store, &listed).await.expect("there is an answer").expect_err("one byte is missing");
    assert_eq!(finding, Finding::WrongLength { expected_bytes: 10_501, received_bytes: 10_500 });
}

#[tokio::test(start_paused = true)]
async fn an_object_overwritten_or_deleted_between_two_ranges_is_a_finding_wherever_that_is() {
    for before in 0..11 {
        let script = |act| std::iter::repeat_n(Act::Serve, before).chain([act]);
        assert_eq!(finding(script(Act::Overwrite)).await, Finding::Changed, "before range {before}");
        assert_eq!(finding(script(Act::Delete)).await, Finding::Missing, "before range {before}");
    }
    // Also when a range is only gone on with.
    assert_eq!(finding([Act::Cut(500), Act::Overwrite]).await, Finding::Changed);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_asked_again() {
    let store = Store::new(bytes(SIZE), [Act::Denied]);
    let unanswered = read(&store).await.expect_err("there is no verdict");
    assert_eq!((unanswered.attempts, unanswered.source.again), (1, Again::Never));
}

/// What S3 would have recorded of these bytes.
fn recorded(body: &[u8]) -> Option<Recorded> {
    let digest = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, body).to_be_bytes().to_vec();
    Some(Recorded { algorithm: Algorithm::Crc64Nvme, digest })
}

#[tokio::test(start_paused = true)]
async fn a_bit_flipped_on_the_way_is_read_again_and_one_flipped_at_rest_is_a_finding() {
    let body = bytes(SIZE);
    for size in [SIZE, 900, 1] {
        let body = body.slice(..size);
        let mut store = Store::new(body.clone(), [Act::FlipBit]);
        store.recorded = recorded(&body);
        let object = store.listed(KEY);
        let rereads = Mutex::new(0);
        let count = |p: Progress| *rereads.lock().unwrap() += usize::from(matches!(p, Progress::Reread { .. }));
        let read = Engine::new(policy()).hash_object(&&store, &object, &count).await.expect("there is an answer");
        assert_eq!(read.expect("the second reading is right").held_to, HeldTo::Checksum(Algorithm::Crc64Nvme));
        assert_eq!(*rereads.lock().unwrap(), 1);

        let mut store = Store::new(body.clone(), std::iter::repeat_n(Act::FlipBit, 1_000));
        store.recorded = recorded(&body);
        let finding = self::read(&store).await.expect("there is an answer").expect_err("it is damaged");
        assert!(matches!(finding, Finding::ChecksumDiffers { .. }), "{finding}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_objects_share_one_budget_and_the_connections_and_each_has_its_own_digest() {
    let store = Store::new(Bytes::new(), [Act::Cut(3), Act::SlowDown, Act::Stall(7), Act::End(0)]);
    let all = bytes(300_000);
    let size = |n: usize| (n * 7_919) % 30_000;
    (0..200).for_each(|n| store.put(&format!("p/{n:03}"), all.slice(n..n + size(n))));
    // The smallest budget there is, and ranges of half of it would not leave room for every object's lead at once.
    let engine = Engine::new(Policy { memory_bytes: 0, connections: 7, ..policy() });
    let source = &&store;
    let objects = engine.list(source, "p/").map_ok(Object::listed).map(|object| object.expect("it is listed"));
    let read: Vec<_> = engine.hash_objects(source, objects, &|_| {}).collect().await;
    assert_eq!(read.len(), 200);
    for (object, answer) in read {
        let n: usize = object.pinned.key[2..].parse().unwrap();
        let expected: [u8; 32] = Sha256::digest(&all[n..n + size(n)]).into();
        assert_eq!(answer.expect("answered").expect("well").sha256, expected, "{n}");
    }
}

use lifeboat_engine::Bytes;

#[tokio::test(start_paused = true)]
async fn a_listing_has_every_key_once_over_all_pages_and_sits_out_a_storm() {
    let mut store = Store::new(bytes(1), std::iter::repeat_n(Act::SlowDown, 10));
    store.page_keys = 7;
    (0..50).for_each(|n| store.put(&format!("p/{n:03}"), bytes(n)));
    let engine = Engine::new(policy());
    let source = &&store;
    let listed: Vec<_> = engine.list(source, "p/").try_collect().await.expect("it is listed");
    let keys: Vec<String> = listed.into_iter().map(|o| o.key).collect();
    assert_eq!(keys, (0..50).map(|n| format!("p/{n:03}")).collect::<Vec<_>>());
    let none: Vec<_> = engine.list(source, "q/").try_collect().await.expect("it is listed");
    assert!(none.is_empty());
}

#[tokio::test(start_paused = true)]
async fn several_ranges_of_one_object_are_in_flight_ahead_of_the_hash() {
    let store = Store::new(bytes(SIZE), []);
    let begun = Instant::now();
    read(&store).await.expect("answered").expect("well");
    assert_eq!(store.counts.lock().unwrap().opened, 11);
    assert!(begun.elapsed() < Duration::from_millis(20), "eleven waits of 5 ms overlap: {:?}", begun.elapsed());
}
