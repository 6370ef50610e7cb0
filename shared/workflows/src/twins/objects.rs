//! The bucket twin's memory: versions in order, ETags as S3 makes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lifeboat_domain::ids::{Sha256Digest, hex};
use md5::{Digest as _, Md5};

/// The part size with which Weaviate uploads chunks, in bytes (facts: weaviate.md §2.6).
pub const PART_BYTES: usize = 16 << 20;

/// The most bytes that a key may have.
pub(super) const KEY_BYTES_MAX: usize = 1024;

/// The ETag that S3 gives to an object of one put.
pub fn etag_of(body: &[u8]) -> String {
    format!("\"{}\"", hex(&Md5::digest(body)))
}

/// The ETag that S3 gives to a multipart upload in parts of [`PART_BYTES`]: `md5-of-part-md5s-N`.
pub fn multipart_etag_of(body: &[u8]) -> String {
    if body.is_empty() {
        return etag_of_parts([&[][..]]);
    }
    etag_of_parts(body.chunks(PART_BYTES))
}

/// The ETag that S3 gives to an upload in these parts.
pub(super) fn etag_of_parts<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> String {
    let (mut outer, mut count) = (Md5::new(), 0);
    for part in parts {
        outer.update(Md5::digest(part));
        count += 1;
    }
    format!("\"{}-{count}\"", hex(&outer.finalize()))
}

/// A version of an object, or a delete marker.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) id: String,
    /// `None` is a delete marker.
    pub(super) body: Option<Arc<Vec<u8>>>,
    pub(super) etag: String,
    pub(super) last_modified: Timestamp,
    /// The SHA-256 over all bytes as they were written, where the writer asked the store for one.
    pub(super) sha256: Option<Sha256Digest>,
}

/// A bucket's contents: each key's versions, oldest first.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) keys: BTreeMap<String, Vec<Version>>,
    minted: u64,
}

/// A current object.
pub(super) struct Current<'s> {
    pub(super) version: &'s Version,
    pub(super) body: &'s Arc<Vec<u8>>,
}

impl Store {
    /// The current object of a key; `None` for none or a delete marker.
    pub(super) fn current(&self, key: &str) -> Option<Current<'_>> {
        let version = self.keys.get(key)?.last()?;
        Some(Current { version, body: version.body.as_ref()? })
    }

    /// The bytes of the current object.
    pub(super) fn bytes(&self, key: &str) -> Option<Arc<Vec<u8>>> {
        Some(Arc::clone(self.current(key)?.body))
    }

    /// Writes a version, whatever was there. An unversioned store keeps only the newest.
    pub(super) fn write(&mut self, key: &str, body: Vec<u8>, etag: String, now: Timestamp, versioned: bool) -> String {
        self.push(key, Some(Arc::new(body)), etag, now, versioned)
    }

    /// Deletes: a marker where there are versions, and nothing at all where there are none.
    pub(super) fn delete(&mut self, key: &str, now: Timestamp, versioned: bool) {
        if versioned {
            self.push(key, None, String::new(), now, true);
        } else {
            self.keys.remove(key);
        }
    }

    /// Keeps the SHA-256 of the current object, as for a write that asked for one.
    pub(super) fn keep_sha256(&mut self, key: &str) {
        if let Some(version) = self.keys.get_mut(key).and_then(|versions| versions.last_mut()) {
            version.sha256 = version.body.as_ref().map(|body| Sha256Digest::of(body));
        }
    }

    /// Removes a version or marker; a key without any is gone.
    pub(super) fn remove(&mut self, key: &str, version_id: &str) {
        if let Some(versions) = self.keys.get_mut(key) {
            versions.retain(|v| v.id != version_id);
            if versions.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    fn push(&mut self, key: &str, body: Option<Arc<Vec<u8>>>, etag: String, now: Timestamp, versioned: bool) -> String {
        self.minted += 1;
        // Opaque, and not in the order of time, as S3's are not.
        let id = format!("v{}", hex(&Md5::digest(self.minted.to_be_bytes())));
        let last_modified = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let versions = self.keys.entry(key.to_owned()).or_default();
        if !versioned {
            versions.clear();
        }
        versions.push(Version { id: id.clone(), body, etag, last_modified, sha256: None });
        id
    }

    /// The current keys below a prefix and after a key.
    pub(super) fn listed(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = (&String, Current<'_>)> {
        let after = after.map(str::to_owned);
        let prefix = prefix.to_owned();
        self.keys
            .range(prefix.clone()..)
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .filter(move |(key, _)| after.as_ref().is_none_or(|after| *key > after))
            .filter_map(|(key, _)| Some((key, self.current(key)?)))
    }
}
