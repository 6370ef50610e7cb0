//! What the stack shows of itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// An EC2 instance and the machine behind it.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// Its id.
    pub instance: String,
    /// EC2's state: `pending`, `running`, `shutting-down`, `terminated`, …
    pub state: String,
    /// Its own address on loopback.
    pub address: String,
    /// The group's state for it (`Pending:Wait`, `InService`, …); none when no group has it any more.
    pub lifecycle: Option<String>,
    /// Its Auto Scaling group.
    pub group: Option<String>,
    /// Whether its SSM agent answers.
    pub agent: bool,
    /// Connections accepted for it on the fixed address, by port.
    pub accepted: BTreeMap<String, u64>,
    /// Its network interfaces.
    pub interfaces: Vec<String>,
    /// Its sandbox directory.
    pub sandbox: PathBuf,
    /// The running container's process.
    pub pid: Option<u32>,
    /// The running container's data directory on the host side.
    pub data_path: Option<PathBuf>,
    /// Every container there ever was on it.
    pub containers: Vec<Container>,
}

/// A container of the docker stand-in.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image it was run from.
    pub image: String,
    /// `running` or `exited`.
    pub status: String,
    /// Its (last) process.
    pub pid: Option<u32>,
    /// Its exit code, once it has ended.
    pub exit_code: Option<i32>,
    /// The host side of its first volume.
    pub data_path: Option<PathBuf>,
    /// How often it was started again.
    pub restarts: u32,
}

/// What was done by [`crate::Stack::kill_instance`].
#[derive(Debug, Clone, Deserialize)]
pub struct KilledInstance {
    /// Processes that got a SIGKILL.
    pub killed: Vec<u32>,
    /// Data directories that are gone.
    pub data_paths: Vec<PathBuf>,
}

/// The answer of a function.
#[derive(Debug, Clone, Deserialize)]
pub struct Invocation {
    /// HTTP status of the invocation.
    pub status: u16,
    /// `Handled` or `Unhandled` when the function failed.
    pub function_error: Option<String>,
    /// What the function answered.
    pub payload: Value,
    /// The end of its log for this invocation.
    pub log_tail: String,
}

/// One S3 request, from `s3-access.ndjson`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct AccessLine {
    /// When it began, ms since 1970.
    pub at_ms: u64,
    /// Who asked: an instance id, `<instance id>-host` for a host script, `fn:<function name>`, or a test's own name.
    pub principal: String,
    /// HTTP method.
    pub method: String,
    /// The bucket; empty when buckets are listed.
    pub bucket: String,
    /// The object's key, decoded; empty for requests on the bucket.
    pub key: String,
    /// The query, as sent.
    pub query: String,
    /// The Range header.
    pub range: Option<String>,
    /// HTTP status.
    pub status: u16,
    /// Bytes of the request's body, as on the wire.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// The If-Match header.
    pub if_match: Option<String>,
    /// The If-None-Match header.
    pub if_none_match: Option<String>,
    /// The response's ETag.
    pub etag: Option<String>,
    /// The response's version id.
    pub version: Option<String>,
}

/// One call of a stand-in, from an instance's `calls.ndjson`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct HostCall {
    /// When, ms since 1970.
    pub at_ms: u64,
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Names of the environment variables it saw.
    pub env: Vec<String>,
}

/// The bridge's answers, held to botocore's models of the services.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelReport {
    /// How many answers were held to it: `service.Operation` → count; errors as `service.Operation!Code`.
    pub checked: BTreeMap<String, u64>,
    /// What did not fit: which answer, where in it, and how.
    pub violations: Vec<String>,
}
