//! Tenants of a class: list, add, change activity, remove.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, Shared, body};
use crate::collection::Collection;
use crate::errors::Refusal;
use crate::names;
use crate::tenants::Activity;

/// A tenant as a client sends it.
#[derive(Debug, Deserialize)]
pub(crate) struct Sent {
    name: String,
    #[serde(default, rename = "activityStatus")]
    status: String,
}

/// The class of a list, whose refusals have more words than those of a change.
fn listed(app: &App, class: &str) -> Result<std::sync::Arc<Collection>, Refusal> {
    const FRONT: &str = "failed to execute query: could not get tenants: could not get tenants";
    match app.db.class(class) {
        None => Err(Refusal::unprocessable(format!("{FRONT}: class not found"))),
        Some(_) => {
            partitioned(app, class).map_err(|refusal| Refusal::unprocessable(format!("{FRONT}: {}", refusal.message())))
        }
    }
}

fn partitioned(app: &App, class: &str) -> Result<std::sync::Arc<Collection>, Refusal> {
    let class = app.db.class(class).ok_or_else(|| Refusal::unprocessable(format!("class {class:?} not found")))?;
    if !class.partitioned {
        return Err(Refusal::unprocessable(format!("multi-tenancy is not enabled for class {:?}", class.name)));
    }
    Ok(class)
}

fn activity(app: &App, sent: &Sent) -> Result<Activity, Refusal> {
    let activity = Activity::parse(&sent.status).ok_or_else(|| {
        Refusal::framework(
            606,
            "activityStatus in body should be one of [ACTIVE INACTIVE OFFLOADED OFFLOADING ONLOADING HOT COLD FROZEN FREEZING UNFREEZING]",
        )
    })?;
    if activity == Activity::Offloaded && !app.config.offload {
        return Err(Refusal::unprocessable("can't offload tenants, because offload-s3 module is not enabled"));
    }
    Ok(activity)
}

/// `GET /v1/schema/{class}/tenants`
pub(crate) async fn list(State(app): Shared, Path(class): Path<String>) -> Result<Json<Value>, Refusal> {
    let class = listed(&app, &class)?;
    let tenants: Vec<Value> = class
        .slots()
        .values()
        .map(|slot| json!({"name": slot.name, "activityStatus": slot.activity().stored()}))
        .collect();
    Ok(Json(Value::Array(tenants)))
}

/// `POST /v1/schema/{class}/tenants`: those that exist are left as they are.
pub(crate) async fn create(
    State(app): Shared,
    Path(class): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Refusal> {
    let sent: Vec<Sent> = body::json(&headers, &bytes)?;
    let class = partitioned(&app, &class)?;
    let mut added = Vec::new();
    for (at, tenant) in sent.iter().enumerate() {
        names::tenant(at, &tenant.name)?;
        let activity = activity(&app, tenant)?;
        if activity == Activity::Offloaded {
            return Err(Refusal::unprocessable(format!("tenant {:?} cannot be created as OFFLOADED", tenant.name)));
        }
        if class.add_tenant(&tenant.name, activity).map_err(|error| Refusal::internal(error.to_string()))? {
            added.push(json!({"name": tenant.name, "activityStatus": activity.stored()}));
        }
    }
    app.db.save()?;
    Ok(Json(Value::Array(added)))
}

/// `PUT /v1/schema/{class}/tenants`
pub(crate) async fn update(
    State(app): Shared,
    Path(class): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Refusal> {
    let sent: Vec<Sent> = body::json(&headers, &bytes)?;
    let class = partitioned(&app, &class)?;
    let mut changed = Vec::new();
    for tenant in &sent {
        let activity = activity(&app, tenant)?;
        let slot = class.slots().get(&tenant.name).cloned();
        let slot = slot.ok_or_else(|| {
            Refusal::unprocessable(format!("updating schema: TYPE_UPDATE_TENANT: shard not found: {}", tenant.name))
        })?;
        class.set_activity(&slot, activity).map_err(|error| Refusal::internal(error.to_string()))?;
        changed.push(json!({"name": tenant.name, "activityStatus": activity.stored()}));
    }
    app.db.save()?;
    Ok(Json(Value::Array(changed)))
}

/// `DELETE /v1/schema/{class}/tenants`
pub(crate) async fn delete(
    State(app): Shared,
    Path(class): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<StatusCode, Refusal> {
    let names: Vec<String> = body::json(&headers, &bytes)?;
    let class = partitioned(&app, &class)?;
    for name in &names {
        class.remove_tenant(name).map_err(|error| Refusal::internal(error.to_string()))?;
    }
    app.db.save()?;
    Ok(StatusCode::OK)
}
