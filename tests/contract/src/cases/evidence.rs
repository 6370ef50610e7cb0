//! What evidence is made of, asked as the product asks: by its own adapter, over GraphQL and over the REST search.

use anyhow::{Context, Result};
use lifeboat_adapters::weaviate::{HttpNode, HttpNodes, KeySource, Secret};
use lifeboat_domain::expectations::EvidenceAdapter;
use lifeboat_workflows::ports::node::{Equals, Hit, NodeError, Place};
use lifeboat_workflows::ports::{Fault, Node, Nodes};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::proxy::until;
use crate::world::{OPERATOR, World, definition, uuid};

const G: &str = "evidence";

const GRAPHQL: EvidenceAdapter = EvidenceAdapter::Graphql;
const REST: EvidenceAdapter = EvidenceAdapter::Rest;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Keys, "which adapter a server has", which),
        case!(G, Keys, "counts by GraphQL", |w| counts(w, GRAPHQL)),
        case!(G, Keys, "counts by REST search", |w| counts(w, REST)),
        case!(G, Keys, "filtered counts by GraphQL", |w| filtered(w, GRAPHQL)),
        case!(G, Keys, "filtered counts by REST search", |w| filtered(w, REST)),
        case!(G, Keys, "a filter on a property that is not there, by GraphQL", |w| no_property(w, GRAPHQL)),
        case!(G, Keys, "a filter on a property that is not there, by REST search", |w| no_property(w, REST)),
        case!(G, Keys, "a BM25 set by GraphQL", |w| bm25(w, GRAPHQL)),
        case!(G, Keys, "a BM25 set by REST search", |w| bm25(w, REST)),
        case!(G, Keys, "near-object by GraphQL", |w| near(w, GRAPHQL)),
        case!(G, Keys, "near-object by REST search", |w| near(w, REST)),
        case!(G, Keys, "near an object that is not there, by GraphQL", |w| near_nothing(w, GRAPHQL)),
        case!(G, Keys, "near an object that is not there, by REST search", |w| near_nothing(w, REST)),
        case!(G, Keys, "the list cursor goes on from an id that is not there", cursor),
        case!(G, Keys, "canaries after a restore are as they were", canaries),
    ]
}

/// A key that never changes.
#[derive(Debug)]
pub(super) struct Fixed;

impl KeySource for Fixed {
    async fn key(&self) -> Result<Secret, Fault> {
        Ok(Secret::new(OPERATOR))
    }
}

/// The product's own adapter.
pub(super) fn adapter(world: &World) -> Result<HttpNode<Fixed>> {
    let (host, port) = world.url().trim_start_matches("http://").rsplit_once(':').context("host:port")?;
    Ok(HttpNodes::on_port(Fixed, port.parse()?).at(host))
}

/// As the adapter reads an answer: its value, or the kind of the refusal and its status.
pub(super) fn read<T>(answer: Result<T, NodeError>, value: impl FnOnce(T) -> Value) -> Value {
    match answer {
        Ok(found) => value(found),
        Err(NodeError::NotFound { .. }) => json!("not found"),
        Err(NodeError::Unauthorized { status, .. }) => json!(format!("unauthorized {status}")),
        Err(NodeError::Refused { status, message, .. }) => json!(format!("refused {status}: {message}")),
        Err(NodeError::Unknown { detail, .. }) => json!(format!("unknown: {detail}")),
    }
}

pub(super) fn place(class: &str, tenant: Option<&str>) -> Place {
    Place { class: class.to_owned(), tenant: tenant.map(str::to_owned) }
}

/// The library, seen in the configuration's own mode.
async fn library(world: &World) -> Result<HttpNode<Fixed>> {
    world.library().await?;
    world.ask(Method::GET, "/v1/nodes", None).await?;
    adapter(world)
}

async fn which(world: &World) -> Result<Value> {
    let node = library(world).await?;
    Ok(read(node.evidence_adapter().await, |found| json!(format!("{found:?}"))))
}

async fn counts(world: &World, by: EvidenceAdapter) -> Result<Value> {
    world.library().await?;
    world.spoil();
    world.prepare(Method::POST, "/v1/schema", Some(&definition("Vacant"))).await?;
    world.ask(Method::GET, "/v1/nodes", None).await?;
    let node = adapter(world)?;
    let mut seen = json!({});
    for class in ["Article", "Author", "Vacant", "NeverMade"] {
        seen[class] = read(node.count(by, &place(class, None), None).await, |count| json!(count));
    }
    Ok(world.mask(&seen))
}

async fn filtered(world: &World, by: EvidenceAdapter) -> Result<Value> {
    let node = library(world).await?;
    let mut seen = Vec::new();
    for (property, value) in [
        ("n", json!(7)),
        ("n", json!(7_000)),
        ("even", json!(true)),
        ("title", json!("number 7")),
        ("title", json!("LIFEBOAT")),
        ("code", json!("CODE 7")),
        ("code", json!("code")),
    ] {
        let filter = Equals { property: property.into(), value: value.clone() };
        let count = node.count(by, &place("Article", None), Some(&filter)).await;
        seen.push(json!([property, value, read(count, |count| json!(count))]));
    }
    Ok(world.mask(&json!(seen)))
}

async fn no_property(world: &World, by: EvidenceAdapter) -> Result<Value> {
    let node = library(world).await?;
    let filter = Equals { property: "nothing".into(), value: json!("x") };
    let count = node.count(by, &place("Article", None), Some(&filter)).await;
    let hits = node.bm25(by, &place("Article", None), "nothing", "x", 3).await;
    Ok(world.mask(&json!({"count": read(count, |n| json!(n)), "bm25": read(hits, |hits| json!(hits.len()))})))
}

/// Which objects were found, by their number; as a set, for equal scores come in any order.
fn numbers(hits: &[Hit]) -> Vec<usize> {
    let mut found: Vec<usize> = hits.iter().filter_map(|hit| (0..30).find(|n| uuid("Article", *n) == hit.id)).collect();
    found.sort_unstable();
    found
}

async fn bm25(world: &World, by: EvidenceAdapter) -> Result<Value> {
    let node = library(world).await?;
    let mut seen = json!({});
    for (property, query, limit) in [
        ("title", "number 7", 1),
        ("title", "lifeboat", 30),
        ("code", "CODE 7", 5),
        ("title", "zebra", 5),
        ("n", "7", 5),
    ] {
        let hits = node.bm25(by, &place("Article", None), property, query, limit).await;
        seen[format!("{property}: {query}")] = read(
            hits,
            |hits| json!({"found": numbers(&hits), "scores above 0": hits.iter().all(|hit| hit.score > 0.0)}),
        );
    }
    Ok(world.mask(&seen))
}

async fn near(world: &World, by: EvidenceAdapter) -> Result<Value> {
    let node = library(world).await?;
    let id = uuid("Article", 7);
    let hits = node.near_object(by, &place("Article", None), &id, None, 10).await;
    Ok(world.mask(&read(hits, |hits| {
        let own_first = hits.first().is_some_and(|hit| hit.id == id);
        json!({"found": numbers(&hits), "own first": own_first})
    })))
}

async fn near_nothing(world: &World, by: EvidenceAdapter) -> Result<Value> {
    let node = library(world).await?;
    let hits = node.near_object(by, &place("Article", None), &uuid("Article", 9_999), None, 3).await;
    Ok(world.mask(&read(hits, |hits| json!(hits.len()))))
}

async fn cursor(world: &World) -> Result<Value> {
    let node = library(world).await?;
    let mut all: Vec<String> = (0..30).map(|n| uuid("Article", n)).collect();
    all.sort_unstable();
    let middle = "80000000-0000-0000-0000-000000000000";
    let next = node.object_after(&place("Article", None), middle).await;
    let right = all.iter().find(|id| id.as_str() > middle);
    let last = node.object_after(&place("Article", None), "ffffffff-ffff-ffff-ffff-ffffffffffff").await;
    let no_id = node.object_after(&place("Article", None), "no-uuid").await;
    let no_class = node.object_after(&place("NeverMade", None), middle).await;
    let is_right =
        |found: Option<lifeboat_workflows::ports::node::ObjectView>| json!(found.map(|o| o.id) == right.cloned());
    Ok(world
        .mask(&json!({"is the next by id": read(next, is_right), "after the last": read(last, |o| json!(o.is_none())),
        "no id": read(no_id, |o| json!(o.is_none())), "no class": read(no_class, |o| json!(o.is_none()))})))
}

/// Everything above, before a backup and after its restore.
async fn canaries(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("canaries");
    world.backup(&id).await?;
    let before = ask_all(world).await?;
    world.empty().await?;
    world.restored(&id, &json!({})).await?;
    // A 1.39.0 was seen to find nothing near an object for a moment after SUCCESS, while it counted and listed all.
    let (node, article) = (adapter(world)?, place("Article", None));
    until("the vectors of what was restored", async || {
        let near = node.near_object(GRAPHQL, &article, &uuid("Article", 7), None, 10).await;
        Ok(near.map_or(true, |hits| hits.len() == 10).then_some(()))
    })
    .await?;
    let after = ask_all(world).await?;
    let otherwise: Vec<Value> =
        before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, b)| json!({"before": a, "after": b})).collect();
    Ok(world.mask(&json!({"answers": before.len(), "otherwise": otherwise})))
}

async fn ask_all(world: &World) -> Result<Vec<Value>> {
    world.ask(Method::GET, "/v1/nodes", None).await?;
    let node = adapter(world)?;
    let article = place("Article", None);
    let mut all = Vec::new();
    for by in [GRAPHQL, REST] {
        let even = Equals { property: "even".into(), value: json!(true) };
        all.push(read(node.count(by, &article, None).await, |n| json!(n)));
        all.push(read(node.count(by, &article, Some(&even)).await, |n| json!(n)));
        all.push(read(node.bm25(by, &article, "title", "number 7", 1).await, |hits| json!(numbers(&hits))));
        all.push(read(node.near_object(by, &article, &uuid("Article", 7), None, 10).await, |hits| {
            json!(numbers(&hits))
        }));
    }
    for n in [0, 7, 29] {
        all.push(read(node.object(&article, &uuid("Article", n)).await, |object| {
            json!(object.map(|o| json!([o.id, o.properties, format!("{:?}{:?}", o.vectors, o.updated_at)])))
        }));
    }
    Ok(all)
}
