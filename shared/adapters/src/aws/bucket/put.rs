//! Writing on a condition.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, SdkError};
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

/// How often the SDK has tried one call.
#[derive(Debug, Clone, Default)]
struct Attempts(Arc<AtomicU32>);

impl Attempts {
    /// Somebody else's object is there, or none. After a single attempt it was so before it. After more, an earlier one
    /// may have written, unheard, and have been written over since: then "lost" would be a guess.
    fn lost(&self, call: Call<'_>) -> Result<PutOutcome, Fault> {
        if self.0.load(Ordering::Relaxed) > 1 {
            let what = "another write is there, and whether this one was before it nobody knows";
            return Err(Fault::new(call.step, call.subject, Happened::Maybe, Retry::Yes, what));
        }
        Ok(PutOutcome::Lost)
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "attempts"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl S3Bucket {
    pub(super) async fn put_if(&self, key: &str, body: Vec<u8>, mode: PutMode) -> Result<PutOutcome, Fault> {
        let call = Call::changes("put", key);
        let mark = self.marks.next();
        for _ in 0..CONFLICTS_MAX {
            let attempts = Attempts::default();
            let error = match self.put_once(key, &body, &mode, &mark, attempts.clone()).await {
                Ok(reply) => {
                    let etag = reply.e_tag().map(quoted).ok_or_else(|| call.nonsense("the put gave no ETag"))?;
                    return Ok(PutOutcome::Written { etag, version_id: version(reply.version_id()) });
                }
                Err(error) => error,
            };
            match (status(&error), code(&error)) {
                (Some(412), _) | (Some(409), Some("ConditionalRequestConflict")) => {}
                // If-Match on a key that is gone.
                (Some(404), Some("NoSuchKey")) => return attempts.lost(call),
                _ => return Err(call.fault(error)),
            }
            match self.settle(key, &mark, &mode, status(&error) == Some(409)).await? {
                Some(PutOutcome::Lost) => return attempts.lost(call),
                Some(written) => return Ok(written),
                None => {}
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
        attempts: Attempts,
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
        .customize()
        .interceptor(attempts)
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
