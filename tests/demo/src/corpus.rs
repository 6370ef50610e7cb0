//! What the demo indexes: documents with deterministic ids, texts and vectors, in three collections.
//!
//! The same numbers always give the same objects, so that what was indexed, what was read before the kill and what
//! came back can be compared by anyone. Ids are UUIDs from the SHA-256 of document id and chunk index, as an idempotent
//! indexing pipeline makes them.

use std::collections::BTreeMap;

use lifeboat_domain::ids::{Sha256Digest, uuid_of};
use serde_json::{Value, json};

pub use crate::collections::{COLLECTIONS, Collection, Data};
use crate::collections::{EVERY_NAME, Kind, SMALL_VECTOR};

const WORDS: [&str; 24] = [
    "harbour", "lantern", "granite", "orchard", "compass", "meadow", "copper", "violin", "glacier", "ember", "saffron",
    "thistle", "anchor", "juniper", "marble", "beacon", "willow", "quartz", "raven", "cobalt", "tundra", "maple",
    "crater", "lagoon",
];

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
    /// Its vector without a name; empty where the collection has named ones.
    pub vector: Vec<f32>,
    /// Its named vectors.
    pub named: BTreeMap<String, Vec<f32>>,
}

impl Corpus {
    /// The objects of one collection.
    pub fn count(&self, collection: &Collection) -> u64 {
        let all = collection.data.collections();
        if collection.name == all[0].name {
            self.objects - all[1..].iter().map(|c| self.objects * c.share / 10).sum::<u64>()
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
        let id = Self::id(collection, n);
        let mut noise = Noise::of(&id);
        let words: Vec<&str> = (0..12).map(|_| WORDS[noise.below(WORDS.len() as u64)]).collect();
        let tenant = match collection.tenants.len() as u64 {
            0 => None,
            tenants => collection.tenants.get(usize::try_from(n % tenants).unwrap_or(0)).map(|(name, _)| *name),
        };
        let mut properties = json!({
            "doc_id": doc_id,
            "title": format!("{} {} number {n}", words[0], words[1]),
            "body": words.join(" "),
            "chunk": chunk,
            "reviewed": noise.below(2) == 1,
        });
        let mut vector: Vec<f32> = (0..self.dimensions).map(|_| noise.unit()).collect();
        let mut named = BTreeMap::new();
        match collection.kind {
            Kind::Plain => {}
            Kind::Refers => {
                let article = &collection.data.collections()[0];
                let id = Self::id(article, n % self.count(article));
                properties["of_article"] = json!([{"beacon": format!("weaviate://localhost/{}/{id}", article.name)}]);
            }
            Kind::Named => {
                let small = (0..(self.dimensions / 4).max(2)).map(|_| noise.unit()).collect();
                named.insert(SMALL_VECTOR.to_owned(), small);
                named.insert(EVERY_NAME.to_owned(), std::mem::take(&mut vector));
                for (plain, awkward) in [("title", EVERY_NAME), ("body", "_")] {
                    let value = properties[plain].take();
                    properties[awkward] = value;
                    properties.as_object_mut().map(|all| all.remove(plain));
                }
            }
        }
        Document { collection: collection.name, tenant, properties, vector, named, id }
    }

    /// The id of the `n`-th object of a collection.
    fn id(collection: &Collection, n: u64) -> String {
        uuid_of(&format!("{}-{:06}#{}", collection.name.to_lowercase(), n / 4, n % 4))
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
        for data in [Data::Plain, Data::Rich] {
            let mut ids = BTreeSet::new();
            for collection in data.collections() {
                for n in 0..corpus.count(collection) {
                    let document = corpus.document(collection, n);
                    assert_eq!(document, corpus.document(collection, n));
                    assert!(ids.insert(document.id));
                }
            }
            assert_eq!(ids.len(), 997, "{data:?}");
        }
        let known = corpus.document(&COLLECTIONS[0], 5);
        assert_eq!(known.id, uuid_of("article-000001#1"), "document id and chunk index, and nothing else");
    }

    #[test]
    fn tenants_share_a_collection_without_losing_one() {
        let corpus = Corpus { objects: 1003, dimensions: 1 };
        for collection in Data::Rich.collections().iter().filter(|c| !c.tenants.is_empty()) {
            let mut counted = std::collections::BTreeMap::new();
            for n in 0..corpus.count(collection) {
                *counted.entry(corpus.document(collection, n).tenant.unwrap()).or_insert(0) += 1;
            }
            for (tenant, _) in collection.tenants {
                assert_eq!(counted[tenant], corpus.tenant_count(collection, tenant), "{tenant}");
            }
        }
    }

    #[test]
    fn the_rich_data_has_references_to_what_is_there_two_named_vectors_and_every_allowed_character() {
        let corpus = Corpus { objects: 200, dimensions: 8 };
        let [articles, passages, _, named] = Data::Rich.collections() else { panic!("four collections") };
        let ids: BTreeSet<String> = (0..corpus.count(articles)).map(|n| corpus.document(articles, n).id).collect();
        for n in 0..corpus.count(passages) {
            let beacon = corpus.document(passages, n).properties["of_article"][0]["beacon"].clone();
            let id = beacon.as_str().and_then(|b| b.strip_prefix("weaviate://localhost/Article/")).unwrap().to_owned();
            assert!(ids.contains(&id), "{beacon}");
        }
        let document = corpus.document(named, 0);
        assert_eq!(document.named.values().map(Vec::len).collect::<Vec<_>>(), [8, 2]);
        assert!(document.vector.is_empty() && document.properties[EVERY_NAME].is_string());
        let distinct = |text: &str| text.chars().collect::<BTreeSet<_>>().len();
        assert_eq!(distinct(EVERY_NAME), 63);
        assert_eq!((distinct(named.name), distinct(named.tenants[0].0), named.tenants[0].0.len()), (63, 64, 64));
    }
}
