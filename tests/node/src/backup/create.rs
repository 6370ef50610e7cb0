//! Making a backup: validate, announce STARTED, answer, then upload and announce the end at a polling round.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::chunks::Codec;
use super::layout::{
    DistributedDescriptor, GLOBAL_BACKUP_FILE, NODE_FILE, NodeDescriptor, NodeEntry, STRUCTURE_VERSION,
};
use super::request::{CreateRequest, check_id, check_lists, expand, go_list};
use super::slots::{Cancelled, Outcome, is_cancelled};
use super::{Backups, Target};
use crate::auth::User;
use crate::errors::Refusal;
use crate::store::StoreError;
use crate::times;

/// The snapshot of dynamic users that a server without any takes.
const NO_USERS: &str = r#"{"Data":{"SecureKeyStorageById":{},"IdentifierToId":{},"IdToIdentifier":{},"Users":{},"UserKeyRevoked":{},"ImportedApiKeysWeakHash":{}},"Version":0}"#;

/// How long a participant that was asked waits for its commit: not a polling round, and not scaled like one.
const COMMIT_WAIT: std::time::Duration = std::time::Duration::from_secs(20);

/// The snapshot of roles that a server with RBAC and no role of its own takes.
const NO_ROLES: &str = r#"{"roles_policies":[],"grouping_policies":[],"version":2}"#;

/// A create that has been accepted.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Target,
    pub(crate) classes: Vec<String>,
    pub(crate) codec: Codec,
    /// Shards uploaded side by side.
    pub(crate) workers: usize,
    /// The node's descriptors of the base backups, newest first.
    pub(crate) bases: Vec<NodeDescriptor>,
    pub(crate) cancelled: Cancelled,
    descriptor: DistributedDescriptor,
}

impl Backups {
    /// `POST /v1/backups/{backend}`.
    pub(crate) async fn start_create(
        self: &Arc<Self>,
        user: &User,
        backend: &str,
        request: CreateRequest,
    ) -> Result<Value, Refusal> {
        let config = request.config.unwrap_or_default();
        config.check()?;
        let base = request.base.unwrap_or_default();
        if request.id == base {
            return Err(Refusal::internal(format!("base backup cannot be the same as the new backup ID: {base}")));
        }
        let include = request.include.unwrap_or_default();
        let exclude = request.exclude.unwrap_or_default();
        if !include.is_empty() {
            self.auth.allow_backups(user, 'C', &include)?;
        }
        let target = self.target(backend, "backend", &request.id, config.place())?;
        check_id(&request.id)?;
        if !base.is_empty() {
            check_id(&base).map_err(|error| Refusal::unprocessable(format!("base backup id: {}", error.message())))?;
        }
        check_lists(&include, &exclude)?;
        let classes = self.choose_classes(&include, &exclude)?;
        self.startup_window()?;
        if request.include_users.is_some_and(|users| !users.is_empty()) {
            return Err(Refusal::unprocessable("'includeUsers' was set but dynamic DB users are not enabled"));
        }
        if self.knobs.version.chooses_roles() && request.include_roles.is_some_and(|roles| !roles.is_empty()) {
            return Err(Refusal::unprocessable("'includeRoles' was set but RBAC is not enabled"));
        }
        self.refuse_used_id(&target).await?;
        let codec = config.codec()?;
        let now = times::now();
        self.check_chain(&target, &base, now, codec).await?;
        let classes = self.permitted(user, !include.is_empty(), classes)?;
        self.probe(&target, &target.id).await.map_err(|error| Refusal::internal(format!("init uploader: {error}")))?;
        if self.knobs.no_leader {
            return Err(Refusal::internal("backup Op create: leader not found, try again later"));
        }
        self.create
            .take(&target.id, target.home())
            .map_err(|busy| Refusal::unprocessable(format!("backup {busy} already in progress")))?;
        let held = self.commit(&target).await;
        let cancelled = match held {
            Ok(cancelled) => cancelled,
            Err(refusal) => {
                self.create.release();
                return Err(refusal);
            }
        };
        let entry = NodeEntry { classes: classes.clone(), ..NodeEntry::default() };
        let descriptor = DistributedDescriptor {
            started_at: now,
            completed_at: times::zero(),
            id: target.id.clone(),
            nodes: BTreeMap::from([(self.node.clone(), Some(entry))]),
            node_mapping: None,
            status: "STARTED".to_owned(),
            version: STRUCTURE_VERSION.to_owned(),
            server_version: self.knobs.version.text().to_owned(),
            leader: self.node.clone(),
            error: String::new(),
            size: 0,
            compression: codec.name().to_owned(),
            base: base.clone(),
        };
        if let Err(error) = target.put_meta(GLOBAL_BACKUP_FILE, &descriptor).await {
            self.create.release();
            // The participant waits for a commit that never comes, and keeps its own slot meanwhile.
            let this = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(COMMIT_WAIT).await;
                this.creating.unbook();
            });
            return Err(Refusal::internal(format!("coordinator: cannot init meta file: {error}")));
        }
        let mut answer = json!({
            "backend": backend, "classes": classes, "id": target.id, "path": target.home(), "status": "STARTED"
        });
        if !target.place.bucket.is_empty() {
            answer["bucket"] = json!(target.place.bucket);
        }
        let bases = self.node_chain(&target, &base).await;
        let workers = config.workers();
        let job = Job { target, classes, codec, workers, bases, descriptor, cancelled };
        tokio::spawn(Arc::clone(self).run_create(job));
        Ok(answer)
    }

    fn choose_classes(&self, include: &[String], exclude: &[String]) -> Result<Vec<String>, Refusal> {
        let all = self.db.class_names();
        if all.is_empty() {
            return Err(Refusal::unprocessable("no available classes to backup, there's nothing to do here"));
        }
        let wildcards = self.knobs.version.expands_wildcards();
        let include = expand(include, &all, wildcards);
        let exclude = expand(exclude, &all, wildcards);
        let mut classes = if include.is_empty() { all.clone() } else { include };
        classes.retain(|class| !exclude.contains(class));
        if classes.is_empty() {
            return Err(Refusal::unprocessable(format!("empty class list: please choose from : {}", go_list(&all))));
        }
        match classes.iter().find(|class| !all.contains(class)) {
            Some(unknown) => Err(Refusal::unprocessable(format!("class {unknown} doesn't exist"))),
            None => Ok(classes),
        }
    }

    async fn refuse_used_id(&self, target: &Target) -> Result<(), Refusal> {
        let found = target.meta(GLOBAL_BACKUP_FILE).await;
        let home = target.home();
        match found {
            Err(error) if error.is_missing() => {
                // The legacy layout had the node's descriptor at the top.
                match target.store.get(&target.place, &target.key(NODE_FILE)).await {
                    Ok(_) => Err(Refusal::unprocessable(format!(
                        "check if backup {:?} exists at {home:?}: backup was created by Weaviate older than v1.23, which can no longer be restored by this version",
                        target.id
                    ))),
                    Err(_) => Ok(()),
                }
            }
            Err(error) => {
                Err(Refusal::unprocessable(format!("check if backup {:?} exists at {home:?}: {error}", target.id)))
            }
            Ok(meta) if meta.status == "CANCELED" => {
                Err(Refusal::unprocessable(format!("check if backup {:?} exists at {home:?}: %!w(<nil>)", target.id)))
            }
            Ok(_) => Err(Refusal::unprocessable(format!("backup {:?} already exists at {home:?}", target.id))),
        }
    }

    /// Follows the chain of base backups by their global descriptors and refuses one that would not restore.
    pub(crate) async fn check_chain(
        &self,
        target: &Target,
        base: &str,
        mut child_started: Timestamp,
        codec: Codec,
    ) -> Result<(), Refusal> {
        let refuse = |text: String| Err(Refusal::unprocessable(format!("resolve base backup chain: {text}")));
        let mut next = base.to_owned();
        let mut visited = Vec::new();
        while !next.is_empty() {
            if visited.contains(&next) {
                return refuse(format!(
                    "circular references in backup ids detected, all visited IDs: {visited:?}, circular ID {next}"
                ));
            }
            visited.push(next.clone());
            let at = Target { id: next.clone(), ..target.clone() };
            let meta = match at.meta(GLOBAL_BACKUP_FILE).await {
                Ok(meta) => meta,
                Err(error) => return refuse(format!("could not fetch base backup: {error}")),
            };
            if meta.compression != codec.name() {
                return refuse(format!(
                    "backup {next:?} has compression type {:?}, expected {:?}",
                    meta.compression,
                    codec.name()
                ));
            }
            if meta.status != "SUCCESS" {
                return refuse(format!("backup {next:?} has status {:?}, expected \"SUCCESS\"", meta.status));
            }
            if meta.started_at >= child_started {
                return refuse(format!(
                    "base backup {next:?} started at {} is not older than the backup that depends on it (started at {child_started}): the base was re-created and the chain is no longer valid",
                    meta.started_at
                ));
            }
            child_started = meta.started_at;
            next = meta.base;
        }
        Ok(())
    }

    /// The node's own descriptors along the chain, newest first; none when the node was not in the base.
    async fn node_chain(&self, target: &Target, base: &str) -> Vec<NodeDescriptor> {
        let mut chain = Vec::new();
        let mut next = base.to_owned();
        while !next.is_empty() {
            let key = format!("{next}/{}/{NODE_FILE}", self.node);
            let read = target.store.get(&target.place, &key).await.ok();
            match read.and_then(|bytes| serde_json::from_slice::<NodeDescriptor>(&bytes).ok()) {
                Some(descriptor) => {
                    next.clone_from(&descriptor.base);
                    chain.push(descriptor);
                }
                None => return Vec::new(),
            }
        }
        chain
    }

    async fn commit(&self, target: &Target) -> Result<Cancelled, Refusal> {
        let refuse = |text: String| Refusal::internal(format!("node {:?}: cannot commit : {text}", self.node));
        self.probe(target, &format!("{}/{}", target.id, self.node))
            .await
            .map_err(|error| refuse(format!("init uploader: {error}")))?;
        self.creating.book(&target.id).map_err(|busy| refuse(format!("backup {busy} already in progress")))
    }

    async fn run_create(self: Arc<Self>, job: Job) {
        self.knobs.at("create-accepted").await;
        let id = job.target.id.clone();
        let mut descriptor = job.descriptor.clone();
        let target = job.target.clone();
        let participant = {
            let this = Arc::clone(&self);
            tokio::spawn(async move { this.take_part(job).await })
        };
        let mut wait = self.knobs.round(2.0);
        let outcome = loop {
            tokio::time::sleep(wait).await;
            if let Some(outcome) = self.creating.outcome(&id) {
                break outcome;
            }
            if participant.is_finished() {
                break self.creating.outcome(&id).unwrap_or_else(|| Outcome::Failed("node might be down".to_owned()));
            }
            wait = self.knobs.round(10.0);
        };
        descriptor.completed_at = times::now();
        let node = self.node_result(&target).await;
        let (status, error) = match outcome {
            Outcome::Success if node.is_err() => ("FAILED", node.as_ref().err().cloned().unwrap_or_default()),
            Outcome::Success => ("SUCCESS", String::new()),
            Outcome::Failed(reason) => ("FAILED", reason),
            Outcome::Canceled(reason) => ("CANCELED", reason),
        };
        if let Some(Some(entry)) = descriptor.nodes.get_mut(&self.node) {
            status.clone_into(&mut entry.status);
            entry.error.clone_from(&error);
            if status == "SUCCESS"
                && let Ok(size) = node
            {
                entry.size = size;
                descriptor.size = size;
            }
        }
        status.clone_into(&mut descriptor.status);
        descriptor.error.clone_from(&error);
        // SUCCESS is announced from memory first; should the write below fail, the store says STARTED for good.
        if status == "FAILED" {
            self.create.fail(&error)
        } else {
            self.create.set(status)
        }
        self.knobs.at("create-before-final").await;
        if let Err(error) = target.put_meta(GLOBAL_BACKUP_FILE, &descriptor).await {
            eprintln!("lifeboat-node: coordinator: put_meta: {error}");
        }
        self.create.release();
    }

    /// The size in the node's own descriptor, which the coordinator reads at the end. It fails the backup if it is not
    /// there, also where the participant kept silent about that (seen on 1.39.0).
    async fn node_result(&self, target: &Target) -> Result<u64, String> {
        let key = target.key(&format!("{}/{NODE_FILE}", self.node));
        match target.store.get(&target.place, &key).await {
            Ok(bytes) => Ok(serde_json::from_slice::<NodeDescriptor>(&bytes).map_or(0, |node| node.size)),
            Err(StoreError::NotFound(text)) => Err(format!(
                "cannot get status while backing up: metadata not found: \"{}/{NODE_FILE}\": {text}",
                target.id
            )),
            Err(StoreError::Failed(_)) => Ok(0),
        }
    }

    /// The participant's part: upload everything, then its own descriptor, once.
    async fn take_part(&self, job: Job) {
        let staging = self.db.root().join(format!(".backup-staging-{}", job.target.id));
        let mut descriptor = NodeDescriptor {
            started_at: times::now(),
            completed_at: times::zero(),
            id: job.target.id.clone(),
            classes: Vec::new(),
            rbac: if self.auth.has_rbac() {
                Some(STANDARD.encode(NO_ROLES))
            } else {
                self.knobs.version.writes_no_roles_as_empty().then(String::new)
            },
            users: Some(STANDARD.encode(NO_USERS)),
            status: "TRANSFERRING".to_owned(),
            version: STRUCTURE_VERSION.to_owned(),
            server_version: self.knobs.version.text().to_owned(),
            error: String::new(),
            size: 0,
            compression: Some(job.codec.name().to_owned()),
            base: if job.bases.is_empty() { String::new() } else { job.descriptor.base.clone() },
        };
        let result = self.upload_all(&job, &staging, &mut descriptor).await;
        if let Err(error) = std::fs::remove_dir_all(&staging)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("lifeboat-node: failed to release backup: {error}");
        }
        let mut outcome = match result {
            Ok(()) => Outcome::Success,
            Err(error) if is_cancelled(&job.cancelled) => Outcome::Canceled(error),
            Err(error) => Outcome::Failed(error),
        };
        descriptor.status = match &outcome {
            Outcome::Success => "SUCCESS",
            Outcome::Canceled(_) => "CANCELED",
            Outcome::Failed(_) if self.knobs.version.keeps_failures() => "FAILED",
            Outcome::Failed(_) => "TRANSFERRING",
        }
        .to_owned();
        if let Outcome::Failed(error) | Outcome::Canceled(error) = &outcome {
            descriptor.error.clone_from(error);
        }
        self.knobs.at("create-before-node-descriptor").await;
        let key = job.target.key(&format!("{}/{NODE_FILE}", self.node));
        let bytes = serde_json::to_vec(&descriptor).unwrap_or_default();
        if let Err(error) = job.target.put_file(NODE_FILE, &key, bytes).await
            && self.knobs.version.keeps_failures()
        {
            outcome = match outcome {
                Outcome::Success => Outcome::Failed(error.to_string()),
                Outcome::Failed(reason) => Outcome::Failed(format!("upload {reason}: {error}")),
                canceled @ Outcome::Canceled(_) => canceled,
            };
        }
        self.creating.finish(&job.target.id, outcome);
    }
}
