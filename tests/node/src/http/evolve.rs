//! What clients change in place: a class's properties and configuration, an object's properties and references.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::objects::find;
use super::{App, Shared, body};
use crate::errors::Refusal;
use crate::objects::Object;
use crate::{names, references, schema, times};

/// `POST /v1/schema/{class}/properties`
pub(crate) async fn add_property(
    State(app): Shared,
    Path(class): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Refusal> {
    let sent: Value = body::json(&headers, &bytes)?;
    let Some(class) = app.db.class(&class) else {
        return Err(Refusal::unprocessable(format!("class \"{}\": not found", schema::class_name(&class))));
    };
    let name = sent["name"].as_str().unwrap_or_default().to_owned();
    names::property(&name)?;
    let mut whole = json!({"class": class.name, "properties": [sent]});
    references::check_definition(&whole, |target| app.db.class(target).is_some())?;
    whole = schema::complete(whole)?;
    let property = whole["properties"][0].take();
    class.redefine(|definition| {
        let Some(list) = definition["properties"].as_array_mut() else { return Ok(()) };
        let known = |p: &Value| p["name"].as_str().is_some_and(|known| known.to_lowercase() == name.to_lowercase());
        if list.iter().any(known) {
            return Err(names::conflict(&class.name, &name.to_lowercase()));
        }
        list.push(property.clone());
        Ok(())
    })?;
    app.db.save()?;
    Ok(Json(property))
}

/// `PUT /v1/schema/{class}`: what may change of a class, which is its description and how it is indexed.
pub(crate) async fn update_class(
    State(app): Shared,
    Path(class): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Refusal> {
    let sent: Value = body::json(&headers, &bytes)?;
    let Some(class) = app.db.class(&class) else { return Err(Refusal::unprocessable("class not found")) };
    class.redefine(|definition| {
        let (before, after) = (&definition["vectorIndexConfig"]["distance"], &sent["vectorIndexConfig"]["distance"]);
        if !after.is_null() && before != after {
            return Err(Refusal::unprocessable(format!(
                "updating schema: TYPE_UPDATE_CLASS: bad request :parse class update: validate vector index config: \
                 distance is immutable: attempted change from {before} to {after}"
            )));
        }
        let mut changed = definition.clone();
        for field in ["description", "vectorIndexConfig", "vectorConfig", "invertedIndexConfig"] {
            if !sent[field].is_null() {
                changed[field] = sent[field].clone();
            }
        }
        *definition = changed;
        Ok(())
    })?;
    app.db.save()?;
    Ok(Json(class.definition()))
}

/// `GET` and `HEAD /v1/schema/{class}/tenants/{tenant}`
pub(crate) async fn tenant(
    State(app): Shared,
    Path((class, tenant)): Path<(String, String)>,
) -> Result<Json<Value>, StatusCode> {
    let class = app.db.class(&class).ok_or(StatusCode::NOT_FOUND)?;
    let slot = class.slots().get(&tenant).cloned().ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({"name": slot.name, "activityStatus": slot.activity().stored()})))
}

/// Changes a stored object; `None` when it is not there.
fn change(
    app: &App,
    (class, id): (&str, &str),
    uri: &Uri,
    how: impl FnOnce(&Value, &mut Object) -> Result<(), Refusal>,
) -> Result<Option<()>, Refusal> {
    let Some((class, object)) = find(app, class, id, uri)? else { return Ok(None) };
    let mut changed = Object::clone(&object);
    how(&class.definition(), &mut changed)?;
    changed.updated_ms = times::now().as_millisecond();
    let shard = class.shard(body::query(uri).get("tenant").map(String::as_str), Some(changed.id))?;
    shard.put(vec![changed]).map_err(|error| Refusal::internal(format!("put object: {error}")))?;
    Ok(Some(()))
}

fn answer(done: Option<()>, status: StatusCode) -> Response {
    done.map_or(StatusCode::NOT_FOUND, |()| status).into_response()
}

/// `PATCH /v1/objects/{class}/{id}`: the properties sent are merged into those there; null takes one away.
pub(crate) async fn merge(
    State(app): Shared,
    Path((class, id)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refusal> {
    let sent: crate::objects::Incoming = body::json(&headers, &bytes)?;
    // The tenant travels in the body here.
    let uri = match sent.tenant.as_deref().filter(|tenant| !tenant.is_empty()) {
        Some(tenant) => format!("{}?tenant={tenant}", uri.path()).parse().unwrap_or(uri),
        None => uri,
    };
    let done = change(&app, (&class, &id), &uri, |definition, object| {
        let mut properties: Map<String, Value> = sent.properties.unwrap_or_default();
        schema::fits(definition, &properties)?;
        references::complete(&app.db, definition, &mut properties)?;
        for (name, value) in properties {
            if value.is_null() {
                object.properties.remove(&name);
            } else {
                object.properties.insert(name, value);
            }
        }
        object.vectors.extend(names::vectors(definition, sent.vector, sent.vectors)?);
        Ok(())
    })?;
    Ok(answer(done, StatusCode::NO_CONTENT))
}

/// Changes the list of one reference property.
fn refer(
    app: &App,
    (class, id, property): (&str, &str, &str),
    uri: &Uri,
    sent: Vec<Value>,
    how: impl FnOnce(&mut Vec<Value>, Vec<Value>),
) -> Result<Option<()>, Refusal> {
    change(app, (class, id), uri, |definition, object| {
        let known = definition["properties"].as_array().into_iter().flatten();
        if !known.filter(|p| !references::targets(p).is_empty()).any(|p| p["name"] == property) {
            let class = definition["class"].as_str().unwrap_or_default();
            return Err(Refusal::unprocessable(format!(
                "msg:validate inputs code:400 err:no such prop with name '{property}' found in class '{class}' in the \
                 schema. Check your schema files for which properties in this class are available"
            )));
        }
        let mut given = Map::from_iter([(property.to_owned(), Value::Array(sent))]);
        references::complete(&app.db, definition, &mut given).map_err(|refusal| {
            match refusal.message().split_once("no object with id ") {
                Some((_, rest)) => Refusal::unprocessable(format!(
                    "msg:validate existence code:400 err:validate reference: no object with id {rest}"
                )),
                None => refusal,
            }
        })?;
        let given = given[property].as_array().cloned().unwrap_or_default();
        let list = object.properties.entry(property.to_owned()).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            how(list, given);
        }
        Ok(())
    })
}

type Reference = (String, String, String);

/// `POST /v1/objects/{class}/{id}/references/{property}`: one more, also one that is there already.
pub(crate) async fn add_reference(
    State(app): Shared,
    Path((class, id, property)): Path<Reference>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refusal> {
    let sent: Value = body::json(&headers, &bytes)?;
    let done = refer(&app, (&class, &id, &property), &uri, vec![sent], |list, given| list.extend(given))?;
    Ok(answer(done, StatusCode::OK))
}

/// `PUT /v1/objects/{class}/{id}/references/{property}`: these in place of all.
pub(crate) async fn set_references(
    State(app): Shared,
    Path((class, id, property)): Path<Reference>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refusal> {
    let sent: Vec<Value> = body::json(&headers, &bytes)?;
    let done = refer(&app, (&class, &id, &property), &uri, sent, |list, given| *list = given)?;
    Ok(answer(done, StatusCode::OK))
}

/// `DELETE /v1/objects/{class}/{id}/references/{property}`: every one of this beacon.
pub(crate) async fn remove_reference(
    State(app): Shared,
    Path((class, id, property)): Path<Reference>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Refusal> {
    let sent: Value = body::json(&headers, &bytes)?;
    let done = refer(&app, (&class, &id, &property), &uri, vec![sent], |list, given| {
        list.retain(|one| !given.contains(one));
    })?;
    Ok(answer(done, StatusCode::NO_CONTENT))
}
