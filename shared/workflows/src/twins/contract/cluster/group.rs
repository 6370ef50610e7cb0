//! Lifecycle hooks: waited in, answered once, timed out, and what follows.

use lifeboat_domain::event::Transition;
use lifeboat_domain::ids::InstanceId;

use super::{
    Act, HEARTBEAT_SECS, Report, Yard, a_while, another, cleared, complete, eventually, heartbeat, launched, let_in,
    serving, state, state_of, until,
};
use crate::ports::Group;
use crate::ports::group::{Hook, HookAnswer, HookResult, LifecycleState};

const LIMIT_SECS: u64 = 172_800;

pub(super) async fn play(yard: &impl Yard, report: &mut Report) {
    report.case("a launch waits in its hook until it is let in", waits(yard)).await;
    report.case("before its wait there is nothing to answer", before_its_wait(yard)).await;
    report.case("a hook is answered once", once(yard)).await;
    report.case("another hook's and another instance's answer are nobody's", others(yard)).await;
    report.case("a heartbeat restarts the timer", restarts(yard)).await;
    report.case("heartbeats never outlast the limit", limit(yard)).await;
    report.case("an unanswered launch is abandoned and replaced", unanswered_launch(yard)).await;
    report
        .case("an abandoned launch is replaced while it still waits in the terminate hook", abandoned_launch(yard))
        .await;
    report.case("a replacement waits in its hook while its predecessor waits in the other", replacement(yard)).await;
    report.case("a terminate hook that is let go ends the instance", let_go(yard)).await;
    report.case("an abandoned terminate hook retains the instance, which does not count", retained(yard)).await;
    report.case("an unanswered terminate hook retains the instance", unanswered_end(yard)).await;
    report.case("while launches are suspended nothing is launched, and afterwards it is", suspended(yard)).await;
    report.case("launches that are suspended twice are resumed once", suspended_twice(yard)).await;
    report.case("a dead instance is found unhealthy, and meets its hook", dead(yard)).await;
    report.case("shrinking to nothing launches no successor", shrinks(yard)).await;
    report.case("each wait is told once, by instance and direction", told(yard)).await;
}

async fn waits(yard: &impl Yard) {
    let instance = launched(yard).await;
    a_while(yard).await;
    let now = state(yard).await;
    assert_eq!((now.desired, now.launches_suspended, now.members.len()), (1, false, 1));
    assert_eq!((&now.members[0].state, now.members[0].healthy), (&LifecycleState::PendingWait, true));
    assert_eq!(complete(yard, Hook::Launch, &instance, HookResult::Continue).await, HookAnswer::Accepted);
    until(yard, &instance, LifecycleState::InService).await;
}

async fn before_its_wait(yard: &impl Yard) {
    cleared(yard).await;
    yard.act(Act::HoldBoot(true)).await;
    yard.act(Act::Desire(1)).await;
    let instance = another(yard, LifecycleState::Pending, &[]).await;
    assert_eq!(complete(yard, Hook::Launch, &instance, HookResult::Continue).await, HookAnswer::NotActive);
    assert_eq!(heartbeat(yard, Hook::Launch, &instance).await, HookAnswer::NotActive);
    a_while(yard).await;
    assert_eq!(state_of(yard, &instance).await, Some(LifecycleState::Pending), "and the answer is not kept for later");
}

async fn once(yard: &impl Yard) {
    let instance = launched(yard).await;
    let_in(yard, &instance).await;
    for result in [HookResult::Continue, HookResult::Abandon] {
        assert_eq!(
            complete(yard, Hook::Launch, &instance, result).await,
            HookAnswer::NotActive,
            "answered is answered"
        );
    }
    assert_eq!(heartbeat(yard, Hook::Launch, &instance).await, HookAnswer::NotActive);
    a_while(yard).await;
    assert_eq!(state_of(yard, &instance).await, Some(LifecycleState::InService));
}

async fn others(yard: &impl Yard) {
    let instance = launched(yard).await;
    let nobody = InstanceId::parse("i-0123456789abcdef0").expect("an instance's id");
    assert_eq!(complete(yard, Hook::Terminate, &instance, HookResult::Continue).await, HookAnswer::NotActive);
    assert_eq!(heartbeat(yard, Hook::Terminate, &instance).await, HookAnswer::NotActive);
    assert_eq!(complete(yard, Hook::Launch, &nobody, HookResult::Continue).await, HookAnswer::NotActive);
    assert_eq!(heartbeat(yard, Hook::Launch, &nobody).await, HookAnswer::NotActive);
    assert_eq!(state_of(yard, &instance).await, Some(LifecycleState::PendingWait));
}

async fn restarts(yard: &impl Yard) {
    let instance = launched(yard).await;
    for _ in 0..3 {
        yard.pass(HEARTBEAT_SECS - 600).await;
        assert_eq!(heartbeat(yard, Hook::Launch, &instance).await, HookAnswer::Accepted);
        assert_eq!(state_of(yard, &instance).await, Some(LifecycleState::PendingWait));
    }
    yard.pass(HEARTBEAT_SECS + 1).await;
    until(yard, &instance, LifecycleState::TerminatingWait).await;
}

async fn limit(yard: &impl Yard) {
    let instance = launched(yard).await;
    let step = HEARTBEAT_SECS - 1200;
    for _ in 0..LIMIT_SECS / step {
        yard.pass(step).await;
        assert_eq!(heartbeat(yard, Hook::Launch, &instance).await, HookAnswer::Accepted);
    }
    yard.pass(step).await;
    until(yard, &instance, LifecycleState::TerminatingWait).await;
}

async fn unanswered_launch(yard: &impl Yard) {
    let first = launched(yard).await;
    yard.pass(HEARTBEAT_SECS + 1).await;
    let second = another(yard, LifecycleState::PendingWait, &[&first]).await;
    assert_ne!(first, second);
    assert_eq!(complete(yard, Hook::Launch, &first, HookResult::Continue).await, HookAnswer::NotActive, "too late");
}

async fn abandoned_launch(yard: &impl Yard) {
    let first = launched(yard).await;
    assert_eq!(complete(yard, Hook::Launch, &first, HookResult::Abandon).await, HookAnswer::Accepted);
    let second = another(yard, LifecycleState::PendingWait, &[&first]).await;
    assert_eq!(state_of(yard, &first).await, Some(LifecycleState::TerminatingWait));
    assert_eq!(complete(yard, Hook::Terminate, &first, HookResult::Continue).await, HookAnswer::Accepted);
    let_in(yard, &second).await;
    gone(yard, &first).await;
}

/// Ended, and in the end not listed.
async fn gone(yard: &impl Yard, instance: &InstanceId) {
    let what = format!("the end of {instance}");
    eventually(yard, &what, || async { state_of(yard, instance).await.is_none().then_some(()) }).await;
}

async fn replacement(yard: &impl Yard) {
    let old = serving(yard).await;
    yard.act(Act::Replace(old.clone())).await;
    let new = another(yard, LifecycleState::PendingWait, &[&old]).await;
    assert_eq!(state_of(yard, &old).await, Some(LifecycleState::TerminatingWait));
    for (hook, instance) in [(Hook::Terminate, &old), (Hook::Launch, &new)] {
        assert_eq!(heartbeat(yard, hook, instance).await, HookAnswer::Accepted);
    }
    let members = state(yard).await.members;
    let healthy = |i: &InstanceId| members.iter().find(|m| m.instance == *i).map(|m| m.healthy);
    assert_eq!((healthy(&old), healthy(&new)), (Some(false), Some(true)));
    let_in(yard, &new).await;
    assert_eq!(state_of(yard, &old).await, Some(LifecycleState::TerminatingWait), "it waits for its own answer");
    assert_eq!(complete(yard, Hook::Terminate, &old, HookResult::Continue).await, HookAnswer::Accepted);
    gone(yard, &old).await;
    assert_eq!(state_of(yard, &new).await, Some(LifecycleState::InService));
}

async fn let_go(yard: &impl Yard) {
    let old = serving(yard).await;
    yard.act(Act::LetGo(old.clone())).await;
    until(yard, &old, LifecycleState::TerminatingWait).await;
    assert_eq!(complete(yard, Hook::Terminate, &old, HookResult::Continue).await, HookAnswer::Accepted);
    assert_eq!(complete(yard, Hook::Terminate, &old, HookResult::Abandon).await, HookAnswer::NotActive);
    gone(yard, &old).await;
}

async fn assert_retained(yard: &impl Yard, old: &InstanceId) {
    until(yard, old, LifecycleState::TerminatingRetained).await;
    another(yard, LifecycleState::PendingWait, &[old]).await;
    for result in [HookResult::Continue, HookResult::Abandon] {
        assert_eq!(complete(yard, Hook::Terminate, old, result).await, HookAnswer::NotActive, "its hook is over");
    }
    a_while(yard).await;
    assert_eq!(state_of(yard, old).await, Some(LifecycleState::TerminatingRetained), "it stays");
    yard.act(Act::LetGo(old.clone())).await;
    gone(yard, old).await;
}

async fn retained(yard: &impl Yard) {
    let old = serving(yard).await;
    yard.act(Act::Replace(old.clone())).await;
    until(yard, &old, LifecycleState::TerminatingWait).await;
    assert_eq!(complete(yard, Hook::Terminate, &old, HookResult::Abandon).await, HookAnswer::Accepted);
    assert_retained(yard, &old).await;
}

async fn unanswered_end(yard: &impl Yard) {
    let old = serving(yard).await;
    yard.act(Act::Replace(old.clone())).await;
    until(yard, &old, LifecycleState::TerminatingWait).await;
    // Its successor's hook would time out too.
    let new = another(yard, LifecycleState::PendingWait, &[&old]).await;
    let_in(yard, &new).await;
    yard.pass(HEARTBEAT_SECS + 1).await;
    until(yard, &old, LifecycleState::TerminatingRetained).await;
    assert_eq!(state_of(yard, &new).await, Some(LifecycleState::InService));
}

async fn suspended(yard: &impl Yard) {
    let first = launched(yard).await;
    yard.group().suspend_launches().await.expect("suspended");
    assert!(state(yard).await.launches_suspended, "it is read back");
    assert_eq!(complete(yard, Hook::Launch, &first, HookResult::Abandon).await, HookAnswer::Accepted, "hooks go on");
    a_while(yard).await;
    let now = state(yard).await;
    assert_eq!((now.desired, now.members.len()), (1, 1), "{now:?}");
    yard.group().resume_launches().await.expect("resumed");
    assert!(!state(yard).await.launches_suspended);
    another(yard, LifecycleState::PendingWait, &[&first]).await;
}

async fn suspended_twice(yard: &impl Yard) {
    cleared(yard).await;
    for _ in 0..2 {
        yard.group().suspend_launches().await.expect("done already is success");
    }
    yard.act(Act::Desire(1)).await;
    a_while(yard).await;
    assert_eq!(state(yard).await.members, []);
    for _ in 0..2 {
        yard.group().resume_launches().await.expect("done already is success");
    }
    another(yard, LifecycleState::PendingWait, &[]).await;
    assert_eq!(state(yard).await.members.len(), 1, "one is wanted, so one is launched");
}

async fn dead(yard: &impl Yard) {
    let old = serving(yard).await;
    yard.act(Act::Kill(old.clone())).await;
    let new = another(yard, LifecycleState::PendingWait, &[&old]).await;
    let members = state(yard).await.members;
    let of = |i: &InstanceId| members.iter().find(|m| m.instance == *i).map(|m| (m.state.clone(), m.healthy));
    assert_eq!(of(&old), Some((LifecycleState::TerminatingWait, false)));
    assert_eq!(of(&new), Some((LifecycleState::PendingWait, true)));
    assert_eq!(complete(yard, Hook::Terminate, &old, HookResult::Continue).await, HookAnswer::Accepted);
    gone(yard, &old).await;
}

async fn shrinks(yard: &impl Yard) {
    let old = serving(yard).await;
    yard.act(Act::Desire(0)).await;
    until(yard, &old, LifecycleState::TerminatingWait).await;
    a_while(yard).await;
    let now = state(yard).await;
    assert_eq!((now.desired, now.members.len()), (0, 1), "{now:?}");
}

async fn told(yard: &impl Yard) {
    let old = serving(yard).await;
    yard.act(Act::Replace(old.clone())).await;
    let new = another(yard, LifecycleState::PendingWait, &[&old]).await;
    heartbeat(yard, Hook::Launch, &new).await;
    let waits = [(Transition::Launching, &old), (Transition::Terminating, &old), (Transition::Launching, &new)];
    for (transition, instance) in waits {
        let what = format!("the event of {instance}");
        let seen = eventually(yard, &what, || async {
            let of = |(t, i): &(Transition, InstanceId)| *t == transition && i == instance;
            let count = yard.told().await.iter().filter(|e| of(e)).count();
            (count > 0).then_some(count)
        })
        .await;
        assert_eq!(seen, 1, "{transition:?} of {instance}");
    }
    assert!(!yard.told().await.contains(&(Transition::Terminating, new)));
}
