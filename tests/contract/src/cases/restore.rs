//! What `POST …/restore` refuses, chooses and brings back.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::world::{World, uuid};

const G: &str = "restore";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Plain, "an unknown id is 404", |w| refused(w, "never-made", json!({}))),
        case!(G, Plain, "an id with capitals is not found", |w| refused(w, "Never-Made", json!({}))),
        case!(G, Plain, "a restore without a body is refused", no_body),
        case!(G, Plain, "a restore of include and exclude together is refused", |w| golden(
            w,
            json!({"include": ["Article"], "exclude": ["Author"]})
        )),
        case!(G, Plain, "a restore that names a class twice is refused", |w| golden(
            w,
            json!({"include": ["Article", "Article"]})
        )),
        case!(G, Plain, "a class that the backup has not is refused", |w| golden(w, json!({"include": ["Nope"]}))),
        case!(G, Plain, "a restore of nothing is refused", |w| golden(w, json!({"exclude": ["Article", "Author"]}))),
        case!(G, Plain, "a restore with too many processors is refused", |w| golden(
            w,
            json!({"config": {"CPUPercentage": 81}})
        )),
        case!(G, Plain, "an unknown option for roles is refused", |w| golden(
            w,
            json!({"config": {"rolesOptions": "some"}})
        )),
        case!(G, Plain, "an unknown option for users is refused", |w| golden(
            w,
            json!({"config": {"usersOptions": "some"}})
        )),
        case!(G, Plain, "roles and users may be asked for where there are none", |w| golden(
            w,
            json!({"include": ["Author"], "config": {"rolesOptions": "all", "usersOptions": "all"}})
        )),
        case!(G, Plain, "one class of two comes back", |w| golden(w, json!({"include": ["Author"]}))),
        case!(G, Plain, "one class of two is left out", |w| golden(w, json!({"exclude": ["Author"]}))),
        case!(G, Plain, "a wildcard narrows a restore", |w| golden(w, json!({"include": ["Art*"]}))),
        case!(G, Plain, "a wildcard that matches nothing restores everything", |w| golden(
            w,
            json!({"include": ["Nope*"]})
        )),
        case!(G, Plain, "objects, vectors, definitions and times come back as they were", whole),
        case!(G, Plain, "a class that exists fails at the end, and the others come back", partial),
        case!(G, Plain, "a name that differs only in case", other_case),
        case!(G, Plain, "an alias comes back with its class", |w| alias(w, "alias-back", None, false)),
        case!(G, Plain, "an alias that is taken stays as it is", |w| alias(w, "alias-taken", Some("Other"), false)),
        case!(G, Plain, "an alias that is taken is overwritten where asked", |w| alias(
            w,
            "alias-over",
            Some("Other"),
            true
        )),
        case!(G, Plain, "a node of another name is refused", |w| of_node(w, "foreign-plain", json!({}))),
        case!(G, Plain, "a node of another name is mapped", |w| of_node(
            w,
            "foreign-mapped",
            json!({"node_mapping": {"weaviate-7": "weaviate-0"}})
        )),
        case!(G, Plain, "a mapping to a node that is not there is refused", |w| of_node(
            w,
            "foreign-lost",
            json!({"node_mapping": {"weaviate-7": "weaviate-8"}})
        )),
        case!(G, Plain, "a mapping of a node that the backup has not is an empty 200", |w| golden(
            w,
            json!({"node_mapping": {"stranger": "weaviate-0"}})
        )),
        case!(G, Plain, "a backup that failed cannot be restored", failed),
        case!(G, Plain, "a directory left over makes SUCCESS without objects", left_over),
        case!(G, SmallChunks, "an incremental backup restores from its base, and not without it", incremental),
    ]
}

async fn refused(world: &World, id: &'static str, body: Value) -> Result<Value> {
    let path = format!("/v1/backups/s3/{id}/restore");
    Ok(world.seen(&world.ask_when_free(&path, &body).await?))
}

async fn no_body(world: &World) -> Result<Value> {
    let path = format!("/v1/backups/s3/{}/restore", world.golden().await?);
    world.see(Method::POST, &path, None).await
}

async fn golden(world: &World, body: Value) -> Result<Value> {
    let id = world.golden().await?;
    world.empty().await?;
    world.restored(&id, &body).await
}

/// Everything that a client can read of the library.
async fn everything(world: &World) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for path in [
        "/v1/objects?class=Article&limit=100&include=vector".to_owned(),
        "/v1/objects?class=Author&limit=100&include=vector".to_owned(),
        format!("/v1/objects/Article/{}?include=vector", uuid("Article", 7)),
        "/v1/schema/Article".to_owned(),
        "/v1/schema/Author".to_owned(),
    ] {
        let reply = world.ask(Method::GET, &path, None).await?;
        anyhow::ensure!(reply.status == 200, "{path}: {}", reply.text);
        all.push(reply.json);
    }
    Ok(all)
}

async fn whole(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("whole");
    world.backup(&id).await?;
    let before = everything(world).await?;
    world.empty().await?;
    let restored = world.restored(&id, &json!({})).await?;
    let after = everything(world).await?;
    let names = ["list of Article", "list of Author", "an object", "Article", "Author"];
    let changed: Vec<&str> =
        names.into_iter().zip(before.iter().zip(&after)).filter(|(_, (a, b))| a != b).map(|(name, _)| name).collect();
    Ok(json!({"restored": restored, "changed": changed}))
}

async fn partial(world: &World) -> Result<Value> {
    let id = world.copy_of_golden("partial").await?;
    world.empty().await?;
    world.fill("Article", 3).await?;
    let first = world.restored(&id, &json!({})).await?;
    let stored = world.store()?.json(&format!("{id}/restore_config.json")).await?;
    world.prepare(Method::DELETE, "/v1/schema/Article", None).await?;
    let rest = world.restored(&id, &json!({"include": ["Article"]})).await?;
    Ok(json!({"first": first, "stored": stored["status"], "what is missing": rest}))
}

async fn other_case(world: &World) -> Result<Value> {
    let id = world.copy_of_golden("other-case").await?;
    world.empty().await?;
    world.fill("ArtiCle", 3).await?;
    world.restored(&id, &json!({"include": ["Article"]})).await
}

/// An alias `Text` of `Article` in the backup; beforehand of another class, or of none.
async fn alias(world: &World, name: &'static str, taken_by: Option<&'static str>, overwrite: bool) -> Result<Value> {
    world.library().await?;
    world.spoil();
    let set = |class: &str| json!({"alias": "Text", "class": class});
    world.prepare(Method::POST, "/v1/aliases", Some(&set("Article"))).await?;
    let id = world.id(name);
    world.backup_with(&json!({"id": id, "include": ["Article"]})).await?;
    world.empty().await?;
    if let Some(class) = taken_by {
        world.fill(class, 1).await?;
        world.prepare(Method::POST, "/v1/aliases", Some(&set(class))).await?;
    }
    let restored = world.restored(&id, &json!({"overwriteAlias": overwrite})).await?;
    let aliases = world.ask(Method::GET, "/v1/aliases", None).await?;
    Ok(json!({"restored": restored, "aliases": aliases.json["aliases"]}))
}

async fn of_node(world: &World, name: &'static str, body: Value) -> Result<Value> {
    let id = world.copy_of_golden_by(name, "weaviate-7").await?;
    world.empty().await?;
    let mut seen = world.restored(&id, &body).await?;
    if let Ok(stored) = world.store()?.json(&format!("{id}/restore_config.json")).await {
        seen["stored"] = world.mask(&json!({"nodes": stored["nodes"], "node_mapping": stored["node_mapping"]}));
    }
    Ok(seen)
}

async fn failed(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("failed");
    let proxy = world.proxy()?;
    proxy.refuse("PUT", &format!("{id}/weaviate-0/Author/chunk-"), None, 403);
    world.ask_when_free("/v1/backups/s3", &json!({"id": id, "include": ["Author"]})).await?;
    world.ended(&format!("/v1/backups/s3/{id}")).await?;
    proxy.forget();
    let again = world.ask_when_free("/v1/backups/s3", &json!({"id": id, "include": ["Author"]})).await?;
    let restored = world.ask_when_free(&format!("/v1/backups/s3/{id}/restore"), &json!({})).await?;
    let body = json!({"id": world.id("after-failed"), "include": ["Author"]});
    let next = world.ask_when_free("/v1/backups/s3", &body).await?;
    world.ended(&format!("/v1/backups/s3/{}", world.id("after-failed"))).await?;
    Ok(json!({"restore": world.seen(&restored), "same id": world.seen(&again), "next id": next.status}))
}

async fn left_over(world: &World) -> Result<Value> {
    let id = world.copy_of_golden("left-over").await?;
    world.empty().await?;
    let data = world.data()?;
    let directory = data.join("article/left-over");
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("file"), "x")?;
    let seen = world.restored(&id, &json!({"include": ["Article"]})).await?;
    world.empty().await?;
    Ok(seen)
}

async fn incremental(world: &World) -> Result<Value> {
    world.library().await?;
    let (base, next) = (world.id("base"), world.id("next"));
    world.backup(&base).await?;
    world.add("Article", None, 30..35).await?;
    let body = json!({"id": next, "incremental_base_backup_id": base});
    let answer = world.seen(&world.ask_when_free("/v1/backups/s3", &body).await?);
    let end = world.mask(&world.ended(&format!("/v1/backups/s3/{next}")).await?);
    let store = world.store()?;
    let node = store.json(&format!("{next}/weaviate-0/backup.json")).await?;
    let mut borrows = false;
    for class in node["classes"].as_array().into_iter().flatten() {
        let from = &class["shards"][0]["incrementalBackupInfo"]["filesPerBackup"][&base];
        borrows |= from.as_array().is_some_and(|files| !files.is_empty());
    }
    world.empty().await?;
    let restored = world.restored(&next, &json!({})).await?;
    for key in store.list(&format!("{base}/")).await? {
        store.delete(&key).await?;
    }
    world.empty().await?;
    let without = world.restored(&next, &json!({})).await?;
    Ok(json!({"answer": answer, "end": end, "baseBackupId": node["baseBackupId"], "borrows": borrows,
        "restored": restored, "without its base": without}))
}
