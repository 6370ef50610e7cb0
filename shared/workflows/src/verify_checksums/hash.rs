//! Reading a shard: every object in full, at its pinned version, SHA-256 of each, and its ETag recomputed.

use futures::StreamExt as _;
use lifeboat_domain::ids::{Sha256Digest, hex};
use lifeboat_domain::manifest::CatalogueRow;
use lifeboat_domain::verify::etag::{self, EtagMeaning, EtagRecipe, PART_BYTES};
use lifeboat_domain::verify::{Finding, Note, Part, Shard, ShardObject};
use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::VerifyPolicy;
use crate::inventory::read_range;
use crate::ports::Bucket;
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
    let reads = shard.objects.iter().map(|object| hash_object(bucket, policy, object));
    let mut answers = futures::stream::iter(reads).buffered(policy.objects_parallel.max(1));
    while let Some(answer) = answers.next().await {
        let (answer, note) = answer?;
        part.notes.extend(note);
        match answer {
            Ok(row) => part.rows.push(row),
            Err(finding) => part.findings.push(finding),
        }
    }
    Ok(part)
}

/// Reads an object, and once more when the bytes that came are not those that S3 recorded: damage on the way is not
/// damage at rest.
async fn hash_object(
    bucket: &impl Bucket,
    policy: &VerifyPolicy,
    object: &ShardObject,
) -> Result<(Result<CatalogueRow, Finding>, Option<Note>), StoreError> {
    let recipe = etag::recipe(&object.etag, object.size_bytes, policy.etags);
    let note = match &recipe {
        EtagRecipe::Unknown(reason) => {
            Some(Note::EtagNotRecomputed { key: object.key.clone(), reason: (*reason).to_owned() })
        }
        EtagRecipe::Whole | EtagRecipe::Parts(_) => None,
    };
    let first = hash_once(bucket, policy, object, &recipe).await?;
    let answer = match first {
        Err(Finding::EtagDiffers { .. } | Finding::WrongLength { .. }) => {
            hash_once(bucket, policy, object, &recipe).await?
        }
        Ok(_) | Err(_) => first,
    };
    Ok((answer, note))
}

async fn hash_once(
    bucket: &impl Bucket,
    policy: &VerifyPolicy,
    object: &ShardObject,
    recipe: &EtagRecipe,
) -> Result<Result<CatalogueRow, Finding>, StoreError> {
    let range = policy.range_bytes.max(1);
    let mut hashers = Hashers::new(recipe);
    let mut offset = range.min(object.size_bytes);
    let mut ready = match offset {
        0 => Vec::new(),
        length => match read_range(bucket, object, 0, length).await? {
            Ok(bytes) => bytes,
            Err(finding) => return Ok(Err(finding)),
        },
    };
    loop {
        // Hash what came while the next range is on its way.
        let bytes = std::mem::take(&mut ready);
        let hashing = tokio::task::spawn_blocking(move || hashers.with(&bytes));
        let length = range.min(object.size_bytes - offset);
        let next = if length == 0 { None } else { Some(read_range(bucket, object, offset, length).await?) };
        hashers = hashing.await.expect("hashing bytes does not panic");
        offset += length;
        match next {
            None => break,
            Some(Ok(bytes)) => ready = bytes,
            Some(Err(finding)) => return Ok(Err(finding)),
        }
    }
    let (sha256, computed) = hashers.finish();
    if let Some(computed) = computed.filter(|computed| !etag::same(&object.etag, computed)) {
        let recorded = etag::plain(&object.etag).to_owned();
        return Ok(Err(Finding::EtagDiffers { key: object.key.clone(), recorded, computed }));
    }
    Ok(Ok(CatalogueRow {
        key: object.key.clone(),
        size_bytes: object.size_bytes,
        sha256,
        etag: object.etag.clone(),
        version_id: object.version_id.clone(),
    }))
}

/// SHA-256 of all bytes, and what their ETag should be.
struct Hashers {
    sha256: Sha256,
    recipe: EtagRecipe,
    md5: Md5,
    in_part_bytes: u64,
    part_digests: Vec<u8>,
}

impl Hashers {
    fn new(recipe: &EtagRecipe) -> Self {
        Self {
            sha256: Sha256::new(),
            recipe: recipe.clone(),
            md5: Md5::new(),
            in_part_bytes: 0,
            part_digests: Vec::new(),
        }
    }

    fn with(mut self, bytes: &[u8]) -> Self {
        self.sha256.update(bytes);
        match self.recipe {
            EtagRecipe::Whole => self.md5.update(bytes),
            EtagRecipe::Parts(_) => self.parts(bytes),
            EtagRecipe::Unknown(_) => {}
        }
        self
    }

    fn parts(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(PART_BYTES - self.in_part_bytes).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.md5.update(now);
            self.in_part_bytes += now.len() as u64;
            if self.in_part_bytes == PART_BYTES {
                self.end_part();
            }
            bytes = later;
        }
    }

    fn end_part(&mut self) {
        self.part_digests.extend(self.md5.finalize_reset());
        self.in_part_bytes = 0;
    }

    fn finish(mut self) -> (Sha256Digest, Option<String>) {
        let etag = match self.recipe {
            EtagRecipe::Whole => Some(hex(&self.md5.finalize_reset())),
            EtagRecipe::Parts(parts) => {
                if self.in_part_bytes > 0 || self.part_digests.is_empty() {
                    self.end_part();
                }
                Some(format!("{}-{parts}", hex(&Md5::digest(&self.part_digests))))
            }
            EtagRecipe::Unknown(_) => None,
        };
        (Sha256Digest::from_raw(&self.sha256.finalize().into()), etag)
    }
}

/// What ETags mean when nothing says otherwise: the bucket of the template is encrypted with S3's own keys.
pub(super) const ETAGS: EtagMeaning = EtagMeaning::Md5;
