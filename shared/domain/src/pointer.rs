//! The pointer, `latest_weaviate_backup.manifest.json`: the one name that a restore starts from.
//!
//! It is written by compare-and-swap only, and only [`crate::flip`] decides what may be written.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::ids::{BackupId, Generation, Sequence, Sha256Digest};
use crate::manifest::{Manifest, Totals};

/// The largest pointer that is ever read or written, in bytes (DESIGN §3).
pub const POINTER_BYTES_MAX: u64 = 4096;

/// The pointer to the newest published backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The cluster's name.
    pub cluster: String,
    /// The generation that the pointer stands for: that of the published backup, or of the gate that re-stamped it.
    pub generation: Generation,
    /// Rises by one with every write.
    pub sequence: Sequence,
    /// The published backup.
    pub backup_id: BackupId,
    /// Its manifest, pinned.
    pub manifest: ManifestRef,
    /// How far it was verified before it was published.
    pub verification: VerificationLevel,
    /// When verification ended (S3's date of the last part).
    pub verified_at: Timestamp,
    /// When the snapshot began: the recovery point (S3's date of the run record).
    pub data_as_of: Timestamp,
    /// True for the last backup of a node before it went.
    pub is_final: bool,
    /// What is in it.
    pub totals: Totals,
    /// The other backup that the pointer named before: kept over writes that name the same backup again.
    pub previous: Option<Previous>,
    /// When this was composed, by the writer's clock: shown, never compared.
    pub published_at: Timestamp,
    /// Which function or person wrote it.
    pub published_by: String,
    /// Present when a person's decision stands behind this write instead of the guard's.
    #[serde(rename = "override")]
    pub overridden: Option<Override>,
    /// Present while automatic flips are stopped: set by a rollback, lifted by the gate of a node restored from the
    /// named backup or by a person (DESIGN §1.2).
    #[serde(default)]
    pub flips_stopped: Option<FlipsStopped>,
}

impl Document for Pointer {
    const KIND: &'static str = "pointer";
}

impl Pointer {
    /// Whether what it says of its backup is what the manifest says: a pointer has no digest above it. The cluster is
    /// for whoever knows which one it serves.
    pub fn agrees_with(&self, manifest: &Manifest) -> bool {
        self.backup_id == manifest.backup_id
            && self.generation >= manifest.source.generation
            && self.verification == manifest.verification
            && self.verified_at == manifest.verified_at
            && self.data_as_of == manifest.data_as_of
            && self.is_final == manifest.is_final
            && self.totals == manifest.totals
    }
}

/// A manifest, pinned by version and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRef {
    /// Its key in the bucket.
    pub key: String,
    /// Its S3 version, absent on a store without versions.
    pub version_id: Option<String>,
    /// SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// Its length in bytes.
    pub size_bytes: u64,
}

/// The last pointer that named another backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its sequence.
    pub sequence: Sequence,
    /// The backup it named.
    pub backup_id: BackupId,
}

/// A person's recorded decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Who, as they claim.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
    /// What the pointer named when they decided.
    pub replaces: Option<BackupId>,
    /// What they chose.
    pub chosen: BackupId,
}

/// Why automatic flips are stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlipsStopped {
    /// Who rolled back.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The backup rolled back to; the gate of a node restored from it lifts the stop.
    pub until_restored_from: BackupId,
}

/// How far a backup was verified (DESIGN §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VerificationLevel {
    /// Versions, sizes and ETags by listing.
    T0,
    /// Every object read in full and hashed, descriptors cross-checked.
    T1,
    /// T1 again, later, against the catalogue.
    T2,
    /// Restored in a drill, with evidence.
    T3,
}
