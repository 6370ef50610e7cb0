//! What people ask: approve, reject, rollback, resume flips. Each is done once, and what came of it is recorded.

use lifeboat_domain::Timestamp;
use lifeboat_domain::flip::{Asked, Candidate, Decision, OverrideEvidence, RequestOutcome, approve, resume, rollback};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::runs::{Action, CloseOutcome, ClosedVerification, FlipRun, Request, remember};
use lifeboat_domain::verify::VerifiedManifest;

use super::observe::{observe, written_since};
use super::publish::{Written, publish};
use super::{FlipAct, FlipError, FlipPolicy, Ports, RACES_MAX};
use crate::inventory::{LoadError, Which, load_verified_manifest, t0};
use crate::ports::bucket::PutOutcome;
use crate::ports::{Bucket, Clock};
use crate::store::{self, StoreError};
use crate::verify_checksums::{chain, record};

const FUNCTION: Function = Function::FlipManifest;

/// A request as found.
struct Found {
    id: String,
    at: Timestamp,
    request: Request,
}

/// Acts upon every request that was not yet, oldest first.
pub(super) async fn requests(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &FlipPolicy,
) -> Result<Vec<FlipAct>, FlipError> {
    let mut acts = Vec::new();
    for (at, id) in open(ports.bucket).await? {
        let outcome = match read(ports.bucket, &id).await? {
            Ok(request) => act(ports, policy, &Found { id: id.clone(), at, request }).await?,
            Err(why) => Err(why),
        };
        let (done, outcome) = match outcome {
            Ok(what) => (true, what),
            Err(why) => (false, why),
        };
        let record = RequestOutcome { request: id.clone(), done, outcome };
        let key = Key::DoneRun(FUNCTION, at, id.clone());
        store::create(ports.bucket, &key, &record).await.map_err(FlipError::Store)?;
        handled(ports.bucket, &id).await?;
        acts.push(FlipAct::Request { id, done: record.done, outcome: record.outcome });
    }
    Ok(acts)
}

/// Requests without a recorded outcome, by S3's date. The run record remembers the newest; older ones are known by
/// their outcome's key, so that an old request is never acted upon again.
async fn open(bucket: &impl Bucket) -> Result<Vec<(Timestamp, String)>, FlipError> {
    let prefix = Key::requests_prefix(FUNCTION);
    let fault = |source| FlipError::Store(StoreError::Bucket { key: prefix.clone(), source });
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = bucket.list(&prefix, after.as_deref()).await.map_err(fault)?;
        after = page.entries.last().map(|e| e.key.clone());
        for listed in &page.entries {
            if let Some(Key::Request(_, id)) = Key::parse(&listed.key) {
                found.push((listed.last_modified, id));
            }
        }
        if !page.more || after.is_none() {
            break;
        }
    }
    if found.is_empty() {
        return Ok(found);
    }
    let run = store::read::<FlipRun>(bucket, &Key::CurrentRun(FUNCTION)).await.map_err(FlipError::Store)?;
    let remembered = run.map(|r| r.value.handled_requests).unwrap_or_default();
    found.retain(|(_, id)| !remembered.contains(id));
    found.sort();
    let mut open = Vec::new();
    for (at, id) in found {
        let done = Key::DoneRun(FUNCTION, at, id.clone()).to_string();
        if bucket.head(&done).await.map_err(fault)?.is_none() {
            open.push((at, id));
        }
    }
    Ok(open)
}

async fn handled(bucket: &impl Bucket, id: &str) -> Result<(), FlipError> {
    let key = Key::CurrentRun(FUNCTION);
    for _ in 0..RACES_MAX {
        let found = store::read::<FlipRun>(bucket, &key).await.map_err(FlipError::Store)?;
        let mut run = found.as_ref().map(|r| r.value.clone()).unwrap_or_default();
        remember(&mut run.handled_requests, id);
        let etag = found.as_ref().map(|r| r.etag.as_str());
        if store::swap(bucket, &key, etag, &run).await.map_err(FlipError::Store)? != PutOutcome::Lost {
            return Ok(());
        }
    }
    Err(FlipError::LostRaces)
}

/// The request, or why it cannot be acted upon.
async fn read(bucket: &impl Bucket, id: &str) -> Result<Result<Request, String>, FlipError> {
    let key = Key::Request(FUNCTION, id.to_owned());
    let request = match store::read::<Request>(bucket, &key).await {
        Ok(Some(found)) => found.value,
        Ok(None) => return Ok(Err("it is gone".to_owned())),
        Err(error @ StoreError::Document { .. }) => return Ok(Err(chain(&error))),
        Err(error @ StoreError::Bucket { .. }) => return Err(FlipError::Store(error)),
    };
    if request.by.trim().is_empty() || request.reason.trim().is_empty() {
        return Ok(Err("it does not say who asks, or why".to_owned()));
    }
    if request.action.function() != FUNCTION {
        return Ok(Err(format!("its action belongs to {}", request.action.function().name())));
    }
    Ok(Ok(request))
}

/// What came of a request: what was done, or why nothing was.
type Outcome = Result<String, String>;

async fn act(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &FlipPolicy,
    found: &Found,
) -> Result<Outcome, FlipError> {
    match &found.request.action {
        Action::Reject { backup_id } => reject(ports.bucket, found, backup_id).await,
        Action::Approve { backup_id } => pointer(ports, policy, found, Some(backup_id)).await,
        Action::Rollback { to } => pointer(ports, policy, found, Some(to)).await,
        Action::ResumeFlips => pointer(ports, policy, found, None).await,
        Action::Backup
        | Action::Verify { .. }
        | Action::Restore { .. }
        | Action::AllowEmptyStart
        | Action::ResumeLaunches
        | Action::Prune => Ok(Err("it is not flip-manifest's".to_owned())),
    }
}

/// Closes a hold without publishing.
async fn reject(bucket: &impl Bucket, found: &Found, backup_id: &BackupId) -> Result<Outcome, FlipError> {
    let run = record::read(bucket).await.map_err(FlipError::Record)?;
    let reason = format!("rejected by {}: {}", found.request.by, found.request.reason);
    match record::verdict(&run, backup_id) {
        Some(verdict) if verdict.outcome == CloseOutcome::Held => {}
        Some(verdict) if verdict.reasons.contains(&reason) => {}
        Some(_) | None => return Ok(Err(format!("{backup_id} is not held"))),
    }
    record_override(bucket, found, backup_id, None).await?;
    let verdict =
        ClosedVerification { backup_id: backup_id.clone(), outcome: CloseOutcome::Refused, reasons: vec![reason] };
    record::close(bucket, &verdict, true).await.map_err(FlipError::Record)?;
    Ok(Ok(format!("{backup_id} is rejected")))
}

/// Moves the pointer as asked, unless an earlier try did so already.
async fn pointer(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &FlipPolicy,
    found: &Found,
    named: Option<&BackupId>,
) -> Result<Outcome, FlipError> {
    let bucket = ports.bucket;
    let request = &found.request;
    let asked = Asked { request: &found.id, by: &request.by, reason: &request.reason };
    let by = asked.published_by();
    for _ in 0..RACES_MAX {
        let seen = observe(bucket).await?;
        // Looked for after the pointer was read: a write that comes later still makes the swap below fail.
        if let Some(pointer) = written_since(bucket, found.at, |p| p.published_by == by).await? {
            return finish(bucket, found, &pointer).await;
        }
        let which = match (named, seen.pointer()) {
            (Some(backup_id), _) => Which::Backup(backup_id),
            (None, Some(pointer)) => Which::Pointer(pointer),
            (None, None) => return Ok(Err("nothing was ever published".to_owned())),
        };
        let proof = match proof(bucket, which, named.is_some()).await? {
            Ok(proof) => proof,
            Err(why) => return Ok(Err(why)),
        };
        let candidate = Candidate::of(proof.expectations(), proof.observed_after());
        let world = seen.world(&policy.cluster, None);
        let decision = match &request.action {
            Action::Approve { .. } => approve(&candidate, &world, asked),
            Action::Rollback { .. } => rollback(&candidate, &world, asked),
            Action::ResumeFlips
            | Action::Reject { .. }
            | Action::Backup
            | Action::Verify { .. }
            | Action::Restore { .. }
            | Action::AllowEmptyStart
            | Action::ResumeLaunches
            | Action::Prune => resume(&world, asked),
        };
        let why = match decision {
            Decision::Flip(flip) => match publish(ports, policy, &seen, &flip, &proof).await? {
                Written::Lost => continue,
                Written::Yes(pointer) => return finish(bucket, found, &pointer).await,
            },
            Decision::AlreadyPublished => "it is published already".to_owned(),
            Decision::Hold { reasons } => join(&reasons),
            Decision::Refuse { reasons } => join(&reasons),
            Decision::Wait(reason) => reason.to_string(),
        };
        return Ok(Err(why));
    }
    Err(FlipError::LostRaces)
}

/// The proof of the backup asked for, still whole in the bucket; or why it cannot be named.
async fn proof(
    bucket: &impl Bucket,
    which: Which<'_>,
    look: bool,
) -> Result<Result<VerifiedManifest, String>, FlipError> {
    let proof = match load_verified_manifest(bucket, which).await {
        Ok(proof) => proof,
        Err(error @ (LoadError::Missing { .. } | LoadError::Proof(_))) => return Ok(Err(chain(&error))),
        Err(error @ LoadError::Store(_)) => return Err(FlipError::Load(error)),
    };
    if look {
        let outcome = t0(bucket, proof.manifest(), proof.rows()).await.map_err(FlipError::Store)?;
        if let Some(finding) = outcome.findings.first() {
            return Ok(Err(format!("{finding} ({} findings)", outcome.findings.len())));
        }
    }
    Ok(Ok(proof))
}

/// Records what a person's pointer write was.
async fn finish(bucket: &impl Bucket, found: &Found, pointer: &Pointer) -> Result<Outcome, FlipError> {
    let chosen = &pointer.backup_id;
    record_override(bucket, found, chosen, Some(pointer)).await?;
    if matches!(found.request.action, Action::Approve { .. }) {
        let verdict =
            ClosedVerification { backup_id: chosen.clone(), outcome: CloseOutcome::Published, reasons: Vec::new() };
        record::close(bucket, &verdict, true).await.map_err(FlipError::Record)?;
    }
    Ok(Ok(format!("the pointer names {chosen}, sequence {}", pointer.sequence)))
}

async fn record_override(
    bucket: &impl Bucket,
    found: &Found,
    chosen: &BackupId,
    pointer: Option<&Pointer>,
) -> Result<(), FlipError> {
    let evidence = OverrideEvidence {
        request: found.id.clone(),
        asked: found.request.clone(),
        sequence: pointer.map(|p| p.sequence),
        replaces: pointer.and_then(|p| p.previous.as_ref()).map(|p| p.backup_id.clone()),
        chosen: chosen.clone(),
    };
    let key = Key::Evidence(chosen.clone(), "override".to_owned(), found.at);
    store::create(bucket, &key, &evidence).await.map_err(FlipError::Store)?;
    Ok(())
}

fn join(reasons: &[impl ToString]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
