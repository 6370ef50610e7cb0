//! Routes of backups and restores.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::{Extension, Json};
use serde_json::Value;

use super::{Shared, body};
use crate::auth::User;
use crate::errors::Refusal;
use crate::store::Place;

type Answer = Result<Json<Value>, Refusal>;

fn place(uri: &Uri) -> Place {
    let mut query: BTreeMap<String, String> = body::query(uri);
    Place { bucket: query.remove("bucket").unwrap_or_default(), path: query.remove("path").unwrap_or_default() }
}

/// `POST /v1/backups/{backend}`
pub(crate) async fn create(
    State(app): Shared,
    Extension(user): Extension<User>,
    Path(backend): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let request = body::json(&headers, &bytes)?;
    app.backups.start_create(&user, &backend, request).await.map(Json)
}

/// `GET /v1/backups/{backend}`
pub(crate) async fn list(
    State(app): Shared,
    Extension(user): Extension<User>,
    Path(backend): Path<String>,
    uri: Uri,
) -> Answer {
    let ascending = match body::query(&uri).get("order").map(String::as_str) {
        None | Some("desc" | "") => false,
        Some("asc") => true,
        Some(_) => return Err(Refusal::framework(606, "order in query should be one of [asc desc]")),
    };
    app.backups.list(&user, &backend, ascending).await.map(Json)
}

/// `GET /v1/backups/{backend}/{id}`
pub(crate) async fn create_status(
    State(app): Shared,
    Extension(user): Extension<User>,
    Path((backend, id)): Path<(String, String)>,
    uri: Uri,
) -> Answer {
    app.backups.create_status(&user, &backend, &id, place(&uri)).await.map(Json)
}

/// `DELETE /v1/backups/{backend}/{id}`
pub(crate) async fn cancel_create(
    State(app): Shared,
    Extension(user): Extension<User>,
    Path((backend, id)): Path<(String, String)>,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    app.backups.cancel_create(&user, &backend, &id, place(&uri)).await.map(|()| StatusCode::NO_CONTENT)
}

/// `POST /v1/backups/{backend}/{id}/restore`
pub(crate) async fn restore(
    State(app): Shared,
    Extension(user): Extension<User>,
    Path((backend, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let request = body::json(&headers, &bytes)?;
    app.backups.start_restore(&user, &backend, &id, request).await.map(Json)
}

/// `GET /v1/backups/{backend}/{id}/restore`
pub(crate) async fn restore_status(
    State(app): Shared,
    Extension(user): Extension<User>,
    Path((backend, id)): Path<(String, String)>,
    uri: Uri,
) -> Answer {
    app.backups.restore_status(&user, &backend, &id, place(&uri)).await.map(Json)
}

/// `DELETE /v1/backups/{backend}/{id}/restore`
pub(crate) async fn cancel_restore(
    State(app): Shared,
    Extension(user): Extension<User>,
    Path((backend, id)): Path<(String, String)>,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    app.backups.cancel_restore(&user, &backend, &id, place(&uri)).await.map(|()| StatusCode::NO_CONTENT)
}
