//! Restores of a node twin: everything is read back from the bucket, and a bit flipped there is noticed
//! (facts: weaviate.md §3, §8).

use std::collections::BTreeMap;
use std::time::Duration;

use lifeboat_domain::ids::{BackupId, InstanceId};
use lifeboat_domain::keys::BACKUP_PATH;
use lifeboat_domain::weaviate::{GlobalDescriptor, NodeDescriptor, OperationStatus};
use serde_json::{Value, json};

use super::NodeDue;
use super::backup::{FIRST_ROUND, LATER_ROUND, decoded, server_error};
use super::data::{ClassData, open_chunk};
use super::search::refused;
use crate::ports::node::{Accepted, NodeError, Progress};
use crate::twins::World;
use crate::twins::events::Effect;
use crate::twins::objects::etag_of;
use crate::twins::world::{Due, Inner};

/// The occupied slot for restores.
#[derive(Debug)]
pub(super) struct RestoreOp {
    id: BackupId,
    /// Where it is read from and written to.
    path: String,
    number: u64,
    include: Vec<String>,
    started_at: String,
    rounds_left: u32,
    canceled: bool,
    /// Downloaded, and being applied: a cancel is refused.
    downloaded: Option<BTreeMap<String, ClassData>>,
}

impl Inner {
    pub(super) fn start_restore(
        &mut self,
        instance: &InstanceId,
        id: &BackupId,
        include: &[String],
        path: Option<&str>,
    ) -> Result<Accepted, NodeError> {
        let what = "start restore";
        let path = path.unwrap_or(BACKUP_PATH);
        let missing = |message: String| NodeError::NotFound { what: format!("backup {id}"), message };
        let Some(node) = self.nodes.get_mut(instance) else { return Err(server_error(what, "no node")) };
        let (name, rounds) = (node.settings.name.clone(), node.settings.rounds);
        if let Some(message) = node.faults.refuse_restore.take() {
            return Err(refused(what, 422, message));
        }
        if node.faults.bucket_denied {
            return Err(server_error(what, "put initial metadata: Access Denied"));
        }
        let stored = self.bytes_at(path, id, "backup_config.json");
        let stored = stored.ok_or_else(|| missing(format!("backup id \"{id}\" does not exist: metadata not found")))?;
        let global: GlobalDescriptor =
            serde_json::from_slice(&stored).map_err(|error| server_error(what, &error.to_string()))?;
        if global.status != OperationStatus::Success {
            let text = format!("invalid backup in scheduler s3://{} status: {:?}", World::BUCKET, global.status);
            return Err(refused(what, 422, text));
        }
        if !global.version.starts_with("2.") {
            let text = format!("unable to restore backup as it was produced by a higher version: {}", global.version);
            return Err(refused(what, 422, text));
        }
        let Some(of_node) = global.nodes.get(&name) else {
            let names: Vec<&String> = global.nodes.keys().collect();
            return Err(server_error(what, &format!("cannot resolve hostname for {names:?}")));
        };
        if self.bytes_at(path, id, &format!("{name}/backup.json")).is_none() {
            return Err(missing(format!("fetch meta of node \"{name}\": metadata not found")));
        }
        if let Some(unknown) = include.iter().find(|c| !of_node.classes.contains(c)) {
            let text = format!("class {unknown} doesn't exist in the backup, but does have {:?}: ", of_node.classes);
            return Err(refused(what, 422, text));
        }
        let wedged = self.restore_text(path, id).is_some_and(|d| d["status"] == "CANCELLING");
        let (number, now) = (self.mint(), self.now);
        let Some(node) = self.nodes.get_mut(instance) else { return Err(server_error(what, "no node")) };
        let narrow = node.faults.narrow_to.as_ref();
        let wanted = |c: &&String| (include.is_empty() || include.contains(c)) && narrow.is_none_or(|n| n.contains(c));
        let include: Vec<String> = of_node.classes.iter().filter(wanted).cloned().collect();
        let accepted = Accepted { classes: include.clone(), status: OperationStatus::Started };
        if wedged && node.restore.as_ref().is_none_or(|op| op.id != *id) {
            // Trap 10: says STARTED, does nothing, and clears the slot of another restore.
            node.restore = None;
            return Ok(accepted);
        }
        if let Some(busy) = &node.restore {
            return Err(refused(what, 422, format!("restoration {} already in progress", busy.id)));
        }
        node.restore = Some(RestoreOp {
            id: id.clone(),
            path: path.to_owned(),
            number,
            include,
            started_at: now.to_string(),
            rounds_left: rounds,
            canceled: false,
            downloaded: None,
        });
        self.write_restore(instance, "TRANSFERRING", "");
        self.effects.push(Effect::RestoreAsked { instance: instance.clone(), id: id.clone() });
        self.later(FIRST_ROUND, Due::Node(instance.clone(), NodeDue::RestoreRound(number)));
        Ok(accepted)
    }

    fn bytes_at(&mut self, path: &str, id: &BackupId, file: &str) -> Option<Vec<u8>> {
        self.store(World::BUCKET).bytes(&format!("{path}/{id}/{file}")).map(|body| body.to_vec())
    }

    fn restore_text(&mut self, path: &str, id: &BackupId) -> Option<Value> {
        serde_json::from_slice(&self.bytes_at(path, id, "restore_config.json")?).ok()
    }

    fn write_restore(&mut self, instance: &InstanceId, status: &str, error: &str) {
        let Some(node) = self.nodes.get(instance) else { return };
        let Some(op) = &node.restore else { return };
        let under_way = matches!(status, "TRANSFERRING" | "CANCELLING");
        let ended = if under_way { "0001-01-01T00:00:00Z".to_owned() } else { self.now.to_string() };
        let value = json!({
            "startedAt": op.started_at, "completedAt": ended, "id": op.id.as_str(),
            "nodes": {&node.settings.name: {"classes": op.include, "status": "STARTED", "error": error}},
            "node_mapping": null, "status": status, "version": "2.1", "serverVersion": node.settings.version,
            "leader": node.settings.name, "error": error, "preCompressionSizeBytes": 0,
            "compressionType": "gzip", "baseBackupId": ""
        });
        let (key, body) = (format!("{}/{}/restore_config.json", op.path, op.id), value.to_string().into_bytes());
        let etag = etag_of(&body);
        self.write_object(World::BUCKET, &key, body, etag);
    }

    pub(super) fn restore_round(&mut self, instance: &InstanceId, number: u64) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let Some(op) = node.restore.as_mut().filter(|op| op.number == number) else { return };
        op.rounds_left = op.rounds_left.saturating_sub(1);
        let (id, path, include) = (op.id.clone(), op.path.clone(), op.include.clone());
        if op.canceled {
            self.end_restore(instance, "CANCELED", "restore canceled");
        } else if node.faults.hang_restore || op.rounds_left > 0 {
            self.later(LATER_ROUND, Due::Node(instance.clone(), NodeDue::RestoreRound(number)));
        } else if let Some(error) = node.faults.fail_restore.take() {
            self.end_restore(instance, "FAILED", &error);
        } else {
            let name = node.settings.name.clone();
            match self.download(&path, &id, &name, &include) {
                Ok(downloaded) => {
                    if let Some(op) = self.nodes.get_mut(instance).and_then(|n| n.restore.as_mut()) {
                        op.downloaded = Some(downloaded);
                    }
                    self.write_restore(instance, "FINALIZING", "");
                    let applying = Duration::from_millis(500);
                    self.later(applying, Due::Node(instance.clone(), NodeDue::RestoreApply(number)));
                }
                Err(error) => self.end_restore(instance, "FAILED", &error),
            }
        }
    }

    fn end_restore(&mut self, instance: &InstanceId, status: &str, error: &str) {
        self.write_restore(instance, status, error);
        if let Some(node) = self.nodes.get_mut(instance) {
            node.restore = None;
        }
    }

    /// Reads every chunk of the classes, as it is in the bucket now.
    fn download(
        &mut self,
        at: &str,
        id: &BackupId,
        node: &str,
        include: &[String],
    ) -> Result<BTreeMap<String, ClassData>, String> {
        let bytes = self.bytes_at(at, id, &format!("{node}/backup.json")).ok_or("fetch meta: not found")?;
        let descriptor: NodeDescriptor = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let mut classes = BTreeMap::new();
        for class in descriptor.classes.iter().filter(|c| include.contains(&c.name)) {
            let definition = class.schema.as_deref().and_then(decoded);
            let described = definition
                .zip(class.decoded_sharding_state())
                .and_then(|(definition, sharding)| ClassData::described(definition, &sharding));
            let mut data = described.ok_or_else(|| format!("class {}: descriptor does not decode", class.name))?;
            for n in class.chunks.keys() {
                let path = format!("{node}/{}/chunk-{n}", class.name);
                let bytes = self.bytes_at(at, id, &path).ok_or_else(|| format!("get {path}: NoSuchKey"))?;
                let (shard, objects) = open_chunk(&bytes).ok_or_else(|| format!("{path}: gzip: invalid checksum"))?;
                let target = data.shards.get_mut(&shard).ok_or_else(|| format!("{path}: no shard {shard}"))?;
                target.objects.extend(objects);
            }
            classes.insert(class.name.clone(), data);
        }
        Ok(classes)
    }

    /// Adds what is not there yet; what is there already makes the restore fail, at the very end.
    pub(super) fn restore_apply(&mut self, instance: &InstanceId, number: u64) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let Some(op) = node.restore.as_mut().filter(|op| op.number == number) else { return };
        let mut errors = Vec::new();
        for (name, mut class) in op.downloaded.take().unwrap_or_default() {
            let same = |other: &String| other.eq_ignore_ascii_case(&name);
            if node.classes.keys().any(same) || node.aliases.keys().any(same) {
                errors
                    .push(format!("\"{name}\": error when trying to restore class: class name {name} already exists"));
                continue;
            }
            if node.faults.empty_on_restore.as_ref() == Some(&name) {
                node.faults.empty_on_restore = None;
                class.shards.values_mut().for_each(|shard| shard.objects.clear());
            }
            node.classes.insert(name, class);
        }
        node.queue_until = self.now.checked_add(node.faults.queue_after_restore).unwrap_or(self.now);
        if errors.is_empty() {
            self.end_restore(instance, "SUCCESS", "");
        } else {
            self.end_restore(instance, "FAILED", &format!("could not restore classes: [{}]", errors.join(" ")));
        }
    }

    pub(super) fn restore_status(
        &mut self,
        instance: &InstanceId,
        id: &BackupId,
        path: Option<&str>,
    ) -> Result<Progress, NodeError> {
        let what = "restore status";
        let stored = self.bytes_at(path.unwrap_or(BACKUP_PATH), id, "restore_config.json");
        let Some(node) = self.nodes.get_mut(instance) else { return Err(server_error(what, "no node")) };
        if node.faults.failing_polls > 0 {
            node.faults.failing_polls -= 1;
            return Err(server_error(what, "scripted"));
        }
        if let Some(text) = &node.faults.says_status {
            return Ok(Progress { status: OperationStatus::parse(text), error: String::new() });
        }
        if let Some(op) = node.restore.as_ref().filter(|op| op.id == *id) {
            let status = match (&op.downloaded, op.canceled) {
                (Some(_), _) => OperationStatus::Finalizing,
                (None, true) => OperationStatus::Cancelling,
                (None, false) => OperationStatus::Transferring,
            };
            return Ok(Progress { status, error: String::new() });
        }
        let Some(stored) = stored else {
            let message = "coordinator cannot get status: metadata not found".to_owned();
            return Err(NodeError::NotFound { what: format!("restore of {id}"), message });
        };
        let descriptor: GlobalDescriptor =
            serde_json::from_slice(&stored).map_err(|error| server_error(what, &error.to_string()))?;
        Ok(Progress { status: descriptor.status, error: descriptor.error })
    }

    pub(super) fn delete_class(&mut self, instance: &InstanceId, class: &str) -> Result<(), NodeError> {
        let Some(node) = self.nodes.get_mut(instance) else { return Err(server_error("delete class", "no node")) };
        node.classes.remove(class);
        Ok(())
    }

    pub(super) fn delete_alias(&mut self, instance: &InstanceId, alias: &str) -> Result<(), NodeError> {
        let Some(node) = self.nodes.get_mut(instance) else { return Err(server_error("delete alias", "no node")) };
        node.aliases.remove(alias);
        Ok(())
    }

    /// Trap 9: it cancels whatever restore occupies the slot, whatever the id.
    pub(super) fn cancel_restore(&mut self, instance: &InstanceId, id: &BackupId) -> Result<(), NodeError> {
        let what = "cancel restore";
        let succeeded = self.restore_text(BACKUP_PATH, id).is_some_and(|d| d["status"] == "SUCCESS");
        let Some(node) = self.nodes.get_mut(instance) else { return Err(server_error(what, "no node")) };
        match &mut node.restore {
            Some(op) if op.downloaded.is_some() => {
                let text = format!("restore \"{id}\" is applying schema changes and cannot be cancelled");
                Err(refused(what, 422, text))
            }
            Some(op) => {
                op.canceled = true;
                self.write_restore(instance, "CANCELLING", "");
                Ok(())
            }
            None if succeeded => Err(refused(what, 422, format!("restore \"{id}\" already succeeded"))),
            None => Ok(()),
        }
    }
}
