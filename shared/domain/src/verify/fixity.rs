//! T2: what the pointer protects is read again, a slice at a time, and held to its catalogue (DESIGN §5).
//!
//! A backup is due half a period after its last full reading, at first that of its verification; the reading is paced
//! so that everything due is done within the other half. So each object is read once in a period, and no hour has much
//! more to read than another. A slice goes through the same shards and parts as a verification; what they give is held
//! to the catalogue. A mismatch is recorded and stands until a clean reading; nothing is ever deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::t0::T0Summary;
use super::{Finding, Fold, ShardObject};
use crate::document::Document;
use crate::ids::{BackupId, Sha256Digest};
use crate::manifest::CatalogueRow;
use crate::runs::ShardTry;

/// How often everything is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Within which everything that is protected is read once; zero reads nothing but what people ask for.
    pub period: Duration,
    /// How often the protected backups are looked at, and what is due is cut into a slice.
    pub look_every: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { period: Duration::from_hours(30 * 24), look_every: Duration::from_hours(1) }
    }
}

/// `runs/verify-checksums/fixity.json`: how far the re-reading has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixityRun {
    /// The slice that is being read.
    pub open: Option<OpenSlice>,
    /// When to look for the next slice, by our clock: it paces.
    pub next_at: Option<Timestamp>,
    /// Slices begun so far: part of a slice's name.
    pub slices: u64,
    /// How far each protected backup is.
    pub sweeps: BTreeMap<BackupId, Sweep>,
    /// Backups whose newest reading found something, with the reasons; told again at each look.
    pub failing: BTreeMap<BackupId, Vec<String>>,
    /// Backups that people asked to be read now, oldest first.
    pub asked: Vec<BackupId>,
    /// Ids of requests already acted upon, newest last.
    pub handled_requests: Vec<String>,
}

impl Document for FixityRun {
    const KIND: &'static str = "fixity-run";
}

/// How far a backup is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// The last key that was read, while a reading is under way.
    pub through: Option<String>,
    /// Objects read in it.
    pub objects: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// Reasons found in it.
    pub reasons: Vec<String>,
    /// When the newest full reading ended: S3's date of its last part.
    pub completed_at: Option<Timestamp>,
}

/// A slice of a backup's catalogue, under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSlice {
    /// What its shards and parts are filed under, in place of a backup's id.
    pub name: BackupId,
    /// The backup.
    pub backup_id: BackupId,
    /// It begins after this key; `None` is the beginning.
    pub after: Option<String>,
    /// It ends with this key.
    pub through: String,
    /// Whether that is the last one.
    pub completes: bool,
    /// Whether a person asked for it.
    pub asked: bool,
    /// Its objects.
    pub objects: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// Its shards; 0 while none are written.
    pub shards: u32,
    /// Shards that nobody answered in time.
    #[serde(default)]
    pub tries: BTreeMap<u32, ShardTry>,
}

/// `manifests/<id>/evidence/fixity-<time>.json`: a full reading that ended, or what a slice of one found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixityEvidence {
    /// The backup.
    pub backup_id: BackupId,
    /// Whether every byte that was read is as the catalogue has it, and a restore would read these bytes.
    pub passed: bool,
    /// Whether every object was read.
    pub complete: bool,
    /// Whether a person asked for it.
    pub asked: bool,
    /// Objects read since the reading began.
    pub objects_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// The first [`EVIDENCE_FINDINGS_MAX`] findings.
    pub findings: Vec<Finding>,
    /// How many there were.
    pub findings_total: u64,
    /// T0 at the end of a full reading.
    pub t0: Option<T0Summary>,
}

/// Findings kept in an evidence file.
pub const EVIDENCE_FINDINGS_MAX: usize = 1000;

impl Document for FixityEvidence {
    const KIND: &'static str = "fixity-evidence";
}

/// A protected backup, as its manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// Its id.
    pub backup_id: BackupId,
    /// When its verification ended.
    pub verified_at: Timestamp,
    /// Its bytes.
    pub size_bytes: u64,
}

/// What to read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Of this backup.
    pub backup_id: BackupId,
    /// After this key.
    pub after: Option<String>,
    /// About so many bytes, at least one object.
    pub budget_bytes: u64,
    /// Whether a person asked for it.
    pub asked: bool,
}

const SLICE_NAME: &str = "fixity_";

/// Whether shards filed under this id are of a slice, and not of a backup's verification.
pub fn is_slice(id: &BackupId) -> bool {
    id.as_str().starts_with(SLICE_NAME)
}

/// Whether it is time to look at the protected backups.
pub fn is_due(run: &FixityRun, policy: Policy, now: Timestamp) -> bool {
    let scheduled = !policy.period.is_zero() && run.next_at.is_none_or(|at| at <= now);
    run.open.is_none() && (!run.asked.is_empty() || scheduled)
}

/// What to read next: first what people asked for, then the reading under way, then what was not read for longest.
pub fn choose(run: &FixityRun, protected: &[Protected], policy: Policy, now: Timestamp) -> Option<Choice> {
    if let Some(backup_id) = run.asked.first() {
        let backup_id = backup_id.clone();
        return Some(Choice { backup_id, after: None, budget_bytes: u64::MAX, asked: true });
    }
    if policy.period.is_zero() || run.next_at.is_some_and(|at| at > now) {
        return None;
    }
    let half = policy.period / 2;
    let is_due = |read_at: Timestamp| now.duration_since(read_at) >= signed(half);
    let due = protected.iter().filter_map(|backup| {
        let sweep = run.sweeps.get(&backup.backup_id);
        let under_way = sweep.is_some_and(|s| s.through.is_some());
        let read_at = sweep.and_then(|s| s.completed_at).map_or(backup.verified_at, |at| at.max(backup.verified_at));
        (under_way || is_due(read_at)).then_some((!under_way, read_at, &backup.backup_id))
    });
    let (_, _, backup_id) = due.min()?;
    let total_bytes: u128 = protected.iter().map(|b| u128::from(b.size_bytes)).sum();
    let budget_bytes = (total_bytes * policy.look_every.as_nanos()).div_ceil(half.as_nanos().max(1));
    Some(Choice {
        backup_id: backup_id.clone(),
        after: run.sweeps.get(backup_id).and_then(|s| s.through.clone()),
        budget_bytes: u64::try_from(budget_bytes).unwrap_or(u64::MAX),
        asked: false,
    })
}

/// The rows of a slice: those after the key, at least one, until the budget is used up.
pub fn cut<'r>(rows: &'r [CatalogueRow], after: Option<&str>, budget_bytes: u64) -> &'r [CatalogueRow] {
    let start = rows.partition_point(|row| after.is_some_and(|after| row.key.as_str() <= after));
    let rest = &rows[start..];
    let mut size_bytes = 0u64;
    let fits = |row: &&CatalogueRow| {
        let before = size_bytes;
        size_bytes = size_bytes.saturating_add(row.size_bytes);
        before == 0 || size_bytes <= budget_bytes
    };
    let count = rest.iter().take_while(fits).count();
    &rest[..count]
}

/// The rows of a slice that was opened.
pub fn rows_of<'r>(rows: &'r [CatalogueRow], slice: &OpenSlice) -> &'r [CatalogueRow] {
    let through = |key: &str| rows.partition_point(|row| row.key.as_str() <= key);
    let (start, end) = (slice.after.as_deref().map_or(0, through), through(&slice.through));
    rows.get(start..end).unwrap_or(&[])
}

/// The objects of these rows, pinned as the catalogue has them.
pub fn objects(rows: &[CatalogueRow]) -> Vec<ShardObject> {
    let pinned = |row: &CatalogueRow| ShardObject {
        key: row.key.clone(),
        size_bytes: row.size_bytes,
        etag: row.etag.clone(),
        version_id: row.version_id.clone(),
    };
    rows.iter().map(pinned).collect()
}

impl FixityRun {
    /// Drops what is no longer protected, and says when to look again if nothing is due.
    pub fn looked(&mut self, protected: &[Protected], policy: Policy, now: Timestamp) {
        let stays = |id: &BackupId| protected.iter().any(|p| p.backup_id == *id);
        self.sweeps.retain(|id, _| stays(id));
        self.failing.retain(|id, _| stays(id));
        if self.next_at.is_none_or(|at| at <= now) {
            self.next_at = now.checked_add(signed(policy.look_every)).ok();
        }
    }

    /// Opens a slice. `all` are the backup's rows, `cut` those of the slice.
    pub fn begin(&mut self, choice: &Choice, all: &[CatalogueRow], cut: &[CatalogueRow], now: Timestamp) {
        let (Some(last), Some(end)) = (cut.last(), all.last()) else { return };
        self.slices += 1;
        let name = format!("{SLICE_NAME}{}_{}", now.strftime("%Y-%m-%dt%H%M%Sz"), self.slices);
        self.open = Some(OpenSlice {
            name: BackupId::parse(&name).expect("a slice's name is of lower-case letters and digits"),
            backup_id: choice.backup_id.clone(),
            after: choice.after.clone(),
            through: last.key.clone(),
            completes: last.key == end.key,
            asked: choice.asked,
            objects: cut.len() as u64,
            size_bytes: cut.iter().map(|row| row.size_bytes).sum(),
            shards: 0,
            tries: BTreeMap::new(),
        });
    }

    /// Closes the open slice with what it found; `total_bytes` are those of everything protected, `read_at` is S3's date
    /// of the last part. Gives the backup's sweep as it is now.
    pub fn end(
        &mut self,
        findings: &[Finding],
        (total_bytes, read_at): (u64, Timestamp),
        policy: Policy,
        now: Timestamp,
    ) -> Option<Sweep> {
        let slice = self.open.take()?;
        let sweep = self.sweeps.entry(slice.backup_id.clone()).or_default();
        if slice.after.is_none() {
            *sweep = Sweep { completed_at: sweep.completed_at, ..Sweep::default() };
        }
        sweep.objects += slice.objects;
        sweep.size_bytes += slice.size_bytes;
        sweep.reasons.extend(super::finding::reasons(findings));
        sweep.reasons.truncate(REASONS_MAX);
        sweep.through = Some(slice.through);
        if !sweep.reasons.is_empty() {
            self.failing.insert(slice.backup_id.clone(), sweep.reasons.clone());
        } else if slice.completes {
            self.failing.remove(&slice.backup_id);
        }
        let now_is = sweep.clone();
        if slice.completes {
            *sweep = Sweep { completed_at: Some(read_at), ..Sweep::default() };
        }
        if slice.asked {
            self.asked.retain(|id| *id != slice.backup_id);
        } else {
            // What was read is worth this much of the half period that there is for everything.
            let worth = (policy.period / 2).as_nanos() * u128::from(slice.size_bytes) / u128::from(total_bytes.max(1));
            let worth = Duration::from_nanos(u64::try_from(worth).unwrap_or(u64::MAX)).min(policy.look_every);
            self.next_at = now.checked_add(signed(worth)).ok();
        }
        Some(now_is)
    }

    /// Records that the proof of a backup cannot be relied upon; it is tried again when it is due again.
    pub fn unusable(&mut self, backup_id: &BackupId, reason: &str, now: Timestamp) {
        self.asked.retain(|id| id != backup_id);
        self.failing.insert(backup_id.clone(), vec![reason.to_owned()]);
        self.sweeps.insert(backup_id.clone(), Sweep { completed_at: Some(now), ..Sweep::default() });
    }

    /// Lets go of the open slice without a result: its backup is going, or has gone.
    pub fn abandon(&mut self) {
        if let Some(slice) = self.open.take() {
            self.asked.retain(|id| *id != slice.backup_id);
            self.sweeps.remove(&slice.backup_id);
            self.failing.remove(&slice.backup_id);
        }
    }
}

/// Reasons kept of one reading.
const REASONS_MAX: usize = 20;

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// What the parts of a slice found: what is wrong with the reading, and every object whose bytes are not the
/// catalogue's.
pub fn compare(rows: &[CatalogueRow], fold: Fold) -> Vec<Finding> {
    let recorded: BTreeMap<&str, &Sha256Digest> = rows.iter().map(|row| (row.key.as_str(), &row.sha256)).collect();
    let mut findings = fold.findings;
    for row in fold.rows {
        match recorded.get(row.key.as_str()) {
            Some(recorded) if **recorded == row.sha256 => {}
            Some(recorded) => {
                let (recorded, computed) = ((*recorded).clone(), row.sha256);
                findings.push(Finding::Sha256Differs { key: row.key, recorded, computed });
            }
            None => findings.push(Finding::Unexplained { key: row.key }),
        }
    }
    findings
}

#[cfg(test)]
mod tests;
