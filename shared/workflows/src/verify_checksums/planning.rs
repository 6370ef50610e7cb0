//! Opening a verification, and planning it.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use lifeboat_domain::expectations::Expectations;
use lifeboat_domain::ids::{BackupId, Sha256Digest};
use lifeboat_domain::keys::Key;
use lifeboat_domain::runs::{OpenVerification, VerifyRun};
use lifeboat_domain::verify::descriptors::{self, Descriptors};
use lifeboat_domain::verify::{Finding, Shard, ShardObject, plan};
use lifeboat_domain::weaviate::OperationStatus;

use super::{VerifyAct, VerifyError, record};
use crate::inventory::{inventory, read_whole};
use crate::ports::Bucket;
use crate::ports::bucket::PutOutcome;
use crate::store::{self, DOCUMENT_BYTES_MAX, StoreError};

/// How many shard files are written at once.
const WRITES_PARALLEL: usize = 16;

/// Opens the verification of a backup that is due: `backup_config.json` says SUCCESS (or nothing that can be read),
/// expectations are recorded, and there is neither a verdict nor a manifest.
pub(super) async fn open(
    bucket: &impl Bucket,
    run: &VerifyRun,
    backup_id: &BackupId,
) -> Result<Result<(), VerifyAct>, VerifyError> {
    let waiting = |why: &str| Ok(Err(VerifyAct::Waiting { backup_id: backup_id.clone(), why: why.to_owned() }));
    if run.open.contains_key(backup_id) {
        return Ok(Ok(()));
    }
    if record::verdict(run, backup_id).is_some() {
        return waiting("its verdict is recorded");
    }
    let global = Key::backup_config(backup_id).to_string();
    let fault = |source| VerifyError::Store(StoreError::Bucket { key: global.clone(), source });
    let Some(stored) = bucket.get(&global, DOCUMENT_BYTES_MAX).await.map_err(fault)? else {
        return waiting("it has no backup_config.json yet");
    };
    let status = descriptors::parse_global(backup_id, &stored.body).map(|d| d.status);
    if status.as_ref().is_ok_and(|status| *status != OperationStatus::Success) {
        return waiting("backup_config.json does not say SUCCESS");
    }
    let expectations = store::read::<Expectations>(bucket, &Key::Expectations(backup_id.clone())).await;
    if expectations.map_err(VerifyError::Store)?.is_none() {
        return waiting("it has no expectations.json: it was not asked for by create-backup");
    }
    let manifest = Key::Manifest(backup_id.clone()).to_string();
    let fault = |source| VerifyError::Store(StoreError::Bucket { key: manifest.clone(), source });
    if bucket.head(&manifest).await.map_err(fault)?.is_some() {
        return waiting("its manifest is written");
    }
    record::update(bucket, |run| {
        if record::verdict(run, backup_id).is_none() {
            run.open.entry(backup_id.clone()).or_insert(OpenVerification::default());
        }
    })
    .await
    .map_err(VerifyError::Record)?;
    Ok(Ok(()))
}

/// Plans an open verification: holds descriptors to the listing, writes the shards, and records how many. Repeating it
/// writes nothing new.
pub(super) async fn plan(
    bucket: &impl Bucket,
    limits: plan::Limits,
    backup_id: &BackupId,
) -> Result<VerifyAct, VerifyError> {
    let findings = match objects(bucket, backup_id).await? {
        Ok(objects) => match plan::plan(backup_id, objects, limits) {
            Ok(shards) => match write(bucket, &shards).await? {
                None => return recorded(bucket, backup_id, shards.len()).await,
                Some(finding) => vec![finding],
            },
            Err(findings) => findings,
        },
        Err(findings) => findings,
    };
    record::fail(bucket, backup_id, &findings).await.map_err(VerifyError::Record)?;
    Ok(VerifyAct::Failed { backup_id: backup_id.clone(), findings })
}

async fn recorded(bucket: &impl Bucket, backup_id: &BackupId, shards: usize) -> Result<VerifyAct, VerifyError> {
    let shards = u32::try_from(shards).expect("at most plan::SHARDS_MAX");
    let set = |run: &mut VerifyRun| {
        if let Some(open) = run.open.get_mut(backup_id) {
            open.shards = shards;
        }
    };
    record::update(bucket, set).await.map_err(VerifyError::Record)?;
    Ok(VerifyAct::Planned { backup_id: backup_id.clone(), shards })
}

/// The objects to be read, once listing, descriptors and expectations agree.
async fn objects(
    bucket: &impl Bucket,
    backup_id: &BackupId,
) -> Result<Result<Vec<ShardObject>, Vec<Finding>>, VerifyError> {
    let (inventory, _) = inventory(bucket, backup_id).await.map_err(VerifyError::Store)?;
    let expectations = store::read::<Expectations>(bucket, &Key::Expectations(backup_id.clone())).await;
    let Some(expectations) = expectations.map_err(VerifyError::Store)? else {
        let key = Key::Expectations(backup_id.clone()).to_string();
        return Ok(Err(vec![Finding::ObjectMissing { key }]));
    };
    let current = |path: &str| {
        let key = Key::BackupObject(backup_id.clone(), path.to_owned()).to_string();
        inventory.current(&key).map(|(_, object)| object)
    };
    let Some(global) = current(descriptors::GLOBAL_PATH) else {
        return Ok(Err(vec![Finding::ObjectMissing { key: Key::backup_config(backup_id).to_string() }]));
    };
    let descriptors = match read_descriptors(bucket, backup_id, &global, current).await? {
        Ok(descriptors) => descriptors,
        Err(finding) => return Ok(Err(vec![finding])),
    };
    let based_on = based_on(bucket, &descriptors).await?;
    let mut findings = inventory.overwritten();
    let sizes = inventory.sizes();
    findings.extend(descriptors::check(backup_id, &sizes, &based_on, &descriptors, &expectations.value));
    findings.sort();
    Ok(if findings.is_empty() { Ok(inventory.objects()) } else { Err(findings) })
}

/// What is there of the backups that this one builds on; a name that is no backup's has nothing.
async fn based_on(
    bucket: &impl Bucket,
    descriptors: &Descriptors,
) -> Result<BTreeMap<String, descriptors::Sizes>, VerifyError> {
    let mut found = BTreeMap::new();
    for base in descriptors::bases(descriptors) {
        if let Ok(id) = BackupId::parse(&base) {
            let (inventory, _) = inventory(bucket, &id).await.map_err(VerifyError::Store)?;
            found.insert(base, inventory.sizes());
        }
    }
    Ok(found)
}

/// Reads all descriptors at the versions that the listing pinned. A node without one is left out, for the check to
/// find.
pub(crate) async fn read_descriptors(
    bucket: &impl Bucket,
    backup_id: &BackupId,
    global: &ShardObject,
    current: impl Fn(&str) -> Option<ShardObject>,
) -> Result<Result<Descriptors, Finding>, VerifyError> {
    let bytes = match read_whole(bucket, global).await.map_err(VerifyError::Store)? {
        Ok(bytes) => bytes,
        Err(finding) => return Ok(Err(finding)),
    };
    let parsed = match descriptors::parse_global(backup_id, &bytes) {
        Ok(parsed) => parsed,
        Err(finding) => return Ok(Err(finding)),
    };
    let mut nodes = BTreeMap::new();
    for node in parsed.nodes.keys() {
        let Some(object) = current(&descriptors::node_path(node)) else {
            continue;
        };
        let read = read_whole(bucket, &object).await.map_err(VerifyError::Store)?;
        let parsed = read.and_then(|bytes| {
            let descriptor = descriptors::parse_node(backup_id, node, &bytes)?;
            Ok((descriptor, Sha256Digest::of(&bytes)))
        });
        match parsed {
            Ok(descriptor) => nodes.insert(node.clone(), descriptor),
            Err(finding) => return Ok(Err(finding)),
        };
    }
    Ok(Ok(Descriptors { global: parsed, global_sha256: Sha256Digest::of(&bytes), nodes }))
}

/// Writes the shards that are not there. One that is there must be of the same plan: another plan means that the
/// objects changed since.
pub(super) async fn write(bucket: &impl Bucket, shards: &[Shard]) -> Result<Option<Finding>, VerifyError> {
    let writes = shards.iter().map(|shard| async move {
        let key = Key::Shard(shard.backup_id.clone(), shard.index);
        match store::create(bucket, &key, shard).await? {
            PutOutcome::Written { .. } => Ok(None),
            PutOutcome::Lost => {
                let found = store::read::<Shard>(bucket, &key).await?;
                let same = found.is_some_and(|found| found.value == *shard);
                Ok((!same).then(|| Finding::PlanChanged { key: key.to_string() }))
            }
        }
    });
    let mut writes = futures::stream::iter(writes).buffered(WRITES_PARALLEL);
    while let Some(written) = writes.next().await {
        if let Some(finding) = written.map_err(VerifyError::Store)? {
            return Ok(Some(finding));
        }
    }
    Ok(None)
}
