//! Evidence: what a node shows, read through its port; what it means is decided in [`lifeboat_domain::expectations`].
//!
//! # Flow
//! [`record_expectations`] before a backup is asked for; [`observe_after`] after its SUCCESS; [`check_restored`] on the
//! node that it was restored to.
//!
//! # Guarantees
//! Nothing is written to the node. A tenant that is not ACTIVE is never asked for anything but its status, because
//! asking can load it (R5). Counts come from aggregation alone. At most [`AT_ONCE`] questions are under way.
//!
//! # Assumptions
//! The node's list cursor takes an id that does not exist (held by the contract test).
//!
//! # Errors
//! No answer is an error, never a verdict: ask again later.

mod look;

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use lifeboat_domain::expectations::canary::{self, Question};
use lifeboat_domain::expectations::compare::{self, Finding};
use lifeboat_domain::expectations::{
    AfterObservation, Canary, CanaryName, CanaryQuery, CollectionExpectation, EvidenceAdapter, Expectations,
    ObservedAfter, nothing_in,
};
use lifeboat_domain::ids::Sha256Digest;
use serde_json::Value;

use crate::ports::Node;
use crate::ports::node::{Class, Equals, NodeError, ObjectView, Place};

/// How many questions a node is asked at once: enough to hide the network, too few to be felt by its users.
pub const AT_ONCE: usize = 8;

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The node gave no usable answer.
    #[error("the node gives no evidence: {what}")]
    Node {
        /// What was read.
        what: String,
        /// What it said.
        #[source]
        source: NodeError,
    },
    /// The node is not alone.
    #[error("a single node is expected, Weaviate lists {names:?}; Lifeboat does not keep clusters of several")]
    NotOneNode {
        /// Those listed.
        names: Vec<String>,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(NodeError) -> EvidenceError {
    let what = what.into();
    move |source| EvidenceError::Node { what, source }
}

/// What was read before a backup.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which API gave counts and queries.
    pub adapter: EvidenceAdapter,
    /// Weaviate's version.
    pub weaviate_version: String,
    /// The node's name.
    pub node_name: String,
    /// What is expected of each collection.
    pub collections: BTreeMap<String, CollectionExpectation>,
}

impl Reading {
    /// Whether there is nothing to protect.
    pub fn is_empty(&self) -> bool {
        nothing_in(&self.collections)
    }
}

/// Reads what a backup taken from now on is expected to hold.
pub async fn record_expectations<N: Node>(node: &N) -> Result<Reading, EvidenceError> {
    let weaviate_version = node.meta().await.map_err(failed("its version"))?.version;
    let nodes = node.nodes().await.map_err(failed("its name"))?;
    let [one] = nodes.as_slice() else {
        return Err(EvidenceError::NotOneNode { names: nodes.into_iter().map(|n| n.name).collect() });
    };
    let node_name = one.name.clone();
    let classes = node.schema().await.map_err(failed("its schema"))?;
    let adapter = adapter(node, &classes).await?;
    let definitions: BTreeMap<String, Value> = classes.iter().map(|c| (c.name.clone(), c.definition.clone())).collect();
    let tenants = look::tenants(node, classes.iter().filter(|c| c.multi_tenant).map(|c| c.name.clone())).await?;

    let places = classes.iter().flat_map(|class| match tenants.get(&class.name) {
        None => vec![place(&class.name, None)],
        Some(tenants) => {
            canary::counted_tenants(&class.name, tenants).into_iter().map(|t| place(&class.name, Some(t))).collect()
        }
    });
    let counts = look::counts(node, adapter, places).await?;

    let mut collections = BTreeMap::new();
    let mut canary_places = Vec::new();
    for class in &classes {
        let (count, expected, chosen) = match tenants.get(&class.name) {
            None => {
                let count = counts.get(&place(&class.name, None)).copied().unwrap_or(0);
                let chosen = if count > 0 { vec![place(&class.name, None)] } else { Vec::new() };
                (count, BTreeMap::new(), chosen)
            }
            Some(tenants) => {
                let counted = look::of_class(&counts, &class.name);
                let chosen = canary::canary_tenants(&class.name, &counted);
                let chosen = chosen.into_iter().map(|t| place(&class.name, Some(t))).collect();
                (counted.values().sum(), look::with_counts(tenants, &counted), chosen)
            }
        };
        canary_places.extend(chosen);
        let definition_sha256 = canary::definition_digest(&class.definition);
        let expectation = CollectionExpectation { definition_sha256, count, tenants: expected, canaries: Vec::new() };
        collections.insert(class.name.clone(), expectation);
    }

    for (place, canary) in canaries(node, adapter, &definitions, canary_places).await? {
        if let Some(collection) = collections.get_mut(&place.class) {
            collection.canaries.push(canary);
        }
    }
    Ok(Reading { adapter, weaviate_version, node_name, collections })
}

/// The node's version, and which evidence API it has.
pub async fn which_api<N: Node>(node: &N) -> Result<(String, EvidenceAdapter), EvidenceError> {
    let version = node.meta().await.map_err(failed("its version"))?.version;
    let classes = node.schema().await.map_err(failed("its schema"))?;
    Ok((version, adapter(node, &classes).await?))
}

/// Counts exactly: all objects, and a digest of the count of each collection and counted tenant, which differs as soon
/// as one of them does, or as there is another collection.
pub async fn count_all<N: Node>(node: &N) -> Result<(u64, Sha256Digest), EvidenceError> {
    let classes = node.schema().await.map_err(failed("its schema"))?;
    let adapter = adapter(node, &classes).await?;
    let tenants = look::tenants(node, classes.iter().filter(|c| c.multi_tenant).map(|c| c.name.clone())).await?;
    let places = classes.iter().flat_map(|class| match tenants.get(&class.name) {
        None => vec![place(&class.name, None)],
        Some(tenants) => {
            canary::counted_tenants(&class.name, tenants).into_iter().map(|t| place(&class.name, Some(t))).collect()
        }
    });
    let counts = look::counts(node, adapter, places).await?;
    let names: Vec<&str> = classes.iter().map(|c| c.name.as_str()).collect();
    let text = format!("{names:?} {tenants:?} {counts:?}");
    Ok((counts.values().sum(), Sha256Digest::of(text.as_bytes())))
}

/// Which evidence API the node has. Without a collection there is nothing to ask it, and GraphQL refuses every question
/// (real server: 422 on an empty schema).
async fn adapter<N: Node>(node: &N, classes: &[Class]) -> Result<EvidenceAdapter, EvidenceError> {
    if classes.is_empty() {
        return Ok(EvidenceAdapter::Graphql);
    }
    node.evidence_adapter().await.map_err(failed("which evidence API it has"))
}

/// The canaries of these places, in the order of place and id.
async fn canaries<N: Node>(
    node: &N,
    adapter: EvidenceAdapter,
    definitions: &BTreeMap<String, Value>,
    places: Vec<Place>,
) -> Result<Vec<(Place, Canary)>, EvidenceError> {
    let starts = places.into_iter().flat_map(|place| {
        let starts = canary::starts(&place.class, place.tenant.as_deref());
        starts.into_iter().map(move |start| (place.clone(), start))
    });
    let found: Vec<Option<(Place, ObjectView)>> = stream::iter(starts)
        .map(|(place, start)| async move { first_from(node, place, &start).await })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let objects: BTreeMap<(CanaryName, Place), ObjectView> = found
        .into_iter()
        .flatten()
        .map(|(place, object)| ((CanaryName::new(&place.class, place.tenant.as_deref(), &object.id), place), object))
        .collect();
    let mut canaries: Vec<(Place, Canary)> = stream::iter(objects.into_iter().map(|((_, place), object)| {
        let definition = definitions.get(&place.class).cloned().unwrap_or_default();
        (place, object, definition)
    }))
    .map(|(place, object, definition)| async move {
        let canary = remember(node, adapter, &place, &object, &definition).await;
        (place, canary)
    })
    .buffer_unordered(AT_ONCE)
    .collect()
    .await;
    canaries.sort_by(|(a, x), (b, y)| (a, &x.id).cmp(&(b, &y.id)));
    Ok(canaries)
}

/// The first object from a cursor on, or from the beginning when none follows.
async fn first_from<N: Node>(
    node: &N,
    place: Place,
    start: &str,
) -> Result<Option<(Place, ObjectView)>, EvidenceError> {
    for after in [start, canary::FIRST] {
        let what = || format!("an object of {}", place.class);
        if let Some(object) = node.object_after(&place, after).await.map_err(|e| failed(what())(e))? {
            return Ok(Some((place, object)));
        }
    }
    Ok(None)
}

/// A canary with the questions that gave the same answer twice. A question that the node refuses, or cannot answer
/// now, is left out: the object itself is what counts, and a slow query must not stand in the way of a backup.
async fn remember<N: Node>(
    node: &N,
    adapter: EvidenceAdapter,
    place: &Place,
    object: &ObjectView,
    definition: &Value,
) -> Canary {
    let mut queries = Vec::new();
    for question in canary::questions(definition, &object.properties, &object.vectors) {
        let Ok(first) = ask(node, adapter, place, &object.id, &question).await else { continue };
        let Ok(second) = ask(node, adapter, place, &object.id, &question).await else { continue };
        queries.extend(canary::agreed(&object.id, first, &second));
    }
    Canary {
        tenant: place.tenant.clone(),
        id: object.id.clone(),
        properties_sha256: canary::properties_digest(&object.properties),
        vectors_sha256: canary::vector_digests(&object.vectors),
        queries,
    }
}

async fn ask<N: Node>(
    node: &N,
    adapter: EvidenceAdapter,
    place: &Place,
    id: &str,
    question: &Question,
) -> Result<CanaryQuery, NodeError> {
    Ok(match question {
        Question::FilteredCount { property, value } => {
            let filter = Equals { property: property.clone(), value: value.clone() };
            let count = node.count(adapter, place, Some(&filter)).await?;
            CanaryQuery::FilteredCount { property: property.clone(), value: value.clone(), count }
        }
        Question::Bm25 { property, query } => {
            let hits = node.bm25(adapter, place, property, query, canary::HITS).await?;
            let ids = canary::settled_hits(hits.into_iter().map(|h| (h.id, h.score)).collect());
            CanaryQuery::Bm25 { query: query.clone(), property: property.clone(), ids }
        }
        Question::NearObject { vector } => {
            let hits = node.near_object(adapter, place, id, vector.as_deref(), canary::HITS).await?;
            CanaryQuery::NearObject { ids: hits.into_iter().map(|h| h.id).collect(), vector: vector.clone() }
        }
    })
}

/// Reads what the node shows after SUCCESS.
pub async fn observe_after<N: Node>(node: &N, expectations: &Expectations) -> Result<AfterObservation, EvidenceError> {
    let wanted = compare::canaries(expectations).map(|(name, _)| (name, true)).collect();
    let seen = look::look(node, expectations, &wanted, look::OnSilence::Unanswered).await?;
    Ok(compare::after(expectations, &seen))
}

/// Holds a restored node to the expectations of its backup. Empty means that the evidence passed.
pub async fn check_restored<N: Node>(
    node: &N,
    expectations: &Expectations,
    after: &ObservedAfter,
) -> Result<Vec<Finding>, EvidenceError> {
    let wanted = compare::usable(expectations, after).canaries.into_iter().map(|u| (u.name, u.queries)).collect();
    let seen = look::look(node, expectations, &wanted, look::OnSilence::Error).await?;
    Ok(compare::findings(&seen, expectations, after))
}

fn place(class: &str, tenant: Option<&str>) -> Place {
    Place { class: class.to_owned(), tenant: tenant.map(str::to_owned) }
}

#[cfg(test)]
mod tests;
