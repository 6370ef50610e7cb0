//! Shuts the writers out of an owner that leaves, and lets them in again when it stays ([`lifeboat_domain::create::writers`]).
//!
//! # Guarantees
//! What is asked of the host is recorded first, by its job's name; a change of the address's groups names the attachment
//! that was seen, and may be repeated. A proof is recorded only after everything that it says was read.
//!
//! # Errors
//! A silent node, host or address is waited for; after [`Policy::patience`] the final backup is taken without the proof.
//!
//! [`Policy::patience`]: lifeboat_domain::create::writers::Policy

use jiff::Timestamp;
use lifeboat_domain::create::writers::{
    AddressTodo, CountTodo, Counted, Freeze, Policy, Step, Todo, Wanted, Writers, address, after_count, before_count,
    todo,
};
use lifeboat_domain::create::{self, WaitReason};
use lifeboat_domain::ids::JobId;
use lifeboat_domain::runs::CreateRun;
use lifeboat_domain::weaviate::{OPERATIONAL_MODE, ServerVersion, read_only};
use serde::Deserialize;

use super::act::swap;
use super::observe::State;
use super::{Error, Outcome, Ports, Session};
use crate::drive_restore::address_state;
use crate::evidence;
use crate::invocation::Turn;
use crate::ports::hosts::{CommandId, CommandState, ExecutionId, ExecutionState, HostDocument, SendOutcome, TendOrder};
use crate::ports::node::NodeError;
use crate::ports::{Addresses, Bucket, Clock, Group, Hosts, Node, Nodes};

/// What a step came to.
enum Did {
    /// This is to be recorded; then look again at once.
    Record(Option<Writers>),
    /// This is to be recorded, and time has to pass.
    RecordAndWait(Writers, String),
    /// Time has to pass.
    Wait(String),
}

/// Takes one step; `None` when nothing stands in the way of a backup.
pub(super) async fn tend<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    policy: &create::Policy,
    state: &mut State,
    now: Timestamp,
    session: &mut Session,
) -> Result<Option<Turn<Outcome>>, Error> {
    let Some(policy) = &policy.writers else { return Ok(None) };
    let Some(owner) = state.ownership.as_ref().map(|o| o.owner.clone()) else { return Ok(None) };
    let did = match todo(&state.run, state.ownership.as_ref(), &state.member) {
        Todo::Nothing => return Ok(None),
        Todo::Forget => Did::Record(None),
        Todo::ShutOut => Did::Record(Some(Writers::new(owner, Wanted::Out, now))),
        Todo::Readmit => Did::Record(Some(Writers::new(owner, Wanted::In, now))),
        Todo::Step => step(ports, policy, state, now, session).await?,
    };
    let (record, wait) = match did {
        Did::Record(record) => (Some(record), None),
        Did::RecordAndWait(record, why) => (Some(Some(record)), Some(why)),
        Did::Wait(why) => (None, Some(why)),
    };
    if let Some(writers) = record {
        let run = CreateRun { writers, ..state.run.clone() };
        swap(ports.bucket, state, run).await?;
    }
    let Some(detail) = wait else { return Ok(Some(Turn::Again)) };
    // A backup that is under way goes on, or makes way, meanwhile.
    if state.run.open.is_some() {
        return Ok(None);
    }
    let reason = WaitReason::Writers { detail };
    Ok(Some(Turn::Waiting(session.outcome("waiting", reason.to_string(), None, reason.needs_attention()))))
}

async fn step<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    policy: &Policy,
    state: &State,
    now: Timestamp,
    session: &mut Session,
) -> Result<Did, Error> {
    let Some((mut writers, own)) =
        state.run.writers.clone().zip(state.ownership.as_ref().map(|o| o.owner_address.as_str()))
    else {
        return Ok(Did::Wait("no record".to_owned()));
    };
    let waited = now.duration_since(writers.since).unsigned_abs();
    if writers.wanted == Wanted::Out && waited >= policy.patience {
        let why = format!("no proof within {} s; stopped at {:?}", policy.patience.as_secs(), writers.step);
        tracing::error!(instance = %writers.instance, why, "writers could not be shut out provably: the final backup is a live one");
        session.attention = true;
        session.did(format!("gave up shutting writers out: {why}"));
        writers.give_up(why);
        return Ok(Did::Record(Some(writers)));
    }
    match writers.step.clone() {
        Step::Look { execution: None } => {
            let ExecutionId(execution) = ports.addresses.start_read().await?;
            writers.step = Step::Look { execution: Some(execution) };
            Ok(Did::Record(Some(writers)))
        }
        Step::Look { execution: Some(execution) } => look(ports, policy, writers, own, execution, session).await,
        Step::Address { execution } => match ports.addresses.execution(&ExecutionId(execution)).await? {
            ExecutionState::Running => Ok(Did::Wait("the groups of the address are being changed".to_owned())),
            // Whatever it says: what the address carries is read.
            ExecutionState::Succeeded { .. } => {
                writers.step = Step::Look { execution: None };
                Ok(Did::Record(Some(writers)))
            }
            ExecutionState::Failed { status, message } => {
                tracing::warn!(instance = %writers.instance, status, message, "the groups of the address were not changed");
                writers.step = Step::Look { execution: None };
                Ok(Did::RecordAndWait(writers, message))
            }
        },
        Step::Host { job, command } => host(ports, writers, job, command, session).await,
        Step::Count => {
            let node = ports.nodes.at(own);
            match writers.wanted {
                Wanted::Out => count(ports.clock, policy, writers, &node, session).await,
                Wanted::In => Ok(match mode(&node).await {
                    Ok(Some(mode)) if mode == OPERATIONAL_MODE => Did::Wait("Weaviate is ReadOnly still".to_owned()),
                    Ok(_) => {
                        session.did("let the writers in again");
                        Did::Record(None)
                    }
                    Err(error) => Did::Wait(error.to_string()),
                }),
            }
        }
        Step::Done => Ok(Did::Wait("over".to_owned())),
    }
}

/// What the address carries is known: change it, or go on to the host.
async fn look<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    policy: &Policy,
    mut writers: Writers,
    own: &str,
    execution: String,
    session: &mut Session,
) -> Result<Did, Error> {
    let outputs = match ports.addresses.execution(&ExecutionId(execution)).await? {
        ExecutionState::Running => return Ok(Did::Wait("the address is being read".to_owned())),
        ExecutionState::Succeeded { outputs } => outputs,
        ExecutionState::Failed { status, message } => {
            tracing::warn!(instance = %writers.instance, status, message, "the address could not be read");
            writers.step = Step::Look { execution: None };
            return Ok(Did::RecordAndWait(writers, message));
        }
    };
    let Some(seen) = address_state(&outputs) else {
        tracing::error!(instance = %writers.instance, ?outputs, "the outputs of ReadAddress are not understood");
        writers.step = Step::Look { execution: None };
        return Ok(Did::RecordAndWait(writers, "the address's outputs are not understood".to_owned()));
    };
    writers.groups_before.get_or_insert_with(|| seen.groups.clone());
    match address(&seen, &writers.instance, writers.wanted, policy) {
        AddressTodo::Change { attachment } => {
            // It names the attachment that was seen, and may be repeated: no record has to come first.
            let admitted = writers.wanted == Wanted::In;
            let ExecutionId(execution) = ports.addresses.start_writers(&attachment, admitted).await?;
            session.did(if admitted { "opening the address to writers" } else { "shutting the address to writers" });
            writers.step = Step::Address { execution };
            Ok(Did::Record(Some(writers)))
        }
        AddressTodo::Right => {
            let here = seen.attachment.as_ref().is_some_and(|(_, holder)| *holder == writers.instance);
            writers.groups = if here { seen.groups } else { Vec::new() };
            if writers.wanted == Wanted::Out && writers.read_only.is_none() {
                let (version, adapter) = match evidence::which_api(&ports.nodes.at(own)).await {
                    Ok(known) => known,
                    Err(error) => return Ok(Did::Wait(error.to_string())),
                };
                let mode = ServerVersion::parse(&version).and_then(read_only);
                writers.read_only = Some(mode.is_some_and(|mode| mode.lets_evidence_through(adapter)));
            }
            writers.next_job();
            Ok(Did::Record(Some(writers)))
        }
    }
}

#[derive(Deserialize)]
struct Report {
    reset: u64,
    remaining: u64,
}

/// Has the host do its part, under a name that is on record already.
async fn host<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    mut writers: Writers,
    job: JobId,
    command: Option<String>,
    session: &mut Session,
) -> Result<Did, Error> {
    let order = match writers.wanted {
        Wanted::Out => TendOrder::ShutOut { read_only: writers.read_only == Some(true) },
        Wanted::In => TendOrder::Readmit,
    };
    let Some(command) = command else {
        let sent = match ports.hosts.find(&writers.instance, &job).await? {
            Some(found) => SendOutcome::Sent(found),
            None => ports.hosts.send(&writers.instance, HostDocument::Tend(order), &job).await?,
        };
        return Ok(match sent {
            SendOutcome::Sent(CommandId(command)) => {
                writers.step = Step::Host { job, command: Some(command) };
                Did::Record(Some(writers))
            }
            SendOutcome::NotReady => Did::Wait("the SSM agent takes no command".to_owned()),
        });
    };
    match ports.hosts.command(&writers.instance, &CommandId(command)).await? {
        CommandState::NotVisible | CommandState::Running => Ok(Did::Wait(format!("the host is at {}", order.name()))),
        CommandState::Succeeded { stdout } => {
            let last = stdout.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            match serde_json::from_str::<Report>(last) {
                Ok(Report { reset, remaining: 0 }) => {
                    session.did(format!("the host did {}, {reset} connections reset", order.name()));
                    if writers.wanted == Wanted::Out {
                        writers.resets.times += 1;
                        writers.resets.connections += reset;
                    }
                    writers.step = Step::Count;
                    Ok(Did::Record(Some(writers)))
                }
                Ok(_) | Err(_) => {
                    tracing::warn!(instance = %writers.instance, %job, last, "connections are left after a reset");
                    writers.next_job();
                    Ok(Did::RecordAndWait(writers, "connections are left after a reset".to_owned()))
                }
            }
        }
        CommandState::Failed { details, exit_code, stdout, stderr } => {
            tracing::warn!(instance = %writers.instance, %job, details, ?exit_code, stdout, stderr, "the host could not");
            writers.next_job();
            Ok(Did::RecordAndWait(writers, format!("the host could not: {details}")))
        }
    }
}

/// Counts, and proves.
async fn count<N: Node, C: Clock>(
    clock: &C,
    policy: &Policy,
    mut writers: Writers,
    node: &N,
    session: &mut Session,
) -> Result<Did, Error> {
    match before_count(&writers, clock.now(), policy) {
        CountTodo::Wait => return Ok(Did::Wait("time passes between two counts".to_owned())),
        CountTodo::Reset => {
            writers.next_job();
            return Ok(Did::Record(Some(writers)));
        }
        CountTodo::Remember | CountTodo::Proved { .. } => {}
    }
    let (objects, sha256) = match evidence::count_all(node).await {
        Ok(counted) => counted,
        Err(error) => return Ok(Did::Wait(error.to_string())),
    };
    let counted = Counted { at: clock.now(), objects, sha256, after_resets: writers.resets.times };
    let CountTodo::Proved { apart_s } = after_count(&writers, &counted, policy) else {
        writers.counted = Some(counted);
        return Ok(Did::Record(Some(writers)));
    };
    let read_only = writers.read_only == Some(true);
    if read_only {
        match refuses(node).await {
            Ok(true) => {}
            Ok(false) => return Ok(Did::Wait("Weaviate is not ReadOnly yet".to_owned())),
            Err(error) => return Ok(Did::Wait(error.to_string())),
        }
    }
    session.did(format!("proved that writers are shut out: {objects} objects, {} resets", writers.resets.times));
    writers.proof = Some(Freeze {
        at: counted.at,
        groups: writers.groups.clone(),
        resets: writers.resets,
        objects,
        counts_apart_s: apart_s,
        read_only,
    });
    writers.step = Step::Done;
    Ok(Did::Record(Some(writers)))
}

/// Whether the node says that it is ReadOnly, exactly so spelt, and does refuse a write.
async fn refuses<N: Node>(node: &N) -> Result<bool, NodeError> {
    Ok(mode(node).await?.as_deref() == Some(OPERATIONAL_MODE) && node.refuses_writes().await?)
}

async fn mode<N: Node>(node: &N) -> Result<Option<String>, NodeError> {
    Ok(node.nodes().await?.into_iter().next().and_then(|n| n.operational_mode))
}
