//! Ten damaged backups, and what becomes of their restore. The double breaks where the real one breaks, and keeps silent
//! where the real one keeps silent.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::world::{World, vector};

const G: &str = "damaged";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Plain, "damaged: a byte of a vector is flipped in a chunk", flipped),
        case!(G, Plain, "damaged: a chunk is cut short", truncated),
        case!(G, Plain, "damaged: a chunk is missing", missing_chunk),
        case!(G, Plain, "damaged: a compressed chunk is missing", missing_gzip),
        case!(G, Plain, "damaged: a compressed chunk is cut short", truncated_gzip),
        case!(G, Plain, "damaged: the node's descriptor is missing", |w| without(w, "weaviate-0/backup.json")),
        case!(G, Plain, "damaged: the descriptor says STARTED", |w| global(
            w,
            "says-started",
            "status",
            json!("STARTED")
        )),
        case!(G, Plain, "damaged: a restore that was being cancelled is left over", cancelling),
        case!(G, Plain, "damaged: it is of a node of another name", foreign),
        case!(G, Plain, "damaged: it is of a newer structure", |w| global(w, "newer", "version", json!("3.0"))),
        case!(G, Plain, "damaged: its class is there already", class_present),
        case!(G, Plain, "damaged: an alias has its class's name", alias_present),
        case!(G, Plain, "damaged: it is of a server before 1.23", |w| global(
            w,
            "legacy",
            "serverVersion",
            json!("1.22.6")
        )),
        case!(G, Plain, "damaged: the descriptor has another id", |w| global(w, "other-id", "id", json!("another"))),
        case!(G, Plain, "damaged: the descriptor has an error", |w| global(w, "with-error", "error", json!("x"))),
        case!(G, Plain, "damaged: the descriptor has no node", |w| global(w, "no-nodes", "nodes", json!({}))),
        case!(G, Plain, "damaged: the node's descriptor has failed", node_failed),
        case!(G, Plain, "damaged: the node's descriptor is no JSON", node_unreadable),
        case!(G, Plain, "damaged: the node's descriptor lacks a class", node_lacks_class),
    ]
}

const CHUNK: &str = "weaviate-0/Article/chunk-1";

async fn copy(world: &World, name: &str) -> Result<String> {
    let id = world.copy_of_golden(name).await?;
    world.empty().await?;
    Ok(id)
}

/// The byte is in the vector of object 7, so that its place does not depend on what files an engine keeps.
async fn flipped(world: &World) -> Result<Value> {
    let id = copy(world, "flipped").await?;
    let key = format!("{id}/{CHUNK}");
    let mut bytes = world.store()?.get(&key).await?;
    let wanted: Vec<u8> = vector(7).iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut places = 0;
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(wanted.len()).position(|window| window == wanted) {
        bytes[at + found] ^= 0x40;
        at += found + wanted.len();
        places += 1;
    }
    anyhow::ensure!(places > 0, "the vector is not in the chunk");
    world.store()?.put(&key, bytes).await?;
    let restored = world.restored(&id, &json!({})).await?;
    let list = world.ask(Method::GET, "/v1/objects?class=Article&limit=100&include=vector", None).await?;
    let objects = list.json["objects"].as_array().context("no list")?;
    let read = |object: &Value| -> Vec<f64> {
        object["vector"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    let is_right = |object: &&Value| {
        let number = object["properties"]["n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        let right = vector(number.min(1000));
        read(object).iter().zip(&right).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-6)
    };
    let wrong = objects.iter().filter(|object| !is_right(object)).count();
    Ok(json!({"restored": restored, "objects with a wrong vector": wrong}))
}

async fn truncated(world: &World) -> Result<Value> {
    let id = copy(world, "truncated").await?;
    let key = format!("{id}/{CHUNK}");
    let bytes = world.store()?.get(&key).await?;
    world.store()?.put(&key, bytes[..bytes.len() / 2].to_vec()).await?;
    world.restored(&id, &json!({})).await
}

async fn missing_chunk(world: &World) -> Result<Value> {
    let id = copy(world, "missing-chunk").await?;
    world.store()?.delete(&format!("{id}/{CHUNK}")).await?;
    world.restored(&id, &json!({})).await
}

/// A compressed backup of `Article`; what becomes of it when its chunk is changed.
async fn gzip(world: &World, name: &str, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) -> Result<Value> {
    world.library().await?;
    let id = world.id(name);
    world.backup_with(&json!({"id": id, "include": ["Article"]})).await?;
    world.empty().await?;
    let key = format!("{id}/{CHUNK}");
    match change(world.store()?.get(&key).await?) {
        Some(bytes) => world.store()?.put(&key, bytes).await?,
        None => world.store()?.delete(&key).await?,
    }
    world.restored(&id, &json!({})).await
}

async fn missing_gzip(world: &World) -> Result<Value> {
    gzip(world, "missing-gzip", |_| None).await
}

async fn truncated_gzip(world: &World) -> Result<Value> {
    gzip(world, "truncated-gzip", |bytes| Some(bytes[..bytes.len() / 2].to_vec())).await
}

async fn without(world: &World, key: &'static str) -> Result<Value> {
    let id = copy(world, "without-node").await?;
    world.store()?.delete(&format!("{id}/{key}")).await?;
    world.restored(&id, &json!({})).await
}

async fn global(world: &World, name: &'static str, field: &'static str, value: Value) -> Result<Value> {
    let id = copy(world, name).await?;
    world.store()?.set(&format!("{id}/backup_config.json"), field, value).await?;
    world.restored(&id, &json!({})).await
}

/// The answer is 200 and STARTED, and nothing happens; removing the object cures it.
async fn cancelling(world: &World) -> Result<Value> {
    let id = copy(world, "cancelling").await?;
    let store = world.store()?;
    let mut left = store.json(&format!("{id}/backup_config.json")).await?;
    left["status"] = json!("CANCELLING");
    let key = format!("{id}/restore_config.json");
    store.put(&key, left.to_string().into_bytes()).await?;
    let path = format!("/v1/backups/s3/{id}/restore");
    let answer = world.seen(&world.ask_when_free(&path, &json!({})).await?);
    let status = world.ask(Method::GET, &path, None).await?;
    let cancel = world.see(Method::DELETE, &path, None).await?;
    let still = world.ask(Method::GET, &path, None).await?;
    let classes = world.counts().await?;
    store.delete(&key).await?;
    let cured = world.restored(&id, &json!({})).await?;
    Ok(json!({"answer": answer, "status": status.json["status"], "cancel": cancel, "still": still.json["status"],
        "classes": classes, "cured": cured["end"]["status"]}))
}

async fn foreign(world: &World) -> Result<Value> {
    let id = world.copy_of_golden_by("foreign", "weaviate-7").await?;
    world.empty().await?;
    world.restored(&id, &json!({})).await
}

async fn class_present(world: &World) -> Result<Value> {
    let id = copy(world, "class-present").await?;
    world.fill("Article", 2).await?;
    world.restored(&id, &json!({"include": ["Article"]})).await
}

async fn alias_present(world: &World) -> Result<Value> {
    let id = copy(world, "alias-present").await?;
    world.fill("Other", 2).await?;
    let alias = json!({"alias": "Article", "class": "Other"});
    world.prepare(Method::POST, "/v1/aliases", Some(&alias)).await?;
    let restored = world.restored(&id, &json!({"include": ["Article"]})).await;
    world.prepare(Method::DELETE, "/v1/aliases/Article", None).await?;
    restored
}

async fn node_failed(world: &World) -> Result<Value> {
    let id = copy(world, "node-failed").await?;
    world.store()?.set(&format!("{id}/weaviate-0/backup.json"), "status", json!("FAILED")).await?;
    world.restored(&id, &json!({})).await
}

async fn node_unreadable(world: &World) -> Result<Value> {
    let id = copy(world, "node-unreadable").await?;
    world.store()?.put(&format!("{id}/weaviate-0/backup.json"), b"{".to_vec()).await?;
    world.restored(&id, &json!({})).await
}

async fn node_lacks_class(world: &World) -> Result<Value> {
    let id = copy(world, "node-lacks-class").await?;
    let key = format!("{id}/weaviate-0/backup.json");
    let node = world.store()?.json(&key).await?;
    let author: Vec<Value> =
        node["classes"].as_array().into_iter().flatten().filter(|class| class["name"] == "Author").cloned().collect();
    world.store()?.set(&key, "classes", json!(author)).await?;
    world.restored(&id, &json!({})).await
}
