//! GraphQL, and the newer REST search, each where this version and its flags have it.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{App, Shared, body};
use crate::collection::Collection;
use crate::errors::Refusal;
use crate::graphql::execute::execute;
use crate::objects::{ObjectId, short};
use crate::search::filter::Filter;
use crate::search::{NO_VECTOR, Query, Ranking, count, search};

#[derive(Debug, Deserialize)]
struct GraphqlRequest {
    #[serde(default)]
    query: String,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
}

/// `POST /v1/graphql`
pub(crate) async fn graphql(State(app): Shared, headers: HeaderMap, bytes: Bytes) -> Result<Json<Value>, Refusal> {
    let request: GraphqlRequest = body::json(&headers, &bytes)?;
    if app.config.disable_graphql {
        return Err(Refusal::unprocessable("graphql api is disabled"));
    }
    if request.query.is_empty() {
        return Err(Refusal::unprocessable("query cannot be empty"));
    }
    if app.db.class_names().is_empty() {
        return Err(Refusal::unprocessable(
            "no graphql provider present, this is most likely because no schema is present. Import a schema first!",
        ));
    }
    let variables = request.variables.unwrap_or_default();
    Ok(Json(tokio::task::block_in_place(|| {
        execute(&app.db, &app.knobs, app.config.default_limit, &request.query, &variables)
    })))
}

#[derive(Debug, Deserialize)]
struct SearchRequest {
    #[serde(default)]
    query: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default, rename = "where")]
    filter: Option<Value>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    offset: Option<usize>,
    #[serde(default, rename = "queryProperties")]
    query_properties: Option<Vec<String>>,
    #[serde(default, rename = "returnProperties")]
    return_properties: Option<Vec<String>>,
    #[serde(default, rename = "returnMetadata")]
    return_metadata: Option<Vec<String>>,
    #[serde(default, rename = "groupBy")]
    group_by: Option<Value>,
    #[serde(default, rename = "targetVector")]
    target_vector: Option<String>,
    #[serde(default)]
    distance: Option<f64>,
}

fn request(app: &App, headers: &HeaderMap, bytes: &Bytes) -> Result<SearchRequest, Refusal> {
    if !app.config.rest_search {
        return Err(Refusal::unprocessable(
            "rest search api is experimental and not enabled; set EXPERIMENTAL_REST_SEARCH_ENABLED=true to enable",
        ));
    }
    // On these routes the framework's refusals come in the handlers' shape.
    body::json(headers, bytes).map_err(|refusal| Refusal::handler(refusal.status, refusal.message().to_owned()))
}

/// A tenant that does not exist is a 404 on these routes.
fn not_found(refusal: Refusal) -> Refusal {
    if refusal.message().starts_with("tenant not found") {
        return Refusal::not_found(refusal.message().to_owned());
    }
    refusal
}

fn filter(class: &Collection, request: &SearchRequest) -> Result<Option<Filter>, Refusal> {
    request.filter.as_ref().map(|from| Filter::read(from, &class.definition())).transpose()
}

fn class(app: &App, name: &str) -> Result<Arc<Collection>, Refusal> {
    app.db.class(name).ok_or_else(|| Refusal::not_found(format!("could not find collection {name} in schema")))
}

fn took(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// `POST /v1/aggregate/{class}`
pub(crate) async fn aggregate(
    State(app): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Refusal> {
    let since = Instant::now();
    let request = request(&app, &headers, &bytes)?;
    if request.group_by.is_some() {
        return Err(Refusal::unprocessable("groupBy is not played by this double"));
    }
    let class = class(&app, &name)?;
    let filter = filter(&class, &request)?;
    let counted = tokio::task::block_in_place(|| count(&class, request.tenant.as_deref(), filter.as_ref(), &app.knobs))
        .map_err(not_found)?;
    Ok(Json(json!({"count": counted, "tookMs": took(since)})))
}

/// `POST /v1/search/{class}/bm25`
pub(crate) async fn bm25(
    State(app): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Refusal> {
    let request = request(&app, &headers, &bytes)?;
    if request.query.is_empty() {
        return Err(Refusal::framework(602, "query in body is required"));
    }
    let definition = class(&app, &name)?.definition();
    let known =
        |name: &str| definition["properties"].as_array().is_some_and(|all| all.iter().any(|p| p["name"] == name));
    let asked = request.query_properties.iter().flatten().map(|name| name.split('^').next().unwrap_or(name));
    if let Some(unknown) = asked.into_iter().find(|name| !known(name)) {
        return Err(Refusal::handler(
            StatusCode::BAD_REQUEST,
            format!(
                "no such prop with name '{unknown}' found in class '{name}' in the schema. Check your schema files for which properties in this class are available"
            ),
        ));
    }
    let ranking = Ranking::Keyword {
        query: request.query.clone(),
        properties: request.query_properties.clone().unwrap_or_default(),
    };
    answer(&app, &name, &request, ranking)
}

/// `POST /v1/search/{class}/near-object`
pub(crate) async fn near_object(
    State(app): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Refusal> {
    let request = request(&app, &headers, &bytes)?;
    let text = request.id.clone().unwrap_or_default();
    let id: ObjectId = text.parse().map_err(|()| Refusal::unprocessable(format!("id {text:?} is not a UUID")))?;
    let class = class(&app, &name)?;
    if request.target_vector.is_none()
        && class.definition()["vectorConfig"].as_object().is_some_and(|named| named.len() > 1)
    {
        return Err(Refusal::unprocessable(format!(
            "collection {} has multiple vectors, but no target vectors were provided",
            class.name
        )));
    }
    let exists = class
        .shards_for(request.tenant.as_deref())
        .map_err(not_found)?
        .iter()
        .any(|shard| shard.objects().contains_key(&id));
    if !exists {
        return Err(Refusal::handler(StatusCode::BAD_REQUEST, NO_VECTOR));
    }
    #[expect(clippy::cast_possible_truncation, reason = "the server keeps distances as 32-bit floats")]
    let max_distance = request.distance.map(|distance| distance as f32);
    let own = app.knobs.version.own_distance();
    answer(&app, &name, &request, Ranking::Near { id, vector: request.target_vector.clone(), max_distance, own })
}

fn answer(app: &App, name: &str, request: &SearchRequest, ranking: Ranking) -> Result<Json<Value>, Refusal> {
    let since = Instant::now();
    let class = class(app, name)?;
    let query = Query {
        tenant: request.tenant.clone(),
        filter: filter(&class, request)?,
        ranking,
        limit: request.limit.unwrap_or(app.config.default_limit),
        offset: request.offset.unwrap_or_default(),
    };
    let hits = tokio::task::block_in_place(|| search(&class, &query)).map_err(not_found)?;
    let wanted = request.return_metadata.as_deref().unwrap_or(&[]);
    let results: Vec<Value> = hits
        .iter()
        .map(|hit| {
            let mut metadata = Map::new();
            if let Some(score) = hit.score.filter(|_| wanted.iter().any(|name| name == "score")) {
                metadata.insert("score".to_owned(), short(score));
            }
            if let Some(distance) = hit.distance.filter(|_| wanted.iter().any(|name| name == "distance")) {
                metadata.insert("distance".to_owned(), short(distance));
            }
            let mut properties = hit.object.properties.clone();
            if let Some(names) = &request.return_properties {
                properties.retain(|name, _| names.contains(name));
            }
            let mut result = json!({"id": hit.object.id.to_string(), "properties": properties});
            if !wanted.is_empty() {
                result["metadata"] = Value::Object(metadata);
            }
            result
        })
        .collect();
    Ok(Json(json!({"results": results, "tookMs": took(since)})))
}
