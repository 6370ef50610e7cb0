//! The address of an owner in service, looked at now and then: one that lost its writers' group, or hangs on another
//! instance, is given back to the owner, and that is paged (DESIGN §6 step 7).

use lifeboat_domain::ids::InstanceId;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::restore::Waiting;
use lifeboat_domain::restore::gate::{AddressStep, address as where_to};
use lifeboat_domain::restore::run::{AddressMove, AddressWatch};
use lifeboat_domain::runs::CreateRun;

use super::gate::address_state;
use super::{Error, Outcome, Policy, Ports, Seen, elapsed, save, waiting};
use crate::invocation::Turn;
use crate::ports::group::LifecycleState;
use crate::ports::hosts::{ExecutionId, ExecutionState};
use crate::ports::{Addresses, Clock};
use crate::store;

/// Looks when it is time to, and repairs what it finds; called when nobody is under a hook.
pub(super) async fn address<P: Ports>(ports: &P, policy: &Policy, seen: &mut Seen) -> Result<Turn<Outcome>, Error> {
    let idle = Turn::Done(Outcome::Idle);
    let owner = seen.owner().filter(|owner| seen.group.state_of(owner) == Some(&LifecycleState::InService)).cloned();
    let Some(owner) = owner else { return Ok(idle) };
    let watch = seen.run.address_watch.clone().unwrap_or_default();
    let Some(execution) = watch.execution.clone() else {
        let due = watch.at.is_none_or(|at| elapsed(at, seen.now) >= policy.restore.address_watch);
        if !due || writers_are_somebodys_business(ports).await? {
            return Ok(idle);
        }
        let ExecutionId(execution) = ports.addresses().start_read().await?;
        return note(ports, seen, Some(AddressMove::Reading { execution })).await;
    };
    let (id, reading) = match execution {
        AddressMove::Reading { execution } => (execution, true),
        AddressMove::Moving { execution, .. } => (execution, false),
    };
    match ports.addresses().execution(&ExecutionId(id)).await? {
        ExecutionState::Running => Ok(waiting(&owner, Waiting::Address)),
        ExecutionState::Failed { status, message } => {
            tracing::error!(instance = %owner, status, message, "the owner's address could not be looked at or repaired; it is tried again");
            note(ports, seen, None).await
        }
        ExecutionState::Succeeded { .. } if !reading => {
            tracing::error!(instance = %owner, "the owner's address is repaired");
            note(ports, seen, None).await
        }
        ExecutionState::Succeeded { outputs } => {
            let Some(state) = address_state(&outputs) else {
                tracing::error!(instance = %owner, ?outputs, "the outputs of ReadAddress are not understood");
                return note(ports, seen, None).await;
            };
            match where_to(&state, &owner, &policy.reader_group, &policy.writer_group) {
                AddressStep::Here => note(ports, seen, None).await,
                AddressStep::Move { .. } if writers_are_somebodys_business(ports).await? => {
                    note(ports, seen, None).await
                }
                AddressStep::Move { expected } => repair(ports, seen, &owner, expected.as_deref()).await,
            }
        }
    }
}

async fn repair<P: Ports>(
    ports: &P,
    seen: &mut Seen,
    owner: &InstanceId,
    expected: Option<&str>,
) -> Result<Turn<Outcome>, Error> {
    tracing::error!(
        instance = %owner,
        attachment = expected,
        "the owner is in service, and the fixed address is not attached to it with its readers' and writers' groups; it is given back"
    );
    let ExecutionId(execution) = ports.addresses().start_move(owner, expected, false).await?;
    let since = ports.clock().now();
    note(ports, seen, Some(AddressMove::Moving { execution, since })).await
}

/// Whether create-backup is shutting writers out or letting them in: then the groups are as it wants them.
async fn writers_are_somebodys_business<P: Ports>(ports: &P) -> Result<bool, Error> {
    let run = store::read::<CreateRun>(ports.bucket(), &Key::CurrentRun(Function::CreateBackup)).await?;
    Ok(run.is_some_and(|run| run.value.writers.is_some()))
}

async fn note<P: Ports>(ports: &P, seen: &mut Seen, execution: Option<AddressMove>) -> Result<Turn<Outcome>, Error> {
    let done = execution.is_none();
    seen.run.address_watch = Some(AddressWatch { at: Some(seen.now), execution });
    save(ports, seen).await?;
    Ok(if done { Turn::Done(Outcome::Idle) } else { Turn::Again })
}
