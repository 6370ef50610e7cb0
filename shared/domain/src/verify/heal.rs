//! Healing: a backup whose verified versions still exist, but are no longer what a restore would read, is copied to
//! `healed/<id>/` version by version, and restored from there (DESIGN §5; review M10).
//!
//! The copies are held to the catalogue's SHA-256, one by one, and afterwards to what was recorded of them by one
//! listing, as T0 holds the backup itself. The backup's own prefix is never written.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::inventory::{Content, Inventory};
use super::t0::T0Summary;
use super::{ShardObject, etag};
use crate::document::Document;
use crate::ids::{BackupId, Sha256Digest};
use crate::keys::Key;
use crate::manifest::CatalogueRow;

/// What keeps a backup from being healed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum HealFinding {
    /// The catalogue has no row.
    #[error("the catalogue is empty; restore another backup")]
    EmptyCatalogue,
    /// The verified version is gone.
    #[error("{key} is gone in the version that was verified; restore another backup")]
    PinnedGone {
        /// The object.
        key: String,
    },
    /// The version has another size or ETag than it was verified with.
    #[error("{key} differs from the catalogue in its {what}; restore another backup")]
    PinnedDiffers {
        /// The object.
        key: String,
        /// In what.
        what: String,
    },
    /// The copy has other bytes than were verified.
    #[error(
        "the copy {key} reads as SHA-256 {copied}, the catalogue has {recorded}: the original's bytes changed at rest; \
         restore another backup"
    )]
    CopyDiffers {
        /// The copy.
        key: String,
        /// The catalogue's digest.
        recorded: Sha256Digest,
        /// The copy's.
        copied: Sha256Digest,
    },
    /// The copy could not be read back.
    #[error("the copy {key} cannot be read back: {detail}")]
    CopyUnreadable {
        /// The copy.
        key: String,
        /// Why.
        detail: String,
    },
    /// Something lies among the copies that is no copy.
    #[error("{key} is no copy of an object of the backup; find out who wrote it, and remove it")]
    Unexplained {
        /// The object.
        key: String,
    },
    /// The copy is not what was recorded of it.
    #[error("the copy {key} is not the one that was checked; it is copied again")]
    NotAsRecorded {
        /// The copy.
        key: String,
    },
}

/// What is to be done for one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The verified version.
    pub from: ShardObject,
    /// The copy's key.
    pub to: String,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// A copy that is there and has the right size: whether it is a good one is to be seen.
    pub there: Option<ShardObject>,
}

/// A copy that was held to the catalogue's SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HealedObject {
    /// Its path below `healed/<id>/`, the same as the original's below `backups/<id>/`.
    pub path: String,
    /// The version that was copied, absent on a store without versions.
    pub from_version_id: Option<String>,
    /// Its ETag.
    pub etag: String,
    /// Its version, absent on a store without versions.
    pub version_id: Option<String>,
}

/// `manifests/<id>/evidence/heal-<time>.json`: the backup can be restored from its copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealEvidence {
    /// The backup.
    pub backup_id: BackupId,
    /// The path that a restore is given in place of `backups`.
    pub path: String,
    /// What T0 said of the backup itself.
    pub t0: T0Summary,
    /// Every object of the catalogue, in key order.
    pub copies: Vec<HealedObject>,
}

impl Document for HealEvidence {
    const KIND: &'static str = "heal-evidence";
}

/// What must be copied or looked at, object by object, from what is under the backup and among its copies.
pub fn plan(
    backup_id: &BackupId,
    rows: &[CatalogueRow],
    originals: &Inventory,
    copies: &Inventory,
) -> Result<Vec<Step>, Vec<HealFinding>> {
    let mut findings = Vec::new();
    let mut steps = Vec::with_capacity(rows.len());
    if rows.is_empty() {
        findings.push(HealFinding::EmptyCatalogue);
    }
    for row in rows {
        match pinned(row, originals) {
            Err(finding) => findings.push(finding),
            Ok(from) => {
                let to = copy_key(backup_id, originals.path(&row.key));
                let there = copies.current(&to).map(|(_, copy)| copy).filter(|c| c.size_bytes == row.size_bytes);
                steps.push(Step { from, to, sha256: row.sha256.clone(), there });
            }
        }
    }
    let known: BTreeSet<&str> = rows.iter().map(|row| originals.path(&row.key)).collect();
    findings.extend(extra(&known, copies));
    if findings.is_empty() { Ok(steps) } else { Err(findings) }
}

/// Whether the copies are, now, the ones that were checked: what a restore from them would read. Empty when they are.
pub fn check(
    backup_id: &BackupId,
    rows: &[CatalogueRow],
    recorded: &[HealedObject],
    copies: &Inventory,
) -> Vec<HealFinding> {
    let prefix = Key::backup_prefix(backup_id);
    let mut findings = Vec::new();
    if rows.is_empty() {
        findings.push(HealFinding::EmptyCatalogue);
    }
    let paths: Vec<&str> = rows.iter().map(|row| row.key.strip_prefix(&prefix).unwrap_or(&row.key)).collect();
    let by_path: BTreeMap<&str, &HealedObject> = recorded.iter().map(|c| (c.path.as_str(), c)).collect();
    for (row, path) in rows.iter().zip(&paths) {
        let to = copy_key(backup_id, path);
        let now = copies.current(&to).map(|(_, copy)| copy);
        let same = by_path.get(path).zip(now).is_some_and(|(recorded, now)| {
            recorded.from_version_id == row.version_id
                && now.version_id == recorded.version_id
                && now.size_bytes == row.size_bytes
                && etag::same(&now.etag, &recorded.etag)
        });
        if !same {
            findings.push(HealFinding::NotAsRecorded { key: to });
        }
    }
    let known: BTreeSet<&str> = paths.into_iter().collect();
    findings.extend(extra(&known, copies));
    findings
}

fn copy_key(backup_id: &BackupId, path: &str) -> String {
    Key::HealedObject(backup_id.clone(), path.to_owned()).to_string()
}

fn pinned(row: &CatalogueRow, originals: &Inventory) -> Result<ShardObject, HealFinding> {
    let versions = originals.versions(&row.key);
    let found = versions.iter().find(|e| e.version_id == row.version_id && e.content != Content::DeleteMarker);
    let Some(Content::Object { size_bytes, etag }) = found.map(|e| &e.content) else {
        return Err(HealFinding::PinnedGone { key: row.key.clone() });
    };
    let differs = |what: &str| Err(HealFinding::PinnedDiffers { key: row.key.clone(), what: what.to_owned() });
    if *size_bytes != row.size_bytes {
        return differs("size");
    }
    if !etag::same(etag, &row.etag) {
        return differs("ETag");
    }
    let version_id = row.version_id.clone();
    Ok(ShardObject { key: row.key.clone(), size_bytes: *size_bytes, etag: etag.clone(), version_id })
}

fn extra(known: &BTreeSet<&str>, copies: &Inventory) -> Vec<HealFinding> {
    copies
        .keys()
        .filter(|key| copies.current(key).is_some() && !known.contains(copies.path(key)))
        .map(|key| HealFinding::Unexplained { key: key.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::inventory::Entry;
    use crate::verify::sample::{Sample, entry};
    use crate::verify::t0;

    fn copies(sample: &Sample, entries: Vec<Entry>) -> Inventory {
        Inventory::below(Key::healed_prefix(&sample.id), entries)
    }

    /// The copies of every object, as listed and as recorded.
    fn healed(sample: &Sample) -> (Vec<Entry>, Vec<HealedObject>) {
        let rows = sample.rows();
        let path = |row: &CatalogueRow| row.key.strip_prefix("backups/b_1/").unwrap().to_owned();
        let listed = |row: &CatalogueRow| entry(&format!("healed/b_1/{}", path(row)), &path(row), row.size_bytes);
        let recorded = |row: &CatalogueRow| HealedObject {
            path: path(row),
            from_version_id: row.version_id.clone(),
            etag: format!("\"{}\"", path(row)),
            version_id: Some(path(row)),
        };
        (rows.iter().map(listed).collect(), rows.iter().map(recorded).collect())
    }

    #[test]
    fn every_overwritten_or_hidden_object_is_copied_from_the_version_that_was_verified() {
        let sample = Sample::new();
        let rows = sample.rows();
        let mut entries = sample.entries.clone();
        for old in &mut entries {
            old.is_latest = false;
        }
        entries.extend(rows.iter().enumerate().map(|(n, row)| match n % 2 {
            0 => entry(&row.key, "newer", 3),
            _ => Entry { content: Content::DeleteMarker, ..entry(&row.key, "marker", 0) },
        }));
        let originals = Inventory::of(&sample.id, entries);
        assert!(t0::compare(&rows, &originals, 1).healable());
        let steps = plan(&sample.id, &rows, &originals, &copies(&sample, vec![])).unwrap();
        assert_eq!(steps.len(), rows.len());
        for (step, row) in steps.iter().zip(&rows) {
            assert_eq!((&step.from.key, &step.from.version_id), (&row.key, &row.version_id));
            assert_eq!(step.to, row.key.replace("backups/", "healed/"));
            assert_eq!((&step.sha256, &step.there), (&row.sha256, &None));
        }
        let (listed, _) = healed(&sample);
        let again = plan(&sample.id, &rows, &originals, &copies(&sample, listed)).unwrap();
        assert!(again.iter().all(|s| s.there.as_ref().is_some_and(|copy| copy.key == s.to)));
    }

    #[test]
    fn a_version_that_is_gone_or_differs_cannot_be_healed_and_what_is_no_copy_is_named() {
        type Break = fn(&mut Sample);
        let cases: Vec<(&str, Break)> = vec![
            ("is gone in the version", |s| s.entries.retain(|e| !e.key.ends_with("Article/chunk-1"))),
            ("in its size", |s| {
                let chunk = s.entries.iter_mut().find(|e| e.key.ends_with("Article/chunk-1")).unwrap();
                chunk.content = Content::Object { size_bytes: 11, etag: "\"Article/chunk-1\"".into() };
            }),
            ("in its ETag", |s| {
                let chunk = s.entries.iter_mut().find(|e| e.key.ends_with("Article/chunk-1")).unwrap();
                chunk.content = Content::Object { size_bytes: 10, etag: "\"other\"".into() };
            }),
        ];
        for (says, break_it) in cases {
            let mut sample = Sample::new();
            let rows = sample.rows();
            break_it(&mut sample);
            let originals = Inventory::of(&sample.id, sample.entries.clone());
            let findings = plan(&sample.id, &rows, &originals, &copies(&sample, vec![])).unwrap_err();
            assert!(findings.len() == 1 && findings[0].to_string().contains(says), "{says}: {findings:?}");
        }
        let sample = Sample::new();
        let originals = Inventory::of(&sample.id, sample.entries.clone());
        let strange = copies(&sample, vec![entry("healed/b_1/weaviate-0/X/chunk-1", "x", 1)]);
        let findings = plan(&sample.id, &sample.rows(), &originals, &strange).unwrap_err();
        assert!(matches!(&findings[..], [HealFinding::Unexplained { .. }]), "{findings:?}");
        let used = copies(&sample, vec![entry("healed/b_1/restore_config.json", "r", 1)]);
        assert!(plan(&sample.id, &sample.rows(), &originals, &used).is_ok());
        assert!(plan(&sample.id, &[], &originals, &used).is_err());
    }

    #[test]
    fn copies_count_only_as_long_as_they_are_the_ones_that_were_checked() {
        let sample = Sample::new();
        let rows = sample.rows();
        type Break = fn(&mut Vec<Entry>, &mut Vec<HealedObject>);
        let cases: Vec<(usize, Break)> = vec![
            (0, |_, _| {}),
            (0, |l, _| l.push(entry("healed/b_1/restore_config.json", "r", 1))),
            (1, |l, _| drop(l.pop())),
            (1, |_, r| drop(r.pop())),
            (1, |l, _| l[0].version_id = Some("other".into())),
            (1, |l, _| l[0].content = Content::DeleteMarker),
            (1, |_, r| r[0].from_version_id = None),
            (1, |_, r| r[0].etag = "\"other\"".into()),
            (1, |l, _| l.push(entry("healed/b_1/weaviate-0/X/chunk-1", "x", 1))),
        ];
        for (n, (expected, break_it)) in cases.into_iter().enumerate() {
            let (mut listed, mut recorded) = healed(&sample);
            break_it(&mut listed, &mut recorded);
            let findings = check(&sample.id, &rows, &recorded, &copies(&sample, listed));
            assert_eq!(findings.len(), expected, "case {n}: {findings:?}");
        }
        assert!(!check(&sample.id, &[], &[], &copies(&sample, vec![])).is_empty());
    }
}
