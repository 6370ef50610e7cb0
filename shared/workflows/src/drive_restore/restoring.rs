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
use super::{Error, Outcome, Policy, Ports, Seen, elapsed, leftover, overdue, record, waiting};
use crate::evidence::check_restored;
use crate::heal::{self, HealPolicy};
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
    if !target.collections.is_empty() && target.collections.iter().all(|c| open.ours.contains(c)) {
        // Left by an earlier choice of this same run, which nobody but us has ever reached.
        return clear(ports, policy, seen, open, &node, &target.collections).await;
    }
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

/// Removes what this run's own restores put there, and nothing else.
async fn clear<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    open: OpenRestore,
    node: &impl Node,
    collections: &[String],
) -> Result<Turn<Outcome>, Error> {
    tracing::warn!(instance = %open.instance, ?collections, "what our own restore left is removed");
    let Ok(aliases) = node.aliases().await else { return restore_silent(ports, policy, seen, open).await };
    for (alias, _) in aliases.iter().filter(|(_, class)| open.ours.contains(*class)) {
        if node.delete_alias(alias).await.is_err() {
            return restore_silent(ports, policy, seen, open).await;
        }
    }
    for class in collections.iter().filter(|c| open.ours.contains(*c)) {
        if node.delete_class(class).await.is_err() {
            return restore_silent(ports, policy, seen, open).await;
        }
    }
    Ok(Turn::Again)
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
    let path = path(&open);
    if open.restore_asked == 0
        && let Some(turn) = leftover::set_aside(ports, seen, open.clone(), &id, path.as_deref()).await?
    {
        return Ok(turn);
    }
    let node = ports.nodes().at(address(&open));
    let progress = match node.restore_status_at(&id, path.as_deref()).await {
        Ok(progress) => Some(progress),
        Err(NodeError::NotFound { .. }) => None,
        Err(NodeError::Unknown { .. }) => return restore_silent(ports, policy, seen, open).await,
        Err(error) => return abandon(ports, seen, open, &Refusal::TargetUnfit { why: error.to_string() }).await,
    };
    let Ok(classes) = node.schema().await else { return restore_silent(ports, policy, seen, open).await };
    let collections: Vec<String> = classes.into_iter().map(|c| c.name).collect();
    let status = progress.as_ref().map(|p| &p.status);
    let error = progress.as_ref().map(|p| p.error.clone()).filter(|e| !e.is_empty());
    let error = error.unwrap_or_else(|| open.restore_said.clone());
    let unanswered = open.restore_asked_at.filter(|_| open.restore_answered < open.restore_asked);
    let asked = Asked {
        times: open.restore_asked,
        unanswered_for: unanswered.map(|at| elapsed(at, seen.now)),
        ago: open.restore_asked_at.map_or(Default::default(), |at| elapsed(at, seen.now)),
        interrupted: open.silent_since.is_some(),
        only_ours: collections.iter().all(|c| open.ours.contains(c)),
    };
    match step(&id, status, &error, &collections, asked) {
        RestoreStep::Clear => clear(ports, policy, seen, open, &node, &collections).await,
        RestoreStep::Ask => {
            if let Some(refusal) = no_longer_healed(ports, policy, seen, &open, &verified).await? {
                return abandon(ports, seen, open, &refusal).await;
            }
            open.restore_asked += 1;
            open.restore_asked_at = Some(seen.now);
            open.silent_since = None;
            open.ours.extend(verified.expectations().collections.keys().cloned());
            seen.run.open = Some(open.clone());
            if !super::save(ports, seen).await? {
                return Ok(Turn::Again);
            }
            ask(ports, seen, open, &verified).await
        }
        RestoreStep::Wait(_) if open.silent_since.is_some() => {
            open.silent_since = None;
            record(ports, seen, open).await
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
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    // A 5xx on a poll is "unknown": the restore may be fine. Only the deadline ends it.
    if overdue(&open, StepName::NodeReady, seen.now, policy.restore.restore_deadline) {
        let backup_id = chosen(&open).map_or_else(String::new, ToString::to_string);
        let refusal = Refusal::RestoreStuck { backup_id, status: "no answer".into() };
        return abandon(ports, seen, open, &refusal).await;
    }
    match open.silent_since {
        Some(since) if elapsed(since, seen.now) > policy.restore.node_deadline => {
            let address = address(&open).to_owned();
            // A store that does not answer makes every poll fail while the restore goes on.
            if !matches!(ports.nodes().at(&address).ready().await, Ok(true)) {
                return abandon(ports, seen, open, &Refusal::NodeSilent { address }).await;
            }
        }
        Some(_) => {}
        None => {
            open.silent_since = Some(seen.now);
            seen.run.open = Some(open.clone());
            super::save(ports, seen).await?;
        }
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
    match node.start_restore_at(&id, &wanted, path(&open).as_deref()).await {
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
        // It counts as no asking: nothing came of it.
        Err(NodeError::Refused { message, .. }) if message.contains("already in progress") => {
            open.restore_asked = open.restore_asked.saturating_sub(1).max(1);
        }
        // No answer: it may still be on its way, and is given its time.
        Err(NodeError::Unknown { detail, .. }) => {
            open.restore_said = detail;
            return record(ports, seen, open).await;
        }
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

/// Whether the copies that a healed backup is restored from are still what they were; looked at right before the asking.
async fn no_longer_healed<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &Seen,
    open: &OpenRestore,
    verified: &VerifiedManifest,
) -> Result<Option<Refusal>, Error> {
    if path(open).is_none() {
        return Ok(None);
    }
    let limits = HealPolicy::new(&policy.bucket);
    let healed = heal::heal(ports.bucket(), ports.clock(), &limits, verified, seen.now).await?;
    Ok(match &healed {
        heal::Outcome::Healed(_) => None,
        heal::Outcome::UnderWay { backup_id, .. } | heal::Outcome::Refused { backup_id, .. } => {
            let (backup_id, first) = (backup_id.to_string(), healed.to_string());
            Some(Refusal::CannotBeHealed { backup_id, findings: 1, first })
        }
    })
}

/// No answer is no verdict: it is asked again, until the deadline.
async fn no_evidence<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    open: OpenRestore,
    last: String,
) -> Result<Turn<Outcome>, Error> {
    if overdue(&open, StepName::RestoreDone, seen.now, policy.restore.evidence_deadline) {
        return abandon(ports, seen, open, &Refusal::EvidenceSilent { last }).await;
    }
    tracing::warn!(instance = %open.instance, reason = last, "the restored node gives no evidence; it is asked again");
    Ok(waiting(&open.instance, Waiting::Evidence))
}

/// Where Weaviate is to read the backup, when not under its own prefix.
fn path(open: &OpenRestore) -> Option<String> {
    match &open.choice {
        Some(Choice::Backup { path, .. }) => path.clone(),
        Some(Choice::Empty) | None => None,
    }
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
        return no_evidence(ports, policy, seen, open, "it does not tell its shards".to_owned()).await;
    };
    let vectors = nodes.iter().map(|n| n.vector_queue_length).sum();
    let shards = nodes.iter().map(|n| n.shards_not_ready).sum();
    if vectors > 0 || shards > 0 {
        if overdue(&open, StepName::RestoreDone, seen.now, policy.restore.evidence_deadline) {
            return abandon(ports, seen, open, &Refusal::IndexStuck { vectors, shards }).await;
        }
        return Ok(waiting(&open.instance, Waiting::Queues { vectors, shards }));
    }
    let findings = match check_restored(&node, verified.expectations(), verified.observed_after()).await {
        Ok(findings) => findings,
        Err(error) => {
            return no_evidence(ports, policy, seen, open, crate::verify_checksums::chain(&error)).await;
        }
    };
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
