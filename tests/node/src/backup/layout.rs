//! The JSON that Weaviate keeps in the store, field by field as the real server writes it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::times;

/// The coordinator's descriptor of a backup.
pub(crate) const GLOBAL_BACKUP_FILE: &str = "backup_config.json";
/// The coordinator's descriptor of a restore, inside the backup's directory.
pub(crate) const GLOBAL_RESTORE_FILE: &str = "restore_config.json";
/// A node's descriptor of its part.
pub(crate) const NODE_FILE: &str = "backup.json";
/// Structure version since Weaviate 1.25.
pub(crate) const STRUCTURE_VERSION: &str = "2.1";

/// `backup_config.json` and `restore_config.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DistributedDescriptor {
    #[serde(rename = "startedAt", serialize_with = "times::write", deserialize_with = "times::read")]
    pub(crate) started_at: Timestamp,
    #[serde(rename = "completedAt", serialize_with = "times::write", deserialize_with = "times::read")]
    pub(crate) completed_at: Timestamp,
    pub(crate) id: String,
    pub(crate) nodes: BTreeMap<String, Option<NodeEntry>>,
    #[serde(default)]
    pub(crate) node_mapping: Option<BTreeMap<String, String>>,
    pub(crate) status: String,
    pub(crate) version: String,
    #[serde(rename = "serverVersion", default)]
    pub(crate) server_version: String,
    #[serde(default)]
    pub(crate) leader: String,
    #[serde(default)]
    pub(crate) error: String,
    #[serde(rename = "preCompressionSizeBytes", default)]
    pub(crate) size: u64,
    #[serde(rename = "compressionType", default)]
    pub(crate) compression: String,
    #[serde(rename = "baseBackupId", default)]
    pub(crate) base: String,
}

/// One node's entry in the global descriptor.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct NodeEntry {
    pub(crate) classes: Vec<String>,
    pub(crate) status: String,
    pub(crate) error: String,
    #[serde(rename = "preCompressionSizeBytes", default)]
    pub(crate) size: u64,
}

impl DistributedDescriptor {
    /// Every class in it, once.
    pub(crate) fn classes(&self) -> Vec<String> {
        let mut classes: Vec<String> =
            self.nodes.values().flatten().flat_map(|node| node.classes.iter().cloned()).collect();
        classes.sort();
        classes.dedup();
        classes
    }
}

/// `<node>/backup.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodeDescriptor {
    #[serde(rename = "startedAt", serialize_with = "times::write", deserialize_with = "times::read")]
    pub(crate) started_at: Timestamp,
    #[serde(rename = "completedAt", serialize_with = "times::write", deserialize_with = "times::read")]
    pub(crate) completed_at: Timestamp,
    pub(crate) id: String,
    pub(crate) classes: Vec<ClassDescriptor>,
    #[serde(rename = "rbacBackups", default)]
    pub(crate) rbac: Option<String>,
    #[serde(rename = "userBackups", default)]
    pub(crate) users: Option<String>,
    pub(crate) status: String,
    pub(crate) version: String,
    #[serde(rename = "serverVersion", default)]
    pub(crate) server_version: String,
    #[serde(default)]
    pub(crate) error: String,
    #[serde(rename = "preCompressionSizeBytes", default)]
    pub(crate) size: u64,
    #[serde(rename = "compressionType", default)]
    pub(crate) compression: Option<String>,
    #[serde(rename = "baseBackupId", default, skip_serializing_if = "String::is_empty")]
    pub(crate) base: String,
}

/// One class in a node's descriptor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClassDescriptor {
    pub(crate) name: String,
    #[serde(rename = "backupId", default)]
    pub(crate) backup_id: String,
    #[serde(default)]
    pub(crate) shards: Vec<ShardDescriptor>,
    /// Base64 of JSON.
    #[serde(rename = "shardingState", default)]
    pub(crate) sharding_state: String,
    /// Base64 of JSON.
    #[serde(default)]
    pub(crate) schema: String,
    /// Base64 of JSON.
    #[serde(default)]
    pub(crate) aliases: String,
    #[serde(rename = "aliasesIncluded", default)]
    pub(crate) aliases_included: bool,
    #[serde(default)]
    pub(crate) chunks: BTreeMap<String, Vec<String>>,
    #[serde(rename = "preCompressionSizeBytes", default)]
    pub(crate) size: u64,
}

/// One shard or tenant in a class.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ShardDescriptor {
    pub(crate) name: String,
    pub(crate) node: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<String>,
    #[serde(rename = "bigFilesChunk", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) big_files: BTreeMap<String, BigFile>,
    #[serde(rename = "incrementalBackupInfo", default)]
    pub(crate) incremental: Incremental,
}

/// A file with chunks of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BigFile {
    #[serde(rename = "chunkKeys")]
    pub(crate) chunk_keys: Vec<String>,
    pub(crate) size: u64,
    #[serde(rename = "modifiedAt", serialize_with = "times::write", deserialize_with = "times::read")]
    pub(crate) modified_at: Timestamp,
}

/// Files whose bytes are in other backups.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Incremental {
    #[serde(rename = "filesPerBackup", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) files: BTreeMap<String, Vec<BorrowedFile>>,
}

/// One such file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BorrowedFile {
    pub(crate) file: String,
    #[serde(rename = "chunkKeys")]
    pub(crate) chunk_keys: Vec<String>,
}

/// `<Class>/chunk-<n>`.
pub(crate) fn chunk_key(class: &str, chunk: &str) -> String {
    format!("{class}/chunk-{chunk}")
}
