//! What lies in the bucket: keys, ETags, fields and their order, chunks and their members, and the order of writes.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Case, case};
use crate::mask::shape;
use crate::proxy::Line;
use crate::world::{World, definition};

const G: &str = "layout";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Plain, "keys of a backup, one chunk for each shard and tenant", keys),
        case!(G, Plain, "ETags: JSON is plain MD5, a chunk is multipart however small", etags),
        case!(G, Plain, "backup_config.json when it says STARTED", started),
        case!(G, Plain, "backup_config.json when it says SUCCESS", success),
        case!(G, Plain, "fields of the descriptors in their order", order),
        case!(G, Plain, "the node's descriptor", node),
        case!(G, Plain, "what the node's descriptor has in base64", encoded),
        case!(G, Plain, "a chunk without compression", |w| chunk(w, "tar-none", "NoCompression")),
        case!(G, Plain, "a chunk of the default compression", |w| chunk(w, "tar-gzip", "DefaultCompression")),
        case!(G, Plain, "a chunk of the best compression", |w| chunk(w, "tar-best", "BestCompression")),
        case!(G, Plain, "zstd is named in the descriptors", zstd),
        case!(G, Plain, "the writes of a create, in their order", create_writes),
        case!(G, Plain, "the writes of a restore, in their order", restore_writes),
        case!(G, Plain, "restore_config.json at TRANSFERRING, FINALIZING and SUCCESS", restore_config),
        case!(G, SmallChunks, "a file with chunks of its own", big_files),
    ]
}

const TENANTED: &str = "Tenanted";

/// The library and a class with tenants: one active, one inactive, one empty.
async fn with_tenants(world: &World) -> Result<()> {
    world.library().await?;
    world.spoil();
    let mut class = definition(TENANTED);
    class["multiTenancyConfig"] = json!({"enabled": true});
    world.prepare(Method::POST, "/v1/schema", Some(&class)).await?;
    let tenants = json!([{"name": "hot"}, {"name": "cold"}, {"name": "bare"}]);
    let path = format!("/v1/schema/{TENANTED}/tenants");
    world.prepare(Method::POST, &path, Some(&tenants)).await?;
    world.add(TENANTED, Some("hot"), 0..5).await?;
    world.add(TENANTED, Some("cold"), 0..5).await?;
    let sleep = json!([{"name": "cold", "activityStatus": "INACTIVE"}]);
    world.prepare(Method::PUT, &path, Some(&sleep)).await?;
    Ok(())
}

async fn keys(world: &World) -> Result<Value> {
    with_tenants(world).await?;
    let id = world.id("keys");
    world.backup(&id).await?;
    let store = world.store()?;
    let keys = store.list(&format!("{id}/")).await?;
    let part = store.json(&format!("{id}/weaviate-0/backup.json")).await?;
    let mut shards = BTreeMap::new();
    for class in part["classes"].as_array().into_iter().flatten() {
        let name = class["name"].as_str().unwrap_or_default();
        let mut of: Vec<&str> = class["chunks"].as_object().into_iter().flatten().map(|(n, _)| n.as_str()).collect();
        of.sort_unstable();
        let mut names: Vec<&str> =
            class["shards"].as_array().into_iter().flatten().filter_map(|s| s["name"].as_str()).collect();
        names.sort_unstable();
        let names = if name == TENANTED { json!(names) } else { json!(names.len()) };
        shards.insert(name.to_owned(), json!({"chunks": of, "shards": names}));
    }
    Ok(world.mask(&json!({"keys": keys, "of each class": shards})))
}

fn md5_of(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn etags(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    let store = world.store()?;
    let mut seen = json!({});
    for key in store.list(&format!("{id}/")).await? {
        let (bytes, (etag, kind)) = (store.get(&key).await?, store.head(&key).await?);
        let parts = format!("{}-1", md5_of(&Md5::digest(&bytes)));
        let form = if etag == md5_of(&bytes) {
            "MD5 of the whole"
        } else if etag == parts {
            "MD5 of one part's MD5, -1"
        } else {
            "something else"
        };
        let key = world.mask(&json!(key));
        if key != "golden/restore_config.json" {
            seen[key.as_str().unwrap_or_default()] = json!([form, kind]);
        }
    }
    Ok(seen)
}

async fn started(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("at-started");
    let mut held = world.proxy()?.hold("PUT", &format!("{id}/weaviate-0/Author/chunk-"), None);
    world.ask_when_free("/v1/backups/s3", &json!({"id": id, "include": ["Author"]})).await?;
    held.reached().await?;
    let document = world.store()?.json(&format!("{id}/backup_config.json")).await;
    held.release();
    world.ended(&format!("/v1/backups/s3/{id}")).await?;
    Ok(world.mask(&document?))
}

async fn success(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    let mut document = world.store()?.json(&format!("{id}/backup_config.json")).await?;
    if let Some(classes) = document["nodes"]["weaviate-0"]["classes"].as_array_mut() {
        classes.sort_by_key(Value::to_string);
    }
    Ok(world.mask(&document))
}

/// The names of an object's fields in the order in which they are written.
#[derive(Debug)]
struct Order(Vec<String>);

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Names;
        impl<'de> serde::de::Visitor<'de> for Names {
            type Value = Order;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> std::result::Result<Order, A::Error> {
                let mut names = Vec::new();
                while let Some((name, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Order(names))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

#[derive(Deserialize)]
struct NodeOrder {
    classes: Vec<Order>,
}

#[derive(Deserialize)]
struct ClassesOrder {
    classes: Vec<ShardsOrder>,
}

#[derive(Deserialize)]
struct ShardsOrder {
    shards: Vec<Order>,
}

async fn order(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    let global = world.store()?.get(&format!("{id}/backup_config.json")).await?;
    let node = world.store()?.get(&format!("{id}/weaviate-0/backup.json")).await?;
    let classes: NodeOrder = serde_json::from_slice(&node)?;
    let shards: ClassesOrder = serde_json::from_slice(&node)?;
    let first = |orders: &[Order]| orders.first().map(|order| order.0.clone()).unwrap_or_default();
    let text = String::from_utf8_lossy(&global);
    Ok(json!({
        "backup_config.json": serde_json::from_slice::<Order>(&global)?.0,
        "backup.json": serde_json::from_slice::<Order>(&node)?.0,
        "class": first(&classes.classes),
        "shard": shards.classes.first().map(|class| first(&class.shards)).unwrap_or_default(),
        "one line": !text.trim_end().contains('\n'), "ends with a newline": text.ends_with('\n'),
    }))
}

async fn node(world: &World) -> Result<Value> {
    let id = world.golden().await?;
    let mut document = world.store()?.json(&format!("{id}/weaviate-0/backup.json")).await?;
    let shapes = shape(&document);
    document["classes"] = Value::Null;
    document["userBackups"] = json!(document["userBackups"].is_string());
    Ok(json!({"shape": shapes, "is": world.mask(&document)}))
}

fn decode(value: &Value) -> Result<Value> {
    let bytes = STANDARD.decode(value.as_str().context("not a text")?)?;
    Ok(serde_json::from_slice(&bytes)?)
}

async fn encoded(world: &World) -> Result<Value> {
    world.library().await?;
    world.spoil();
    world.prepare(Method::POST, "/v1/aliases", Some(&json!({"alias": "Text", "class": "Author"}))).await?;
    let id = world.id("encoded");
    world.backup_with(&json!({"id": id, "include": ["Author"]})).await?;
    let definition = world.ask(Method::GET, "/v1/schema/Author", None).await?;
    let document = world.store()?.json(&format!("{id}/weaviate-0/backup.json")).await?;
    let class = &document["classes"][0];
    let (schema, sharding) = (decode(&class["schema"])?, decode(&class["shardingState"])?);
    let shard = class["shards"][0]["name"].as_str().unwrap_or_default().to_owned();
    let mut physical = sharding["physical"].clone();
    let one = physical[&shard].take();
    let mut sharding = sharding;
    sharding["physical"] = Value::Null;
    let named = one["name"] == *shard;
    let fields = |of: &Value| of.as_object().cloned().unwrap_or_default();
    let (stored, told) = (fields(&schema), fields(&definition.json));
    let otherwise: Vec<Value> = stored
        .keys()
        .chain(told.keys().filter(|name| !stored.contains_key(*name)))
        .filter(|name| stored.get(*name) != told.get(*name))
        .map(|name| json!([name, stored.get(name), told.get(name)]))
        .collect();
    Ok(json!({
        "fields of the schema that are otherwise in REST": otherwise,
        "sharding": shape(&sharding), "a shard of it": shape(&one), "it has its name": named,
        "belongs to": one["belongsToNodes"], "aliases": decode(&class["aliases"])?,
        "users": decode(&document["userBackups"])?, "roles": document["rbacBackups"],
    }))
}

async fn chunk(world: &World, name: &'static str, level: &'static str) -> Result<Value> {
    world.library().await?;
    let id = world.id(name);
    world.backup_with(&json!({"id": id, "include": ["Article"], "config": {"CompressionLevel": level}})).await?;
    let store = world.store()?;
    let bytes = store.get(&format!("{id}/weaviate-0/Article/chunk-1")).await?;
    let node = store.json(&format!("{id}/weaviate-0/backup.json")).await?;
    let global = store.json(&format!("{id}/backup_config.json")).await?;
    let gzip = bytes.starts_with(&[0x1f, 0x8b]);
    let mut plain = Vec::new();
    if gzip {
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain)?;
    } else {
        plain.clone_from(&bytes);
    }
    let shard = &node["classes"][0]["shards"][0];
    let home = format!("article/{}/", shard["name"].as_str().unwrap_or_default());
    let files = shard["files"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let files: Vec<String> = files.map(str::to_owned).collect();
    let mut archive = tar::Archive::new(&plain[..]);
    let (mut members, mut kinds, mut pax) = (Vec::<String>::new(), Vec::new(), 0);
    for entry in archive.entries()? {
        let mut entry = entry?;
        members.push(entry.path()?.display().to_string());
        let kind = format!("{:?}", entry.header().entry_type());
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
        pax += entry.pax_extensions()?.map_or(0, Iterator::count);
    }
    let is_unlisted = |path: &String| !files.contains(path);
    let mut unlisted: Vec<&str> =
        members.iter().filter(|path| is_unlisted(path)).map(|path| path.trim_start_matches(&home)).collect();
    unlisted.sort_unstable();
    Ok(json!({
        "gzip": gzip, "named": [global["compressionType"], node["compressionType"]],
        "members that no list names": unlisted, "they come first": members.iter().take(unlisted.len()).all(is_unlisted),
        // A file may have a chunk of its own, so that the first one has not all of them.
        "the others are files, in their order":
            members.iter().filter(|path| !is_unlisted(path)).eq(files.iter().filter(|file| members.contains(file))),
        "all below class and shard": members.iter().all(|path| path.starts_with(&home)),
        "kinds of members": kinds, "has pax records": pax > 0,
        "blocks of 512": plain.len().is_multiple_of(512),
        "ends with two empty blocks": plain.ends_with(&[0; 1024]),
    }))
}

async fn zstd(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("zstd");
    let body = json!({"id": id, "include": ["Author"], "config": {"CompressionLevel": "ZstdBestSpeed"}});
    let reply = world.ask_when_free("/v1/backups/s3", &body).await?;
    if reply.status != 200 {
        return Ok(world.seen(&reply));
    }
    world.ended(&format!("/v1/backups/s3/{id}")).await?;
    let store = world.store()?;
    let bytes = store.get(&format!("{id}/weaviate-0/Author/chunk-1")).await?;
    let global = store.json(&format!("{id}/backup_config.json")).await?;
    Ok(json!({"named": global["compressionType"], "begins": hex(&bytes[..4])}))
}

/// Requests that change the bucket, in their order, those of one multipart upload as one.
fn writes(world: &World, lines: &[Line], id: &str) -> Value {
    let mut seen: Vec<String> = Vec::new();
    for line in lines.iter().filter(|line| line.method != "GET" && line.method != "HEAD") {
        let key = line.path.split_once(&format!("/{id}/")).map_or(line.path.as_str(), |(_, rest)| rest);
        let what = match (line.method.as_str(), line.query.contains("uploads"), line.query.contains("uploadId")) {
            ("POST", true, _) => "begin",
            ("PUT", _, true) => "part of",
            ("POST", _, true) => "complete",
            ("DELETE", _, false) => "remove",
            ("PUT", ..) => "write",
            (other, ..) => other,
        };
        seen.push(format!("{what} {key}"));
    }
    world.mask(&json!(seen))
}

async fn create_writes(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("writes");
    world.backup_with(&json!({"id": id, "include": ["Author"]})).await?;
    let log = world.proxy()?.log(&format!("/{id}/"));
    let before: Vec<String> = log
        .iter()
        .take_while(|line| line.method == "GET" || line.method == "HEAD")
        .filter_map(|line| Some(format!("{} {}", line.method, line.path.split_once(&format!("/{id}/"))?.1)))
        .collect();
    Ok(json!({"reads before": before, "writes": writes(world, &log, &id)}))
}

async fn restore_writes(world: &World) -> Result<Value> {
    let id = world.copy_of_golden("restore-writes").await?;
    world.empty().await?;
    world.restored(&id, &json!({"include": ["Author"]})).await?;
    Ok(writes(world, &world.proxy()?.log(&format!("/{id}/")), &id))
}

async fn restore_config(world: &World) -> Result<Value> {
    let id = world.copy_of_golden("restore-config").await?;
    world.empty().await?;
    world.spoil();
    let path = format!("/v1/backups/s3/{id}/restore");
    let key = format!("{id}/restore_config.json");
    let proxy = world.proxy()?;
    let mut at_chunk = proxy.hold("GET", &format!("{id}/weaviate-0/Author/chunk-"), None);
    let mut at_end = proxy.hold("PUT", &key, Some(3));
    world.ask_when_free(&path, &json!({"include": ["Author"]})).await?;
    at_chunk.reached().await?;
    let transferring = world.store()?.json(&key).await?;
    at_chunk.release();
    at_end.reached().await?;
    let finalizing = world.store()?.json(&key).await?;
    at_end.release();
    world.ended(&path).await?;
    // SUCCESS is told from memory before it is written.
    let stored = crate::proxy::until("the last write", async || {
        let stored = world.store()?.json(&key).await?;
        Ok((stored["status"] == "SUCCESS").then_some(stored))
    });
    Ok(world.mask(&json!({"TRANSFERRING": transferring, "FINALIZING": finalizing, "SUCCESS": stored.await?})))
}

async fn big_files(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("big-files");
    world.backup_with(&json!({"id": id, "include": ["Article"]})).await?;
    let store = world.store()?;
    let node = store.json(&format!("{id}/weaviate-0/backup.json")).await?;
    let class = &node["classes"][0];
    let shard = &class["shards"][0];
    let big = shard["bigFilesChunk"].as_object().cloned().unwrap_or_default();
    let listed: Vec<&Value> = shard["files"].as_array().into_iter().flatten().collect();
    let is_listed = big.keys().all(|file| listed.iter().any(|other| *other == file));
    let keys: Vec<String> = store.list(&format!("{id}/weaviate-0/Article/")).await?;
    let chunks = class["chunks"].as_object().map_or(0, serde_json::Map::len);
    let entry = big.values().next().cloned().unwrap_or_default();
    let exists = |key: &Value| key.as_str().is_some_and(|key| keys.contains(&format!("{id}/weaviate-0/{key}")));
    let all_there = big.values().flat_map(|file| file["chunkKeys"].as_array().cloned().unwrap_or_default());
    Ok(json!({"some": !big.is_empty(), "entry": shape(&entry), "also in files": is_listed,
        "chunks as keys": chunks == keys.len(), "all there": all_there.into_iter().all(|key| exists(&key))}))
}
