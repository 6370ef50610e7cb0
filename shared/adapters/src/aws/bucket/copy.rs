//! Copying inside S3, and the checksums that S3 keeps (facts: aws.md §5.1, §5.3).

use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use aws_smithy_types::timeout::TimeoutConfig;
use lifeboat_domain::ids::Sha256Digest;
use lifeboat_workflows::ports::Fault;
use lifeboat_workflows::ports::bucket::{CopyOutcome, Pinned};

use super::{S3Bucket, quoted, version};
use crate::aws::fault::{Call, code, status};

/// The largest object that S3 copies in one piece.
pub(super) const WHOLE_COPY_BYTES_MAX: u64 = 5 << 30;
/// The piece of a larger one: 10,000 of them are more than any object has.
const PART_BYTES: u64 = 1 << 30;

impl S3Bucket {
    pub(super) async fn copy_pinned(&self, from: &Pinned, size_bytes: u64, to: &str) -> Result<CopyOutcome, Fault> {
        if size_bytes > WHOLE_COPY_BYTES_MAX {
            return self.copy_in_parts(from, size_bytes, PART_BYTES, to).await;
        }
        let call = Call::changes("copy to", to);
        let reply = self
            .client
            .copy_object()
            .bucket(&self.name)
            .key(to)
            .copy_source(self.source(from))
            .copy_source_if_match(&from.etag)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .customize()
            .config_override(unhurried())
            .send()
            .await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                return absence(status(&error), code(&error)).map_or_else(|| Err(call.fault(error)), Ok);
            }
        };
        let result = reply.copy_object_result().ok_or_else(|| call.nonsense("the copy gave no result"))?;
        Ok(CopyOutcome::Copied {
            etag: result.e_tag().map(quoted).ok_or_else(|| call.nonsense("the copy has no ETag"))?,
            version_id: version(reply.version_id()),
            sha256: whole(result.checksum_sha256(), result.checksum_type()),
        })
    }

    /// Copies in pieces, which become one object only when all of them are there.
    pub(super) async fn copy_in_parts(
        &self,
        from: &Pinned,
        size_bytes: u64,
        part_bytes: u64,
        to: &str,
    ) -> Result<CopyOutcome, Fault> {
        let call = Call::changes("copy in parts to", to);
        let created = self.client.create_multipart_upload().bucket(&self.name).key(to).send().await;
        let created = created.map_err(|error| call.fault(error))?;
        let upload = created.upload_id().ok_or_else(|| call.nonsense("the upload has no id"))?;
        let copied = self.parts(call, from, size_bytes, part_bytes, (to, upload)).await;
        if !matches!(copied, Ok(CopyOutcome::Copied { .. })) {
            // What a failed abort leaves, the bucket's lifecycle rule takes away.
            let abort = self.client.abort_multipart_upload().bucket(&self.name).key(to).upload_id(upload);
            let _ = abort.send().await;
        }
        copied
    }

    async fn parts(
        &self,
        call: Call<'_>,
        from: &Pinned,
        size_bytes: u64,
        part_bytes: u64,
        (to, upload): (&str, &str),
    ) -> Result<CopyOutcome, Fault> {
        let mut parts = Vec::new();
        let mut offset = 0;
        while offset < size_bytes {
            let last = (offset + part_bytes).min(size_bytes) - 1;
            let number = i32::try_from(parts.len() + 1).map_err(|_| call.nonsense("the object has too many parts"))?;
            let reply = self
                .client
                .upload_part_copy()
                .bucket(&self.name)
                .key(to)
                .upload_id(upload)
                .part_number(number)
                .copy_source(self.source(from))
                .copy_source_if_match(&from.etag)
                .copy_source_range(format!("bytes={offset}-{last}"))
                .customize()
                .config_override(unhurried())
                .send()
                .await;
            let reply = match reply {
                Ok(reply) => reply,
                Err(error) => {
                    return absence(status(&error), code(&error)).map_or_else(|| Err(call.fault(error)), Ok);
                }
            };
            let etag = reply.copy_part_result().and_then(|p| p.e_tag());
            let etag = etag.ok_or_else(|| call.nonsense("a copied part has no ETag"))?;
            parts.push(CompletedPart::builder().part_number(number).e_tag(etag).build());
            offset = last + 1;
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.name).key(to).upload_id(upload);
        let reply = complete.multipart_upload(parts).customize().config_override(unhurried()).send().await;
        let reply = reply.map_err(|error| call.fault(error))?;
        Ok(CopyOutcome::Copied {
            etag: reply.e_tag().map(quoted).ok_or_else(|| call.nonsense("the copy has no ETag"))?,
            version_id: version(reply.version_id()),
            sha256: None,
        })
    }

    pub(super) async fn whole_sha256(&self, object: &Pinned) -> Result<Option<Sha256Digest>, Fault> {
        let reply = self
            .client
            .head_object()
            .bucket(&self.name)
            .key(&object.key)
            .if_match(&object.etag)
            .set_version_id(object.version_id.clone())
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match reply {
            Ok(reply) => Ok(whole(reply.checksum_sha256(), reply.checksum_type())),
            Err(error) if matches!(status(&error), Some(404 | 405 | 412)) => Ok(None),
            Err(error) => Err(Call::reads("look at the checksum of", &object.key).fault(error)),
        }
    }

    /// What `x-amz-copy-source` says: bucket, key and version, URL-encoded.
    fn source(&self, from: &Pinned) -> String {
        let version = from.version_id.as_ref().map(|id| format!("?versionId={}", encoded(id))).unwrap_or_default();
        format!("{}/{}{version}", self.name, encoded(&from.key))
    }
}

/// URL-encoded, but for the slashes.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// What these answers say of the source; `None` for anything else.
fn absence(status: Option<u16>, code: Option<&str>) -> Option<CopyOutcome> {
    match (status?, code) {
        (412, _) => Some(CopyOutcome::Changed),
        (404, Some("NoSuchKey" | "NoSuchVersion")) => Some(CopyOutcome::Missing),
        _ => None,
    }
}

/// The digest of an object as a whole; the digest of the digests of its parts says nothing of its bytes.
fn whole(base64: Option<&str>, kind: Option<&ChecksumType>) -> Option<Sha256Digest> {
    if kind == Some(&ChecksumType::Composite) {
        return None;
    }
    let raw: [u8; 32] = aws_smithy_types::base64::decode(base64?).ok()?.try_into().ok()?;
    Some(Sha256Digest::from_raw(&raw))
}

/// A copy of gigabytes takes its minutes, and S3 is silent meanwhile.
fn unhurried() -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_mins(5))
        .operation_attempt_timeout(Duration::from_mins(5))
        .operation_timeout(Duration::from_mins(10))
        .build();
    Builder::new().timeout_config(timeouts)
}
