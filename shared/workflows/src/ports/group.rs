//! The Auto Scaling group and its lifecycle hooks.

use lifeboat_domain::ids::InstanceId;

use super::Fault;

/// The group of one (facts: aws.md §2).
pub trait Group: Send + Sync {
    /// What Auto Scaling lists now.
    fn describe(&self) -> impl Future<Output = Result<GroupState, Fault>> + Send;

    /// Restarts the timer of an instance's hook.
    fn heartbeat(&self, hook: Hook, instance: &InstanceId) -> impl Future<Output = Result<HookAnswer, Fault>> + Send;

    /// Answers an instance's hook.
    fn complete(
        &self,
        hook: Hook,
        instance: &InstanceId,
        result: HookResult,
    ) -> impl Future<Output = Result<HookAnswer, Fault>> + Send;

    /// Suspends the Launch process; done already is success.
    fn suspend_launches(&self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Resumes the Launch process; done already is success.
    fn resume_launches(&self) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Which hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// The launch hook.
    Launch,
    /// The terminate hook.
    Terminate,
}

/// An answer to a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookResult {
    /// Go on.
    Continue,
    /// Launch: terminate and replace. Terminate: retain, by the group's lifecycle policy.
    Abandon,
}

/// What Auto Scaling says to an answer or a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookAnswer {
    /// Taken.
    Accepted,
    /// "No active Lifecycle Action found": not reached yet, answered, or expired. Look at the group again.
    NotActive,
}

/// What Auto Scaling lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// Instances wanted.
    pub desired: u32,
    /// Whether the Launch process is suspended.
    pub launches_suspended: bool,
    /// Its instances.
    pub members: Vec<Member>,
}

/// An instance of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub instance: InstanceId,
    /// Its state.
    pub state: LifecycleState,
    /// Whether Auto Scaling takes it for healthy.
    pub healthy: bool,
}

/// A lifecycle state (facts: aws.md §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifecycleState {
    /// `Pending`: not yet in the hook.
    Pending,
    /// `Pending:Wait`: in the launch hook.
    PendingWait,
    /// `Pending:Proceed`.
    PendingProceed,
    /// `InService`.
    InService,
    /// `Terminating`.
    Terminating,
    /// `Terminating:Wait`: in the terminate hook.
    TerminatingWait,
    /// `Terminating:Proceed`.
    TerminatingProceed,
    /// `Terminating:Retained`: kept after an abandoned terminate hook.
    TerminatingRetained,
    /// `Terminated`.
    Terminated,
    /// Any other.
    Other(String),
}

impl GroupState {
    /// The state of an instance, if it is listed.
    pub fn state_of(&self, instance: &InstanceId) -> Option<&LifecycleState> {
        self.members.iter().find(|m| &m.instance == instance).map(|m| &m.state)
    }
}
