//! What becomes of a create or restore when the bucket refuses a request. 403 is not tried again by any client.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::world::World;

const G: &str = "the store refuses";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Plain, "the probe's write", |w| create(w, "no-probe", "PUT", "/access-check", None)),
        case!(G, Plain, "the probe's removal", |w| create(w, "no-delete", "DELETE", "/access-check", None)),
        case!(G, Plain, "the node's own probe", |w| create(
            w,
            "no-node-probe",
            "PUT",
            "/weaviate-0/access-check",
            None
        )),
        case!(G, Plain, "the read that looks whether an id is used", |w| create(
            w,
            "no-read",
            "GET",
            "/backup_config.json",
            None
        )),
        case!(G, Plain, "the first descriptor, and the next create meets the slot that is still held", first_write),
        case!(G, Plain, "a chunk", |w| create(w, "no-chunk", "PUT", "/weaviate-0/Author/chunk-", None)),
        case!(G, Plain, "the node's descriptor", |w| create(w, "no-node", "PUT", "/weaviate-0/backup.json", None)),
        case!(G, Plain, "the last write of a create: SUCCESS from memory, then STARTED for good", last_write),
        case!(G, Plain, "the read of a status", |w| poll(w, "")),
        case!(G, Plain, "the read of a restore status", |w| poll(w, "/restore")),
        case!(G, Plain, "the list", list),
        case!(G, Plain, "the first write of a restore", |w| restore(
            w,
            "no-restore-config",
            "PUT",
            "/restore_config.json"
        )),
        case!(G, Plain, "the read of the global descriptor at a restore", |w| restore(
            w,
            "no-global",
            "GET",
            "/backup_config.json"
        )),
        case!(G, Plain, "the read of the node's descriptor at a restore", |w| restore(
            w,
            "no-node-read",
            "GET",
            "/weaviate-0/backup.json"
        )),
        case!(G, Plain, "the read of a chunk at a restore", |w| restore(
            w,
            "no-chunk-read",
            "GET",
            "/weaviate-0/Article/chunk-"
        )),
    ]
}

async fn create(
    world: &World,
    name: &'static str,
    method: &'static str,
    part: &'static str,
    only: Option<u32>,
) -> Result<Value> {
    world.library().await?;
    let id = world.id(name);
    let proxy = world.proxy()?;
    proxy.refuse(method, &format!("{id}{part}"), only, 403);
    let reply = world.ask_when_free("/v1/backups/s3", &json!({"id": id, "include": ["Author"]})).await?;
    let mut seen = json!({"answer": world.seen(&reply)});
    if reply.status == 200 {
        let end = world.ended(&format!("/v1/backups/s3/{id}")).await?;
        seen["end"] = world.mask(&end);
    }
    proxy.forget();
    let mut stored = json!({});
    for key in world.store()?.list(&format!("{id}/")).await? {
        let rest = key[id.len() + 1..].to_owned();
        // How many chunks a shard has is the engine's own affair.
        if rest.contains("/chunk-") && !rest.ends_with("/chunk-1") {
            continue;
        }
        stored[&rest] = match rest.ends_with(".json") {
            true => world.store()?.json(&key).await?["status"].clone(),
            false => json!("there"),
        };
    }
    seen["stored"] = stored;
    seen["status"] = world.ask(Method::GET, &format!("/v1/backups/s3/{id}"), None).await?.status.into();
    Ok(seen)
}

/// The participant waits for a commit that never comes, and for twenty seconds keeps its own slot. A restart frees it.
async fn first_write(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("no-first");
    let body = |id: &str| json!({"id": id, "include": ["Author"]});
    world.proxy()?.refuse("PUT", &format!("{id}/backup_config.json"), None, 403);
    let first = world.seen(&world.ask_when_free("/v1/backups/s3", &body(&id)).await?);
    // Not `ask_when_free`: to meet the held slot is the case.
    let next = world.id("after-no-first");
    let met = world.ask(Method::POST, "/v1/backups/s3", Some(&body(&next))).await?;
    let held = world.mask(&json!(met.message()));
    world.restart(&[]).await?;
    world.library().await?;
    let freed = world.ask_when_free("/v1/backups/s3", &body(&world.id("after-slot"))).await?;
    world.ended(&format!("/v1/backups/s3/{}", world.id("after-slot"))).await?;
    Ok(json!({"first": first, "next": met.status, "next says": held, "after a restart": freed.status}))
}

async fn last_write(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("no-last");
    let path = format!("/v1/backups/s3/{id}");
    world.proxy()?.refuse("PUT", &format!("{id}/backup_config.json"), Some(2), 403);
    let reply = world.ask_when_free("/v1/backups/s3", &json!({"id": id, "include": ["Author"]})).await?;
    // Another create is accepted once the slot is free: then the first is over, as far as the server knows.
    let after = world.id("after-no-last");
    world.backup_with(&json!({"id": after, "include": ["Author"]})).await?;
    let status = world.see(Method::GET, &path, None).await?;
    let restored = world.ask_when_free(&format!("{path}/restore"), &json!({})).await?;
    Ok(json!({"answer": reply.status, "status for good": status, "restore": world.seen(&restored)}))
}

async fn poll(world: &World, rest: &'static str) -> Result<Value> {
    let id = world.golden().await?;
    let file = if rest.is_empty() { "backup_config.json" } else { "restore_config.json" };
    world.proxy()?.refuse("GET", &format!("{id}/{file}"), None, 403);
    world.see(Method::GET, &format!("/v1/backups/s3/{id}{rest}"), None).await
}

async fn list(world: &World) -> Result<Value> {
    world.proxy()?.refuse("GET", "list-type=2", None, 403);
    world.see(Method::GET, "/v1/backups/s3", None).await
}

async fn restore(world: &World, name: &'static str, method: &'static str, part: &'static str) -> Result<Value> {
    let id = world.copy_of_golden(name).await?;
    world.empty().await?;
    world.proxy()?.refuse(method, &format!("{id}{part}"), None, 403);
    world.restored(&id, &json!({})).await
}
