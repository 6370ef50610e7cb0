//! The whole suite, and what it amounts to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use lifeboat_domain::keys::Key;

use crate::changes::{self, Amounts, Change, Manner, When};
use crate::cluster::Cluster;
use crate::judge::{From, Stage, Verdict, judge};
use crate::{checks, provoked};

/// One change with what came of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The change, in words.
    pub change: String,
    /// By whom; none for one that was made to provoke a check.
    pub manner: Option<Manner>,
    /// The check that it was made to provoke.
    pub provokes: Option<&'static str>,
    /// What it amounts to.
    pub amounts: Amounts,
    /// What came of it.
    pub verdict: Verdict,
}

/// A cluster in which a change of this moment can be made.
async fn cluster_at(when: When, versioned: bool) -> Cluster {
    if when == When::AfterPublication {
        return Cluster::with_a_published_backup(versioned).await;
    }
    let cluster = Cluster::with_a_finished_backup(versioned).await;
    let (awaited, step) = match when {
        When::AfterPlanning => (Key::Shard(cluster.backup.clone(), 0), Duration::from_secs(1)),
        When::AfterReading => (Key::Part(cluster.backup.clone(), 0), Duration::from_mins(2)),
        When::BeforeVerification | When::AfterPublication => return cluster,
    };
    for _ in 0..10 {
        if cluster.bytes(&awaited).is_some() {
            return cluster;
        }
        let _ = cluster.verified().await;
        cluster.world.advance(step);
    }
    panic!("{awaited} never comes")
}

fn from(when: When) -> From {
    if when == When::AfterPublication { From::Restore } else { From::Verification }
}

async fn changed(change: Change) -> Row {
    let cluster = cluster_at(change.when, true).await;
    let amounts = change.make(&cluster);
    let verdict = judge(&cluster, from(change.when)).await;
    Row { change: change.to_string(), manner: Some(change.manner), provokes: None, amounts, verdict }
}

async fn provoked(provoked: provoked::Provoked) -> Row {
    let mut cluster = cluster_at(provoked.when, provoked.versioned).await;
    (provoked.make)(&mut cluster);
    let verdict = judge(&cluster, from(provoked.when)).await;
    let change = format!("made to provoke {:?}", provoked.check);
    Row { change, manner: None, provokes: Some(provoked.check), amounts: Amounts::ToAnother, verdict }
}

/// Runs every change, on as many threads as there are cores.
///
/// # Panics
/// If a change cannot be made.
pub fn run() -> Vec<Row> {
    enum Task {
        Changed(Change),
        Provoked(provoked::Provoked),
    }
    let tasks = changes::all().into_iter().map(Task::Changed).chain(provoked::all().into_iter().map(Task::Provoked));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut shares: Vec<Vec<Task>> = (0..threads).map(|_| Vec::new()).collect();
    for (n, task) in tasks.enumerate() {
        shares[n % threads].push(task);
    }
    std::thread::scope(|scope| {
        let work = |share: Vec<Task>| {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                let row = |task| match task {
                    Task::Changed(change) => runtime.block_on(changed(change)),
                    Task::Provoked(provoked) => runtime.block_on(self::provoked(provoked)),
                };
                share.into_iter().map(row).collect::<Vec<Row>>()
            })
        };
        let handles: Vec<_> = shares.into_iter().map(work).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("a share of the suite")).collect()
    })
}

/// Why a change that nobody noticed is none that anybody could, or need.
pub fn excused(row: &Row) -> Option<&'static str> {
    match (row.amounts, row.manner) {
        (Amounts::ToNothing, _) => Some("the bytes are the same"),
        (Amounts::ToTheSameValues, _) => Some("the document says the same in other white space"),
        (Amounts::ToACopyBeside, _) => Some("a copy beside it, under a name that nothing reads"),
        (Amounts::ToWorkDoneAnew, _) if row.verdict.same_data == Some(true) => {
            Some("the work is done anew from the bytes")
        }
        (_, Some(Manner::ResealedErased)) if row.verdict.same_data == Some(true) => Some(
            "every digest recomputed and every older version erased, which no role may; the data restored is the same",
        ),
        // The bound of all verification: whoever may rewrite everything and erase every trace tells a consistent lie. Only
        // a copy elsewhere, or somebody who remembers, knows better. No role of the template may erase a version, the
        // bucket policy refuses it to administrators too, and counts and canaries still catch what they touch.
        (_, Some(Manner::ResealedErased)) => Some(
            "every digest recomputed and every older version erased, which no role may: only an outside copy knows",
        ),
        _ => None,
    }
}

/// What is wrong with the suite's outcome; nothing when every change was noticed and every check fired first somewhere.
/// `blind` is a check that does not count.
pub fn failures(rows: &[Row], blind: Option<&str>) -> Vec<String> {
    let mut failures = Vec::new();
    let heard = |row: &&Row| row.verdict.stage != Stage::Through && Some(row.verdict.check.as_str()) != blind;
    for row in rows.iter().filter(|row| !heard(row)) {
        // What somebody noticed and was not heard about has no excuse.
        let excuse = if row.verdict.stage == Stage::Through { excused(row) } else { None };
        if excuse.is_none() {
            failures.push(format!("nobody noticed: {} {}", row.change, row.verdict.says));
        }
    }
    let fired: BTreeSet<&str> = rows.iter().filter(heard).map(|row| row.verdict.check.as_str()).collect();
    let beyond: BTreeSet<&str> = checks::BEYOND.iter().map(|(check, _)| *check).collect();
    for check in checks::all().iter().filter(|c| !beyond.contains(c.as_str()) && !fired.contains(c.as_str())) {
        failures.push(format!("never first: {check}"));
    }
    for row in rows {
        if let Some(check) = row.provokes.filter(|check| *check != row.verdict.check) {
            failures.push(format!("made to provoke {check}, met {:?}: {}", row.verdict, row.change));
        }
    }
    failures
}

/// The table: how many changes each check noticed first, where, and what nobody noticed.
pub fn table(rows: &[Row]) -> String {
    let mut counts: BTreeMap<(Stage, &str), usize> = BTreeMap::new();
    let mut excuses: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        if row.verdict.stage == Stage::Through {
            *excuses.entry(excused(row).unwrap_or("NOBODY NOTICED")).or_default() += 1;
        } else {
            *counts.entry((row.verdict.stage, row.verdict.check.as_str())).or_default() += 1;
        }
    }
    let mut text = format!("{} changes\n", rows.len());
    for ((stage, check), count) in &counts {
        let _ = writeln!(text, "{count:>6}  {stage:?}  {check}");
    }
    for (excuse, count) in &excuses {
        let _ = writeln!(text, "{count:>6}  not noticed: {excuse}");
    }
    for (check, why) in checks::BEYOND {
        let _ = writeln!(text, "        never first: {check}: {why}");
    }
    text
}
