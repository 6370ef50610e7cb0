//! Single objects: list, read, write, remove.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::batch::{route, store};
use super::{App, Shared, body};
use crate::collection::Collection;
use crate::errors::Refusal;
use crate::objects::{Incoming, Object, ObjectId, View};
use crate::references;
use crate::search::{Query, Ranking, search};

#[derive(Debug, Serialize)]
struct List<'a> {
    deprecations: Vec<()>,
    objects: Vec<View<'a>>,
    #[serde(rename = "totalResults", skip_serializing_if = "is_zero")]
    total: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(total: &usize) -> bool {
    *total == 0
}

fn send<T: Serialize>(value: &T) -> Result<Response, Refusal> {
    let text = serde_json::to_string(value).map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// `GET /v1/objects` (whose objects do not name their tenant): a page of one class by id, after a cursor (which need not exist), or of all classes.
pub(crate) async fn list(State(app): Shared, uri: Uri) -> Result<Response, Refusal> {
    let query = body::query(&uri);
    let text = |name: &str| query.get(name).filter(|value| !value.is_empty()).cloned();
    let number = |name: &str, default: usize| match text(name) {
        None => Ok(default),
        Some(value) => value
            .parse()
            .map_err(|_| Refusal::framework(601, format!("{name} in query must be of type int64: \"{value}\""))),
    };
    let with_vectors = text("include").is_some_and(|list| list.split(',').any(|item| item == "vector"));
    let after = match text("after") {
        None => None,
        Some(id) => Some(id.parse::<ObjectId>().map_err(|()| {
            Refusal::unprocessable(format!(
                "msg:cursor api: invalid 'after' parameter code:400 err:after parameter '{id}' is not a valid uuid: invalid UUID length: {}",
                id.len()
            ))
        })?),
    };
    let classes: Vec<Arc<Collection>> = match text("class") {
        Some(name) => match app.db.class(&name) {
            Some(class) => vec![class],
            None => return Ok(StatusCode::NOT_FOUND.into_response()),
        },
        None if after.is_some() || query.contains_key("after") => {
            return Err(Refusal::internal(
                "list objects: after parameter not allowed, cursor must be specific to one class, set class query param",
            ));
        }
        None => app.db.classes().into_iter().filter(|class| !class.partitioned).collect(),
    };
    let limit = number("limit", if query.contains_key("after") { 25 } else { app.config.default_limit })?;
    let tenant = text("tenant");
    let mut found: Vec<(String, Arc<Object>)> = Vec::new();
    for class in classes {
        let query = Query {
            tenant: tenant.clone(),
            filter: None,
            ranking: Ranking::ById { after },
            limit: limit.saturating_sub(found.len()),
            offset: number("offset", 0)?,
        };
        let hits = tokio::task::block_in_place(|| search(&class, &query)).map_err(|refusal| {
            within(refusal, &format!("msg:search index {} code:422 err:", class.name.to_lowercase()))
        })?;
        found.extend(hits.into_iter().map(|hit| (class.name.clone(), hit.object)));
    }
    for (class, object) in &mut found {
        if let Some(class) = app.db.class(class) {
            *object = references::linked(&class.definition(), Arc::clone(object));
        }
    }
    let objects: Vec<View<'_>> = found.iter().map(|(class, object)| object.view(class, None, with_vectors)).collect();
    send(&List { deprecations: Vec::new(), total: objects.len(), objects })
}

/// `POST /v1/objects`: an id that exists is refused.
pub(crate) async fn create(State(app): Shared, headers: HeaderMap, bytes: Bytes) -> Result<Response, Refusal> {
    let incoming: Incoming = body::json(&headers, &bytes)?;
    let item = route(&app, incoming).map_err(|refusal| within(refusal, "determine shard: "))?;
    if item.shard.objects().contains_key(&item.object.id) {
        return Err(Refusal::unprocessable(format!("id '{}' already exists", item.object.id)));
    }
    write(&app, item)
}

fn write(app: &App, item: super::batch::Routed) -> Result<Response, Refusal> {
    let stored = store(app, vec![item])?;
    match stored.first() {
        Some((item, object)) => {
            let object = references::linked(&item.class.definition(), Arc::clone(object));
            send(&object.view(&item.class.name, item.tenant.as_deref(), true))
        }
        None => Err(Refusal::internal("nothing was stored")),
    }
}

/// A refusal for its tenant, with the words of the call that met it.
fn within(refusal: Refusal, front: &str) -> Refusal {
    if refusal.message().starts_with("tenant ") {
        return Refusal::unprocessable(format!("{front}{}", refusal.message()));
    }
    refusal
}

type Found = Option<(Arc<Collection>, Arc<Object>)>;

pub(super) fn find(app: &App, class: &str, id: &str, uri: &Uri) -> Result<Found, Refusal> {
    let id: ObjectId =
        id.parse().map_err(|()| Refusal::framework(601, format!("id in path must be of type uuid: \"{id}\"")))?;
    let Some(class) = app.db.class(class) else { return Ok(None) };
    let front = format!("repo: object by id: search index {}: determine shard: ", class.name.to_lowercase());
    let shard = class
        .shard(body::query(uri).get("tenant").map(String::as_str), Some(id))
        .map_err(|refusal| within(refusal, &front))?;
    let object = shard.objects().get(&id).cloned();
    Ok(object.map(|object| (class, object)))
}

/// `GET /v1/objects/{class}/{id}`: 404 without a body when there is none.
pub(crate) async fn read(
    State(app): Shared,
    Path((class, id)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let Some((class, object)) = find(&app, &class, &id, &uri)? else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let object = references::linked(&class.definition(), object);
    let query = body::query(&uri);
    let with_vectors = query.get("include").is_some_and(|list| list.split(',').any(|item| item == "vector"));
    send(&object.view(&class.name, query.get("tenant").map(String::as_str), with_vectors))
}

/// `HEAD /v1/objects/{class}/{id}`
pub(crate) async fn head(
    State(app): Shared,
    Path((class, id)): Path<(String, String)>,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    Ok(if find(&app, &class, &id, &uri)?.is_some() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

/// `PUT /v1/objects/{class}/{id}`: replaces what must exist.
pub(crate) async fn replace(
    State(app): Shared,
    Path((class, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refusal> {
    let mut incoming: Incoming = body::json(&headers, &bytes)?;
    incoming.class = class;
    incoming.id = Some(id.clone());
    let item = route(&app, incoming)?;
    if !item.shard.objects().contains_key(&item.object.id) {
        return Err(Refusal::unprocessable(format!("no object with id '{id}'")));
    }
    write(&app, item)
}

/// `DELETE /v1/objects/{class}/{id}`
pub(crate) async fn delete(
    State(app): Shared,
    Path((class, id)): Path<(String, String)>,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    // Deleting what is not there is done already (a real 1.38.11).
    let Some((class, object)) = find(&app, &class, &id, &uri)? else {
        return if app.db.class(&class).is_some() {
            Ok(StatusCode::NO_CONTENT)
        } else {
            let text = format!("could not delete object from vector repo: delete from non-existing index for {class}");
            Err(Refusal::internal(text))
        };
    };
    let shard = class.shard(body::query(&uri).get("tenant").map(String::as_str), Some(object.id))?;
    shard.delete(object.id).map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}
