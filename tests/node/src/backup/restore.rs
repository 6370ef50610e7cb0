//! Restoring: validate, answer, stage every class, then apply the schema. That a class exists is found only at the end.

use std::sync::Arc;

use serde_json::{Value, json};

use super::chunks::Codec;
use super::layout::{
    DistributedDescriptor, GLOBAL_BACKUP_FILE, GLOBAL_RESTORE_FILE, NODE_FILE, NodeDescriptor, STRUCTURE_VERSION,
};
use super::request::{RestoreRequest, check_lists, expand, go_list};
use super::slots::{Cancelled, Outcome};
use super::{Backups, Target, go_json};
use crate::auth::User;
use crate::errors::Refusal;
use crate::store::StoreError;
use crate::times;

/// A restore that has been accepted.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Target,
    /// Name under which the backup's files are kept.
    pub(crate) source_node: String,
    pub(crate) node: NodeDescriptor,
    pub(crate) codec: Codec,
    pub(crate) workers: usize,
    pub(crate) overwrite_alias: bool,
    pub(crate) cancelled: Cancelled,
    descriptor: DistributedDescriptor,
}

impl Backups {
    /// `POST /v1/backups/{backend}/{id}/restore`.
    pub(crate) async fn start_restore(
        self: &Arc<Self>,
        user: &User,
        backend: &str,
        id: &str,
        request: RestoreRequest,
    ) -> Result<Value, Refusal> {
        let config = request.config.unwrap_or_default();
        config.check()?;
        let include = request.include.unwrap_or_default();
        let exclude = request.exclude.unwrap_or_default();
        if !include.is_empty() {
            self.auth.allow_backups(user, 'C', &include)?;
        }
        let target = self.target(backend, "backend", id, config.place())?;
        check_lists(&include, &exclude)?;
        let mut meta = self.restorable(&target).await?;
        self.choose_from_backup(&mut meta, &include, &exclude)?;
        let mapping = request.node_mapping.unwrap_or_default();
        if mapping.keys().any(|old| !meta.nodes.contains_key(old)) {
            // The real server makes a nil entry here and then panics on it; its middleware writes nothing.
            return Err(Refusal::empty_ok());
        }
        if !mapping.is_empty() {
            meta.node_mapping = Some(mapping.clone());
        }
        let classes = self.permitted(user, !include.is_empty(), meta.classes())?;
        for node in meta.nodes.values_mut().flatten() {
            node.classes.retain(|class| classes.contains(class));
        }
        let leader = if meta.leader.is_empty() {
            meta.nodes.keys().next().cloned().unwrap_or_default()
        } else {
            meta.leader.clone()
        };
        let node = read_node(&target, &leader).await.map_err(|error| {
            let text = format!("fetch meta of node {leader:?}: {error}");
            match error {
                StoreError::NotFound(_) => Refusal::not_found(text),
                StoreError::Failed(_) => Refusal::internal(text),
            }
        })?;
        let answer = json!({
            "backend": backend, "classes": classes, "id": id, "path": target.home(), "status": "STARTED"
        });
        if let Ok(left) = target.meta(GLOBAL_RESTORE_FILE).await
            && left.status == "CANCELLING"
        {
            // Left over from a crash: nothing is done, and whoever holds the slot loses it.
            self.restore.release();
            return Ok(answer);
        }
        self.restore
            .take(id, target.home())
            .map_err(|busy| Refusal::unprocessable(format!("restoration {busy} already in progress")))?;
        meta.status = "STARTED".to_owned();
        meta.error = String::new();
        meta.started_at = times::now();
        meta.completed_at = times::zero();
        for node in meta.nodes.values_mut().flatten() {
            "STARTED".clone_into(&mut node.status);
            node.error.clear();
        }
        let committed = self.commit_restore(&target, &meta, node, &classes, config.workers()).await;
        let mut job = match committed {
            Ok(job) => job,
            Err(refusal) => {
                self.restore.release();
                return Err(refusal);
            }
        };
        job.overwrite_alias = request.overwrite_alias;
        "TRANSFERRING".clone_into(&mut job.descriptor.status);
        self.restore.set("TRANSFERRING");
        if let Err(error) = target.put_meta(GLOBAL_RESTORE_FILE, &job.descriptor).await {
            self.restore.release();
            self.restoring.unbook();
            return Err(Refusal::internal(format!("put initial metadata: {error}")));
        }
        tokio::spawn(Arc::clone(self).run_restore(job));
        Ok(answer)
    }

    /// Reads the global descriptor and refuses what cannot be restored.
    async fn restorable(&self, target: &Target) -> Result<DistributedDescriptor, Refusal> {
        let home = target.home();
        let meta = match target.meta(GLOBAL_BACKUP_FILE).await {
            Ok(meta) => meta,
            Err(error) if error.is_missing() => {
                if self.knobs.version.refuses_legacy_backups()
                    && target.store.get(&target.place, &target.key(NODE_FILE)).await.is_ok()
                {
                    return Err(Refusal::unprocessable(format!("find backup {home}: {LEGACY}")));
                }
                return Err(Refusal::not_found(format!(
                    "backup id {:?} does not exist: {error}: metadata not found",
                    target.id
                )));
            }
            Err(error) => return Err(Refusal::unprocessable(format!("find backup {home}: {error}"))),
        };
        if meta.id != target.id {
            return Err(Refusal::unprocessable(format!(
                "wrong backup file: restore request asked for {:?} but the descriptor at \"{}/{GLOBAL_BACKUP_FILE}\" reports its ID as {:?} (someone placed metadata from a different backup into this slot, or the backup_config.json was overwritten by an aborted operation; remove the slot and retry with the original backup ID)",
                target.id,
                // The real server cleans the address as if it were a path.
                home.replacen("//", "/", 1),
                meta.id
            )));
        }
        if meta.status != "SUCCESS" {
            return Err(Refusal::unprocessable(format!("invalid backup in scheduler {home} status: {}", meta.status)));
        }
        let legacy = meta.version.starts_with("1.") || meta.server_version.as_str() < "1.23";
        if legacy && self.knobs.version.refuses_legacy_backups() {
            return Err(Refusal::unprocessable(LEGACY));
        }
        if meta.version.is_empty() || meta.server_version.is_empty() || !meta.error.is_empty() {
            return Err(Refusal::unprocessable("corrupted backup file: attribute mismatch: [id versions time error]"));
        }
        if meta.nodes.is_empty() {
            return Err(Refusal::unprocessable("corrupted backup file: empty list of node descriptors"));
        }
        if meta.version.as_bytes()[0] > STRUCTURE_VERSION.as_bytes()[0] {
            return Err(Refusal::unprocessable(format!(
                "unable to restore backup as it was produced by a higher version: {} > {STRUCTURE_VERSION}",
                meta.version
            )));
        }
        let codec = codec_of(&meta.compression).map_err(Refusal::unprocessable)?;
        self.check_chain(target, &meta.base, meta.started_at, codec).await?;
        Ok(meta)
    }

    fn choose_from_backup(
        &self,
        meta: &mut DistributedDescriptor,
        include: &[String],
        exclude: &[String],
    ) -> Result<(), Refusal> {
        let all = meta.classes();
        let wildcards = self.knobs.version.expands_wildcards();
        let include = expand(include, &all, wildcards);
        let exclude = expand(exclude, &all, wildcards);
        if let Some(unknown) = include.iter().find(|class| !all.contains(class)) {
            return Err(Refusal::unprocessable(format!(
                "class {unknown} doesn't exist in the backup, but does have {}: ",
                go_list(&all)
            )));
        }
        for node in meta.nodes.values_mut().flatten() {
            node.classes
                .retain(|class| if include.is_empty() { !exclude.contains(class) } else { include.contains(class) });
        }
        meta.nodes.retain(|_, node| node.as_ref().is_none_or(|node| !node.classes.is_empty()));
        if meta.nodes.is_empty() {
            return Err(Refusal::unprocessable(format!(
                "nothing left to restore: please choose from : {}",
                go_list(&all)
            )));
        }
        Ok(())
    }

    /// Asks the participants: here, this one node under each name of the backup.
    async fn commit_restore(
        &self,
        target: &Target,
        meta: &DistributedDescriptor,
        schema: NodeDescriptor,
        classes: &[String],
        workers: usize,
    ) -> Result<Job, Refusal> {
        if self.knobs.no_leader {
            return Err(Refusal::internal("backup Op restore: leader not found, try again later"));
        }
        let mapping = meta.node_mapping.clone().unwrap_or_default();
        let mut source_node = String::new();
        for old in meta.nodes.keys() {
            let new = mapping.get(old).unwrap_or(old);
            if *new != self.node {
                return Err(Refusal::internal(format!(
                    "cannot resolve hostname for {new:?}, nodes=map[{}], nodeMapping=map[{}]",
                    meta.nodes.keys().map(|name| format!("{name}:0xc0001a2b40")).collect::<Vec<_>>().join(" "),
                    mapping.iter().map(|(old, new)| format!("{old}:{new}")).collect::<Vec<_>>().join(" "),
                )));
            }
            source_node.clone_from(old);
        }
        let refuse = |text: String| Refusal::internal(format!("node {:?}: cannot commit : {text}", self.node));
        let mut node = if meta.leader == source_node {
            schema
        } else {
            read_node(target, &source_node)
                .await
                .map_err(|error| refuse(format!("restorer cannot validate: metadata not found: {error}")))?
        };
        let home = format!("{}/{source_node}", target.home());
        if node.id != target.id {
            return Err(refuse(format!(
                "wrong backup file: restore request asked for {:?} but the per-node descriptor at \"{home}/{NODE_FILE}\" reports backup ID {:?}",
                target.id, node.id
            )));
        }
        if node.status != "SUCCESS" {
            return Err(refuse(format!("invalid backup in restorer {home} status: {}", node.status)));
        }
        if let Some(missing) = classes.iter().find(|class| !node.classes.iter().any(|entry| entry.name == **class)) {
            let names: Vec<String> = node.classes.iter().map(|class| class.name.clone()).collect();
            return Err(refuse(format!(
                "class {missing} doesn't exist in the backup, but does have {}: ",
                go_list(&names)
            )));
        }
        node.classes.retain(|class| classes.contains(&class.name));
        let codec = codec_of(node.compression.as_deref().unwrap_or("gzip")).map_err(refuse)?;
        let cancelled = self.restoring.book(&target.id).map_err(|busy| {
            refuse(if self.restoring.is_stopping(&target.id) {
                format!("restore {busy} cancellation in progress, please wait for it to complete")
            } else {
                format!("restore {busy} already in progress")
            })
        })?;
        Ok(Job {
            target: target.clone(),
            source_node,
            node,
            codec,
            workers,
            overwrite_alias: false,
            cancelled,
            descriptor: meta.clone(),
        })
    }

    async fn run_restore(self: Arc<Self>, job: Job) {
        self.knobs.at("restore-accepted").await;
        let job = Arc::new(job);
        let target = &job.target;
        {
            let (this, job) = (Arc::clone(&self), Arc::clone(&job));
            tokio::spawn(async move {
                let outcome = this.stage_all(&job).await;
                this.restoring.finish(&job.target.id, outcome);
            });
        }
        let mut wait = self.knobs.round(2.0);
        let outcome = loop {
            if self.restore.status() == "CANCELED" {
                break Outcome::Canceled("operation cancelled by user".to_owned());
            }
            tokio::time::sleep(wait).await;
            if let Some(outcome) = self.restoring.outcome(&target.id) {
                break outcome;
            }
            wait = self.knobs.round(10.0);
        };
        let mut descriptor = job.descriptor.clone();
        descriptor.completed_at = times::now();
        let (status, error) = match outcome {
            Outcome::Success => ("TRANSFERRED", String::new()),
            Outcome::Failed(reason) => ("FAILED", reason),
            Outcome::Canceled(reason) => ("CANCELED", reason),
        };
        status.clone_into(&mut descriptor.status);
        descriptor.error = error;
        descriptor.size = 0;
        for node in descriptor.nodes.values_mut().flatten() {
            let own = if status == "TRANSFERRED" { "SUCCESS" } else { status };
            own.clone_into(&mut node.status);
            node.error.clone_from(&descriptor.error);
        }
        // A mapped node is entered under its new name, and its old one stays.
        for (old, new) in descriptor.node_mapping.clone().unwrap_or_default() {
            if let Some(entry) = descriptor.nodes.get(&old).cloned() {
                descriptor.nodes.insert(new, entry);
            }
        }
        if self.restore.status() == "CANCELED" {
            "CANCELED".clone_into(&mut descriptor.status);
            if descriptor.error.is_empty() {
                "restore canceled by user".clone_into(&mut descriptor.error);
            }
        }
        self.publish_restore(&descriptor);
        if let Ok(stored) = target.meta(GLOBAL_RESTORE_FILE).await
            && matches!(stored.status.as_str(), "CANCELED" | "CANCELLING")
        {
            // Whoever cancelled has written the status already.
            self.restore.set("CANCELED");
            self.restore.release();
            return;
        }
        if descriptor.status == "TRANSFERRED" {
            "FINALIZING".clone_into(&mut descriptor.status);
            self.restore.set("FINALIZING");
            if let Err(error) = target.put_meta(GLOBAL_RESTORE_FILE, &descriptor).await {
                eprintln!("lifeboat-node: failed to persist finalizing status: {error}");
            }
            self.knobs.at("restore-finalizing").await;
            let errors = self.apply_classes(&job).await;
            if errors.is_empty() {
                "SUCCESS".clone_into(&mut descriptor.status);
            } else {
                "FAILED".clone_into(&mut descriptor.status);
                descriptor.error = format!("could not restore classes: [{}]", errors.join(" "));
            }
        }
        self.publish_restore(&descriptor);
        self.knobs.at("restore-before-final").await;
        if let Err(error) = target.put_meta(GLOBAL_RESTORE_FILE, &descriptor).await {
            eprintln!("lifeboat-node: coordinator: put_meta: {error}");
        }
        self.restore.release();
    }

    fn publish_restore(&self, descriptor: &DistributedDescriptor) {
        if descriptor.status == "FAILED" {
            self.restore.fail(&descriptor.error);
        } else {
            self.restore.set(&descriptor.status);
        }
    }
}

const LEGACY: &str = "backup was created by Weaviate older than v1.23, which stored shard files in a flat directory instead of one directory per shard, and can no longer be restored: restore it on a release that still supports it and create a new backup";

fn codec_of(name: &str) -> Result<Codec, String> {
    match name {
        "" | "gzip" => Ok(Codec::Gzip(6)),
        "none" => Ok(Codec::Plain),
        other => Err(format!("compression type {other:?} is not played by this double")),
    }
}

async fn read_node(target: &Target, node: &str) -> Result<NodeDescriptor, StoreError> {
    let bytes = target.store.get(&target.place, &target.key(&format!("{node}/{NODE_FILE}"))).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| StoreError::Failed(format!("marshal meta file {NODE_FILE:?}: {}", go_json(&error))))
}
