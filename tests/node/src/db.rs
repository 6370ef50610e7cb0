//! The node's database: classes and aliases, kept in `raft/schema.json` below the data path, and the classes' data beside it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use serde_json::{Value, json};

use crate::collection::Collection;
use crate::errors::Refusal;
use crate::{references, schema};

/// All that the node stores.
#[derive(Debug)]
pub(crate) struct Db {
    root: PathBuf,
    node: String,
    segment_bytes: u64,
    state: RwLock<State>,
    /// Held for life: a second node on the same data would ruin it, and the real one cannot start there either.
    _lock: fs::File,
}

#[derive(Debug, Default)]
struct State {
    classes: BTreeMap<String, Arc<Collection>>,
    aliases: BTreeMap<String, String>,
}

impl Db {
    /// Opens the data path, made if absent; removes staging left by a crash in a backup, as the real start does.
    pub(crate) fn open(root: &Path, node: &str, segment_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(root.join("raft"))?;
        let lock = fs::File::create(root.join("raft/lock"))?;
        lock.try_lock().map_err(|error| io::Error::other(format!("another node runs on this data: {error}")))?;
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".backup-staging-")) {
                fs::remove_dir_all(path)?;
            }
        }
        let mut state = State::default();
        let file = root.join("raft/schema.json");
        if file.exists() {
            let stored: Value = serde_json::from_slice(&fs::read(&file)?)?;
            for class in stored["classes"].as_array().into_iter().flatten() {
                let collection =
                    Collection::open(root, class["class"].clone(), class["shardingState"].clone(), segment_bytes)?;
                state.classes.insert(collection.name.clone(), Arc::new(collection));
            }
            for (alias, class) in stored["aliases"].as_object().into_iter().flatten() {
                state.aliases.insert(alias.clone(), class.as_str().unwrap_or_default().to_owned());
            }
        }
        Ok(Self { root: root.to_owned(), node: node.to_owned(), segment_bytes, state: RwLock::new(state), _lock: lock })
    }

    /// The data path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// All classes by name.
    pub(crate) fn classes(&self) -> Vec<Arc<Collection>> {
        self.state().classes.values().cloned().collect()
    }

    /// Names of all classes.
    pub(crate) fn class_names(&self) -> Vec<String> {
        self.state().classes.keys().cloned().collect()
    }

    /// A class by its name or by an alias of it.
    pub(crate) fn class(&self, name: &str) -> Option<Arc<Collection>> {
        let name = schema::class_name(name);
        let state = self.state();
        state.classes.get(&name).or_else(|| state.classes.get(state.aliases.get(&name)?)).cloned()
    }

    /// Aliases and the classes they stand for.
    pub(crate) fn aliases(&self) -> BTreeMap<String, String> {
        self.state().aliases.clone()
    }

    /// Creates a class from what a client sent.
    pub(crate) fn create_class(&self, sent: Value) -> Result<Value, Refusal> {
        let definition = schema::complete(sent)?;
        references::check_definition(&definition, |name| self.class(name).is_some())?;
        let name = definition["class"].as_str().unwrap_or_default().to_owned();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(similar) = state.classes.keys().find(|known| known.to_lowercase() == name.to_lowercase()) {
            return Err(Refusal::unprocessable(if *similar == name {
                format!("class name {name} already exists")
            } else {
                format!("class already exists: found similar class {similar:?}")
            }));
        }
        if state.aliases.contains_key(&name) {
            return Err(Refusal::unprocessable(format!("class name {name} already exists")));
        }
        let sharding = schema::sharding_state(&definition, &self.node);
        let collection = Collection::open(&self.root, definition.clone(), sharding, self.segment_bytes)
            .map_err(|error| Refusal::internal(error.to_string()))?;
        state.classes.insert(name, Arc::new(collection));
        self.persist(&state)?;
        Ok(definition)
    }

    /// Adds a class whose files are already in place, as the end of a restore does.
    pub(crate) fn adopt_class(&self, definition: Value, sharding: Value) -> Result<(), Refusal> {
        let collection = Collection::open(&self.root, definition, sharding, self.segment_bytes)
            .map_err(|error| Refusal::internal(error.to_string()))?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.classes.insert(collection.name.clone(), Arc::new(collection));
        self.persist(&state)
    }

    /// Removes a class with its data; its aliases stay and point at nothing. Nothing happens if there is none.
    pub(crate) fn delete_class(&self, name: &str) -> Result<(), Refusal> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let Some(collection) = state.classes.remove(&schema::class_name(name)) else { return Ok(()) };
        if collection.dir().exists() {
            fs::remove_dir_all(collection.dir()).map_err(|error| Refusal::internal(error.to_string()))?;
        }
        self.persist(&state)
    }

    /// Points an alias at a class; refused where a class or alias has that name, unless it may be replaced.
    pub(crate) fn set_alias(&self, alias: &str, class: &str, replace: bool) -> Result<(), Refusal> {
        let alias = schema::class_name(alias);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if !state.classes.contains_key(class) {
            return Err(Refusal::unprocessable(format!("validation: target class {class:?} does not exist")));
        }
        if state.classes.contains_key(&alias) || (state.aliases.contains_key(&alias) && !replace) {
            return Err(Refusal::unprocessable(format!("create alias: {alias}, alias already exists")));
        }
        state.aliases.insert(alias, class.to_owned());
        self.persist(&state)
    }

    /// Removes an alias; false when there is none.
    pub(crate) fn delete_alias(&self, alias: &str) -> Result<bool, Refusal> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let removed = state.aliases.remove(alias).is_some();
        self.persist(&state)?;
        Ok(removed)
    }

    /// Writes the schema after a change inside a class (tenants, learnt properties).
    pub(crate) fn save(&self) -> Result<(), Refusal> {
        let state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        self.persist(&state)
    }

    /// Flushes what has been open for longer than `age`.
    pub(crate) fn flush_older(&self, age: Duration) {
        for collection in self.classes() {
            for slot in collection.slots().values() {
                if let Some(Err(error)) = slot.loaded().map(|shard| shard.flush_older(age)) {
                    eprintln!("lifeboat-node: flush of {}/{}: {error}", collection.name, slot.name);
                }
            }
        }
    }

    fn persist(&self, state: &State) -> Result<(), Refusal> {
        let classes: Vec<Value> = state
            .classes
            .values()
            .map(|class| json!({"class": class.definition(), "shardingState": class.sharding_state(&self.node)}))
            .collect();
        let bytes = serde_json::to_vec(&json!({"classes": classes, "aliases": state.aliases}))
            .map_err(|error| Refusal::internal(error.to_string()))?;
        let file = self.root.join("raft/schema.json");
        let temporary = file.with_extension("json.tmp");
        fs::write(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &file))
            .map_err(|error| Refusal::internal(format!("write schema: {error}")))
    }
}
