//! Counts and queries through GraphQL, deprecated since 2026-10-26 but all that many servers have (facts: weaviate.md
//! §4, §11). Its errors come with HTTP 200.

use lifeboat_workflows::ports::node::{Equals, Hit, NodeError, Place};
use serde::Deserialize;
use serde_json::{Value, json};

use super::evidence::typed_value;
use super::reply;
use super::request::{Method, Request, SMALL_BYTES, named};
use super::search::QUERY_SECS;

pub(super) fn count(place: &Place, filter: Option<&Equals>) -> Result<Request, NodeError> {
    let request = post(place, "count");
    let mut arguments = tenant(place);
    if let Some(filter) = filter {
        let (field, value) = typed_value(&request, filter)?;
        let path = text(&filter.property);
        arguments.push(format!("where:{{path:[{path}],operator:Equal,{field}:{}}}", literal(&value)));
    }
    let class = class(&request, place)?;
    let query = format!("{{Aggregate{{{class}{}{{meta{{count}}}}}}}}", arguments_of(&arguments));
    Ok(request.body(json!({ "query": query })))
}

pub(super) fn bm25(place: &Place, property: &str, query: &str, limit: u32) -> Result<Request, NodeError> {
    let bm25 = format!("bm25:{{query:{},properties:[{}]}}", text(query), text(property));
    get(place, "bm25", bm25, limit, "id score")
}

pub(super) fn near_object(place: &Place, id: &str, vector: Option<&str>, limit: u32) -> Result<Request, NodeError> {
    let by = vector.map_or_else(String::new, |name| format!(",targetVectors:[{}]", text(name)));
    get(place, "near object", format!("nearObject:{{id:{}{by}}}", text(id)), limit, "id")
}

fn get(place: &Place, what: &str, search: String, limit: u32, fields: &str) -> Result<Request, NodeError> {
    let request = post(place, what);
    let mut arguments = tenant(place);
    arguments.extend([search, format!("limit:{limit}")]);
    let class = class(&request, place)?;
    let query = format!("{{Get{{{class}{}{{_additional{{{fields}}}}}}}}}", arguments_of(&arguments));
    Ok(request.body(json!({ "query": query })))
}

fn post(place: &Place, what: &str) -> Request {
    Request::new(Method::Post, format!("{what} in {} by GraphQL", named(place)), "/v1/graphql")
        .bounds(QUERY_SECS, SMALL_BYTES)
}

/// The class as a GraphQL name. It stands outside any quotes, so nothing but a name may pass.
fn class<'p>(request: &Request, place: &'p Place) -> Result<&'p str, NodeError> {
    let valid = place.class.starts_with(|c: char| c.is_ascii_alphabetic())
        && place.class.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    valid.then_some(place.class.as_str()).ok_or_else(|| request.unknown("not sent: the class is no GraphQL name"))
}

fn tenant(place: &Place) -> Vec<String> {
    place.tenant.iter().map(|t| format!("tenant:{}", text(t))).collect()
}

fn arguments_of(arguments: &[String]) -> String {
    if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(",")) }
}

/// A GraphQL string: every JSON string is one.
fn text(value: &str) -> String {
    literal(&Value::String(value.to_owned()))
}

fn literal(value: &Value) -> String {
    value.to_string()
}

#[derive(Deserialize)]
struct Body {
    data: Option<Value>,
    #[serde(default)]
    errors: Option<Vec<ErrorBody>>,
}

#[derive(Deserialize)]
struct ErrorBody {
    message: String,
}

/// Words of an error that passes by itself.
const PASSING: [&str; 7] = [
    "context deadline exceeded",
    "context canceled",
    "timed out",
    "timeout",
    "not ready",
    "shutting down",
    "try again",
];
/// Words of an error that says that the class or tenant is not there.
const ABSENT: [&str; 3] = ["Cannot query field", "tenant not found", "could not find class"];

/// The data of an answer without errors; half an answer is none.
fn data(request: &Request, body: &[u8]) -> Result<Value, NodeError> {
    let body: Body = reply::json(request, body)?;
    let errors = body.errors.unwrap_or_default();
    if errors.is_empty() {
        return body.data.ok_or_else(|| request.unknown("the answer has neither data nor errors"));
    }
    let message: String =
        errors.iter().map(|e| e.message.as_str()).collect::<Vec<_>>().join("; ").chars().take(1_000).collect();
    let what = request.what.clone();
    Err(if PASSING.iter().any(|words| message.contains(words)) {
        request.unknown(message)
    } else if ABSENT.iter().any(|words| message.contains(words)) {
        NodeError::NotFound { what, message }
    } else {
        NodeError::Refused { what, status: 200, message }
    })
}

pub(super) fn read_count(request: &Request, place: &Place, body: &[u8]) -> Result<u64, NodeError> {
    let data = data(request, body)?;
    let count = data["Aggregate"][&place.class][0]["meta"]["count"].as_u64();
    count.ok_or_else(|| request.unknown("the answer has no count"))
}

pub(super) fn read_hits(request: &Request, place: &Place, body: &[u8]) -> Result<Vec<Hit>, NodeError> {
    let data = data(request, body)?;
    let hits = data["Get"][&place.class].as_array();
    hits.ok_or_else(|| request.unknown("the answer has no list of objects"))?
        .iter()
        .map(|hit| {
            let additional = &hit["_additional"];
            let id = additional["id"].as_str().ok_or_else(|| request.unknown("a hit has no id"))?.to_owned();
            // GraphQL gives scores as text.
            let score = additional["score"].as_str().and_then(|s| s.parse().ok()).unwrap_or(0.0);
            Ok(Hit { id, score })
        })
        .collect()
}
