use std::time::Duration;

use lifeboat_domain::ids::InstanceId;

use super::super::*;
use crate::ports::Group;
use crate::ports::group::{Hook, HookAnswer, HookResult, LifecycleState};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

async fn first_instance(world: &World) -> InstanceId {
    world.set_desired(1);
    world.advance(secs(10));
    world.group().describe().await.unwrap().members[0].instance.clone()
}

#[tokio::test]
async fn a_launch_waits_in_its_hook_and_is_answered_once() {
    let world = World::new();
    world.set_desired(1);
    world.advance(secs(2));
    let instance = world.instances().remove(0);
    assert_eq!(world.lifecycle(&instance), Some(LifecycleState::Pending));
    let early = world.group().complete(Hook::Launch, &instance, HookResult::Continue).await.unwrap();
    assert_eq!(early, HookAnswer::NotActive, "before the wait state there is nothing to answer");
    world.advance(secs(5));
    assert_eq!(world.lifecycle(&instance), Some(LifecycleState::PendingWait));
    assert_eq!(world.take_events().len(), 1);
    let other = world.group().complete(Hook::Terminate, &instance, HookResult::Continue).await.unwrap();
    assert_eq!(other, HookAnswer::NotActive, "another hook");
    let answer = world.group().complete(Hook::Launch, &instance, HookResult::Continue).await.unwrap();
    assert_eq!(answer, HookAnswer::Accepted);
    assert_eq!(world.lifecycle(&instance), Some(LifecycleState::PendingProceed));
    let again = world.group().complete(Hook::Launch, &instance, HookResult::Abandon).await.unwrap();
    assert_eq!(again, HookAnswer::NotActive, "answered is answered");
    assert_eq!(world.group().heartbeat(Hook::Launch, &instance).await.unwrap(), HookAnswer::NotActive);
    world.advance(secs(2));
    assert_eq!(world.lifecycle(&instance), Some(LifecycleState::InService));
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn heartbeats_restart_the_timer_and_never_outlast_the_limit() {
    let world = World::new();
    world.set(|s| (s.heartbeat_timeout, s.hook_limit) = (secs(100), secs(250)));
    let instance = first_instance(&world).await;
    for _ in 0..3 {
        world.advance(secs(70));
        assert_eq!(world.group().heartbeat(Hook::Launch, &instance).await.unwrap(), HookAnswer::Accepted);
        assert_eq!(world.lifecycle(&instance), Some(LifecycleState::PendingWait));
    }
    world.advance(secs(50));
    assert_eq!(world.lifecycle(&instance), Some(LifecycleState::TerminatingWait), "the limit has passed");
}

#[tokio::test]
async fn a_silent_launch_hook_ends_as_abandon_and_another_instance_is_launched() {
    let world = World::new();
    let instance = first_instance(&world).await;
    world.advance(secs(7200));
    assert_eq!(world.lifecycle(&instance), Some(LifecycleState::TerminatingWait));
    world.advance(secs(10));
    let members = world.group().describe().await.unwrap().members;
    assert_eq!(members.len(), 2);
    assert_eq!(members[1].state, LifecycleState::PendingWait);
    assert_eq!(world.effects(), [], "nobody answered");
}

#[tokio::test]
async fn an_abandoned_first_launch_without_a_terminate_hook_goes_straight_away() {
    let world = World::new();
    world.set(|s| s.terminate_hook_after_launch_abandon = false);
    let instance = first_instance(&world).await;
    world.group().complete(Hook::Launch, &instance, HookResult::Abandon).await.unwrap();
    assert_eq!(world.lifecycle(&instance), Some(LifecycleState::TerminatingProceed));
}

#[tokio::test]
async fn nothing_is_launched_while_launches_are_suspended_and_what_waits_goes_on() {
    let world = World::new();
    let instance = first_instance(&world).await;
    world.group().suspend_launches().await.unwrap();
    world.group().suspend_launches().await.unwrap();
    world.group().complete(Hook::Launch, &instance, HookResult::Abandon).await.unwrap();
    world.advance(secs(100));
    let state = world.group().describe().await.unwrap();
    assert!(state.launches_suspended);
    assert_eq!(state.members.len(), 1);
    world.group().resume_launches().await.unwrap();
    world.advance(secs(10));
    assert_eq!(world.instances().len(), 2);
    let switches = world.effects().iter().filter(|e| matches!(e, Effect::LaunchesSuspended(_))).count();
    assert_eq!(switches, 2, "suspended once, resumed once");
}

#[tokio::test]
async fn a_replacement_is_launched_while_its_predecessor_still_waits_in_the_terminate_hook() {
    let (world, old) = World::serving();
    world.replace(&old);
    assert_eq!(world.lifecycle(&old), Some(LifecycleState::TerminatingWait));
    assert!(world.node(&old).exists(), "the old node goes on");
    world.advance(secs(10));
    let new = world.instances().remove(1);
    assert_eq!(world.lifecycle(&new), Some(LifecycleState::PendingWait));
    let transitions: Vec<_> = world.take_events().iter().map(Event::hint).collect();
    assert_eq!(transitions.len(), 2);
    world.group().complete(Hook::Terminate, &old, HookResult::Continue).await.unwrap();
    assert_eq!(world.lifecycle(&old), Some(LifecycleState::TerminatingProceed));
    assert!(!world.node(&old).exists(), "its processes end first");
    assert!(world.attachment().is_some(), "its address only when the instance has ended");
    world.advance(secs(31));
    assert_eq!(world.attachment(), None);
    world.advance(secs(31));
    assert_eq!(world.instances(), [new]);
}

#[tokio::test]
async fn an_abandoned_terminate_hook_retains_the_instance_without_counting_it_until_somebody_lets_it_go() {
    let (world, old) = World::serving();
    world.replace(&old);
    world.group().complete(Hook::Terminate, &old, HookResult::Abandon).await.unwrap();
    world.advance(secs(10_000));
    assert_eq!(world.lifecycle(&old), Some(LifecycleState::TerminatingRetained));
    assert!(world.node(&old).exists());
    assert!(world.attachment().is_some(), "it keeps the address");
    let answer = world.group().complete(Hook::Terminate, &old, HookResult::Continue).await.unwrap();
    assert_eq!(answer, HookAnswer::NotActive, "it has no hook any more");
    assert_eq!(world.group().describe().await.unwrap().members.len(), 3, "itself, one that timed out, its successor");
    world.terminate(&old);
    world.advance(secs(61));
    assert_eq!(world.lifecycle(&old), None);
}

#[tokio::test]
async fn a_killed_instance_is_noticed_late_and_meets_its_terminate_hook_all_the_same() {
    let (world, old) = World::serving();
    world.kill(&old);
    assert_eq!(world.attachment(), None);
    assert_eq!(world.lifecycle(&old), Some(LifecycleState::InService), "not noticed yet");
    world.advance(secs(20));
    assert_eq!(world.lifecycle(&old), Some(LifecycleState::TerminatingWait));
    assert_eq!(world.instances().len(), 2);
    let members = world.group().describe().await.unwrap().members;
    assert_eq!((members[0].healthy, members[1].healthy), (false, true));
}

#[tokio::test]
async fn shrinking_to_nothing_launches_no_successor() {
    let (world, old) = World::serving();
    world.set_desired(0);
    world.advance(secs(100));
    assert_eq!(world.instances(), std::slice::from_ref(&old));
    assert_eq!(world.lifecycle(&old), Some(LifecycleState::TerminatingWait));
}
