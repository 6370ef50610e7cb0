//! Evidence as types: what was proved about a backup cannot be made up, only rebuilt from bytes (STYLE §6).
//!
//! [`VerifiedBackup`] comes out of the fold of every part together with descriptors checked a second time against the
//! rows that were read; only it can be composed into a manifest. [`VerifiedManifest`] comes out of stored bytes whose
//! digests all agree; only it can reach a pointer or a restore.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::descriptors::{self, Descriptors};
use super::{Finding, Fold, Note, T0Level};
use crate::document::{DocumentError, decode};
use crate::expectations::compare::consistency;
use crate::expectations::{AfterObservation, Expectations, ObservedAfter};
use crate::ids::{BackupId, Sha256Digest};
use crate::keys::Key;
use crate::manifest::{
    Catalogue, CatalogueError, CatalogueRow, Counts, Engine, GuardDecision, Manifest, Requirements, Source, Timings,
    Totals, decode_catalogue, encode_catalogue, root_digest, self_digest,
};
use crate::pointer::{ManifestRef, VerificationLevel};

/// A backup of which every object was read in full, and whose descriptors agree with what was read.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedBackup {
    backup_id: BackupId,
    rows: Vec<CatalogueRow>,
    notes: Vec<Note>,
    descriptors: Descriptors,
    expectations: Expectations,
    expectations_sha256: Sha256Digest,
    observed_after: ObservedAfter,
    observed_after_sha256: Sha256Digest,
}

/// What a manifest says beyond the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composition<'a> {
    /// The tool's version.
    pub tool_version: &'a str,
    /// The cluster's name.
    pub cluster: &'a str,
    /// The Auto Scaling group's name.
    pub group: &'a str,
    /// What the guard decided.
    pub decision: GuardDecision,
    /// S3's date of the last part.
    pub verified_at: Timestamp,
}

impl VerifiedBackup {
    /// Proves a backup: no finding in any part, the descriptors are the very bytes that were hashed, they agree with
    /// the rows and the expectations, and the observation afterwards is of this backup.
    pub fn prove(
        backup_id: &BackupId,
        fold: Fold,
        descriptors: Descriptors,
        (expectations, expectations_bytes): (Expectations, &[u8]),
        (observed_after, observed_after_bytes): (ObservedAfter, &[u8]),
    ) -> Result<Self, Vec<Finding>> {
        let mut findings = fold.findings;
        let prefix = Key::backup_prefix(backup_id);
        let path = |row: &CatalogueRow| row.key.strip_prefix(&prefix).unwrap_or(&row.key).to_owned();
        let sizes = fold.rows.iter().map(|r| (path(r), r.size_bytes)).collect();
        // A backup that builds on others is refused, whatever is there of them.
        let none = BTreeMap::new();
        findings.extend(descriptors::check(backup_id, &sizes, &none, &descriptors, &expectations));
        let hashed = |p: &str| fold.rows.iter().find(|r| path(r) == p).map(|r| &r.sha256);
        let nodes = descriptors.nodes.iter().map(|(node, (_, sha256))| (descriptors::node_path(node), sha256));
        let read = nodes.chain([(descriptors::GLOBAL_PATH.to_owned(), &descriptors.global_sha256)]);
        for (path, _) in read.filter(|(path, sha256)| hashed(path) != Some(*sha256)) {
            findings.push(Finding::Changed { key: format!("{prefix}{path}") });
        }
        if observed_after.backup_id != *backup_id {
            findings.push(Finding::ExpectationsForeign { found: observed_after.backup_id.to_string() });
        }
        if !findings.is_empty() {
            findings.sort();
            findings.dedup();
            return Err(findings);
        }
        Ok(Self {
            backup_id: backup_id.clone(),
            rows: fold.rows,
            notes: fold.notes,
            descriptors,
            expectations,
            expectations_sha256: Sha256Digest::of(expectations_bytes),
            observed_after,
            observed_after_sha256: Sha256Digest::of(observed_after_bytes),
        })
    }

    /// Every object, in key order.
    pub fn rows(&self) -> &[CatalogueRow] {
        &self.rows
    }

    /// What was worth recording.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// What was recorded before.
    pub fn expectations(&self) -> &Expectations {
        &self.expectations
    }

    /// What was seen afterwards.
    pub fn observed_after(&self) -> &ObservedAfter {
        &self.observed_after
    }

    /// The classes in the backup, sorted.
    pub fn classes(&self) -> Vec<String> {
        descriptors::returned_classes(&self.descriptors.global).into_iter().collect()
    }

    /// The catalogue's bytes.
    pub fn catalogue(&self) -> Vec<u8> {
        encode_catalogue(&self.rows)
    }

    /// The manifest.
    pub fn manifest(&self, with: Composition<'_>) -> Manifest {
        let global = &self.descriptors.global;
        let size_bytes = self.rows.iter().map(|r| r.size_bytes).sum();
        let files = self.rows.len() as u64;
        let classes = self.classes();
        Manifest {
            min_reader: 1,
            tool_version: with.tool_version.to_owned(),
            cluster: with.cluster.to_owned(),
            backup_id: self.backup_id.clone(),
            trigger: self.expectations.trigger.clone(),
            source: Source {
                generation: self.expectations.generation,
                group: with.group.to_owned(),
                instance: self.expectations.instance.clone(),
                nodes: global.nodes.keys().cloned().collect(),
                weaviate_version: self.expectations.weaviate_version.clone(),
            },
            consistency: consistency(&self.expectations, &self.observed_after),
            counts: Counts {
                before: self.expectations.collections.iter().map(|(name, c)| (name.clone(), c.count)).collect(),
                after: match &self.observed_after.observation {
                    AfterObservation::Node { counts, .. } => Some(counts.clone()),
                    AfterObservation::NodeGone { .. } => None,
                },
            },
            engine: Engine {
                global_descriptor_sha256: self.descriptors.global_sha256.clone(),
                node_descriptors_sha256: self
                    .descriptors
                    .nodes
                    .iter()
                    .map(|(node, (_, sha256))| (node.clone(), sha256.clone()))
                    .collect(),
                requested_classes: self.expectations.collections.keys().cloned().collect(),
                returned_classes: classes.clone(),
                compression: global.compression_type.clone().unwrap_or_else(|| "gzip".to_owned()),
                structure_version: global.version.clone(),
                base_backup_id: None,
            },
            catalogue: Catalogue {
                key: Key::Catalogue(self.backup_id.clone()).to_string(),
                sha256: Sha256Digest::of(&self.catalogue()),
                rows: files,
                size_bytes,
                root_sha256: root_digest(&self.rows),
                t0: Some(T0Level::of(&self.rows)),
            },
            expectations_sha256: self.expectations_sha256.clone(),
            observed_after_sha256: self.observed_after_sha256.clone(),
            verification: VerificationLevel::T1,
            decision: with.decision,
            requirements: Requirements {
                node_name: self.expectations.node_name.clone(),
                weaviate_version_min: global.server_version.clone(),
                uncompressed_size_bytes: global.pre_compression_size_bytes,
            },
            totals: Totals {
                files,
                size_bytes,
                objects: self.expectations.objects(),
                collections: classes.len() as u64,
            },
            data_as_of: self.expectations.recorded_at,
            verified_at: with.verified_at,
            is_final: self.expectations.is_final,
            timings: Timings { started_at: global.started_at, completed_at: global.completed_at },
            self_sha256: Sha256Digest::of(b""),
        }
        .sealed()
    }
}

/// A manifest as stored, with everything that it vouches for: all digests agree.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedManifest {
    manifest: Manifest,
    reference: ManifestRef,
    rows: Vec<CatalogueRow>,
    expectations: Expectations,
    observed_after: ObservedAfter,
}

/// The bytes of a manifest and of what it vouches for, as read.
#[derive(Debug, Clone, Copy)]
pub struct StoredProof<'a> {
    /// `manifest.json`.
    pub manifest: &'a [u8],
    /// Its version, absent on a store without versions.
    pub manifest_version_id: Option<&'a str>,
    /// `objects.ndjson`.
    pub catalogue: &'a [u8],
    /// `expectations.json`.
    pub expectations: &'a [u8],
    /// `observed-after.json`.
    pub observed_after: &'a [u8],
}

/// Why stored bytes are no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A document does not parse.
    #[error("the proof of {backup_id} cannot be read")]
    Document {
        /// The backup.
        backup_id: BackupId,
        /// Which, and why.
        #[source]
        source: DocumentError,
    },
    /// The catalogue is not what the manifest says.
    #[error("the proof of {backup_id} does not hold")]
    Catalogue {
        /// The backup.
        backup_id: BackupId,
        /// Why.
        #[source]
        source: CatalogueError,
    },
    /// Two documents disagree.
    #[error("{key} {what}; do not restore from it, look at the object's versions")]
    Differs {
        /// The document that is not as vouched for.
        key: String,
        /// In what.
        what: &'static str,
    },
}

impl VerifiedManifest {
    /// Holds stored bytes to each other: the manifest to the reference that named it (a pointer's, if any), catalogue,
    /// expectations and observation to the manifest, and all of them to the backup.
    pub fn check(
        backup_id: &BackupId,
        named_by: Option<&ManifestRef>,
        stored: StoredProof<'_>,
    ) -> Result<Self, ProofError> {
        let manifest_key = Key::Manifest(backup_id.clone()).to_string();
        let differs = |key: &str, what| Err(ProofError::Differs { key: key.to_owned(), what });
        let unreadable = |source| ProofError::Document { backup_id: backup_id.clone(), source };
        let sha256 = Sha256Digest::of(stored.manifest);
        let size_bytes = stored.manifest.len() as u64;
        if let Some(reference) = named_by {
            if reference.key != manifest_key {
                return differs(&reference.key, "is not the manifest of the backup that the pointer names");
            }
            if reference.sha256 != sha256 || reference.size_bytes != size_bytes {
                return differs(&manifest_key, "has not the digest that the pointer pins");
            }
        }
        let manifest: Manifest = decode(&manifest_key, stored.manifest).map_err(unreadable)?;
        if manifest.min_reader > Self::READER {
            return differs(&manifest_key, "asks for a newer reader than this build");
        }
        if self_digest(stored.manifest) != manifest.self_sha256 {
            return differs(&manifest_key, "has not the digest that it records of itself");
        }
        if manifest.backup_id != *backup_id {
            return differs(&manifest_key, "is of another backup");
        }
        if manifest.verification < VerificationLevel::T1 {
            return differs(&manifest_key, "was not verified by reading every object");
        }
        let expectations_key = Key::Expectations(backup_id.clone()).to_string();
        let observed_key = Key::ObservedAfter(backup_id.clone()).to_string();
        if Sha256Digest::of(stored.expectations) != manifest.expectations_sha256 {
            return differs(&expectations_key, "has not the digest that the manifest records");
        }
        if Sha256Digest::of(stored.observed_after) != manifest.observed_after_sha256 {
            return differs(&observed_key, "has not the digest that the manifest records");
        }
        let rows = decode_catalogue(&manifest.catalogue, stored.catalogue)
            .map_err(|source| ProofError::Catalogue { backup_id: backup_id.clone(), source })?;
        let prefix = Key::backup_prefix(backup_id);
        if rows.is_empty() || !rows.iter().all(|r| r.key.starts_with(&prefix)) {
            return differs(&manifest.catalogue.key, "is empty or names objects of another backup");
        }
        if manifest.catalogue.t0.is_some_and(|level| level != T0Level::of(&rows)) {
            return differs(&manifest_key, "says of the catalogue's versions what its rows do not");
        }
        let expectations: Expectations = decode(&expectations_key, stored.expectations).map_err(unreadable)?;
        let observed_after: ObservedAfter = decode(&observed_key, stored.observed_after).map_err(unreadable)?;
        if expectations.backup_id != *backup_id || observed_after.backup_id != *backup_id {
            return differs(&expectations_key, "or its observation is of another backup");
        }
        let reference = ManifestRef {
            key: manifest_key,
            version_id: stored.manifest_version_id.map(str::to_owned),
            sha256,
            size_bytes,
        };
        Ok(Self { manifest, reference, rows, expectations, observed_after })
    }

    /// The reader major of this build.
    const READER: u32 = 1;

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest, pinned.
    pub fn reference(&self) -> &ManifestRef {
        &self.reference
    }

    /// The catalogue's rows, in key order.
    pub fn rows(&self) -> &[CatalogueRow] {
        &self.rows
    }

    /// What a restored node must show.
    pub fn expectations(&self) -> &Expectations {
        &self.expectations
    }

    /// What the node showed after SUCCESS.
    pub fn observed_after(&self) -> &ObservedAfter {
        &self.observed_after
    }
}
