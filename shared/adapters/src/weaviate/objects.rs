//! Replies about the node, its schema and its objects (shapes: facts weaviate.md §4).

use std::collections::BTreeMap;

use jiff::Timestamp;
use lifeboat_domain::expectations::TenantStatus;
use lifeboat_workflows::ports::node::{Class, Meta, NodeError, NodeInfo, ObjectView, Tenant};
use serde::Deserialize;
use serde_json::Value;

use super::reply::json;
use super::request::Request;

#[derive(Deserialize)]
struct MetaBody {
    version: String,
    modules: Option<BTreeMap<String, Value>>,
}

pub(super) fn meta(request: &Request, body: &[u8]) -> Result<Meta, NodeError> {
    let body: MetaBody = json(request, body)?;
    Ok(Meta { version: body.version, modules: body.modules.unwrap_or_default() })
}

#[derive(Deserialize)]
struct NodesBody {
    nodes: Vec<NodeBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeBody {
    name: String,
    status: String,
    version: String,
    #[serde(default)]
    git_hash: String,
    shards: Option<Vec<ShardBody>>,
    operational_mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShardBody {
    vector_indexing_status: String,
    vector_queue_length: i64,
}

impl ShardBody {
    /// A lazy shard loads when it is first asked, so it is no work that is still to be done; a restored tenant that
    /// nobody asks stays lazy for good. Any status not known here is work.
    fn is_ready(&self) -> bool {
        matches!(self.vector_indexing_status.as_str(), "READY" | "LAZY_LOADING")
    }
}

pub(super) fn nodes(request: &Request, body: &[u8]) -> Result<Vec<NodeInfo>, NodeError> {
    let body: NodesBody = json(request, body)?;
    Ok(body
        .nodes
        .into_iter()
        .map(|node| {
            let shards = node.shards.unwrap_or_default();
            NodeInfo {
                name: node.name,
                status: node.status,
                version: node.version,
                git_hash: node.git_hash,
                vector_queue_length: shards.iter().filter_map(|s| u64::try_from(s.vector_queue_length).ok()).sum(),
                shards_not_ready: shards.iter().filter(|s| !s.is_ready()).count() as u64,
                operational_mode: node.operational_mode,
            }
        })
        .collect())
}

#[derive(Deserialize)]
struct SchemaBody {
    classes: Option<Vec<Value>>,
}

pub(super) fn schema(request: &Request, body: &[u8]) -> Result<Vec<Class>, NodeError> {
    let body: SchemaBody = json(request, body)?;
    let classes = body.classes.ok_or_else(|| request.unknown("the schema has no list of classes"))?;
    let mut classes = classes
        .into_iter()
        .map(|definition| {
            let name = definition.get("class").and_then(Value::as_str).filter(|n| !n.is_empty());
            let name = name.ok_or_else(|| request.unknown("a class of the schema has no name"))?.to_owned();
            let multi_tenant = definition.pointer("/multiTenancyConfig/enabled").and_then(Value::as_bool);
            Ok(Class { name, multi_tenant: multi_tenant.unwrap_or(false), definition })
        })
        .collect::<Result<Vec<_>, NodeError>>()?;
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(classes)
}

#[derive(Deserialize)]
struct AliasesBody {
    aliases: Option<Vec<AliasBody>>,
}

#[derive(Deserialize)]
struct AliasBody {
    alias: String,
    class: String,
}

pub(super) fn aliases(request: &Request, body: &[u8]) -> Result<BTreeMap<String, String>, NodeError> {
    let body: AliasesBody = json(request, body)?;
    Ok(body.aliases.unwrap_or_default().into_iter().map(|a| (a.alias, a.class)).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TenantBody {
    name: String,
    activity_status: String,
}

pub(super) fn tenants(request: &Request, body: &[u8]) -> Result<Vec<Tenant>, NodeError> {
    let body: Vec<TenantBody> = json(request, body)?;
    let mut tenants: Vec<Tenant> = body
        .into_iter()
        .map(|tenant| {
            let status = match tenant.activity_status.as_str() {
                "ACTIVE" | "HOT" => TenantStatus::Active,
                "INACTIVE" | "COLD" => TenantStatus::Inactive,
                "OFFLOADED" | "FROZEN" => TenantStatus::Offloaded,
                other => TenantStatus::Other(other.to_owned()),
            };
            Tenant { name: tenant.name, status }
        })
        .collect();
    tenants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tenants)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectBody {
    id: String,
    properties: Option<Value>,
    vector: Option<Vec<f32>>,
    vectors: Option<BTreeMap<String, VectorBody>>,
    last_update_time_unix: Option<i64>,
}

/// A named vector: one, or several for one object.
#[derive(Deserialize)]
#[serde(untagged)]
enum VectorBody {
    One(Vec<f32>),
    Several(Vec<Vec<f32>>),
}

impl From<ObjectBody> for ObjectView {
    fn from(body: ObjectBody) -> Self {
        let mut vectors: BTreeMap<String, Vec<f32>> = body
            .vectors
            .unwrap_or_default()
            .into_iter()
            .map(|(name, vector)| match vector {
                VectorBody::One(vector) => (name, vector),
                VectorBody::Several(vectors) => (name, vectors.concat()),
            })
            .collect();
        if let Some(vector) = body.vector.filter(|v| !v.is_empty()) {
            vectors.entry("default".to_owned()).or_insert(vector);
        }
        Self {
            id: body.id,
            properties: body.properties.unwrap_or(Value::Null),
            vectors,
            updated_at: body.last_update_time_unix.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        }
    }
}

pub(super) fn object(request: &Request, body: &[u8]) -> Result<ObjectView, NodeError> {
    json::<ObjectBody>(request, body).map(ObjectView::from)
}

#[derive(Deserialize)]
struct ObjectsBody {
    objects: Option<Vec<ObjectBody>>,
}

pub(super) fn first_object(request: &Request, body: &[u8]) -> Result<Option<ObjectView>, NodeError> {
    let body: ObjectsBody = json(request, body)?;
    let objects = body.objects.ok_or_else(|| request.unknown("the reply has no list of objects"))?;
    Ok(objects.into_iter().next().map(ObjectView::from))
}
