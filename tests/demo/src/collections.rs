//! The collections that the demo makes: plain ones, or one of each kind that a backup can lose.

use clap::ValueEnum;
use serde_json::{Value, json};

/// Which collections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Data {
    /// Three collections, one with tenants.
    Plain,
    /// Four: references, a compressed vector index, tenants of each activity status that the node's modules allow, and
    /// two named vectors under names that have every allowed character.
    #[default]
    Rich,
}

/// A collection of the demo.
#[derive(Debug, Clone, Copy)]
pub struct Collection {
    /// Its name.
    pub name: &'static str,
    /// Its share of all objects, in tenths.
    pub share: u64,
    /// Its tenants, and whether each ends ACTIVE (else INACTIVE); empty for a collection without tenants.
    pub tenants: &'static [(&'static str, bool)],
    /// The profile that it belongs to.
    pub data: Data,
    /// What is particular about it.
    pub kind: Kind,
}

/// What is particular about a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One vector without a name.
    Plain,
    /// The same, and each object refers to one of the first collection; its vector index is compressed.
    Refers,
    /// Two named vectors, one of them compressed, and awkward names.
    Named,
}

/// Every character that a property's name may have, beginning with the one that is no letter.
pub const EVERY_NAME: &str = "_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Every character that a collection's name may have.
pub const EVERY_COLLECTION: &str = "A_BCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Every character that a tenant's name may have, which is as many as it may have.
pub const EVERY_TENANT: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The second of the two named vectors; the first is [`EVERY_NAME`].
pub const SMALL_VECTOR: &str = "small";
/// The tenant that is OFFLOADED, where the node can, with [`OFFLOADED_OBJECTS`] objects that no backup has.
pub const OFFLOADED_TENANT: &str = "attic";
/// Objects of the OFFLOADED tenant.
pub const OFFLOADED_OBJECTS: u64 = 10;

const NOTE_TENANTS: &[(&str, bool)] = &[("alpha", true), ("beta", true), ("gamma", false)];

/// The plain collections, which the scenarios use too.
pub const COLLECTIONS: [Collection; 3] = [
    Collection { name: "Article", share: 5, tenants: &[], data: Data::Plain, kind: Kind::Plain },
    Collection { name: "Passage", share: 3, tenants: &[], data: Data::Plain, kind: Kind::Plain },
    Collection { name: "Note", share: 2, tenants: NOTE_TENANTS, data: Data::Plain, kind: Kind::Plain },
];

const RICH: [Collection; 4] = [
    Collection { name: "Article", share: 4, tenants: &[], data: Data::Rich, kind: Kind::Plain },
    Collection { name: "Passage", share: 2, tenants: &[], data: Data::Rich, kind: Kind::Refers },
    Collection { name: "Note", share: 2, tenants: NOTE_TENANTS, data: Data::Rich, kind: Kind::Plain },
    Collection {
        name: EVERY_COLLECTION,
        share: 2,
        // Names that differ only in case, or are nothing but a hyphen, are directories on the node and keys in the bucket.
        tenants: &[(EVERY_TENANT, true), ("acme", true), ("Acme", true), ("_", true), ("-", false)],
        data: Data::Rich,
        kind: Kind::Named,
    },
];

impl Data {
    /// The collections of this profile, those that others refer to first.
    pub fn collections(self) -> &'static [Collection] {
        match self {
            Self::Plain => &COLLECTIONS,
            Self::Rich => &RICH,
        }
    }
}

impl Collection {
    /// The class definition.
    pub fn definition(&self) -> Value {
        let text =
            |name: &str, tokenization: &str| json!({"name": name, "dataType": ["text"], "tokenization": tokenization});
        let mut properties = vec![
            text("doc_id", "field"),
            text("title", "word"),
            text("body", "word"),
            json!({"name": "chunk", "dataType": ["int"]}),
            json!({"name": "reviewed", "dataType": ["boolean"]}),
        ];
        let mut class = json!({"class": self.name});
        match self.kind {
            Kind::Plain => class["vectorIndexType"] = json!("hnsw"),
            Kind::Refers => {
                properties.push(json!({"name": "of_article", "dataType": ["Article"]}));
                class["vectorIndexType"] = json!("hnsw");
                class["vectorIndexConfig"] = json!({"bq": {"enabled": true}});
            }
            Kind::Named => {
                properties[1] = text(EVERY_NAME, "word");
                properties[2] = text("_", "word");
                class["vectorConfig"] = json!({
                    EVERY_NAME: {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"},
                    SMALL_VECTOR: {"vectorizer": {"none": {}}, "vectorIndexType": "flat",
                        "vectorIndexConfig": {"bq": {"enabled": true}}},
                });
            }
        }
        if self.kind != Kind::Named {
            class["vectorizer"] = json!("none");
        }
        class["properties"] = Value::Array(properties);
        if !self.tenants.is_empty() {
            class["multiTenancyConfig"] = json!({"enabled": true});
        }
        class
    }

    /// Whether its vector index is compressed, wholly or by one of its vectors.
    pub fn compressed(&self) -> bool {
        self.kind != Kind::Plain
    }

    /// Whether a tenant, or a collection without any, can be read.
    pub fn is_awake(&self, tenant: Option<&str>) -> bool {
        self.tenants.iter().all(|(name, active)| tenant != Some(name) || *active)
    }
}
