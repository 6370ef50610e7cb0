//! S3 as the engine's source: one request a call, bodies as they come.
//!
//! The SDK's own retries, its guard against stalled streams and its checksum of a body are off here: the engine has
//! all three, over ranges and on other threads.

use std::pin::Pin;
use std::task::{Context, Poll};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{ResponseChecksumValidation, StalledStreamProtectionConfig};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::base64;
use aws_smithy_types::timeout::TimeoutConfig;
use futures::Stream;
use lifeboat_engine::{
    Again, Algorithm, Answer, Ask, Bytes, Description, ListedObject, Listing, Opened, Pinned, ReadFault, Recorded,
    Source,
};
use lifeboat_workflows::ports::Fault;

use super::S3Bucket;
use crate::aws::fault::{Call, code, status};

/// A client like this one that makes one attempt a call, and leaves the body to whoever reads it.
pub(super) fn reads(client: &Client) -> Client {
    let config = client.config();
    let connect = config.timeout_config().and_then(TimeoutConfig::connect_timeout);
    let mut timeouts = TimeoutConfig::builder();
    timeouts.set_connect_timeout(connect);
    let reads = config
        .to_builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    Client::from_conf(reads.build())
}

/// A body of S3.
#[derive(Debug)]
pub struct Body(ByteStream);

impl Stream for Body {
    type Item = Result<Bytes, ReadFault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0)
            .poll_next(context)
            .map_err(|error| ReadFault::from_source("the body broke off", Again::Soon, error))
    }
}

impl Source for S3Bucket {
    type Body = Body;

    async fn describe(&self, object: &Pinned) -> Result<Answer<Description>, ReadFault> {
        let call = Call::reads("head", &object.key);
        let request = self.reads.head_object().bucket(&self.name).key(&object.key).if_match(&object.etag);
        let request = request.set_version_id(object.version_id.clone()).checksum_mode(ChecksumMode::Enabled);
        let reply = match request.send().await {
            Ok(reply) => reply,
            // Without a body a missing bucket looks like a missing key: a listing fails when it is the bucket.
            Err(error) if status(&error) == Some(404) => {
                self.list_current(&object.key, None).await?;
                return Ok(Answer::Missing);
            }
            Err(error) => return absence(&error).ok_or_else(|| call.fault(error).into()),
        };
        let recorded = recorded(
            call,
            [
                (Algorithm::Sha256, reply.checksum_sha256()),
                (Algorithm::Crc64Nvme, reply.checksum_crc64_nvme()),
                (Algorithm::Crc32c, reply.checksum_crc32_c()),
                (Algorithm::Crc32, reply.checksum_crc32()),
            ],
            reply.checksum_type(),
        )?;
        let size_bytes = super::size(call, reply.content_length())?;
        Ok(Answer::Here(Description { size_bytes, recorded }))
    }

    async fn open(&self, object: &Pinned, ask: Ask) -> Result<Answer<Opened<Body>>, ReadFault> {
        let call = Call::reads("read", &object.key);
        let request = self.reads.get_object().bucket(&self.name).key(&object.key).if_match(&object.etag);
        let request = request.set_version_id(object.version_id.clone());
        let sent = match ask {
            // By the header, since the SDK would compute what it asks for, and on an async thread.
            Ask::Whole => request.customize().mutate_request(|request| {
                request.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
            }),
            Ask::Range { offset, length } => {
                let last = offset.saturating_add(length).saturating_sub(1);
                request.range(format!("bytes={offset}-{last}")).customize()
            }
        };
        let reply = match sent.send().await {
            Ok(reply) => reply,
            Err(error) => return absence(&error).ok_or_else(|| call.fault(error).into()),
        };
        let length = super::size(call, reply.content_length())?;
        let (offset, size_bytes) = match reply.content_range() {
            Some(text) => content_range(text, length).ok_or_else(|| call.nonsense("the Content-Range is none"))?,
            None => (0, length),
        };
        let whole = (offset, length) == (0, size_bytes);
        let recorded = recorded(
            call,
            [
                (Algorithm::Sha256, reply.checksum_sha256()),
                (Algorithm::Crc64Nvme, reply.checksum_crc64_nvme()),
                (Algorithm::Crc32c, reply.checksum_crc32_c()),
                (Algorithm::Crc32, reply.checksum_crc32()),
            ],
            reply.checksum_type(),
        )?;
        let recorded = recorded.filter(|_| whole);
        Ok(Answer::Here(Opened { offset, length, size_bytes, recorded, body: Body(reply.body) }))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Listing, ReadFault> {
        let page = self.list_current(prefix, after).await?;
        let listed = page.entries.into_iter();
        let objects = listed.map(|o| ListedObject { key: o.key, size_bytes: o.size_bytes, etag: o.etag }).collect();
        Ok(Listing { objects, more: page.more })
    }
}

/// What these answers say of the pinned version; `None` for anything else.
fn absence<T, E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<Answer<T>> {
    match (status(error)?, code(error)) {
        (412, _) => Some(Answer::Changed),
        (404, Some("NoSuchKey" | "NoSuchVersion")) => Some(Answer::Missing),
        // The version is a delete marker.
        (405, _) => Some(Answer::Missing),
        (416, _) => Some(Answer::BeyondEnd),
        _ => None,
    }
}

/// First byte and whole size of `bytes 0-9/100`, when it covers so many bytes.
fn content_range(text: &str, length: u64) -> Option<(u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (last.checked_sub(first)?.checked_add(1)? == length && last < size).then_some((first, size))
}

/// The checksum of all bytes, if there is one. Those of parts (`COMPOSITE`) say nothing that bytes alone can be held to.
fn recorded(
    call: Call<'_>,
    checksums: [(Algorithm, Option<&str>); 4],
    kind: Option<&ChecksumType>,
) -> Result<Option<Recorded>, Fault> {
    let whole = |algorithm| kind == Some(&ChecksumType::FullObject) || algorithm == Algorithm::Crc64Nvme;
    let found =
        checksums.into_iter().find_map(|(algorithm, text)| Some((algorithm, text.filter(|_| whole(algorithm))?)));
    let Some((algorithm, text)) = found else { return Ok(None) };
    let digest = base64::decode(text).map_err(|_| call.nonsense("a checksum is not base64"))?;
    Ok(Some(Recorded { algorithm, digest }))
}

#[cfg(test)]
mod tests;
