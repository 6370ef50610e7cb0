//! How planning, folding and T0 grow with the number of objects. `cargo bench -p lifeboat-workflows --features twins`
//!
//! Prints, for 25,000, 50,000 and 100,000 objects of together up to 12 TB, the time and the memory of planning and of
//! folding, each in a process of its own, and ends with an error when the growth is not linear; then the requests and the
//! objects per second of T0 over 100,000 objects. T0 asks the in-memory twin, which answers at once: its rate is that of
//! our own work, to which S3 adds its time for each request.

#![expect(clippy::print_stdout, reason = "its figures are its output")]

use std::process::{Command, ExitCode};
use std::time::Instant;

use lifeboat_domain::ids::{BackupId, Sha256Digest};
use lifeboat_domain::manifest::{CatalogueRow, encode_catalogue, root_digest};
use lifeboat_domain::verify::plan::{Limits, fold, plan};
use lifeboat_domain::verify::{Part, Shard, ShardObject};
use lifeboat_workflows::inventory::t0_of;
use lifeboat_workflows::twins::{World, etag_of};

const COUNTS: [u64; 3] = [25_000, 50_000, 100_000];
/// 12 TB in 100,000 objects.
const OBJECT_BYTES: u64 = 120_000_000;
/// How much more than linear time and memory may grow from the first count to the last, for noise.
const SLACK: f64 = 1.5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(count) = arguments.iter().skip_while(|a| *a != "--objects").nth(1) {
        measure(count.parse().expect("a number of objects"));
        return ExitCode::SUCCESS;
    }
    println!("objects     TB  shards   plan s   fold s   memory MiB   bytes/object");
    let measured: Vec<(f64, f64)> = COUNTS.iter().map(|count| child(*count)).collect();
    let grows = (COUNTS[2] / COUNTS[0]) as f64 * SLACK;
    let (seconds, bytes) = (measured[2].0 / measured[0].0, measured[2].1 / measured[0].1);
    println!("from {} to {} objects: time x {seconds:.1}, memory x {bytes:.1}", COUNTS[0], COUNTS[2]);
    t0_rate(100_000);
    if seconds > grows || bytes > grows {
        println!("FAILED: more than linear (x {grows:.0})");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Measures in a process of its own, so that its peak is its own. Gives seconds and bytes.
fn child(count: u64) -> (f64, f64) {
    let me = std::env::current_exe().expect("the benchmark knows its own path");
    let output = Command::new(me).args(["--objects", &count.to_string()]).output().expect("it runs itself");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let numbers: Vec<f64> = text.split_whitespace().map(|n| n.parse().expect("a number")).collect();
    let [shards, plan_s, fold_s, bytes] = numbers[..] else { panic!("four numbers: {text}") };
    println!(
        "{count:7} {:6.1} {shards:7.0} {plan_s:8.2} {fold_s:8.2} {:12.1} {:14.0}",
        (count * OBJECT_BYTES) as f64 / 1e12,
        bytes / f64::from(1 << 20),
        bytes / count as f64
    );
    (plan_s + fold_s, bytes)
}

fn measure(count: u64) {
    let id = BackupId::parse("weaviate_backup_2026-11-20t033000z_g7_1").expect("an id");
    let objects: Vec<ShardObject> = (0..count)
        .map(|n| ShardObject {
            key: format!("backups/{id}/weaviate-0/Collection{:03}/chunk-{n}", n % 200),
            size_bytes: OBJECT_BYTES,
            etag: format!("\"{:032x}-8\"", n),
            version_id: Some(format!("{n:032x}")),
        })
        .collect();
    let before = peak_bytes();
    let started = Instant::now();
    let shards = plan(&id, objects, Limits::default()).expect("a plan");
    let plan_s = started.elapsed().as_secs_f64();
    let parts: Vec<Part> = shards.iter().map(part).collect();
    let started = Instant::now();
    let folded = fold(&id, &shards, &parts);
    assert!(folded.findings.is_empty() && folded.rows.len() as u64 == count);
    let catalogue = encode_catalogue(&folded.rows);
    let root = root_digest(&folded.rows);
    let fold_s = started.elapsed().as_secs_f64();
    assert!(!catalogue.is_empty() && root != Sha256Digest::of(b""));
    println!("{} {plan_s} {fold_s} {}", shards.len(), peak_bytes().saturating_sub(before));
}

/// What reading a shard gives, without reading.
fn part(shard: &Shard) -> Part {
    let row = |o: &ShardObject| CatalogueRow {
        key: o.key.clone(),
        size_bytes: o.size_bytes,
        sha256: Sha256Digest::of(o.key.as_bytes()),
        etag: o.etag.clone(),
        version_id: o.version_id.clone(),
    };
    Part {
        backup_id: shard.backup_id.clone(),
        index: shard.index,
        of: shard.of,
        plan_sha256: shard.plan_sha256.clone(),
        rows: shard.objects.iter().map(row).collect(),
        findings: Vec::new(),
        notes: Vec::new(),
    }
}

/// The most memory that this process ever had resident, in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says what a process takes");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its peak");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("in KiB");
    kib * 1024
}

fn t0_rate(count: usize) {
    let (world, id) = (World::new(), BackupId::parse("b").expect("an id"));
    let bucket = world.bucket();
    let mut rows: Vec<CatalogueRow> = (0..count)
        .map(|n| {
            let (key, body) = (format!("backups/b/weaviate-0/C/chunk-{n}"), n.to_be_bytes().to_vec());
            let (sha256, etag) = (Sha256Digest::of(&body), etag_of(&body));
            let version_id = Some(bucket.put_raw(&key, body));
            CatalogueRow { key, size_bytes: 8, sha256, etag, version_id }
        })
        .collect();
    rows.sort();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let before = world.calls().len();
    let started = Instant::now();
    let outcome = runtime.block_on(t0_of(&bucket, &id, &rows)).expect("an answer");
    let seconds = started.elapsed().as_secs_f64();
    let requests = world.calls().len() - before;
    assert!(outcome.passed() && requests <= count.div_ceil(1000) + 1);
    println!("T0 of {count} objects: {requests} requests, {:.0} objects/s on the twin", count as f64 / seconds);
}
