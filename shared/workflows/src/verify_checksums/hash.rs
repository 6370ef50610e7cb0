//! Reading a shard by the engine: every object in full, at its pinned version, SHA-256 of each, held to the checksum
//! that S3 recorded or, where it has none of the whole, to the ETag.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use lifeboat_domain::ids::Sha256Digest;
use lifeboat_domain::manifest::CatalogueRow;
use lifeboat_domain::verify::etag::{self, EtagMeaning, EtagRecipe, PART_BYTES};
use lifeboat_domain::verify::{Finding, Note, Part, Shard, ShardObject};
use lifeboat_engine::{Again, Digests, Engine, EtagIs, HeldTo, Object, Policy, Unanswered};

use super::VerifyPolicy;
use crate::ports::bucket::Pinned;
use crate::ports::fault::{Happened, Retry};
use crate::ports::{Bucket, Fault};
use crate::store::StoreError;

/// Reads a shard. What is wrong with the objects is in the part; an error means that the bucket gave no answer, and
/// then there is no part.
pub(super) async fn hash_shard(bucket: &impl Bucket, policy: &VerifyPolicy, shard: &Shard) -> Result<Part, StoreError> {
    let mut part = Part {
        backup_id: shard.backup_id.clone(),
        index: shard.index,
        of: shard.of,
        plan_sha256: shard.plan_sha256.clone(),
        rows: Vec::with_capacity(shard.objects.len()),
        findings: Vec::new(),
        notes: Vec::new(),
    };
    let engine = Engine::new(Policy {
        range_bytes: policy.range_bytes,
        connections: policy.objects_parallel,
        ..Policy::default()
    });
    let objects = futures::stream::iter(&shard.objects).map(|object| to_read(object, policy.etags));
    let mut answers = std::pin::pin!(engine.hash_objects(bucket, objects, &|_| {}));
    let mut read = BTreeMap::new();
    while let Some((object, answer)) = answers.next().await {
        let answer = answer.map_err(|unanswered| no_answer(&object, unanswered))?;
        read.insert(object.pinned.key, answer);
    }
    // Whoever reads, in whatever order the bytes come, the part has the same bytes.
    for object in &shard.objects {
        match read.remove(&object.key) {
            Some(Ok(digests)) => {
                part.notes.extend(note(object, policy.etags, &digests));
                part.rows.push(row(object, &digests));
            }
            Some(Err(finding)) => part.findings.push(found(object, finding)),
            None => part.findings.push(Finding::Vanished { key: object.key.clone() }),
        }
    }
    Ok(part)
}

fn to_read(object: &ShardObject, meaning: EtagMeaning) -> Object {
    let etag_is = match etag::recipe(&object.etag, object.size_bytes, meaning) {
        EtagRecipe::Whole => EtagIs::Md5,
        EtagRecipe::Parts(_) => EtagIs::Md5OfParts { part_bytes: PART_BYTES },
        EtagRecipe::Unknown(_) => EtagIs::Opaque,
    };
    let ShardObject { key, size_bytes, etag, version_id } = object.clone();
    Object { pinned: Pinned { key, etag, version_id }, size_bytes, etag_is }
}

fn row(object: &ShardObject, digests: &Digests) -> CatalogueRow {
    CatalogueRow {
        key: object.key.clone(),
        size_bytes: digests.size_bytes,
        sha256: Sha256Digest::from_raw(&digests.sha256),
        etag: object.etag.clone(),
        version_id: object.version_id.clone(),
    }
}

/// What nothing could be held to is not passed over in silence.
fn note(object: &ShardObject, meaning: EtagMeaning, digests: &Digests) -> Option<Note> {
    match (digests.held_to, etag::recipe(&object.etag, object.size_bytes, meaning)) {
        (HeldTo::Nothing, EtagRecipe::Unknown(reason)) => {
            Some(Note::EtagNotRecomputed { key: object.key.clone(), reason: reason.to_owned() })
        }
        (HeldTo::Nothing | HeldTo::Etag | HeldTo::Checksum(_), _) => None,
    }
}

fn found(object: &ShardObject, finding: lifeboat_engine::Finding) -> Finding {
    use lifeboat_engine::Finding as Engines;
    let key = object.key.clone();
    match finding {
        Engines::Changed => Finding::Changed { key },
        Engines::Missing => Finding::Vanished { key },
        Engines::WrongLength { expected_bytes, received_bytes } => {
            Finding::WrongLength { key, expected_bytes, received_bytes }
        }
        Engines::ChecksumDiffers { algorithm, recorded, computed } => {
            Finding::ChecksumDiffers { key, algorithm: algorithm.to_string(), recorded, computed }
        }
        Engines::EtagDiffers { recorded, computed } => Finding::EtagDiffers { key, recorded, computed },
    }
}

fn no_answer(object: &Object, unanswered: Unanswered) -> StoreError {
    let retry = match unanswered.source.again {
        Again::Soon => Retry::Yes,
        Again::Slower => Retry::Throttled,
        Again::Never => Retry::No,
    };
    let key = object.pinned.key.clone();
    StoreError::Bucket { source: Fault::new("read", key.clone(), Happened::No, retry, unanswered), key }
}

/// What ETags mean when nothing says otherwise: the bucket of the template is encrypted with S3's own keys.
pub(super) const ETAGS: EtagMeaning = EtagMeaning::Md5;
