//! Backups and restores: the protocol between coordinator, participant and object store, played within one process.

pub(crate) mod cancel;
pub(crate) mod chunks;
pub(crate) mod create;
pub(crate) mod layout;
pub(crate) mod request;
pub(crate) mod restore;
pub(crate) mod slots;
pub(crate) mod stage;
pub(crate) mod status;
pub(crate) mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::{Auth, User};
use crate::config::{BackupSettings, Config};
use crate::db::Db;
use crate::errors::Refusal;
use crate::knobs::Knobs;
use crate::store::directory::DirectoryStore;
use crate::store::s3::S3Store;
use crate::store::{Place, Store, StoreError};
use layout::{DistributedDescriptor, GLOBAL_BACKUP_FILE};
use slots::{Participant, Slot};

/// All that backups need to know.
#[derive(Debug)]
pub(crate) struct Backups {
    pub(crate) db: Arc<Db>,
    pub(crate) knobs: Arc<Knobs>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) node: String,
    pub(crate) settings: BackupSettings,
    stores: BTreeMap<&'static str, Store>,
    started: Instant,
    pub(crate) create: Slot,
    pub(crate) restore: Slot,
    pub(crate) creating: Participant,
    pub(crate) restoring: Participant,
}

/// One backup in one store, as a request names it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) store: Store,
    pub(crate) place: Place,
    pub(crate) id: String,
}

impl Target {
    /// The place that responses print.
    pub(crate) fn home(&self) -> String {
        self.store.home(&self.place, &self.id)
    }

    /// The key of a file of this backup.
    pub(crate) fn key(&self, file: &str) -> String {
        format!("{}/{file}", self.id)
    }

    /// Reads and parses a global descriptor.
    pub(crate) async fn meta(&self, file: &str) -> Result<DistributedDescriptor, MetaError> {
        let bytes = self.store.get(&self.place, &self.key(file)).await.map_err(MetaError::Store)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| MetaError::Unreadable(format!("marshal meta file {file:?}: {}", go_json(&error))))
    }

    /// Writes a global descriptor.
    pub(crate) async fn put_meta(&self, file: &str, descriptor: &DistributedDescriptor) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(descriptor).map_err(|error| StoreError::Failed(error.to_string()))?;
        self.put_file(file, &self.key(file), bytes).await
    }

    /// Writes a descriptor, with the real client's words should it fail.
    pub(crate) async fn put_file(&self, file: &str, key: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.store.put(&self.place, key, bytes).await.map_err(|error| {
            let Place { bucket, path } = &self.place;
            StoreError::Failed(format!("putMeta: upload meta file {file:?} into bucket {bucket}, path {path}: {error}"))
        })
    }
}

/// Go's words for a document that ends too soon; the parser's own for anything else.
pub(crate) fn go_json(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

/// Why a descriptor could not be had.
#[derive(Debug)]
pub(crate) enum MetaError {
    Store(StoreError),
    Unreadable(String),
}

impl std::fmt::Display for MetaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Unreadable(error) => f.write_str(error),
        }
    }
}

impl MetaError {
    /// The object is not there (and not: it could not be read).
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Store(StoreError::NotFound(_)))
    }
}

impl Backups {
    /// Sets up the enabled modules.
    pub(crate) fn new(config: &Config, db: Arc<Db>, auth: Arc<Auth>, knobs: Arc<Knobs>) -> Arc<Self> {
        let mut stores = BTreeMap::new();
        if let Some(settings) = &config.s3 {
            stores.insert("s3", Store::new(Arc::new(S3Store::new(settings)), Arc::clone(&knobs)));
        }
        if let Some(root) = &config.filesystem {
            let store = DirectoryStore { root: root.clone() };
            stores.insert("filesystem", Store::new(Arc::new(store), Arc::clone(&knobs)));
        }
        Arc::new(Self {
            db,
            knobs,
            auth,
            node: config.node_name.clone(),
            settings: config.backup.clone(),
            stores,
            started: Instant::now(),
            create: Slot::default(),
            restore: Slot::default(),
            creating: Participant::default(),
            restoring: Participant::default(),
        })
    }

    /// The store that a path segment names, by module name or alias. `noun` is "backend" or "provider".
    pub(crate) fn target(&self, backend: &str, noun: &str, id: &str, place: Place) -> Result<Target, Refusal> {
        let alias = backend.strip_prefix("backup-").unwrap_or(backend);
        match self.stores.get(alias) {
            Some(store) => Ok(Target { store: store.clone(), place, id: id.to_owned() }),
            None => Err(Refusal::unprocessable(format!(
                "no backup {noun} {backend:?}: backup: {backend} not found, did you enable the right module?"
            ))),
        }
    }

    /// Refuses while the node says that it has only just booted.
    pub(crate) fn startup_window(&self) -> Result<(), Refusal> {
        if self.started.elapsed() < self.knobs.block_backups_for {
            return Err(Refusal::unprocessable(
                "backup blocked: runtime-reindex in flight on this shard: node is in its startup window, retry later",
            ));
        }
        Ok(())
    }

    /// Runs the write probe, unless told to skip it.
    pub(crate) async fn probe(&self, target: &Target, prefix: &str) -> Result<(), StoreError> {
        if self.settings.skip_access_check {
            return Ok(());
        }
        target.store.probe(&target.place, prefix).await
    }

    /// What a boot does with `ENABLE_CLEANUP_UNFINISHED_BACKUPS`: every unfinished backup is rewritten as cancelled.
    pub(crate) async fn sweep(&self) {
        for store in self.stores.values() {
            let Ok(ids) = store.directories().await else { continue };
            for id in ids {
                let target = Target { store: store.clone(), place: Place::default(), id };
                let Ok(mut meta) = target.meta(GLOBAL_BACKUP_FILE).await else { continue };
                let unfinished = matches!(meta.status.as_str(), "STARTED" | "TRANSFERRING" | "TRANSFERRED")
                    || meta.error.contains("might be down");
                if unfinished {
                    meta.status = "CANCELED".to_owned();
                    meta.error = "backup canceled due to node restart".to_owned();
                    if let Err(error) = target.put_meta(GLOBAL_BACKUP_FILE, &meta).await {
                        eprintln!("lifeboat-node: update meta file: {error}");
                    }
                }
            }
        }
    }

    /// Classes that `user` may back up or restore: all that were named, or those that are left.
    pub(crate) fn permitted(&self, user: &User, explicit: bool, classes: Vec<String>) -> Result<Vec<String>, Refusal> {
        if explicit { Ok(classes) } else { self.auth.narrow(user, 'C', classes) }
    }
}
