//! What is seen and refused while a create or a restore is under way. The proxy holds it there.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::world::World;

const G: &str = "under way";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Plain, "a create that is accepted, polled, listed, and at its end", create_polled),
        case!(G, Plain, "a second create is refused while one runs", second_create),
        case!(G, Plain, "a create that is cancelled", create_cancelled),
        case!(G, Plain, "an id that was cancelled serves no more", cancelled_id),
        case!(G, Plain, "a cancelled backup cannot be restored", cancelled_restore),
        case!(G, Plain, "a restore that is accepted, polled, and at its end", restore_polled),
        case!(G, Plain, "a second restore is refused while one runs", second_restore),
        case!(G, Plain, "a restore that is cancelled", restore_cancelled),
        case!(G, Plain, "cancelling the restore of another id cancels the one that runs", other_restore_cancelled),
        case!(G, Plain, "a restore that applies the schema cannot be cancelled", finalizing),
        case!(G, Plain, "a create and a restore run at one time", both),
    ]
}

async fn status(world: &World, id: &str, rest: &str) -> Result<Value> {
    world.see(Method::GET, &format!("/v1/backups/s3/{id}{rest}"), None).await
}

async fn create(world: &World, id: &str) -> Result<Value> {
    let body = json!({"id": id, "include": ["Author"]});
    Ok(world.seen(&world.ask_when_free("/v1/backups/s3", &body).await?))
}

async fn create_polled(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("polled");
    let mut held = world.proxy()?.hold("PUT", &format!("{id}/weaviate-0/Author/chunk-"), None);
    let answer = create(world, &id).await?;
    held.reached().await?;
    let running = status(world, &id, "").await?;
    let listed = world.ask(Method::GET, "/v1/backups/s3", None).await?;
    let item = listed.json.as_array().into_iter().flatten().find(|item| item["id"] == *id).cloned();
    held.release();
    let end = world.ended(&format!("/v1/backups/s3/{id}")).await?;
    Ok(json!({"answer": answer, "running": running, "listed": world.mask(&item.unwrap_or_default()),
        "end": world.mask(&end)}))
}

async fn second_create(world: &World) -> Result<Value> {
    world.library().await?;
    let (id, other) = (world.id("one-runs"), world.id("refused-meanwhile"));
    let mut held = world.proxy()?.hold("PUT", &format!("{id}/weaviate-0/Author/chunk-"), None);
    create(world, &id).await?;
    held.reached().await?;
    let same = world.see(Method::POST, "/v1/backups/s3", Some(&json!({"id": id, "include": ["Author"]}))).await?;
    let second = world.see(Method::POST, "/v1/backups/s3", Some(&json!({"id": other, "include": ["Author"]}))).await?;
    let of_second = status(world, &other, "").await?;
    held.release();
    let end = world.ended(&format!("/v1/backups/s3/{id}")).await?;
    Ok(json!({"same id": same, "other id": second, "status of the other": of_second["status"], "end": end["status"]}))
}

/// A create that is cancelled while a chunk goes up; its id.
async fn cancelled(world: &World, name: &str) -> Result<(String, Value)> {
    world.library().await?;
    let id = world.id(name);
    let mut held = world.proxy()?.hold("PUT", &format!("{id}/weaviate-0/Author/chunk-"), None);
    create(world, &id).await?;
    held.reached().await?;
    let answer = world.see(Method::DELETE, &format!("/v1/backups/s3/{id}"), None).await?;
    let end = world.reaches(&format!("/v1/backups/s3/{id}"), "CANCELED").await;
    held.release();
    end?;
    world.ended(&format!("/v1/backups/s3/{id}")).await?;
    Ok((id, answer))
}

async fn create_cancelled(world: &World) -> Result<Value> {
    let (id, answer) = cancelled(world, "cancelled").await?;
    let end = world.ask(Method::GET, &format!("/v1/backups/s3/{id}"), None).await?;
    let again = world.see(Method::DELETE, &format!("/v1/backups/s3/{id}"), None).await?;
    let next = create(world, &world.id("after-cancelled")).await?;
    world.ended(&format!("/v1/backups/s3/{}", world.id("after-cancelled"))).await?;
    let keys = world.store()?.list(&format!("{id}/")).await?;
    let global = world.store()?.json(&format!("{id}/backup_config.json")).await?;
    let node = world.store()?.json(&format!("{id}/weaviate-0/backup.json")).await?;
    Ok(world.mask(&json!({"cancel": answer, "status": end.json["status"], "error": is_cancel_error(&end.json["error"]),
        "cancel again": again, "next": next["status"], "keys": keys, "global status": global["status"],
        "global node": global["nodes"]["weaviate-0"]["status"], "node status": node["status"], "classes": node["classes"]})))
}

/// The text is the upload's own in one release and the context's in another; both say that it was cancelled.
fn is_cancel_error(error: &Value) -> bool {
    error.as_str().is_some_and(|text| text.contains("context canceled"))
}

async fn cancelled_id(world: &World) -> Result<Value> {
    let (id, _) = cancelled(world, "cancelled-id").await?;
    create(world, &id).await
}

async fn cancelled_restore(world: &World) -> Result<Value> {
    let (id, _) = cancelled(world, "cancelled-restore").await?;
    world.restored(&id, &json!({})).await
}

/// Starts a restore of a copy of the golden backup that is held at its first chunk.
async fn held_restore(world: &World, name: &str) -> Result<(String, crate::proxy::Held, Value)> {
    let id = world.copy_of_golden(name).await?;
    world.empty().await?;
    world.spoil();
    let mut held = world.proxy()?.hold("GET", &format!("{id}/weaviate-0/Article/chunk-"), None);
    let reply = world.ask_when_free(&format!("/v1/backups/s3/{id}/restore"), &json!({})).await?;
    let answer = world.seen(&reply);
    held.reached().await?;
    Ok((id, held, answer))
}

async fn restore_polled(world: &World) -> Result<Value> {
    let (id, held, answer) = held_restore(world, "restore-polled").await?;
    let running = status(world, &id, "/restore").await?;
    let classes = world.counts().await?;
    held.release();
    let end = world.ended(&format!("/v1/backups/s3/{id}/restore")).await?;
    Ok(json!({"answer": answer, "running": running, "classes meanwhile": classes, "end": world.mask(&end),
        "classes": world.counts().await?}))
}

async fn second_restore(world: &World) -> Result<Value> {
    let (id, held, _) = held_restore(world, "restore-one").await?;
    let golden = world.golden().await?;
    let other = world.see(Method::POST, &format!("/v1/backups/s3/{golden}/restore"), Some(&json!({}))).await?;
    let same = world.see(Method::POST, &format!("/v1/backups/s3/{id}/restore"), Some(&json!({}))).await?;
    held.release();
    let end = world.ended(&format!("/v1/backups/s3/{id}/restore")).await?;
    Ok(json!({"other id": other, "same id": same, "end": end["status"]}))
}

async fn restore_cancelled(world: &World) -> Result<Value> {
    let (id, held, _) = held_restore(world, "restore-cancelled").await?;
    let path = format!("/v1/backups/s3/{id}/restore");
    let answer = world.see(Method::DELETE, &path, None).await?;
    let at_once = status(world, &id, "/restore").await?;
    held.release();
    let stored = world.store()?.json(&format!("{id}/restore_config.json")).await?;
    let again = world.see(Method::DELETE, &path, None).await?;
    let retried = world.restored(&id, &json!({})).await?;
    Ok(json!({"cancel": answer, "at once": at_once["body"]["status"], "stored": stored["status"],
        "cancel again": again, "retried": retried["end"]["status"], "classes": retried["classes"]}))
}

async fn other_restore_cancelled(world: &World) -> Result<Value> {
    let (id, held, _) = held_restore(world, "restore-victim").await?;
    let other = world.id("restore-bystander");
    let answer = world.see(Method::DELETE, &format!("/v1/backups/s3/{other}/restore"), None).await?;
    let at_once = status(world, &id, "/restore").await?;
    held.release();
    let end = world.ended(&format!("/v1/backups/s3/{id}/restore")).await?;
    let retried = world.restored(&id, &json!({})).await?;
    Ok(json!({"cancel": answer, "at once": at_once["body"]["status"], "end": end["status"],
        "retried": retried["end"]["status"]}))
}

/// Holds the write that ends the restore: the store says FINALIZING meanwhile.
async fn finalizing(world: &World) -> Result<Value> {
    let id = world.copy_of_golden("restore-finalizing").await?;
    world.empty().await?;
    world.spoil();
    let path = format!("/v1/backups/s3/{id}/restore");
    let mut held = world.proxy()?.hold("PUT", &format!("{id}/restore_config.json"), Some(3));
    world.ask_when_free(&path, &json!({})).await?;
    held.reached().await?;
    let stored = world.store()?.json(&format!("{id}/restore_config.json")).await?;
    let answer = world.see(Method::DELETE, &path, None).await?;
    held.release();
    let end = world.ended(&path).await?;
    Ok(json!({"stored": stored["status"], "cancel": answer, "end": end["status"], "classes": world.counts().await?}))
}

async fn both(world: &World) -> Result<Value> {
    let (id, held, _) = held_restore(world, "restore-beside").await?;
    world.fill("Other", 2).await?;
    let beside = world.id("create-beside");
    let created = world.seen(&world.ask_when_free("/v1/backups/s3", &json!({"id": beside})).await?);
    let made = world.ended(&format!("/v1/backups/s3/{beside}")).await?;
    held.release();
    let end = world.ended(&format!("/v1/backups/s3/{id}/restore")).await?;
    Ok(json!({"create": created, "created": made["status"], "restored": end["status"],
        "classes": world.counts().await?}))
}
