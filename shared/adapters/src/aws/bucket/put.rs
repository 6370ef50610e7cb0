//! Writing on a condition.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use lifeboat_workflows::ports::Fault;
use lifeboat_workflows::ports::bucket::{PutMode, PutOutcome};
use lifeboat_workflows::ports::fault::{Happened, Retry};

use super::{Current, S3Bucket, quoted, version};
use crate::aws::fault::{Call, code, status};

/// How often a write that met a concurrent one is tried.
const CONFLICTS_MAX: u32 = 3;

impl S3Bucket {
    pub(super) async fn put_if(&self, key: &str, body: Vec<u8>, mode: PutMode) -> Result<PutOutcome, Fault> {
        let call = Call::changes("put", key);
        for _ in 0..CONFLICTS_MAX {
            let error = match self.put_once(key, &body, &mode).await {
                Ok(reply) => {
                    let etag = reply.e_tag().map(quoted).ok_or_else(|| call.nonsense("the put gave no ETag"))?;
                    return Ok(PutOutcome::Written { etag, version_id: version(reply.version_id()) });
                }
                Err(error) => error,
            };
            match (status(&error), code(&error)) {
                (Some(412), _) | (Some(409), Some("ConditionalRequestConflict")) => {}
                // If-Match on a key that is gone.
                (Some(404), Some("NoSuchKey")) => return Ok(PutOutcome::Lost),
                _ => return Err(call.fault(error)),
            }
            if let Some(outcome) = self.settle(key, &body, &mode, status(&error) == Some(409)).await? {
                return Ok(outcome);
            }
        }
        let what = "a conflicting write is under way";
        Err(Fault::new(call.step, key, Happened::No, Retry::Yes, what))
    }

    async fn put_once(
        &self,
        key: &str,
        body: &[u8],
        mode: &PutMode,
    ) -> Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>> {
        let put = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_type(content_type(key))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .body(ByteStream::from(body.to_vec()));
        match mode {
            PutMode::Create => put.if_none_match("*"),
            PutMode::Update(etag) => put.if_match(etag),
        }
        .send()
        .await
    }

    /// What became of a write whose condition did not hold. The SDK may have written and then, for want of a reply,
    /// have tried again and met its own object (facts: aws.md §5.2): the same bytes are ours. After a conflict whose
    /// condition still holds, `None`: try again.
    async fn settle(
        &self,
        key: &str,
        body: &[u8],
        mode: &PutMode,
        conflict: bool,
    ) -> Result<Option<PutOutcome>, Fault> {
        // A read-back that fails leaves open what happened, so it counts as a change.
        let current = self.current(Call::changes("read back", key), key, body.len() as u64).await;
        let current = current.map_err(|fault| Fault { happened: Happened::Maybe, ..fault })?;
        Ok(match (current, mode) {
            (Current::Object(stored), _) if stored.body == body => {
                Some(PutOutcome::Written { etag: stored.etag, version_id: stored.version_id })
            }
            (Current::Absent, PutMode::Create) if conflict => None,
            (Current::Object(stored), PutMode::Update(etag)) if conflict && stored.etag == *etag => None,
            // Larger than ours, so possibly still the one that was read: the next attempt tells.
            (Current::TooLarge, PutMode::Update(_)) if conflict => None,
            _ => Some(PutOutcome::Lost),
        })
    }
}

/// What a browser or a script should take it for.
fn content_type(key: &str) -> &'static str {
    match key.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json" | "tmp") => "application/json",
        Some("ndjson") => "application/x-ndjson",
        _ => "text/plain; charset=utf-8",
    }
}
