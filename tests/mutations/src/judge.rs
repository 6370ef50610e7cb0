//! Goes on with the real functions after a change, and says who noticed.

#![expect(clippy::wildcard_enum_match_arm, reason = "of what a function did, only what it refused has a name here")]

use std::error::Error;
use std::time::Duration;

use lifeboat_domain::document::DocumentError;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::manifest::CatalogueError;
use lifeboat_domain::ownership::Origin;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::run::ClosedRestore;
use lifeboat_domain::runs::VerifyRun;
use lifeboat_domain::verify::{Finding, ProofError, T0Finding};
use lifeboat_engine::{Engine, Policy};
use lifeboat_workflows::flip_manifest::{FlipAct, FlipError, FlipReport};
use lifeboat_workflows::inventory::{LoadError, Which, load_verified_manifest, t0};
use lifeboat_workflows::reread::reread;
use lifeboat_workflows::store;
use lifeboat_workflows::verify_checksums::{VerifyAct, VerifyError, VerifyReport};

use crate::cluster::Cluster;

/// How far a change came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It was noticed before the pointer named the backup.
    BeforeThePointer,
    /// It was noticed before anything was restored.
    BeforeTheRestore,
    /// It was noticed by reading everything again: the scheduled fixity check (T2), or `lifeboat verify`.
    ByReadingAgain,
    /// The restored node did not show what it should.
    AtTheGate,
    /// The gate opened on it.
    Through,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How far it came.
    pub stage: Stage,
    /// The check that fired first; empty when none did.
    pub check: String,
    /// What it said.
    pub says: String,
    /// Whether the restored node holds what the lost one held; none when nothing was restored.
    pub same_data: Option<bool>,
}

/// Where the functions go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Verification.
    Verification,
    /// The loss of the node, after publication.
    Restore,
}

/// The name of a finding, as it is written.
pub fn finding(finding: &Finding) -> String {
    let value = serde_json::to_value(finding).unwrap_or_default();
    value["kind"].as_str().unwrap_or("a finding without a kind").to_owned()
}

/// The name of what T0 found.
pub fn t0_finding(finding: &T0Finding) -> String {
    let text = format!("{finding:?}");
    let variant = text.split([' ', '{']).next().unwrap_or_default();
    match finding {
        T0Finding::Differs { what, .. } => format!("t0: {variant} {what}"),
        _ => format!("t0: {variant}"),
    }
}

/// The name of S3's own checksum of a document of ours.
pub const CHECKSUM: &str = "checksum stored with a document";

/// The name of what an error stands for: the deepest of its sources that is a check of ours.
pub fn error(error: &(dyn Error + 'static)) -> String {
    // A whole object is held to the checksum that was stored with it by whoever reads it: the SDK, and the twin.
    let rotten = chain(error).contains("the checksum that was stored with them");
    let mut name = if rotten { CHECKSUM.to_owned() } else { "no answer".to_owned() };
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<DocumentError>() {
            name = match error {
                DocumentError::Malformed { .. } => "document: malformed".to_owned(),
                DocumentError::UnknownSchema { .. } => "document: unknown schema".to_owned(),
            };
        } else if let Some(error) = error.downcast_ref::<CatalogueError>() {
            name = match error {
                CatalogueError::Row { .. } => "catalogue: a row".to_owned(),
                CatalogueError::Differs { what, .. } => format!("catalogue: {what}"),
            };
        } else if let Some(ProofError::Differs { what, .. }) = error.downcast_ref::<ProofError>() {
            name = format!("proof: {what}");
        } else if let Some(LoadError::Missing { .. }) = error.downcast_ref::<LoadError>() {
            name = "proof: is missing".to_owned();
        } else if let Some(FlipError::PointerDeleted) = error.downcast_ref::<FlipError>() {
            name = "pointer: was deleted".to_owned();
        }
        source = error.source();
    }
    name
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

type Said = (String, String);

fn of_verification(report: &Result<VerifyReport, VerifyError>) -> Option<Said> {
    match report {
        Err(source) => Some((error(source), chain(source))),
        Ok(report) => report.acts.iter().find_map(|act| match act {
            VerifyAct::Failed { findings, .. } | VerifyAct::Hashed { findings, .. } => {
                findings.first().map(|f| (finding(f), f.to_string()))
            }
            _ => None,
        }),
    }
}

fn of_flip(report: &Result<FlipReport, FlipError>) -> Option<Said> {
    match report {
        Err(source) => Some((error(source), chain(source))),
        Ok(report) => report.acts.iter().find_map(|act| match act {
            FlipAct::Failed { findings, .. } => findings.first().map(|f| (finding(f), f.to_string())),
            FlipAct::Held { reasons, .. } => Some(("guard: holds".to_owned(), reasons.join("; "))),
            FlipAct::Refused { reasons, .. } => Some(("guard: refuses".to_owned(), reasons.join("; "))),
            _ => None,
        }),
    }
}

fn waiting(report: &Result<FlipReport, FlipError>, verified: &Result<VerifyReport, VerifyError>) -> Option<Said> {
    let flip = report.iter().flat_map(|r| &r.acts).find_map(|act| match act {
        FlipAct::Waiting { why, .. } => Some(why.clone()),
        _ => None,
    });
    let verify = verified.iter().flat_map(|r| &r.acts).find_map(|act| match act {
        VerifyAct::Waiting { why, .. } => Some(why.clone()),
        _ => None,
    });
    verify.or(flip).map(|why| ("it is waited for".to_owned(), why))
}

/// Goes on from here, to the pointer and to the gate, and says who noticed.
pub async fn judge(cluster: &Cluster, from: From) -> Verdict {
    if from == From::Verification
        && let Some((check, says)) = verification(cluster).await
    {
        return Verdict { stage: Stage::BeforeThePointer, check, says, same_data: None };
    }
    let noticed = choice(cluster).await;
    let read_again = if noticed.is_none() { reading_again(cluster).await } else { None };
    let restored = restore(cluster).await;
    match (noticed, restored) {
        (None, restored) if read_again.is_some() => {
            let (check, says) = read_again.unwrap_or_default();
            let same_data = match restored {
                Restored::Yes { same_data, .. } => Some(same_data),
                Restored::No { .. } => None,
            };
            Verdict { stage: Stage::ByReadingAgain, check, says, same_data }
        }
        (Some((check, says)), Restored::No { .. }) => {
            Verdict { stage: Stage::BeforeTheRestore, check, says, same_data: None }
        }
        (None, Restored::No { refusal }) => {
            let check = evidence(cluster).unwrap_or_else(|| "gate: refuses".to_owned());
            Verdict { stage: Stage::AtTheGate, check, says: refusal, same_data: None }
        }
        // It was refused: what was restored is another backup, or copies of the versions that were verified.
        (Some((check, says)), Restored::Yes { ours, same_data }) if !ours || same_data => {
            Verdict { stage: Stage::BeforeTheRestore, check, says, same_data: Some(same_data) }
        }
        (noticed, Restored::Yes { same_data, .. }) => {
            let says = noticed.map(|(check, says)| format!("{check} noticed, and the gate opened: {says}"));
            let says = says.unwrap_or_default();
            Verdict { stage: Stage::Through, check: String::new(), says, same_data: Some(same_data) }
        }
    }
}

/// Verification and flip until there is a verdict; none when the pointer moved.
async fn verification(cluster: &Cluster) -> Option<Said> {
    let (mut first, mut waits) = (None, None);
    for _ in 0..6 {
        let verified = cluster.verified().await;
        let flipped = cluster.flipped().await;
        // A bucket without an answer is no verdict, and no check.
        let check = |said: &Said| said.0 != "no answer";
        let said = of_verification(&verified).filter(check).or_else(|| of_flip(&flipped).filter(check));
        first = first.or(said);
        if cluster.pointer().is_some_and(|p| p.backup_id == cluster.backup) {
            return None;
        }
        let run: Option<VerifyRun> = cluster.document(&Key::CurrentRun(Function::VerifyChecksums));
        if run.is_some_and(|r| r.closed.iter().any(|c| c.backup_id == cluster.backup)) {
            break;
        }
        waits = waiting(&flipped, &verified).or(waits);
        cluster.world.advance(Duration::from_mins(2));
    }
    let nothing = || ("nothing happens".to_owned(), "neither a flip nor a reason".to_owned());
    Some(first.or(waits).unwrap_or_else(nothing))
}

/// What the choice of a backup to restore comes to, typed.
async fn choice(cluster: &Cluster) -> Option<Said> {
    let bucket = cluster.world.bucket();
    let pointer = match store::read::<Pointer>(&bucket, &Key::Pointer).await {
        Ok(Some(pointer)) => pointer.value,
        Ok(None) => return Some(("pointer: is missing".to_owned(), "there is no pointer".to_owned())),
        Err(source) => return Some((error(&source), chain(&source))),
    };
    let proof = match load_verified_manifest(&bucket, Which::Pointer(&pointer)).await {
        Ok(proof) => proof,
        Err(source) => return Some((error(&source), chain(&source))),
    };
    match t0(&bucket, proof.manifest(), proof.rows()).await {
        Ok(outcome) => outcome.findings.first().map(|f| (t0_finding(f), f.to_string())),
        Err(source) => Some((error(&source), chain(&source))),
    }
}

/// What T1 against the manifest comes to.
async fn reading_again(cluster: &Cluster) -> Option<Said> {
    let bucket = cluster.world.bucket();
    let pointer = cluster.pointer()?;
    let proof = load_verified_manifest(&bucket, Which::Pointer(&pointer)).await.ok()?;
    let engine = Engine::new(Policy { hash_threads: 1, ..Policy::default() });
    match reread(&bucket, &engine, &proof, &|_| {}).await {
        Ok(reread) => reread.findings.first().map(|f| (finding(f), f.to_string())),
        Err(source) => Some((error(&source), chain(&source))),
    }
}

enum Restored {
    No { refusal: String },
    Yes { ours: bool, same_data: bool },
}

/// Loses the node and lets its replacement come, or not.
async fn restore(cluster: &Cluster) -> Restored {
    let before = cluster.data(&cluster.first);
    cluster.world.kill(&cluster.first);
    let mut refusal = String::new();
    for _ in 0..40 {
        match cluster.driven().await {
            Ok(lifeboat_workflows::drive_restore::Outcome::Abandoned { reason, .. }) => {
                return Restored::No { refusal: reason };
            }
            Ok(_) => {}
            Err(source) => refusal = chain(&source),
        }
        let _ = cluster.flipped().await;
        if let Some(ownership) = cluster.ownership().filter(|o| o.generation.0 > 1) {
            let ours = matches!(&ownership.origin, Origin::Restored { backup_id, .. } if *backup_id == cluster.backup);
            return Restored::Yes { ours, same_data: ours && cluster.data(&ownership.owner) == before };
        }
        if let Some(reason) = abandoned(cluster) {
            return Restored::No { refusal: reason };
        }
        cluster.world.advance(Duration::from_secs(20));
    }
    Restored::No { refusal: if refusal.is_empty() { "nothing is restored".to_owned() } else { refusal } }
}

fn abandoned(cluster: &Cluster) -> Option<String> {
    let keys = cluster.world.bucket().keys("runs/drive-restore/done/");
    let closed = |key: &String| cluster.document::<ClosedRestore>(&Key::parse(key)?);
    keys.iter().filter_map(closed).find_map(|closed| closed.run.refusal)
}

/// The first finding of the evidence that was written about the restored node.
fn evidence(cluster: &Cluster) -> Option<String> {
    let prefix = format!("manifests/{}/evidence/restore-", cluster.backup);
    let key = cluster.world.bucket().keys(&prefix).into_iter().next()?;
    let first = cluster.world.bucket().json(&key)?["findings"].as_array()?.first()?.clone();
    Some(format!("evidence: {}", first["finding"].as_str().unwrap_or("a finding")))
}
