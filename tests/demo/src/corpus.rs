//! What the demo indexes: documents with deterministic ids, texts and vectors, in three collections.
//!
//! The same numbers always give the same objects, so that what was indexed, what was read before the kill and what
//! came back can be compared by anyone. Ids are UUIDs from the SHA-256 of document id and chunk index, as an idempotent
//! indexing pipeline makes them.

use lifeboat_domain::ids::{Sha256Digest, uuid_of};
use serde_json::{Value, json};

/// The collections, and the tenants of those that have any, with the activity status that they end with.
pub const COLLECTIONS: [Collection; 3] = [
    Collection { name: "Article", share: 5, tenants: &[] },
    Collection { name: "Passage", share: 3, tenants: &[] },
    Collection { name: "Note", share: 2, tenants: &[("alpha", true), ("beta", true), ("gamma", false)] },
];

const WORDS: [&str; 24] = [
    "harbour", "lantern", "granite", "orchard", "compass", "meadow", "copper", "violin", "glacier", "ember", "saffron",
    "thistle", "anchor", "juniper", "marble", "beacon", "willow", "quartz", "raven", "cobalt", "tundra", "maple",
    "crater", "lagoon",
];

/// A collection of the demo.
#[derive(Debug, Clone, Copy)]
pub struct Collection {
    /// Its name.
    pub name: &'static str,
    /// Its share of all objects, in tenths.
    pub share: u64,
    /// Its tenants, and whether each ends ACTIVE; empty for a collection without tenants.
    pub tenants: &'static [(&'static str, bool)],
}

impl Collection {
    /// The class definition.
    pub fn definition(&self) -> Value {
        let text =
            |name: &str, tokenization: &str| json!({"name": name, "dataType": ["text"], "tokenization": tokenization});
        let mut class = json!({
            "class": self.name,
            "vectorizer": "none",
            "vectorIndexType": "hnsw",
            "properties": [
                text("doc_id", "field"),
                text("title", "word"),
                text("body", "word"),
                {"name": "chunk", "dataType": ["int"]},
                {"name": "reviewed", "dataType": ["boolean"]},
            ],
        });
        if !self.tenants.is_empty() {
            class["multiTenancyConfig"] = json!({"enabled": true});
        }
        class
    }
}

/// All objects of a demo.
#[derive(Debug, Clone, Copy)]
pub struct Corpus {
    /// Objects in all collections together.
    pub objects: u64,
    /// Dimensions of each vector.
    pub dimensions: usize,
}

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its collection.
    pub collection: &'static str,
    /// Its tenant.
    pub tenant: Option<&'static str>,
    /// Its id.
    pub id: String,
    /// Its properties.
    pub properties: Value,
    /// Its vector.
    pub vector: Vec<f32>,
}

impl Corpus {
    /// The objects of one collection.
    pub fn count(&self, collection: &Collection) -> u64 {
        let others: u64 = COLLECTIONS[1..].iter().map(|c| self.objects * c.share / 10).sum();
        if collection.name == COLLECTIONS[0].name {
            self.objects - others
        } else {
            self.objects * collection.share / 10
        }
    }

    /// The objects of one tenant.
    pub fn tenant_count(&self, collection: &Collection, tenant: &str) -> u64 {
        let tenants = collection.tenants.len() as u64;
        let index = collection.tenants.iter().position(|(t, _)| *t == tenant).unwrap_or(0) as u64;
        let count = self.count(collection);
        count / tenants + u64::from(index < count % tenants)
    }

    /// The `n`-th object of a collection.
    pub fn document(&self, collection: &Collection, n: u64) -> Document {
        let (doc_id, chunk) = (format!("{}-{:06}", collection.name.to_lowercase(), n / 4), n % 4);
        let id = uuid_of(&format!("{doc_id}#{chunk}"));
        let mut noise = Noise::of(&id);
        let words: Vec<&str> = (0..12).map(|_| WORDS[noise.below(WORDS.len() as u64)]).collect();
        let tenant = match collection.tenants.len() as u64 {
            0 => None,
            tenants => collection.tenants.get(usize::try_from(n % tenants).unwrap_or(0)).map(|(name, _)| *name),
        };
        Document {
            collection: collection.name,
            tenant,
            properties: json!({
                "doc_id": doc_id,
                "title": format!("{} {} number {n}", words[0], words[1]),
                "body": words.join(" "),
                "chunk": chunk,
                "reviewed": noise.below(2) == 1,
            }),
            vector: (0..self.dimensions).map(|_| noise.unit()).collect(),
            id,
        }
    }
}

/// A small deterministic generator (SplitMix64), seeded from a text.
struct Noise(u64);

impl Noise {
    fn of(text: &str) -> Self {
        let digest = Sha256Digest::of(text.as_bytes());
        Self(u64::from_str_radix(&digest.as_str()[..16], 16).unwrap_or(0))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// A number in [-1, 1) with 16 significant bits, so that its decimal text reads back as the same f32.
    fn unit(&mut self) -> f32 {
        let bits = u16::try_from(self.next() >> 48).unwrap_or(0);
        f32::from(bits) / 32_768.0 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_same_numbers_give_the_same_objects_and_no_id_twice() {
        let corpus = Corpus { objects: 997, dimensions: 8 };
        let mut ids = BTreeSet::new();
        for collection in &COLLECTIONS {
            for n in 0..corpus.count(collection) {
                let document = corpus.document(collection, n);
                assert_eq!(document, corpus.document(collection, n));
                assert!(ids.insert(document.id));
            }
        }
        assert_eq!(ids.len(), 997);
    }

    #[test]
    fn tenants_share_a_collection_without_losing_one() {
        let corpus = Corpus { objects: 1003, dimensions: 1 };
        let notes = &COLLECTIONS[2];
        let mut counted = std::collections::BTreeMap::new();
        for n in 0..corpus.count(notes) {
            *counted.entry(corpus.document(notes, n).tenant.unwrap()).or_insert(0) += 1;
        }
        for (tenant, _) in notes.tenants {
            assert_eq!(counted[tenant], corpus.tenant_count(notes, tenant), "{tenant}");
        }
    }
}
