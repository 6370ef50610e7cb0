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

/// The Automation documents of the address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressDocuments {
    /// Reads where it is.
    pub read: String,
    /// Moves it.
    pub move_to: String,
    /// Opens it to writers, or to readers alone.
    pub writers: String,
}

/// The fixed address, through Automation documents of ours.
#[derive(Debug, Clone)]
pub struct SsmAddresses {
    client: Client,
    read: String,
    move_to: String,
    writers: String,
}

impl SsmAddresses {
    /// An address that is read and changed by these documents. A function gives the names of those that it may start; of
    /// another one SSM says that there is no such document.
    pub fn new(client: Client, documents: &AddressDocuments) -> Self {
        let AddressDocuments { read, move_to, writers } = documents.clone();
        Self { client, read, move_to, writers }
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

    async fn start_writers(&self, attachment: &str, admitted: bool) -> Result<ExecutionId, Fault> {
        let automation = self
            .automation(&self.writers)
            .parameters("ExpectedAttachmentId", vec![attachment.to_owned()])
            .parameters("Writers", vec![if admitted { "admitted" } else { "shut-out" }.to_owned()]);
        start(Call::changes("start changing the address's groups", attachment), automation).await
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
