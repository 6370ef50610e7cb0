//! What a reply means: every status, and both shapes of error bodies (facts: weaviate.md §1.5).

use lifeboat_workflows::ports::node::NodeError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::request::Request;

/// A reply, read in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// Its HTTP status.
    pub(super) status: u16,
    /// Its body.
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// Weaviate's own words: `{"error":[{"message":…}]}` of a handler, `{"code":…,"message":…}` of the framework, or
    /// the start of whatever else came.
    pub(super) fn message(&self) -> String {
        let value: Option<Value> = serde_json::from_slice(&self.body).ok();
        let handlers = value.as_ref().and_then(|v| v.get("error")).and_then(Value::as_array).map(|errors| {
            let texts: Vec<&str> = errors.iter().filter_map(|e| e.get("message").and_then(Value::as_str)).collect();
            texts.join("; ")
        });
        let frameworks = || value.as_ref()?.get("message")?.as_str().map(str::to_owned);
        let text = handlers.filter(|t| !t.is_empty()).or_else(frameworks);
        let text = text.unwrap_or_else(|| String::from_utf8_lossy(&self.body).trim().to_owned());
        if text.is_empty() { "(no message)".to_owned() } else { text.chars().take(1_000).collect() }
    }

    /// Whether a 404 says that this version has no such endpoint, rather than that the thing asked for is not there.
    pub(super) fn is_unknown_path(&self) -> bool {
        let value: Option<Value> = serde_json::from_slice(&self.body).ok();
        value.and_then(|v| v.get("code")?.as_u64()) == Some(404)
    }
}

/// The body of a success, or what any other reply means.
pub(super) fn success(request: &Request, reply: Reply) -> Result<Vec<u8>, NodeError> {
    let (status, what) = (reply.status, request.what.clone());
    match status {
        200 | 204 => Ok(reply.body),
        404 => Err(NodeError::NotFound { what, message: reply.message() }),
        401 | 403 => Err(NodeError::Unauthorized { what, status, message: reply.message() }),
        // Too slow and too much are about the moment, not about the request.
        408 | 429 => Err(request.unknown(format!("{status}: {}", reply.message()))),
        400..=499 => Err(NodeError::Refused { what, status, message: reply.message() }),
        _ => Err(request.unknown(format!("{status}: {}", reply.message()))),
    }
}

/// A JSON body; an empty one is what a panic in a handler leaves.
pub(super) fn json<T: DeserializeOwned>(request: &Request, body: &[u8]) -> Result<T, NodeError> {
    serde_json::from_slice(body).map_err(|error| {
        let start: String = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        request.unknown(format!("the body of {} bytes does not parse: {error}: {start:?}", body.len()))
    })
}
