//! The bucket twin: versions, compare-and-swap, pages, pinned reads; and what an attacker or a bad disk may do to it.

use std::sync::Arc;

use jiff::Timestamp;
use lifeboat_domain::ids::Sha256Digest;

use super::calls::Call;
use super::events::Effect;
use super::objects::{Current, KEY_BYTES_MAX, Store, Version, etag_of, etag_of_parts, multipart_etag_of};
use super::world::Inner;
use super::{Event, World};
use crate::ports::bucket::{
    CopyOutcome, Listed, ListedVersion, Page, Pinned, PutMode, PutOutcome, ReadOutcome, Stored, VersionContent,
    VersionMarker,
};
use crate::ports::fault::{Happened, Retry};
use crate::ports::{Bucket, Fault};

/// A bucket of a [`World`]. The port's methods are what S3 does; the others are for tests, and are not counted as calls.
#[derive(Debug, Clone)]
pub struct BucketTwin {
    pub(super) world: World,
    pub(super) name: String,
}

impl BucketTwin {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Overwrites unconditionally, as somebody who goes round the rules would. Gives the new version.
    pub fn put_raw(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let body = body.into();
        let etag = etag_of(&body);
        self.world.lock().write_object(&self.name, key, body, etag)
    }

    /// Stores an object that was uploaded in these parts; its ETag.
    pub fn put_parts(&self, key: &str, parts: &[Vec<u8>]) -> String {
        let etag = etag_of_parts(parts.iter().map(Vec::as_slice));
        self.world.lock().write_object(&self.name, key, parts.concat(), etag.clone());
        etag
    }

    /// Stores an object as Weaviate uploads a chunk: multipart, with the ETag that goes with it. Gives the new version.
    pub fn put_multipart(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let body = body.into();
        let etag = multipart_etag_of(&body);
        self.world.lock().write_object(&self.name, key, body, etag)
    }

    /// Flips the lowest bit of one byte of the current object, and keeps ETag, version and date: bit rot.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn flip_byte_in_place(&self, key: &str, offset: usize) {
        let mut inner = self.world.lock();
        let version = inner.store(&self.name).keys.get_mut(key).and_then(|v| v.last_mut());
        let body = version.and_then(|v| v.body.as_mut()).expect("there is a current object to rot");
        let byte = Arc::make_mut(body).get_mut(offset).expect("the offset is within the object");
        *byte ^= 1;
    }

    /// Changes the bytes of the current object, and keeps ETag, version and date: a bad disk, or a store that lies.
    ///
    /// # Panics
    /// If there is no current object.
    pub fn rot_in_place(&self, key: &str, body: impl Into<Vec<u8>>) {
        let mut inner = self.world.lock();
        let version = inner.store(&self.name).keys.get_mut(key).and_then(|v| v.last_mut());
        *version.and_then(|v| v.body.as_mut()).expect("there is a current object to rot") = Arc::new(body.into());
    }

    /// Keeps a checksum of all bytes of the current object, as of an upload that asked for one.
    pub fn keep_checksum(&self, key: &str) {
        self.world.lock().store(&self.name).keep_sha256(key);
    }

    /// The bytes of every version that is no delete marker, oldest first.
    pub fn bodies(&self, key: &str) -> Vec<Vec<u8>> {
        let mut inner = self.world.lock();
        let versions = inner.store(&self.name).keys.get(key).map_or(&[][..], Vec::as_slice);
        versions.iter().filter_map(|v| v.body.as_ref()).map(|body| body.to_vec()).collect()
    }

    /// ETag and version of the current object, as a listing gives them.
    pub fn pins(&self, key: &str) -> Option<(String, Option<String>)> {
        let mut inner = self.world.lock();
        let versioned = inner.settings.versioned;
        let current = inner.store(&self.name).current(key)?;
        Some((current.version.etag.clone(), versioned.then(|| current.version.id.clone())))
    }

    /// Deletes: with versions, a delete marker becomes current.
    pub fn delete(&self, key: &str) {
        let mut inner = self.world.lock();
        let (now, versioned) = (inner.now, inner.settings.versioned);
        inner.store(&self.name).delete(key, now, versioned);
    }

    /// Removes one version or delete marker for good. The newest that is left becomes current.
    pub fn delete_version(&self, key: &str, version_id: &str) {
        self.world.lock().store(&self.name).remove(key, version_id);
    }

    /// Lets the next put of this key be written over by these bytes before its writer hears of it: the writer is told
    /// only that it may have happened.
    pub fn write_over_next_put(&self, key: &str, body: impl Into<Vec<u8>>) {
        self.world.lock().written_over.push((key.to_owned(), body.into()));
    }

    /// Removes a key with all its versions, as a lifecycle rule or an administrator may.
    pub fn erase(&self, key: &str) {
        self.world.lock().store(&self.name).keys.remove(key);
    }

    /// The bytes of the current object.
    pub fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.world.lock().store(&self.name).bytes(key).map(|body| body.to_vec())
    }

    /// The current object as JSON.
    ///
    /// # Panics
    /// If the object is not JSON.
    pub fn json(&self, key: &str) -> Option<serde_json::Value> {
        Some(serde_json::from_slice(&self.bytes(key)?).expect("the object is JSON"))
    }

    /// The current keys below a prefix.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.world.lock().store(&self.name).listed(prefix, None).map(|(key, _)| key.clone()).collect()
    }

    /// How many versions and delete markers a key has.
    pub fn versions(&self, key: &str) -> usize {
        self.world.lock().store(&self.name).keys.get(key).map_or(0, Vec::len)
    }

    pub(super) async fn call<T>(
        &self,
        call: Call,
        subject: &str,
        act: impl FnOnce(&mut Inner) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.world.call(call, subject, act).await
    }
}

impl Inner {
    /// Writes an object and says so.
    pub(super) fn write_object(&mut self, bucket: &str, key: &str, body: Vec<u8>, etag: String) -> String {
        let (now, versioned) = (self.now, self.settings.versioned);
        let version = self.store(bucket).write(key, body, etag, now, versioned);
        self.events.push(Event::ObjectCreated { bucket: bucket.to_owned(), key: key.to_owned() });
        version
    }
}

fn listed(key: &str, current: &Current<'_>) -> Listed {
    Listed {
        key: key.to_owned(),
        size_bytes: current.body.len() as u64,
        etag: current.version.etag.clone(),
        last_modified: current.version.last_modified,
    }
}

fn sequence_of(body: &[u8]) -> u64 {
    serde_json::from_slice::<serde_json::Value>(body).ok().and_then(|v| v["sequence"].as_u64()).unwrap_or(0)
}

impl Bucket for BucketTwin {
    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Stored>, Fault> {
        self.call(Call::Get, key, |inner| {
            let versioned = inner.settings.versioned;
            let Some(current) = inner.store(&self.name).current(key) else { return Ok(None) };
            let size_bytes = current.body.len() as u64;
            if size_bytes > limit_bytes {
                let text = format!("{size_bytes} bytes where at most {limit_bytes} are allowed");
                return Err(Fault::new("get", key, Happened::No, Retry::No, text));
            }
            // Whoever reads a whole object that was put with a checksum holds the bytes to it, as the SDK does.
            if current.version.sha256.as_ref().is_some_and(|sha256| *sha256 != Sha256Digest::of(current.body)) {
                let text = "the bytes are not those of the checksum that was stored with them".to_owned();
                return Err(Fault::new("get", key, Happened::No, Retry::No, text));
            }
            Ok(Some(Stored {
                body: current.body.to_vec(),
                etag: current.version.etag.clone(),
                version_id: versioned.then(|| current.version.id.clone()),
                last_modified: current.version.last_modified,
            }))
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<Option<Listed>, Fault> {
        self.call(Call::Head, key, |inner| Ok(inner.store(&self.name).current(key).map(|c| listed(key, &c)))).await
    }

    async fn put(&self, key: &str, body: Vec<u8>, mode: PutMode) -> Result<PutOutcome, Fault> {
        self.call(Call::Put, key, |inner| {
            if key.len() > KEY_BYTES_MAX {
                return Err(Fault::new("put", key, Happened::No, Retry::No, "KeyTooLongError"));
            }
            let versioned = inner.settings.versioned;
            let identical_counts = inner.settings.identical_put_counts_as_written;
            let current = inner.store(&self.name).current(key);
            let holds = match (&mode, &current) {
                (PutMode::Create, None) => true,
                (PutMode::Update(expected), Some(current)) => *expected == current.version.etag,
                (PutMode::Create, Some(_)) | (PutMode::Update(_), None) => false,
            };
            if !holds {
                return Ok(match current {
                    Some(same) if identical_counts && **same.body == body => PutOutcome::Written {
                        etag: same.version.etag.clone(),
                        version_id: versioned.then(|| same.version.id.clone()),
                    },
                    Some(_) | None => PutOutcome::Lost,
                });
            }
            if key == lifeboat_domain::keys::Key::Pointer.to_string() && self.name == World::BUCKET {
                inner.effects.push(Effect::PointerWritten { sequence: sequence_of(&body) });
            }
            let etag = etag_of(&body);
            let version = inner.write_object(&self.name, key, body, etag.clone());
            inner.store(&self.name).keep_sha256(key);
            if let Some(place) = inner.written_over.iter().position(|(k, _)| k == key) {
                let (_, body) = inner.written_over.remove(place);
                let etag = etag_of(&body);
                inner.write_object(&self.name, key, body, etag);
                let text = "the reply was lost, and another's write is there now";
                return Err(Fault::new("put", key, Happened::Maybe, Retry::Yes, text));
            }
            Ok(PutOutcome::Written { etag, version_id: versioned.then_some(version) })
        })
        .await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>) -> Result<Page<Listed>, Fault> {
        self.call(Call::List, prefix, |inner| {
            let size = inner.settings.page_size;
            let store = inner.store(&self.name);
            let mut entries: Vec<Listed> =
                store.listed(prefix, start_after).take(size + 1).map(|(key, current)| listed(key, &current)).collect();
            let more = entries.len() > size;
            entries.truncate(size);
            Ok(Page { entries, more })
        })
        .await
    }

    async fn list_versions(&self, prefix: &str, after: Option<&VersionMarker>) -> Result<Page<ListedVersion>, Fault> {
        self.call(Call::ListVersions, prefix, |inner| {
            let (size, versioned) = (inner.settings.page_size, inner.settings.versioned);
            let store = inner.store(&self.name);
            if let Some(VersionMarker { key, version_id: Some(id) }) = after
                && !store.keys.get(key).is_some_and(|versions| versions.iter().any(|v| v.id == *id))
            {
                let text = format!("InvalidArgument: no version {id} to start after");
                return Err(Fault::new("list versions", prefix, Happened::No, Retry::No, text));
            }
            let mut entries = Vec::new();
            let from = after.map_or(prefix, |marker| marker.key.as_str().max(prefix));
            for (key, versions) in store.keys.range(from.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
                let marker = after.filter(|marker| marker.key >= *key);
                let mut passed = marker.is_none();
                for (place, version) in versions.iter().rev().enumerate() {
                    if passed {
                        entries.push(listed_version(key, version, place == 0, versioned));
                    }
                    let reached = |m: &VersionMarker| m.key == *key && m.version_id.as_ref() == Some(&version.id);
                    passed = passed || marker.is_some_and(reached);
                }
                if entries.len() > size {
                    break;
                }
            }
            let more = entries.len() > size;
            entries.truncate(size);
            as_the_sdk_tells(&mut entries, more);
            Ok(Page { entries, more })
        })
        .await
    }

    async fn read(&self, object: &Pinned, offset: u64, length: u64) -> Result<ReadOutcome, Fault> {
        self.call(Call::Read, &object.key, |inner| {
            let short = inner.take_short_read(&object.key);
            let store = inner.store(&self.name);
            let Some((version, body)) = found(store, object) else {
                return Ok(ReadOutcome::Missing);
            };
            if version.etag != object.etag {
                return Ok(ReadOutcome::Changed);
            }
            let size_bytes = body.len() as u64;
            let end = offset.saturating_add(length).min(size_bytes);
            let available = end.saturating_sub(offset);
            if available != length || (short && length > 0) {
                let received_bytes = if short { available.saturating_sub(1) } else { available };
                return Ok(ReadOutcome::WrongLength { received_bytes });
            }
            let range = usize::try_from(offset).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
            Ok(ReadOutcome::Bytes(body.get(range).unwrap_or_default().to_vec()))
        })
        .await
    }

    async fn copy(&self, from: &Pinned, _: u64, to: &str) -> Result<CopyOutcome, Fault> {
        self.call(Call::Copy, to, |inner| {
            let (versioned, whole_max) = (inner.settings.versioned, inner.settings.whole_copy_bytes_max);
            let Some((version, body)) = found(inner.store(&self.name), from) else {
                return Ok(CopyOutcome::Missing);
            };
            if version.etag != from.etag {
                return Ok(CopyOutcome::Changed);
            }
            let body = body.to_vec();
            let whole = body.len() as u64 <= whole_max;
            let etag = if whole { etag_of(&body) } else { multipart_etag_of(&body) };
            let sha256 = whole.then(|| Sha256Digest::of(&body));
            let version = inner.write_object(&self.name, to, body, etag.clone());
            if whole {
                inner.store(&self.name).keep_sha256(to);
            }
            Ok(CopyOutcome::Copied { etag, version_id: versioned.then_some(version), sha256 })
        })
        .await
    }

    async fn stored_sha256(&self, object: &Pinned) -> Result<Option<Sha256Digest>, Fault> {
        self.call(Call::StoredSha256, &object.key, |inner| {
            let found = found(inner.store(&self.name), object).filter(|(version, _)| version.etag == object.etag);
            Ok(found.and_then(|(version, _)| version.sha256.clone()))
        })
        .await
    }
}

/// The object that a pin names by its version; without one, the current one.
pub(super) fn found<'s>(store: &'s Store, object: &Pinned) -> Option<(&'s Version, &'s Arc<Vec<u8>>)> {
    let versions = store.keys.get(&object.key).map_or(&[][..], Vec::as_slice);
    let found = match &object.version_id {
        Some(id) => versions.iter().find(|v| v.id == *id),
        None => versions.last(),
    };
    found.and_then(|v| Some((v, v.body.as_ref()?)))
}

/// S3 lists in order, but tells versions and delete markers apart, with dates in whole seconds: of one key in one second
/// only the latest, and the last entry of a page that others follow, have their place.
fn as_the_sdk_tells(entries: &mut [ListedVersion], more: bool) {
    let last = entries.last().filter(|_| more).map(|e| (e.key.clone(), e.version_id.clone()));
    entries.sort_by_cached_key(|e| {
        let is_last = last.as_ref().is_some_and(|(key, id)| *key == e.key && *id == e.version_id);
        let marker = e.content == VersionContent::DeleteMarker;
        (e.key.clone(), is_last, !e.is_latest, std::cmp::Reverse(e.last_modified), marker)
    });
}

fn listed_version(key: &str, version: &Version, is_latest: bool, versioned: bool) -> ListedVersion {
    let last_modified: Timestamp = version.last_modified;
    ListedVersion {
        key: key.to_owned(),
        version_id: versioned.then(|| version.id.clone()),
        is_latest,
        content: version.body.as_ref().map_or(VersionContent::DeleteMarker, |body| VersionContent::Object {
            size_bytes: body.len() as u64,
            etag: version.etag.clone(),
        }),
        last_modified,
    }
}
