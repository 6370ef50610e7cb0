//! Which evidence API a node has, found by asking it.

use lifeboat_domain::expectations::{EvidenceAdapter, TenantStatus};
use lifeboat_domain::weaviate::ServerVersion;
use lifeboat_workflows::ports::node::{Equals, NodeError, Tenant};
use serde_json::Value;

use super::reply::{self, Reply};
use super::request::Request;
use super::search;

/// The first version that has REST search on by default (facts: weaviate.md §11).
const REST_FROM: ServerVersion = ServerVersion(1, 39, 7);

/// The API of a node that has nothing to count.
pub(super) fn of_version(version: &str) -> EvidenceAdapter {
    match ServerVersion::parse(version) {
        Some(version) if version >= REST_FROM => EvidenceAdapter::Rest,
        _ => EvidenceAdapter::Graphql,
    }
}

/// The first tenant that can be counted without waking it.
pub(super) fn active(tenants: &[Tenant]) -> Option<String> {
    tenants.iter().find(|t| t.status == TenantStatus::Active).map(|t| t.name.clone())
}

/// Whether REST counted. Not having the path, not having it switched on, and the read-only gate, which lets GraphQL
/// pass but not REST aggregate, say no; what says nothing of the API is an error.
pub(super) fn rest_answers(request: &Request, reply: &Reply) -> Result<bool, NodeError> {
    if reply.status == 503 && reply.message().contains("read-only mode") {
        return Ok(false);
    }
    match reply::success(request, reply.clone()) {
        Ok(body) => search::read_count(request, &body).map(|_| true),
        Err(NodeError::NotFound { .. } | NodeError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// No API counted.
pub(super) fn neither(rest: &Reply, status: u16, graphql: &str) -> NodeError {
    NodeError::Refused {
        what: "counts and queries".to_owned(),
        status,
        message: format!(
            "neither API answers; REST ({}): {}; GraphQL: {graphql}; enable one of them on the node",
            rest.status,
            rest.message()
        ),
    }
}

/// The filter field for a value, and the value.
pub(super) fn typed_value(request: &Request, filter: &Equals) -> Result<(&'static str, Value), NodeError> {
    let field = match &filter.value {
        Value::String(_) => "valueText",
        Value::Bool(_) => "valueBoolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "valueInt",
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => {
            return Err(request.unknown("not sent: only a text, an integer or a boolean can be filtered by"));
        }
    };
    Ok((field, filter.value.clone()))
}
