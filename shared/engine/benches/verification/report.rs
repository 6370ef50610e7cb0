//! The table, its verdicts, and the same as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::clients::{Cores, Run, version};
use crate::roles::sums_digest;
use crate::store::Set;

/// A measured figure and what it is held to.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    what: String,
    measured: Option<f64>,
    target: Option<Target>,
    remark: String,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Line {
    /// Something that could not be measured, and why.
    pub(crate) fn not_run(client: &str, set: &Set, why: &str) -> Self {
        let what = format!("({}) {client}", set.prefix);
        Self { what, measured: None, target: None, remark: format!("NOT RUN: {why}") }
    }

    fn verdict(&self) -> &'static str {
        match (self.measured, self.target) {
            (None, _) => "NOT RUN",
            (Some(_), None) => "",
            (Some(n), Some(Target::AtLeast(least))) if n >= least => "PASS",
            (Some(n), Some(Target::AtMost(most))) if n <= most => "PASS",
            (Some(_), Some(_)) => "FAIL",
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = self.measured.map_or_else(|| "-".to_owned(), |n| format!("{n:.2}"));
        let target = match self.target {
            Some(Target::AtLeast(n)) => format!("≥ {n:.2}"),
            Some(Target::AtMost(n)) => format!("≤ {n:.2}"),
            None => String::new(),
        };
        write!(f, "| {} | {measured} | {target} | {} | {} |", self.what, self.verdict(), self.remark)
    }
}

/// Everything measured.
#[derive(Debug)]
pub(crate) struct Report {
    versions: BTreeMap<&'static str, Option<String>>,
    head: Value,
    lines: Vec<Line>,
}

impl Report {
    /// Prints what is measured with, and on what.
    pub(crate) fn new(cores: &Cores, rounds: u64, scale: u64) -> Self {
        let versions = BTreeMap::from([
            ("curl", version("curl", "--version")),
            ("rclone", version("rclone", "version")),
            ("aws", version("aws", "--version")),
        ]);
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
        let model = model.trim_start_matches([' ', '\t', ':']).to_owned();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        assert!(lifeboat_engine::sha_instructions(), "this CPU's SHA instructions are not in use: nothing to compare");
        let head = json!({
            "cpu": model, "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "store_cores": cores.store, "client_cores": cores.clients, "sha_instructions": true,
            "client_path": "AWS SDK for Rust as shared/adapters configures it, HTTP without TLS",
            "rounds": rounds, "size_divisor": scale, "load_before": load.split(' ').next(), "versions": versions,
        });
        println!("{head:#}");
        Self { versions, head, lines: Vec::new() }
    }

    /// Whether a program is there.
    pub(crate) fn installed(&self, program: &str) -> bool {
        self.versions.get(program).is_some_and(Option::is_some)
    }

    /// Adds a line and prints it.
    pub(crate) fn note(&mut self, line: Line) {
        println!("{line}");
        self.lines.push(line);
    }

    /// Holds a client's sums to those computed out of memory.
    pub(crate) fn agrees(&self, client: &str, set: &Set, run: &Run, expected: &Value) {
        let sums = match client {
            "curl" | "drain" => return,
            "hash_all" if set.objects == 1 => return,
            "rclone" | "aws" => Value::String(sums_digest(run.output.lines().map(|line| {
                let (sum, name) = line.split_once("  ").expect("a sum and a name");
                (format!("{}/{name}", set.prefix), sum.to_owned())
            }))),
            _ => run.json()["sums"].clone(),
        };
        assert_eq!(sums, *expected, "{client} and SHA-256 out of memory agree about ({})", set.prefix);
        if client == "engine" {
            assert_eq!(run.json()["held_to"], json!(["Checksum(Crc64Nvme)"]), "the store's own checksum is recomputed");
        }
    }

    /// A set read as fast as the loopback interface goes.
    pub(crate) fn loopback(&mut self, set: &Set, best: &BTreeMap<&'static str, f64>) {
        self.rates("loopback", set, best);
        let rate = |client: &str| best.get(client).map(|s| set.total_bytes() as f64 / s);
        let of = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a / b);
        let drain = rate("drain");
        self.ratio("loopback", set, "drain / four curls", of(drain, rate("curl")), 0.8, "");
        let limit = drain.zip(rate("hash_all")).map(|(drain, hash)| 1.0 / (1.0 / drain + 1.0 / hash));
        let limit = match (limit, rate("hash_one")) {
            (Some(limit), Some(one)) if set.objects == 1 => Some(limit.min(one)),
            (limit, _) => limit,
        };
        let remark = limit.map_or_else(String::new, |l| format!("limit {:.0} MB/s", l / 1e6));
        self.ratio("loopback", set, "engine / limit", of(rate("engine"), limit), 0.9, &remark);
    }

    /// A set read with the latency and the rate of the real thing.
    pub(crate) fn real(&mut self, set: &Set, best: &BTreeMap<&'static str, f64>) {
        self.rates("30 ms, 90 MB/s", set, best);
        let least = match set.prefix.as_str() {
            "a" => 1.3,
            "b" => 2.0,
            _ => 4.0,
        };
        let ratio = best.get("rclone").zip(best.get("engine_process")).map(|(rclone, engine)| rclone / engine);
        self.ratio("30 ms, 90 MB/s", set, "engine / rclone", ratio, least, "");
    }

    fn rates(&mut self, how: &str, set: &Set, best: &BTreeMap<&'static str, f64>) {
        for client in ["curl", "drain", "hash_one", "hash_all", "engine", "rclone", "aws"] {
            let name = match client {
                "curl" => "four parallel curls",
                "drain" => "our drain",
                "hash_one" => "SHA-256 alone, one core",
                "hash_all" => "SHA-256 alone, all cores",
                "engine" => "engine",
                "rclone" => "rclone hashsum sha256 --download",
                _ => "aws s3 cp - \\| sha256sum",
            };
            let what = format!("({}) {how}: {name}, MB/s", set.prefix);
            match best.get(client) {
                Some(seconds) => {
                    let measured = Some(set.total_bytes() as f64 / seconds / 1e6);
                    self.note(Line { what, measured, target: None, remark: format!("{seconds:.2} s") });
                }
                None if ["rclone", "aws"].contains(&client) => {
                    let why = match client {
                        "aws" if self.installed("aws") => "one process an object: 2,000 of them measure Python",
                        _ => "it is not installed, or failed",
                    };
                    self.note(Line { what, measured: None, target: None, remark: why.to_owned() });
                }
                None => {}
            }
        }
    }

    fn ratio(&mut self, how: &str, set: &Set, what: &str, measured: Option<f64>, least: f64, remark: &str) {
        let what = format!("({}) {how}: {what}", set.prefix);
        self.note(Line { what, measured, target: Some(Target::AtLeast(least)), remark: remark.to_owned() });
    }

    /// The most memory over the idle process, of a small object and a large one.
    pub(crate) fn memory(&mut self, sets: &[Set; 2], peaks_mib: [f64; 2]) {
        for (set, peak) in sets.iter().zip(peaks_mib) {
            let what = format!("peak memory over the idle process, one object of {} MiB, MiB", set.size_bytes >> 20);
            self.note(Line { what, measured: Some(peak), target: Some(Target::AtMost(96.0)), remark: String::new() });
        }
        let what = "peak memory of 16 times the bytes, times".to_owned();
        let measured = Some(peaks_mib[1] / peaks_mib[0]);
        self.note(Line { what, measured, target: Some(Target::AtMost(1.25)), remark: String::new() });
    }

    /// Prints the table with its verdicts, and the JSON or writes it.
    pub(crate) fn finish(self) {
        println!("\n| what | measured | target | verdict | |\n|---|---|---|---|---|");
        self.lines.iter().for_each(|line| println!("{line}"));
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|l| json!({"what": l.what, "measured": l.measured, "verdict": l.verdict(), "remark": l.remark}))
            .collect();
        let failed = self.lines.iter().filter(|l| l.verdict() == "FAIL").count();
        let document = json!({ "run": self.head, "lines": lines, "failed": failed });
        if let Ok(path) = std::env::var("LIFEBOAT_BENCH_JSON") {
            std::fs::write(&path, format!("{document:#}\n")).expect("the JSON can be written");
        } else {
            println!("{document}");
        }
        println!("{failed} of {} lines FAIL", self.lines.len());
    }
}
