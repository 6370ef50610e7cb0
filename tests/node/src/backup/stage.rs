//! The participant's download into `.backup.tmp/<Class>`, and the end of a restore: rename into place and add the class.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, stream};
use serde_json::Value;

use super::Backups;
use super::chunks::{self, Codec};
use super::layout::{ClassDescriptor, chunk_key};
use super::restore::Job;
use super::slots::{Outcome, is_cancelled, until_cancelled};
use crate::store::StoreError;

/// One chunk to fetch: its key in the store, and, when only some files of it are wanted, which.
type Wanted = (String, Option<Vec<String>>);

impl Backups {
    /// Downloads and unpacks every class.
    pub(crate) async fn stage_all(&self, job: &Job) -> Outcome {
        for class in &job.node.classes {
            if let Err(error) = self.stage_class(job, class).await {
                if is_cancelled(&job.cancelled) {
                    return Outcome::Canceled("restore cancelled: context canceled".to_owned());
                }
                return Outcome::Failed(format!("restore class {}: write files: get files: {error}", class.name));
            }
        }
        Outcome::Success
    }

    fn staging(&self, class: &str) -> PathBuf {
        self.db.root().join(".backup.tmp").join(class)
    }

    async fn stage_class(&self, job: &Job, class: &ClassDescriptor) -> Result<(), String> {
        let staging = self.staging(&class.name);
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(|error| error.to_string())?;
        }
        fs::create_dir_all(staging.join(class.name.to_lowercase())).map_err(|error| error.to_string())?;
        let mut wanted: Vec<Wanted> = class
            .chunks
            .keys()
            .map(|number| {
                let key = chunk_key(&class.name, number);
                (format!("{}/{}/{key}", job.target.id, job.source_node), None)
            })
            .collect();
        for shard in &class.shards {
            for (backup, files) in &shard.incremental.files {
                for borrowed in files {
                    wanted.extend(
                        borrowed.chunk_keys.iter().map(|key| {
                            (format!("{backup}/{}/{key}", job.source_node), Some(vec![borrowed.file.clone()]))
                        }),
                    );
                }
            }
        }
        let fetches = wanted.into_iter().map(|chunk| self.stage_chunk(job, &staging, chunk));
        let mut results = stream::iter(fetches).buffer_unordered(job.workers);
        while let Some(result) = results.next().await {
            result?;
        }
        Ok(())
    }

    async fn stage_chunk(&self, job: &Job, staging: &Path, (key, only): Wanted) -> Result<(), String> {
        tokio::select! {
            () = self.knobs.at("restore-chunk") => {}
            () = until_cancelled(&job.cancelled) => return Err("context canceled".to_owned()),
        }
        let bytes = tokio::select! {
            read = job.target.store.get(&job.target.place, &key) => match read {
                Ok(bytes) => bytes,
                // A decompressor meets the missing object first, as an empty one; without one the read itself fails.
                Err(StoreError::NotFound(_)) if job.codec != Codec::Plain => {
                    return Err(format!("unzip chunk {}: gzip.NewReader: EOF", short(&key)));
                }
                Err(error) => {
                    let place = job.target.store.home(&job.target.place, "");
                    let whole = place.splitn(4, '/').nth(3).map_or_else(|| key.clone(), |path| format!("{path}/{key}"));
                    let text = error.to_string();
                    let reason = text.split_once(&format!("{whole}: ")).map_or(&*text, |(_, reason)| reason);
                    return Err(format!("read chunk {} from backend: get object {whole:?}: {reason}", short(&key)));
                }
            },
            () = until_cancelled(&job.cancelled) => return Err("context canceled".to_owned()),
        };
        let (staging, codec) = (staging.to_owned(), job.codec);
        tokio::task::spawn_blocking(move || chunks::unpack(&bytes, codec, &staging, only.as_deref()))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("unzip chunk {}: {error}", short(&key)))
    }

    /// Adds the staged classes one by one. Each error is one class that did not come; the others do.
    pub(crate) async fn apply_classes(&self, job: &Job) -> Vec<String> {
        let mut errors = Vec::new();
        for class in &job.node.classes {
            self.knobs.at("restore-class").await;
            if let Err(error) = tokio::task::block_in_place(|| self.apply_class(job, class)) {
                errors.push(format!("{:?}: error when trying to restore class: {error}", class.name));
            }
        }
        errors
    }

    fn apply_class(&self, job: &Job, class: &ClassDescriptor) -> Result<(), String> {
        let name = &class.name;
        let folds = self.knobs.version.class_names_fold_case();
        let taken = self
            .db
            .class_names()
            .into_iter()
            .find(|known| known == name || (folds && known.to_lowercase() == name.to_lowercase()));
        match taken {
            Some(known) if known == *name => return Err(format!("class name {name} already exists")),
            Some(known) => return Err(format!("class already exists: found similar class {known:?}")),
            None if folds && self.db.aliases().contains_key(name) => {
                return Err(format!("alias name {name} already exists"));
            }
            None => {}
        }
        let mut definition = decode(&class.schema).map_err(|error| format!("unmarshal class schema: {error}"))?;
        if let Some(replication) = definition["replicationConfig"].as_object_mut() {
            replication.entry("asyncEnabled").or_insert(Value::Bool(false));
        }
        let sharding = decode(&class.sharding_state).map_err(|error| format!("unmarshal sharding state: {error}"))?;
        let staging = self.staging(name);
        let staged = staging.join(name.to_lowercase());
        if self.knobs.restore_empties.contains(name) {
            fs::remove_dir_all(&staged).map_err(|error| error.to_string())?;
        }
        // As in the real server, a move that fails is only logged: the class is added all the same, without its data.
        if let Err(error) = fs::rename(&staged, self.db.root().join(name.to_lowercase())) {
            eprintln!("lifeboat-node: restore class {name}: move staged files: {error}");
        }
        if let Err(error) = fs::remove_dir_all(&staging) {
            eprintln!("lifeboat-node: restore class {name}: remove staging: {error}");
        }
        self.db.adopt_class(definition, sharding).map_err(|refusal| refusal.message().to_owned())?;
        self.restore_aliases(job, class);
        if let Some(count) = self.knobs.restore_drops.get(name) {
            self.drop_last(name, *count);
        }
        Ok(())
    }

    fn restore_aliases(&self, job: &Job, class: &ClassDescriptor) {
        let Ok(aliases) = decode(&class.aliases) else { return };
        for alias in aliases.as_array().into_iter().flatten().filter_map(|alias| alias["alias"].as_str()) {
            if let Err(refusal) = self.db.set_alias(alias, &class.name, job.overwrite_alias) {
                eprintln!("lifeboat-node: alias {alias} skipped: {}", refusal.message());
            }
        }
    }

    fn drop_last(&self, name: &str, count: usize) {
        let Some(class) = self.db.class(name) else { return };
        let Some(slot) = class.slots().values().next().cloned() else { return };
        if let Ok(shard) = class.peek(&slot) {
            let last: Vec<_> = shard.objects().keys().rev().take(count).copied().collect();
            for id in last {
                if let Err(error) = shard.delete(id) {
                    eprintln!("lifeboat-node: drop of {id}: {error}");
                }
            }
        }
    }
}

/// The last two segments of a key: `<Class>/chunk-<n>`.
fn short(key: &str) -> String {
    let mut pieces: Vec<&str> = key.rsplit('/').take(2).collect();
    pieces.reverse();
    pieces.join("/")
}

fn decode(text: &str) -> Result<Value, String> {
    let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}
