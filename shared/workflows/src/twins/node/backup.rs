//! Backups of a node twin, written as Weaviate writes them: descriptor, chunks, node descriptor, descriptor again
//! (facts: weaviate.md §1.4, §2, §8).

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_domain::expectations::TenantStatus;
use lifeboat_domain::ids::{BackupId, InstanceId};
use lifeboat_domain::keys::Key;
use lifeboat_domain::weaviate::{GlobalDescriptor, OperationStatus};
use serde_json::{Value, json};

use super::NodeDue;
use super::data::{ClassData, ObjectData, chunk};
use super::search::refused;
use crate::ports::node::{Accepted, NodeError, Progress};
use crate::twins::World;
use crate::twins::events::Effect;
use crate::twins::objects::{etag_of, multipart_etag_of};
use crate::twins::world::{Due, Inner};

/// The first look of Weaviate's coordinator at its participants, and each later one.
pub(super) const FIRST_ROUND: Duration = Duration::from_secs(2);
pub(super) const LATER_ROUND: Duration = Duration::from_secs(10);
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// The occupied slot for creates.
#[derive(Debug)]
pub(super) struct CreateOp {
    pub(super) id: BackupId,
    number: u64,
    started_at: String,
    taken: BTreeMap<String, ClassData>,
    aliases: BTreeMap<String, String>,
    rounds_left: u32,
    canceled: bool,
    done: bool,
    fails: Option<String>,
}

pub(super) fn server_error(what: &str, detail: &str) -> NodeError {
    NodeError::Unknown { what: what.to_owned(), detail: format!("HTTP 500: {detail}") }
}

pub(super) fn decoded(text: &str) -> Option<Value> {
    serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()
}

fn encoded(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

impl Inner {
    /// An object of a backup as this or another node wrote it.
    pub(super) fn backup_bytes(&mut self, id: &BackupId, path: &str) -> Option<Vec<u8>> {
        let key = Key::BackupObject(id.clone(), path.to_owned()).to_string();
        self.store(World::BUCKET).bytes(&key).map(|body| body.to_vec())
    }

    pub(super) fn write_descriptor(&mut self, id: &BackupId, path: &str, value: &Value) {
        let (key, body) = (Key::BackupObject(id.clone(), path.to_owned()).to_string(), value.to_string().into_bytes());
        let etag = etag_of(&body);
        self.write_object(World::BUCKET, &key, body, etag);
    }

    fn access_check(&mut self, id: &BackupId) {
        let key = Key::BackupObject(id.clone(), "access-check".to_owned()).to_string();
        self.write_object(World::BUCKET, &key, Vec::new(), etag_of(b""));
        let (now, versioned) = (self.now, self.settings.versioned);
        self.store(World::BUCKET).delete(&key, now, versioned);
    }

    pub(super) fn create_backup(
        &mut self,
        instance: &InstanceId,
        id: &BackupId,
        include: &[String],
    ) -> Result<Accepted, NodeError> {
        let what = "create backup";
        let exists = self.backup_bytes(id, "backup_config.json");
        let now = self.now;
        let Some(node) = self.nodes.get_mut(instance) else { return Err(server_error(what, "no node")) };
        if let Some(message) = node.faults.refuse_create.take() {
            return Err(refused(what, 422, message));
        }
        if let Some(twice) = include.iter().enumerate().find(|(n, c)| include[..*n].contains(c)).map(|(_, c)| c) {
            return Err(refused(what, 422, format!("class list 'include' contains duplicate: {twice}")));
        }
        if let Some(unknown) = include.iter().find(|c| !node.classes.contains_key(*c)) {
            return Err(refused(what, 422, format!("class {unknown} doesn't exist")));
        }
        if node.classes.is_empty() {
            return Err(refused(what, 422, "no available classes to backup, there's nothing to do here"));
        }
        if node.faults.bucket_denied {
            return Err(refused(what, 422, format!("check if backup {id:?} exists: Access Denied")));
        }
        if let Some(existing) = exists {
            self.effects.push(Effect::BackupAsked { instance: instance.clone(), id: id.clone() });
            let canceled = serde_json::from_slice::<Value>(&existing).is_ok_and(|d| d["status"] == "CANCELED");
            let text = if canceled { "check if backup exists: %!w(<nil>)" } else { "already exists" };
            return Err(refused(what, 422, format!("backup \"{id}\" {text} at \"s3://{}\"", World::BUCKET)));
        }
        if !node.settings.skip_access_check {
            self.access_check(id);
        }
        let number = self.mint();
        let Some(node) = self.nodes.get_mut(instance) else { return Err(server_error(what, "no node")) };
        if let Some(busy) = &node.create {
            return Err(refused(what, 422, format!("backup {} already in progress", busy.id)));
        }
        let wanted = |name: &String| {
            let narrow = node.faults.narrow_to.as_ref();
            (include.is_empty() || include.contains(name)) && narrow.is_none_or(|n| n.contains(name))
        };
        let taken: BTreeMap<String, ClassData> =
            node.classes.iter().filter(|(name, _)| wanted(name)).map(|(n, c)| (n.clone(), c.clone())).collect();
        let aliases = node.aliases.iter().filter(|(_, class)| taken.contains_key(*class));
        let op = CreateOp {
            id: id.clone(),
            number,
            started_at: now.to_string(),
            aliases: aliases.map(|(a, c)| (a.clone(), c.clone())).collect(),
            taken,
            rounds_left: node.settings.rounds,
            canceled: false,
            done: false,
            fails: node.faults.fail_create.take(),
        };
        let classes: Vec<String> = op.taken.keys().cloned().collect();
        let started = self.global_descriptor(instance, &op, "STARTED", "", 0);
        self.write_descriptor(id, "backup_config.json", &started);
        if let Some(node) = self.nodes.get_mut(instance) {
            node.create = Some(op);
        }
        self.effects.push(Effect::BackupAsked { instance: instance.clone(), id: id.clone() });
        self.later(FIRST_ROUND, Due::Node(instance.clone(), NodeDue::CreateRound(number)));
        Ok(Accepted { classes, status: OperationStatus::Started })
    }

    fn global_descriptor(&self, instance: &InstanceId, op: &CreateOp, status: &str, error: &str, bytes: u64) -> Value {
        let settings = self.nodes.get(instance).map_or(&self.settings.node, |n| &n.settings);
        let ended = if status == "STARTED" { ZERO_TIME.to_owned() } else { self.now.to_string() };
        let of_node = if status == "STARTED" { "" } else { status };
        let classes: Vec<&String> = op.taken.keys().collect();
        json!({
            "startedAt": op.started_at, "completedAt": ended, "id": op.id.as_str(),
            "nodes": {&settings.name: {
                "classes": classes, "status": of_node, "error": error, "preCompressionSizeBytes": bytes
            }},
            "node_mapping": null, "status": status, "version": "2.1", "serverVersion": settings.version,
            "leader": settings.name, "error": error, "preCompressionSizeBytes": bytes,
            "compressionType": "gzip", "baseBackupId": ""
        })
    }

    pub(super) fn create_round(&mut self, instance: &InstanceId, number: u64) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let (hangs, wedged) = (node.faults.hang_create, node.faults.wedge_create);
        let Some(op) = node.create.as_mut().filter(|op| op.number == number) else { return };
        op.rounds_left = op.rounds_left.saturating_sub(1);
        if wedged || (!op.canceled && (hangs || op.rounds_left > 0)) {
            self.later(LATER_ROUND, Due::Node(instance.clone(), NodeDue::CreateRound(number)));
            return;
        }
        let Some(op) = node.create.take() else { return };
        let broken = if op.canceled { Some("context canceled".to_owned()) } else { op.fails.clone() };
        if let Some(error) = broken {
            let status = if op.canceled { "CANCELED" } else { "FAILED" };
            self.write_node_descriptor(instance, &op, status, &error, &[], 0);
            let last = self.global_descriptor(instance, &op, status, &error, 0);
            self.write_descriptor(&op.id, "backup_config.json", &last);
            return;
        }
        let (classes, bytes) = self.write_chunks(instance, &op);
        let lost = self.nodes.get_mut(instance).is_some_and(|n| std::mem::take(&mut n.faults.lose_node_descriptor));
        if !lost {
            self.write_node_descriptor(instance, &op, "SUCCESS", "", &classes, bytes);
        }
        let after = Duration::from_millis(50);
        self.later(after, Due::Node(instance.clone(), NodeDue::CreateFinal(number, bytes)));
        if let Some(node) = self.nodes.get_mut(instance) {
            node.create = Some(CreateOp { done: true, ..op });
        }
    }

    /// The last write of the global descriptor, a moment after SUCCESS was announced.
    pub(super) fn create_final(&mut self, instance: &InstanceId, number: u64, bytes: u64) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let Some(op) = node.create.take_if(|op| op.number == number) else { return };
        if !std::mem::take(&mut node.faults.lose_final_put) {
            let last = self.global_descriptor(instance, &op, "SUCCESS", "", bytes);
            self.write_descriptor(&op.id, "backup_config.json", &last);
        }
    }

    fn write_chunks(&mut self, instance: &InstanceId, op: &CreateOp) -> (Vec<Value>, u64) {
        let settings = self.nodes.get(instance).map_or(&self.settings.node, |n| &n.settings).clone();
        let (mut classes, mut bytes) = (Vec::new(), 0);
        for (name, class) in &op.taken {
            let (mut chunks, mut shards) = (BTreeMap::new(), Vec::new());
            for (shard, data) in class.shards.iter().filter(|(_, d)| d.status != TenantStatus::Offloaded) {
                let objects: Vec<(&String, &ObjectData)> = data.objects.iter().collect();
                let mut parts: Vec<&[(&String, &ObjectData)]> = objects.chunks(settings.chunk_objects_max).collect();
                if parts.is_empty() {
                    parts.push(&[]);
                }
                for part in parts {
                    let n = chunks.len() + 1;
                    chunks.insert(n.to_string(), vec![shard]);
                    let path = format!("{}/{name}/chunk-{n}", settings.name);
                    let body = chunk(shard, part);
                    bytes += body.len() as u64;
                    let etag = multipart_etag_of(&body);
                    let key = Key::BackupObject(op.id.clone(), path).to_string();
                    self.write_object(World::BUCKET, &key, body, etag);
                }
                let file = format!("{}/{shard}/lsm/objects/segment-1.db", name.to_lowercase());
                let mut entry = json!({"name": shard, "node": settings.name, "incrementalBackupInfo": {}});
                if !data.objects.is_empty() {
                    entry["files"] = json!([file]);
                }
                shards.push(entry);
            }
            let aliases: Vec<&String> = op.aliases.iter().filter(|(_, c)| *c == name).map(|(a, _)| a).collect();
            classes.push(json!({
                "name": name, "backupId": op.id.as_str(), "shards": shards, "chunks": chunks,
                "shardingState": encoded(&class.sharding_state(name, &settings.name)),
                "schema": encoded(&class.definition), "aliases": encoded(&json!(aliases)), "aliasesIncluded": true,
                "preCompressionSizeBytes": 0
            }));
        }
        (classes, bytes)
    }

    fn write_node_descriptor(
        &mut self,
        instance: &InstanceId,
        op: &CreateOp,
        status: &str,
        error: &str,
        classes: &[Value],
        bytes: u64,
    ) {
        let settings = self.nodes.get(instance).map_or(&self.settings.node, |n| &n.settings);
        let value = json!({
            "startedAt": op.started_at, "completedAt": ZERO_TIME, "id": op.id.as_str(), "classes": classes,
            "rbacBackups": null, "userBackups": null, "status": status, "version": "2.1",
            "serverVersion": settings.version, "error": error, "preCompressionSizeBytes": bytes,
            "compressionType": "gzip"
        });
        let path = format!("{}/backup.json", settings.name);
        self.write_descriptor(&op.id, &path, &value);
    }

    pub(super) fn backup_status(&mut self, instance: &InstanceId, id: &BackupId) -> Result<Progress, NodeError> {
        let what = "backup status";
        let stored = self.backup_bytes(id, "backup_config.json");
        let Some(node) = self.nodes.get_mut(instance) else { return Err(server_error(what, "no node")) };
        if node.faults.failing_polls > 0 {
            node.faults.failing_polls -= 1;
            return Err(server_error(what, "scripted"));
        }
        if let Some(text) = &node.faults.says_status {
            return Ok(Progress { status: OperationStatus::parse(text), error: String::new() });
        }
        if let Some(op) = node.create.as_ref().filter(|op| op.id == *id) {
            let status = if op.done { OperationStatus::Success } else { OperationStatus::Started };
            return Ok(Progress { status, error: String::new() });
        }
        let Some(stored) = stored else {
            let message = "coordinator cannot get status: metadata not found".to_owned();
            return Err(NodeError::NotFound { what: format!("backup {id}"), message });
        };
        let descriptor: GlobalDescriptor =
            serde_json::from_slice(&stored).map_err(|error| server_error(what, &error.to_string()))?;
        Ok(Progress { status: descriptor.status, error: descriptor.error })
    }

    /// From the store alone: a running backup lists as STARTED, one broken descriptor breaks the list.
    pub(super) fn list_backups(&mut self) -> Result<Vec<(String, OperationStatus)>, NodeError> {
        let prefix = format!("{}/", lifeboat_domain::keys::BACKUP_PATH);
        let store = self.store(World::BUCKET);
        let of_backups = store.listed(&prefix, None).filter_map(|(key, current)| {
            let id = key.strip_prefix(&prefix)?.strip_suffix("/backup_config.json")?;
            (!id.contains('/')).then(|| (id.to_owned(), current.body.clone()))
        });
        of_backups
            .map(|(id, body)| {
                let descriptor: GlobalDescriptor = serde_json::from_slice(&body)
                    .map_err(|error| server_error("list backups", &format!("{id}: {error}")))?;
                Ok((id, descriptor.status))
            })
            .collect()
    }

    pub(super) fn cancel_backup(&mut self, instance: &InstanceId, id: &BackupId) -> Result<(), NodeError> {
        let stored = self.backup_bytes(id, "backup_config.json").unwrap_or_default();
        let succeeded = serde_json::from_slice::<Value>(&stored).is_ok_and(|d| d["status"] == "SUCCESS");
        let Some(node) = self.nodes.get_mut(instance) else { return Err(server_error("cancel backup", "no node")) };
        let probes = !node.settings.skip_access_check;
        let in_slot = node.create.as_mut().filter(|op| op.id == *id);
        let done = in_slot.as_ref().is_some_and(|op| op.done);
        if let Some(op) = in_slot {
            op.canceled = !op.done;
        }
        if probes {
            self.access_check(id);
        }
        if done || succeeded {
            return Err(refused("cancel backup", 422, format!("backup \"{id}\" already succeeded")));
        }
        Ok(())
    }
}
