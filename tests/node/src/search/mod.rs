//! Counting and searching, by reading every object: slow in theory, exact in practice, and the same after a restore.

pub(crate) mod filter;
pub(crate) mod keyword;
pub(crate) mod words;

use std::sync::Arc;

use crate::collection::Collection;
use crate::errors::Refusal;
use crate::knobs::Knobs;
use crate::objects::{Object, ObjectId};
use filter::Filter;

/// What a search near an object that is not there is told.
pub(crate) const NO_VECTOR: &str = "explorer: get class: concurrentTargetVectorSearch): explorer: get class: vectorize search vector: nearObject params: vector not found";

/// How hits are ranked.
#[derive(Debug)]
pub(crate) enum Ranking {
    /// By id, from after this one.
    ById { after: Option<ObjectId> },
    /// By keyword score over these properties (all text when empty).
    Keyword { query: String, properties: Vec<String> },
    /// By distance of the named vector (the first there is when `None`) to that of an object.
    /// `own` is the distance that this version reports for the object itself.
    Near { id: ObjectId, vector: Option<String>, max_distance: Option<f32>, own: f32 },
}

/// One search.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) tenant: Option<String>,
    pub(crate) filter: Option<Filter>,
    pub(crate) ranking: Ranking,
    pub(crate) limit: usize,
    pub(crate) offset: usize,
}

/// One object found.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) object: Arc<Object>,
    pub(crate) score: Option<f32>,
    pub(crate) distance: Option<f32>,
}

/// All objects of a class or tenant that pass the filter, by id.
fn matching(class: &Collection, tenant: Option<&str>, filter: Option<&Filter>) -> Result<Vec<Arc<Object>>, Refusal> {
    let mut found = Vec::new();
    for shard in class.shards_for(tenant)? {
        found.extend(shard.objects().values().filter(|object| filter.is_none_or(|f| f.matches(object))).cloned());
    }
    found.sort_by_key(|object| object.id);
    Ok(found)
}

/// The aggregation count, memtables included.
pub(crate) fn count(
    class: &Collection,
    tenant: Option<&str>,
    filter: Option<&Filter>,
    knobs: &Knobs,
) -> Result<i64, Refusal> {
    let mut counted = 0;
    for shard in class.shards_for(tenant)? {
        let objects = shard.objects();
        counted += match filter {
            None => objects.len(),
            Some(filter) => objects.values().filter(|object| filter.matches(object)).count(),
        };
    }
    let offset = knobs.count_offset.get(&class.name).copied().unwrap_or_default();
    Ok(i64::try_from(counted).unwrap_or(i64::MAX).saturating_add(offset).max(0))
}

/// Finds, ranks and cuts.
pub(crate) fn search(class: &Collection, query: &Query) -> Result<Vec<Hit>, Refusal> {
    let tenant = query.tenant.as_deref();
    let candidates = matching(class, tenant, query.filter.as_ref())?;
    let hits = match &query.ranking {
        Ranking::ById { after } => candidates
            .into_iter()
            .filter(|object| after.is_none_or(|after| object.id > after))
            .map(|object| Hit { object, score: None, distance: None })
            .collect(),
        Ranking::Keyword { query, properties } => {
            let all = if query.is_empty() { Vec::new() } else { matching(class, tenant, None)? };
            keyword::rank(&class.definition(), &all, candidates, query, properties)?
        }
        Ranking::Near { id, vector, max_distance, own } => {
            let mut hits = near(class, tenant, candidates, *id, vector.as_deref(), *max_distance)?;
            for hit in hits.iter_mut().filter(|hit| hit.object.id == *id) {
                hit.distance = Some(*own);
            }
            hits
        }
    };
    Ok(hits.into_iter().skip(query.offset).take(query.limit).collect())
}

fn near(
    class: &Collection,
    tenant: Option<&str>,
    candidates: Vec<Arc<Object>>,
    id: ObjectId,
    vector: Option<&str>,
    max_distance: Option<f32>,
) -> Result<Vec<Hit>, Refusal> {
    if vector.is_none() && class.definition()["vectorConfig"].as_object().is_some_and(|named| named.len() > 1) {
        return Err(Refusal::unprocessable(
            "validate target vector: multiple vectorizers configuration found, please specify target vector name",
        ));
    }
    let source = class
        .shards_for(tenant)?
        .iter()
        .find_map(|shard| shard.objects().get(&id).cloned())
        .ok_or_else(|| Refusal::unprocessable(NO_VECTOR))?;
    let name = match vector {
        Some(name) => name.to_owned(),
        None => source.vectors.keys().next().cloned().unwrap_or_default(),
    };
    let target = source.vectors.get(&name).ok_or_else(|| Refusal::unprocessable(NO_VECTOR))?;
    let definition = class.definition();
    let config = if name.is_empty() {
        &definition["vectorIndexConfig"]
    } else {
        &definition["vectorConfig"][&name]["vectorIndexConfig"]
    };
    let metric = config["distance"].as_str().unwrap_or("cosine").to_owned();
    let mut hits: Vec<Hit> = candidates
        .into_iter()
        .filter_map(|object| {
            let other = object.vectors.get(&name).filter(|other| other.len() == target.len())?;
            let distance = distance(&metric, target, other);
            (max_distance.is_none_or(|most| distance <= most)).then(|| Hit {
                distance: Some(distance),
                score: None,
                object: Arc::clone(&object),
            })
        })
        .collect();
    hits.sort_by(|a, b| {
        a.distance.partial_cmp(&b.distance).unwrap_or(std::cmp::Ordering::Equal).then(a.object.id.cmp(&b.object.id))
    });
    Ok(hits)
}

fn distance(metric: &str, a: &[f32], b: &[f32]) -> f32 {
    let (mut dot, mut a_squared, mut b_squared, mut apart) = (0f32, 0f32, 0f32, 0f32);
    for (x, y) in a.iter().zip(b) {
        dot += x * y;
        a_squared += x * x;
        b_squared += y * y;
        apart += (x - y) * (x - y);
    }
    match metric {
        "dot" => -dot,
        "l2-squared" => apart,
        _ if a_squared == 0.0 || b_squared == 0.0 => 1.0,
        // Rounding must not make an object nearer than itself.
        _ => (1.0 - dot / (a_squared.sqrt() * b_squared.sqrt())).max(0.0),
    }
}
