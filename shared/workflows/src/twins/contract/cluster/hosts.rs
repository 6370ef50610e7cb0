//! Run Command: what is refused, what is seen when, and how commands end.

use lifeboat_domain::ids::{InstanceId, JobId};

use super::{Act, PROBE, Report, Script, Yard, cleared, eventually, launched, online, serving};
use crate::ports::Hosts;
use crate::ports::fault::{Happened, Retry};
use crate::ports::group::LifecycleState;
use crate::ports::hosts::{Agent, CommandId, CommandState, SendOutcome};

/// What SSM keeps of outputs.
const STDOUT_MAX: usize = 24_000;
const STDERR_MAX: usize = 8_000;
/// How the agent ends a script that was stopped: by its timer, or by a person.
const STOPPED: Option<i32> = Some(137);

pub(super) async fn play(yard: &impl Yard, report: &mut Report) {
    report.case("a host whose agent has not registered is no target", no_agent(yard)).await;
    report.case("an agent that has registered is online, with the host's own address", registered(yard)).await;
    report.case("a command succeeds with its output and is found by its job", succeeds(yard)).await;
    report.case("a command that was just sent is seen by nobody yet", unseen(yard)).await;
    report.case("a script's exit code and error output are told", fails(yard)).await;
    report.case("outputs are cut where SSM cuts them", cut(yard)).await;
    report.case("a script that hangs is stopped by its timeout", hangs(yard)).await;
    report.case("a command that a person cancels ends cancelled", cancelled(yard)).await;
    report.case("a command whose reply was lost may have been sent, and is found by its job", unheard(yard)).await;
    report.case("of commands with one job the newest is found", newest(yard)).await;
    report.case("another job, another host and another command are not found", unknown(yard)).await;
    report.case("a document that does not exist is a fault for good", no_document(yard)).await;
    report.case("a dead host is no target, and what ran on it goes on running for SSM", dead(yard)).await;
    report.case("a host that hangs is called online, and commands to it are not delivered", hung(yard)).await;
}

fn job(text: &str) -> JobId {
    JobId::parse(text).expect("a job's id")
}

async fn sent(yard: &impl Yard, instance: &InstanceId, name: &str) -> CommandId {
    match yard.hosts().send(instance, PROBE, &job(name)).await.expect("answered") {
        SendOutcome::Sent(id) => id,
        SendOutcome::NotReady => panic!("the agent of {instance} is there"),
    }
}

async fn command(yard: &impl Yard, instance: &InstanceId, id: &CommandId) -> CommandState {
    yard.hosts().command(instance, id).await.expect("answered")
}

async fn ended(yard: &impl Yard, instance: &InstanceId, id: &CommandId) -> CommandState {
    eventually(yard, "the command's end", || async {
        match command(yard, instance, id).await {
            CommandState::NotVisible | CommandState::Running => None,
            end @ (CommandState::Succeeded { .. } | CommandState::Failed { .. }) => Some(end),
        }
    })
    .await
}

async fn running(yard: &impl Yard, instance: &InstanceId, id: &CommandId) {
    let look = || async { (command(yard, instance, id).await == CommandState::Running).then_some(()) };
    eventually(yard, "the command running", look).await;
}

async fn no_agent(yard: &impl Yard) {
    cleared(yard).await;
    yard.act(Act::HoldAgents(true)).await;
    yard.act(Act::Desire(1)).await;
    let instance = super::another(yard, LifecycleState::PendingWait, &[]).await;
    assert_eq!(yard.hosts().agent(&instance).await.expect("answered"), Agent::Absent);
    let outcome =
        yard.hosts().send(&instance, PROBE, &job("r1-probe-1")).await.expect("InvalidInstanceId is an answer");
    assert_eq!(outcome, SendOutcome::NotReady);
    assert_eq!(yard.hosts().find(&instance, &job("r1-probe-1")).await.expect("answered"), None);
    let nobody = InstanceId::parse("i-0123456789abcdef0").expect("an instance's id");
    assert_eq!(yard.hosts().agent(&nobody).await.expect("answered"), Agent::Absent);
    assert_eq!(yard.hosts().send(&nobody, PROBE, &job("r1-probe-1")).await.expect("answered"), SendOutcome::NotReady);
}

async fn registered(yard: &impl Yard) {
    let instance = launched(yard).await;
    let address = online(yard, &instance).await;
    assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
}

async fn succeeds(yard: &impl Yard) {
    let instance = serving(yard).await;
    let id = sent(yard, &instance, "r2-probe-1").await;
    let CommandState::Succeeded { stdout } = ended(yard, &instance, &id).await else { panic!("it succeeds") };
    let answer: serde_json::Value = serde_json::from_str(stdout.trim()).expect("a line of JSON");
    assert_eq!(answer["ok"], true);
    assert_eq!(yard.hosts().find(&instance, &job("r2-probe-1")).await.expect("answered"), Some(id));
}

async fn unseen(yard: &impl Yard) {
    let instance = serving(yard).await;
    yard.act(Act::HoldSight(true)).await;
    let id = sent(yard, &instance, "r3-probe-1").await;
    assert_eq!(command(yard, &instance, &id).await, CommandState::NotVisible);
    assert_eq!(yard.hosts().find(&instance, &job("r3-probe-1")).await.expect("answered"), None);
    yard.act(Act::HoldSight(false)).await;
    assert!(matches!(ended(yard, &instance, &id).await, CommandState::Succeeded { .. }));
    assert_eq!(yard.hosts().find(&instance, &job("r3-probe-1")).await.expect("answered"), Some(id));
}

async fn fails(yard: &impl Yard) {
    let instance = serving(yard).await;
    yard.act(Act::Script(instance.clone(), Script::Exit(5, "no image".to_owned()))).await;
    let id = sent(yard, &instance, "r4-probe-1").await;
    match ended(yard, &instance, &id).await {
        CommandState::Failed { details, exit_code, stderr, .. } => {
            assert_eq!((details.as_str(), exit_code, stderr.trim()), ("Failed", Some(5), "no image"));
        }
        other => panic!("{other:?}"),
    }
    let id = sent(yard, &instance, "r4-probe-2").await;
    assert!(matches!(ended(yard, &instance, &id).await, CommandState::Succeeded { .. }), "the next is another command");
}

async fn cut(yard: &impl Yard) {
    let instance = serving(yard).await;
    for (stdout_chars, stderr_chars) in [(STDOUT_MAX, STDERR_MAX), (STDOUT_MAX + 1, STDERR_MAX + 1)] {
        yard.act(Act::Script(instance.clone(), Script::Loud(stdout_chars, stderr_chars))).await;
        let id = sent(yard, &instance, "r5-probe-1").await;
        let CommandState::Succeeded { stdout } = ended(yard, &instance, &id).await else { panic!("it succeeds") };
        assert_eq!(stdout.chars().count(), STDOUT_MAX);
        let whole = stdout.chars().all(|c| c == 'x');
        assert_eq!(whole, stdout_chars == STDOUT_MAX, "what was cut ends in words that say so");
    }
}

async fn hangs(yard: &impl Yard) {
    let instance = serving(yard).await;
    yard.act(Act::Script(instance.clone(), Script::Hang)).await;
    yard.act(Act::Hurry(true)).await;
    let id = sent(yard, &instance, "r6-probe-1").await;
    match ended(yard, &instance, &id).await {
        CommandState::Failed { details, exit_code, .. } => {
            assert_eq!((details.as_str(), exit_code), ("ExecutionTimedOut", STOPPED));
        }
        other => panic!("{other:?}"),
    }
}

async fn cancelled(yard: &impl Yard) {
    let instance = serving(yard).await;
    yard.act(Act::Script(instance.clone(), Script::Hang)).await;
    let id = sent(yard, &instance, "r7-probe-1").await;
    running(yard, &instance, &id).await;
    yard.act(Act::Cancel(instance.clone(), id.clone())).await;
    match ended(yard, &instance, &id).await {
        CommandState::Failed { details, exit_code, .. } => {
            assert_eq!(details, "Cancelled");
            // Stopped, or never begun: for this port a command that waits for its host is running too.
            assert!(exit_code.is_none() || exit_code == STOPPED, "{exit_code:?}");
        }
        other => panic!("{other:?}"),
    }
}

async fn unheard(yard: &impl Yard) {
    let instance = serving(yard).await;
    let hosts = yard.unheard_hosts().await;
    let fault = hosts.send(&instance, PROBE, &job("r8-probe-1")).await.expect_err("nobody hears of it");
    assert_eq!((fault.happened, fault.retry), (Happened::Maybe, Retry::Yes), "{fault:?}");
    let look = || async { yard.hosts().find(&instance, &job("r8-probe-1")).await.expect("answered") };
    let id = eventually(yard, "the command", look).await;
    assert!(matches!(ended(yard, &instance, &id).await, CommandState::Succeeded { .. }));
}

async fn newest(yard: &impl Yard) {
    let instance = serving(yard).await;
    let mut last = sent(yard, &instance, "r9-probe-1").await;
    for _ in 0..2 {
        // Between two sends the clock that dates them moves.
        yard.breathe().await;
        let next = sent(yard, &instance, "r9-probe-1").await;
        assert_ne!(next, last, "each send is a command");
        last = next;
    }
    ended(yard, &instance, &last).await;
    assert_eq!(yard.hosts().find(&instance, &job("r9-probe-1")).await.expect("answered"), Some(last));
}

async fn unknown(yard: &impl Yard) {
    let instance = serving(yard).await;
    let id = sent(yard, &instance, "r10-probe-1").await;
    ended(yard, &instance, &id).await;
    let other = InstanceId::parse("i-0123456789abcdef0").expect("an instance's id");
    for (instance, name) in [(&instance, "r10-probe-2"), (&other, "r10-probe-1")] {
        assert_eq!(yard.hosts().find(instance, &job(name)).await.expect("answered"), None);
    }
    assert_eq!(command(yard, &other, &id).await, CommandState::NotVisible);
    let nothing = CommandId("11111111-2222-3333-4444-555555555555".to_owned());
    assert_eq!(command(yard, &instance, &nothing).await, CommandState::NotVisible);
}

async fn no_document(yard: &impl Yard) {
    let instance = serving(yard).await;
    let hosts = yard.hosts_without_documents();
    let fault = hosts.send(&instance, PROBE, &job("r11-probe-1")).await.expect_err("InvalidDocument");
    assert_eq!((fault.happened, fault.retry), (Happened::No, Retry::No), "{fault:?}");
    assert_eq!(yard.hosts().find(&instance, &job("r11-probe-1")).await.expect("answered"), None);
}

async fn assert_not_delivered(yard: &impl Yard, instance: &InstanceId, id: &CommandId) {
    match ended(yard, instance, id).await {
        CommandState::Failed { details, exit_code, .. } => {
            assert_eq!((details.as_str(), exit_code), ("DeliveryTimedOut", None));
        }
        other => panic!("{other:?}"),
    }
}

async fn dead(yard: &impl Yard) {
    let instance = serving(yard).await;
    yard.act(Act::Script(instance.clone(), Script::Hang)).await;
    // Long enough to be killed under.
    let id = sent(yard, &instance, "r12-probe-1").await;
    running(yard, &instance, &id).await;
    yard.act(Act::Kill(instance.clone())).await;
    let outcome = yard.hosts().send(&instance, PROBE, &job("r12-probe-2")).await.expect("answered");
    assert_eq!(outcome, SendOutcome::NotReady);
    super::a_while(yard).await;
    assert_eq!(command(yard, &instance, &id).await, CommandState::Running, "nobody tells SSM");
    let look = || async {
        let agent = yard.hosts().agent(&instance).await.expect("answered");
        (agent == Agent::Absent).then_some(())
    };
    eventually(yard, "the agent unlisted", look).await;
}

async fn hung(yard: &impl Yard) {
    let instance = serving(yard).await;
    yard.act(Act::Hang(instance.clone())).await;
    assert!(
        matches!(yard.hosts().agent(&instance).await.expect("answered"), Agent::Online { .. }),
        "as far as SSM knows"
    );
    yard.act(Act::Hurry(true)).await;
    let id = sent(yard, &instance, "r13-probe-1").await;
    assert_not_delivered(yard, &instance, &id).await;
}
