//! Restarts Weaviate's container for a final backup that Weaviate goes on refusing, because what is left of another hangs and cannot
//! be cancelled (R17). Its data stays; what it was at is forgotten. Once a backup: if it does not help, the backup fails by name.

use lifeboat_domain::create::{self, WaitReason};
use lifeboat_domain::ids::JobId;
use lifeboat_domain::runs::Restart;

use super::act::{swap, waiting};
use super::observe::State;
use super::{Error, Outcome, Ports, Session};
use crate::invocation::Turn;
use crate::ports::hosts::{CommandId, CommandState, HostDocument, SendOutcome, TendOrder};
use crate::ports::{Addresses, Bucket, Clock, Group, Hosts, Nodes};

/// Takes it one step further: record, send, wait for its end.
pub(super) async fn restart<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    mut state: State,
    session: &mut Session,
) -> Result<Turn<Outcome>, Error> {
    let Some(open) = state.run.open.clone() else { return Ok(Turn::Again) };
    let wait = |detail: &str| {
        let reason = WaitReason::Running { detail: format!("Weaviate is being restarted: {detail}") };
        Ok(waiting(session, Some(&open), &reason))
    };
    let next = match open.restart.clone() {
        None => {
            let name = open.named.as_ref().map_or(open.instance.as_str(), |named| named.backup_id.as_str());
            let Ok(job) = JobId::parse(&format!("{name}-restart")) else { return wait("its job has no name") };
            tracing::warn!(instance = %open.instance, %job, "Weaviate refuses the final backup for something that does not end: it is restarted");
            Restart { job, command: None, over: false }
        }
        Some(Restart { job, command: None, .. }) => {
            let sent = match ports.hosts.find(&open.instance, &job).await? {
                Some(found) => SendOutcome::Sent(found),
                None => ports.hosts.send(&open.instance, HostDocument::Tend(TendOrder::Restart), &job).await?,
            };
            match sent {
                SendOutcome::Sent(CommandId(command)) => Restart { job, command: Some(command), over: false },
                SendOutcome::NotReady => return wait("the SSM agent takes no command"),
            }
        }
        Some(Restart { job, command: Some(command), .. }) => {
            match ports.hosts.command(&open.instance, &CommandId(command.clone())).await? {
                CommandState::NotVisible | CommandState::Running => return wait("under way"),
                CommandState::Succeeded { .. } => {}
                CommandState::Failed { details, exit_code, stdout, stderr } => {
                    tracing::error!(instance = %open.instance, %job, details, ?exit_code, stdout, stderr, "Weaviate could not be restarted");
                }
            }
            Restart { job, command: Some(command), over: true }
        }
    };
    let step = format!("restarting Weaviate: {next:?}");
    let run = create::restarting(&state.run, next);
    if swap(ports.bucket, &mut state, run).await? {
        session.did(step);
    }
    Ok(Turn::Again)
}
