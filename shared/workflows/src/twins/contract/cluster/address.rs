//! The fixed address through Automation: read, moved from the attachment that was seen and from no other, opened and shut.

use std::collections::BTreeMap;

use lifeboat_domain::ids::InstanceId;

use super::{Act, Report, Yard, another, cleared, ended, eventually, let_in, serving, until};
use crate::ports::Addresses;
use crate::ports::fault::{Happened, Retry};
use crate::ports::group::LifecycleState;
use crate::ports::hosts::{ExecutionId, ExecutionState};

/// What AWS gives for an output of a step that did not run.
const NO_OUTPUT: &str = "No output available yet because the step is not successfully executed";
/// An attachment that never was.
const NEVER: &str = "eni-attach-00000000000000ff";

pub(super) async fn play(yard: &impl Yard, report: &mut Report) {
    report.case("a detached address has no attachment, and a text says so", detached(yard)).await;
    report.case("a free address is attached, opened and confirmed", attached(yard)).await;
    report.case("a move to where the address is changes nothing", there_already(yard)).await;
    report.case("a move that expects another attachment stops", wrong(yard)).await;
    report.case("a move from the attachment that was seen takes the address along", moves(yard)).await;
    report.case("a move that comes late takes the address from nobody", late(yard)).await;
    report.case("a move of an address that was let go of meanwhile stops", let_go(yard)).await;
    report.case("of two moves of a free address one attaches it", two(yard)).await;
    report.case("a dead instance is no target", dead_target(yard)).await;
    report.case("an instance that ends frees the address", freed(yard)).await;
    report.case("a host that hangs lets go only when forced", hung(yard)).await;
    report.case("writers are shut out and admitted, of the named attachment alone", writers(yard)).await;
    report.case("an execution that a person stops is cancelled", stopped(yard)).await;
    report.case("an execution that never was is a fault for good", unknown(yard)).await;
}

type Outputs = BTreeMap<String, Vec<String>>;

fn succeeded(end: ExecutionState) -> Outputs {
    match end {
        ExecutionState::Succeeded { outputs } => outputs,
        other @ (ExecutionState::Running | ExecutionState::Failed { .. }) => panic!("{other:?}"),
    }
}

fn failed(end: ExecutionState) -> (String, String) {
    match end {
        ExecutionState::Failed { status, message } => (status, message),
        other @ (ExecutionState::Running | ExecutionState::Succeeded { .. }) => panic!("{other:?}"),
    }
}

async fn read(yard: &impl Yard) -> Outputs {
    let id = yard.addresses().start_read().await.expect("started");
    succeeded(ended(yard, &id).await)
}

fn one(outputs: &Outputs, name: &str) -> String {
    match outputs.get(name).map(Vec::as_slice) {
        Some([value]) => value.clone(),
        other => panic!("{name} is one value, not {other:?}"),
    }
}

/// The attachment: its id and instance.
async fn attachment(yard: &impl Yard) -> (String, String) {
    let outputs = read(yard).await;
    assert_ne!(one(&outputs, "read.Status"), "available");
    (one(&outputs, "readAttachment.AttachmentId"), one(&outputs, "readAttachment.InstanceId"))
}

async fn moved(yard: &impl Yard, to: &InstanceId, expected: Option<&str>, force: bool) -> ExecutionState {
    let id = yard.addresses().start_move(to, expected, force).await.expect("started");
    ended(yard, &id).await
}

/// A serving instance that has the address; the attachment's id.
async fn holder(yard: &impl Yard) -> (InstanceId, String) {
    let instance = serving(yard).await;
    let outputs = succeeded(moved(yard, &instance, None, false).await);
    (instance, one(&outputs, "confirm.AttachmentId"))
}

/// Beside it a successor, in service too.
async fn two_instances(yard: &impl Yard, old: &InstanceId) -> InstanceId {
    yard.act(Act::Replace(old.clone())).await;
    let new = another(yard, LifecycleState::PendingWait, &[old]).await;
    let_in(yard, &new).await;
    until(yard, old, LifecycleState::TerminatingWait).await;
    new
}

async fn detached(yard: &impl Yard) {
    cleared(yard).await;
    let outputs = read(yard).await;
    let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
    assert_eq!(names, ["read.Groups", "read.Status", "readAttachment.AttachmentId", "readAttachment.InstanceId"]);
    assert_eq!(one(&outputs, "read.Status"), "available");
    for name in ["readAttachment.AttachmentId", "readAttachment.InstanceId"] {
        assert_eq!(one(&outputs, name), NO_OUTPUT, "not absent: a text");
    }
}

async fn attached(yard: &impl Yard) {
    let instance = serving(yard).await;
    let outputs = succeeded(moved(yard, &instance, None, false).await);
    let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
    assert_eq!(names, ["confirm.AttachmentId", "confirm.Groups", "confirm.InstanceId", "confirm.Status"]);
    assert_eq!(one(&outputs, "confirm.InstanceId"), instance.to_string());
    assert_eq!((one(&outputs, "confirm.Status").as_str(), outputs["confirm.Groups"].len()), ("in-use", 2));
    let (id, of) = attachment(yard).await;
    assert_eq!((id.as_str(), of), (one(&outputs, "confirm.AttachmentId").as_str(), instance.to_string()));
    assert!(id.starts_with("eni-attach-"), "{id}");
}

async fn there_already(yard: &impl Yard) {
    let (instance, id) = holder(yard).await;
    for expected in [None, Some(id.as_str()), Some(NEVER)] {
        let outputs = succeeded(moved(yard, &instance, expected, false).await);
        assert_eq!(one(&outputs, "confirm.AttachmentId"), id, "{expected:?}");
    }
}

async fn wrong(yard: &impl Yard) {
    let (old, id) = holder(yard).await;
    let new = two_instances(yard, &old).await;
    for (expected, force) in [(None, false), (Some(NEVER), false), (Some(NEVER), true)] {
        let (status, message) = failed(moved(yard, &new, expected, force).await);
        assert_eq!(status, "Failed", "{message}");
        assert!(message.contains(&id), "the message says what is there: {message}");
    }
    assert_eq!(attachment(yard).await, (id, old.to_string()), "nothing moved");
}

async fn moves(yard: &impl Yard) {
    let (old, id) = holder(yard).await;
    let new = two_instances(yard, &old).await;
    let outputs = succeeded(moved(yard, &new, Some(&id), false).await);
    assert_eq!(one(&outputs, "confirm.InstanceId"), new.to_string());
    assert_ne!(one(&outputs, "confirm.AttachmentId"), id, "an attachment's id never comes back");
}

async fn late(yard: &impl Yard) {
    let (old, id) = holder(yard).await;
    let new = two_instances(yard, &old).await;
    succeeded(moved(yard, &new, Some(&id), false).await);
    let now = attachment(yard).await;
    assert_eq!(failed(moved(yard, &old, Some(&id), true).await).0, "Failed");
    assert_eq!(attachment(yard).await, now);
}

async fn let_go(yard: &impl Yard) {
    let (old, id) = holder(yard).await;
    let new = two_instances(yard, &old).await;
    yard.act(Act::Kill(old)).await;
    free(yard).await;
    assert_eq!(failed(moved(yard, &new, Some(&id), false).await).0, "Failed", "somebody else may be moving it");
    succeeded(moved(yard, &new, None, false).await);
}

async fn free(yard: &impl Yard) {
    let look = || async {
        let id = yard.addresses().start_read().await.expect("started");
        match ended(yard, &id).await {
            ExecutionState::Succeeded { outputs } => (one(&outputs, "read.Status") == "available").then_some(()),
            // What it read first was no longer so when it read on.
            ExecutionState::Failed { .. } | ExecutionState::Running => None,
        }
    };
    eventually(yard, "the address available", look).await;
}

async fn two(yard: &impl Yard) {
    let old = serving(yard).await;
    let new = two_instances(yard, &old).await;
    let addresses = yard.addresses();
    let one = addresses.start_move(&old, None, false).await.expect("started");
    let two = addresses.start_move(&new, None, false).await.expect("started");
    let ends = [(ended(yard, &one).await, &old), (ended(yard, &two).await, &new)];
    let won: Vec<&InstanceId> =
        ends.iter().filter(|(e, _)| matches!(e, ExecutionState::Succeeded { .. })).map(|(_, i)| *i).collect();
    assert_eq!(won.len(), 1, "{ends:?}");
    assert_eq!(attachment(yard).await.1, won[0].to_string());
}

async fn dead_target(yard: &impl Yard) {
    let (old, id) = holder(yard).await;
    let new = two_instances(yard, &old).await;
    yard.act(Act::Kill(new.clone())).await;
    assert_eq!(failed(moved(yard, &new, Some(&id), false).await).0, "Failed");
    free(yard).await;
}

async fn freed(yard: &impl Yard) {
    let (old, _) = holder(yard).await;
    yard.act(Act::Kill(old)).await;
    free(yard).await;
}

async fn hung(yard: &impl Yard) {
    let (old, id) = holder(yard).await;
    let new = two_instances(yard, &old).await;
    yard.act(Act::Hang(old.clone())).await;
    yard.act(Act::Hurry(true)).await;
    assert_eq!(failed(moved(yard, &new, Some(&id), false).await).0, "TimedOut");
    yard.act(Act::Hurry(false)).await;
    assert_eq!(one(&read(yard).await, "read.Status"), "detaching");
    assert_eq!(attachment(yard).await, (id.clone(), old.to_string()), "it is still there");
    let outputs = succeeded(moved(yard, &new, Some(&id), true).await);
    assert_eq!(one(&outputs, "confirm.InstanceId"), new.to_string());
}

async fn writers(yard: &impl Yard) {
    let (_, id) = holder(yard).await;
    let both = read(yard).await["read.Groups"].clone();
    let set = async |attachment: &str, admitted: bool| {
        let started = yard.addresses().start_writers(attachment, admitted).await.expect("started");
        ended(yard, &started).await
    };
    let outputs = succeeded(set(&id, false).await);
    let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
    assert_eq!(names, ["confirm.AttachmentId", "confirm.Groups"]);
    assert_eq!((one(&outputs, "confirm.AttachmentId"), outputs["confirm.Groups"].len()), (id.clone(), 1));
    assert_eq!(read(yard).await["read.Groups"], outputs["confirm.Groups"]);
    assert_eq!(failed(set(NEVER, true).await).0, "Failed");
    assert_eq!(read(yard).await["read.Groups"].len(), 1, "nothing changed");
    assert_eq!(succeeded(set(&id, true).await)["confirm.Groups"], both);
}

async fn stopped(yard: &impl Yard) {
    let instance = serving(yard).await;
    yard.act(Act::HoldSteps(true)).await;
    let id = yard.addresses().start_move(&instance, None, false).await.expect("started");
    yard.act(Act::Stop(id.clone())).await;
    let (status, _) = failed(ended(yard, &id).await);
    assert_eq!(status, "Cancelled");
}

async fn unknown(yard: &impl Yard) {
    let never = ExecutionId("11111111-2222-3333-4444-555555555555".to_owned());
    let fault = yard.addresses().execution(&never).await.expect_err("AutomationExecutionNotFoundException");
    assert_eq!((fault.happened, fault.retry), (Happened::No, Retry::No), "{fault:?}");
}
