//! The hosts through SSM: Run Command for what runs on them, Automation for the address.

use std::collections::BTreeMap;

use lifeboat_domain::ids::{InstanceId, JobId};

use super::Fault;

/// Run Command on an instance (facts: aws.md §3.1, §3.3).
pub trait Hosts: Send + Sync {
    /// What SSM says of the instance's agent.
    fn agent(&self, instance: &InstanceId) -> impl Future<Output = Result<Agent, Fault>> + Send;

    /// The newest command that was sent with this job as its comment, if any: how a command whose reply was lost is
    /// found again. Right after a send it may not be visible yet.
    fn find(&self, instance: &InstanceId, job: &JobId)
    -> impl Future<Output = Result<Option<CommandId>, Fault>> + Send;

    /// Sends a document with the job as its comment and as parameter `JobId`, beside `Instance` for [`HostDocument::Prepare`]
    /// and [`HostDocument::Tend`].
    fn send(
        &self,
        instance: &InstanceId,
        document: HostDocument,
        job: &JobId,
    ) -> impl Future<Output = Result<SendOutcome, Fault>> + Send;

    /// How far a command is.
    fn command(
        &self,
        instance: &InstanceId,
        command: &CommandId,
    ) -> impl Future<Output = Result<CommandState, Fault>> + Send;
}

/// The fixed address through Automation documents of ours (DESIGN §6 step 7, R16).
pub trait Addresses: Send + Sync {
    /// Starts to read where the address is.
    fn start_read(&self) -> impl Future<Output = Result<ExecutionId, Fault>> + Send;

    /// Starts to give the address its readers' and writers' groups, or its readers' alone. It stops when the attachment is
    /// not the one named.
    fn start_writers(
        &self,
        attachment: &str,
        admitted: bool,
    ) -> impl Future<Output = Result<ExecutionId, Fault>> + Send;

    /// Starts to move the address. It stops when the attachment is not `expected_attachment` (`None`: detached).
    fn start_move(
        &self,
        to: &InstanceId,
        expected_attachment: Option<&str>,
        force: bool,
    ) -> impl Future<Output = Result<ExecutionId, Fault>> + Send;

    /// How far an execution is.
    fn execution(&self, id: &ExecutionId) -> impl Future<Output = Result<ExecutionState, Fault>> + Send;
}

/// What SSM says of an agent. `Online` may be minutes stale and proves nothing about now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agent {
    /// Never registered, or the instance is gone.
    Absent,
    /// Registered and pinging.
    Online {
        /// The instance's own private address.
        address: String,
    },
    /// Registered once, silent now.
    Lost,
}

/// The documents that run on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostDocument {
    /// Prepares disks and starts Weaviate; obeys a job once.
    Prepare,
    /// Reports the host's counters; changes nothing.
    Probe,
    /// Does one thing to the running host; obeys a job once.
    Tend(TendOrder),
}

/// What a running host is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TendOrder {
    /// Reset every connection that came by the fixed address, and make sure that none of them is left.
    ShutOut {
        /// Set Weaviate's ReadOnly mode besides.
        read_only: bool,
    },
    /// Take the mode back.
    Readmit,
    /// Restart Weaviate's container.
    Restart,
}

impl TendOrder {
    /// The value of the document's parameter `Order`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShutOut { read_only: false } => "shut-out",
            Self::ShutOut { read_only: true } => "shut-out-read-only",
            Self::Readmit => "readmit",
            Self::Restart => "restart",
        }
    }
}

/// A Run Command id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct CommandId(pub String);

/// An Automation execution id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ExecutionId(pub String);

/// How a send ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// Sent.
    Sent(CommandId),
    /// `InvalidInstanceId`: the agent is not registered, or the instance is gone.
    NotReady,
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandState {
    /// `InvocationDoesNotExist`: not visible yet, ask again.
    NotVisible,
    /// Under way.
    Running,
    /// Exit code 0.
    Succeeded {
        /// Its output, at most 24,000 characters.
        stdout: String,
    },
    /// Any other end.
    Failed {
        /// SSM's status details, such as `Failed`, `ExecutionTimedOut`, `Undeliverable`.
        details: String,
        /// The script's exit code, when it ran.
        exit_code: Option<i32>,
        /// Its output.
        stdout: String,
        /// Its error output, at most 8,000 characters.
        stderr: String,
    },
}

/// How far an execution is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionState {
    /// Under way.
    Running,
    /// Done.
    Succeeded {
        /// The document's outputs, by `step.Name`.
        outputs: BTreeMap<String, Vec<String>>,
    },
    /// Any other end.
    Failed {
        /// SSM's status, such as `Failed`, `TimedOut`, `Cancelled`.
        status: String,
        /// SSM's failure message.
        message: String,
    },
}
