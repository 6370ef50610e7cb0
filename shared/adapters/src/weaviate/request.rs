//! Requests as values, built without I/O.

use std::time::Duration;

use lifeboat_workflows::ports::node::{NodeError, Place};
use serde_json::Value;

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

/// A request to a node, with the bounds of its call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// What it asks for, for people.
    pub(super) what: String,
    /// Its method.
    pub(super) method: Method,
    /// Path and query, starting with one slash: two would bypass Weaviate's read-only gate.
    pub(super) path: String,
    /// Its JSON body.
    pub(super) body: Option<Value>,
    /// Whether it carries the operator's key.
    pub(super) authenticated: bool,
    /// How long the whole call may take.
    pub(super) timeout: Duration,
    /// The most bytes of a reply that are read.
    pub(super) limit_bytes: usize,
}

/// A reply of a few values.
pub(super) const SMALL_BYTES: usize = 256 << 10;
/// A reply that grows with the cluster: schema, tenants, backups.
pub(super) const LARGE_BYTES: usize = 64 << 20;
/// One object with its vectors; Weaviate's own limit for one is below this.
const OBJECT_BYTES: usize = 32 << 20;

impl Request {
    pub(super) fn new(method: Method, what: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            method,
            path: path.into(),
            body: None,
            authenticated: true,
            timeout: Duration::from_secs(10),
            limit_bytes: SMALL_BYTES,
        }
    }

    pub(super) fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(super) fn bounds(self, timeout_secs: u64, limit_bytes: usize) -> Self {
        Self { timeout: Duration::from_secs(timeout_secs), limit_bytes, ..self }
    }

    /// No usable answer to this request.
    pub(super) fn unknown(&self, detail: impl Into<String>) -> NodeError {
        NodeError::Unknown { what: self.what.clone(), detail: detail.into() }
    }
}

/// A text as one segment of a path or one value of a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

pub(super) fn ready() -> Request {
    let request = Request::new(Method::Get, "whether it is ready", "/v1/.well-known/ready");
    Request { authenticated: false, ..request.bounds(5, SMALL_BYTES) }
}

pub(super) fn live() -> Request {
    let request = Request::new(Method::Get, "whether it is live", "/v1/.well-known/live");
    Request { authenticated: false, ..request.bounds(5, SMALL_BYTES) }
}

pub(super) fn meta() -> Request {
    Request::new(Method::Get, "meta", "/v1/meta").bounds(10, 4 << 20)
}

/// Weaviate itself waits up to 30 s for it (facts: weaviate.md §4).
pub(super) fn nodes() -> Request {
    Request::new(Method::Get, "nodes", "/v1/nodes?output=verbose").bounds(35, LARGE_BYTES)
}

/// A write that can change nothing: nobody can have made a class of this name, nor an object of this id in it. A key that
/// may write is refused by 404 or 422 where writes are allowed, and by the mode before anything else where they are not.
pub(super) fn idle_write() -> Request {
    let path = "/v1/objects/LifeboatHasNoSuchClass/ffffffff-ffff-4fff-bfff-ffffffffffff";
    Request::new(Method::Delete, "a write that changes nothing", path)
}

pub(super) fn schema() -> Request {
    Request::new(Method::Get, "schema", "/v1/schema").bounds(20, LARGE_BYTES)
}

pub(super) fn aliases() -> Request {
    Request::new(Method::Get, "aliases", "/v1/aliases").bounds(10, LARGE_BYTES)
}

pub(super) fn delete_class(class: &str) -> Request {
    let path = format!("/v1/schema/{}", encoded(class));
    Request::new(Method::Delete, format!("removal of {class}"), path).bounds(50, SMALL_BYTES)
}

pub(super) fn delete_alias(alias: &str) -> Request {
    let path = format!("/v1/aliases/{}", encoded(alias));
    Request::new(Method::Delete, format!("removal of alias {alias}"), path).bounds(20, SMALL_BYTES)
}

pub(super) fn tenants(class: &str) -> Request {
    let path = format!("/v1/schema/{}/tenants", encoded(class));
    Request::new(Method::Get, format!("tenants of {class}"), path).bounds(30, LARGE_BYTES)
}

pub(super) fn object(place: &Place, id: &str) -> Request {
    let path = format!("/v1/objects/{}/{}?include=vector{}", encoded(&place.class), encoded(id), tenant(place));
    Request::new(Method::Get, format!("object {id} of {}", named(place)), path).bounds(20, OBJECT_BYTES)
}

pub(super) fn object_after(place: &Place, after: &str) -> Request {
    let (class, after_id) = (encoded(&place.class), encoded(after));
    let path = format!("/v1/objects?class={class}&after={after_id}&limit=1&include=vector{}", tenant(place));
    Request::new(Method::Get, format!("object after {after} of {}", named(place)), path).bounds(20, OBJECT_BYTES)
}

fn tenant(place: &Place) -> String {
    place.tenant.as_ref().map(|t| format!("&tenant={}", encoded(t))).unwrap_or_default()
}

/// A place for people.
pub(super) fn named(place: &Place) -> String {
    match &place.tenant {
        Some(tenant) => format!("{} tenant {tenant}", place.class),
        None => place.class.clone(),
    }
}
