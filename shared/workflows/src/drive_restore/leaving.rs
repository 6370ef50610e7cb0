//! The terminate hooks: who is under one, and what it is answered with.

use lifeboat_domain::ids::InstanceId;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::restore::Waiting;
use lifeboat_domain::restore::leaving::{self as decide, LeavingAnswer, LeavingFacts, LeavingWait};
use lifeboat_domain::restore::run::{Leaving, Phase};
use lifeboat_domain::runs::{CloseOutcome, CreateRun};

use super::{Error, Outcome, Policy, Ports, Seen, elapsed, save, waiting};
use crate::invocation::Turn;
use crate::ports::group::{Hook, HookAnswer, HookResult, LifecycleState};
use crate::ports::hosts::Agent;
use crate::ports::node::Node;
use crate::ports::{Group, Hosts, Nodes};
use crate::store;

/// Answers what can be answered. `Again` after anything was done; `Waiting` while somebody is waited for.
pub(super) async fn answer<P: Ports>(ports: &P, policy: &Policy, seen: &mut Seen) -> Result<Turn<Outcome>, Error> {
    let under_hook: Vec<InstanceId> = seen
        .group
        .members
        .iter()
        .filter(|m| m.state == LifecycleState::TerminatingWait)
        .map(|m| m.instance.clone())
        .collect();
    if remember(seen, &under_hook) {
        save(ports, seen).await?;
        return Ok(Turn::Again);
    }
    let mut outcome = Turn::Done(Outcome::Idle);
    for instance in under_hook {
        let Some(facts) = facts(ports, seen, &instance).await? else { continue };
        let (result, reason) = match decide::answer(&facts, policy.restore.predecessor_deadline) {
            LeavingAnswer::Continue(reason) => (HookResult::Continue, format!("{reason:?}")),
            LeavingAnswer::Retain(reason) => (HookResult::Abandon, format!("{reason:?}")),
            LeavingAnswer::Wait(wait) => {
                outcome = waiting(
                    &instance,
                    match wait {
                        LeavingWait::FinalBackup => Waiting::FinalBackup { predecessor: instance.to_string() },
                        LeavingWait::Successor => Waiting::Successor,
                    },
                );
                continue;
            }
        };
        match result {
            HookResult::Continue => tracing::info!(%instance, reason, "the terminate hook is answered with CONTINUE"),
            HookResult::Abandon => tracing::error!(
                %instance,
                reason,
                "the terminate hook is answered with ABANDON: the instance is retained, its data may be the last good copy"
            ),
        }
        if ports.group().complete(Hook::Terminate, &instance, result).await? == HookAnswer::Accepted {
            return Ok(Turn::Again);
        }
    }
    Ok(outcome)
}

/// Notes who came under the hook, and forgets who left it; `true` when the record changed.
fn remember(seen: &mut Seen, under_hook: &[InstanceId]) -> bool {
    let before = seen.run.leaving.clone();
    let owner = seen.owner().cloned();
    let now = seen.now;
    seen.run.leaving.retain(|instance, _| under_hook.contains(instance));
    for instance in under_hook {
        let was_owner = owner.as_ref() == Some(instance);
        seen.run.leaving.entry(instance.clone()).or_insert(Leaving { was_owner, since: now });
    }
    seen.run.leaving != before
}

async fn facts<P: Ports>(ports: &P, seen: &Seen, instance: &InstanceId) -> Result<Option<LeavingFacts>, Error> {
    let Some(leaving) = seen.run.leaving.get(instance) else { return Ok(None) };
    let mut facts = LeavingFacts {
        was_owner: leaving.was_owner,
        successor_serves: successor_serves(seen, instance),
        gone: false,
        final_backup: None,
        nothing_to_save: false,
        kept_under_stop: false,
        successor_expected: seen.group.desired >= 1,
        waited: elapsed(leaving.since, seen.now),
    };
    if facts.was_owner {
        facts.gone = is_gone(ports, seen, instance).await?;
        let run = store::read::<CreateRun>(ports.bucket(), &Key::CurrentRun(Function::CreateBackup)).await?;
        let last = run.and_then(|r| r.value.last).filter(|l| l.is_final && &l.instance == instance);
        facts.nothing_to_save = last.as_ref().is_some_and(|l| l.outcome == CloseOutcome::NothingToProtect);
        facts.kept_under_stop = last.as_ref().is_some_and(|l| decide::is_stopped_by_a_rollback(&l.reason));
        facts.final_backup = last.map(|l| l.outcome);
    }
    Ok(Some(facts))
}

/// Whether somebody else owns the data, and has the address already: the owner's run is past that step, or closed.
fn successor_serves(seen: &Seen, instance: &InstanceId) -> bool {
    let on_its_way = |owner: &InstanceId| {
        seen.run.open.as_ref().is_some_and(|open| &open.instance == owner && open.phase <= Phase::Owning)
    };
    seen.owner().is_some_and(|owner| owner != instance && !on_its_way(owner))
}

/// Proof that an instance is gone: SSM does not list it (it lists no terminated instance), and its own address, if it
/// is known, does not answer. Either alone is not enough.
pub(super) async fn is_gone<P: Ports>(ports: &P, seen: &Seen, instance: &InstanceId) -> Result<bool, Error> {
    if ports.hosts().agent(instance).await? != Agent::Absent {
        return Ok(false);
    }
    let address = seen.ownership.as_ref().filter(|o| &o.value.owner == instance).map(|o| o.value.owner_address.clone());
    match address {
        Some(address) => Ok(!matches!(ports.nodes().at(&address).live().await, Ok(true))),
        None => Ok(true),
    }
}
