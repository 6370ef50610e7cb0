//! Writing on a condition.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use lifeboat_workflows::ports::Fault;
use lifeboat_workflows::ports::bucket::{PutMode, PutOutcome};
use lifeboat_workflows::ports::fault::{Happened, Retry};

use super::mark::METADATA;
use super::{S3Bucket, quoted, version};
use crate::aws::fault::{Call, code, status};

/// How often a write that met a concurrent one is tried.
const CONFLICTS_MAX: u32 = 3;

impl S3Bucket {
    pub(super) async fn put_if(&self, key: &str, body: Vec<u8>, mode: PutMode) -> Result<PutOutcome, Fault> {
        let call = Call::changes("put", key);
        let mark = self.marks.next();
        for _ in 0..CONFLICTS_MAX {
            let error = match self.put_once(key, &body, &mode, &mark).await {
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
            if let Some(outcome) = self.settle(key, &mark, &mode, status(&error) == Some(409)).await? {
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
        mark: &str,
    ) -> Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>> {
        let put = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_type(content_type(key))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .metadata(METADATA, mark)
            .body(ByteStream::from(body.to_vec()));
        match mode {
            PutMode::Create => put.if_none_match("*"),
            PutMode::Update(etag) => put.if_match(etag),
        }
        .send()
        .await
    }

    /// What became of a write whose condition did not hold: an object with its mark is its own. After a conflict whose
    /// condition still holds, `None`: try again.
    async fn settle(&self, key: &str, mark: &str, mode: &PutMode, conflict: bool) -> Result<Option<PutOutcome>, Fault> {
        // A look that fails leaves open what happened, so it counts as a change.
        let call = Call::changes("look at", key);
        let there = match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(there) => Some(there),
            Err(error) if status(&error) == Some(404) => None,
            Err(error) => return Err(Fault { happened: Happened::Maybe, ..call.fault(error) }),
        };
        let etag = there.as_ref().and_then(|t| t.e_tag()).map(quoted);
        let marked = there.as_ref().and_then(|t| t.metadata()?.get(METADATA)).is_some_and(|m| m == mark);
        Ok(match (etag, mode) {
            (Some(etag), _) if marked => {
                let version_id = version(there.as_ref().and_then(|t| t.version_id()));
                Some(PutOutcome::Written { etag, version_id })
            }
            (None, PutMode::Create) if conflict => None,
            (Some(there), PutMode::Update(etag)) if conflict && there == *etag => None,
            (None | Some(_), _) => Some(PutOutcome::Lost),
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
