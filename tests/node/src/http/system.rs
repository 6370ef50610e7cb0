//! `/v1/meta` and `/v1/nodes`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde_json::{Map, Value, json};

use super::{App, Shared, body};
use crate::errors::Refusal;
use crate::names;
use crate::tenants::Activity;
use crate::version::GIT_HASH;

/// `GET /v1`
pub(crate) async fn root() -> Json<Value> {
    Json(json!({"links": [{"href": "/v1/meta", "name": "Meta information about this instance/cluster"}]}))
}

/// `GET /v1/meta`
pub(crate) async fn meta(State(app): Shared) -> Json<Value> {
    let mut modules = Map::new();
    if let Some(s3) = &app.config.s3 {
        let mut module = json!({"endpoint": s3.endpoint, "bucketName": s3.bucket, "useSSL": s3.use_ssl});
        if !s3.path.is_empty() {
            module["rootName"] = json!(s3.path);
        }
        modules.insert("backup-s3".to_owned(), module);
    }
    if let Some(path) = &app.config.filesystem {
        modules.insert("backup-filesystem".to_owned(), json!({"backupsPath": path}));
    }
    Json(json!({
        "hostname": format!("http://{}", app.address),
        "version": app.knobs.version.text(),
        "grpcMaxMessageSize": 104_858_000,
        "modules": modules,
    }))
}

/// `GET /v1/nodes`, with `?output=verbose` for shards and counts. Counts are those of flushed segments only.
pub(crate) async fn nodes(State(app): Shared, uri: Uri) -> Result<Json<Value>, Refusal> {
    let verbose = match body::query(&uri).get("output").map(String::as_str) {
        None | Some("" | "minimal") => false,
        Some("verbose") => true,
        Some(other) => {
            return Err(Refusal::unprocessable(format!(
                "invalid output: \"{other}\", possible values are: \"verbose\", \"minimal\""
            )));
        }
    };
    let mut node = json!({
        "name": app.config.node_name,
        "status": "HEALTHY",
        "version": app.knobs.version.text(),
        "gitHash": GIT_HASH,
        "operationalMode": app.mode.get(),
        "batchStats": {"queueLength": 0, "ratePerSecond": app.rate.per_second()},
        "shards": null,
    });
    if verbose {
        let shards = shards(&app);
        let objects: u64 = shards.iter().filter_map(|shard| shard["objectCount"].as_u64()).sum();
        node["stats"] = json!({"objectCount": objects, "shardCount": shards.len()});
        node["shards"] = if shards.is_empty() { Value::Null } else { Value::Array(shards) };
    }
    Ok(Json(json!({"nodes": [node]})))
}

fn shards(app: &App) -> Vec<Value> {
    let mut list = Vec::new();
    for class in app.db.classes() {
        let compressed = names::is_compressed(&class.definition());
        for slot in class.slots().values().filter(|slot| slot.activity() == Activity::Active) {
            let shard = slot.loaded();
            list.push(json!({
                "name": slot.name,
                "class": class.name,
                "objectCount": shard.as_ref().map_or(0, |shard| shard.flushed()),
                "vectorIndexingStatus": if shard.is_some() { "READY" } else { "LAZY_LOADING" },
                "vectorQueueLength": 0,
                "compressed": compressed,
                "loaded": shard.is_some(),
                "asyncReplicationStatus": if shard.is_some() { json!([]) } else { Value::Null },
                "numberOfReplicas": 1,
                "replicationFactor": 1,
            }));
        }
    }
    list
}
