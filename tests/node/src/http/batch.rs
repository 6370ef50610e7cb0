//! Writing objects: batches and single ones go the same way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{App, Shared, body};
use crate::collection::Collection;
use crate::errors::Refusal;
use crate::objects::{Incoming, Object, ObjectId, View};
use crate::shard::Shard;
use crate::tenants::Activity;
use crate::{names, references, schema, times};

#[derive(Debug, Deserialize)]
struct Batch {
    #[serde(default)]
    objects: Vec<Incoming>,
}

/// One object's answer.
#[derive(Debug, Serialize)]
struct Item<'a> {
    #[serde(flatten)]
    object: View<'a>,
    deprecations: Option<()>,
    result: Value,
}

/// What `/v1/nodes` calls a rate: what the last batch was, for ever. It never falls back to 0.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    last: AtomicUsize,
}

impl Rate {
    fn set(&self, count: usize) {
        self.last.store(count, Ordering::Relaxed);
    }

    /// The left-over.
    pub(crate) fn per_second(&self) -> usize {
        self.last.load(Ordering::Relaxed)
    }
}

/// An object checked and bound for a shard.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) class: Arc<Collection>,
    pub(crate) tenant: Option<String>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) object: Object,
}

/// Checks an object as the server does, and finds its shard. Auto schema may make the class or learn properties.
pub(crate) fn route(app: &App, incoming: Incoming) -> Result<Routed, Refusal> {
    let name = schema::class_name(&incoming.class);
    if name.is_empty() {
        return Err(Refusal::unprocessable("invalid object: the given class is empty"));
    }
    let mut properties = incoming.properties.unwrap_or_default();
    let class = match app.db.class(&name) {
        Some(class) => class,
        None if app.config.auto_schema => {
            let inferred: Vec<Value> = properties
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(property, value)| schema::infer(property, value))
                .collect();
            app.db.create_class(json!({"class": name, "properties": inferred}))?;
            app.db.class(&name).ok_or_else(|| Refusal::internal("class vanished"))?
        }
        None => {
            return Err(Refusal::unprocessable(format!("invalid object: class {name:?} not found in schema")));
        }
    };
    if app.config.auto_schema && class.learn(&properties) {
        app.db.save()?;
    }
    let definition = class.definition();
    schema::fits(&definition, &properties)?;
    references::complete(&app.db, &definition, &mut properties)
        .map_err(|refusal| Refusal::unprocessable(format!("invalid object: {}", refusal.message())))?;
    let id = match incoming.id.as_deref().filter(|id| !id.is_empty()) {
        None => ObjectId::random(),
        Some(text) => {
            text.parse().map_err(|()| Refusal::unprocessable(format!("invalid UUID length: {}", text.len())))?
        }
    };
    let vectors = names::vectors(&definition, incoming.vector, incoming.vectors)?;
    let tenant = incoming.tenant.filter(|tenant| !tenant.is_empty());
    if class.partitioned
        && let Some(name) = &tenant
        && !class.slots().contains_key(name)
        && class.definition()["multiTenancyConfig"]["autoTenantCreation"] == json!(true)
    {
        class.add_tenant(name, Activity::Active).map_err(|error| Refusal::internal(error.to_string()))?;
        app.db.save()?;
    }
    let shard = class.shard(tenant.as_deref(), Some(id))?;
    check_dimensions(&shard, &vectors)?;
    let now = times::now().as_millisecond();
    Ok(Routed { class, tenant, shard, object: Object { id, created_ms: now, updated_ms: now, properties, vectors } })
}

fn check_dimensions(shard: &Shard, vectors: &BTreeMap<String, Vec<f32>>) -> Result<(), Refusal> {
    let objects = shard.objects();
    let Some(known) = objects.values().next() else { return Ok(()) };
    for (name, vector) in vectors {
        if let Some(other) = known.vectors.get(name)
            && other.len() != vector.len()
        {
            return Err(Refusal::internal(format!(
                "put object: vector lengths don't match: {} vs {}",
                other.len(),
                vector.len()
            )));
        }
    }
    Ok(())
}

/// Stores routed objects shard by shard and returns them as stored, in the order given.
pub(crate) fn store(app: &App, routed: Vec<Routed>) -> Result<Vec<(Routed, Arc<Object>)>, Refusal> {
    app.rate.set(routed.len());
    let mut by_shard: Vec<(Arc<Shard>, Vec<usize>, Vec<Object>)> = Vec::new();
    for (at, item) in routed.iter().enumerate() {
        let place = match by_shard.iter().position(|(shard, _, _)| Arc::ptr_eq(shard, &item.shard)) {
            Some(place) => place,
            None => {
                by_shard.push((Arc::clone(&item.shard), Vec::new(), Vec::new()));
                by_shard.len() - 1
            }
        };
        by_shard[place].1.push(at);
        by_shard[place].2.push(item.object.clone());
    }
    let mut stored: BTreeMap<usize, Arc<Object>> = BTreeMap::new();
    for (shard, positions, objects) in by_shard {
        let written = shard.put(objects).map_err(|error| Refusal::internal(format!("put object: {error}")))?;
        stored.extend(positions.into_iter().zip(written));
    }
    Ok(routed.into_iter().zip(stored.into_values()).collect())
}

/// `POST /v1/batch/objects`: 200 with one result per object, failed ones among them.
pub(crate) async fn objects(State(app): Shared, headers: HeaderMap, bytes: Bytes) -> Result<Response, Refusal> {
    tokio::task::block_in_place(|| {
        let batch: Batch = body::json(&headers, &bytes)?;
        if batch.objects.is_empty() {
            return Err(Refusal::unprocessable(
                "invalid param 'objects': cannot be empty, need at least one object for batching",
            ));
        }
        let bad =
            |incoming: &Incoming| incoming.id.clone().filter(|id| !id.is_empty() && id.parse::<ObjectId>().is_err());
        if let Some((at, id)) = batch.objects.iter().enumerate().find_map(|(at, one)| Some((at, bad(one)?))) {
            let message = format!("body.objects.{at}.id in body must be of type uuid: {id:?}");
            return Err(Refusal::framework(601, message));
        }
        let mut refused: BTreeMap<usize, Value> = BTreeMap::new();
        let mut routed = Vec::new();
        for (at, incoming) in batch.objects.into_iter().enumerate() {
            let shown = json!({"class": incoming.class, "id": incoming.id, "tenant": incoming.tenant});
            match route(&app, incoming) {
                Ok(item) => routed.push(item),
                Err(refusal) => {
                    let mut answer = shown;
                    answer["result"] = json!({"errors": {"error": [{"message": references::in_batch(refusal.message())}]}, "status": "FAILED"});
                    refused.insert(at, answer);
                }
            }
        }
        let stored = store(&app, routed)?;
        let mut pieces: Vec<String> = Vec::with_capacity(stored.len() + refused.len());
        for (item, object) in &stored {
            while let Some(answer) = refused.remove(&pieces.len()) {
                pieces.push(answer.to_string());
            }
            let object = object.view(&item.class.name, item.tenant.as_deref(), true);
            let answer = Item { object, deprecations: None, result: json!({"status": "SUCCESS"}) };
            pieces.push(serde_json::to_string(&answer).map_err(|error| Refusal::internal(error.to_string()))?);
        }
        pieces.extend(refused.into_values().map(|answer| answer.to_string()));
        let text = format!("[{}]", pieces.join(","));
        Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
    })
}
