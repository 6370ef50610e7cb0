//! Run Command behind [`Hosts`].

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{CommandInvocation, CommandInvocationStatus, InstanceInformationStringFilter, PingStatus};
use lifeboat_domain::ids::{InstanceId, JobId};
use lifeboat_workflows::ports::fault::{Happened, Retry};
use lifeboat_workflows::ports::hosts::{Agent, CommandId, CommandState, HostDocument, SendOutcome};
use lifeboat_workflows::ports::{Fault, Hosts};

use super::fault::{Call, code};

/// Seconds that SSM tries to deliver a command. It bounds the delivery alone; a dead agent is known only after this
/// and the document's own time (facts: aws.md §3.1).
const DELIVERY_SECS: i32 = 120;
/// Pages of 50 invocations that are looked through for a job.
const PAGES_MAX: u32 = 40;

/// The Command documents; empty is one that this function does not send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostDocuments {
    /// Prepares a host.
    pub prepare: String,
    /// Probes a host.
    pub probe: String,
    /// Tends a running host.
    pub tend: String,
}

/// The hosts of the group, through SSM.
#[derive(Debug, Clone)]
pub struct SsmHosts {
    client: Client,
    documents: Option<HostDocuments>,
}

impl SsmHosts {
    /// Hosts that obey these documents. Without documents they can be looked at only.
    pub fn new(client: Client, documents: Option<HostDocuments>) -> Self {
        Self { client, documents }
    }

    fn document(&self, call: Call<'_>, document: HostDocument) -> Result<&str, Fault> {
        let Some(documents) = &self.documents else {
            return Err(Fault::new(
                call.step,
                call.subject,
                Happened::No,
                Retry::No,
                "this function sends no commands",
            ));
        };
        Ok(match document {
            HostDocument::Prepare => &documents.prepare,
            HostDocument::Probe => &documents.probe,
            HostDocument::Tend(_) => &documents.tend,
        })
    }
}

impl Hosts for SsmHosts {
    async fn agent(&self, instance: &InstanceId) -> Result<Agent, Fault> {
        let call = Call::reads("describe agent", instance.as_str());
        let filter = InstanceInformationStringFilter::builder().key("InstanceIds").values(instance.as_str()).build();
        let filter = filter.map_err(|e| Fault::new(call.step, call.subject, Happened::No, Retry::No, e))?;
        let reply =
            self.client.describe_instance_information().filters(filter).send().await.map_err(|e| call.fault(e))?;
        let info = reply.instance_information_list().iter().find(|i| i.instance_id() == Some(instance.as_str()));
        let Some(info) = info else {
            return Ok(Agent::Absent);
        };
        if info.ping_status() != Some(&PingStatus::Online) {
            return Ok(Agent::Lost);
        }
        let address = info.ip_address().filter(|a| !a.is_empty()).map(str::to_owned);
        address
            .map(|address| Agent::Online { address })
            .ok_or_else(|| call.nonsense("the agent is online but has no address yet"))
    }

    async fn find(&self, instance: &InstanceId, job: &JobId) -> Result<Option<CommandId>, Fault> {
        let call = Call::reads("find command", job.as_str());
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let reply = self
                .client
                .list_command_invocations()
                .instance_id(instance.as_str())
                .max_results(50)
                .set_next_token(next)
                .send()
                .await
                .map_err(|e| call.fault(e))?;
            let of_job = reply.command_invocations().iter().filter(|c| c.comment() == Some(job.as_str()));
            let newest = of_job.max_by_key(|c| c.requested_date_time().map(|t| (t.secs(), t.subsec_nanos())));
            if let Some(id) = newest.and_then(CommandInvocation::command_id) {
                return Ok(Some(CommandId(id.to_owned())));
            }
            next = reply.next_token().filter(|t| !t.is_empty()).map(str::to_owned);
            if next.is_none() {
                return Ok(None);
            }
        }
        let what = "the instance has too many commands to look through";
        Err(Fault::new(call.step, call.subject, Happened::No, Retry::No, what))
    }

    async fn send(&self, instance: &InstanceId, document: HostDocument, job: &JobId) -> Result<SendOutcome, Fault> {
        let call = Call::changes("send command", job.as_str());
        let send = self
            .client
            .send_command()
            .document_name(self.document(call, document)?)
            .document_version("$DEFAULT")
            .instance_ids(instance.as_str())
            .comment(job.as_str())
            .timeout_seconds(DELIVERY_SECS)
            .parameters("JobId", vec![job.as_str().to_owned()]);
        let send = match document {
            HostDocument::Prepare => send.parameters("Instance", vec![instance.as_str().to_owned()]),
            HostDocument::Probe => send,
            HostDocument::Tend(order) => send
                .parameters("Instance", vec![instance.as_str().to_owned()])
                .parameters("Order", vec![order.name().to_owned()]),
        };
        match send.send().await {
            Ok(reply) => {
                let id = reply.command().and_then(|c| c.command_id());
                let id = id.ok_or_else(|| call.nonsense("the command has no id"))?;
                Ok(SendOutcome::Sent(CommandId(id.to_owned())))
            }
            Err(error) if code(&error) == Some("InvalidInstanceId") => Ok(SendOutcome::NotReady),
            Err(error) => Err(call.fault(error)),
        }
    }

    async fn command(&self, instance: &InstanceId, command: &CommandId) -> Result<CommandState, Fault> {
        let call = Call::reads("get command", &command.0);
        let reply =
            self.client.get_command_invocation().command_id(&command.0).instance_id(instance.as_str()).send().await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) if code(&error) == Some("InvocationDoesNotExist") => return Ok(CommandState::NotVisible),
            Err(error) => return Err(call.fault(error)),
        };
        let stdout = reply.standard_output_content().unwrap_or_default().to_owned();
        match reply.status().map(CommandInvocationStatus::as_str) {
            Some("Pending" | "InProgress" | "Delayed" | "Cancelling") => Ok(CommandState::Running),
            Some("Success") => Ok(CommandState::Succeeded { stdout }),
            Some(status @ ("Cancelled" | "TimedOut" | "Failed")) => Ok(CommandState::Failed {
                details: reply.status_details().filter(|d| !d.is_empty()).unwrap_or(status).to_owned(),
                // -1 says that it never ran.
                exit_code: Some(reply.response_code()).filter(|code| *code >= 0),
                stdout,
                stderr: reply.standard_error_content().unwrap_or_default().to_owned(),
            }),
            _ => Err(call.nonsense("the command has a status that this build does not know")),
        }
    }
}

#[cfg(test)]
mod tests;
