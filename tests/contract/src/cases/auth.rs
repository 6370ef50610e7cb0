//! Who may: API keys, the admin list, RBAC.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::world::{READER, World, object};

const G: &str = "rights";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Keys, "without a key", |w| all(w, None)),
        case!(G, Keys, "with a key of nobody", |w| all(w, Some("no key of this server"))),
        case!(G, Keys, "a key in the query counts", in_query),
        case!(G, Keys, "a reader may not create, with include", |w| reader(
            w,
            Method::POST,
            "",
            Some(json!({"id": "x", "include": ["Author"]}))
        )),
        case!(G, Keys, "a reader may not create, without include", |w| reader(
            w,
            Method::POST,
            "",
            Some(json!({"id": "x"}))
        )),
        case!(G, Keys, "a reader may poll and list", reader_reads),
        case!(G, Keys, "a reader may not cancel", |w| reader(w, Method::DELETE, "/never-made", None)),
        case!(G, Keys, "a reader may not cancel a restore", |w| reader(w, Method::DELETE, "/never-made/restore", None)),
        case!(G, Keys, "a reader may not restore", reader_restores),
        case!(G, Keys, "a reader may not write", reader_writes),
        case!(G, Plain, "a key where no key is wanted", unwanted_key),
        case!(G, Rbac, "RBAC: who has no role may not create, with include", |w| reader(
            w,
            Method::POST,
            "",
            Some(json!({"id": "x", "include": ["Author"]}))
        )),
        case!(G, Rbac, "RBAC: who has no role may not create, without include", |w| reader(
            w,
            Method::POST,
            "",
            Some(json!({"id": "x"}))
        )),
        case!(G, Rbac, "RBAC: who has no role may not poll, cancel or restore, and sees no list", no_role),
        case!(G, Rbac, "RBAC: root may back up and restore", root),
        case!(G, Rbac, "RBAC: root sees the base of an incremental backup", root_base),
    ]
}

async fn seen_as(world: &World, method: Method, path: &str, body: Option<&Value>, key: Option<&str>) -> Result<Value> {
    let body = body.map(Value::to_string);
    Ok(world.seen(&world.ask_raw(method, path, body.as_deref(), "application/json", key).await?))
}

async fn all(world: &World, key: Option<&'static str>) -> Result<Value> {
    world.library().await?;
    let mut seen = json!({});
    for path in ["/v1/.well-known/ready", "/v1/.well-known/live", "/v1/meta", "/v1/nodes", "/v1/backups/s3"] {
        seen[path] = seen_as(world, Method::GET, path, None, key).await?;
    }
    let query = json!({"query": "{Aggregate{Author{meta{count}}}}"});
    seen["/v1/graphql"] = seen_as(world, Method::POST, "/v1/graphql", Some(&query), key).await?;
    Ok(seen)
}

async fn in_query(world: &World) -> Result<Value> {
    let reply = world.ask_raw(Method::GET, &format!("/v1/meta?access_token={READER}"), None, "", None).await?;
    Ok(json!(reply.status))
}

async fn reader(world: &World, method: Method, rest: &'static str, body: Option<Value>) -> Result<Value> {
    world.library().await?;
    seen_as(world, method, &format!("/v1/backups/s3{rest}"), body.as_ref(), Some(READER)).await
}

async fn reader_reads(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    let status = seen_as(world, Method::GET, &format!("/v1/backups/s3/{id}"), None, Some(READER)).await?;
    let list = world.ask_raw(Method::GET, "/v1/backups/s3", None, "", Some(READER)).await?;
    let is_listed = list.json.as_array().is_some_and(|items| items.iter().any(|item| item["id"] == *id));
    Ok(json!({"status": status["body"]["status"], "list": list.status, "is listed": is_listed}))
}

async fn reader_restores(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    let path = format!("/v1/backups/s3/{id}/restore");
    let narrow = json!({"include": ["Author"]});
    let with = seen_as(world, Method::POST, &path, Some(&narrow), Some(READER)).await?;
    let without = seen_as(world, Method::POST, &path, Some(&json!({})), Some(READER)).await?;
    Ok(json!({"with include": with, "without": sorted_classes(&without)}))
}

/// The refusal names the classes in the order of a Go map.
fn sorted_classes(seen: &Value) -> Value {
    let text = seen["body"]["error"][0]["message"].as_str().unwrap_or_default();
    let Some((front, list)) = text.split_once('[') else { return seen.clone() };
    let mut names: Vec<&str> = list.trim_end_matches(']').split(' ').collect();
    names.sort_unstable();
    json!({"status": seen["status"], "message": format!("{front}[{}]", names.join(" "))})
}

async fn reader_writes(world: &World) -> Result<Value> {
    world.library().await?;
    let one = seen_as(world, Method::POST, "/v1/objects", Some(&object("Author", None, 1)), Some(READER)).await?;
    let drop_class = seen_as(world, Method::DELETE, "/v1/schema/Author", None, Some(READER)).await?;
    Ok(json!({"object": one["status"], "class": drop_class}))
}

async fn unwanted_key(world: &World) -> Result<Value> {
    seen_as(world, Method::GET, "/v1/meta", None, Some("any")).await
}

async fn no_role(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    let status = seen_as(world, Method::GET, &format!("/v1/backups/s3/{id}"), None, Some(READER)).await?;
    let list = seen_as(world, Method::GET, "/v1/backups/s3", None, Some(READER)).await?;
    let cancel = seen_as(world, Method::DELETE, &format!("/v1/backups/s3/{id}"), None, Some(READER)).await?;
    let path = format!("/v1/backups/s3/{id}/restore");
    let narrow = json!({"include": ["Author"]});
    let restore = seen_as(world, Method::POST, &path, Some(&narrow), Some(READER)).await?;
    Ok(json!({"status": status["status"], "list": list, "cancel": cancel["status"], "restore": restore}))
}

async fn root(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("by-root");
    world.backup(&id).await?;
    let node = world.store()?.json(&format!("{id}/weaviate-0/backup.json")).await?;
    world.empty().await?;
    let body = json!({"config": {"rolesOptions": "all", "usersOptions": "all"}});
    let restored = world.restored(&id, &body).await?;
    Ok(json!({"restored": restored, "has roles": node["rbacBackups"].is_string(),
        "has users": node["userBackups"].is_string()}))
}

async fn root_base(world: &World) -> Result<Value> {
    world.library().await?;
    let (base, next) = (world.id("root-base"), world.id("root-next"));
    world.backup(&base).await?;
    world.backup_with(&json!({"id": next, "incremental_base_backup_id": base})).await?;
    let status = world.ask(Method::GET, &format!("/v1/backups/s3/{next}"), None).await?;
    Ok(world.mask(&json!({"base": status.json["incremental_base_backup_id"]})))
}
