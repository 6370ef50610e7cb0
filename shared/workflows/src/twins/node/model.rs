//! A node twin's state, how a test fills and breaks it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_domain::expectations::TenantStatus;
use lifeboat_domain::ids::{InstanceId, uuid_of};
use serde_json::{Value, json};

use super::backup::CreateOp;
use super::data::{ClassData, ObjectData, SHARD, ShardData};
use super::restore::RestoreOp;
use crate::ports::group::LifecycleState;
use crate::twins::World;
use crate::twins::settings::NodeSettings;
use crate::twins::world::Inner;

/// A node's state.
#[derive(Debug)]
pub(in crate::twins) struct NodeModel {
    pub(super) settings: NodeSettings,
    pub(super) faults: NodeFaults,
    pub(super) listens_at: Timestamp,
    pub(super) ready_at: Timestamp,
    pub(super) classes: BTreeMap<String, ClassData>,
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) create: Option<CreateOp>,
    pub(super) restore: Option<RestoreOp>,
    pub(super) queue_until: Timestamp,
    /// Whether its overrides file says ReadOnly: on the disk, so a restart changes nothing.
    pub(in crate::twins) read_only: bool,
}

/// What goes wrong on a node. Switches stay until they are changed back; what says "next" is used up once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeFaults {
    /// Nothing gets through to it, and its backups go on.
    pub unreachable: bool,
    /// It answers, and says that it is not ready; everything but `ready` and `live` is then 503.
    pub not_ready: bool,
    /// It refuses the key (401).
    pub unauthorized: bool,
    /// The bucket refuses it: creates and restores are 500.
    pub bucket_denied: bool,
    /// The next create is refused with this message (422).
    pub refuse_create: Option<String>,
    /// Creates stay STARTED for as long as this is set.
    pub hang_create: bool,
    /// The create under way is deaf to a cancel too, until its container restarts.
    pub wedge_create: bool,
    /// The next create ends as FAILED with this error.
    pub fail_create: Option<String>,
    /// Creates and restores silently take only these classes, as under narrow rights.
    pub narrow_to: Option<Vec<String>>,
    /// So many of the next status polls are 500.
    pub failing_polls: u32,
    /// The next create's last write of `backup_config.json` is lost: the store says STARTED for ever.
    pub lose_final_put: bool,
    /// The next create's `backup.json` is lost, and it says SUCCESS all the same.
    pub lose_node_descriptor: bool,
    /// Statuses of creates and restores are given as this text.
    pub says_status: Option<String>,
    /// The next restore is refused with this message (422).
    pub refuse_restore: Option<String>,
    /// Restores stay TRANSFERRING for as long as this is set.
    pub hang_restore: bool,
    /// The next restore ends as FAILED with this error, with nothing restored.
    pub fail_restore: Option<String>,
    /// The next restore leaves this class empty, and says SUCCESS.
    pub empty_on_restore: Option<String>,
    /// How long vectors are queued after a restore.
    pub queue_after_restore: Duration,
    /// Shards that are not ready.
    pub shards_not_ready: u64,
}

/// One node of a [`World`], for tests: fills it, breaks it, looks into it.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    world: World,
    instance: InstanceId,
}

impl World {
    /// A world that has been serving for a while: one instance in service with a registered agent and a ready, empty
    /// node, and the address attached to it, open to readers and writers. Nothing is in the bucket.
    pub fn serving() -> (Self, InstanceId) {
        let world = Self::new();
        let instance = {
            let mut inner = world.lock();
            inner.group.desired = 1;
            let instance = inner.add_member(LifecycleState::InService);
            inner.register_agent(&instance);
            let now = inner.now;
            inner.start_node(&instance, Some(now));
            instance
        };
        world.attach_address(&instance);
        world.set_address_groups(&[crate::twins::READER_GROUP, crate::twins::WRITER_GROUP]);
        (world, instance)
    }

    /// The node of an instance.
    pub fn node(&self, instance: &InstanceId) -> NodeHandle {
        NodeHandle { world: self.clone(), instance: instance.clone() }
    }

    /// Starts a node on an instance that is ready at once, without a host job.
    pub fn start_node(&self, instance: &InstanceId) -> NodeHandle {
        let mut inner = self.lock();
        let now = inner.now;
        inner.start_node(instance, Some(now));
        drop(inner);
        self.node(instance)
    }
}

impl Inner {
    /// Starts a node with an empty disk, unless there is one. `ready_at`: `None` is after its boot.
    pub(in crate::twins) fn start_node(&mut self, instance: &InstanceId, ready_at: Option<Timestamp>) {
        let settings = self.settings.node.clone();
        let (listens_at, boots_at) = (self.after(settings.listens_after), self.after(settings.ready_after));
        let now = self.now;
        self.nodes.entry(instance.clone()).or_insert_with(|| NodeModel {
            faults: settings.faults.clone(),
            settings,
            listens_at: ready_at.unwrap_or(listens_at),
            ready_at: ready_at.unwrap_or(boots_at),
            classes: BTreeMap::new(),
            aliases: BTreeMap::new(),
            create: None,
            restore: None,
            queue_until: now,
            read_only: false,
        });
    }

    pub(in crate::twins) fn restart_node(&mut self, instance: &InstanceId) {
        let settings = self.settings.node.clone();
        let (listens_at, ready_at) = (self.after(settings.listens_after), self.after(settings.ready_after));
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.faults.wedge_create = false;
        node.create = None;
        node.restore = None;
        (node.listens_at, node.ready_at) = (listens_at, ready_at);
    }
}

impl NodeHandle {
    fn with<T>(&self, act: impl FnOnce(&mut NodeModel, Timestamp) -> T) -> T {
        let mut inner = self.world.lock();
        let now = inner.now;
        act(inner.nodes.get_mut(&self.instance).expect("the instance has a node"), now)
    }

    /// Whether a node runs there.
    pub fn exists(&self) -> bool {
        self.world.lock().nodes.contains_key(&self.instance)
    }

    /// Changes what goes wrong on it.
    pub fn faults(&self, change: impl FnOnce(&mut NodeFaults)) {
        self.with(|node, _| change(&mut node.faults));
    }

    /// Changes what it is like.
    pub fn set(&self, change: impl FnOnce(&mut NodeSettings)) {
        self.with(|node, _| change(&mut node.settings));
    }

    /// Adds a collection; distance is `cosine` or `l2-squared`.
    pub fn add_class(&self, name: &str, multi_tenant: bool, distance: &str) -> &Self {
        let class = ClassData::new(name, multi_tenant, distance);
        self.with(|node, _| node.classes.insert(name.to_owned(), class));
        self
    }

    /// Removes a collection.
    pub fn drop_class(&self, name: &str) {
        self.with(|node, _| node.classes.remove(name));
    }

    /// Adds an alias.
    pub fn add_alias(&self, alias: &str, class: &str) {
        self.with(|node, _| node.aliases.insert(alias.to_owned(), class.to_owned()));
    }

    /// Adds a tenant, or changes its status. Its objects stay.
    pub fn set_tenant(&self, class: &str, tenant: &str, status: TenantStatus) -> &Self {
        self.with(|node, _| {
            let shards = &mut node.classes.get_mut(class).expect("the class is there").shards;
            let new = ShardData { status: TenantStatus::Active, objects: BTreeMap::new() };
            shards.entry(tenant.to_owned()).or_insert(new).status = status;
        });
        self
    }

    /// Writes an object; `tenant` is `None` for a collection without tenants.
    pub fn put(&self, class: &str, tenant: Option<&str>, id: &str, properties: Value, vectors: &[(&str, &[f32])]) {
        self.with(|node, now| {
            let shards = &mut node.classes.get_mut(class).expect("the class is there").shards;
            let shard = shards.get_mut(tenant.unwrap_or(SHARD)).expect("the tenant is there");
            shard.objects.insert(id.to_owned(), ObjectData::new(properties, vectors, now));
        });
    }

    /// Removes an object.
    pub fn delete(&self, class: &str, tenant: Option<&str>, id: &str) {
        self.with(|node, _| {
            let shards = &mut node.classes.get_mut(class).expect("the class is there").shards;
            shards.get_mut(tenant.unwrap_or(SHARD)).expect("the tenant is there").objects.remove(id);
        });
    }

    /// Writes `count` objects with ids, texts, numbers and vectors that follow from their place; ids as [`object_id`]
    /// gives them.
    pub fn put_many(&self, class: &str, tenant: Option<&str>, count: u16) -> &Self {
        const WORDS: [&str; 7] = ["lifeboat", "harbour", "compass", "anchor", "tide", "mast", "keel"];
        for n in 0..count {
            let word = |step: u16| WORDS[usize::from(n / step) % WORDS.len()];
            let properties = json!({"title": format!("{} {} number {n}", word(1), word(3)), "n": n % 5});
            let x = f32::from(n);
            let vector = [x.sin(), x.cos(), (x / 7.0).sin(), 0.5];
            self.put(class, tenant, &object_id(class, tenant, n), properties, &[("default", &vector)]);
        }
        self
    }

    /// The usual data: Article with 25 objects, Note with 12, Tenanted with an active tenant of 8, an inactive one of 5
    /// and an offloaded one.
    pub fn seed(&self) -> &Self {
        self.add_class("Article", false, "cosine").put_many("Article", None, 25);
        self.add_class("Note", false, "l2-squared").put_many("Note", None, 12);
        self.add_class("Tenanted", true, "cosine")
            .set_tenant("Tenanted", "acme", TenantStatus::Active)
            .set_tenant("Tenanted", "globex", TenantStatus::Active)
            .put_many("Tenanted", Some("acme"), 8)
            .put_many("Tenanted", Some("globex"), 5)
            .set_tenant("Tenanted", "globex", TenantStatus::Inactive)
            .set_tenant("Tenanted", "initech", TenantStatus::Offloaded)
    }

    /// Everything it holds, to compare.
    pub fn data(&self) -> BTreeMap<String, ClassData> {
        self.with(|node, _| node.classes.clone())
    }

    /// The container starts again: operations are forgotten, data stays, and it boots.
    pub fn restart(&self) {
        self.world.lock().restart_node(&self.instance);
    }

    /// Whether its overrides file says ReadOnly.
    pub fn is_read_only(&self) -> bool {
        self.with(|node, _| node.read_only)
    }

    /// The container is gone, and its data with it.
    pub fn remove(&self) {
        self.world.lock().nodes.remove(&self.instance);
    }
}

/// The id of the object that [`NodeHandle::put_many`] writes in this place.
pub fn object_id(class: &str, tenant: Option<&str>, n: u16) -> String {
    uuid_of(&format!("{class}/{}/{n}", tenant.unwrap_or_default()))
}
