//! What lies under a backup's prefix: current objects, older versions, delete markers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Finding, ShardObject};
use crate::ids::BackupId;
use crate::keys::Key;

/// One entry of a listing of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The full key.
    pub key: String,
    /// Its version, absent on a store without versions.
    pub version_id: Option<String>,
    /// Whether it is the current one.
    pub is_latest: bool,
    /// What it is.
    pub content: Content,
    /// S3's date of it.
    pub last_modified: Timestamp,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An object.
    Object {
        /// Its bytes.
        size_bytes: u64,
        /// Its ETag.
        etag: String,
    },
    /// A delete marker.
    DeleteMarker,
}

/// Everything under a backup's prefix, by key.
#[derive(Debug, Clone)]
pub struct Inventory {
    prefix: String,
    keys: BTreeMap<String, Vec<Entry>>,
}

/// `backup_config.json` is written twice, and a third time by Weaviate's sweep at boot (facts: weaviate.md §2.2).
const GLOBAL_DESCRIPTOR_WRITES_MAX: usize = 3;

/// Whether Weaviate writes this path (below the backup's prefix) outside the backup itself: the restore's descriptor
/// and the access probes.
pub fn is_ignored(path: &str) -> bool {
    matches!(
        path.split('/').collect::<Vec<_>>().as_slice(),
        ["restore_config.json" | "access-check"] | [_, "access-check"]
    )
}

impl Inventory {
    /// The inventory of this backup from all pages of a listing of versions.
    pub fn of(backup_id: &BackupId, entries: impl IntoIterator<Item = Entry>) -> Self {
        Self::below(Key::backup_prefix(backup_id), entries)
    }

    /// The inventory of a copy of a backup below another prefix, with its final slash.
    pub fn below(prefix: String, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut keys: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            keys.entry(entry.key.clone()).or_default().push(entry);
        }
        Self { prefix, keys }
    }

    /// A key's path below the backup's prefix.
    pub fn path<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(&self.prefix).unwrap_or(key)
    }

    /// All versions and delete markers of a key, as listed.
    pub fn versions(&self, key: &str) -> &[Entry] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// The current object of a key; `None` when there is none, or a delete marker hides it.
    pub fn current(&self, key: &str) -> Option<(&Entry, ShardObject)> {
        self.versions(key).iter().find(|e| e.is_latest).and_then(|entry| match &entry.content {
            Content::Object { size_bytes, etag } => Some((
                entry,
                ShardObject {
                    key: entry.key.clone(),
                    size_bytes: *size_bytes,
                    etag: etag.clone(),
                    version_id: entry.version_id.clone(),
                },
            )),
            Content::DeleteMarker => None,
        })
    }

    /// Every key that counts, that is not [`is_ignored`].
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str).filter(|key| !is_ignored(self.path(key)))
    }

    /// The current objects that count, in key order: what is to be read in full.
    pub fn objects(&self) -> Vec<ShardObject> {
        self.keys().filter_map(|key| self.current(key).map(|(_, object)| object)).collect()
    }

    /// Paths below the prefix with their bytes, of the current objects that count.
    pub fn sizes(&self) -> BTreeMap<String, u64> {
        self.keys()
            .filter_map(|key| self.current(key).map(|(_, o)| (self.path(key).to_owned(), o.size_bytes)))
            .collect()
    }

    /// Keys that were overwritten or deleted. Ids are single-use and Weaviate writes each object once, so anything but
    /// a repeated upload of the same bytes (a retried request) is somebody else's doing; `backup_config.json` is
    /// written twice or three times.
    pub fn overwritten(&self) -> Vec<Finding> {
        let global = format!("{}backup_config.json", self.prefix);
        let suspicious = |key: &str, versions: &[Entry]| {
            let mut contents = BTreeSet::new();
            for version in versions {
                match &version.content {
                    Content::Object { size_bytes, etag } => contents.insert((size_bytes, etag.as_str())),
                    Content::DeleteMarker => return true,
                };
            }
            contents.len() > if key == global { GLOBAL_DESCRIPTOR_WRITES_MAX } else { 1 }
        };
        self.keys()
            .filter(|key| suspicious(key, self.versions(key)))
            .map(|key| Finding::Overwritten {
                key: key.to_owned(),
                versions: u32::try_from(self.versions(key).len()).unwrap_or(u32::MAX),
            })
            .collect()
    }
}
