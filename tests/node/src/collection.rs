//! One class with its shards or tenants, and the rules for reaching them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::{Value, json};

use crate::errors::Refusal;
use crate::objects::ObjectId;
use crate::schema;
use crate::shard::Shard;
use crate::tenants::Activity;

/// A class and its data.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) name: String,
    pub(crate) partitioned: bool,
    dir: PathBuf,
    offload_dir: PathBuf,
    segment_bytes: u64,
    definition: RwLock<Value>,
    sharding: Value,
    shards: RwLock<BTreeMap<String, Arc<Slot>>>,
}

/// A shard or tenant, loaded or not.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    activity: Mutex<Activity>,
    loaded: Mutex<Option<Arc<Shard>>>,
}

impl Slot {
    fn new(name: &str, activity: Activity) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), activity: Mutex::new(activity), loaded: Mutex::new(None) })
    }

    /// The tenant's activity; a plain shard is always active.
    pub(crate) fn activity(&self) -> Activity {
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard, if it is in memory.
    pub(crate) fn loaded(&self) -> Option<Arc<Shard>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Collection {
    /// Opens a class below `root` from its definition and sharding state. Plain shards are loaded at once; tenants when first used.
    pub(crate) fn open(root: &Path, definition: Value, sharding: Value, segment_bytes: u64) -> io::Result<Self> {
        let name = definition["class"].as_str().unwrap_or_default().to_owned();
        let partitioned = sharding["partitioningEnabled"] == json!(true);
        let shards = sharding["physical"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(shard, entry)| {
                let activity = Activity::parse(entry["status"].as_str().unwrap_or_default());
                (shard.clone(), Slot::new(shard, activity.unwrap_or(Activity::Active)))
            })
            .collect();
        let collection = Self {
            dir: root.join(name.to_lowercase()),
            offload_dir: root.join(".offloaded").join(name.to_lowercase()),
            name,
            partitioned,
            segment_bytes,
            definition: RwLock::new(definition),
            sharding,
            shards: RwLock::new(shards),
        };
        fs::create_dir_all(&collection.dir)?;
        if !partitioned {
            for slot in collection.slots().values() {
                collection.load(slot)?;
            }
        }
        Ok(collection)
    }

    /// The class as the API shows it.
    pub(crate) fn definition(&self) -> Value {
        self.definition.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the definition as a whole, or not at all.
    pub(crate) fn redefine(&self, how: impl FnOnce(&mut Value) -> Result<(), Refusal>) -> Result<(), Refusal> {
        how(&mut self.definition.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The class's sharding state with its shards as they are now.
    pub(crate) fn sharding_state(&self, node: &str) -> Value {
        let mut state = self.sharding.clone();
        let physical: serde_json::Map<String, Value> = self
            .slots()
            .values()
            .map(|slot| {
                let status = self.partitioned.then(|| slot.activity().stored());
                let mut entry = schema::physical_shard(&slot.name, node, status);
                if let Some(own) = self.sharding["physical"][&slot.name].get("ownsVirtual") {
                    entry["ownsVirtual"] = own.clone();
                }
                (slot.name.clone(), entry)
            })
            .collect();
        state["physical"] = Value::Object(physical);
        state
    }

    /// Shards by name.
    pub(crate) fn slots(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the class's files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds properties that the class does not have yet; true if it changed.
    pub(crate) fn learn(&self, values: &serde_json::Map<String, Value>) -> bool {
        let known = |definition: &Value, name: &str| {
            definition["properties"].as_array().is_some_and(|list| list.iter().any(|p| p["name"] == *name))
        };
        {
            let definition = self.definition.read().unwrap_or_else(PoisonError::into_inner);
            if values.iter().all(|(name, value)| value.is_null() || known(&definition, name)) {
                return false;
            }
        }
        let mut definition = self.definition.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for (name, value) in values {
            if !value.is_null() && !known(&definition, name) {
                let mut with = json!({"class": self.name, "properties": [schema::infer(name, value)]});
                if let Ok(mut completed) = schema::complete(with.take()) {
                    let property = completed["properties"][0].take();
                    if let Some(list) = definition["properties"].as_array_mut() {
                        list.push(property);
                        changed = true;
                    }
                }
            }
        }
        changed
    }

    /// The shard that serves this tenant (or, without tenants, this id), loaded now if it must be.
    pub(crate) fn shard(&self, tenant: Option<&str>, id: Option<ObjectId>) -> Result<Arc<Shard>, Refusal> {
        let slot = self.slot(tenant, id)?;
        if slot.activity() != Activity::Active {
            let activates = self.definition()["multiTenancyConfig"]["autoTenantActivation"] == json!(true);
            if !activates || slot.activity() == Activity::Offloaded {
                return Err(Refusal::unprocessable(format!("tenant not active: '{}'", slot.name)));
            }
            self.set_activity(&slot, Activity::Active).map_err(|error| Refusal::internal(error.to_string()))?;
        }
        self.load(&slot).map_err(|error| Refusal::internal(format!("load shard {}: {error}", slot.name)))
    }

    /// Every shard that a request reaches: one for a tenant, all for a plain class.
    pub(crate) fn shards_for(&self, tenant: Option<&str>) -> Result<Vec<Arc<Shard>>, Refusal> {
        if self.partitioned {
            return Ok(vec![self.shard(tenant, None)?]);
        }
        self.slot(tenant, None)?;
        let slots: Vec<Arc<Slot>> = self.slots().values().cloned().collect();
        slots
            .iter()
            .map(|slot| {
                self.load(slot).map_err(|error| Refusal::internal(format!("load shard {}: {error}", slot.name)))
            })
            .collect()
    }

    fn slot(&self, tenant: Option<&str>, id: Option<ObjectId>) -> Result<Arc<Slot>, Refusal> {
        let tenant = tenant.filter(|name| !name.is_empty());
        match (self.partitioned, tenant) {
            (true, None) => Err(Refusal::unprocessable(format!(
                "class {} has multi-tenancy enabled, but request was without tenant",
                self.name
            ))),
            (false, Some(_)) => Err(Refusal::unprocessable(format!(
                "class {} has multi-tenancy disabled, but request was with tenant",
                self.name
            ))),
            (true, Some(name)) => {
                let found = self.slots().get(name).cloned();
                match found {
                    Some(slot) => Ok(slot),
                    None => Err(Refusal::unprocessable(format!("tenant not found: \"{name}\""))),
                }
            }
            (false, None) => {
                let slots = self.slots();
                let hash = id.map_or(0, |id| {
                    id.0.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)))
                });
                slots
                    .values()
                    .nth(hash % slots.len().max(1))
                    .cloned()
                    .ok_or_else(|| Refusal::internal(format!("class {} has no shard", self.name)))
            }
        }
    }

    fn load(&self, slot: &Slot) -> io::Result<Arc<Shard>> {
        let mut loaded = slot.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shard) = &*loaded {
            return Ok(Arc::clone(shard));
        }
        let shard = Arc::new(Shard::open(&self.dir.join(&slot.name), self.segment_bytes)?);
        *loaded = Some(Arc::clone(&shard));
        Ok(shard)
    }

    /// Adds a tenant; false when it exists already.
    pub(crate) fn add_tenant(&self, name: &str, activity: Activity) -> io::Result<bool> {
        let mut slots = self.slots_mut();
        if slots.contains_key(name) {
            return Ok(false);
        }
        let slot = Slot::new(name, activity);
        fs::create_dir_all(self.dir.join(name))?;
        if activity == Activity::Active {
            self.load(&slot)?;
        }
        slots.insert(name.to_owned(), slot);
        Ok(true)
    }

    /// Wakes a tenant, puts it to sleep, or moves its data off the node.
    pub(crate) fn set_activity(&self, slot: &Slot, activity: Activity) -> io::Result<()> {
        let before = slot.activity();
        if before == activity {
            return Ok(());
        }
        let here = self.dir.join(&slot.name);
        let away = self.offload_dir.join(&slot.name);
        *slot.loaded.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if activity == Activity::Offloaded {
            fs::create_dir_all(&self.offload_dir)?;
            fs::rename(&here, &away)?;
        } else if before == Activity::Offloaded {
            fs::rename(&away, &here)?;
        }
        *slot.activity.lock().unwrap_or_else(PoisonError::into_inner) = activity;
        if activity == Activity::Active {
            self.load(slot)?;
        }
        Ok(())
    }

    /// Removes a tenant and its data.
    pub(crate) fn remove_tenant(&self, name: &str) -> io::Result<()> {
        if self.slots_mut().remove(name).is_some() && self.dir.join(name).exists() {
            fs::remove_dir_all(self.dir.join(name))?;
        }
        Ok(())
    }

    /// Opens a shard for a moment without loading it, for a backup of a sleeping tenant.
    pub(crate) fn peek(&self, slot: &Slot) -> io::Result<Arc<Shard>> {
        match slot.loaded() {
            Some(shard) => Ok(shard),
            None => Ok(Arc::new(Shard::open(&self.dir.join(&slot.name), self.segment_bytes)?)),
        }
    }
}
