//! How close the engine comes to what network and CPU allow, and how it compares with what a user would run instead.
//!
//! `cargo bench -p lifeboat-engine`: a quick S3 of its own on the loopback interface, every client a process of its own
//! on named cores, taken in turns, the best of several rounds each. The engine's path is that of the functions: the AWS
//! SDK as `shared/adapters` configures it. Ratios are the result; figures depend on the machine. What is measured, and
//! what was, is in docs/benchmarks.md. `LIFEBOAT_BENCH_ROUNDS` (3), `LIFEBOAT_BENCH_CORES`, `LIFEBOAT_BENCH_SCALE` (a
//! divisor of all sizes, for trying the benchmark itself), `LIFEBOAT_BENCH_JSON` (a path).

#![expect(clippy::print_stdout, reason = "the table is what it is run for")]

#[path = "verification/clients.rs"]
mod clients;
#[path = "verification/report.rs"]
mod report;
#[path = "verification/roles.rs"]
mod roles;
#[path = "verification/store.rs"]
mod store;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use clients::{Cores, Store, role, time};
use report::{Line, Report};
use store::{Set, Shape};

/// 30 ms to the first byte and 90 MB/s a connection (facts: aws.md §5.4).
const REAL: Shape = Shape { latency: Duration::from_millis(30), bytes_per_second: 90_000_000 };
/// As fast as the loopback interface goes.
const LOOPBACK: Shape = Shape { latency: Duration::ZERO, bytes_per_second: 0 };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.split_first() {
        Some((name, rest)) if ["serve", "hash", "drain", "engine"].contains(&name.as_str()) => roles::run(name, rest),
        Some(_) | None => measure(),
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default).max(1)
}

fn measure() {
    let scale = number("LIFEBOAT_BENCH_SCALE", 1);
    let rounds = number("LIFEBOAT_BENCH_ROUNDS", 3);
    let set = |prefix: &str, objects: usize, mib: u64| Set {
        prefix: prefix.to_owned(),
        objects,
        size_bytes: (mib << 20) / scale,
    };
    let sets = [set("a", 2_000, 1), set("b", 16, 128), set("c", 1, 4_096)];
    let cores = Cores::of_this_machine();
    let mut report = Report::new(&cores, rounds, scale);
    {
        let store = Store::start(&cores, &sets, LOOPBACK);
        for set in &sets {
            let best = rounds_of(&cores, &store, set, rounds, &Which::LOOPBACK, &mut report);
            report.loopback(set, &best);
        }
    }
    {
        let store = Store::start(&cores, &sets, REAL);
        for set in &sets {
            let best = rounds_of(&cores, &store, set, rounds, &Which::REAL, &mut report);
            report.real(set, &best);
        }
    }
    let sets = [set("m1", 1, 1 << 10), set("m16", 1, 16 << 10)];
    let store = Store::start(&cores, &sets, LOOPBACK);
    let peaks = sets.each_ref().map(|set| {
        let run = time(vec![role(&cores, &store.url, &["engine", &set.text()])]).expect("the engine reads it");
        let (idle, peak) = (run.json()["idle_kib"].as_u64(), run.json()["peak_kib"].as_u64());
        peak.zip(idle).map_or(f64::NAN, |(peak, idle)| peak.saturating_sub(idle) as f64 / 1024.0)
    });
    report.memory(&sets, peaks);
    report.finish();
    let _ = std::fs::remove_dir_all(clients::scratch());
}

/// Which clients are taken in turns.
struct Which {
    curls: bool,
    hashes: bool,
}

impl Which {
    const LOOPBACK: Self = Self { curls: true, hashes: true };
    const REAL: Self = Self { curls: true, hashes: false };
}

/// The best time of each client, in seconds, and its verdict where it has none.
type Best = BTreeMap<&'static str, f64>;

fn rounds_of(cores: &Cores, store: &Store, set: &Set, rounds: u64, which: &Which, report: &mut Report) -> Best {
    let text = set.text();
    let ours = |arguments: &[&str]| vec![role(cores, &store.url, arguments)];
    let mut best = Best::new();
    // Once, before anything is timed: the sums that everybody must agree with.
    let expected = time(ours(&["hash", &text, "one"])).expect("bytes in memory are hashed").json()["sums"].clone();
    for _ in 0..rounds {
        let mut turns: Vec<(&'static str, Vec<Command>)> = Vec::new();
        if which.curls {
            turns.push(("curl", clients::curls(cores, &store.url, set)));
        }
        turns.push(("drain", ours(&["drain", &text])));
        if which.hashes {
            turns.push(("hash_one", ours(&["hash", &text, "one"])));
            turns.push(("hash_all", ours(&["hash", &text])));
        }
        turns.push(("engine", ours(&["engine", &text])));
        if report.installed("rclone") {
            turns.push(("rclone", vec![clients::rclone(cores, &store.url, set)]));
        }
        if report.installed("aws") && set.objects <= 16 && !best.contains_key("aws") {
            turns.push(("aws", vec![clients::aws(cores, &store.url, set)]));
        }
        for (client, commands) in turns {
            match time(commands) {
                Ok(run) => {
                    report.agrees(client, set, &run, &expected);
                    let mut keep = |name: &'static str, took: f64| {
                        let seconds = best.entry(name).or_insert(f64::INFINITY);
                        *seconds = seconds.min(took);
                    };
                    // Ours say what they took from their first request to their last byte; of others, and of ours where
                    // they are held to others, it is the process from its start to its end.
                    keep(client, run.json()["seconds"].as_f64().unwrap_or(run.seconds));
                    if client == "engine" {
                        keep("engine_process", run.seconds);
                    }
                }
                Err(error) => report.note(Line::not_run(client, set, &error)),
            }
        }
    }
    best
}
