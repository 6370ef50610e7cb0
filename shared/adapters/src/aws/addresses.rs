//! Automation behind [`Addresses`]. Everything but the instance, the expected attachment and force is a default of the
//! documents themselves.

use std::collections::BTreeMap;

use aws_sdk_ssm::Client;
use aws_sdk_ssm::operation::start_automation_execution::builders::StartAutomationExecutionFluentBuilder;
use aws_sdk_ssm::types::AutomationExecutionStatus;
use lifeboat_domain::ids::InstanceId;
use lifeboat_workflows::ports::hosts::{ExecutionId, ExecutionState};
use lifeboat_workflows::ports::{Addresses, Fault};

use super::fault::Call;

/// What the document takes for "it was detached".
const DETACHED: &str = "none";

/// The fixed address, through Automation documents of ours.
#[derive(Debug, Clone)]
pub struct SsmAddresses {
    client: Client,
    read: String,
    move_to: String,
}

impl SsmAddresses {
    /// An address that is read and moved by these documents.
    pub fn new(client: Client, read: &str, move_to: &str) -> Self {
        Self { client, read: read.to_owned(), move_to: move_to.to_owned() }
    }

    fn automation(&self, document: &str) -> StartAutomationExecutionFluentBuilder {
        self.client.start_automation_execution().document_name(document).document_version("$DEFAULT")
    }
}

async fn start(call: Call<'_>, automation: StartAutomationExecutionFluentBuilder) -> Result<ExecutionId, Fault> {
    let reply = automation.send().await.map_err(|e| call.fault(e))?;
    let id = reply.automation_execution_id().ok_or_else(|| call.nonsense("the execution has no id"))?;
    Ok(ExecutionId(id.to_owned()))
}

impl Addresses for SsmAddresses {
    async fn start_read(&self) -> Result<ExecutionId, Fault> {
        // Reading moves nothing, so nothing can have happened that matters.
        start(Call::reads("start reading the address", &self.read), self.automation(&self.read)).await
    }

    async fn start_move(
        &self,
        to: &InstanceId,
        expected_attachment: Option<&str>,
        force: bool,
    ) -> Result<ExecutionId, Fault> {
        let automation = self
            .automation(&self.move_to)
            .parameters("InstanceId", vec![to.as_str().to_owned()])
            .parameters("ExpectedAttachmentId", vec![expected_attachment.unwrap_or(DETACHED).to_owned()])
            .parameters("Force", vec![force.to_string()]);
        start(Call::changes("start moving the address", to.as_str()), automation).await
    }

    async fn execution(&self, id: &ExecutionId) -> Result<ExecutionState, Fault> {
        let call = Call::reads("get execution", &id.0);
        let reply = self
            .client
            .get_automation_execution()
            .automation_execution_id(&id.0)
            .send()
            .await
            .map_err(|e| call.fault(e))?;
        let execution = reply.automation_execution().ok_or_else(|| call.nonsense("the execution is missing"))?;
        match execution.automation_execution_status().map(AutomationExecutionStatus::as_str) {
            Some("Pending" | "InProgress" | "Waiting" | "Cancelling" | "RunbookInProgress" | "Scheduled") => {
                Ok(ExecutionState::Running)
            }
            Some("Success") => Ok(ExecutionState::Succeeded {
                outputs: execution
                    .outputs()
                    .into_iter()
                    .flatten()
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect::<BTreeMap<_, _>>(),
            }),
            Some(status @ ("Failed" | "TimedOut" | "Cancelled" | "Rejected" | "Exited" | "CompletedWithFailure")) => {
                Ok(ExecutionState::Failed {
                    status: status.to_owned(),
                    message: execution.failure_message().unwrap_or_default().to_owned(),
                })
            }
            _ => Err(call.nonsense("the execution has a status that this build does not know")),
        }
    }
}

#[cfg(test)]
mod tests;
