//! Reading a node along the lines of an [`Expectations`].

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use lifeboat_domain::expectations::canary;
use lifeboat_domain::expectations::compare::{self, CanarySeen, Observed, ObservedCollection};
use lifeboat_domain::expectations::{
    Canary, CanaryName, EvidenceAdapter, Expectations, TenantExpectation, TenantStatus,
};

use super::{AT_ONCE, EvidenceError, ask, failed, place};
use crate::ports::Node;
use crate::ports::node::{NodeError, Place};

/// Objects by place.
pub(super) type Counts = BTreeMap<Place, u64>;
/// Tenants with their status, by multi-tenant collection.
pub(super) type Tenants = BTreeMap<String, BTreeMap<String, TenantStatus>>;
/// Canaries to look at, and whether the questions around them are asked too.
pub(super) type Wanted = BTreeMap<CanaryName, bool>;

/// What a query that gets no answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnSilence {
    /// Its canary is used by id alone.
    Unanswered,
    /// Nothing can be said yet.
    Error,
}

/// What the node shows: every collection, the counts that the expectations have, the canaries wanted, and where their
/// flag says so the answers to the questions around them.
pub(super) async fn look<N: Node>(
    node: &N,
    expectations: &Expectations,
    wanted: &Wanted,
    on_silence: OnSilence,
) -> Result<Observed, EvidenceError> {
    let weaviate_version = node.meta().await.map_err(failed("its version"))?.version;
    let classes = node.schema().await.map_err(failed("its schema"))?;
    let adapter = super::adapter(node, &classes).await?;
    let tenants = tenants(node, classes.iter().filter(|c| c.multi_tenant).map(|c| c.name.clone())).await?;

    let mut places = Vec::new();
    for class in &classes {
        let Some(expected) = expectations.collections.get(&class.name) else { continue };
        match tenants.get(&class.name) {
            None => places.push(place(&class.name, None)),
            Some(now) => {
                let counted = expected.tenants.iter().filter(|(_, t)| t.count.is_some()).map(|(name, _)| name);
                let awake = counted.filter(|name| now.get(*name) == Some(&TenantStatus::Active));
                places.extend(awake.map(|name| place(&class.name, Some(name))));
            }
        }
    }
    let counts = counts(node, adapter, places).await?;

    let collections = classes
        .iter()
        .map(|class| {
            let (count, tenants) = match tenants.get(&class.name) {
                None => (counts.get(&place(&class.name, None)).copied().unwrap_or(0), BTreeMap::new()),
                Some(now) => {
                    let counted = of_class(&counts, &class.name);
                    (counted.values().sum(), with_counts(now, &counted))
                }
            };
            let definition_sha256 = canary::definition_digest(&class.definition);
            (class.name.clone(), ObservedCollection { definition_sha256, count, tenants })
        })
        .collect();

    let there: BTreeSet<Place> = classes
        .iter()
        .flat_map(|class| match tenants.get(&class.name) {
            None => vec![place(&class.name, None)],
            Some(now) => {
                let awake = now.iter().filter(|(_, status)| **status == TenantStatus::Active);
                awake.map(|(name, _)| place(&class.name, Some(name))).collect()
            }
        })
        .collect();
    let asked: Vec<(CanaryName, Canary, bool, bool)> = compare::canaries(expectations)
        .filter_map(|(name, canary)| {
            let queries = *wanted.get(&name)?;
            let awake = there.contains(&place(&name.collection, name.tenant.as_deref()));
            Some((name, canary.clone(), awake, queries))
        })
        .collect();
    let canaries = stream::iter(asked)
        .map(|(name, canary, awake, queries)| async move {
            // A place that is not there, or must not be woken, shows nothing.
            let seen = if awake { see(node, adapter, &name, &canary, queries, on_silence).await? } else { None };
            Ok::<_, EvidenceError>((name, seen))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(Observed { weaviate_version, collections, canaries })
}

async fn see<N: Node>(
    node: &N,
    adapter: EvidenceAdapter,
    name: &CanaryName,
    canary: &Canary,
    queries: bool,
    on_silence: OnSilence,
) -> Result<Option<CanarySeen>, EvidenceError> {
    let place = place(&name.collection, name.tenant.as_deref());
    let what = || format!("a canary of {}", name.collection);
    let Some(object) = node.object(&place, &canary.id).await.map_err(|e| failed(what())(e))? else {
        return Ok(None);
    };
    let mut seen = CanarySeen::of(&object.properties, &object.vectors);
    if queries {
        for query in &canary.queries {
            let answer = ask(node, adapter, &place, &canary.id, &canary::question(query)).await;
            seen.answers.push(match answer {
                Ok(answer) => Some(answer),
                Err(NodeError::Refused { .. } | NodeError::NotFound { .. }) => None,
                Err(NodeError::Unknown { .. } | NodeError::Unauthorized { .. })
                    if on_silence == OnSilence::Unanswered =>
                {
                    None
                }
                Err(silence @ (NodeError::Unknown { .. } | NodeError::Unauthorized { .. })) => {
                    return Err(failed(what())(silence));
                }
            });
        }
    }
    Ok(Some(seen))
}

/// The tenants of these collections, with their status.
pub(super) async fn tenants<N: Node>(
    node: &N,
    classes: impl Iterator<Item = String>,
) -> Result<Tenants, EvidenceError> {
    let classes: Vec<String> = classes.collect();
    stream::iter(classes)
        .map(|class| async move {
            let tenants = node.tenants(&class).await.map_err(|e| failed(format!("the tenants of {class}"))(e))?;
            Ok((class, tenants.into_iter().map(|t| (t.name, t.status)).collect()))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The objects in each of these places.
pub(super) async fn counts<N: Node>(
    node: &N,
    adapter: EvidenceAdapter,
    places: impl IntoIterator<Item = Place>,
) -> Result<Counts, EvidenceError> {
    let places: Vec<Place> = places.into_iter().collect();
    stream::iter(places)
        .map(|place| async move {
            let count = node.count(adapter, &place, None).await;
            let count = count.map_err(|e| failed(format!("the count of {}", place.class))(e))?;
            Ok((place, count))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The counts of the tenants of a collection.
pub(super) fn of_class(counts: &Counts, class: &str) -> BTreeMap<String, u64> {
    let of_class = counts.range(place(class, None)..).take_while(|(place, _)| place.class == class);
    of_class.filter_map(|(place, count)| Some((place.tenant.clone()?, *count))).collect()
}

/// Tenants with their counts, where they were counted.
pub(super) fn with_counts(
    tenants: &BTreeMap<String, TenantStatus>,
    counted: &BTreeMap<String, u64>,
) -> BTreeMap<String, TenantExpectation> {
    tenants
        .iter()
        .map(|(name, status)| {
            (name.clone(), TenantExpectation { status: status.clone(), count: counted.get(name).copied() })
        })
        .collect()
}
