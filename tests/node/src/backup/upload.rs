//! The participant's upload: class after class, shards side by side, the chunks of one shard strictly in turn.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::json;

use super::Backups;
use super::chunks::{self, Piece};
use super::create::Job;
use super::layout::{BigFile, BorrowedFile, ClassDescriptor, NodeDescriptor, ShardDescriptor, chunk_key};
use super::slots::{is_cancelled, until_cancelled};
use crate::collection::{Collection, Slot};
use crate::tenants::Activity;
use crate::times;

/// A file of the snapshot.
#[derive(Debug, Clone)]
struct Staged {
    path: String,
    size: u64,
    modified_at: Timestamp,
}

/// A shard after its upload: its descriptor, its chunk numbers, and the bytes it stands for.
type Uploaded = (ShardDescriptor, Vec<u32>, u64);

const CANCELED: &str = "context canceled";

impl Backups {
    /// Uploads every class of the job and fills in the node's descriptor.
    pub(crate) async fn upload_all(
        &self,
        job: &Job,
        staging: &Path,
        descriptor: &mut NodeDescriptor,
    ) -> Result<(), String> {
        for name in &job.classes {
            if is_cancelled(&job.cancelled) {
                return Err(CANCELED.to_owned());
            }
            let class = self.db.class(name).ok_or_else(|| format!("class {name} doesn't exist any more"))?;
            let uploaded = self.upload_class(job, &class, staging).await?;
            descriptor.size += uploaded.size;
            descriptor.classes.push(uploaded);
        }
        Ok(())
    }

    async fn upload_class(
        &self,
        job: &Job,
        class: &Arc<Collection>,
        staging: &Path,
    ) -> Result<ClassDescriptor, String> {
        let snapshot = {
            let (class, staging) = (Arc::clone(class), staging.to_owned());
            let inactive = self.knobs.version.backs_up_inactive_tenants();
            tokio::task::spawn_blocking(move || snapshot(&class, &staging, inactive))
                .await
                .map_err(|error| error.to_string())??
        };
        let encode = |value: &serde_json::Value| STANDARD.encode(value.to_string());
        let aliases: Vec<_> = self
            .db
            .aliases()
            .into_iter()
            .filter(|(_, of)| *of == class.name)
            .map(|(alias, class)| json!({"alias": alias, "class": class}))
            .collect();
        let mut descriptor = ClassDescriptor {
            name: class.name.clone(),
            backup_id: job.target.id.clone(),
            shards: Vec::new(),
            sharding_state: encode(&class.sharding_state(&self.node)),
            schema: encode(&stored(class.definition())),
            aliases: encode(&json!(aliases)),
            aliases_included: true,
            chunks: BTreeMap::new(),
            size: 0,
        };
        let last_chunk = AtomicU32::new(0);
        let uploads = snapshot
            .into_iter()
            .map(|(shard, files)| self.upload_shard(job, class, staging, &last_chunk, shard, files));
        let mut results = stream::iter(uploads).buffer_unordered(job.workers);
        while let Some(result) = results.next().await {
            let (shard, numbers, size) = result?;
            for number in numbers {
                descriptor.chunks.insert(number.to_string(), vec![shard.name.clone()]);
            }
            descriptor.size += size;
            descriptor.shards.push(shard);
        }
        descriptor.shards.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(descriptor)
    }

    async fn upload_shard(
        &self,
        job: &Job,
        class: &Collection,
        staging: &Path,
        last_chunk: &AtomicU32,
        name: String,
        files: Vec<Staged>,
    ) -> Result<Uploaded, String> {
        let mut shard = ShardDescriptor { name, node: self.node.clone(), ..ShardDescriptor::default() };
        let mut size = 0;
        let mut own = Vec::new();
        for file in files {
            size += file.size;
            match borrow(job, &class.name, &shard.name, &file) {
                Some((backup, borrowed)) => shard.incremental.files.entry(backup).or_default().push(borrowed),
                None => own.push(file),
            }
        }
        // The real server keeps these three in memory: they lead the first chunk, and no list names them.
        own.sort_by_key(|file| !in_memory(&file.path));
        shard.files = own.iter().filter(|file| !in_memory(&file.path)).map(|file| file.path.clone()).collect();
        let listed: Vec<(String, u64)> = own.iter().map(|file| (file.path.clone(), file.size)).collect();
        let mut numbers = Vec::new();
        for pieces in chunks::plan(&listed, &self.settings) {
            let number = last_chunk.fetch_add(1, Ordering::Relaxed) + 1;
            let key = chunk_key(&class.name, &number.to_string());
            for piece in pieces.iter().filter(|piece| piece.big) {
                if let Some(file) = own.iter().find(|file| file.path == piece.file) {
                    let big = BigFile { chunk_keys: Vec::new(), size: file.size, modified_at: file.modified_at };
                    shard.big_files.entry(piece.file.clone()).or_insert(big).chunk_keys.push(key.clone());
                }
            }
            self.upload_chunk(job, staging, &key, pieces).await?;
            numbers.push(number);
        }
        Ok((shard, numbers, size))
    }

    async fn upload_chunk(&self, job: &Job, staging: &Path, key: &str, pieces: Vec<Piece>) -> Result<(), String> {
        tokio::select! {
            () = self.knobs.at("create-chunk") => {}
            () = until_cancelled(&job.cancelled) => return Err(CANCELED.to_owned()),
        }
        if is_cancelled(&job.cancelled) {
            return Err(CANCELED.to_owned());
        }
        let (root, codec) = (staging.to_owned(), job.codec);
        let bytes = tokio::task::spawn_blocking(move || chunks::pack(&root, &pieces, codec))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("producer: {error}"))?;
        let key = job.target.key(&format!("{}/{key}", self.node));
        tokio::select! {
            sent = job.target.store.put_chunk(&job.target.place, &key, bytes) => sent.map_err(|error| format!("producer: %!w(<nil>), consumer: {error}")),
            () = until_cancelled(&job.cancelled) => Err(CANCELED.to_owned()),
        }
    }
}

/// Seals every shard of the class and links its files below `staging`.
fn snapshot(class: &Collection, staging: &Path, inactive: bool) -> Result<Vec<(String, Vec<Staged>)>, String> {
    let slots: Vec<Arc<Slot>> = class.slots().values().cloned().collect();
    let lower = class.name.to_lowercase();
    let mut shards = Vec::new();
    for slot in slots {
        let included = match slot.activity() {
            Activity::Active => true,
            Activity::Inactive => inactive,
            Activity::Offloaded => false,
        };
        if !included {
            continue;
        }
        let base = format!("{lower}/{}", slot.name);
        let files = class
            .peek(&slot)
            .and_then(|shard| shard.snapshot(&staging.join(&base)))
            .and_then(|names| {
                names
                    .into_iter()
                    .map(|name| staged(staging, format!("{base}/{name}")))
                    .collect::<std::io::Result<Vec<_>>>()
            })
            .map_err(|error| format!("snapshot of shard {}: {error}", slot.name))?;
        shards.push((slot.name.clone(), files));
    }
    Ok(shards)
}

/// The definition as a backup keeps it: what is false by omission is left out.
fn stored(mut definition: serde_json::Value) -> serde_json::Value {
    if let Some(replication) = definition["replicationConfig"].as_object_mut()
        && replication.get("asyncEnabled") == Some(&json!(false))
    {
        replication.remove("asyncEnabled");
    }
    definition
}

fn in_memory(path: &str) -> bool {
    ["/indexcount", "/proplengths", "/version"].iter().any(|name| path.ends_with(name))
}

fn staged(staging: &Path, path: String) -> std::io::Result<Staged> {
    let metadata = fs::metadata(PathBuf::from(staging).join(&path))?;
    let modified_at = Timestamp::try_from(metadata.modified()?).unwrap_or_else(|_| times::zero());
    Ok(Staged { path, size: metadata.len(), modified_at })
}

/// Finds the file unchanged (path, size, modification time) in a base backup.
fn borrow(job: &Job, class: &str, shard: &str, file: &Staged) -> Option<(String, BorrowedFile)> {
    if !file.path.ends_with(".db") {
        return None;
    }
    job.bases.iter().find_map(|base| {
        let class = base.classes.iter().find(|candidate| candidate.name == class)?;
        let shard = class.shards.iter().find(|candidate| candidate.name == shard)?;
        let big = shard.big_files.get(&file.path)?;
        (big.size == file.size && big.modified_at == file.modified_at)
            .then(|| (base.id.clone(), BorrowedFile { file: file.path.clone(), chunk_keys: big.chunk_keys.clone() }))
    })
}
