use std::time::Duration;

use lifeboat_domain::ids::{InstanceId, JobId};

use super::super::*;
use crate::ports::hosts::{Agent, CommandId, CommandState, ExecutionId, ExecutionState, HostDocument, SendOutcome};
use crate::ports::{Addresses, Hosts, Node, Nodes};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn job(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

async fn sent(world: &World, instance: &InstanceId, document: HostDocument, name: &str) -> CommandId {
    match world.hosts().send(instance, document, &job(name)).await.unwrap() {
        SendOutcome::Sent(id) => id,
        SendOutcome::NotReady => panic!("the agent is there"),
    }
}

async fn ended(world: &World, instance: &InstanceId, command: &CommandId) -> CommandState {
    world.advance(secs(30));
    world.hosts().command(instance, command).await.unwrap()
}

fn launched() -> (World, InstanceId) {
    let world = World::new();
    world.set_desired(1);
    world.advance(secs(10));
    let instance = world.instances().remove(0);
    (world, instance)
}

#[tokio::test]
async fn an_agent_registers_after_a_while_and_commands_are_refused_before() {
    let (world, instance) = launched();
    assert_eq!(world.hosts().agent(&instance).await.unwrap(), Agent::Absent);
    let early = world.hosts().send(&instance, HostDocument::Prepare, &job("r-prepare-1")).await.unwrap();
    assert_eq!(early, SendOutcome::NotReady);
    world.advance(secs(30));
    let address = world.address_of(&instance);
    assert_eq!(world.hosts().agent(&instance).await.unwrap(), Agent::Online { address });
}

#[tokio::test]
async fn a_prepare_is_invisible_then_running_then_a_node_boots() {
    let (world, instance) = launched();
    world.advance(secs(30));
    let command = sent(&world, &instance, HostDocument::Prepare, "r-prepare-1").await;
    assert_eq!(world.hosts().command(&instance, &command).await.unwrap(), CommandState::NotVisible);
    assert_eq!(world.hosts().find(&instance, &job("r-prepare-1")).await.unwrap(), None, "not found yet either");
    world.advance(secs(2));
    assert_eq!(world.hosts().command(&instance, &command).await.unwrap(), CommandState::Running);
    assert_eq!(world.hosts().find(&instance, &job("r-prepare-1")).await.unwrap(), Some(command.clone()));
    let node = world.nodes().at(&world.address_of(&instance));
    node.ready().await.unwrap_err();
    world.advance(secs(19));
    let CommandState::Succeeded { stdout } = world.hosts().command(&instance, &command).await.unwrap() else {
        panic!("it has ended")
    };
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&answer["ok"], &answer["address"]), (&true.into(), &world.address_of(&instance).into()));
    world.advance(secs(2));
    assert!(!node.ready().await.unwrap());
    node.schema().await.unwrap_err();
    world.advance(secs(5));
    assert!(node.ready().await.unwrap());
    assert_eq!(node.schema().await.unwrap(), []);
}

#[tokio::test]
async fn a_job_is_obeyed_once_however_often_it_is_sent() {
    let (world, instance) = launched();
    world.advance(secs(30));
    let first = sent(&world, &instance, HostDocument::Prepare, "r-prepare-1").await;
    let second = sent(&world, &instance, HostDocument::Prepare, "r-prepare-1").await;
    let one = ended(&world, &instance, &first).await;
    let two = world.hosts().command(&instance, &second).await.unwrap();
    assert!(matches!(&two, CommandState::Failed { exit_code: Some(75), .. }), "busy: {two:?}");
    assert_eq!(world.hosts().find(&instance, &job("r-prepare-1")).await.unwrap(), Some(second), "the newest");
    world.node(&instance).seed();
    let third = sent(&world, &instance, HostDocument::Prepare, "r-prepare-1").await;
    assert_eq!(ended(&world, &instance, &third).await, one, "the stored answer");
    assert_eq!(world.node(&instance).data().len(), 3, "and no second effect");
    let next = sent(&world, &instance, HostDocument::Prepare, "r-prepare-2").await;
    assert!(matches!(ended(&world, &instance, &next).await, CommandState::Succeeded { .. }));
    assert_eq!(world.node(&instance).data().len(), 3, "a running node is left alone");
    let obeyed = world.effects().iter().filter(|e| e.to_string().contains("obeyed")).count();
    assert_eq!(obeyed, 2);
}

#[tokio::test]
async fn a_failed_job_is_remembered_too_and_a_job_cut_short_gives_way_to_a_later_one() {
    let (world, instance) = launched();
    world.advance(secs(30));
    world.script_command(HostDocument::Prepare, CommandScript::Exit { code: 5, stderr: "no image".into() });
    let failed = sent(&world, &instance, HostDocument::Prepare, "r-prepare-1").await;
    let end = ended(&world, &instance, &failed).await;
    assert!(matches!(&end, CommandState::Failed { exit_code: Some(5), stderr, .. } if stderr == "no image"), "{end:?}");
    let again = sent(&world, &instance, HostDocument::Prepare, "r-prepare-1").await;
    assert!(matches!(ended(&world, &instance, &again).await, CommandState::Failed { exit_code: Some(5), .. }));

    world.script_command(HostDocument::Prepare, CommandScript::Hang);
    let hung = sent(&world, &instance, HostDocument::Prepare, "r-prepare-2").await;
    assert_eq!(ended(&world, &instance, &hung).await, CommandState::Running);
    world.advance(secs(7200));
    let end = world.hosts().command(&instance, &hung).await.unwrap();
    assert!(
        matches!(&end, CommandState::Failed { details, exit_code: Some(137), .. } if details == "ExecutionTimedOut")
    );
    let later = sent(&world, &instance, HostDocument::Prepare, "r-prepare-3").await;
    assert!(matches!(ended(&world, &instance, &later).await, CommandState::Succeeded { .. }));
    let late = sent(&world, &instance, HostDocument::Prepare, "r-prepare-2").await;
    assert!(matches!(ended(&world, &instance, &late).await, CommandState::Failed { exit_code: Some(75), .. }));

    world.script_command(HostDocument::Probe, CommandScript::Undelivered("Undeliverable".into()));
    let lost = sent(&world, &instance, HostDocument::Probe, "r-probe-1").await;
    let end = ended(&world, &instance, &lost).await;
    assert!(matches!(&end, CommandState::Failed { details, .. } if details == "Undeliverable"), "{end:?}");
}

#[tokio::test]
async fn a_hung_host_is_called_online_for_minutes_and_its_commands_run_for_hours() {
    let (world, instance) = World::serving();
    world.hang_host(&instance);
    assert!(matches!(world.hosts().agent(&instance).await.unwrap(), Agent::Online { .. }), "stale");
    world.nodes().at(&world.address_of(&instance)).live().await.unwrap_err();
    let command = sent(&world, &instance, HostDocument::Probe, "r-probe-1").await;
    assert_eq!(ended(&world, &instance, &command).await, CommandState::Running);
    world.advance(secs(300));
    assert_eq!(world.hosts().agent(&instance).await.unwrap(), Agent::Lost);
    world.advance(secs(7200));
    let end = world.hosts().command(&instance, &command).await.unwrap();
    assert!(matches!(&end, CommandState::Failed { details, .. } if details == "DeliveryTimedOut"), "{end:?}");
    world.kill(&instance);
    let refused = world.hosts().send(&instance, HostDocument::Probe, &job("r-probe-2")).await.unwrap();
    assert_eq!(refused, SendOutcome::NotReady);
    assert_eq!(world.hosts().agent(&instance).await.unwrap(), Agent::Lost, "a terminated one is listed a while yet");
    world.advance(secs(60));
    assert_eq!(world.hosts().agent(&instance).await.unwrap(), Agent::Absent);
}

async fn execution(world: &World, id: &ExecutionId) -> ExecutionState {
    world.advance(secs(15));
    world.addresses().execution(id).await.unwrap()
}

async fn moved(world: &World, to: &InstanceId, expected: Option<&str>, force: bool) -> ExecutionState {
    let id = world.addresses().start_move(to, expected, force).await.unwrap();
    assert_eq!(world.addresses().execution(&id).await.unwrap(), ExecutionState::Running);
    execution(world, &id).await
}

fn failure(state: ExecutionState) -> String {
    match state {
        ExecutionState::Failed { status, message } => format!("{status}: {message}"),
        other @ (ExecutionState::Running | ExecutionState::Succeeded { .. }) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_address_moves_only_from_the_attachment_that_was_named() {
    let (world, old) = World::serving();
    world.replace(&old);
    world.advance(secs(10));
    let new = world.instances().remove(1);
    let id = world.addresses().start_read().await.unwrap();
    let ExecutionState::Succeeded { outputs } = execution(&world, &id).await else { panic!("a read succeeds") };
    let attachment = outputs["readAttachment.AttachmentId"][0].clone();
    assert_eq!(outputs["readAttachment.InstanceId"], [old.to_string()]);
    assert_eq!((&outputs["read.Status"][0], outputs["read.Groups"].len()), (&"in-use".to_owned(), 2));

    for wrong in [None, Some("eni-attach-00000000000000ff")] {
        let text = failure(moved(&world, &new, wrong, false).await);
        assert!(text.contains("Failed: expected attachment") && text.ends_with(&attachment), "{text}");
    }
    assert!(matches!(moved(&world, &new, Some(&attachment), false).await, ExecutionState::Succeeded { .. }));
    assert_eq!(world.attachment().unwrap().1, new);
    assert_ne!(world.attachment().unwrap().0, attachment, "a new attachment has a new id");
    assert!(matches!(moved(&world, &new, Some(&attachment), false).await, ExecutionState::Succeeded { .. }), "there");
    let text = failure(moved(&world, &old, Some(&attachment), false).await);
    assert!(text.contains("expected attachment"), "a late move takes it from nobody: {text}");
    let attached = world.effects().iter().filter(|e| matches!(e, Effect::Attached { .. })).count();
    assert_eq!(attached, 1);
}

#[tokio::test]
async fn of_two_moves_of_a_free_address_one_attaches_and_the_other_finds_it_in_use() {
    let (world, old) = World::serving();
    world.replace(&old);
    world.advance(secs(10));
    let new = world.instances().remove(1);
    world.kill(&old);
    let to_new = world.addresses().start_move(&new, None, false).await.unwrap();
    let to_old = world.addresses().start_move(&old, None, false).await.unwrap();
    assert!(matches!(execution(&world, &to_new).await, ExecutionState::Succeeded { .. }));
    assert!(failure(execution(&world, &to_old).await).contains("InUse"));
    assert_eq!(world.attachment().unwrap().1, new);
}

#[tokio::test]
async fn a_hung_host_does_not_let_go_unless_forced_and_a_dead_one_is_no_target() {
    let (world, old) = World::serving();
    world.replace(&old);
    world.advance(secs(10));
    let new = world.instances().remove(1);
    let attachment = world.attachment().unwrap().0;
    world.hang_host(&old);
    let id = world.addresses().start_move(&new, Some(&attachment), false).await.unwrap();
    assert_eq!(execution(&world, &id).await, ExecutionState::Running);
    world.advance(secs(120));
    assert!(failure(execution(&world, &id).await).starts_with("TimedOut"));
    assert!(matches!(moved(&world, &new, Some(&attachment), true).await, ExecutionState::Succeeded { .. }));
    let attachment = world.attachment().unwrap().0;
    world.kill(&old);
    assert!(failure(moved(&world, &old, Some(&attachment), true).await).contains("not running"));
    assert_eq!(world.attachment(), None, "and the address hangs in the air");
    world.fail_next_execution("Cancelled", "by a person");
    assert_eq!(failure(moved(&world, &new, None, false).await), "Cancelled: by a person");
    let unknown = ExecutionId("nope".into());
    world.addresses().execution(&unknown).await.unwrap_err();
}

#[tokio::test]
async fn requests_to_the_fixed_address_reach_who_has_it_and_are_counted_there() {
    let (world, instance) = World::serving();
    let fixed = world.nodes().at(World::FIXED_ADDRESS);
    assert!(fixed.ready().await.unwrap());
    fixed.schema().await.unwrap();
    world.nodes().at(&world.address_of(&instance)).schema().await.unwrap();
    let command = sent(&world, &instance, HostDocument::Probe, "r-probe-1").await;
    let CommandState::Succeeded { stdout } = ended(&world, &instance, &command).await else { panic!("it ends") };
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&answer["accepted_via_fixed"], &answer["container_running"]), (&2.into(), &true.into()));
    world.set_address_groups(&[]);
    fixed.ready().await.unwrap_err();
    world.set_address_groups(&[READER_GROUP]);
    fixed.ready().await.unwrap();
    world.kill(&instance);
    fixed.ready().await.unwrap_err();
}
