//! The group twin: lifecycle hooks that wait, time out and are answered once; replacements launched while their
//! predecessors are still being let go (facts: aws.md §2).

use lifeboat_domain::event::Transition;
use lifeboat_domain::ids::InstanceId;

use super::calls::Call;
use super::events::Effect;
use super::world::{Due, Inner};
use super::{Event, World};
use crate::ports::group::{GroupState, Hook, HookAnswer, HookResult, LifecycleState, Member};
use crate::ports::{Fault, Group};

/// The group of a [`World`].
#[derive(Debug, Clone)]
pub struct GroupTwin {
    pub(super) world: World,
}

/// What Auto Scaling knows.
#[derive(Debug, Default)]
pub(super) struct GroupModel {
    pub(super) desired: u32,
    pub(super) launches_suspended: bool,
    pub(super) members: Vec<MemberModel>,
    launching: u32,
}

/// An instance of the group.
#[derive(Debug)]
pub(super) struct MemberModel {
    pub(super) instance: InstanceId,
    pub(super) state: LifecycleState,
    pub(super) healthy: bool,
    /// The hook it waits in: which, since when, and the number that its running timer must carry.
    hook: Option<(Hook, jiff::Timestamp, u64)>,
}

/// What happens to the group by itself.
#[derive(Debug, Clone)]
pub(super) enum GroupDue {
    Launch,
    Booted(InstanceId),
    InService(InstanceId),
    HookExpires(InstanceId, u64),
    HealthCheck(InstanceId),
    Ended(InstanceId),
    Delisted(InstanceId),
}

impl World {
    /// Changes how many instances are wanted; Auto Scaling starts to launch, or to terminate the newest.
    pub fn set_desired(&self, desired: u32) {
        let mut inner = self.lock();
        inner.group.desired = desired;
        while inner.counted() > desired {
            let newest = inner.group.members.iter().rev().find(|m| !leaving(&m.state)).map(|m| m.instance.clone());
            let Some(newest) = newest else { break };
            inner.start_terminate(&newest, true);
        }
        inner.reconcile();
    }

    /// Lets Auto Scaling replace an instance that still works, as an instance refresh or a failed health check does.
    pub fn replace(&self, instance: &InstanceId) {
        let mut inner = self.lock();
        if let Some(member) = inner.member(instance) {
            member.healthy = false;
        }
        inner.start_terminate(instance, true);
        inner.reconcile();
    }

    /// The instance ends at once with its disks; Auto Scaling notices by its health check.
    pub fn kill(&self, instance: &InstanceId) {
        let mut inner = self.lock();
        inner.end_host(instance);
        let notice = inner.settings.health_check_takes;
        inner.later(notice, Due::Group(GroupDue::HealthCheck(instance.clone())));
    }

    /// Terminates an instance without a hook: how a person lets a retained one go.
    pub fn terminate(&self, instance: &InstanceId) {
        self.lock().proceed_to_end(instance);
    }

    /// A person terminates an instance in its group (`TerminateInstanceInAutoScalingGroup`, without shrinking): through its
    /// hook, or at once where it is retained.
    pub fn let_go(&self, instance: &InstanceId) {
        let mut inner = self.lock();
        let retained = inner.member(instance).is_some_and(|m| m.state == LifecycleState::TerminatingRetained);
        if retained {
            inner.proceed_to_end(instance);
        } else {
            inner.start_terminate(instance, true);
        }
        inner.reconcile();
    }

    /// The instances that are listed, oldest first.
    pub fn instances(&self) -> Vec<InstanceId> {
        self.lock().group.members.iter().map(|m| m.instance.clone()).collect()
    }

    /// The state of an instance, if it is listed.
    pub fn lifecycle(&self, instance: &InstanceId) -> Option<LifecycleState> {
        self.lock().member(instance).map(|m| m.state.clone())
    }
}

/// Whether a state no longer counts towards the wanted instances.
fn leaving(state: &LifecycleState) -> bool {
    match state {
        LifecycleState::Terminating
        | LifecycleState::TerminatingWait
        | LifecycleState::TerminatingProceed
        | LifecycleState::TerminatingRetained
        | LifecycleState::Terminated => true,
        LifecycleState::Pending
        | LifecycleState::PendingWait
        | LifecycleState::PendingProceed
        | LifecycleState::InService
        | LifecycleState::Other(_) => false,
    }
}

impl Inner {
    pub(super) fn member(&mut self, instance: &InstanceId) -> Option<&mut MemberModel> {
        self.group.members.iter_mut().find(|m| m.instance == *instance)
    }

    /// Adds an instance in a state, without hooks or events.
    pub(super) fn add_member(&mut self, state: LifecycleState) -> InstanceId {
        let instance = self.new_host();
        let member = MemberModel { instance: instance.clone(), state, healthy: true, hook: None };
        self.group.members.push(member);
        instance
    }

    fn counted(&self) -> u32 {
        u32::try_from(self.group.members.iter().filter(|m| !leaving(&m.state)).count()).unwrap_or(u32::MAX)
    }

    /// Launches what is missing, while what leaves is still leaving.
    fn reconcile(&mut self) {
        while !self.group.launches_suspended && self.counted() + self.group.launching < self.group.desired {
            self.group.launching += 1;
            self.later(self.settings.proceed_takes, Due::Group(GroupDue::Launch));
        }
    }

    fn start_terminate(&mut self, instance: &InstanceId, hooked: bool) {
        let Some(member) = self.member(instance) else { return };
        if leaving(&member.state) {
            return;
        }
        if hooked {
            member.state = LifecycleState::TerminatingWait;
            self.arm(instance, Hook::Terminate);
        } else {
            self.proceed_to_end(instance);
        }
    }

    fn proceed_to_end(&mut self, instance: &InstanceId) {
        let Some(member) = self.member(instance) else { return };
        if matches!(member.state, LifecycleState::TerminatingProceed | LifecycleState::Terminated) {
            return;
        }
        member.state = LifecycleState::TerminatingProceed;
        member.hook = None;
        let end = self.settings.terminate_takes;
        self.shut_down_host(instance);
        self.later(end, Due::Group(GroupDue::Ended(instance.clone())));
    }

    /// The instance waits in the hook: the world is told, and the timer runs.
    fn arm(&mut self, instance: &InstanceId, hook: Hook) {
        let (now, number) = (self.now, self.mint());
        if let Some(member) = self.member(instance) {
            member.hook = Some((hook, now, number));
        }
        let transition = match hook {
            Hook::Launch => Transition::Launching,
            Hook::Terminate => Transition::Terminating,
        };
        let (group, instance) = (World::GROUP.to_owned(), instance.clone());
        self.events.push(Event::LifecycleAction { transition, group, instance: instance.clone() });
        self.later(self.settings.heartbeat_timeout, Due::Group(GroupDue::HookExpires(instance, number)));
    }

    fn heartbeat(&mut self, hook: Hook, instance: &InstanceId) -> HookAnswer {
        let (number, limit) = (self.mint(), self.settings.hook_limit);
        let now = self.now;
        let Some(MemberModel { hook: Some((armed, since, timer)), .. }) = self.member(instance) else {
            return HookAnswer::NotActive;
        };
        if *armed != hook {
            return HookAnswer::NotActive;
        }
        *timer = number;
        let spent = now.duration_since(*since).unsigned_abs();
        let left = self.settings.heartbeat_timeout.min(limit.saturating_sub(spent));
        self.later(left, Due::Group(GroupDue::HookExpires(instance.clone(), number)));
        HookAnswer::Accepted
    }

    fn answer(&mut self, hook: Hook, instance: &InstanceId, result: HookResult) -> HookAnswer {
        let Some(member) = self.member(instance) else { return HookAnswer::NotActive };
        if member.hook.is_none_or(|(armed, ..)| armed != hook) {
            return HookAnswer::NotActive;
        }
        member.hook = None;
        match (hook, result) {
            (Hook::Launch, HookResult::Continue) => {
                member.state = LifecycleState::PendingProceed;
                self.later(self.settings.proceed_takes, Due::Group(GroupDue::InService(instance.clone())));
            }
            (Hook::Launch, HookResult::Abandon) => {
                self.start_terminate(instance, self.settings.terminate_hook_after_launch_abandon);
                self.reconcile();
            }
            (Hook::Terminate, HookResult::Continue) => self.proceed_to_end(instance),
            (Hook::Terminate, HookResult::Abandon) => member.state = LifecycleState::TerminatingRetained,
        }
        HookAnswer::Accepted
    }

    pub(super) fn group_due(&mut self, due: GroupDue) {
        match due {
            GroupDue::Launch => {
                self.group.launching = self.group.launching.saturating_sub(1);
                if !self.group.launches_suspended && self.counted() < self.group.desired {
                    let instance = self.add_member(LifecycleState::Pending);
                    self.later(self.settings.boot_takes, Due::Group(GroupDue::Booted(instance)));
                }
            }
            GroupDue::Booted(instance) => {
                if let Some(member) = self.member(&instance).filter(|m| m.state == LifecycleState::Pending) {
                    member.state = LifecycleState::PendingWait;
                    self.arm(&instance, Hook::Launch);
                }
            }
            GroupDue::InService(instance) => {
                if let Some(member) = self.member(&instance).filter(|m| m.state == LifecycleState::PendingProceed) {
                    member.state = LifecycleState::InService;
                }
            }
            GroupDue::HookExpires(instance, number) => {
                let armed = self.member(&instance).and_then(|m| m.hook);
                if let Some((hook, _, timer)) = armed
                    && timer == number
                {
                    self.answer(hook, &instance, HookResult::Abandon);
                }
            }
            GroupDue::HealthCheck(instance) => {
                if let Some(member) = self.member(&instance) {
                    member.healthy = false;
                }
                self.start_terminate(&instance, true);
                self.reconcile();
            }
            GroupDue::Ended(instance) => {
                self.end_host(&instance);
                if let Some(member) = self.member(&instance) {
                    member.state = LifecycleState::Terminated;
                }
                self.later(self.settings.terminate_takes, Due::Group(GroupDue::Delisted(instance)));
                self.reconcile();
            }
            GroupDue::Delisted(instance) => self.group.members.retain(|m| m.instance != instance),
        }
    }
}

impl Group for GroupTwin {
    async fn describe(&self) -> Result<GroupState, Fault> {
        self.world
            .call(Call::Describe, World::GROUP, |inner| {
                let members = inner.group.members.iter();
                Ok(GroupState {
                    desired: inner.group.desired,
                    launches_suspended: inner.group.launches_suspended,
                    members: members
                        .map(|m| Member { instance: m.instance.clone(), state: m.state.clone(), healthy: m.healthy })
                        .collect(),
                })
            })
            .await
    }

    async fn heartbeat(&self, hook: Hook, instance: &InstanceId) -> Result<HookAnswer, Fault> {
        self.world.call(Call::Heartbeat, instance.as_str(), |inner| Ok(inner.heartbeat(hook, instance))).await
    }

    async fn complete(&self, hook: Hook, instance: &InstanceId, result: HookResult) -> Result<HookAnswer, Fault> {
        self.world
            .call(Call::Complete, instance.as_str(), |inner| {
                let answer = inner.answer(hook, instance, result);
                if answer == HookAnswer::Accepted {
                    inner.effects.push(Effect::HookAnswered { hook, instance: instance.clone(), result });
                }
                Ok(answer)
            })
            .await
    }

    async fn suspend_launches(&self) -> Result<(), Fault> {
        self.switch_launches(Call::SuspendLaunches, true).await
    }

    async fn resume_launches(&self) -> Result<(), Fault> {
        self.switch_launches(Call::ResumeLaunches, false).await
    }
}

impl GroupTwin {
    async fn switch_launches(&self, call: Call, suspended: bool) -> Result<(), Fault> {
        self.world
            .call(call, World::GROUP, |inner| {
                if inner.group.launches_suspended != suspended {
                    inner.group.launches_suspended = suspended;
                    inner.effects.push(Effect::LaunchesSuspended(suspended));
                }
                inner.reconcile();
                Ok(())
            })
            .await
    }
}
