//! The gate, in its order: heartbeat, pointer read again, ownership, the pointer re-stamped, the address moved, a
//! request through it seen by the new host, CONTINUE (DESIGN §6 step 7).

use std::collections::BTreeMap;

use jiff::Timestamp;
use lifeboat_domain::ids::{Generation, InstanceId};
use lifeboat_domain::keys::{Key, marker_dataset};
use lifeboat_domain::ownership::{Origin, Ownership};
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::Waiting;
use lifeboat_domain::restore::gate::{
    AddressState, AddressStep, AtGate, Gate, address as where_to, continue_early, may_open,
};
use lifeboat_domain::restore::run::{AddressMove, AddressWatch, Choice, OpenRestore, Phase, Ready, StepName};
use serde::Deserialize;

use super::abandon::abandon;
use super::host::{address, chosen};
use super::{Error, Outcome, Policy, Ports, Seen, close, elapsed, overdue, overwrite, record, waiting};
use crate::invocation::{Patience, Turn};
use crate::ports::bucket::PutOutcome;
use crate::ports::group::{Hook, HookAnswer, HookResult, LifecycleState};
use crate::ports::hosts::{CommandState, ExecutionId, ExecutionState, HostDocument, SendOutcome};
use crate::ports::node::Node;
use crate::ports::{Addresses, Bucket, Clock, Group, Hosts, Nodes};
use crate::store;

/// Markers listed for the replay list, at most this many pages of 1,000.
const MARKER_PAGES_MAX: usize = 20;

pub(super) async fn take_ownership<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    if seen.owner() == Some(&open.instance) {
        // Taken before, and the record of it was lost.
        open.advance(Phase::Owning, StepName::OwnershipTaken, ports.clock().now());
        return record(ports, seen, open).await;
    }
    // From the next write on only CONTINUE may be answered: give the hook its full time first.
    if ports.group().heartbeat(Hook::Launch, &open.instance).await? == HookAnswer::NotActive {
        return Ok(waiting(&open.instance, Waiting::LaunchHook));
    }
    let pointer = store::read::<Pointer>(ports.bucket(), &Key::Pointer).await?.map(|v| v.value);
    let choice = open.choice.clone().unwrap_or(Choice::Empty);
    let ownership = seen.ownership.as_ref().map(|o| &o.value);
    let decision = may_open(AtGate {
        choice: &choice,
        passed_over: &open.passed_over,
        replaces: open.replaces.map(|g| g.0),
        pointer: pointer.as_ref(),
        ownership,
        time_left: !overdue(&open, StepName::Opened, seen.now, policy.restore.choose_again_deadline),
    });
    match decision {
        Gate::Open => {}
        Gate::OpenWithLoss(loss) => {
            tracing::error!(
                instance = %open.instance,
                backup.id = %loss.backup_id,
                pointer.sequence = loss.sequence.0,
                "the gate opens although the pointer has moved on, because there is no time left: what is newer than the restored backup is not served"
            );
            open.loss = Some(loss);
        }
        Gate::ChooseAgain { pointer } => {
            tracing::warn!(instance = %open.instance, backup.id = %pointer, "the pointer moved during the restore: chosen again");
            open.choose_again(ports.clock().now());
            return record(ports, seen, open).await;
        }
        Gate::Refuse(refusal) => return abandon(ports, seen, open, &refusal).await,
    }
    let generation = open.replaces.map_or(Generation(1), Generation::next);
    let origin = match choice {
        Choice::Empty => Origin::Empty,
        Choice::Backup { backup_id, sequence, .. } => Origin::Restored { backup_id, sequence },
    };
    let taken = Ownership {
        cluster: policy.cluster.clone(),
        generation,
        owner: open.instance.clone(),
        owner_address: address(&open).to_owned(),
        origin,
        opened_at: ports.clock().now(),
    };
    let etag = seen.ownership.as_ref().map(|o| o.etag.as_str());
    match store::swap(ports.bucket(), &Key::Ownership, etag, &taken).await? {
        PutOutcome::Lost => Ok(Turn::Again),
        PutOutcome::Written { .. } => {
            open.advance(Phase::Owning, StepName::OwnershipTaken, ports.clock().now());
            record(ports, seen, open).await
        }
    }
}

/// Waits for the re-stamped pointer, then moves the address, and reads back where it is.
pub(super) async fn move_address<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    if open.at(StepName::PointerStamped).is_none() {
        if !stamped(ports, seen).await? {
            return Ok(waiting(&open.instance, Waiting::PointerStamp));
        }
        open.note(StepName::PointerStamped, ports.clock().now());
        return record(ports, seen, open).await;
    }
    let execution = match &open.address {
        None => {
            let ExecutionId(execution) = ports.addresses().start_read().await?;
            open.address = Some(AddressMove::Reading { execution });
            return record(ports, seen, open).await;
        }
        Some(AddressMove::Reading { execution } | AddressMove::Moving { execution, .. }) => execution.clone(),
    };
    let reading = matches!(open.address, Some(AddressMove::Reading { .. }));
    match ports.addresses().execution(&ExecutionId(execution)).await? {
        ExecutionState::Running => Ok(waiting(&open.instance, Waiting::Address)),
        ExecutionState::Failed { status, message } => {
            // Another attachment than the one seen, or a detach that did not end: look where the address is now.
            tracing::warn!(instance = %open.instance, status, message, "an execution on the address failed; it is read again");
            open.address = None;
            seen.run.open = Some(open.clone());
            super::save(ports, seen).await?;
            Ok(waiting(&open.instance, Waiting::Address))
        }
        ExecutionState::Succeeded { .. } if !reading => {
            open.address = None;
            record(ports, seen, open).await
        }
        ExecutionState::Succeeded { outputs } => {
            let Some(state) = address_state(&outputs) else {
                tracing::error!(instance = %open.instance, ?outputs, "the outputs of ReadAddress are not understood");
                return Ok(waiting(&open.instance, Waiting::Address));
            };
            match where_to(&state, &open.instance, &policy.reader_group, &policy.writer_group) {
                AddressStep::Here => {
                    open.address = None;
                    open.advance(Phase::Probing, StepName::AddressMoved, ports.clock().now());
                    record(ports, seen, open).await
                }
                AddressStep::Move { expected } => {
                    let force = may_force(seen, &open, &state, policy);
                    let ExecutionId(execution) =
                        ports.addresses().start_move(&open.instance, expected.as_deref(), force).await?;
                    open.address = Some(AddressMove::Moving { execution, since: ports.clock().now() });
                    record(ports, seen, open).await
                }
            }
        }
    }
}

/// A detach is forced only after patience, and only from an instance that is terminating, retained or gone (R16).
fn may_force(seen: &Seen, open: &OpenRestore, state: &AddressState, policy: &Policy) -> bool {
    let Some((_, holder)) = &state.attachment else { return false };
    let going = match seen.group.state_of(holder) {
        None => true,
        Some(state) => matches!(
            state,
            LifecycleState::Terminating
                | LifecycleState::TerminatingWait
                | LifecycleState::TerminatingProceed
                | LifecycleState::TerminatingRetained
                | LifecycleState::Terminated
        ),
    };
    let stamped = open.at(StepName::PointerStamped).unwrap_or(seen.now);
    going && elapsed(stamped, seen.now) > policy.restore.detach_patience
}

/// Whether the pointer carries the owner's generation; after an empty start there is no pointer to carry it.
async fn stamped<P: Ports>(ports: &P, seen: &Seen) -> Result<bool, Error> {
    let Some(ownership) = &seen.ownership else { return Ok(false) };
    if ownership.value.restored_from().is_none() {
        return Ok(true);
    }
    let pointer = store::read::<Pointer>(ports.bucket(), &Key::Pointer).await?;
    Ok(pointer.is_some_and(|p| p.value.generation >= ownership.value.generation))
}

/// Where the address is and what it carries, of the outputs of ReadAddress; `None` when they cannot be understood.
pub(crate) fn address_state(outputs: &BTreeMap<String, Vec<String>>) -> Option<AddressState> {
    let one = |name: &str| outputs.get(name).and_then(|v| v.first()).map(String::as_str).filter(|v| !v.is_empty());
    let attachment = match one("read.Status")? {
        "available" => None,
        _ => Some((
            one("readAttachment.AttachmentId")?.to_owned(),
            InstanceId::parse(one("readAttachment.InstanceId")?).ok()?,
        )),
    };
    let groups = outputs.get("read.Groups").cloned().unwrap_or_default();
    // A list comes as one JSON text or as its members, by the way SSM renders it.
    let groups = groups.into_iter().flat_map(|g| serde_json::from_str::<Vec<String>>(&g).unwrap_or_else(|_| vec![g]));
    Some(AddressState { attachment, groups: groups.collect() })
}

#[derive(Deserialize)]
struct ProbeReport {
    accepted_via_fixed: u64,
}

/// Sends a request through the fixed address and asks the new host whether it came. The node's name proves nothing:
/// it is the same on both nodes (R15).
pub(super) async fn probe<P: Ports>(
    ports: &P,
    policy: &Policy,
    patience: Patience,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    let again = Ok(waiting(&open.instance, Waiting::Probe));
    if !matches!(ports.nodes().at(&policy.fixed_address).live().await, Ok(true)) {
        return again;
    }
    let job = open.job("probe", u32::try_from(seen.now.as_second().rem_euclid(1 << 30)).unwrap_or(0));
    let SendOutcome::Sent(command) = ports.hosts().send(&open.instance, HostDocument::Probe, &job).await? else {
        return again;
    };
    while ports.clock().now() < patience.until {
        match ports.hosts().command(&open.instance, &command).await? {
            CommandState::NotVisible | CommandState::Running => ports.clock().sleep(patience.poll).await,
            CommandState::Succeeded { stdout } => {
                let last = stdout.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
                return match serde_json::from_str::<ProbeReport>(last) {
                    Ok(report) if report.accepted_via_fixed > 0 => {
                        open.advance(Phase::Continuing, StepName::AddressProbed, ports.clock().now());
                        record(ports, seen, open).await
                    }
                    Ok(_) => again,
                    Err(error) => {
                        tracing::error!(instance = %open.instance, %error, "the probe's report is not understood");
                        again
                    }
                };
            }
            CommandState::Failed { details, exit_code, stderr, .. } => {
                tracing::error!(instance = %open.instance, details, ?exit_code, stderr, "the probe failed on the host");
                return again;
            }
        }
    }
    again
}

/// Answers the launch hook of an owner whose gate takes too long: a hook that runs out would end the instance that owns
/// the data. The gate is finished in service.
pub(super) async fn continue_if_late<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &Seen,
    open: &OpenRestore,
) -> Result<bool, Error> {
    let Some(owned) = open.at(StepName::OwnershipTaken) else { return Ok(false) };
    let waits = seen.group.state_of(&open.instance) == Some(&LifecycleState::PendingWait);
    if !waits || !continue_early(elapsed(owned, seen.now), policy.restore.gate_deadline) {
        return Ok(false);
    }
    let answer = ports.group().complete(Hook::Launch, &open.instance, HookResult::Continue).await?;
    if answer == HookAnswer::Accepted {
        tracing::error!(
            instance = %open.instance,
            phase = ?open.phase,
            "the gate takes too long; its launch hook is answered with CONTINUE all the same, because it owns the data, and the gate goes on"
        );
    }
    Ok(answer == HookAnswer::Accepted)
}

/// Answers the launch hook with CONTINUE, tells the pipelines, and archives the run.
pub(super) async fn proceed<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    let Some(ownership) = seen.ownership.as_ref().filter(|o| o.value.owner == open.instance) else {
        tracing::error!(instance = %open.instance, "ownership.json no longer names this instance; look before anything is answered");
        return Ok(waiting(&open.instance, Waiting::LaunchHook));
    };
    let generation = ownership.value.generation;
    ready(ports, policy, &open, generation).await?;
    let in_service = seen.group.state_of(&open.instance) != Some(&LifecycleState::PendingWait);
    if !in_service {
        let answer = ports.group().complete(Hook::Launch, &open.instance, HookResult::Continue).await?;
        if answer == HookAnswer::NotActive {
            return Ok(waiting(&open.instance, Waiting::LaunchHook));
        }
    }
    let now = ports.clock().now();
    open.note(StepName::Continued, now);
    let began = open.timeline.first().map_or(now, |s| s.at);
    let outcome = Outcome::Opened {
        instance: open.instance.to_string(),
        generation: generation.0,
        backup_id: chosen(&open).map(ToString::to_string),
        duration_ms: now.as_millisecond() - began.as_millisecond(),
    };
    // It was just seen to be where it belongs.
    seen.run.address_watch = Some(AddressWatch { at: Some(now), execution: None });
    if seen.run.requested.as_ref() == chosen(&open) {
        seen.run.requested = None;
    }
    close(ports, seen, open, Some(generation)).await?;
    Ok(Turn::Done(outcome))
}

async fn ready<P: Ports>(ports: &P, policy: &Policy, open: &OpenRestore, generation: Generation) -> Result<(), Error> {
    let data_as_of = match chosen(open) {
        None => None,
        Some(id) => store::read::<lifeboat_domain::manifest::Manifest>(ports.bucket(), &Key::Manifest(id.clone()))
            .await?
            .map(|m| m.value.data_as_of),
    };
    let ready = Ready {
        generation,
        instance: open.instance.clone(),
        address: policy.fixed_address.clone(),
        backup_id: chosen(open).cloned(),
        data_as_of,
        replay: match data_as_of {
            None => Vec::new(),
            Some(since) => markers_since(ports, &policy.marker_prefix, since).await?,
        },
    };
    overwrite(ports, &Key::Ready, &ready).await
}

async fn markers_since<P: Ports>(ports: &P, prefix: &str, since: Timestamp) -> Result<Vec<String>, Error> {
    let mut newer = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..MARKER_PAGES_MAX {
        let page = ports.markers().list(prefix, after.as_deref()).await?;
        after = page.entries.last().map(|e| e.key.clone());
        let marks = page.entries.into_iter().filter(|e| marker_dataset(prefix, &e.key).is_some());
        newer.extend(marks.filter(|e| e.last_modified >= since).map(|e| e.key));
        if !page.more {
            return Ok(newer);
        }
    }
    tracing::warn!(prefix, "more success markers than are listed for the replay list; it is cut");
    Ok(newer)
}
