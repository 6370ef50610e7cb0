//! Findings: each says what is wrong with a backup and what to do. Each blocks; none is a warning.

use serde::{Deserialize, Serialize};

use super::T0Level;
use crate::document::Document;
use crate::ids::{BackupId, Sha256Digest};

/// Something that keeps a backup from being proof.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Finding {
    /// The global descriptor does not say SUCCESS.
    #[error("{key} says {status}, not SUCCESS; take another backup")]
    NotSuccess {
        /// The descriptor.
        key: String,
        /// Its status.
        status: String,
    },
    /// A descriptor says SUCCESS with an error, or a node reports one.
    #[error("{key} carries the error {error:?}; take another backup and look at Weaviate's log")]
    DescriptorError {
        /// The descriptor.
        key: String,
        /// Its error, cut.
        error: String,
    },
    /// A descriptor does not parse.
    #[error("{key} does not parse as a Weaviate descriptor ({detail}); take another backup")]
    DescriptorUnreadable {
        /// The descriptor.
        key: String,
        /// What the parser says.
        detail: String,
    },
    /// A descriptor belongs to another backup.
    #[error("{key} says that it is backup {found:?}; it was copied or overwritten: take another backup")]
    IdDiffers {
        /// The descriptor.
        key: String,
        /// The id in it.
        found: String,
    },
    /// The structure version is not one that this build knows.
    #[error("{key} has structure version {found:?}, this build knows 2.x; use a build that knows it")]
    StructureUnknown {
        /// The descriptor.
        key: String,
        /// Its version.
        found: String,
    },
    /// The descriptors of one backup disagree about it.
    #[error("{key} has {what} {found:?}, backup_config.json has {expected:?}; take another backup")]
    DescriptorsDisagree {
        /// The node's descriptor.
        key: String,
        /// In what.
        what: String,
        /// What the node's says.
        found: String,
        /// What the global one says.
        expected: String,
    },
    /// A chunk is said to hold a shard that the class does not have.
    #[error("{key}: a chunk of class {class} holds shard {shard}, which the class does not have; take another backup")]
    ShardUnknown {
        /// The node's descriptor.
        key: String,
        /// The class.
        class: String,
        /// The shard.
        shard: String,
    },
    /// A backup that this one builds on is not there.
    #[error("the backup builds on {base}, of which there is nothing left; take a full backup")]
    BaseMissing {
        /// The base's id.
        base: String,
    },
    /// An object of a backup that this one builds on is missing or empty.
    #[error("{key}, which the backup takes from the one that it builds on, is {}; take a full backup", if *.empty { "empty" } else { "missing" })]
    BaseObjectMissing {
        /// The object.
        key: String,
        /// It is there, without a byte.
        empty: bool,
    },
    /// The backup needs another one.
    #[error("incremental_not_supported: the backup builds on {base}; take a full backup")]
    IncrementalNotSupported {
        /// The base's id.
        base: String,
    },
    /// The descriptor lists no node.
    #[error("{key} lists no node; take another backup")]
    NoNodes {
        /// The descriptor.
        key: String,
    },
    /// The node that the expectations were recorded from is not in the backup.
    #[error("the backup has no part of node {node}, which the expectations name; take another backup")]
    NodeAbsent {
        /// The node.
        node: String,
    },
    /// A node's classes differ between the two descriptors.
    #[error("{key} has the classes {found:?}, backup_config.json says {expected:?}; take another backup")]
    NodeClassesDiffer {
        /// The node's descriptor.
        key: String,
        /// Its classes.
        found: Vec<String>,
        /// The global descriptor's.
        expected: Vec<String>,
    },
    /// The backup does not hold the classes of the schema.
    #[error(
        "the backup lacks the classes {missing:?} and has {unexpected:?} that the expectations do not name; \
         check the operator key's rights (a backup silently narrows to permitted classes) and take another"
    )]
    ClassesDiffer {
        /// In the expectations, not in the backup.
        missing: Vec<String>,
        /// In the backup, not in the expectations.
        unexpected: Vec<String>,
    },
    /// `expectations.json` is of another backup.
    #[error("expectations.json is of backup {found}; it was copied or overwritten: take another backup")]
    ExpectationsForeign {
        /// The id in it.
        found: String,
    },
    /// A class has no readable sharding state.
    #[error("{key}: class {class} has no readable sharding state, so its shards cannot be held to be all there")]
    ShardingStateUnreadable {
        /// The node's descriptor.
        key: String,
        /// The class.
        class: String,
    },
    /// A shard (tenant) is missing.
    #[error("{key}: shard {shard} of class {class} is on the node but not in the backup; take another backup")]
    ShardMissing {
        /// The node's descriptor.
        key: String,
        /// The class.
        class: String,
        /// The shard.
        shard: String,
    },
    /// A shard is listed, but no chunk holds it.
    #[error("{key}: no chunk holds shard {shard} of class {class}; take another backup")]
    ShardWithoutChunk {
        /// The node's descriptor.
        key: String,
        /// The class.
        class: String,
        /// The shard.
        shard: String,
    },
    /// A tenant that was inactive when the expectations were read is not in the backup.
    #[error("inactive tenant {tenant} of class {class} is not in the backup; take another backup")]
    InactiveTenantMissing {
        /// The class.
        class: String,
        /// The tenant.
        tenant: String,
    },
    /// An object that the backup needs is not there.
    #[error("{key} is missing (it may be hidden by a delete marker: look at its versions); take another backup")]
    ObjectMissing {
        /// The object.
        key: String,
    },
    /// An object that the backup needs is empty.
    #[error("{key} is empty; take another backup")]
    ObjectEmpty {
        /// The object.
        key: String,
    },
    /// An object that no descriptor explains.
    #[error("{key} is named by no descriptor; find out who wrote it, then take another backup")]
    Unexplained {
        /// The object.
        key: String,
    },
    /// Weaviate writes each object once and ids are single-use.
    #[error("{key} was overwritten or deleted ({versions} versions); find out by whom, then take another backup")]
    Overwritten {
        /// The object.
        key: String,
        /// Versions and delete markers found.
        versions: u32,
    },
    /// An object larger than one invocation can read.
    #[error(
        "{key} has {size_bytes} bytes, more than the {size_bytes_max} that one invocation reads in its time; \
         set BACKUP_SPLIT_FILE_SIZE=256MiB on the node and take another backup, or raise VerifyRateMiB if the function \
         reads faster"
    )]
    ObjectTooLarge {
        /// The object.
        key: String,
        /// Its bytes.
        size_bytes: u64,
        /// The bound.
        size_bytes_max: u64,
    },
    /// A backup larger than the largest fan-out can read.
    #[error("the backup has {size_bytes} bytes, more than the {size_bytes_max} that a verification can read")]
    BackupTooLarge {
        /// Its bytes.
        size_bytes: u64,
        /// The bound.
        size_bytes_max: u64,
    },
    /// Another plan of the same verification exists.
    #[error("the objects under the backup changed while it was being verified; find out by whom, take another backup")]
    PlanChanged {
        /// The shard's key.
        key: String,
    },
    /// An object was replaced between listing and reading.
    #[error("{key} was replaced while it was being read; find out by whom, then take another backup")]
    Changed {
        /// The object.
        key: String,
    },
    /// An object vanished between listing and reading.
    #[error("{key} vanished while it was being read; find out who deletes there, then take another backup")]
    Vanished {
        /// The object.
        key: String,
    },
    /// S3 sent another number of bytes than listed, twice.
    #[error("{key} gave {received_bytes} of {expected_bytes} bytes, twice; take another backup")]
    WrongLength {
        /// The object.
        key: String,
        /// Bytes listed.
        expected_bytes: u64,
        /// Bytes that came.
        received_bytes: u64,
    },
    /// Every byte may be there, but a restore would not read it.
    #[error("a restore would refuse it, {findings} findings, first: {first}")]
    RestoreRefuses {
        /// What T0 found, in number.
        findings: u64,
        /// The first of it.
        first: String,
    },
    /// The bytes are not those that the catalogue has.
    #[error(
        "{key} reads as SHA-256 {computed}, the catalogue has {recorded}, twice: its bytes changed at rest; \
         do not restore from this backup, report it to AWS, and take another"
    )]
    Sha256Differs {
        /// The object.
        key: String,
        /// The catalogue's digest.
        recorded: Sha256Digest,
        /// What its bytes give.
        computed: Sha256Digest,
    },
    /// The bytes are not those that were uploaded.
    #[error(
        "{key} reads as ETag {computed}, S3 recorded {recorded} at the upload, twice: its bytes changed at rest; \
         take another backup and report it to AWS"
    )]
    EtagDiffers {
        /// The object.
        key: String,
        /// The ETag listed.
        recorded: String,
        /// The ETag of the bytes read.
        computed: String,
    },
    /// The bytes read are not those whose checksum S3 computed when they were written.
    #[error(
        "{key} reads as {algorithm} {computed}, S3 recorded {recorded} at the upload, twice: its bytes changed at rest; \
         take another backup and report it to AWS"
    )]
    ChecksumDiffers {
        /// The object.
        key: String,
        /// By which algorithm.
        algorithm: String,
        /// The checksum recorded, in hex.
        recorded: String,
        /// That of the bytes read.
        computed: String,
    },
    /// A part file does not answer its shard.
    #[error("part {index} does not answer its shard ({what}); delete nothing, find out who wrote it")]
    PartDiffers {
        /// The shard.
        index: u32,
        /// In what.
        what: String,
    },
    /// A document of the proof exists already and says something else.
    #[error("{key} exists with other bytes than this verification gives; find out who wrote it, take another backup")]
    ProofDiffers {
        /// The document.
        key: String,
    },
    /// The verification did not end.
    #[error("the verification did not end: {reason}; take another backup once that is repaired")]
    Unfinished {
        /// The last fault, or the bound that was reached.
        reason: String,
    },
}

/// Something worth recording that does not block.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Note {
    /// The ETag is no digest that can be computed from the bytes, so damage at rest before the first read cannot be
    /// told from it; SHA-256 is recorded all the same.
    EtagNotRecomputed {
        /// The object.
        key: String,
        /// Why.
        reason: String,
    },
}

/// `manifests/<id>/evidence/verify-<time>.json`: how a verification ended, for people and drills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyEvidence {
    /// The backup.
    pub backup_id: BackupId,
    /// Whether every check passed.
    pub verified: bool,
    /// What did not.
    pub findings: Vec<Finding>,
    /// The first [`EVIDENCE_NOTES_MAX`] notes.
    pub notes: Vec<Note>,
    /// How many notes there were.
    pub notes_total: u64,
    /// Objects read in full.
    pub objects_read: u64,
    /// What a T0 of it is worth: `weak` where the store keeps no versions. Absent of a backup that failed.
    #[serde(default)]
    pub t0: Option<T0Level>,
}

/// Notes kept in an evidence file.
pub const EVIDENCE_NOTES_MAX: usize = 100;

impl Document for VerifyEvidence {
    const KIND: &'static str = "verify-evidence";
}

/// The findings as reasons for a verdict record: at most ten, then how many more.
pub fn reasons(findings: &[Finding]) -> Vec<String> {
    const SHOWN_MAX: usize = 10;
    let mut reasons: Vec<String> = findings.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    if findings.len() > SHOWN_MAX {
        reasons.push(format!("and {} more, in the evidence file", findings.len() - SHOWN_MAX));
    }
    reasons
}
