//! Every `LIFEBOAT_NODE_*` variable, in one place. They make the double fast, slow, or faulty; a real server ignores them.
//!
//! | variable | meaning (default) |
//! |---|---|
//! | `LIFEBOAT_NODE_VERSION` | version to report and to behave as (`1.38.11`) |
//! | `LIFEBOAT_NODE_ROUND_SCALE` | factor on the 2 s and 10 s polling rounds of create and restore (`1`); `0.01` for tests |
//! | `LIFEBOAT_NODE_ACCESS_LOG` | file that gets one JSON line per HTTP request: `at_ms, node` (the address it listens on)`, remote, method, path, query, user, status`; several nodes may share the file |
//! | `LIFEBOAT_NODE_CRASH_AT` | the process ends by itself (exit status 86, nothing drained) at this step: `create-accepted`, `create-chunk`, `create-before-node-descriptor`, `create-before-final`, `restore-accepted`, `restore-chunk`, `restore-finalizing`, `restore-class`, `restore-before-final`, `restore-cancelling` |
//! | `LIFEBOAT_NODE_HANG_AT` | work stops for ever at one of the same steps, the server goes on answering; only a hang at a chunk ends when it is cancelled |
//! | `LIFEBOAT_NODE_FAIL_PUT` | comma list of `substring` or `substring#n`: the store fails each (or only the n-th) write of a key (`<id>/…`) that contains it; `backup_config.json#2` is the final write of a create |
//! | `LIFEBOAT_NODE_FAIL_GET` | the same for reads |
//! | `LIFEBOAT_NODE_SLOW_STORE_MS` | delay before every call to the store, milliseconds (`0`) |
//! | `LIFEBOAT_NODE_RESTORE_EMPTIES` | comma list of classes whose staged data is lost between download and rename: the class comes back empty, status SUCCESS |
//! | `LIFEBOAT_NODE_RESTORE_DROPS` | `Class=n`: the last n objects of that class are missing after a restore that says SUCCESS |
//! | `LIFEBOAT_NODE_COUNT_OFFSET` | `Class=±n` comma list: aggregation counts are off by that much |
//! | `LIFEBOAT_NODE_FLUSH_SECONDS` | age at which an unflushed segment is flushed; until then `/v1/nodes` does not count its objects (`60`) |
//! | `LIFEBOAT_NODE_SEGMENT_BYTES` | size at which a segment file is sealed (`2097152`) |
//! | `LIFEBOAT_NODE_BLOCK_SECONDS` | after start, seconds in which backups are refused with the "startup window" text (`0`) |
//! | `LIFEBOAT_NODE_NOT_READY` | `true`: `/v1/.well-known/ready` answers 503 |
//! | `LIFEBOAT_NODE_NO_LEADER` | `true`: creates and restores fail for want of a Raft leader |
//! | `LIFEBOAT_NODE_STATUS_500` | the first n status polls answer 500 (`0`) |
//! | `LIFEBOAT_NODE_RBAC_GRANTS` | with RBAC on: `user=ClassA\|ClassB` comma list of who may manage backups of what; root users may do all |

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::version::Version;

/// Deliberate faults and speed, read once at start.
#[derive(Debug)]
pub(crate) struct Knobs {
    pub(crate) version: Version,
    pub(crate) round_scale: f64,
    pub(crate) access_log: Option<PathBuf>,
    crash_at: Option<String>,
    hang_at: Option<String>,
    fail_put: Vec<Failure>,
    fail_get: Vec<Failure>,
    pub(crate) slow_store: Duration,
    pub(crate) restore_empties: Vec<String>,
    pub(crate) restore_drops: BTreeMap<String, usize>,
    pub(crate) count_offset: BTreeMap<String, i64>,
    pub(crate) flush_after: Duration,
    pub(crate) segment_bytes: u64,
    pub(crate) block_backups_for: Duration,
    pub(crate) not_ready: bool,
    pub(crate) no_leader: bool,
    pub(crate) status_500: AtomicU32,
    pub(crate) rbac_grants: BTreeMap<String, Vec<String>>,
}

/// Fails calls on keys that contain `part`: each one, or only the `only`-th.
#[derive(Debug)]
struct Failure {
    part: String,
    only: Option<u32>,
    seen: AtomicU32,
}

impl Failure {
    fn strikes(&self, key: &str) -> bool {
        if !key.contains(&self.part) {
            return false;
        }
        let nth = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        self.only.is_none_or(|only| only == nth)
    }
}

const STEPS: [&str; 10] = [
    "create-accepted",
    "create-chunk",
    "create-before-node-descriptor",
    "create-before-final",
    "restore-accepted",
    "restore-chunk",
    "restore-finalizing",
    "restore-class",
    "restore-before-final",
    "restore-cancelling",
];

impl Knobs {
    /// Reads the knobs; a knob that cannot be understood is an error, so that no test passes by a typing mistake.
    pub(crate) fn from_env(env: &BTreeMap<String, String>) -> Result<Self, String> {
        let known = [
            "VERSION",
            "ROUND_SCALE",
            "ACCESS_LOG",
            "CRASH_AT",
            "HANG_AT",
            "FAIL_PUT",
            "FAIL_GET",
            "SLOW_STORE_MS",
            "RESTORE_EMPTIES",
            "RESTORE_DROPS",
            "COUNT_OFFSET",
            "FLUSH_SECONDS",
            "SEGMENT_BYTES",
            "BLOCK_SECONDS",
            "NOT_READY",
            "NO_LEADER",
            "STATUS_500",
            "RBAC_GRANTS",
        ];
        for name in env.keys().filter_map(|name| name.strip_prefix("LIFEBOAT_NODE_")) {
            // `LIFEBOAT_NODE_NAME` is a setting of Lifeboat's own functions, not a knob.
            if !known.contains(&name) && name != "NAME" {
                return Err(format!("unknown knob LIFEBOAT_NODE_{name}"));
            }
        }
        let text = |name: &str| env.get(&format!("LIFEBOAT_NODE_{name}")).filter(|v| !v.is_empty()).cloned();
        let list = |name: &str| -> Vec<String> {
            text(name).map(|v| v.split(',').map(|s| s.trim().to_owned()).collect()).unwrap_or_default()
        };
        let step = |name: &str| match text(name) {
            Some(at) if !STEPS.contains(&at.as_str()) => Err(format!("LIFEBOAT_NODE_{name}: no such step {at:?}")),
            other => Ok(other),
        };
        let flag = |name: &str| text(name).is_some_and(|v| crate::config::truthy(&v));
        Ok(Self {
            version: text("VERSION").unwrap_or_else(|| "1.38.11".to_owned()).parse()?,
            round_scale: number(text("ROUND_SCALE"), 1.0, "ROUND_SCALE")?,
            access_log: text("ACCESS_LOG").map(PathBuf::from),
            crash_at: step("CRASH_AT")?,
            hang_at: step("HANG_AT")?,
            fail_put: failures(&list("FAIL_PUT"))?,
            fail_get: failures(&list("FAIL_GET"))?,
            slow_store: Duration::from_millis(number(text("SLOW_STORE_MS"), 0, "SLOW_STORE_MS")?),
            restore_empties: list("RESTORE_EMPTIES"),
            restore_drops: pairs(&list("RESTORE_DROPS"))?,
            count_offset: pairs(&list("COUNT_OFFSET"))?,
            flush_after: Duration::from_secs_f64(number(text("FLUSH_SECONDS"), 60.0, "FLUSH_SECONDS")?),
            segment_bytes: number(text("SEGMENT_BYTES"), 2 << 20, "SEGMENT_BYTES")?,
            block_backups_for: Duration::from_secs_f64(number(text("BLOCK_SECONDS"), 0.0, "BLOCK_SECONDS")?),
            not_ready: flag("NOT_READY"),
            no_leader: flag("NO_LEADER"),
            status_500: AtomicU32::new(number(text("STATUS_500"), 0, "STATUS_500")?),
            rbac_grants: pairs::<String>(&list("RBAC_GRANTS"))?
                .into_iter()
                .map(|(user, classes)| (user, classes.split('|').map(str::to_owned).collect()))
                .collect(),
        })
    }

    /// Ends the process, or stops for ever, if this step was chosen for it.
    pub(crate) async fn at(&self, step: &str) {
        debug_assert!(STEPS.contains(&step), "undocumented step {step}");
        if self.crash_at.as_deref() == Some(step) {
            eprintln!("lifeboat-node: crashes at {step}, as told");
            crash();
        }
        if self.hang_at.as_deref() == Some(step) {
            eprintln!("lifeboat-node: hangs at {step}, as told");
            std::future::pending::<()>().await;
        }
    }

    /// Whether this write is to fail.
    pub(crate) fn fails_put(&self, key: &str) -> bool {
        self.fail_put.iter().any(|failure| failure.strikes(key))
    }

    /// Whether this read is to fail.
    pub(crate) fn fails_get(&self, key: &str) -> bool {
        self.fail_get.iter().any(|failure| failure.strikes(key))
    }

    /// One of Weaviate's polling rounds, scaled.
    pub(crate) fn round(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.round_scale)
    }
}

#[expect(clippy::exit, reason = "a crash on purpose: nothing may be drained or unwound")]
fn crash() -> ! {
    std::process::exit(86)
}

fn number<T: std::str::FromStr>(text: Option<String>, default: T, name: &str) -> Result<T, String> {
    match text {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("LIFEBOAT_NODE_{name}: not a number: {text:?}")),
    }
}

fn failures(list: &[String]) -> Result<Vec<Failure>, String> {
    list.iter()
        .map(|item| {
            let (part, only) = match item.split_once('#') {
                None => (item.as_str(), None),
                Some((part, nth)) => (part, Some(nth.parse().map_err(|_| format!("not a count: {item:?}"))?)),
            };
            Ok(Failure { part: part.to_owned(), only, seen: AtomicU32::new(0) })
        })
        .collect()
}

fn pairs<T: std::str::FromStr>(list: &[String]) -> Result<BTreeMap<String, T>, String> {
    list.iter()
        .map(|item| {
            let (name, value) = item.split_once('=').ok_or_else(|| format!("not name=value: {item:?}"))?;
            Ok((name.to_owned(), value.parse().map_err(|_| format!("not understood: {item:?}"))?))
        })
        .collect()
}
