//! The host: wait for its agent, then have the document prepare it, once.

use lifeboat_domain::restore::run::{Choice, HostJob, HostReport, OpenRestore, Phase, StepName};
use lifeboat_domain::restore::{Refusal, Waiting};

use super::abandon::abandon;
use super::{Error, Outcome, Policy, Ports, Seen, overdue, record, save, waiting};
use crate::invocation::Turn;
use crate::ports::hosts::{Agent, CommandId, CommandState, HostDocument, SendOutcome};
use crate::ports::{Clock, Hosts};

/// The script's exit code for "another run holds the lock" (`host/prepare-host.sh`). Two invocations at once may both
/// send the document; the host obeys one of them, and the same job sent again later is answered with its stored result.
const LOCKED: i32 = 75;

pub(super) async fn prepare<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    let address = match ports.hosts().agent(&open.instance).await? {
        Agent::Online { address } => address,
        Agent::Absent | Agent::Lost => {
            if overdue(&open, StepName::Chosen, seen.now, policy.restore.agent_deadline) {
                return abandon(ports, seen, open, &Refusal::AgentSilent).await;
            }
            return Ok(waiting(&open.instance, Waiting::Agent));
        }
    };
    let Some(prepare) = open.prepare.clone() else {
        // Intent first: the job's name is on record before anything is sent under it.
        open.note(StepName::AgentOnline, ports.clock().now());
        open.prepare = Some(HostJob { job: open.job("prepare", 1), attempt: 1, command: None, locked_out: None });
        return record(ports, seen, open).await;
    };
    let Some(command) = prepare.command.clone() else {
        let found = ports.hosts().find(&open.instance, &prepare.job).await?;
        let found = found.filter(|CommandId(command)| prepare.locked_out.as_ref() != Some(command));
        let sent = match found {
            Some(command) => SendOutcome::Sent(command),
            None => ports.hosts().send(&open.instance, HostDocument::Prepare, &prepare.job).await?,
        };
        return match sent {
            SendOutcome::Sent(CommandId(command)) => {
                open.prepare = Some(HostJob { command: Some(command), ..prepare });
                record(ports, seen, open).await
            }
            SendOutcome::NotReady => Ok(waiting(&open.instance, Waiting::Agent)),
        };
    };
    let job = prepare.job.to_string();
    let late = overdue(&open, StepName::AgentOnline, seen.now, policy.restore.node_deadline);
    match ports.hosts().command(&open.instance, &CommandId(command.clone())).await? {
        CommandState::NotVisible | CommandState::Running if late => {
            let details = "no end in time".to_owned();
            let refusal = Refusal::HostFailed { details, exit_code: None, stderr: String::new() };
            abandon(ports, seen, open, &refusal).await
        }
        CommandState::NotVisible | CommandState::Running => Ok(waiting(&open.instance, Waiting::HostDocument { job })),
        CommandState::Succeeded { stdout } => match report(&stdout) {
            Some(report) if report.address == address => {
                open.host = Some(report);
                open.advance(Phase::Checking, StepName::HostPrepared, ports.clock().now());
                record(ports, seen, open).await
            }
            report => {
                let said = report.map_or_else(|| "no JSON report".to_owned(), |r| format!("address {}", r.address));
                let details = format!("the host says {said}, SSM says address {address}");
                let refusal = Refusal::HostFailed { details, exit_code: Some(0), stderr: String::new() };
                abandon(ports, seen, open, &refusal).await
            }
        },
        CommandState::Failed { exit_code: Some(LOCKED), .. } if !late => {
            open.prepare = Some(HostJob { command: None, locked_out: Some(command), ..prepare });
            let instance = open.instance.clone();
            seen.run.open = Some(open);
            save(ports, seen).await?;
            // At the pace of the polls: the run that holds the lock is at work.
            Ok(waiting(&instance, Waiting::HostDocument { job }))
        }
        CommandState::Failed { details, exit_code, stdout, stderr } => {
            let stderr = told(&stdout).unwrap_or_else(|| tail(&stderr, 500));
            let refusal = Refusal::HostFailed { details, exit_code, stderr };
            abandon(ports, seen, open, &refusal).await
        }
    }
}

/// The last line of the script's output is its report (`host/prepare-host.sh`).
fn report(stdout: &str) -> Option<HostReport> {
    serde_json::from_str(stdout.lines().rfind(|line| !line.trim().is_empty())?).ok()
}

/// What the script says went wrong, in its report.
fn told(stdout: &str) -> Option<String> {
    let report: serde_json::Value = serde_json::from_str(stdout.lines().rfind(|line| !line.trim().is_empty())?).ok()?;
    let text = |field: &str| report.get(field).and_then(serde_json::Value::as_str);
    Some(format!("{}: {}", text("step").unwrap_or("some step"), text("error")?))
}

fn tail(text: &str, characters: usize) -> String {
    let skip = text.chars().count().saturating_sub(characters);
    text.chars().skip(skip).collect()
}

/// The instance's own address, as the host reported it.
pub(super) fn address(open: &OpenRestore) -> &str {
    open.host.as_ref().map_or("", |h| h.address.as_str())
}

/// The backup that was chosen, if any.
pub(super) fn chosen(open: &OpenRestore) -> Option<&lifeboat_domain::ids::BackupId> {
    match &open.choice {
        Some(Choice::Backup { backup_id, .. }) => Some(backup_id),
        Some(Choice::Empty) | None => None,
    }
}
