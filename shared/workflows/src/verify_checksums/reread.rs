//! T2: reads again what is protected, a slice at a time, and holds it to its catalogue (DESIGN §5).
//!
//! A slice is opened in `runs/verify-checksums/fixity.json` by compare-and-swap, its shards are written and read as those
//! of a verification are, and when all are answered they are held to the catalogue. What is found, and every full
//! reading, becomes evidence before the slice is closed. Nothing is deleted, no pointer moves.

use std::fmt;

use futures::{StreamExt as _, TryStreamExt as _};
use lifeboat_domain::Timestamp;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::verify::finding::Finding;
use lifeboat_domain::verify::fixity::{self, EVIDENCE_FINDINGS_MAX, FixityEvidence, FixityRun, OpenSlice};
use lifeboat_domain::verify::plan::{fold, plan};
use lifeboat_domain::verify::{Part, Shard, T0Summary, VerifiedManifest};

use super::record::{RACES_MAX, RecordError};
use super::{Advanced, Ports, VerifyAct, VerifyError, VerifyPolicy, planning, protected, shards};
use crate::inventory::{LoadError, Which, load_verified_manifest, t0};
use crate::ports::bucket::PutOutcome;
use crate::ports::{Bucket, Clock};
use crate::store::{self, StoreError};

/// How many parts are read at once.
const READS_PARALLEL: usize = 16;

/// What reading something again came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FixityOutcome {
    /// All of it is as the catalogue has it.
    Passed {
        /// Objects.
        objects: u64,
        /// Bytes.
        size_bytes: u64,
        /// Whether the backup is read to its end.
        complete: bool,
    },
    /// Something is wrong.
    Found {
        /// What.
        findings: Vec<Finding>,
        /// Where it is recorded.
        evidence: String,
    },
    /// What was found before still stands.
    Stands {
        /// What it was.
        reasons: Vec<String>,
    },
    /// Its manifest or what it vouches for cannot be relied upon.
    Unusable {
        /// Why.
        reason: String,
    },
    /// The backup is being let go of.
    Dropped,
}

impl FixityOutcome {
    /// Whether a person must look.
    pub fn attention(&self) -> bool {
        match self {
            Self::Passed { .. } | Self::Dropped => false,
            Self::Found { .. } | Self::Stands { .. } | Self::Unusable { .. } => true,
        }
    }
}

impl fmt::Display for FixityOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { objects, size_bytes, complete } => {
                let how = if *complete { "all read" } else { "read so far" };
                write!(f, "{objects} objects of {size_bytes} bytes are as catalogued, {how}")
            }
            Self::Found { findings, evidence } => {
                let first = findings.first().map_or_else(String::new, ToString::to_string);
                write!(f, "{} findings, recorded in {evidence}, first: {first}", findings.len())
            }
            Self::Stands { reasons } => write!(f, "still stands: {}", reasons.join("; ")),
            Self::Unusable { reason } => write!(f, "its proof does not hold: {reason}"),
            Self::Dropped => f.write_str("it is being let go of"),
        }
    }
}

/// The record; an absent one is empty.
pub(super) async fn read(bucket: &impl Bucket) -> Result<FixityRun, VerifyError> {
    let read = store::read::<FixityRun>(bucket, &Key::Fixity).await.map_err(VerifyError::Store)?;
    Ok(read.map(|r| r.value).unwrap_or_default())
}

/// Changes the record by compare-and-swap; nothing is written when nothing changes.
pub(super) async fn update(
    bucket: &impl Bucket,
    mut change: impl FnMut(&mut FixityRun),
) -> Result<FixityRun, VerifyError> {
    for _ in 0..RACES_MAX {
        let found = store::read::<FixityRun>(bucket, &Key::Fixity).await.map_err(VerifyError::Store)?;
        let before = found.as_ref().map(|r| r.value.clone()).unwrap_or_default();
        let mut run = before.clone();
        change(&mut run);
        if run == before {
            return Ok(run);
        }
        let etag = found.as_ref().map(|r| r.etag.as_str());
        if let PutOutcome::Written { .. } =
            store::swap(bucket, &Key::Fixity, etag, &run).await.map_err(VerifyError::Store)?
        {
            return Ok(run);
        }
    }
    Err(VerifyError::Record(RecordError::LostRaces { key: Key::Fixity.to_string() }))
}

/// Whether this slice is open.
pub(super) async fn is_open(bucket: &impl Bucket, name: &BackupId) -> Result<bool, VerifyError> {
    Ok(read(bucket).await?.open.is_some_and(|slice| slice.name == *name))
}

/// Goes on with the open slice, or opens the next one when it is time. Between looks it costs one read.
pub(super) async fn advance(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    until: Timestamp,
) -> Result<Advanced, VerifyError> {
    let run = read(ports.bucket).await?;
    match &run.open {
        Some(slice) => drive(ports, policy, slice, until).await,
        None if fixity::is_due(&run, policy.fixity, ports.clock.now()) => Ok((look(ports, policy, &run).await?, None)),
        None => Ok((Vec::new(), None)),
    }
}

fn act(backup_id: &BackupId, outcome: FixityOutcome) -> VerifyAct {
    VerifyAct::Fixity { backup_id: backup_id.clone(), outcome }
}

/// Looks at what is protected, tells again what stands, and opens the next slice.
async fn look(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    run: &FixityRun,
) -> Result<Vec<VerifyAct>, VerifyError> {
    let (bucket, now) = (ports.bucket, ports.clock.now());
    let seen = protected::look(bucket).await?;
    let stays = |id: &&BackupId| seen.protected.iter().any(|p| p.backup_id == **id);
    let mut acts: Vec<VerifyAct> = run
        .failing
        .keys()
        .filter(stays)
        .map(|id| act(id, FixityOutcome::Stands { reasons: run.failing[id].clone() }))
        .collect();
    for (id, reason) in &seen.unreadable {
        acts.push(act(id, FixityOutcome::Unusable { reason: reason.clone() }));
    }
    let choice = fixity::choose(run, &seen.protected, policy.fixity, now);
    let slices = run.slices;
    let Some(choice) = choice else {
        update(bucket, |run| run.looked(&seen.protected, policy.fixity, now)).await?;
        return Ok(acts);
    };
    let proof = match proof(bucket, &choice.backup_id).await? {
        Ok(proof) => proof,
        Err(reason) => {
            update(bucket, |run| {
                run.looked(&seen.protected, policy.fixity, now);
                run.unusable(&choice.backup_id, &reason, now);
            })
            .await?;
            acts.push(act(&choice.backup_id, FixityOutcome::Unusable { reason }));
            return Ok(acts);
        }
    };
    let cut = fixity::cut(proof.rows(), choice.after.as_deref(), choice.budget_bytes);
    let opened = update(bucket, |run| {
        if run.open.is_none() && run.slices == slices {
            run.looked(&seen.protected, policy.fixity, now);
            run.begin(&choice, proof.rows(), cut, now);
        }
    });
    if let Some(slice) = opened.await?.open {
        acts.push(write(ports, policy, &slice, &proof).await?);
    }
    Ok(acts)
}

/// The proof of a backup, or why there is none that can be relied upon.
async fn proof(bucket: &impl Bucket, backup_id: &BackupId) -> Result<Result<VerifiedManifest, String>, VerifyError> {
    match load_verified_manifest(bucket, Which::Backup(backup_id)).await {
        Ok(proof) => Ok(Ok(proof)),
        Err(LoadError::Store(error @ StoreError::Bucket { .. })) => Err(VerifyError::Store(error)),
        Err(error) => Ok(Err(super::chain(&error))),
    }
}

fn planned(policy: &VerifyPolicy, slice: &OpenSlice, proof: &VerifiedManifest) -> Result<Vec<Shard>, Vec<Finding>> {
    plan(&slice.name, fixity::objects(fixity::rows_of(proof.rows(), slice)), policy.limits)
}

/// Writes the shards of a slice, and records how many there are.
async fn write(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    slice: &OpenSlice,
    proof: &VerifiedManifest,
) -> Result<VerifyAct, VerifyError> {
    let bucket = ports.bucket;
    let shards = match planned(policy, slice, proof) {
        Ok(shards) => shards,
        Err(findings) => return close(ports, policy, slice, findings, ports.clock.now()).await,
    };
    if planning::write(bucket, &shards).await?.is_some() {
        // Names are single-use: these are of a record that was lost.
        update(bucket, |run| abandon(run, slice)).await?;
        let why = format!("{} was used before, so its slice begins anew under another name", slice.name);
        return Ok(VerifyAct::Waiting { backup_id: slice.backup_id.clone(), why });
    }
    let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    update(bucket, |run| {
        if let Some(open) = run.open.as_mut().filter(|open| open.name == slice.name) {
            open.shards = count;
        }
    })
    .await?;
    Ok(VerifyAct::Planned { backup_id: slice.name.clone(), shards: count })
}

fn abandon(run: &mut FixityRun, slice: &OpenSlice) {
    if run.open.as_ref().is_some_and(|open| open.name == slice.name) {
        run.open = None;
    }
}

/// Takes the open slice as far as it goes.
async fn drive(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    slice: &OpenSlice,
    until: Timestamp,
) -> Result<Advanced, VerifyError> {
    let bucket = ports.bucket;
    let work = shards::list_work(bucket, &slice.name).await.map_err(VerifyError::Store)?;
    let written = slice.shards > 0 && (0..slice.shards).all(|n| work.shards.contains_key(&n));
    if written && !work.is_answered(slice.shards) {
        let tries = shards::Tries::Slice(&slice.tries);
        let (mut acts, failed, end) = shards::redrive(ports, policy, (&slice.name, &work), tries, until).await?;
        if let Some(reason) = end {
            let findings = vec![Finding::Unfinished { reason }];
            acts.push(close(ports, policy, slice, findings, ports.clock.now()).await?);
        }
        return Ok((acts, failed));
    }
    let proof = match proof(bucket, &slice.backup_id).await? {
        Ok(proof) => proof,
        Err(reason) => return Ok((vec![lost(ports, slice, reason).await?], None)),
    };
    if !written {
        return Ok((vec![write(ports, policy, slice, &proof).await?], None));
    }
    let (findings, at) = answered(ports, policy, slice, &proof, &work).await?;
    Ok((vec![close_with(ports, policy, slice, findings, at, Some(&proof)).await?], None))
}

/// What the parts of a slice found, and S3's date of the last one.
async fn answered(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    slice: &OpenSlice,
    proof: &VerifiedManifest,
    work: &shards::Work,
) -> Result<(Vec<Finding>, Timestamp), VerifyError> {
    let at = (0..slice.shards).filter_map(|n| work.parts.get(&n)).max().copied();
    let at = at.unwrap_or_else(|| ports.clock.now());
    let shards = match planned(policy, slice, proof) {
        Ok(shards) => shards,
        Err(findings) => return Ok((findings, at)),
    };
    let reads = (0..slice.shards).map(|n| {
        let key = Key::Part(slice.name.clone(), n);
        async move { store::read::<Part>(ports.bucket, &key).await.map_err(VerifyError::Store) }
    });
    let parts: Vec<_> = futures::stream::iter(reads).buffered(READS_PARALLEL).try_collect().await?;
    let parts: Vec<Part> = parts.into_iter().flatten().map(|part| part.value).collect();
    let rows = fixity::rows_of(proof.rows(), slice);
    Ok((fixity::compare(rows, fold(&slice.name, &shards, &parts)), at))
}

/// The proof of a backup went away while it was read: that it is let go of, or something to look at.
async fn lost(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    slice: &OpenSlice,
    reason: String,
) -> Result<VerifyAct, VerifyError> {
    let now = ports.clock.now();
    if goes(ports.bucket, &slice.backup_id).await? {
        update(ports.bucket, |run| drop_backup(run, slice)).await?;
        return Ok(act(&slice.backup_id, FixityOutcome::Dropped));
    }
    update(ports.bucket, |run| {
        abandon(run, slice);
        run.asked.retain(|id| *id != slice.backup_id);
        run.unusable(&slice.backup_id, &reason, now);
    })
    .await?;
    Ok(act(&slice.backup_id, FixityOutcome::Unusable { reason }))
}

fn drop_backup(run: &mut FixityRun, slice: &OpenSlice) {
    if run.open.as_ref().is_some_and(|open| open.name == slice.name) {
        run.abandon();
    }
}

/// Whether a backup is being let go of, or gone.
async fn goes(bucket: &impl Bucket, backup_id: &BackupId) -> Result<bool, VerifyError> {
    let standing = crate::standing::of(bucket, backup_id).await.map_err(VerifyError::Store)?;
    Ok(standing.tombstone().is_some() || standing.deleted().is_some())
}

async fn close(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    slice: &OpenSlice,
    findings: Vec<Finding>,
    at: Timestamp,
) -> Result<VerifyAct, VerifyError> {
    close_with(ports, policy, slice, findings, at, None).await
}

/// Closes a slice: evidence first, named by the date of its last part so that a repetition meets it, then the record.
async fn close_with(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    slice: &OpenSlice,
    mut findings: Vec<Finding>,
    at: Timestamp,
    proof: Option<&VerifiedManifest>,
) -> Result<VerifyAct, VerifyError> {
    let bucket = ports.bucket;
    let mut summary: Option<T0Summary> = None;
    if let Some(proof) = proof.filter(|_| slice.completes) {
        let outcome = t0(bucket, proof.manifest(), proof.rows()).await.map_err(VerifyError::Store)?;
        let of_t0 = outcome.summary();
        if let Some(first) = of_t0.first.clone() {
            findings.push(Finding::RestoreRefuses { findings: of_t0.findings, first });
        }
        summary = Some(of_t0);
    }
    if !findings.is_empty() && goes(bucket, &slice.backup_id).await? {
        update(bucket, |run| drop_backup(run, slice)).await?;
        return Ok(act(&slice.backup_id, FixityOutcome::Dropped));
    }
    let total_bytes = protected::look(bucket).await?.size_bytes();
    let now = ports.clock.now();
    let mut sweep = None;
    let mut seen = read(bucket).await?;
    if seen.open.as_ref().is_some_and(|open| open.name == slice.name) {
        sweep = seen.end(&findings, (total_bytes, at), policy.fixity, now);
    }
    let Some(sweep) = sweep else {
        return Ok(VerifyAct::Waiting { backup_id: slice.backup_id.clone(), why: "its slice is closed".to_owned() });
    };
    let key = Key::Evidence(slice.backup_id.clone(), "fixity".to_owned(), at);
    if slice.completes || !findings.is_empty() {
        let evidence = FixityEvidence {
            backup_id: slice.backup_id.clone(),
            passed: sweep.reasons.is_empty(),
            complete: slice.completes,
            asked: slice.asked,
            objects_read: sweep.objects,
            bytes_read: sweep.size_bytes,
            findings: findings.iter().take(EVIDENCE_FINDINGS_MAX).cloned().collect(),
            findings_total: findings.len() as u64,
            t0: summary,
        };
        store::create(bucket, &key, &evidence).await.map_err(VerifyError::Store)?;
    }
    update(bucket, |run| {
        if run.open.as_ref().is_some_and(|open| open.name == slice.name) {
            run.end(&findings, (total_bytes, at), policy.fixity, now);
        }
    })
    .await?;
    let outcome = if findings.is_empty() {
        let (objects, size_bytes) = (sweep.objects, sweep.size_bytes);
        FixityOutcome::Passed { objects, size_bytes, complete: slice.completes }
    } else {
        FixityOutcome::Found { findings, evidence: key.to_string() }
    };
    Ok(act(&slice.backup_id, outcome))
}

#[cfg(test)]
mod tests;
