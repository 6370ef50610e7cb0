//! Status, list and cancel: what is asked, of what is known and unknown.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::world::World;

const G: &str = "status, list, cancel";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Plain, "the status of an unknown id is 404", |w| see(w, Method::GET, "never-made")),
        case!(G, Plain, "the status of an id with capitals is 404", |w| see(w, Method::GET, "Never-Made")),
        case!(G, Plain, "the restore status of an unknown id is 404", |w| see(w, Method::GET, "never-made/restore")),
        case!(G, Plain, "the restore status of a backup never restored is 404", never_restored),
        case!(G, Plain, "cancelling an unknown id is 204", |w| see(w, Method::DELETE, "never-made")),
        case!(G, Plain, "cancelling an id with capitals is refused", |w| see(w, Method::DELETE, "Never-Made")),
        case!(G, Plain, "cancelling the restore of an unknown id is 204", |w| see(
            w,
            Method::DELETE,
            "never-made/restore"
        )),
        case!(G, Plain, "cancelling the restore of an id with capitals is refused", |w| see(
            w,
            Method::DELETE,
            "Never-Made/restore"
        )),
        case!(G, Plain, "a backend that is off: status", |w| off(w, Method::GET, "x")),
        case!(G, Plain, "a backend that is off: restore status is a 500", |w| off(w, Method::GET, "x/restore")),
        case!(G, Plain, "a backend that is off: cancel", |w| off(w, Method::DELETE, "x")),
        case!(G, Plain, "a backend that is off: cancel of a restore", |w| off(w, Method::DELETE, "x/restore")),
        case!(G, Plain, "a backend that is off: restore", |w| off(w, Method::POST, "x/restore")),
        case!(G, Plain, "a backend that is off: list", |w| off(w, Method::GET, "")),
        case!(G, Plain, "the status from the store has times and a size", from_the_store),
        case!(G, Plain, "the list is newest first", |w| list(w, "")),
        case!(G, Plain, "the list can be oldest first", |w| list(w, "?order=asc")),
        case!(G, Plain, "an unknown order of the list is refused", |w| see(w, Method::GET, "?order=up")),
        case!(G, Plain, "an item of the list", item),
        case!(G, Plain, "cancelling what has succeeded is refused", cancel_succeeded),
        case!(G, Plain, "cancelling a restore that has succeeded is refused", cancel_restored),
        case!(G, Plain, "one unreadable descriptor breaks the list and its own status", unreadable),
        case!(G, Plain, "a directory without a descriptor is not listed", stray),
    ]
}

async fn see(world: &World, method: Method, rest: &'static str) -> Result<Value> {
    let slash = if rest.starts_with('?') { "" } else { "/" };
    world.see(method, &format!("/v1/backups/s3{slash}{rest}"), None).await
}

async fn off(world: &World, method: Method, rest: &'static str) -> Result<Value> {
    let slash = if rest.is_empty() { "" } else { "/" };
    let body = (method == Method::POST).then(|| json!({}));
    world.see(method, &format!("/v1/backups/gcs{slash}{rest}"), body.as_ref()).await
}

async fn never_restored(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("never-restored");
    world.backup(&id).await?;
    world.see(Method::GET, &format!("/v1/backups/s3/{id}/restore"), None).await
}

async fn from_the_store(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    world.see(Method::GET, &format!("/v1/backups/s3/{id}"), None).await
}

/// Two backups one after the other, and in which order they are listed.
async fn list(world: &World, query: &'static str) -> Result<Value> {
    world.library().await?;
    let mine: Vec<String> = ["first", "second"].map(|n| world.id(&format!("list-{n}-{}", query.len()))).to_vec();
    for id in &mine {
        world.backup_with(&json!({"id": id, "include": ["Author"]})).await?;
    }
    let listed = world.ask(Method::GET, &format!("/v1/backups/s3{query}"), None).await?;
    let ids = listed.json.as_array().into_iter().flatten().filter_map(|item| item["id"].as_str());
    let order: Vec<&str> = ids.filter(|id| mine.iter().any(|own| own == id)).collect();
    Ok(world.mask(&json!({"status": listed.status, "order": order})))
}

async fn item(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    let listed = world.ask(Method::GET, "/v1/backups/s3", None).await?;
    let item = listed.json.as_array().into_iter().flatten().find(|item| item["id"] == *id).cloned();
    let mut item = item.unwrap_or_default();
    if let Some(classes) = item["classes"].as_array_mut() {
        classes.sort_by_key(Value::to_string);
    }
    Ok(world.mask(&item))
}

async fn cancel_succeeded(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    world.see(Method::DELETE, &format!("/v1/backups/s3/{id}"), None).await
}

async fn cancel_restored(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    world.empty().await?;
    world.restored(&id, &json!({})).await?;
    world.see(Method::DELETE, &format!("/v1/backups/s3/{id}/restore"), None).await
}

async fn unreadable(world: &World) -> Result<Value> {
    let key = format!("{}/backup_config.json", world.id("unreadable"));
    let store = world.store()?;
    store.put(&key, b"{".to_vec()).await?;
    let list = world.see(Method::GET, "/v1/backups/s3", None).await;
    let status = world.see(Method::GET, &format!("/v1/backups/s3/{}", world.id("unreadable")), None).await;
    let restore = world.ask_when_free(&format!("/v1/backups/s3/{}/restore", world.id("unreadable")), &json!({})).await;
    store.delete(&key).await?;
    Ok(json!({"list": list?, "status": status?, "restore": world.seen(&restore?)}))
}

async fn stray(world: &World) -> Result<Value> {
    let (key, id) = (format!("{}/something", world.id("stray")), world.id("stray"));
    world.store()?.put(&key, b"x".to_vec()).await?;
    let listed = world.ask(Method::GET, "/v1/backups/s3", None).await?;
    let is_listed = listed.json.as_array().is_some_and(|items| items.iter().any(|item| item["id"] == *id));
    Ok(json!({"status": listed.status, "is listed": is_listed}))
}
