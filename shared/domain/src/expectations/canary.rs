//! Canaries: which objects are looked at, what is remembered of them, and which questions are asked around them.
//!
//! Everything follows from the names and the data by rule, never by taste or chance, so that two runs over the same
//! data choose the same (DESIGN §4, R53).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{CanaryName, CanaryQuery, TenantStatus};
use crate::ids::{Sha256Digest, uuid_of};

/// Canaries of a collection without tenants.
pub const PER_COLLECTION: u32 = 16;
/// Canaries of a tenant.
pub const PER_TENANT: u32 = 4;
/// Tenants of a collection that get canaries.
pub const TENANTS_MAX: usize = 8;
/// Tenants of a collection that are counted; above it a sample by rule is (R5: `ExpectationTenantsMax`).
pub const TENANTS_COUNTED_MAX: usize = 1_000;
/// Neighbours that are asked for, and BM25 hits.
pub const HITS: u32 = 10;
/// How many of the remembered neighbours must come back.
pub const NEAR_OVERLAP_MIN: usize = 8;
/// Two BM25 scores closer than this are the same: servers print them rounded.
pub const SCORE_EPSILON: f64 = 1e-4;
/// The cursor of the first object: no object is before it.
pub const FIRST: &str = "00000000-0000-0000-0000-000000000000";

const TEXT_CHARS_MAX: usize = 64;
const QUERY_WORDS_MAX: usize = 4;

/// The cursors from which the canaries of a place are looked for: UUIDs made from SHA-256(collection, tenant, i). No
/// object needs to have one of them, the list gives the next after it (real server: notes of 1.38.11).
pub fn starts(collection: &str, tenant: Option<&str>) -> Vec<String> {
    let n = if tenant.is_some() { PER_TENANT } else { PER_COLLECTION };
    (0..n).map(|i| uuid_of(&format!("{collection}\0{}\0{i}", tenant.unwrap_or_default()))).collect()
}

/// The tenants that are counted: the active ones, and above [`TENANTS_COUNTED_MAX`] those whose SHA-256 of
/// (collection, tenant) comes first. INACTIVE ones are never asked, because asking loads them.
pub fn counted_tenants<'t>(collection: &str, tenants: &'t BTreeMap<String, TenantStatus>) -> Vec<&'t str> {
    let active = tenants.iter().filter(|(_, status)| **status == TenantStatus::Active).map(|(name, _)| name.as_str());
    first_by_digest(collection, active, TENANTS_COUNTED_MAX)
}

/// The tenants that get canaries: of those that hold objects, the [`TENANTS_MAX`] that come first by the same rule.
pub fn canary_tenants<'t>(collection: &str, counts: &'t BTreeMap<String, u64>) -> Vec<&'t str> {
    let filled = counts.iter().filter(|(_, count)| **count > 0).map(|(name, _)| name.as_str());
    first_by_digest(collection, filled, TENANTS_MAX)
}

fn first_by_digest<'t>(collection: &str, names: impl Iterator<Item = &'t str>, max: usize) -> Vec<&'t str> {
    let mut names: Vec<&str> = names.collect();
    if names.len() > max {
        names.sort_by_cached_key(|name| uuid_of(&format!("{collection}\0{name}")));
        names.truncate(max);
        names.sort_unstable();
    }
    names
}

/// Digest of an object's properties: JSON with sorted keys, without `_additional`, which holds what a query computes
/// and times that a restore may change.
pub fn properties_digest(properties: &Value) -> Sha256Digest {
    let mut value = properties.clone();
    if let Value::Object(map) = &mut value {
        map.remove("_additional");
    }
    Sha256Digest::of(canonical(&value).as_bytes())
}

/// Digest of a class definition: JSON with sorted keys, without what is null or empty, because servers write "none"
/// in all three ways.
pub fn definition_digest(definition: &Value) -> Sha256Digest {
    Sha256Digest::of(canonical(&without_empty(definition)).as_bytes())
}

/// Digest of each vector, by name, over its numbers as little-endian f32.
pub fn vector_digests(vectors: &BTreeMap<String, Vec<f32>>) -> BTreeMap<String, Sha256Digest> {
    vectors
        .iter()
        .map(|(name, vector)| {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name.clone(), Sha256Digest::of(&bytes))
        })
        .collect()
}

/// JSON without blanks and with sorted keys at every depth.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let fields: Vec<String> =
                sorted.into_iter().map(|(k, v)| format!("{}:{}", Value::String(k.clone()), canonical(v))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter().map(|(k, v)| (k.clone(), without_empty(v))).filter(|(_, v)| !is_empty(v)).collect::<Map<_, _>>(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_empty).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A question around a canary, before it was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// How many objects have this value.
    FilteredCount {
        /// The property.
        property: String,
        /// A text, an integer or a boolean.
        value: Value,
    },
    /// Which objects match these words best.
    Bm25 {
        /// The property.
        property: String,
        /// Words of the canary's own text.
        query: String,
    },
    /// Which objects are nearest by vector.
    NearObject {
        /// The named vector; `None` is the one without a name.
        vector: Option<String>,
    },
}

/// The question that a remembered answer belongs to.
pub fn question(query: &CanaryQuery) -> Question {
    match query {
        CanaryQuery::FilteredCount { property, value, .. } => {
            Question::FilteredCount { property: property.clone(), value: value.clone() }
        }
        CanaryQuery::Bm25 { property, query, .. } => {
            Question::Bm25 { property: property.clone(), query: query.clone() }
        }
        CanaryQuery::NearObject { vector, .. } => Question::NearObject { vector: vector.clone() },
    }
}

/// The questions that an object allows: a filtered count on its first integer, else short text, else boolean property
/// that the definition indexes; BM25 with words of its first searchable text; its neighbours by the vector without a
/// name or, where the definition has named ones, by the first of these that the object has: a server with several
/// refuses to choose (real server: 1.38.11).
pub fn questions(definition: &Value, properties: &Value, vectors: &BTreeMap<String, Vec<f32>>) -> Vec<Question> {
    let mut asked = Vec::new();
    if let Some((property, value)) = filter(definition, properties) {
        asked.push(Question::FilteredCount { property, value });
    }
    if let Some((property, query)) = words(definition, properties) {
        asked.push(Question::Bm25 { property, query });
    }
    asked.extend(searchable(definition, vectors).map(|vector| Question::NearObject { vector }));
    asked
}

/// The vector to search by: `Some(None)` is the one without a name, which readers list as `default`.
fn searchable(definition: &Value, vectors: &BTreeMap<String, Vec<f32>>) -> Option<Option<String>> {
    let there = |name: &str| vectors.get(name).is_some_and(|v| !v.is_empty());
    match definition.get("vectorConfig").and_then(Value::as_object).filter(|named| !named.is_empty()) {
        Some(named) => vectors.keys().find(|name| named.contains_key(*name) && there(name)).cloned().map(Some),
        None => there("default").then_some(None),
    }
}

fn filter(definition: &Value, properties: &Value) -> Option<(String, Value)> {
    let indexed = |kind: &str| properties_of(definition, kind, "indexFilterable");
    let of = |name: &String| properties.get(name).map(|value| (name.clone(), value.clone()));
    let integer = indexed("int").iter().filter_map(of).find(|(_, v)| v.is_i64() || v.is_u64());
    let text = || {
        let short =
            |v: &Value| v.as_str().is_some_and(|t| !words_of(t).is_empty() && t.chars().count() <= TEXT_CHARS_MAX);
        indexed("text").iter().filter_map(of).find(|(_, v)| short(v))
    };
    let boolean = || indexed("boolean").iter().filter_map(of).find(|(_, v)| v.is_boolean());
    integer.or_else(text).or_else(boolean)
}

fn words(definition: &Value, properties: &Value) -> Option<(String, String)> {
    properties_of(definition, "text", "indexSearchable").into_iter().find_map(|name| {
        let words = words_of(properties.get(&name)?.as_str()?);
        (!words.is_empty()).then(|| (name, words.join(" ")))
    })
}

/// The first words of a text, of at least three letters or digits each: shorter ones are often stop words.
fn words_of(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| (3..=TEXT_CHARS_MAX).contains(&word.chars().count()))
        .take(QUERY_WORDS_MAX)
        .collect()
}

/// The properties of exactly this type that are not excluded from the index, by name.
fn properties_of(definition: &Value, kind: &str, index: &str) -> Vec<String> {
    let mut names: Vec<String> = definition
        .get("properties")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|p| p.get("dataType").and_then(|t| t.get(0)).and_then(Value::as_str) == Some(kind))
        .filter(|p| p.get(index).and_then(Value::as_bool) != Some(false))
        .filter_map(|p| p.get("name").and_then(Value::as_str).map(str::to_owned))
        .collect();
    names.sort_unstable();
    names
}

/// The BM25 hits whose place does not depend on a tie: all when there are fewer than [`HITS`], else those whose score
/// is above the last one's. Sorted; the order among equals is the server's affair.
pub fn settled_hits(mut hits: Vec<(String, f64)>) -> Vec<String> {
    if hits.len() >= HITS as usize {
        let last = hits.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
        hits.retain(|(_, score)| *score > last + SCORE_EPSILON);
    }
    let mut ids: Vec<String> = hits.into_iter().map(|(id, _)| id).collect();
    ids.sort_unstable();
    ids
}

/// What is remembered of a question that was asked twice: the first answer, if the second agrees and it says anything.
/// A BM25 set must hold something, and neighbours must begin with the object itself.
pub fn agreed(own_id: &str, first: CanaryQuery, second: &CanaryQuery) -> Option<CanaryQuery> {
    let tells = match &first {
        CanaryQuery::FilteredCount { count, .. } => *count > 0,
        CanaryQuery::Bm25 { ids, .. } => !ids.is_empty(),
        CanaryQuery::NearObject { ids, .. } => ids.first().is_some_and(|id| id == own_id),
    };
    (tells && agrees(own_id, &first, second)).then_some(first)
}

/// Whether an answer is the one that was remembered: counts and BM25 sets equal, neighbours beginning with the object
/// itself and holding [`NEAR_OVERLAP_MIN`] of the remembered (or all, where fewer were).
pub fn agrees(own_id: &str, remembered: &CanaryQuery, now: &CanaryQuery) -> bool {
    match (remembered, now) {
        (CanaryQuery::FilteredCount { count: a, .. }, CanaryQuery::FilteredCount { count: b, .. }) => a == b,
        (CanaryQuery::Bm25 { ids: a, .. }, CanaryQuery::Bm25 { ids: b, .. }) => a == b,
        (CanaryQuery::NearObject { vector: a, .. }, CanaryQuery::NearObject { vector: b, .. }) if a != b => false,
        (CanaryQuery::NearObject { ids: a, .. }, CanaryQuery::NearObject { ids: b, .. }) => {
            let overlap = a.iter().filter(|id| b.contains(id)).count();
            b.first().is_some_and(|id| id == own_id) && overlap >= NEAR_OVERLAP_MIN.min(a.len())
        }
        (
            CanaryQuery::FilteredCount { .. } | CanaryQuery::Bm25 { .. } | CanaryQuery::NearObject { .. },
            CanaryQuery::FilteredCount { .. } | CanaryQuery::Bm25 { .. } | CanaryQuery::NearObject { .. },
        ) => false,
    }
}

impl CanaryName {
    /// The name of a canary of this collection.
    pub fn new(collection: &str, tenant: Option<&str>, id: &str) -> Self {
        Self { collection: collection.to_owned(), tenant: tenant.map(str::to_owned), id: id.to_owned() }
    }
}

#[cfg(test)]
mod tests;
