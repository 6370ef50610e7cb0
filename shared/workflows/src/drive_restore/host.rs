//! The host: wait for its agent, then have the document prepare it, once.

use lifeboat_domain::restore::run::{Choice, HostJob, HostReport, OpenRestore, Phase, StepName};
use lifeboat_domain::restore::{Refusal, Waiting};

use super::abandon::abandon;
use super::{Error, Outcome, Policy, Ports, Seen, overdue, record, waiting};
use crate::invocation::Turn;
use crate::ports::hosts::{Agent, CommandId, CommandState, HostDocument, SendOutcome};
use crate::ports::{Clock, Hosts};

/// The script's exit code for "another job holds the lock" (`host/prepare-host.sh`): try again under a new name.
const LOCKED: i32 = 75;

/// How often the document is sent when another job held the lock.
const PREPARE_ATTEMPTS_MAX: u32 = 5;

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
        open.prepare = Some(HostJob { job: open.job("prepare", 1), attempt: 1, command: None });
        return record(ports, seen, open).await;
    };
    let Some(command) = prepare.command.clone() else {
        let found = ports.hosts().find(&open.instance, &prepare.job).await?;
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
    match ports.hosts().command(&open.instance, &CommandId(command)).await? {
        CommandState::NotVisible | CommandState::Running => {
            if overdue(&open, StepName::AgentOnline, seen.now, policy.restore.node_deadline) {
                let details = "no end in time".to_owned();
                let refusal = Refusal::HostFailed { details, exit_code: None, stderr: String::new() };
                return abandon(ports, seen, open, &refusal).await;
            }
            Ok(waiting(&open.instance, Waiting::HostDocument { job }))
        }
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
        CommandState::Failed { exit_code: Some(LOCKED), .. } if prepare.attempt < PREPARE_ATTEMPTS_MAX => {
            let attempt = prepare.attempt + 1;
            open.prepare = Some(HostJob { job: open.job("prepare", attempt), attempt, command: None });
            record(ports, seen, open).await
        }
        CommandState::Failed { details, exit_code, stderr, .. } => {
            let refusal = Refusal::HostFailed { details, exit_code, stderr: tail(&stderr, 500) };
            abandon(ports, seen, open, &refusal).await
        }
    }
}

/// The last line of the script's output is its report (`host/prepare-host.sh`).
fn report(stdout: &str) -> Option<HostReport> {
    serde_json::from_str(stdout.lines().rfind(|line| !line.trim().is_empty())?).ok()
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
