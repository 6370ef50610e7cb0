//! Backups and restores (facts: weaviate.md §1).

use lifeboat_domain::ids::BackupId;
use lifeboat_domain::weaviate::OperationStatus;
use lifeboat_workflows::ports::node::{Accepted, NodeError, Progress};
use serde::Deserialize;
use serde_json::json;

use super::reply;
use super::request::{LARGE_BYTES, Method, Request, SMALL_BYTES, encoded};

/// Below the minute that an invocation keeps in hand, so that no reply is cut off by its end: Weaviate writes its answer
/// within 60 s, and a client that goes first can leave a slot held for 20 s (facts: weaviate.md §8.7).
const START_SECS: u64 = 50;

/// Asks for a backup of exactly these classes. Status and cancel answers are hints; ids are single-use.
pub(super) fn create(id: &BackupId, include: &[String]) -> Result<Request, NodeError> {
    let request = Request::new(Method::Post, format!("backup {id}"), "/v1/backups/s3").bounds(START_SECS, LARGE_BYTES);
    explicit(&request, include)?;
    Ok(request.body(json!({"id": id, "include": include})))
}

pub(super) fn create_status(id: &BackupId) -> Request {
    Request::new(Method::Get, format!("status of backup {id}"), format!("/v1/backups/s3/{id}")).bounds(20, SMALL_BYTES)
}

/// It reads every backup's descriptor from the store, 32 at a time.
pub(super) fn list() -> Request {
    Request::new(Method::Get, "list of backups", "/v1/backups/s3").bounds(50, LARGE_BYTES)
}

pub(super) fn cancel_create(id: &BackupId) -> Request {
    Request::new(Method::Delete, format!("cancel of backup {id}"), format!("/v1/backups/s3/{id}"))
        .bounds(30, SMALL_BYTES)
}

/// Asks for a restore of exactly these classes; users and roles of the target stay as they are.
pub(super) fn restore(id: &BackupId, include: &[String], from: Option<&str>) -> Result<Request, NodeError> {
    let path = format!("/v1/backups/s3/{id}/restore");
    let request = Request::new(Method::Post, format!("restore of {id}"), path).bounds(START_SECS, LARGE_BYTES);
    explicit(&request, include)?;
    let mut config = json!({"rolesOptions": "noRestore", "usersOptions": "noRestore"});
    if let Some(from) = from {
        config["Path"] = json!(from);
    }
    Ok(request.body(json!({"include": include, "config": config})))
}

pub(super) fn restore_status(id: &BackupId, from: Option<&str>) -> Request {
    let query = from.map(|from| format!("?path={}", encoded(from))).unwrap_or_default();
    let path = format!("/v1/backups/s3/{id}/restore{query}");
    Request::new(Method::Get, format!("status of the restore of {id}"), path).bounds(20, SMALL_BYTES)
}

pub(super) fn cancel_restore(id: &BackupId) -> Request {
    let path = format!("/v1/backups/s3/{id}/restore");
    Request::new(Method::Delete, format!("cancel of the restore of {id}"), path).bounds(30, SMALL_BYTES)
}

/// An empty list, and a wildcard that matches nothing, select every class (facts: weaviate.md §8.16): neither is sent.
fn explicit(request: &Request, include: &[String]) -> Result<(), NodeError> {
    let wild = |class: &String| class.is_empty() || class.contains(['*', '?']);
    if include.is_empty() || include.iter().any(wild) {
        return Err(NodeError::Refused {
            what: request.what.clone(),
            status: 422,
            message: "not sent: it needs a list of class names, without wildcards".to_owned(),
        });
    }
    Ok(())
}

#[derive(Deserialize)]
struct AcceptedBody {
    classes: Option<Vec<String>>,
    status: OperationStatus,
}

pub(super) fn accepted(request: &Request, body: &[u8]) -> Result<Accepted, NodeError> {
    let body: AcceptedBody = reply::json(request, body)?;
    Ok(Accepted { classes: body.classes.unwrap_or_default(), status: body.status })
}

#[derive(Deserialize)]
struct ProgressBody {
    status: OperationStatus,
    #[serde(default)]
    error: Option<String>,
}

pub(super) fn progress(request: &Request, body: &[u8]) -> Result<Progress, NodeError> {
    let body: ProgressBody = reply::json(request, body)?;
    Ok(Progress { status: body.status, error: body.error.unwrap_or_default() })
}

#[derive(Deserialize)]
struct ListedBody {
    id: String,
    status: OperationStatus,
}

pub(super) fn listed(request: &Request, body: &[u8]) -> Result<Vec<(String, OperationStatus)>, NodeError> {
    let body: Vec<ListedBody> = reply::json(request, body)?;
    Ok(body.into_iter().map(|b| (b.id, b.status)).collect())
}
