//! Which invocation reads what, and what all their answers amount to.
//!
//! The plan depends on the objects alone, so planners that run twice, late or at once write the same shards. A shard's
//! answer is a part; folding holds that each object was answered exactly once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Finding, Note};
use crate::document::Document;
use crate::ids::{BackupId, Sha256Digest};
use crate::manifest::CatalogueRow;

/// The least that a shard is worth: about as long as a cold start.
pub const SHARD_COST_BYTES_MIN: u64 = 256 << 20;
/// At most so many shards, so that their parts are one listing page (R29).
pub const SHARDS_MAX: u64 = 1000;
/// What an object costs beyond its bytes: many tiny objects take their time in requests.
pub const OBJECT_COST_BYTES: u64 = 128 << 10;

/// What one invocation reads before its deadline. One object is read by one invocation, because SHA-256 is sequential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that an invocation surely reads and hashes in a second.
    pub rate_bytes_per_second: u64,
    /// Seconds that an invocation has for reading.
    pub seconds: u64,
}

impl Default for Limits {
    /// Two thirds of what a function is granted (600 Mbit/s, facts: aws.md §4.2), for all but a minute of 15 minutes.
    fn default() -> Self {
        Self { rate_bytes_per_second: 50 << 20, seconds: 840 }
    }
}

impl Limits {
    /// The largest object, and the largest shard.
    pub fn object_bytes_max(self) -> u64 {
        self.rate_bytes_per_second.saturating_mul(self.seconds)
    }

    /// The largest backup: [`SHARDS_MAX`] shards, each of which one invocation can read.
    pub fn backup_bytes_max(self) -> u64 {
        self.object_bytes_max().saturating_mul(SHARDS_MAX)
    }
}

/// An object to be read, pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardObject {
    /// The full key.
    pub key: String,
    /// Its listed bytes.
    pub size_bytes: u64,
    /// Its listed ETag.
    pub etag: String,
    /// Its listed version, absent on a store without versions.
    pub version_id: Option<String>,
}

/// `work/<id>/shard-<n>.json`: what one invocation reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// The backup.
    pub backup_id: BackupId,
    /// From 0.
    pub index: u32,
    /// Shards of the plan.
    pub of: u32,
    /// [`plan_digest`] of all objects of the plan.
    pub plan_sha256: Sha256Digest,
    /// The objects, in key order.
    pub objects: Vec<ShardObject>,
}

impl Document for Shard {
    const KIND: &'static str = "shard";
}

impl Shard {
    /// The sum of the objects' bytes.
    pub fn size_bytes(&self) -> u64 {
        self.objects.iter().map(|o| o.size_bytes).sum()
    }
}

/// `work/<id>/part-<n>.json`: what reading a shard gave. The same bytes whoever reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The backup.
    pub backup_id: BackupId,
    /// The shard's index.
    pub index: u32,
    /// The plan's shards.
    pub of: u32,
    /// The plan.
    pub plan_sha256: Sha256Digest,
    /// Objects read in full, in key order.
    pub rows: Vec<CatalogueRow>,
    /// What is wrong with the others.
    pub findings: Vec<Finding>,
    /// What is worth recording.
    pub notes: Vec<Note>,
}

impl Document for Part {
    const KIND: &'static str = "part";
}

/// SHA-256 over `<key>\t<version or ->\t<etag>\t<bytes>\n` of every object in key order.
pub fn plan_digest(objects: &[ShardObject]) -> Sha256Digest {
    let mut sorted: Vec<&ShardObject> = objects.iter().collect();
    sorted.sort();
    let text: String = sorted
        .iter()
        .map(|o| format!("{}\t{}\t{}\t{}\n", o.key, o.version_id.as_deref().unwrap_or("-"), o.etag, o.size_bytes))
        .collect();
    Sha256Digest::of(text.as_bytes())
}

/// Cuts the objects into shards of about equal cost, in key order: an object belongs to the shard in which its first
/// byte falls, so there are never more than [`SHARDS_MAX`]; a shard over what one invocation reads is cut again.
pub fn plan(backup_id: &BackupId, mut objects: Vec<ShardObject>, limits: Limits) -> Result<Vec<Shard>, Vec<Finding>> {
    let size_bytes_max = limits.object_bytes_max();
    let mut findings: Vec<Finding> = objects
        .iter()
        .filter(|o| o.size_bytes > size_bytes_max)
        .map(|o| Finding::ObjectTooLarge { key: o.key.clone(), size_bytes: o.size_bytes, size_bytes_max })
        .collect();
    let size_bytes = objects.iter().fold(0u64, |sum, o| sum.saturating_add(o.size_bytes));
    let too_large = || Finding::BackupTooLarge { size_bytes, size_bytes_max: limits.backup_bytes_max() };
    if size_bytes > limits.backup_bytes_max() {
        findings.push(too_large());
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    objects.sort();
    let plan_sha256 = plan_digest(&objects);
    let cost = |o: &ShardObject| o.size_bytes + OBJECT_COST_BYTES;
    let total: u64 = objects.iter().map(cost).sum();
    let target = SHARD_COST_BYTES_MIN.max(total.div_ceil(SHARDS_MAX));
    let mut groups: BTreeMap<u64, Vec<ShardObject>> = BTreeMap::new();
    let mut offset = 0u64;
    for object in objects {
        let cost = cost(&object);
        groups.entry(offset / target).or_default().push(object);
        offset += cost;
    }
    let groups: Vec<Vec<ShardObject>> = groups.into_values().flat_map(|g| readable(g, size_bytes_max)).collect();
    let of = u32::try_from(groups.len()).ok().filter(|of| u64::from(*of) <= SHARDS_MAX);
    let of = of.ok_or_else(|| vec![too_large()])?;
    Ok((0..of)
        .zip(groups)
        .map(|(index, objects)| Shard {
            backup_id: backup_id.clone(),
            index,
            of,
            plan_sha256: plan_sha256.clone(),
            objects,
        })
        .collect())
}

/// Cuts a group into runs that one invocation reads; no object is larger than that.
fn readable(group: Vec<ShardObject>, size_bytes_max: u64) -> Vec<Vec<ShardObject>> {
    let mut runs: Vec<Vec<ShardObject>> = Vec::with_capacity(1);
    let mut size_bytes = 0u64;
    for object in group {
        let fits = size_bytes.saturating_add(object.size_bytes) <= size_bytes_max;
        size_bytes = if fits { size_bytes } else { 0 } + object.size_bytes;
        match runs.last_mut() {
            Some(run) if fits => run.push(object),
            Some(_) | None => runs.push(vec![object]),
        }
    }
    runs
}

/// What all parts amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Every object read, in key order.
    pub rows: Vec<CatalogueRow>,
    /// What is wrong: the parts' findings and those of folding.
    pub findings: Vec<Finding>,
    /// The parts' notes.
    pub notes: Vec<Note>,
}

/// Folds all parts of a plan, holding each to its shard and all shards to one plan.
pub fn fold(backup_id: &BackupId, shards: &[Shard], parts: &[Part]) -> Fold {
    let mut fold = Fold { rows: Vec::new(), findings: Vec::new(), notes: Vec::new() };
    let of = shards.len();
    let all: Vec<ShardObject> = shards.iter().flat_map(|s| s.objects.iter().cloned()).collect();
    let plan_sha256 = plan_digest(&all);
    let differs = |index: usize, what: &str| Finding::PartDiffers {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        what: what.to_owned(),
    };
    if of == 0 || parts.len() != of {
        fold.findings.push(differs(parts.len(), "the number of parts is not the number of shards"));
        return fold;
    }
    for (index, (shard, part)) in shards.iter().zip(parts).enumerate() {
        let of_plan = |id: &BackupId, i: u32, n: u32, plan: &Sha256Digest| {
            id == backup_id && i as usize == index && n as usize == of && *plan == plan_sha256
        };
        if !of_plan(&shard.backup_id, shard.index, shard.of, &shard.plan_sha256) {
            fold.findings.push(differs(index, "its shard is of another plan"));
        } else if !of_plan(&part.backup_id, part.index, part.of, &part.plan_sha256) {
            fold.findings.push(differs(index, "it is of another plan"));
        } else if let Some(what) = unanswered(shard, part) {
            fold.findings.push(differs(index, &what));
        }
        fold.rows.extend(part.rows.iter().cloned());
        fold.findings.extend(part.findings.iter().cloned());
        fold.notes.extend(part.notes.iter().cloned());
    }
    fold.rows.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
    let before = fold.rows.len();
    fold.rows.dedup_by(|a, b| a.key == b.key);
    if fold.rows.len() != before {
        fold.findings.push(differs(0, "an object is in two parts"));
    }
    fold
}

/// What keeps a part from answering its shard: without findings it has exactly one row per object, as pinned; with
/// findings it has no row that the shard does not name.
fn unanswered(shard: &Shard, part: &Part) -> Option<String> {
    let mut open: BTreeMap<&str, &ShardObject> = shard.objects.iter().map(|o| (o.key.as_str(), o)).collect();
    for row in &part.rows {
        let Some(object) = open.remove(row.key.as_str()) else {
            return Some(format!("{} is not asked for, or twice", row.key));
        };
        let pinned = ShardObject {
            key: row.key.clone(),
            size_bytes: row.size_bytes,
            etag: row.etag.clone(),
            version_id: row.version_id.clone(),
        };
        if pinned != *object {
            return Some(format!("{} is not as pinned", row.key));
        }
    }
    match open.into_keys().next() {
        Some(key) if part.findings.is_empty() => Some(format!("{key} is not answered")),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests;
