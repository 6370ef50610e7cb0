//! From parts to a manifest: fold, prove, decide, and write what is immutable.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use lifeboat_domain::Timestamp;
use lifeboat_domain::document::{Document, encode};
use lifeboat_domain::expectations::{Expectations, ObservedAfter};
use lifeboat_domain::flip::{Candidate, Decision, decide};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::manifest::sums;
use lifeboat_domain::verify::finding::EVIDENCE_NOTES_MAX;
use lifeboat_domain::verify::plan::fold;
use lifeboat_domain::verify::proof::Composition;
use lifeboat_domain::verify::{Finding, Part, Shard, ShardObject, T0Level, VerifiedBackup, VerifyEvidence};

use super::{FlipError, FlipPolicy, Ports, candidates::baseline, observe::observe};
use crate::history::rewritten_while_proving;
use crate::inventory::CATALOGUE_BYTES_MAX;
use crate::ports::bucket::{PutMode, PutOutcome};
use crate::ports::{Bucket, Clock};
use crate::store::{self, StoreError, Versioned};
use crate::verify_checksums::planning::read_descriptors;
use crate::verify_checksums::{VerifyError, shards::list_parts};

/// How many documents are read at once.
const READS_PARALLEL: usize = 16;

/// How far a backup came.
pub(super) enum Proved {
    /// Its manifest is written.
    Manifest,
    /// Something is still to come.
    Waiting(String),
    /// It is no proof.
    Failed(Vec<Finding>),
}

/// Writes the manifest of a backup whose shards are all answered and whose observation is recorded.
pub(super) async fn prove(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &FlipPolicy,
    backup_id: &BackupId,
    shards: u32,
) -> Result<Proved, FlipError> {
    let bucket = ports.bucket;
    let waiting = |why: &str| Ok(Proved::Waiting(why.to_owned()));
    if head(bucket, &Key::Manifest(backup_id.clone())).await? {
        return Ok(Proved::Manifest);
    }
    if shards == 0 {
        return waiting("it is not planned yet");
    }
    let work = list_parts(bucket, backup_id).await.map_err(FlipError::Store)?;
    if !work.is_answered(shards) {
        return Ok(Proved::Waiting(format!("{} of {shards} shards are answered", work.parts.len())));
    }
    let Some(observed) = read::<ObservedAfter>(bucket, &Key::ObservedAfter(backup_id.clone())).await? else {
        return waiting("observed-after.json is not there yet");
    };
    let Some(expectations) = read::<Expectations>(bucket, &Key::Expectations(backup_id.clone())).await? else {
        let key = Key::Expectations(backup_id.clone()).to_string();
        return Ok(Proved::Failed(vec![Finding::ObjectMissing { key }]));
    };
    let verified_at = (0..shards).filter_map(|n| work.parts.get(&n)).max().copied();
    let verified_at = verified_at.expect("a complete plan has parts");
    let proved = evidence(bucket, backup_id, shards, expectations, observed).await?;
    match proved {
        Ok(backup) => compose(ports, policy, &backup, verified_at).await,
        Err(findings) => Ok(Proved::Failed(findings)),
    }
}

async fn evidence(
    bucket: &impl Bucket,
    backup_id: &BackupId,
    shards: u32,
    expectations: Versioned<Expectations>,
    observed: Versioned<ObservedAfter>,
) -> Result<Result<VerifiedBackup, Vec<Finding>>, FlipError> {
    if let Some(finding) = rewritten_while_proving(bucket, backup_id).await.map_err(FlipError::Store)? {
        return Ok(Err(vec![finding]));
    }
    let shard_documents = read_all::<Shard>(bucket, shards, |n| Key::Shard(backup_id.clone(), n)).await?;
    let parts = read_all::<Part>(bucket, shards, |n| Key::Part(backup_id.clone(), n)).await?;
    let fold = fold(backup_id, &shard_documents, &parts);
    if !fold.findings.is_empty() {
        return Ok(Err(fold.findings));
    }
    let objects: BTreeMap<&str, &ShardObject> =
        shard_documents.iter().flat_map(|s| &s.objects).map(|o| (o.key.as_str(), o)).collect();
    let current = |path: &str| {
        let key = Key::BackupObject(backup_id.clone(), path.to_owned()).to_string();
        objects.get(key.as_str()).map(|o| (*o).clone())
    };
    let global_key = Key::backup_config(backup_id).to_string();
    let Some(global) = objects.get(global_key.as_str()) else {
        return Ok(Err(vec![Finding::ObjectMissing { key: global_key }]));
    };
    let descriptors = match read_descriptors(bucket, backup_id, global, current).await {
        Ok(Ok(descriptors)) => descriptors,
        Ok(Err(finding)) => return Ok(Err(vec![finding])),
        Err(VerifyError::Store(source)) => return Err(FlipError::Store(source)),
        Err(VerifyError::Record(source)) => return Err(FlipError::Record(source)),
    };
    Ok(VerifiedBackup::prove(
        backup_id,
        fold,
        descriptors,
        (expectations.value, &expectations.body),
        (observed.value, &observed.body),
    ))
}

/// Decides, and writes catalogue, sums, evidence and manifest in this order: whoever sees a manifest sees the rest.
async fn compose(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &FlipPolicy,
    backup: &VerifiedBackup,
    verified_at: Timestamp,
) -> Result<Proved, FlipError> {
    let bucket = ports.bucket;
    let backup_id = &backup.expectations().backup_id;
    let seen = observe(bucket).await?;
    let baseline = baseline(bucket, &seen, backup_id).await?;
    let candidate = Candidate::of(backup.expectations(), backup.observed_after());
    let decision = decide(&candidate, &seen.world(&policy.cluster, baseline.as_ref()), policy.limits);
    let decision = match (decision.recorded(), decision) {
        (Some(decision), _) => decision,
        (None, Decision::Wait(reason)) => return Ok(Proved::Waiting(reason.to_string())),
        (None, _) => return Ok(Proved::Waiting("there is no decision yet".to_owned())),
    };
    let manifest = backup.manifest(Composition {
        tool_version: &policy.tool_version,
        cluster: &policy.cluster,
        group: &policy.group,
        decision,
        verified_at,
    });
    let catalogue = Key::Catalogue(backup_id.clone());
    let prefix = Key::backup_prefix(backup_id);
    for (key, bytes) in
        [(catalogue, backup.catalogue()), (Key::Sums(backup_id.clone()), sums(backup.rows(), &prefix).into_bytes())]
    {
        if !create_same(bucket, &key, bytes).await? {
            return Ok(Proved::Failed(vec![Finding::ProofDiffers { key: key.to_string() }]));
        }
    }
    let evidence = VerifyEvidence {
        backup_id: backup_id.clone(),
        verified: true,
        findings: Vec::new(),
        notes: backup.notes().iter().take(EVIDENCE_NOTES_MAX).cloned().collect(),
        notes_total: backup.notes().len() as u64,
        objects_read: backup.rows().len() as u64,
        t0: Some(T0Level::of(backup.rows())),
    };
    let key = Key::Evidence(backup_id.clone(), "verify".to_owned(), verified_at);
    store::put(bucket, &key, encode(&evidence), PutMode::Create).await.map_err(FlipError::Store)?;
    // One that is there already was decided at another moment; it is read back, held to its digests, and stands.
    store::create(bucket, &Key::Manifest(backup_id.clone()), &manifest).await.map_err(FlipError::Store)?;
    Ok(Proved::Manifest)
}

/// Creates an object, or finds the same bytes there.
async fn create_same(bucket: &impl Bucket, key: &Key, bytes: Vec<u8>) -> Result<bool, FlipError> {
    let put = store::put(bucket, key, bytes.clone(), PutMode::Create).await.map_err(FlipError::Store)?;
    if put != PutOutcome::Lost {
        return Ok(true);
    }
    let text = key.to_string();
    let found = bucket.get(&text, CATALOGUE_BYTES_MAX).await;
    let found = found.map_err(|source| FlipError::Store(StoreError::Bucket { key: text, source }))?;
    Ok(found.is_some_and(|found| found.body == bytes))
}

async fn head(bucket: &impl Bucket, key: &Key) -> Result<bool, FlipError> {
    let key = key.to_string();
    let head = bucket.head(&key).await;
    Ok(head.map_err(|source| FlipError::Store(StoreError::Bucket { key, source }))?.is_some())
}

async fn read<T: Document>(bucket: &impl Bucket, key: &Key) -> Result<Option<Versioned<T>>, FlipError> {
    store::read(bucket, key).await.map_err(FlipError::Store)
}

async fn read_all<T: Document>(
    bucket: &impl Bucket,
    count: u32,
    key: impl Fn(u32) -> Key,
) -> Result<Vec<T>, FlipError> {
    let reads = (0..count).map(|n| {
        let key = key(n);
        async move { read::<T>(bucket, &key).await }
    });
    let mut reads = futures::stream::iter(reads).buffered(READS_PARALLEL);
    let mut documents = Vec::new();
    while let Some(read) = reads.next().await {
        documents.extend(read?.map(|r| r.value));
    }
    Ok(documents)
}
