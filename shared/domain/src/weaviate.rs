//! What Weaviate says: statuses and descriptors, parsed without I/O (facts: weaviate.md §1.4, §2.3, §2.4).

mod read_only;

use std::collections::BTreeMap;

use base64::Engine as _;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

pub use read_only::{OPERATIONAL_MODE, ReadOnly, WritePath, read_only};

/// The status of a backup or restore. An unknown text stays unknown: never a success, never a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum OperationStatus {
    /// Accepted, and for a create the only status seen until the end.
    Started,
    /// Restore: downloading.
    Transferring,
    /// Restore: downloaded.
    Transferred,
    /// Restore: applying the schema; a cancel is refused.
    Finalizing,
    /// Weaviate says that it is done: a hint.
    Success,
    /// It failed.
    Failed,
    /// A cancel is under way.
    Cancelling,
    /// It was cancelled.
    Canceled,
    /// A text that this build does not know.
    Unknown(String),
}

impl OperationStatus {
    /// The status of this text. Some documentation spells CANCELLED.
    pub fn parse(text: &str) -> Self {
        match text {
            "STARTED" => Self::Started,
            "TRANSFERRING" => Self::Transferring,
            "TRANSFERRED" => Self::Transferred,
            "FINALIZING" => Self::Finalizing,
            "SUCCESS" => Self::Success,
            "FAILED" => Self::Failed,
            "CANCELLING" => Self::Cancelling,
            "CANCELED" | "CANCELLED" => Self::Canceled,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for OperationStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}

/// A time as Weaviate writes it, where `0001-01-01T00:00:00Z` means unset (facts: weaviate.md §8.5).
pub fn set_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match text {
        Some(text) if !text.is_empty() && !text.starts_with("0001-01-01T") => {
            text.parse().map(Some).map_err(serde::de::Error::custom)
        }
        _ => Ok(None),
    }
}

/// `backup_config.json`, the global descriptor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GlobalDescriptor {
    /// The backup's id.
    pub id: String,
    /// Its status.
    pub status: OperationStatus,
    /// Why it failed, empty otherwise.
    #[serde(default)]
    pub error: String,
    /// What each node holds.
    #[serde(default)]
    pub nodes: BTreeMap<String, DescriptorNode>,
    /// Start, by the node's clock.
    #[serde(default, deserialize_with = "set_time")]
    pub started_at: Option<Timestamp>,
    /// End, by the node's clock.
    #[serde(default, deserialize_with = "set_time")]
    pub completed_at: Option<Timestamp>,
    /// The structure version, `2.1` since Weaviate 1.25.
    #[serde(default)]
    pub version: String,
    /// Weaviate's version.
    #[serde(default)]
    pub server_version: String,
    /// Bytes before compression.
    #[serde(default)]
    pub pre_compression_size_bytes: u64,
    /// Absent means gzip.
    #[serde(default)]
    pub compression_type: Option<String>,
    /// The base of an incremental backup, or empty.
    #[serde(default)]
    pub base_backup_id: Option<String>,
}

/// A node in the global descriptor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DescriptorNode {
    /// Its classes.
    #[serde(default, deserialize_with = "null_as_default")]
    pub classes: Vec<String>,
    /// How its part ended; empty until the end.
    #[serde(default)]
    pub status: String,
    /// Why its part failed, empty otherwise.
    #[serde(default)]
    pub error: String,
}

/// `<node>/backup.json`, the node descriptor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDescriptor {
    /// The backup's id.
    pub id: String,
    /// Its status.
    pub status: OperationStatus,
    /// Why it failed, empty otherwise.
    #[serde(default)]
    pub error: String,
    /// Its classes.
    #[serde(default, deserialize_with = "null_as_default")]
    pub classes: Vec<ClassDescriptor>,
    /// The structure version.
    #[serde(default)]
    pub version: String,
    /// Weaviate's version.
    #[serde(default)]
    pub server_version: String,
    /// Absent means gzip.
    #[serde(default)]
    pub compression_type: Option<String>,
    /// The base of an incremental backup, or empty.
    #[serde(default)]
    pub base_backup_id: Option<String>,
}

/// A class in a node descriptor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassDescriptor {
    /// Its name.
    pub name: String,
    /// Chunk number to the shards in it; the chunk's key is `<node>/<name>/chunk-<number>`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub chunks: BTreeMap<String, Vec<String>>,
    /// Its shards.
    #[serde(default, deserialize_with = "null_as_default")]
    pub shards: Vec<ShardDescriptor>,
    /// Base64 of the class definition in JSON.
    #[serde(default)]
    pub schema: Option<String>,
    /// Base64 of the sharding state in JSON.
    #[serde(default)]
    pub sharding_state: Option<String>,
}

/// A shard (a tenant, in a multi-tenant class) in a node descriptor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardDescriptor {
    /// Its name.
    pub name: String,
    /// Parts of files split over chunks, by path.
    #[serde(default, deserialize_with = "null_as_default")]
    pub big_files_chunk: BTreeMap<String, BigFile>,
    /// What an incremental backup takes from others.
    #[serde(default)]
    pub incremental_backup_info: Option<IncrementalInfo>,
}

/// A file of its own chunks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BigFile {
    /// `<Class>/chunk-<n>`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub chunk_keys: Vec<String>,
}

/// What an incremental backup takes from others.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncrementalInfo {
    /// Other backup's id to the files in it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub files_per_backup: BTreeMap<String, Vec<serde_json::Value>>,
}

impl ClassDescriptor {
    /// The sharding state, decoded; `None` when absent or not decodable (a finding for the caller).
    pub fn decoded_sharding_state(&self) -> Option<serde_json::Value> {
        let raw = base64::engine::general_purpose::STANDARD.decode(self.sharding_state.as_ref()?).ok()?;
        serde_json::from_slice(&raw).ok()
    }
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A Weaviate version, compared by its numbers: `1.38.11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion(pub u32, pub u32, pub u32);

impl ServerVersion {
    /// Parses `1.38.11`, `v1.38.11` and `1.40.0-dev`; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let core = text.split(['-', '+']).next()?;
        let mut numbers = core.split('.').map(|n| n.parse::<u32>().ok());
        let version = Self(numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_statuses_stay_unknown() {
        assert_eq!(OperationStatus::parse("DONE"), OperationStatus::Unknown("DONE".into()));
        assert_eq!(OperationStatus::parse("success"), OperationStatus::Unknown("success".into()));
    }

    #[test]
    fn the_global_descriptor_of_a_running_backup_parses_with_its_zero_time() {
        let text = r#"{"startedAt":"2026-08-20T01:00:00.123456789Z","completedAt":"0001-01-01T00:00:00Z","id":"b",
            "nodes":{"weaviate-0":{"classes":["Article"],"status":"","error":"","preCompressionSizeBytes":0}},
            "node_mapping":null,"status":"STARTED","version":"2.1","serverVersion":"1.39.0","leader":"weaviate-0",
            "error":"","preCompressionSizeBytes":0,"compressionType":"gzip","baseBackupId":""}"#;
        let d: GlobalDescriptor = serde_json::from_str(text).unwrap();
        assert_eq!(d.status, OperationStatus::Started);
        assert_eq!(d.completed_at, None);
        assert!(d.started_at.is_some());
        assert_eq!(d.nodes["weaviate-0"].classes, ["Article"]);
    }

    #[test]
    fn versions_compare_by_number_not_by_text() {
        let v = |t| ServerVersion::parse(t).unwrap();
        assert!(v("1.38.11") > v("1.38.9"));
        assert!(v("v1.40.0-dev") > v("1.39.7"));
        for bad in ["", "1.38", "1.38.x", "1.2.3.4"] {
            assert_eq!(ServerVersion::parse(bad), None, "{bad}");
        }
    }
}
