//! Listings, one page a call.

use std::cmp::Reverse;

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::{DeleteMarkerEntry, Object, ObjectVersion};
use lifeboat_workflows::ports::Fault;
use lifeboat_workflows::ports::bucket::{Listed, ListedVersion, Page, VersionContent, VersionMarker};

use super::{S3Bucket, date, quoted, size, version};
use crate::aws::fault::Call;

/// The most that S3 gives in one page.
const PAGE_MAX: i32 = 1_000;

impl S3Bucket {
    pub(super) async fn list_current(&self, prefix: &str, start_after: Option<&str>) -> Result<Page<Listed>, Fault> {
        let call = Call::reads("list", prefix);
        let reply = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(prefix)
            .set_start_after(start_after.map(str::to_owned))
            .max_keys(PAGE_MAX)
            .send()
            .await
            .map_err(|e| call.fault(e))?;
        let more = reply.is_truncated().ok_or_else(|| call.nonsense("the page does not say whether more follow"))?;
        let entries = reply.contents().iter().map(|o| listed(call, o)).collect::<Result<Vec<_>, _>>()?;
        whole(call, more, entries)
    }

    pub(super) async fn list_all_versions(
        &self,
        prefix: &str,
        after: Option<&VersionMarker>,
    ) -> Result<Page<ListedVersion>, Fault> {
        let call = Call::reads("list versions", prefix);
        let reply = self
            .client
            .list_object_versions()
            .bucket(&self.name)
            .prefix(prefix)
            .set_key_marker(after.map(|m| m.key.clone()))
            .set_version_id_marker(after.and_then(|m| m.version_id.clone()))
            .max_keys(PAGE_MAX)
            .send()
            .await
            .map_err(|e| call.fault(e))?;
        let more = reply.is_truncated().ok_or_else(|| call.nonsense("the page does not say whether more follow"))?;
        let versions = reply.versions().iter().map(|v| object_version(call, v));
        let markers = reply.delete_markers().iter().map(|m| delete_marker(call, m));
        let mut entries = versions.chain(markers).collect::<Result<Vec<_>, _>>()?;
        in_order(&mut entries, &reply);
        whole(call, more, entries)
    }
}

/// A page that says that more follow but has nothing to go on from would be asked for again and again.
fn whole<T>(call: Call<'_>, more: bool, entries: Vec<T>) -> Result<Page<T>, Fault> {
    if more && entries.is_empty() {
        return Err(call.nonsense("an empty page says that more follow"));
    }
    Ok(Page { entries, more })
}

/// Puts a page back in S3's order, by key and newest first, which the SDK loses by keeping versions and delete markers
/// apart. The last entry must be the one that S3 names as the next page's start, since callers go on from there: dates
/// in whole seconds cannot tell it.
fn in_order(entries: &mut [ListedVersion], reply: &ListObjectVersionsOutput) {
    let last_version = version(reply.next_version_id_marker());
    let last = |e: &ListedVersion| Some(e.key.as_str()) == reply.next_key_marker() && e.version_id == last_version;
    entries.sort_by(|a, b| {
        let rank = |e: &ListedVersion| (last(e), !e.is_latest, Reverse(e.last_modified));
        a.key.as_bytes().cmp(b.key.as_bytes()).then_with(|| rank(a).cmp(&rank(b)))
    });
}

fn listed(call: Call<'_>, object: &Object) -> Result<Listed, Fault> {
    Ok(Listed {
        key: key(call, object.key())?,
        size_bytes: size(call, object.size())?,
        etag: object.e_tag().map(quoted).ok_or_else(|| call.nonsense("a listed object has no ETag"))?,
        last_modified: date(call, object.last_modified())?,
    })
}

fn object_version(call: Call<'_>, object: &ObjectVersion) -> Result<ListedVersion, Fault> {
    Ok(ListedVersion {
        key: key(call, object.key())?,
        version_id: version(object.version_id()),
        is_latest: latest(call, object.is_latest())?,
        content: VersionContent::Object {
            size_bytes: size(call, object.size())?,
            etag: object.e_tag().map(quoted).ok_or_else(|| call.nonsense("a listed version has no ETag"))?,
        },
        last_modified: date(call, object.last_modified())?,
    })
}

fn delete_marker(call: Call<'_>, marker: &DeleteMarkerEntry) -> Result<ListedVersion, Fault> {
    Ok(ListedVersion {
        key: key(call, marker.key())?,
        version_id: version(marker.version_id()),
        is_latest: latest(call, marker.is_latest())?,
        content: VersionContent::DeleteMarker,
        last_modified: date(call, marker.last_modified())?,
    })
}

fn key(call: Call<'_>, key: Option<&str>) -> Result<String, Fault> {
    key.map(str::to_owned).ok_or_else(|| call.nonsense("a listed object has no key"))
}

fn latest(call: Call<'_>, is_latest: Option<bool>) -> Result<bool, Fault> {
    is_latest.ok_or_else(|| call.nonsense("a listed version does not say whether it is the current one"))
}
