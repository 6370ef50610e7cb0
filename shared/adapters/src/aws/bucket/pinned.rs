//! Reading bytes of exactly one version.

use std::time::Duration;

use aws_sdk_s3::config::{Builder, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::timeout::TimeoutConfig;
use lifeboat_workflows::ports::Fault;
use lifeboat_workflows::ports::bucket::{Pinned, ReadOutcome};

use super::{S3Bucket, bytes};
use crate::aws::fault::{Call, code, status};

impl S3Bucket {
    pub(super) async fn read_pinned(&self, object: &Pinned, offset: u64, length: u64) -> Result<ReadOutcome, Fault> {
        let call = Call::reads("read", &object.key);
        let Some(last) = length.checked_sub(1).map(|n| offset.saturating_add(n)) else {
            return self.read_nothing(call, object).await;
        };
        let reply = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(&object.key)
            .if_match(&object.etag)
            .set_version_id(object.version_id.clone())
            .range(format!("bytes={offset}-{last}"))
            .customize()
            .config_override(patient())
            .send()
            .await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => return absence(&error).map_or_else(|| Err(call.fault(error)), Ok),
        };
        let announced_bytes = reply.content_length().and_then(|n| u64::try_from(n).ok());
        if let Some(received_bytes) = announced_bytes.filter(|n| *n != length) {
            return Ok(ReadOutcome::WrongLength { received_bytes });
        }
        Ok(match bytes(call, reply.body, length).await? {
            Some(body) if body.len() as u64 == length => ReadOutcome::Bytes(body),
            Some(body) => ReadOutcome::WrongLength { received_bytes: body.len() as u64 },
            None => ReadOutcome::WrongLength { received_bytes: length.saturating_add(1) },
        })
    }

    /// No bytes of a version, which cannot be asked for as a range: that it is there, with its ETag, is the answer.
    async fn read_nothing(&self, call: Call<'_>, object: &Pinned) -> Result<ReadOutcome, Fault> {
        let reply = self
            .client
            .head_object()
            .bucket(&self.name)
            .key(&object.key)
            .if_match(&object.etag)
            .set_version_id(object.version_id.clone())
            .send()
            .await;
        match reply {
            Ok(_) => Ok(ReadOutcome::Bytes(Vec::new())),
            Err(error) if status(&error) == Some(404) => {
                // Without a body a missing bucket looks like a missing key: a listing fails when it is the bucket.
                self.list_current(&object.key, None).await.map(|_| ReadOutcome::Missing)
            }
            Err(error) => absence(&error).map_or_else(|| Err(call.fault(error)), Ok),
        }
    }
}

/// What these answers say of the pinned version; `None` for anything else.
fn absence<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<ReadOutcome> {
    match (status(error)?, code(error)) {
        (412, _) => Some(ReadOutcome::Changed),
        (404, Some("NoSuchKey" | "NoSuchVersion")) => Some(ReadOutcome::Missing),
        // The version is a delete marker.
        (405, _) => Some(ReadOutcome::Missing),
        // The object ends before the range starts.
        (416, _) => Some(ReadOutcome::WrongLength { received_bytes: 0 }),
        _ => None,
    }
}

/// Ranges are large, so they may take longer; and a range has no checksum of its own to hold it to: whoever reads
/// hashes (facts: aws.md §5.3).
fn patient() -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_secs(30))
        .operation_attempt_timeout(Duration::from_secs(60))
        .operation_timeout(Duration::from_secs(180))
        .build();
    Builder::new().timeout_config(timeouts).response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}
