//! S3 behind [`Bucket`].
//!
//! What an answer means is decided here once: only `NoSuchKey` is absence, a refusal to look never is; ETags are
//! opaque, always in their quotes; a condition that failed is looked into before it is called lost (facts: aws.md §5.2).

mod copy;
mod delete;
mod list;
mod mark;
mod pinned;
mod put;
mod source;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use jiff::Timestamp;
use lifeboat_domain::ids::Sha256Digest;
use lifeboat_workflows::ports::bucket::{
    CopyOutcome, Listed, ListedVersion, Page, Pinned, PutMode, PutOutcome, ReadOutcome, Stored, VersionMarker,
};
use lifeboat_workflows::ports::fault::{Happened, Retry};
use lifeboat_workflows::ports::{Bucket, Fault};

use super::fault::{Call, code, status};

/// A bucket in S3, or in whatever `AWS_ENDPOINT_URL` names.
#[derive(Debug, Clone)]
pub struct S3Bucket {
    client: Client,
    /// For the engine.
    reads: Client,
    name: String,
    marks: mark::Marks,
}

impl S3Bucket {
    /// The bucket of this name.
    pub fn new(client: Client, name: &str) -> Self {
        Self { reads: source::reads(&client), client, name: name.to_owned(), marks: mark::Marks::new() }
    }

    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What is under a key now.
enum Current {
    /// No current object.
    Absent,
    /// An object over the limit.
    TooLarge,
    /// An object.
    Object(Stored),
}

impl S3Bucket {
    async fn current(&self, call: Call<'_>, key: &str, limit_bytes: u64) -> Result<Current, Fault> {
        let reply = match self.client.get_object().bucket(&self.name).key(key).send().await {
            Ok(reply) => reply,
            Err(error) if is_no_such_key(&error) => return Ok(Current::Absent),
            Err(error) => return Err(call.fault(error)),
        };
        let etag = reply.e_tag().map(quoted).ok_or_else(|| call.nonsense("the object has no ETag"))?;
        let last_modified = date(call, reply.last_modified())?;
        let version_id = version(reply.version_id());
        if reply.content_length().and_then(|n| u64::try_from(n).ok()).is_some_and(|n| n > limit_bytes) {
            return Ok(Current::TooLarge);
        }
        Ok(match bytes(call, reply.body, limit_bytes).await? {
            Some(body) => Current::Object(Stored { body, etag, version_id, last_modified }),
            None => Current::TooLarge,
        })
    }
}

impl Bucket for S3Bucket {
    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Stored>, Fault> {
        match self.current(Call::reads("get", key), key, limit_bytes).await? {
            Current::Absent => Ok(None),
            Current::Object(stored) => Ok(Some(stored)),
            Current::TooLarge => {
                let what = format!("the object has more than {limit_bytes} bytes; nothing of ours is that large");
                Err(Fault::new("get", key, Happened::No, Retry::No, what))
            }
        }
    }

    async fn head(&self, key: &str) -> Result<Option<Listed>, Fault> {
        let call = Call::reads("head", key);
        let reply = match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(reply) => reply,
            // A reply to HEAD has no body, so a missing bucket looks like a missing key: the listing tells.
            Err(error) if status(&error) == Some(404) => {
                let page = self.list(key, None).await?;
                return Ok(page.entries.into_iter().find(|e| e.key == key));
            }
            Err(error) => return Err(call.fault(error)),
        };
        Ok(Some(Listed {
            key: key.to_owned(),
            size_bytes: size(call, reply.content_length())?,
            etag: reply.e_tag().map(quoted).ok_or_else(|| call.nonsense("the object has no ETag"))?,
            last_modified: date(call, reply.last_modified())?,
        }))
    }

    async fn put(&self, key: &str, body: Vec<u8>, mode: PutMode) -> Result<PutOutcome, Fault> {
        self.put_if(key, body, mode).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>) -> Result<Page<Listed>, Fault> {
        self.list_current(prefix, start_after).await
    }

    async fn list_versions(&self, prefix: &str, after: Option<&VersionMarker>) -> Result<Page<ListedVersion>, Fault> {
        self.list_all_versions(prefix, after).await
    }

    async fn read(&self, object: &Pinned, offset: u64, length: u64) -> Result<ReadOutcome, Fault> {
        self.read_pinned(object, offset, length).await
    }

    async fn copy(&self, from: &Pinned, size_bytes: u64, to: &str) -> Result<CopyOutcome, Fault> {
        self.copy_pinned(from, size_bytes, to).await
    }

    async fn stored_sha256(&self, object: &Pinned) -> Result<Option<Sha256Digest>, Fault> {
        self.whole_sha256(object).await
    }
}

/// Whether S3 says that there is no such object, rather than no such bucket or no right to look.
fn is_no_such_key(error: &SdkError<GetObjectError, HttpResponse>) -> bool {
    status(error) == Some(404) && code(error) == Some("NoSuchKey")
}

/// The whole of a body, or `None` when it is over the limit. The SDK checks its length and, where the object has one,
/// its checksum.
async fn bytes(call: Call<'_>, mut stream: ByteStream, limit_bytes: u64) -> Result<Option<Vec<u8>>, Fault> {
    let mut body = Vec::new();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|e| Fault::new(call.step, call.subject, Happened::No, Retry::Yes, e))?;
        if body.len() as u64 + part.len() as u64 > limit_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body))
}

/// An ETag in its quotes: headers and listings of S3 have them, some stores leave them out.
fn quoted(etag: &str) -> String {
    if etag.starts_with('"') || etag.starts_with("W/") { etag.to_owned() } else { format!("\"{etag}\"") }
}

/// A version; `null` is what a store without versions says.
fn version(id: Option<&str>) -> Option<String> {
    id.filter(|id| !id.is_empty() && *id != "null").map(str::to_owned)
}

/// A date in whole seconds, as headers have it; listings may have fractions.
fn date(call: Call<'_>, at: Option<&DateTime>) -> Result<Timestamp, Fault> {
    at.and_then(|at| Timestamp::from_second(at.secs()).ok()).ok_or_else(|| call.nonsense("the object has no date"))
}

fn size(call: Call<'_>, bytes: Option<i64>) -> Result<u64, Fault> {
    bytes.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| call.nonsense("the object has no size"))
}

#[cfg(test)]
mod tests;
