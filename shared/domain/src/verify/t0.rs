//! T0: whether what a restore will read is what was verified, by one listing (DESIGN §5, R10).
//!
//! Weaviate reads the *current* object of each key, so a pinned version that exists but is not current fails. A
//! version's bytes cannot change, so no object is read. `restore_config.json` appears at the first restore and is
//! ignored with its versions and markers, and so are access probes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::inventory::{Content, Inventory};
use crate::manifest::CatalogueRow;

/// What a T0 is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum T0Level {
    /// Every row is pinned to a version.
    Full,
    /// The store has no versions: sizes and ETags only.
    Weak,
}

impl T0Level {
    /// What a T0 of these rows is worth: [`Weak`](Self::Weak) as soon as one row has no version to be held to.
    pub fn of(rows: &[CatalogueRow]) -> Self {
        let weak = rows.iter().any(|r| r.version_id.as_deref().is_none_or(|v| v == "null"));
        if weak { Self::Weak } else { Self::Full }
    }
}

/// What a T0 came to, for a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct T0Summary {
    /// What it is worth: `weak` says that versions could not be held, sizes and ETags only.
    pub level: T0Level,
    /// Objects that the catalogue names.
    pub objects: u64,
    /// Listing requests that it took.
    pub listing_pages: u32,
    /// How many things were wrong; a restore goes on only at 0.
    pub findings: u64,
    /// The first of them.
    pub first: Option<String>,
}

/// What T0 found. A restore goes on only if it [`passed`](Self::passed).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct T0Outcome {
    /// What it is worth.
    pub level: T0Level,
    /// What is wrong, in key order.
    pub findings: Vec<T0Finding>,
    /// Listing requests that it took.
    pub listing_pages: u32,
    /// Objects that the catalogue names.
    pub objects: u64,
}

impl T0Outcome {
    /// For a record.
    pub fn summary(&self) -> T0Summary {
        T0Summary {
            level: self.level,
            objects: self.objects,
            listing_pages: self.listing_pages,
            findings: self.findings.len() as u64,
            first: self.findings.first().map(ToString::to_string),
        }
    }

    /// Whether a restore would read exactly what was verified.
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether it failed, but every catalogued version still exists, so that copying the pinned versions elsewhere
    /// gives the verified backup back.
    pub fn healable(&self) -> bool {
        !self.passed()
            && self.findings.iter().all(|f| match f {
                T0Finding::NotCurrent { .. } | T0Finding::Unexplained { .. } => true,
                T0Finding::Deleted { pinned_version_exists, .. } => *pinned_version_exists,
                T0Finding::Missing { .. } | T0Finding::Differs { .. } | T0Finding::EmptyCatalogue => false,
            })
    }
}

/// Something that T0 found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum T0Finding {
    /// The catalogue has no row: nothing would be restored.
    #[error("the catalogue is empty; restore another backup")]
    EmptyCatalogue,
    /// The catalogued object is gone.
    #[error("{key} is gone, in all the versions that the catalogue pins; restore another backup")]
    Missing {
        /// The object.
        key: String,
    },
    /// A delete marker hides the object.
    #[error("{key} is hidden by a delete marker; {}", if *.pinned_version_exists { "its verified version still exists: heal the backup" } else { "its verified version is gone: restore another backup" })]
    Deleted {
        /// The object.
        key: String,
        /// Whether the version that was verified still exists.
        pinned_version_exists: bool,
    },
    /// Somebody overwrote the object; the verified version still exists.
    #[error("{key} was overwritten; the verified version {pinned_version} still exists: heal the backup")]
    NotCurrent {
        /// The object.
        key: String,
        /// The version that was verified.
        pinned_version: String,
    },
    /// The object has another size or ETag than it was verified with.
    #[error("{key} differs from the catalogue in its {what}; restore another backup")]
    Differs {
        /// The object.
        key: String,
        /// In what.
        what: &'static str,
    },
    /// An object that the catalogue does not know, and that a restore might read.
    #[error("{key} is not in the catalogue; find out who wrote it")]
    Unexplained {
        /// The object.
        key: String,
    },
}

/// Compares a catalogue with a listing of all versions under its backup.
pub fn compare(rows: &[CatalogueRow], inventory: &Inventory, listing_pages: u32) -> T0Outcome {
    let mut findings: Vec<T0Finding> = rows.iter().filter_map(|row| compare_row(row, inventory)).collect();
    if rows.is_empty() {
        findings.push(T0Finding::EmptyCatalogue);
    }
    let known: BTreeSet<&str> = rows.iter().map(|r| r.key.as_str()).collect();
    findings.extend(
        inventory
            .keys()
            .filter(|key| !known.contains(key) && inventory.current(key).is_some())
            .map(|key| T0Finding::Unexplained { key: key.to_owned() }),
    );
    T0Outcome { level: T0Level::of(rows), findings, listing_pages, objects: rows.len() as u64 }
}

fn compare_row(row: &CatalogueRow, inventory: &Inventory) -> Option<T0Finding> {
    let key = || row.key.clone();
    let versions = inventory.versions(&row.key);
    let pinned = versions.iter().find(|e| e.version_id == row.version_id && e.content != Content::DeleteMarker);
    if versions.iter().any(|e| e.is_latest && e.content == Content::DeleteMarker) {
        return Some(T0Finding::Deleted { key: key(), pinned_version_exists: pinned.is_some() });
    }
    let Some(pinned) = pinned else {
        return Some(T0Finding::Missing { key: key() });
    };
    match &pinned.content {
        Content::Object { size_bytes, .. } if *size_bytes != row.size_bytes => {
            Some(T0Finding::Differs { key: key(), what: "size" })
        }
        Content::Object { etag, .. } if !super::etag::same(etag, &row.etag) => {
            Some(T0Finding::Differs { key: key(), what: "ETag" })
        }
        Content::Object { .. } if !pinned.is_latest => Some(T0Finding::NotCurrent {
            key: key(),
            pinned_version: row.version_id.clone().unwrap_or_else(|| "null".to_owned()),
        }),
        Content::Object { .. } => None,
        Content::DeleteMarker => Some(T0Finding::Missing { key: key() }),
    }
}
