//! The restore itself: the target checked, Weaviate asked and watched, the evidence read.

use lifeboat_domain::expectations::compare::Finding;
use lifeboat_domain::keys::Key;
use lifeboat_domain::restore::progress::{Asked, RestoreStep, step};
use lifeboat_domain::restore::run::{Choice, OpenRestore, Phase, StepName};
use lifeboat_domain::restore::target::{self, Target};
use lifeboat_domain::restore::{Refusal, Waiting};
use lifeboat_domain::verify::VerifiedManifest;
use serde::{Deserialize, Serialize};

use super::abandon::abandon;
use super::host::{address, chosen};
use super::{Error, Outcome, Policy, Ports, Seen, elapsed, overdue, record, waiting};
use crate::evidence::check_restored;
use crate::inventory::{LoadError, Which, load_verified_manifest};
use crate::invocation::Turn;
use crate::ports::node::{Node, NodeError};
use crate::ports::{Clock, Nodes};
use crate::store;

/// Waits for Weaviate on the instance's own address and holds the node to what the backup needs.
pub(super) async fn check_target<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    let node = ports.nodes().at(address(&open));
    let target = match target(&node, open.host.as_ref().map_or(0, |h| h.free_bytes)).await {
        Ok(Some(target)) => target,
        Ok(None) | Err(NodeError::Unknown { .. }) => return node_not_ready(ports, policy, seen, open).await,
        Err(error) => {
            return abandon(ports, seen, open, &Refusal::TargetUnfit { why: error.to_string() }).await;
        }
    };
    let fit = match load(ports, &open).await? {
        Some(verified) => target::check(&target, &verified.manifest().requirements, policy.restore.disk_margin_percent),
        None if target.collections.is_empty() => Ok(()),
        None => Err(Refusal::TargetUnfit { why: format!("an empty start found collections {:?}", target.collections) }),
    };
    match fit {
        Ok(()) => {
            let next = if chosen(&open).is_some() { Phase::Restoring } else { Phase::Gating };
            open.advance(next, StepName::NodeReady, ports.clock().now());
            record(ports, seen, open).await
        }
        Err(refusal) => abandon(ports, seen, open, &refusal).await,
    }
}

async fn node_not_ready<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    if overdue(&open, StepName::HostPrepared, seen.now, policy.restore.node_deadline) {
        let address = address(&open).to_owned();
        return abandon(ports, seen, open, &Refusal::NodeSilent { address }).await;
    }
    Ok(waiting(&open.instance, Waiting::NodeReady))
}

/// What the node shows; `None` while it is not ready.
async fn target(node: &impl Node, free_bytes: u64) -> Result<Option<Target>, NodeError> {
    if !node.ready().await? {
        return Ok(None);
    }
    let meta = node.meta().await?;
    Ok(Some(Target {
        collections: node.schema().await?.into_iter().map(|c| c.name).collect(),
        aliases: node.aliases().await?,
        node_names: node.nodes().await?.into_iter().map(|n| n.name).collect(),
        backup_module: meta.modules.contains_key("backup-s3"),
        version: meta.version,
        free_bytes,
    }))
}

/// The chosen backup's documents, held to their digests again; `None` for an empty start.
async fn load<P: Ports>(ports: &P, open: &OpenRestore) -> Result<Option<VerifiedManifest>, Error> {
    let Some(Choice::Backup { backup_id, .. }) = &open.choice else { return Ok(None) };
    match load_verified_manifest(ports.bucket(), Which::Backup(backup_id)).await {
        Ok(verified) => Ok(Some(verified)),
        Err(LoadError::Store(error)) => Err(error.into()),
        Err(error) => Err(Error::Load(error)),
    }
}

/// Asks Weaviate, at most [`lifeboat_domain::restore::progress::RESTORE_ASKED_MAX`] times, and watches it.
pub(super) async fn restore<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    let Some(verified) = load(ports, &open).await? else { return Ok(Turn::Again) };
    let id = verified.manifest().backup_id.clone();
    let node = ports.nodes().at(address(&open));
    let silent = |ports, seen, open| node_not_ready(ports, policy, seen, open);
    let progress = match node.restore_status(&id).await {
        Ok(progress) => Some(progress),
        Err(NodeError::NotFound { .. }) => None,
        Err(NodeError::Unknown { .. }) => return restore_silent(ports, policy, seen, open, &id.to_string()).await,
        Err(error) => return abandon(ports, seen, open, &Refusal::TargetUnfit { why: error.to_string() }).await,
    };
    let Ok(classes) = node.schema().await else { return silent(ports, seen, open).await };
    let collections: Vec<String> = classes.into_iter().map(|c| c.name).collect();
    let status = progress.as_ref().map(|p| &p.status);
    let error = progress.as_ref().map_or("", |p| p.error.as_str());
    let unanswered = open.restore_asked_at.filter(|_| open.restore_answered < open.restore_asked);
    let asked = Asked { times: open.restore_asked, unanswered_for: unanswered.map(|at| elapsed(at, seen.now)) };
    match step(&id, status, error, &collections, asked) {
        RestoreStep::Ask => {
            open.restore_asked += 1;
            open.restore_asked_at = Some(seen.now);
            seen.run.open = Some(open.clone());
            if !super::save(ports, seen).await? {
                return Ok(Turn::Again);
            }
            ask(ports, seen, open, &verified).await
        }
        RestoreStep::Wait(reason) => {
            if overdue(&open, StepName::NodeReady, seen.now, policy.restore.restore_deadline) {
                let status = status.map_or_else(|| "none".to_owned(), |s| format!("{s:?}"));
                let refusal = Refusal::RestoreStuck { backup_id: id.to_string(), status };
                return abandon(ports, seen, open, &refusal).await;
            }
            Ok(waiting(&open.instance, reason))
        }
        RestoreStep::Prove => {
            open.advance(Phase::Proving, StepName::RestoreDone, ports.clock().now());
            record(ports, seen, open).await
        }
        RestoreStep::Refuse(refusal) => abandon(ports, seen, open, &refusal).await,
    }
}

async fn restore_silent<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    open: OpenRestore,
    id: &str,
) -> Result<Turn<Outcome>, Error> {
    // A 5xx on a poll is "unknown": the restore may be fine. Only the deadline ends it.
    if overdue(&open, StepName::NodeReady, seen.now, policy.restore.restore_deadline) {
        let refusal = Refusal::RestoreStuck { backup_id: id.to_owned(), status: "no answer".into() };
        return abandon(ports, seen, open, &refusal).await;
    }
    Ok(waiting(&open.instance, Waiting::Restore { status: "no answer".into() }))
}

async fn ask<P: Ports>(
    ports: &P,
    seen: &mut Seen,
    mut open: OpenRestore,
    verified: &VerifiedManifest,
) -> Result<Turn<Outcome>, Error> {
    let id = verified.manifest().backup_id.clone();
    let mut wanted: Vec<String> = verified.expectations().collections.keys().cloned().collect();
    wanted.sort();
    let node = ports.nodes().at(address(&open));
    match node.start_restore(&id, &wanted).await {
        Ok(accepted) => {
            let mut taken = accepted.classes;
            taken.sort();
            if taken != wanted {
                let why =
                    format!("Weaviate takes collections {taken:?} of {wanted:?}; the key's rights are too narrow");
                return abandon(ports, seen, open, &Refusal::TargetUnfit { why }).await;
            }
        }
        // Under way already, asked by an invocation that died or runs beside this one: the status tells.
        Err(NodeError::Refused { message, .. }) if message.contains("already in progress") => {}
        // No answer: it may still be on its way, and is given its time.
        Err(NodeError::Unknown { .. }) => return Ok(Turn::Again),
        Err(error) => {
            let refusal = Refusal::RestoreFailed {
                backup_id: id.to_string(),
                status: "refused".into(),
                error: error.to_string(),
            };
            return abandon(ports, seen, open, &refusal).await;
        }
    }
    open.restore_answered = open.restore_asked;
    open.note(StepName::RestoreAsked, ports.clock().now());
    record(ports, seen, open).await
}

/// The evidence of a restore, `manifests/<id>/evidence/restore-<time>.json`; it may hold customers' data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RestoreEvidence {
    instance: String,
    passed: bool,
    findings: Vec<String>,
}

impl lifeboat_domain::document::Document for RestoreEvidence {
    const KIND: &'static str = "restore-evidence";
}

/// A finding as logs and pages may say it. Ids of canaries are customers' data and stay in the evidence file.
fn public_text(finding: &Finding) -> String {
    match finding {
        Finding::CanaryMissing { .. } => "a canary is missing (the evidence file says which)".to_owned(),
        Finding::CanaryChanged { .. } => "a canary has changed (the evidence file says which)".to_owned(),
        Finding::QueryDiffers { query, .. } => {
            format!("a canary's {query} query gives another answer (the evidence file says which)")
        }
        Finding::NothingExpected
        | Finding::OtherBackup { .. }
        | Finding::NoCanaryUsable
        | Finding::CollectionMissing { .. }
        | Finding::CollectionExtra { .. }
        | Finding::DefinitionDiffers { .. }
        | Finding::CountDiffers { .. }
        | Finding::TenantMissing { .. }
        | Finding::TenantStatusDiffers { .. } => finding.to_string(),
    }
}

/// Waits for the queues and compares the node with what was recorded.
pub(super) async fn prove<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    let Some(verified) = load(ports, &open).await? else { return Ok(Turn::Again) };
    let node = ports.nodes().at(address(&open));
    let Ok(nodes) = node.nodes().await else {
        return restore_silent(ports, policy, seen, open, verified.manifest().backup_id.as_str()).await;
    };
    let vectors = nodes.iter().map(|n| n.vector_queue_length).sum();
    let shards = nodes.iter().map(|n| n.shards_not_ready).sum();
    if vectors > 0 || shards > 0 {
        return Ok(waiting(&open.instance, Waiting::Queues { vectors, shards }));
    }
    let findings = check_restored(&node, verified.expectations(), verified.observed_after()).await?;
    let evidence = RestoreEvidence {
        instance: open.instance.to_string(),
        passed: findings.is_empty(),
        findings: findings.iter().map(ToString::to_string).collect(),
    };
    let at = open.at(StepName::RestoreDone).unwrap_or(seen.now);
    let key = Key::Evidence(verified.manifest().backup_id.clone(), "restore".into(), at);
    store::create(ports.bucket(), &key, &evidence).await?;
    match findings.first() {
        None => {
            open.advance(Phase::Gating, StepName::EvidencePassed, ports.clock().now());
            record(ports, seen, open).await
        }
        Some(first) => {
            let refusal = Refusal::EvidenceFailed { findings: findings.len(), first: public_text(first) };
            abandon(ports, seen, open, &refusal).await
        }
    }
}
