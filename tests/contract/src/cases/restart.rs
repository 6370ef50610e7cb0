//! SIGKILL in the middle, and what the server knows when it is up again.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::world::World;

const G: &str = "restart";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Plain, "objects survive a kill", survive),
        case!(G, Plain, "a kill in the middle of a create: STARTED for good, and the next one is taken", create),
        case!(G, Plain, "a kill in the middle of a restore: TRANSFERRING for good, and the next one is taken", restore),
        case!(G, Plain, "a start that cleans up cancels what was STARTED", sweep),
    ]
}

async fn survive(world: &World) -> Result<Value> {
    world.library().await?;
    world.add("Author", None, 4..6).await?;
    world.restart(&[]).await?;
    Ok(json!(world.counts().await?))
}

/// A create whose server is killed while a chunk goes up.
async fn killed(world: &World, name: &str, changes: &[(&str, &str)]) -> Result<String> {
    world.library().await?;
    let id = world.id(name);
    let mut held = world.proxy()?.hold("PUT", &format!("{id}/weaviate-0/Author/chunk-"), None);
    world.ask_when_free("/v1/backups/s3", &json!({"id": id, "include": ["Author"]})).await?;
    held.reached().await?;
    world.restart(changes).await?;
    held.release();
    Ok(id)
}

async fn create(world: &World) -> Result<Value> {
    let id = killed(world, "killed", &[]).await?;
    let path = format!("/v1/backups/s3/{id}");
    let status = world.see(Method::GET, &path, None).await?;
    let cancel = world.see(Method::DELETE, &path, None).await?;
    let still = world.ask(Method::GET, &path, None).await?;
    let again = world.see(Method::POST, "/v1/backups/s3", Some(&json!({"id": id, "include": ["Author"]}))).await?;
    let restored = world.see(Method::POST, &format!("{path}/restore"), Some(&json!({}))).await?;
    let next = world.id("after-killed");
    let body = json!({"id": next, "include": ["Author"]});
    let accepted = world.ask(Method::POST, "/v1/backups/s3", Some(&body)).await?;
    let end = world.ended(&format!("/v1/backups/s3/{next}")).await?;
    Ok(json!({"status": status, "cancel": cancel, "still": still.json["status"], "same id": again,
        "restore": restored, "next": accepted.status, "its end": end["status"], "classes": world.counts().await?}))
}

async fn restore(world: &World) -> Result<Value> {
    let id = world.copy_of_golden("killed-restore").await?;
    world.empty().await?;
    world.spoil();
    let path = format!("/v1/backups/s3/{id}/restore");
    let mut held = world.proxy()?.hold("GET", &format!("{id}/weaviate-0/Article/chunk-"), None);
    world.ask_when_free(&path, &json!({})).await?;
    held.reached().await?;
    world.restart(&[]).await?;
    held.release();
    let status = world.see(Method::GET, &path, None).await?;
    let classes = world.counts().await?;
    let again = world.restored(&id, &json!({})).await?;
    Ok(json!({"status": status, "classes": classes, "again": again}))
}

async fn sweep(world: &World) -> Result<Value> {
    let id = killed(world, "swept", &[("ENABLE_CLEANUP_UNFINISHED_BACKUPS", "true")]).await?;
    let end = world.reaches(&format!("/v1/backups/s3/{id}"), "CANCELED").await?;
    let stored = world.store()?.json(&format!("{id}/backup_config.json")).await?;
    Ok(json!({"status": world.seen(&end), "stored": world.mask(&stored)}))
}
