//! What `POST /v1/backups/{backend}` refuses and chooses.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::world::World;

const G: &str = "create";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Plain, "without a class there is nothing to back up", nothing),
        case!(G, Plain, "an id with capitals is refused", |w| post(w, json!({"id": "Upper"}))),
        case!(G, Plain, "an id with a dot is refused", |w| post(w, json!({"id": "a.b"}))),
        case!(G, Plain, "an empty id is a 500", |w| post(w, json!({"id": ""}))),
        case!(G, Plain, "a missing id is a 500", |w| post(w, json!({}))),
        case!(G, Plain, "an id that is its own base is a 500", |w| post(
            w,
            json!({"id": "self", "incremental_base_backup_id": "self"})
        )),
        case!(G, Plain, "a base with a bad id is refused", |w| post(
            w,
            json!({"id": "inc", "incremental_base_backup_id": "Bad.Id"})
        )),
        case!(G, Plain, "a base that is not there is refused", |w| post(
            w,
            json!({"id": "inc", "incremental_base_backup_id": "gone"})
        )),
        case!(G, Plain, "a base of another compression is refused", base_of_other_compression),
        case!(G, Plain, "include and exclude together are refused", |w| post(
            w,
            json!({"id": "x", "include": ["Article"], "exclude": ["Author"]})
        )),
        case!(G, Plain, "a class named twice is refused", |w| post(
            w,
            json!({"id": "x", "include": ["Article", "Article"]})
        )),
        case!(G, Plain, "an unknown class is refused", |w| post(w, json!({"id": "x", "include": ["Nope"]}))),
        case!(G, Plain, "the case of a class name counts", |w| post(w, json!({"id": "x", "include": ["article"]}))),
        case!(G, Plain, "an unknown class in exclude", |w| created(
            w,
            json!({"id": "exclude-nope", "exclude": ["Nope"]})
        )),
        case!(G, Plain, "everything excluded is refused", |w| post(
            w,
            json!({"id": "x", "exclude": ["Article", "Author"]})
        )),
        case!(G, Plain, "a backend that is off is refused", |w| to(w, "gcs", json!({"id": "x"}))),
        case!(G, Plain, "a backend that never was is refused", |w| to(w, "nothing", json!({"id": "x"}))),
        case!(G, Plain, "the module's full name is echoed", |w| to(w, "backup-s3", json!({"id": "full-name"}))),
        case!(G, Plain, "too many processors are refused", |w| post(
            w,
            json!({"id": "x", "config": {"CPUPercentage": 81}})
        )),
        case!(G, Plain, "less than no processors are refused", |w| post(
            w,
            json!({"id": "x", "config": {"CPUPercentage": -1}})
        )),
        case!(G, Plain, "an unknown compression is refused", |w| post(
            w,
            json!({"id": "x", "config": {"CompressionLevel": "Best"}})
        )),
        case!(G, Plain, "a body that is no JSON is refused", |w| raw(w, Some("{"), "application/json")),
        case!(G, Plain, "a body of another type than JSON is refused", |w| raw(
            w,
            Some("{\"id\":\"x\"}"),
            "text/plain"
        )),
        case!(G, Plain, "no body is refused", |w| raw(w, None, "application/json")),
        case!(G, Plain, "an id that is a number is refused", |w| raw(w, Some("{\"id\":5}"), "application/json")),
        case!(G, Plain, "users without dynamic users are refused", |w| post(
            w,
            json!({"id": "x", "includeUsers": ["u*"]})
        )),
        case!(G, Plain, "roles without RBAC", |w| created(w, json!({"id": "with-roles", "includeRoles": ["r*"]}))),
        case!(G, Plain, "unknown fields are ignored", |w| created(w, json!({"id": "unknown-fields", "nonsense": 1}))),
        case!(G, Plain, "a wildcard narrows", |w| created(w, json!({"id": "wild", "include": ["Art*"]}))),
        case!(G, Plain, "a question mark is one letter", |w| created(w, json!({"id": "mark", "include": ["Auth?r"]}))),
        case!(G, Plain, "a wildcard that matches nothing takes everything", |w| created(
            w,
            json!({"id": "none-matches", "include": ["Nope*"]})
        )),
        case!(G, Plain, "a wildcard excludes", |w| created(w, json!({"id": "wild-out", "exclude": ["Auth*"]}))),
        case!(G, Plain, "a wildcard that excludes everything is refused", |w| post(
            w,
            json!({"id": "x", "exclude": ["A*"]})
        )),
        case!(G, Plain, "an id serves once", used_twice),
        case!(G, Plain, "a bucket and a path of one's own replace the configured ones", place_of_ones_own),
        case!(G, NoBucket, "a bucket that is not there is a 500", |w| post(w, json!({"id": "x"}))),
        case!(G, NoBucket, "a bucket that is not there hides what status and restore ask for", no_bucket_reads),
    ]
}

async fn nothing(world: &World) -> Result<Value> {
    world.empty().await?;
    world.see(Method::POST, "/v1/backups/s3", Some(&json!({"id": "x"}))).await
}

async fn post(world: &World, body: Value) -> Result<Value> {
    world.library().await?;
    Ok(world.seen(&world.ask_when_free("/v1/backups/s3", &body).await?))
}

async fn to(world: &World, backend: &'static str, body: Value) -> Result<Value> {
    world.library().await?;
    let path = format!("/v1/backups/{backend}");
    let body = with_id(world, body);
    let reply = world.ask_when_free(&path, &body).await?;
    if reply.status == 200 {
        world.ended(&format!("{path}/{}", body["id"].as_str().unwrap_or_default())).await?;
    }
    Ok(world.seen(&reply))
}

async fn raw(world: &World, body: Option<&'static str>, kind: &'static str) -> Result<Value> {
    world.library().await?;
    let reply = world.ask_raw(Method::POST, "/v1/backups/s3", body, kind, None).await?;
    Ok(world.seen(&reply))
}

/// The answer, and which classes are there in the end.
async fn created(world: &World, body: Value) -> Result<Value> {
    world.library().await?;
    let body = with_id(world, body);
    let reply = world.ask_when_free("/v1/backups/s3", &body).await?;
    let answer = world.seen(&reply);
    if reply.status != 200 {
        return Ok(json!({"answer": answer}));
    }
    let end = world.ended(&format!("/v1/backups/s3/{}", body["id"].as_str().unwrap_or_default())).await?;
    Ok(json!({"answer": answer, "end": world.mask(&end)}))
}

fn with_id(world: &World, mut body: Value) -> Value {
    body["id"] = json!(world.id(body["id"].as_str().unwrap_or_default()));
    body
}

async fn used_twice(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("once");
    world.backup(&id).await?;
    post(world, json!({"id": id})).await
}

async fn base_of_other_compression(world: &World) -> Result<Value> {
    let golden = world.golden().await?;
    post(world, json!({"id": "inc", "incremental_base_backup_id": golden})).await
}

async fn place_of_ones_own(world: &World) -> Result<Value> {
    world.library().await?;
    let store = world.store()?;
    let (id, path) = (world.id("elsewhere"), format!("{}/own/path", store.prefix));
    let place = json!({"Bucket": store.bucket, "Path": path});
    let reply =
        world.ask_when_free("/v1/backups/s3", &json!({"id": id, "include": ["Author"], "config": place})).await?;
    let query = format!("bucket={}&path={path}", store.bucket);
    let end = world.ended(&format!("/v1/backups/s3/{id}?{query}")).await?;
    let without = world.see(Method::GET, &format!("/v1/backups/s3/{id}"), None).await?;
    let listed = world.ask(Method::GET, "/v1/backups/s3", None).await?;
    let is_listed = listed.json.as_array().is_some_and(|items| items.iter().any(|item| item["id"] == *id));
    let mut keys = store.list("own/path/").await?;
    // How many chunks a shard has is the engine's own affair.
    keys.retain(|key| !key.contains("/chunk-") || key.ends_with("/chunk-1"));
    Ok(json!({"answer": world.seen(&reply), "end": world.mask(&end), "without the query": without["status"],
        "is listed": is_listed, "keys": world.mask(&json!(keys))}))
}

async fn no_bucket_reads(world: &World) -> Result<Value> {
    let mut seen = json!({});
    for (name, method, path) in [
        ("status", Method::GET, "/v1/backups/s3/x"),
        ("list", Method::GET, "/v1/backups/s3"),
        ("restore", Method::POST, "/v1/backups/s3/x/restore"),
    ] {
        let body = (method == Method::POST).then(|| json!({}));
        let reply = world.ask(method, path, body.as_ref()).await?;
        seen[name] = json!(reply.status);
    }
    Ok(seen)
}
