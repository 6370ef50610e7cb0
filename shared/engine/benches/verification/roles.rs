//! What the child processes do: serve, drain, hash, verify, and say what memory it took. Each prints one line of JSON.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use lifeboat_adapters::aws::{Aws, S3Bucket};
use lifeboat_engine::{Engine, Object, Policy};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::store::{Block, Set, Shape, serve};

/// Runs the role that the arguments name.
pub(crate) fn run(role: &str, arguments: &[String]) {
    match role {
        "serve" => {
            let number = |n: usize| arguments.get(n).and_then(|text| text.parse().ok()).unwrap_or(0);
            let shape = Shape { latency: Duration::from_millis(number(0)), bytes_per_second: number(1) };
            let sets = arguments[2..].iter().filter_map(|text| Set::parse(text)).collect();
            serve(sets, shape, |address| println!("{address}"));
        }
        "hash" => hash(&set(arguments), arguments.get(1).is_some_and(|text| text == "one")),
        "drain" => in_runtime(drain(set(arguments))),
        "engine" => in_runtime(engine(set(arguments))),
        _ => panic!("{role} is no role"),
    }
}

fn set(arguments: &[String]) -> Set {
    arguments.first().and_then(|text| Set::parse(text)).expect("a set")
}

fn in_runtime(role: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(role);
}

/// SHA-256 of the same bytes, out of memory: of all objects, on all cores of this process or on one. Of a single object
/// there is one digest, which one core computes; then every core hashes as many bytes of its own, for the rate of all.
fn hash(set: &Set, one: bool) {
    let block = Block::new();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if set.objects == 1 && !one {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            (0..cores).for_each(|n| drop(scope.spawn(move || hash_object(&Block::new(), n, set.size_bytes))));
        });
        return say(json!({ "seconds": begun.elapsed().as_secs_f64() / cores as f64, "threads": cores }));
    }
    let begun = Instant::now();
    let threads = if one { 1 } else { cores };
    let next = AtomicUsize::new(0);
    let mut sums: Vec<(usize, String)> = std::thread::scope(|scope| {
        let work = || {
            let mut sums = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= set.objects {
                    return sums;
                }
                sums.push((n, hash_object(&block, n, set.size_bytes)));
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it hashes")).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    sums.sort();
    let lines = sums.into_iter().map(|(n, sum)| (set.key(n), sum));
    say(json!({ "seconds": seconds, "sums": sums_digest(lines), "threads": threads }));
}

fn hash_object(block: &Block, n: usize, size_bytes: u64) -> String {
    let (mut sha256, mut offset) = (Sha256::new(), 0);
    while offset < size_bytes {
        let stretch = block.stretch(n, offset, size_bytes - offset);
        sha256.update(stretch);
        offset += stretch.len() as u64;
    }
    hex(&sha256.finalize())
}

/// One digest over all sums, whoever computed them.
pub(crate) fn sums_digest(lines: impl IntoIterator<Item = (String, String)>) -> String {
    let mut lines: Vec<String> = lines.into_iter().map(|(key, sum)| format!("{key} {sum}\n")).collect();
    lines.sort();
    hex(&Sha256::digest(lines.concat()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

async fn bucket() -> S3Bucket {
    Aws::from_environment().await.bucket("b")
}

async fn objects(engine: &Engine, bucket: &S3Bucket, set: &Set) -> Vec<Object> {
    let prefix = format!("{}/", set.prefix);
    let listed: Vec<_> = engine.list(bucket, &prefix).map_ok(Object::listed).try_collect().await.expect("it is listed");
    assert_eq!(listed.len(), set.objects, "every object is listed");
    listed
}

async fn drain(set: Set) {
    let (engine, bucket) = (Engine::new(Policy::default()), bucket().await);
    let begun = Instant::now();
    let objects = objects(&engine, &bucket, &set).await;
    let bytes = engine.drain_objects(&bucket, futures::stream::iter(objects)).await.expect("every byte comes");
    say(json!({ "seconds": begun.elapsed().as_secs_f64(), "bytes": bytes }));
}

async fn engine(set: Set) {
    let (engine, bucket) = (Engine::new(Policy::default()), bucket().await);
    let begun = Instant::now();
    let objects = objects(&engine, &bucket, &set).await;
    let idle_kib = peak_kib();
    let answers: Vec<_> = engine.hash_objects(&bucket, futures::stream::iter(objects), &|_| {}).collect().await;
    let seconds = begun.elapsed().as_secs_f64();
    let mut bytes = 0;
    let mut held = std::collections::BTreeSet::new();
    let lines = answers.into_iter().map(|(object, answer)| {
        let digests = answer.expect("the store answers").expect("the bytes are as recorded");
        bytes += digests.size_bytes;
        held.insert(format!("{:?}", digests.held_to));
        (object.pinned.key, hex(&digests.sha256))
    });
    let sums = sums_digest(lines.collect::<Vec<_>>());
    let (held_to, peak_kib) = (held, peak_kib());
    say(json!({
        "seconds": seconds, "bytes": bytes, "sums": sums, "held_to": held_to, "idle_kib": idle_kib, "peak_kib": peak_kib,
    }));
}

/// The most memory that this process ever had, as the kernel counts it.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.trim().trim_end_matches(" kB").trim().parse().ok()).unwrap_or(0)
}

fn say(line: serde_json::Value) {
    println!("{line}");
}
