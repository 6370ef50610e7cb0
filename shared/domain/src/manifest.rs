//! The immutable manifest of a backup and its catalogue.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::{Document, encode};
use crate::ids::{BackupId, Generation, InstanceId, Sha256Digest};
use crate::pointer::VerificationLevel;

/// What a backup holds, summed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// S3 objects in the catalogue.
    pub files: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// Weaviate objects, as counted before the backup.
    pub objects: u64,
    /// Collections.
    pub collections: u64,
}

/// Everything known about a published, held or refused backup. Written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The lowest reader major that may use this.
    pub min_reader: u32,
    /// The version of the tool that wrote it.
    pub tool_version: String,
    /// The cluster's name.
    pub cluster: String,
    /// The backup.
    pub backup_id: BackupId,
    /// What asked for it.
    pub trigger: Trigger,
    /// Where it was taken.
    pub source: Source,
    /// How exact its counts are.
    pub consistency: Consistency,
    /// The counts that say so.
    #[serde(default)]
    pub counts: Counts,
    /// What Weaviate's own descriptors say.
    pub engine: Engine,
    /// Every object of it.
    pub catalogue: Catalogue,
    /// The digest of `expectations.json`.
    pub expectations_sha256: Sha256Digest,
    /// The digest of `observed-after.json`.
    pub observed_after_sha256: Sha256Digest,
    /// How far it was verified.
    pub verification: VerificationLevel,
    /// What the guard decided when this was composed.
    pub decision: GuardDecision,
    /// What a restore needs.
    pub requirements: Requirements,
    /// What is in it.
    pub totals: Totals,
    /// S3's date of the run record written before the backup was asked for: the recovery point.
    pub data_as_of: Timestamp,
    /// S3's date of the last part: when verification ended.
    pub verified_at: Timestamp,
    /// True for the last backup of a node before it goes.
    pub is_final: bool,
    /// When Weaviate took it.
    #[serde(default)]
    pub timings: Timings,
    /// [`self_digest`] of its bytes, so that a manifest that no pointer names is held to something too.
    pub self_sha256: Sha256Digest,
}

impl Document for Manifest {
    const KIND: &'static str = "manifest";
    const MINOR: u32 = 1;
}

impl Manifest {
    /// The same with the digest of its own bytes in it.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.self_sha256 = self_digest(&encode(&self));
        self
    }
}

/// The line of a manifest's bytes that holds [`Manifest::self_sha256`]; two spaces, because it is at the top level.
const SELF_DIGEST_LINE: &[u8] = b"  \"self_sha256\": ";

/// The digest of a manifest's bytes without the line of its own digest: `grep -v '^  "self_sha256": ' | sha256sum`.
pub fn self_digest(bytes: &[u8]) -> Sha256Digest {
    let lines = bytes.split_inclusive(|b| *b == b'\n').filter(|line| !line.starts_with(SELF_DIGEST_LINE));
    Sha256Digest::of(&lines.collect::<Vec<_>>().concat())
}

/// Objects of each collection, as counted around the backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Before it was asked for.
    pub before: BTreeMap<String, u64>,
    /// After SUCCESS; absent when the node died first.
    pub after: Option<BTreeMap<String, u64>>,
}

/// When Weaviate began and ended, by its own clock: shown, never compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// `startedAt` of the global descriptor.
    pub started_at: Option<Timestamp>,
    /// Its `completedAt`.
    pub completed_at: Option<Timestamp>,
}

/// What asked for a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Trigger {
    /// A success marker of an indexing run.
    Marker {
        /// Its key.
        key: String,
        /// The dataset in it.
        dataset: String,
    },
    /// The schedule's interval has passed.
    Schedule,
    /// The owner is about to go.
    Terminate {
        /// The instance under the terminate hook.
        instance: InstanceId,
    },
    /// A person asked.
    Request {
        /// The request's id.
        id: String,
        /// Who, as they claim.
        by: String,
    },
}

/// Where a backup was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The generation of the node.
    pub generation: Generation,
    /// The Auto Scaling group.
    pub group: String,
    /// The instance.
    pub instance: InstanceId,
    /// Weaviate's node names, as the descriptor has them; one on a supported cluster.
    pub nodes: Vec<String>,
    /// Weaviate's version.
    pub weaviate_version: String,
}

/// How exact the counts of a backup are (DESIGN §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Counted equal before and after.
    Exact,
    /// Different before and after: the bracket is the expectation.
    Live,
    /// The node died after SUCCESS: only the counts before are known.
    OneSided,
}

/// What Weaviate's own descriptors say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Digest of `backup_config.json`.
    pub global_descriptor_sha256: Sha256Digest,
    /// Digest of each node's `backup.json`, by node name.
    pub node_descriptors_sha256: BTreeMap<String, Sha256Digest>,
    /// The classes asked for, sorted.
    pub requested_classes: Vec<String>,
    /// The classes in the descriptors, sorted.
    pub returned_classes: Vec<String>,
    /// The descriptor's `compressionType`.
    pub compression: String,
    /// The descriptor's structure version.
    pub structure_version: String,
    /// The base of an incremental backup, if any.
    pub base_backup_id: Option<String>,
}

/// Where the catalogue is, and what it sums to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// Its key.
    pub key: String,
    /// SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// Its rows.
    pub rows: u64,
    /// The sum of the rows' sizes.
    pub size_bytes: u64,
    /// [`root_digest`] of its rows.
    pub root_sha256: Sha256Digest,
    /// What a T0 of its rows is worth: `weak` where the store keeps no versions to hold them to.
    #[serde(default)]
    pub t0: Option<crate::verify::T0Level>,
}

/// One object of a backup, as it was read in full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CatalogueRow {
    /// The full key.
    pub key: String,
    /// Bytes read, equal to the listing's size.
    pub size_bytes: u64,
    /// SHA-256 of the bytes read.
    pub sha256: Sha256Digest,
    /// The ETag that pinned the read.
    pub etag: String,
    /// The version that pinned the read, absent on a store without versions.
    pub version_id: Option<String>,
}

/// The guard's decision, as composed into the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum GuardDecision {
    /// Good to be published.
    Publish,
    /// Good, but it must not become latest without approval.
    Hold {
        /// Why, each a typed reason's text.
        reasons: Vec<String>,
    },
    /// Good, but it may never become latest by itself (another lineage, older data, flips stopped).
    Refuse {
        /// Why.
        reasons: Vec<String>,
    },
}

/// What a node must bring to take this restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirements {
    /// The node name that must exist in the target.
    pub node_name: String,
    /// The oldest Weaviate that may restore it: the version it was taken with.
    pub weaviate_version_min: String,
    /// Bytes before compression, which the data directory must hold.
    pub uncompressed_size_bytes: u64,
}

/// The root digest of a catalogue: SHA-256 over what `sha256sum` prints for its objects under their full keys, in the
/// byte order of the names as printed; the same as `LC_ALL=C sort -k2 SHA256SUMS | sha256sum` over full keys
/// (docs/fixity.md has it worked by hand).
pub fn root_digest(rows: &[CatalogueRow]) -> Sha256Digest {
    Sha256Digest::of(sums(rows, "").as_bytes())
}

/// The rows as `sha256sum -c` reads them, names relative to `prefix`, in the byte order of the names as printed.
pub fn sums(rows: &[CatalogueRow], prefix: &str) -> String {
    let name = |row: &CatalogueRow| escaped(row.key.strip_prefix(prefix).unwrap_or(&row.key));
    let mut rows: Vec<(String, &Sha256Digest)> = rows.iter().map(|row| (name(row), &row.sha256)).collect();
    rows.sort();
    rows.iter().map(|(name, sha256)| sum_line(sha256, name) + "\n").collect()
}

/// One line of SHA256SUMS without its line feed; `name` as [`escaped`] gives it. A line whose name is escaped begins
/// with a backslash.
pub fn sum_line(sha256: &Sha256Digest, name: &str) -> String {
    let mark = if name.contains('\\') { "\\" } else { "" };
    format!("{mark}{sha256}  {name}")
}

/// A name as `sha256sum` prints it: backslash, line feed and carriage return as `\\`, `\n` and `\r` (coreutils 9), so
/// that a line is a line whatever a key holds.
pub fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

/// A line of SHA256SUMS read back: the digest, and the name without escapes. `None` for what is not one.
pub fn parse_sum_line(line: &str) -> Option<(Sha256Digest, String)> {
    let (marked, line) = line.strip_prefix('\\').map_or((false, line), |line| (true, line));
    let (digest, name) = line.split_at_checked(64)?;
    let digest = Sha256Digest::parse(&digest.to_ascii_lowercase()).ok()?;
    // Two spaces, or a space and a star: sha256sum's text and binary modes, which mean the same here.
    let name = name.strip_prefix("  ").or_else(|| name.strip_prefix(" *")).filter(|name| !name.is_empty())?;
    if !marked {
        return Some((digest, name.to_owned()));
    }
    let mut plain = String::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some((digest, plain))
}

/// The catalogue's bytes: one JSON row a line, in the byte order of the keys.
///
/// # Panics
/// Never: a row has only strings and numbers.
pub fn encode_catalogue(rows: &[CatalogueRow]) -> Vec<u8> {
    let mut rows: Vec<&CatalogueRow> = rows.iter().collect();
    rows.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
    let mut bytes = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut bytes, row).expect("a row has only strings and numbers");
        bytes.push(b'\n');
    }
    bytes
}

/// Why a catalogue cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A line is not a row.
    #[error("line {line} of the catalogue does not parse")]
    Row {
        /// From 1.
        line: usize,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// It does not have the digest, rows, bytes or root digest that the manifest says.
    #[error("the catalogue at {key} differs from its manifest in {what}; do not restore from it")]
    Differs {
        /// The catalogue's key.
        key: String,
        /// Which figure.
        what: &'static str,
    },
}

/// Reads a catalogue's bytes and holds them to what its manifest says of them.
pub fn decode_catalogue(expected: &Catalogue, bytes: &[u8]) -> Result<Vec<CatalogueRow>, CatalogueError> {
    let differs = |what| CatalogueError::Differs { key: expected.key.clone(), what };
    if Sha256Digest::of(bytes) != expected.sha256 {
        return Err(differs("its digest"));
    }
    let mut rows = Vec::new();
    for (line, text) in bytes.split(|b| *b == b'\n').enumerate().filter(|(_, text)| !text.is_empty()) {
        let row = serde_json::from_slice(text).map_err(|source| CatalogueError::Row { line: line + 1, source })?;
        rows.push(row);
    }
    let size_bytes: u64 = rows.iter().map(|r: &CatalogueRow| r.size_bytes).sum();
    if rows.len() as u64 != expected.rows {
        return Err(differs("its number of rows"));
    }
    if size_bytes != expected.size_bytes {
        return Err(differs("its bytes"));
    }
    if root_digest(&rows) != expected.root_sha256 {
        return Err(differs("its root digest"));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, bytes: &[u8]) -> CatalogueRow {
        CatalogueRow {
            key: key.into(),
            size_bytes: bytes.len() as u64,
            sha256: Sha256Digest::of(bytes),
            etag: "\"e\"".into(),
            version_id: Some("v".into()),
        }
    }

    fn described(rows: &[CatalogueRow]) -> (Catalogue, Vec<u8>) {
        let bytes = encode_catalogue(rows);
        let catalogue = Catalogue {
            key: "c".into(),
            sha256: Sha256Digest::of(&bytes),
            rows: rows.len() as u64,
            size_bytes: rows.iter().map(|r| r.size_bytes).sum(),
            root_sha256: root_digest(rows),
            t0: None,
        };
        (catalogue, bytes)
    }

    #[test]
    fn a_catalogue_reads_back_in_key_order_whatever_the_order_it_was_given_in() {
        let (a, b) = (row("backups/x/a", b"1"), row("backups/x/b", b"22"));
        let (expected, bytes) = described(&[b.clone(), a.clone()]);
        assert_eq!(described(&[a.clone(), b.clone()]).1, bytes);
        assert_eq!(decode_catalogue(&expected, &bytes).unwrap(), [a, b]);
    }

    #[test]
    fn a_resealed_catalogue_is_still_held_to_rows_bytes_and_root() {
        let rows = [row("a", b"1"), row("b", b"22")];
        let (mut expected, _) = described(&rows);
        let forged = encode_catalogue(&[row("a", b"1"), row("b", b"33")]);
        expected.sha256 = Sha256Digest::of(&forged);
        assert!(decode_catalogue(&expected, &forged).unwrap_err().to_string().contains("root digest"));
        let short = encode_catalogue(&rows[..1]);
        expected.sha256 = Sha256Digest::of(&short);
        assert!(decode_catalogue(&expected, &short).unwrap_err().to_string().contains("number of rows"));
    }

    #[test]
    fn sums_are_what_sha256sum_prints_relative_to_the_prefix() {
        let text = sums(&[row("backups/x/b", b""), row("backups/x/a", b"")], "backups/x/");
        assert_eq!(text, format!("{0}  a\n{0}  b\n", Sha256Digest::of(b"")));
    }

    #[test]
    fn a_name_with_a_line_feed_stays_one_line_and_reads_back() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (name, line) in [
            ("a b", format!("{empty}  a b")),
            ("x\ny", format!("\\{empty}  x\\ny")),
            ("b\\c", format!("\\{empty}  b\\\\c")),
            ("r\rq", format!("\\{empty}  r\\rq")),
        ] {
            assert_eq!(sums(&[row(name, b"")], ""), format!("{line}\n"));
            assert_eq!(parse_sum_line(&line), Some((Sha256Digest::of(b""), name.to_owned())));
        }
        assert_eq!(parse_sum_line(&format!("{empty} *a")), Some((Sha256Digest::of(b""), "a".to_owned())));
        for not in ["", "junk", empty, &format!("{empty}  "), &format!("\\{empty}  a\\x"), &format!("{empty}\ta")] {
            assert_eq!(parse_sum_line(not), None, "{not}");
        }
    }

    #[test]
    fn a_manifests_own_digest_is_of_every_byte_but_its_own_line() {
        let text = "{\n  \"a\": {\n    \"self_sha256\": \"x\"\n  },\n  \"self_sha256\": \"y\",\n  \"z\": 1\n}\n";
        let without = text.replace("  \"self_sha256\": \"y\",\n", "");
        assert_eq!(self_digest(text.as_bytes()), Sha256Digest::of(without.as_bytes()));
        assert_ne!(self_digest(text.as_bytes()), self_digest(text.replace("\"x\"", "\"w\"").as_bytes()));
    }

    #[test]
    fn two_rows_cannot_pose_as_one_by_a_line_feed_in_a_key() {
        let second = format!("b\n{}  c", Sha256Digest::of(b"2"));
        let forged = [CatalogueRow { key: second, ..row("b", b"1") }];
        assert_ne!(root_digest(&[row("b", b"1"), row("c", b"2")]), root_digest(&forged));
    }
}
