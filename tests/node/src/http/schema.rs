//! Classes, their shards, and aliases.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Shared, body};
use crate::errors::Refusal;
use crate::tenants::Activity;

/// `GET /v1/schema`
pub(crate) async fn list(State(app): Shared) -> Json<Value> {
    let classes: Vec<Value> = app.db.classes().iter().map(|class| class.definition()).collect();
    Json(json!({"classes": classes}))
}

/// `POST /v1/schema`
pub(crate) async fn create(State(app): Shared, headers: HeaderMap, bytes: Bytes) -> Result<Json<Value>, Refusal> {
    let sent: Value = body::json(&headers, &bytes)?;
    app.db.create_class(sent).map(Json)
}

/// `GET /v1/schema/{class}`: 404 without a body when there is none.
pub(crate) async fn read(State(app): Shared, Path(class): Path<String>) -> Result<Json<Value>, StatusCode> {
    app.db.class(&class).map(|class| Json(class.definition())).ok_or(StatusCode::NOT_FOUND)
}

/// `DELETE /v1/schema/{class}`: 200 also for a class that does not exist.
pub(crate) async fn delete(State(app): Shared, Path(class): Path<String>) -> Result<StatusCode, Refusal> {
    app.db.delete_class(&class).map(|()| StatusCode::OK)
}

/// `GET /v1/schema/{class}/shards`: 500, and late, when a tenant sleeps.
pub(crate) async fn shards(State(app): Shared, Path(class): Path<String>) -> Result<Json<Value>, Response> {
    let class = app.db.class(&class).ok_or_else(|| StatusCode::NOT_FOUND.into_response())?;
    let asleep =
        class.slots().values().find(|slot| slot.activity() == Activity::Inactive).map(|slot| slot.name.clone());
    if let Some(name) = asleep {
        tokio::time::sleep(app.knobs.round(7.6)).await;
        let text = format!("shard {name}: status code: 500 body: (local {name} shard not found\n)");
        return Err(Refusal::internal(text).into_response());
    }
    let shards: Vec<Value> = class
        .slots()
        .values()
        .filter(|slot| slot.activity() == Activity::Active)
        .map(|slot| {
            let status = if slot.loaded().is_some() { "READY" } else { "LAZY_LOADING" };
            json!({"name": slot.name, "status": status, "vectorQueueSize": 0})
        })
        .collect();
    Ok(Json(Value::Array(shards)))
}

/// `GET /v1/aliases`
pub(crate) async fn aliases(State(app): Shared) -> Json<Value> {
    let aliases: Vec<Value> =
        app.db.aliases().into_iter().map(|(alias, class)| json!({"alias": alias, "class": class})).collect();
    Json(json!({"aliases": aliases}))
}

/// `POST /v1/aliases`
pub(crate) async fn create_alias(State(app): Shared, headers: HeaderMap, bytes: Bytes) -> Result<Json<Value>, Refusal> {
    let sent: Value = body::json(&headers, &bytes)?;
    let (alias, class) = (sent["alias"].as_str().unwrap_or_default(), sent["class"].as_str().unwrap_or_default());
    app.db.set_alias(alias, class, false)?;
    Ok(Json(json!({"alias": alias, "class": class})))
}

/// `GET /v1/aliases/{alias}`
pub(crate) async fn read_alias(State(app): Shared, Path(alias): Path<String>) -> Result<Json<Value>, StatusCode> {
    let class = app.db.aliases().remove(&alias).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({"alias": alias, "class": class})))
}

/// `DELETE /v1/aliases/{alias}`
pub(crate) async fn delete_alias(State(app): Shared, Path(alias): Path<String>) -> Result<StatusCode, Refusal> {
    Ok(if app.db.delete_alias(&alias)? { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}
