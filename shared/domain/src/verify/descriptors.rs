//! What Weaviate's own descriptors say of a backup, held to the listing and to the expectations
//! (facts: weaviate.md §2.3, §2.4, §2.9).

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, inventory::is_ignored};
use crate::expectations::{Expectations, TenantStatus};
use crate::ids::{BackupId, Sha256Digest};
use crate::keys::Key;
use crate::weaviate::{ClassDescriptor, GlobalDescriptor, IncrementalInfo, NodeDescriptor, OperationStatus};

/// The path of the global descriptor below the backup's prefix.
pub const GLOBAL_PATH: &str = "backup_config.json";

/// The descriptors of a backup, parsed from bytes that were read at pinned versions.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptors {
    /// `backup_config.json`.
    pub global: GlobalDescriptor,
    /// Its digest.
    pub global_sha256: Sha256Digest,
    /// `<node>/backup.json` of each node that has one, by node name.
    pub nodes: BTreeMap<String, (NodeDescriptor, Sha256Digest)>,
}

/// The path of a node's descriptor below the backup's prefix.
pub fn node_path(node: &str) -> String {
    format!("{node}/backup.json")
}

/// Parses the global descriptor.
pub fn parse_global(backup_id: &BackupId, bytes: &[u8]) -> Result<GlobalDescriptor, Finding> {
    serde_json::from_slice(bytes).map_err(|e| unreadable(backup_id, GLOBAL_PATH, &e))
}

/// Parses a node's descriptor.
pub fn parse_node(backup_id: &BackupId, node: &str, bytes: &[u8]) -> Result<NodeDescriptor, Finding> {
    serde_json::from_slice(bytes).map_err(|e| unreadable(backup_id, &node_path(node), &e))
}

fn key(backup_id: &BackupId, path: &str) -> String {
    Key::BackupObject(backup_id.clone(), path.to_owned()).to_string()
}

fn unreadable(backup_id: &BackupId, path: &str, error: &serde_json::Error) -> Finding {
    Finding::DescriptorUnreadable { key: key(backup_id, path), detail: error.to_string() }
}

/// Paths below a backup's prefix, with the bytes of the current objects.
pub type Sizes = BTreeMap<String, u64>;

/// The backups that this one builds on, by id as Weaviate spells it: objects of theirs belong to it.
pub fn bases(descriptors: &Descriptors) -> BTreeSet<String> {
    let nodes = descriptors.nodes.values().map(|(node, _)| node);
    let shards = nodes.clone().flat_map(|node| &node.classes).flat_map(|class| &class.shards);
    let taken = shards.filter_map(|s| s.incremental_backup_info.as_ref()).flat_map(|i| i.files_per_backup.keys());
    let named = nodes.filter_map(|node| node.base_backup_id.as_ref()).chain(&descriptors.global.base_backup_id);
    named.chain(taken).filter(|base| !base.is_empty()).cloned().collect()
}

/// Holds descriptors, current objects and expectations to each other. An empty answer means that they agree in
/// everything. `based_on` has what is under each of [`bases`].
pub fn check(
    backup_id: &BackupId,
    sizes: &Sizes,
    based_on: &BTreeMap<String, Sizes>,
    descriptors: &Descriptors,
    expectations: &Expectations,
) -> Vec<Finding> {
    let mut check = Check { backup_id, global: &descriptors.global, based_on, findings: Vec::new() };
    check.global(&descriptors.global);
    check.expectations(descriptors, expectations);
    for base in bases(descriptors) {
        check.base(base);
    }
    let mut named = BTreeSet::from([GLOBAL_PATH.to_owned()]);
    for (node, listed) in &descriptors.global.nodes {
        named.insert(node_path(node));
        let Some((descriptor, _)) = descriptors.nodes.get(node) else {
            check.findings.push(Finding::ObjectMissing { key: key(backup_id, &node_path(node)) });
            continue;
        };
        check.node(node, descriptor, &listed.classes);
        for class in &descriptor.classes {
            check.class(node, class, &mut named);
        }
    }
    for path in &named {
        match sizes.get(path) {
            None => check.findings.push(Finding::ObjectMissing { key: key(backup_id, path) }),
            Some(0) => check.findings.push(Finding::ObjectEmpty { key: key(backup_id, path) }),
            Some(_) => {}
        }
    }
    for path in sizes.keys().filter(|path| !named.contains(*path) && !is_ignored(path)) {
        check.findings.push(Finding::Unexplained { key: key(backup_id, path) });
    }
    check.findings.sort();
    check.findings.dedup();
    check.findings
}

struct Check<'a> {
    backup_id: &'a BackupId,
    global: &'a GlobalDescriptor,
    based_on: &'a BTreeMap<String, Sizes>,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn status(&mut self, path: &str, id: &str, status: &OperationStatus, error: &str) {
        let key = key(self.backup_id, path);
        if id != self.backup_id.as_str() {
            self.findings.push(Finding::IdDiffers { key: key.clone(), found: id.to_owned() });
        }
        if *status != OperationStatus::Success {
            self.findings.push(Finding::NotSuccess { key: key.clone(), status: format!("{status:?}") });
        }
        if !error.is_empty() {
            self.findings.push(Finding::DescriptorError { key, error: error.chars().take(300).collect() });
        }
    }

    fn global(&mut self, global: &GlobalDescriptor) {
        self.status(GLOBAL_PATH, &global.id, &global.status, &global.error);
        let key = key(self.backup_id, GLOBAL_PATH);
        if !global.version.starts_with("2.") {
            self.findings.push(Finding::StructureUnknown { key: key.clone(), found: global.version.clone() });
        }
        if global.nodes.is_empty() {
            self.findings.push(Finding::NoNodes { key: key.clone() });
        }
        for (node, part) in &global.nodes {
            if !matches!(part.status.as_str(), "" | "SUCCESS") {
                let status = format!("{} of node {node}", part.status);
                self.findings.push(Finding::NotSuccess { key: key.clone(), status });
            }
            if !part.error.is_empty() {
                let error = part.error.chars().take(300).collect();
                self.findings.push(Finding::DescriptorError { key: key.clone(), error });
            }
        }
    }

    /// A chain is held to be there, and refused all the same: nothing of ours asks for one.
    fn base(&mut self, base: String) {
        if self.based_on.get(&base).is_none_or(|sizes| !sizes.contains_key(GLOBAL_PATH)) {
            self.findings.push(Finding::BaseMissing { base: base.clone() });
        }
        self.findings.push(Finding::IncrementalNotSupported { base });
    }

    /// Objects that a shard takes from other backups.
    fn taken(&mut self, node: &str, info: &IncrementalInfo) {
        for (base, files) in &info.files_per_backup {
            let Some(there) = self.based_on.get(base) else { continue };
            let chunks = files.iter().filter_map(|file| file.get("chunkKeys")?.as_array()).flatten();
            for path in chunks.filter_map(|chunk| Some(format!("{node}/{}", chunk.as_str()?))) {
                if there.get(&path).is_none_or(|size_bytes| *size_bytes == 0) {
                    let empty = there.contains_key(&path);
                    let key = BackupId::parse(base).map_or_else(|_| path.clone(), |id| key(&id, &path));
                    self.findings.push(Finding::BaseObjectMissing { key, empty });
                }
            }
        }
    }

    fn expectations(&mut self, descriptors: &Descriptors, expectations: &Expectations) {
        if expectations.backup_id != *self.backup_id {
            self.findings.push(Finding::ExpectationsForeign { found: expectations.backup_id.to_string() });
        }
        let global = &descriptors.global;
        if !global.nodes.contains_key(&expectations.node_name) {
            self.findings.push(Finding::NodeAbsent { node: expectations.node_name.clone() });
        }
        let returned = returned_classes(global);
        let expected: BTreeSet<String> = expectations.collections.keys().cloned().collect();
        if returned != expected {
            self.findings.push(Finding::ClassesDiffer {
                missing: expected.difference(&returned).cloned().collect(),
                unexpected: returned.difference(&expected).cloned().collect(),
            });
        }
        let shards = |class: &str| -> BTreeSet<&str> {
            let classes = descriptors.nodes.values().flat_map(|(node, _)| &node.classes);
            classes.filter(|c| c.name == class).flat_map(|c| c.shards.iter().map(|s| s.name.as_str())).collect()
        };
        for (class, expectation) in &expectations.collections {
            let inactive = expectation.tenants.iter().filter(|(_, t)| t.status == TenantStatus::Inactive);
            let present = shards(class);
            for (tenant, _) in inactive.filter(|(tenant, _)| !present.contains(tenant.as_str())) {
                self.findings.push(Finding::InactiveTenantMissing { class: class.clone(), tenant: tenant.clone() });
            }
        }
    }

    fn node(&mut self, node: &str, descriptor: &NodeDescriptor, listed: &[String]) {
        let path = node_path(node);
        self.status(&path, &descriptor.id, &descriptor.status, &descriptor.error);
        let sorted = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let found = sorted(descriptor.classes.iter().map(|c| c.name.as_str()).collect());
        let expected = sorted(listed.iter().map(String::as_str).collect());
        if found != expected || found.len() != descriptor.classes.len() {
            self.findings.push(Finding::NodeClassesDiffer { key: key(self.backup_id, &path), found, expected });
        }
        let plain = |text: &Option<String>| text.clone().unwrap_or_default();
        let global = self.global;
        for (what, found, expected) in [
            ("structure version", descriptor.version.clone(), global.version.clone()),
            ("server version", descriptor.server_version.clone(), global.server_version.clone()),
            ("compression", plain(&descriptor.compression_type), plain(&global.compression_type)),
        ] {
            if !found.is_empty() && !expected.is_empty() && found != expected {
                let key = key(self.backup_id, &path);
                self.findings.push(Finding::DescriptorsDisagree { key, what: what.to_owned(), found, expected });
            }
        }
    }

    fn class(&mut self, node: &str, class: &ClassDescriptor, named: &mut BTreeSet<String>) {
        let descriptor = key(self.backup_id, &node_path(node));
        let mut held: BTreeSet<&str> = BTreeSet::new();
        for (number, shards) in &class.chunks {
            named.insert(format!("{node}/{}/chunk-{number}", class.name));
            held.extend(shards.iter().map(String::as_str));
        }
        for shard in &class.shards {
            let big: Vec<&String> = shard.big_files_chunk.values().flat_map(|f| &f.chunk_keys).collect();
            named.extend(big.iter().map(|chunk| format!("{node}/{chunk}")));
            if !held.contains(shard.name.as_str()) && big.is_empty() {
                self.findings.push(Finding::ShardWithoutChunk {
                    key: descriptor.clone(),
                    class: class.name.clone(),
                    shard: shard.name.clone(),
                });
            }
            if let Some(info) = &shard.incremental_backup_info {
                self.taken(node, info);
            }
        }
        let present: BTreeSet<&str> = class.shards.iter().map(|s| s.name.as_str()).collect();
        for shard in held.difference(&present) {
            let (class, shard) = (class.name.clone(), (*shard).to_owned());
            self.findings.push(Finding::ShardUnknown { key: descriptor.clone(), class, shard });
        }
        let Some(owned) = owned_shards(class, node) else {
            self.findings.push(Finding::ShardingStateUnreadable { key: descriptor, class: class.name.clone() });
            return;
        };
        for shard in owned.into_iter().filter(|shard| !present.contains(shard.as_str())) {
            self.findings.push(Finding::ShardMissing { key: descriptor.clone(), class: class.name.clone(), shard });
        }
    }
}

/// The shards of a class that must be in this node's part of the backup: those that it holds, except the offloaded
/// ones, which are not on the node. `None` when the sharding state does not say.
fn owned_shards(class: &ClassDescriptor, node: &str) -> Option<Vec<String>> {
    let state = class.decoded_sharding_state()?;
    let physical = state.get("physical")?;
    if physical.is_null() {
        return Some(Vec::new());
    }
    let on_node = |shard: &serde_json::Value| {
        let nodes = shard.get("belongsToNodes").and_then(serde_json::Value::as_array);
        nodes.is_none_or(|nodes| nodes.iter().any(|n| n.as_str() == Some(node)))
    };
    let offloaded = |shard: &serde_json::Value| {
        matches!(shard.get("status").and_then(serde_json::Value::as_str), Some("FROZEN" | "OFFLOADED"))
    };
    let shards = physical.as_object()?.iter().filter(|(_, shard)| on_node(shard) && !offloaded(shard));
    Some(shards.map(|(name, _)| name.clone()).collect())
}

/// The classes that the global descriptor says are in the backup, over all nodes.
pub fn returned_classes(global: &GlobalDescriptor) -> BTreeSet<String> {
    global.nodes.values().flat_map(|n| n.classes.iter().cloned()).collect()
}

#[cfg(test)]
mod tests;
