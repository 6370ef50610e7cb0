//! The contract of the group, its hosts and the fixed address: [`Group`], [`Hosts`], [`Addresses`], by the API's documented
//! rules (facts: aws.md §2, §3).
//!
//! Nothing here waits for a moment: a case waits for a state, and what must not happen is held back, not outrun.

mod address;
mod group;
mod hosts;

use std::future::Future;

use lifeboat_domain::event::Transition;
use lifeboat_domain::ids::InstanceId;

use super::Report;
use crate::ports::group::{GroupState, Hook, HookAnswer, HookResult, LifecycleState};
use crate::ports::hosts::{Agent, CommandId, ExecutionId, ExecutionState, HostDocument};
use crate::ports::{Addresses, Group, Hosts};

/// A hook's timer in seconds, at every place.
pub const HEARTBEAT_SECS: u64 = 7200;

/// A group of one under contract: the ports, and the world around them.
pub trait Yard: Sync {
    /// The group's port.
    type Group: Group;
    /// The hosts' port.
    type Hosts: Hosts;
    /// The address's port.
    type Addresses: Addresses;

    /// The group.
    fn group(&self) -> Self::Group;
    /// The hosts.
    fn hosts(&self) -> Self::Hosts;
    /// Hosts whose documents do not exist.
    fn hosts_without_documents(&self) -> Self::Hosts;
    /// Hosts whose next send takes effect, and whose replies are all lost.
    fn unheard_hosts(&self) -> impl Future<Output = Self::Hosts> + Send;
    /// The address.
    fn addresses(&self) -> Self::Addresses;

    /// Somebody, or the world, does something.
    fn act(&self, act: Act) -> impl Future<Output = ()> + Send;
    /// Seconds of hooks' timers pass.
    fn pass(&self, seconds: u64) -> impl Future<Output = ()> + Send;
    /// A little happens.
    fn breathe(&self) -> impl Future<Output = ()> + Send;
    /// After how many breaths nothing more is to be hoped for.
    fn patience(&self) -> u32;
    /// How many breaths are enough for what would happen by itself to happen.
    fn a_while(&self) -> u32;
    /// The hooks' events so far.
    fn told(&self) -> impl Future<Output = Vec<(Transition, InstanceId)>> + Send;
}

/// What somebody, or the world, does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The group shall have so many instances.
    Desire(u32),
    /// A person calls the instance unhealthy: it is replaced through its hooks.
    Replace(InstanceId),
    /// The machine dies.
    Kill(InstanceId),
    /// A person terminates the instance in its group: how a retained one is let go.
    LetGo(InstanceId),
    /// The machine hangs: nothing on it moves, and nobody is told.
    Hang(InstanceId),
    /// Instances that are launched from now on stay `Pending`, or no longer.
    HoldBoot(bool),
    /// Agents of instances that are launched from now on never register, or do again.
    HoldAgents(bool),
    /// Commands that are sent from now on cannot be seen; or they can, those too.
    HoldSight(bool),
    /// What executions wait for does not come; or it does, for those that start from now on.
    HoldSteps(bool),
    /// Commands' timeouts are over at once; or they last.
    Hurry(bool),
    /// The next command on this host does this.
    Script(InstanceId, Script),
    /// A person cancels a command.
    Cancel(InstanceId, CommandId),
    /// A person stops an execution.
    Stop(ExecutionId),
}

/// What a command does on its host, in place of succeeding with a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// It ends with this code, after this line on its error output.
    Exit(i32, String),
    /// It never ends.
    Hang,
    /// It writes this many characters to its output and to its error output, and succeeds.
    Loud(usize, usize),
}

/// Plays every case.
pub async fn play(yard: &impl Yard, report: &mut Report) {
    group::play(yard, report).await;
    hosts::play(yard, report).await;
    address::play(yard, report).await;
}

/// Looks until there is something.
async fn eventually<T, F: Future<Output = Option<T>>>(yard: &impl Yard, what: &str, look: impl Fn() -> F) -> T {
    for _ in 0..yard.patience() {
        if let Some(found) = look().await {
            return found;
        }
        yard.breathe().await;
    }
    panic!("{what} did not come");
}

/// Lets happen what would.
async fn a_while(yard: &impl Yard) {
    for _ in 0..yard.a_while() {
        yard.breathe().await;
    }
}

async fn state(yard: &impl Yard) -> GroupState {
    yard.group().describe().await.expect("the group is described")
}

async fn state_of(yard: &impl Yard, instance: &InstanceId) -> Option<LifecycleState> {
    state(yard).await.state_of(instance).cloned()
}

/// Waits until an instance is in a state.
async fn until(yard: &impl Yard, instance: &InstanceId, wanted: LifecycleState) {
    let what = format!("{instance} in {wanted:?}");
    eventually(yard, &what, || async { (state_of(yard, instance).await.as_ref() == Some(&wanted)).then_some(()) })
        .await;
}

/// An instance in a state, which is none of these, once there is one.
async fn another(yard: &impl Yard, wanted: LifecycleState, but: &[&InstanceId]) -> InstanceId {
    let what = format!("another instance in {wanted:?}");
    let look = || async {
        let members = state(yard).await.members;
        members.into_iter().find(|m| m.state == wanted && !but.contains(&&m.instance)).map(|m| m.instance)
    };
    eventually(yard, &what, look).await
}

async fn complete(yard: &impl Yard, hook: Hook, instance: &InstanceId, result: HookResult) -> HookAnswer {
    yard.group().complete(hook, instance, result).await.expect("an answer is answered")
}

async fn heartbeat(yard: &impl Yard, hook: Hook, instance: &InstanceId) -> HookAnswer {
    yard.group().heartbeat(hook, instance).await.expect("a heartbeat is answered")
}

/// Ends everything that an earlier case has left.
async fn cleared(yard: &impl Yard) {
    for act in
        [Act::HoldBoot(false), Act::HoldAgents(false), Act::HoldSight(false), Act::HoldSteps(false), Act::Hurry(false)]
    {
        yard.act(act).await;
    }
    yard.act(Act::Desire(0)).await;
    yard.group().resume_launches().await.expect("launches are resumed");
    eventually(yard, "an empty group", || async {
        let members = state(yard).await.members;
        for member in &members {
            match member.state {
                LifecycleState::TerminatingWait => {
                    complete(yard, Hook::Terminate, &member.instance, HookResult::Continue).await;
                }
                LifecycleState::TerminatingRetained => yard.act(Act::LetGo(member.instance.clone())).await,
                _ => {}
            }
        }
        members.is_empty().then_some(())
    })
    .await;
}

/// A fresh group whose only instance waits in its launch hook.
async fn launched(yard: &impl Yard) -> InstanceId {
    cleared(yard).await;
    yard.act(Act::Desire(1)).await;
    another(yard, LifecycleState::PendingWait, &[]).await
}

/// A fresh group whose only instance is in service, and its agent online.
async fn serving(yard: &impl Yard) -> InstanceId {
    let instance = launched(yard).await;
    let_in(yard, &instance).await;
    online(yard, &instance).await;
    instance
}

async fn let_in(yard: &impl Yard, instance: &InstanceId) {
    assert_eq!(complete(yard, Hook::Launch, instance, HookResult::Continue).await, HookAnswer::Accepted);
    until(yard, instance, LifecycleState::InService).await;
}

/// The instance's own address, once its agent is online.
async fn online(yard: &impl Yard, instance: &InstanceId) -> String {
    eventually(yard, "the agent", || async {
        match yard.hosts().agent(instance).await.expect("answered") {
            Agent::Online { address } => Some(address),
            Agent::Absent | Agent::Lost => None,
        }
    })
    .await
}

/// The end of an execution; it stays that end.
async fn ended(yard: &impl Yard, id: &ExecutionId) -> ExecutionState {
    let addresses = yard.addresses();
    let look = || async {
        let state = addresses.execution(id).await.expect("answered");
        (state != ExecutionState::Running).then_some(state)
    };
    let end = eventually(yard, "the execution's end", look).await;
    assert_eq!(addresses.execution(id).await.expect("answered"), end, "an end is an end");
    end
}

/// The document that every case of commands sends.
const PROBE: HostDocument = HostDocument::Probe;
