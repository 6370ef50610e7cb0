//! What a buggy or hostile writer does after a change: recomputes every digest above it, as far as there are any yet.

use lifeboat_domain::ids::Sha256Digest;
use lifeboat_domain::keys::Key;
use lifeboat_domain::manifest::{CatalogueRow, encode_catalogue, root_digest, self_digest, sums};
use lifeboat_domain::verify::ShardObject;
use lifeboat_domain::verify::plan::plan_digest;
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// A chunk as a writer who knows the format makes it: its own digest in front of what follows. Real chunks are archives,
/// which can be packed again just so.
pub fn chunk(text: &[u8]) -> Vec<u8> {
    [Sha256Digest::of(text).as_str().as_bytes(), b"\n", text].concat()
}

/// The part of a chunk that its own digest is of.
pub fn text_of_chunk(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().position(|b| *b == b'\n').map_or_else(Vec::new, |at| bytes[at + 1..].to_vec())
}

struct Resealing<'a> {
    cluster: &'a Cluster,
    erase: bool,
}

/// Recomputes everything above a key.
pub fn above(cluster: &Cluster, key: &str, erase: bool) {
    let resealing = Resealing { cluster, erase };
    let id = || cluster.backup.clone();
    let is = |of: Key| key == of.to_string();
    if key.starts_with(&Key::backup_prefix(&cluster.backup)) {
        resealing.row(&Key::Shard(id(), 0), key, "objects");
        resealing.row(&Key::Part(id(), 0), key, "rows");
        resealing.plan();
        resealing.catalogue_row(key);
        resealing.sums();
    } else if is(Key::Shard(id(), 0)) {
        resealing.plan();
    }
    if !is(Key::Pointer) {
        if !is(Key::Manifest(id())) {
            resealing.manifest();
        }
        resealing.own_digest();
        resealing.pointer();
    }
}

impl Resealing<'_> {
    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.cluster.world.bucket().bytes(key)
    }

    fn json(&self, key: &Key) -> Option<Value> {
        serde_json::from_slice(&self.bytes(&key.to_string())?).ok()
    }

    fn put(&self, key: &Key, bytes: Vec<u8>) {
        let (bucket, key) = (self.cluster.world.bucket(), key.to_string());
        if bucket.bytes(&key).is_some_and(|there| there == bytes) {
            return;
        }
        if self.erase {
            bucket.erase(&key);
        }
        bucket.put_raw(&key, bytes);
    }

    /// The row of an object as it is now; null when it is gone.
    fn now(&self, key: &str) -> Value {
        let bucket = self.cluster.world.bucket();
        let (Some(bytes), Some((etag, version_id))) = (bucket.bytes(key), bucket.pins(key)) else { return Value::Null };
        let sha256 = Sha256Digest::of(&bytes);
        json!({"key": key, "size_bytes": bytes.len(), "sha256": sha256, "etag": etag, "version_id": version_id})
    }

    fn rows_now(&self, rows: &[Value], key: &str) -> Vec<Value> {
        let copy = format!("{key}-copy");
        let kept = rows.iter().filter(|row| row["key"] != key && row["key"] != copy.as_str()).cloned();
        let mut rows: Vec<Value> = kept.chain([self.now(key), self.now(&copy)]).filter(|row| !row.is_null()).collect();
        rows.sort_by(|a, b| a["key"].as_str().cmp(&b["key"].as_str()));
        rows
    }

    /// The object's row in a shard or part.
    fn row(&self, of: &Key, key: &str, field: &str) {
        let Some(mut document) = self.json(of) else { return };
        let rows = document[field].as_array().cloned().unwrap_or_default();
        let mut rows = self.rows_now(&rows, key);
        if field == "objects" {
            rows.iter_mut().filter_map(Value::as_object_mut).for_each(|row| drop(row.remove("sha256")));
        }
        document[field] = json!(rows);
        self.put(of, pretty(&document));
    }

    /// The digest of the plan in shard and part.
    fn plan(&self) {
        let (shard, part) = (Key::Shard(self.cluster.backup.clone(), 0), Key::Part(self.cluster.backup.clone(), 0));
        let Some(mut document) = self.json(&shard) else { return };
        let objects: Result<Vec<ShardObject>, _> = serde_json::from_value(document["objects"].clone());
        let Ok(objects) = objects else { return };
        document["plan_sha256"] = json!(plan_digest(&objects));
        self.put(&shard, pretty(&document));
        if let Some(mut answer) = self.json(&part) {
            answer["plan_sha256"] = document["plan_sha256"].clone();
            self.put(&part, pretty(&answer));
        }
    }

    fn catalogue(&self) -> Option<Vec<CatalogueRow>> {
        let bytes = self.bytes(&Key::Catalogue(self.cluster.backup.clone()).to_string())?;
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).ok()).collect()
    }

    fn catalogue_row(&self, key: &str) {
        let Some(rows) = self.catalogue() else { return };
        let rows: Vec<Value> = rows.iter().map(|row| json!(row)).collect();
        let rows = self.rows_now(&rows, key).into_iter();
        let rows: Vec<CatalogueRow> = rows.map(|row| serde_json::from_value(row).expect("a row")).collect();
        self.put(&Key::Catalogue(self.cluster.backup.clone()), encode_catalogue(&rows));
    }

    fn sums(&self) {
        let Some(rows) = self.catalogue() else { return };
        let text = sums(&rows, &Key::backup_prefix(&self.cluster.backup));
        self.put(&Key::Sums(self.cluster.backup.clone()), text.into_bytes());
    }

    /// Everything that the manifest says of what is below it.
    fn manifest(&self) {
        let id = || self.cluster.backup.clone();
        let Some(mut manifest) = self.json(&Key::Manifest(id())) else { return };
        let digest = |key: String| self.bytes(&key).map(|bytes| json!(Sha256Digest::of(&bytes)));
        let mut set = |pointer: &str, value: Option<Value>| {
            if let (Some(place), Some(value)) = (manifest.pointer_mut(pointer), value) {
                *place = value;
            }
        };
        set("/expectations_sha256", digest(Key::Expectations(id()).to_string()));
        set("/observed_after_sha256", digest(Key::ObservedAfter(id()).to_string()));
        set("/engine/global_descriptor_sha256", digest(self.cluster.key("backup_config.json")));
        set("/engine/node_descriptors_sha256/weaviate-0", digest(self.cluster.key("weaviate-0/backup.json")));
        set("/catalogue/sha256", digest(Key::Catalogue(id()).to_string()));
        if let Some(rows) = self.catalogue() {
            let size_bytes: u64 = rows.iter().map(|row| row.size_bytes).sum();
            for of in ["catalogue", "totals"] {
                set(&format!("/{of}/size_bytes"), Some(json!(size_bytes)));
            }
            set("/catalogue/rows", Some(json!(rows.len())));
            set("/totals/files", Some(json!(rows.len())));
            set("/catalogue/root_sha256", Some(json!(root_digest(&rows))));
        }
        self.put(&Key::Manifest(id()), pretty(&manifest));
    }

    /// The manifest's own digest, in whatever bytes it has.
    fn own_digest(&self) {
        let key = Key::Manifest(self.cluster.backup.clone());
        let Some(bytes) = self.bytes(&key.to_string()) else { return };
        let Some(mut manifest) = self.json(&key) else { return };
        if !manifest["self_sha256"].is_string() {
            return;
        }
        let there = format!("\"self_sha256\": {}", manifest["self_sha256"]);
        manifest["self_sha256"] = json!(self_digest(&bytes));
        let should = format!("\"self_sha256\": {}", manifest["self_sha256"]);
        self.put(&key, String::from_utf8_lossy(&bytes).replace(&there, &should).into_bytes());
    }

    /// The manifest in the pointer.
    fn pointer(&self) {
        let manifest = Key::Manifest(self.cluster.backup.clone());
        let Some(mut pointer) = self.json(&Key::Pointer).filter(|p| p["backup_id"] == self.cluster.backup.as_str())
        else {
            return;
        };
        let (Some(bytes), Some((_, version_id))) =
            (self.bytes(&manifest.to_string()), self.cluster.world.bucket().pins(&manifest.to_string()))
        else {
            return;
        };
        pointer["manifest"]["sha256"] = json!(Sha256Digest::of(&bytes));
        pointer["manifest"]["size_bytes"] = json!(bytes.len());
        pointer["manifest"]["version_id"] = json!(version_id);
        if let Some(manifest) = self.json(&manifest) {
            for field in ["totals", "data_as_of", "verified_at", "is_final", "verification", "cluster"] {
                pointer[field] = manifest[field].clone();
            }
        }
        self.put(&Key::Pointer, pretty(&pointer));
    }
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
