//! Counts and queries of a node twin.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use lifeboat_domain::expectations::{EvidenceAdapter, TenantStatus};
use serde_json::Value;

use super::data::{ClassData, ObjectData, SHARD};
use super::model::NodeModel;
use crate::ports::node::{Equals, Hit, NodeError, Place};

pub(super) type Objects = BTreeMap<String, ObjectData>;

pub(super) fn refused(what: &str, status: u16, message: impl Into<String>) -> NodeError {
    NodeError::Refused { what: what.to_owned(), status, message: message.into() }
}

impl NodeModel {
    pub(super) fn class(&self, what: &str, name: &str) -> Result<&ClassData, NodeError> {
        let missing = || NodeError::NotFound { what: what.to_owned(), message: format!("class {name} not found") };
        self.classes.get(name).ok_or_else(missing)
    }

    /// The objects of a place. An inactive tenant is never woken, an unknown one never invented.
    pub(super) fn objects(&self, what: &str, place: &Place) -> Result<&Objects, NodeError> {
        let class = self.class(what, &place.class)?;
        let shard = match (&place.tenant, class.multi_tenant) {
            (None, false) => SHARD,
            (Some(tenant), true) => tenant,
            (None, true) => {
                let text = format!("class {} has multi-tenancy enabled, but request was without tenant", place.class);
                return Err(refused(what, 422, text));
            }
            (Some(_), false) => {
                let text = format!("class {} has multi-tenancy disabled, but request was with tenant", place.class);
                return Err(refused(what, 422, text));
            }
        };
        match class.shards.get(shard) {
            Some(data) if data.status == TenantStatus::Active => Ok(&data.objects),
            Some(_) => Err(refused(what, 422, format!("tenant not active: '{shard}'"))),
            None => Err(refused(what, 422, format!("tenant not found: \"{shard}\""))),
        }
    }

    /// Refuses an evidence API that this node does not have.
    pub(super) fn has(&self, what: &str, adapter: EvidenceAdapter) -> Result<(), NodeError> {
        match adapter {
            EvidenceAdapter::Rest if !self.settings.rest_search => {
                Err(refused(what, 422, "REST search is not enabled"))
            }
            EvidenceAdapter::Rest | EvidenceAdapter::Graphql => Ok(()),
        }
    }

    pub(super) fn count(&self, place: &Place, filter: Option<&Equals>) -> Result<u64, NodeError> {
        let objects = self.objects("count", place)?;
        Ok(objects.values().filter(|o| filter.is_none_or(|f| equals(&o.properties, f))).count() as u64)
    }

    pub(super) fn bm25(&self, place: &Place, property: &str, query: &str, limit: u32) -> Result<Vec<Hit>, NodeError> {
        let objects = self.objects("bm25", place)?;
        let documents: Vec<(&String, Vec<String>)> = objects
            .iter()
            .filter_map(|(id, object)| Some((id, terms(object.properties.get(property)?.as_str()?))))
            .collect();
        let count = float(documents.len());
        let average = documents.iter().map(|(_, terms)| float(terms.len())).sum::<f64>() / count.max(1.0);
        let query = terms(query);
        let mut hits: Vec<Hit> = documents
            .iter()
            .map(|(id, words)| {
                let score = query.iter().map(|term| {
                    let having = float(documents.iter().filter(|(_, t)| t.contains(term)).count());
                    let frequency = float(words.iter().filter(|w| *w == term).count());
                    let rarity = ((count - having + 0.5) / (having + 0.5)).ln_1p();
                    let length = 0.25 + 0.75 * float(words.len()) / average.max(1.0);
                    rarity * frequency * 2.2 / (frequency + 1.2 * length)
                });
                Hit { id: (*id).clone(), score: score.sum() }
            })
            .filter(|hit| hit.score > 0.0)
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        hits.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(hits)
    }

    pub(super) fn near_object(
        &self,
        place: &Place,
        id: &str,
        vector: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Hit>, NodeError> {
        let what = "near object";
        let objects = self.objects(what, place)?;
        let origin = objects.get(id).ok_or_else(|| refused(what, 422, "vector not found"))?.vectors();
        let definition = &self.class(what, &place.class)?.definition;
        let named = definition["vectorConfig"].as_object().map_or(0, serde_json::Map::len);
        if vector.is_none() && named > 1 {
            return Err(refused(
                what,
                422,
                "multiple vectorizers configuration found, please specify target vector name",
            ));
        }
        let Some((name, origin)) = origin.into_iter().find(|(name, _)| vector.is_none_or(|v| v == name)) else {
            return Err(refused(what, 422, "object has no vector"));
        };
        let l2 = definition["vectorIndexConfig"]["distance"] == "l2-squared";
        let mut hits: Vec<(f64, &String)> = objects
            .iter()
            .filter_map(|(id, object)| Some((distance(&origin, object.vectors().get(&name)?, l2), id)))
            .collect();
        hits.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| own_first(id, a.1, b.1)).then_with(|| a.1.cmp(b.1)));
        hits.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(hits.into_iter().map(|(_, id)| Hit { id: id.clone(), score: 0.0 }).collect())
    }
}

fn own_first(own: &str, a: &str, b: &str) -> Ordering {
    (b == own).cmp(&(a == own))
}

fn equals(properties: &Value, filter: &Equals) -> bool {
    let found = properties.get(&filter.property);
    match found.and_then(Value::as_f64).zip(filter.value.as_f64()) {
        Some((found, wanted)) => found.total_cmp(&wanted) == Ordering::Equal,
        None => found == Some(&filter.value),
    }
}

fn terms(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|t| !t.is_empty()).map(str::to_lowercase).collect()
}

fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn distance(a: &[f32], b: &[f32], l2: bool) -> f64 {
    let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    if l2 {
        return pairs().map(|(a, b)| (a - b) * (a - b)).sum();
    }
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    let length = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    // Rounded, so that an object is at distance 0 from itself.
    ((1.0 - dot / (length(a) * length(b)).max(f64::MIN_POSITIVE)) * 1e9).round() / 1e9
}
