//! Health, meta, nodes, and what the framework refuses.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::mask::shape;
use crate::world::World;

const G: &str = "system";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Plain, "live answers 200 and nothing", |w| get(w, "/v1/.well-known/live")),
        case!(G, Plain, "ready answers 200 and nothing", |w| get(w, "/v1/.well-known/ready")),
        case!(G, Plain, "meta names version, host, and bucket and path of the backup module", meta),
        case!(G, Plain, "nodes has no shards and no counts unless verbose", nodes),
        case!(G, Plain, "verbose nodes of an empty server", nodes_empty),
        case!(G, Plain, "verbose nodes after a backup has shards and exact counts", nodes_verbose),
        case!(G, Plain, "an unknown output of nodes is refused", |w| get(w, "/v1/nodes?output=all")),
        case!(G, Plain, "an unknown path is 404 in the framework's shape", |w| get(w, "/v1/nothing-here")),
        case!(G, Plain, "a method that a path has not is 405", |w| ask(w, Method::PUT, "/v1/backups/s3", json!({}))),
        case!(G, Plain, "the schema of an empty server is an empty list", schema_empty),
        case!(G, Plain, "GraphQL on an empty schema is no GraphQL answer", graphql_empty),
        case!(G, Plain, "an unknown class is 404 in the schema", |w| get(w, "/v1/schema/NeverMade")),
        case!(G, Plain, "the shards of a class", shards),
    ]
}

async fn get(world: &World, path: &'static str) -> Result<Value> {
    world.see(Method::GET, path, None).await
}

async fn ask(world: &World, method: Method, path: &'static str, body: Value) -> Result<Value> {
    world.see(method, path, Some(&body)).await
}

async fn meta(world: &World) -> Result<Value> {
    let reply = world.ask(Method::GET, "/v1/meta", None).await?;
    let modules: Vec<&String> = reply.json["modules"].as_object().map(|m| m.keys().collect()).unwrap_or_default();
    let mut fields = reply.json.clone();
    fields["modules"] = Value::Null;
    let backup = world.mask(&reply.json["modules"]["backup-s3"]);
    Ok(json!({"status": reply.status, "shape": shape(&fields), "backup-s3": backup, "modules": modules}))
}

async fn nodes(world: &World) -> Result<Value> {
    let reply = world.ask(Method::GET, "/v1/nodes", None).await?;
    let node = &reply.json["nodes"][0];
    let told = json!({"name": node["name"], "status": node["status"], "mode": node["operationalMode"]});
    Ok(json!({"status": reply.status, "shape": shape(&reply.json), "told": told}))
}

async fn nodes_empty(world: &World) -> Result<Value> {
    world.empty().await?;
    let reply = world.ask(Method::GET, "/v1/nodes?output=verbose", None).await?;
    Ok(json!({"status": reply.status, "shape": shape(&reply.json), "stats": reply.json["nodes"][0]["stats"]}))
}

async fn nodes_verbose(world: &World) -> Result<Value> {
    world.library().await?;
    world.backup(&world.id("for-nodes")).await?;
    let reply = world.ask(Method::GET, "/v1/nodes?output=verbose", None).await?;
    let node = &reply.json["nodes"][0];
    let mut shards: Vec<Value> = node["shards"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|shard| json!([shard["class"], shard["objectCount"], shard["loaded"], shard["vectorIndexingStatus"]]))
        .collect();
    shards.sort_by_key(Value::to_string);
    Ok(json!({"shape": shape(&reply.json), "stats": node["stats"], "shards": shards}))
}

async fn schema_empty(world: &World) -> Result<Value> {
    world.empty().await?;
    get(world, "/v1/schema").await
}

async fn graphql_empty(world: &World) -> Result<Value> {
    world.empty().await?;
    ask(world, Method::POST, "/v1/graphql", json!({"query": "{Aggregate{Article{meta{count}}}}"})).await
}

async fn shards(world: &World) -> Result<Value> {
    world.library().await?;
    let reply = world.ask(Method::GET, "/v1/schema/Article/shards", None).await?;
    Ok(json!({"status": reply.status, "shape": shape(&reply.json), "is": reply.json[0]["status"]}))
}
