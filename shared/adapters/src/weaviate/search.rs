//! Counts and queries through REST aggregate and search (facts: weaviate.md §11; shapes from Weaviate's OpenAPI
//! document).

use lifeboat_workflows::ports::node::{Equals, Hit, NodeError, Place};
use serde::Deserialize;
use serde_json::{Value, json};

use super::evidence::typed_value;
use super::reply;
use super::request::{Method, Request, SMALL_BYTES, encoded, named};

/// How long a count or a query may take; Weaviate's own limit is 60 s.
pub(super) const QUERY_SECS: u64 = 45;

pub(super) fn count(place: &Place, filter: Option<&Equals>) -> Result<Request, NodeError> {
    let request = post(place, "count", format!("/v1/aggregate/{}", encoded(&place.class)));
    let mut body = in_tenant(place, json!({}));
    if let Some(filter) = filter {
        let (field, value) = typed_value(&request, filter)?;
        body["where"] = json!({"path": [filter.property], "operator": "Equal", field: value});
    }
    Ok(request.body(body))
}

pub(super) fn bm25(place: &Place, property: &str, query: &str, limit: u32) -> Request {
    let body = json!({"query": query, "queryProperties": [property], "limit": limit,
        "returnProperties": [], "returnMetadata": ["score"]});
    post(place, "bm25", format!("/v1/search/{}/bm25", encoded(&place.class))).body(in_tenant(place, body))
}

pub(super) fn near_object(place: &Place, id: &str, vector: Option<&str>, limit: u32) -> Request {
    let mut body = json!({"id": id, "limit": limit, "returnProperties": [], "returnMetadata": ["distance"]});
    if let Some(vector) = vector {
        body["targetVector"] = json!(vector);
    }
    post(place, "near object", format!("/v1/search/{}/near-object", encoded(&place.class))).body(in_tenant(place, body))
}

fn post(place: &Place, what: &str, path: String) -> Request {
    Request::new(Method::Post, format!("{what} in {} by REST", named(place)), path).bounds(QUERY_SECS, SMALL_BYTES)
}

fn in_tenant(place: &Place, mut body: Value) -> Value {
    if let Some(tenant) = &place.tenant {
        body["tenant"] = json!(tenant);
    }
    body
}

#[derive(Deserialize)]
struct CountBody {
    count: u64,
}

pub(super) fn read_count(request: &Request, body: &[u8]) -> Result<u64, NodeError> {
    Ok(reply::json::<CountBody>(request, body)?.count)
}

#[derive(Deserialize)]
struct HitsBody {
    results: Vec<HitBody>,
}

#[derive(Deserialize)]
struct HitBody {
    id: String,
    metadata: Option<MetadataBody>,
}

#[derive(Deserialize)]
struct MetadataBody {
    score: Option<f64>,
}

pub(super) fn read_hits(request: &Request, body: &[u8]) -> Result<Vec<Hit>, NodeError> {
    let body: HitsBody = reply::json(request, body)?;
    let hit = |h: HitBody| Hit { id: h.id, score: h.metadata.and_then(|m| m.score).unwrap_or(0.0) };
    Ok(body.results.into_iter().map(hit).collect())
}
