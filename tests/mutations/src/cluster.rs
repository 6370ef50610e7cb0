//! A small cluster on the twins, and the four functions invoked on it one by one.

use std::time::Duration;

use lifeboat_domain::document::{Document, decode, encode};
use lifeboat_domain::event::Hint;
use lifeboat_domain::expectations::TenantStatus;
use lifeboat_domain::ids::{BackupId, Generation, InstanceId};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::ownership::{Origin, Ownership};
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::RestorePolicy;
use lifeboat_domain::runs::CreateRun;
use lifeboat_workflows::create_backup;
use lifeboat_workflows::drive_restore;
use lifeboat_workflows::flip_manifest::{self, FlipError, FlipPolicy, FlipReport};
use lifeboat_workflows::invocation::Patience;
use lifeboat_workflows::twins::{READER_GROUP, WRITER_GROUP, World, object_id};
use lifeboat_workflows::verify_checksums::{self, VerifyError, VerifyPolicy, VerifyReport};

const CLUSTER: &str = "weaviate";
const MARKERS: &str = "indexing/";

/// A cluster with a published backup and a newer one.
#[derive(Debug)]
pub struct Cluster {
    /// The world.
    pub world: World,
    /// The node that the data is on.
    pub first: InstanceId,
    /// The older backup, published.
    pub older: BackupId,
    /// The newer backup: finished, observed, not verified yet.
    pub backup: BackupId,
    /// What verification is held to.
    pub verify: VerifyPolicy,
}

impl Cluster {
    /// Takes two backups and publishes the first.
    pub async fn with_a_finished_backup(versioned: bool) -> Self {
        let (world, first) = World::serving();
        world.set(|s| s.versioned = versioned);
        world.node(&first).seed();
        let ownership = Ownership {
            cluster: CLUSTER.into(),
            generation: Generation(1),
            owner: first.clone(),
            owner_address: world.address_of(&first),
            origin: Origin::Empty,
            opened_at: world.now(),
        };
        world.bucket().put_raw(&Key::Ownership.to_string(), encode(&ownership));
        let nobody = BackupId::parse("none").expect("an id");
        let verify = VerifyPolicy::new(World::BUCKET);
        let mut cluster = Self { world, first, older: nobody.clone(), backup: nobody, verify };
        cluster.older = cluster.take("first").await;
        for _ in 0..20 {
            cluster.verified_and_flipped().await;
            if cluster.pointer().is_some() {
                break;
            }
        }
        assert_eq!(cluster.pointer().map(|p| p.backup_id), Some(cluster.older.clone()), "the first backup is good");
        cluster.create().await;
        // Every collection changes, so that no object of the newer backup is one of the older.
        let node = cluster.world.node(&cluster.first);
        node.set_tenant("Tenanted", "globex", TenantStatus::Active);
        for (class, tenant, count) in
            [("Article", None, 25), ("Note", None, 12), ("Tenanted", Some("acme"), 8), ("Tenanted", Some("globex"), 5)]
        {
            for n in 0..count {
                let properties = serde_json::json!({"title": format!("second edition {n}"), "n": n % 3});
                let id = object_id(class, tenant, n);
                node.put(class, tenant, &id, properties, &[("default", &[f32::from(n).sin(), 0.25, 0.5, 1.0])]);
            }
        }
        node.set_tenant("Tenanted", "globex", TenantStatus::Inactive);
        cluster.world.advance(Duration::from_mins(5));
        cluster.backup = cluster.take("second").await;
        assert_ne!(cluster.older, cluster.backup);
        cluster
    }

    /// The same, with the newer backup published.
    pub async fn with_a_published_backup(versioned: bool) -> Self {
        let cluster = Self::with_a_finished_backup(versioned).await;
        for _ in 0..20 {
            cluster.verified_and_flipped().await;
            if cluster.pointer().is_some_and(|p| p.backup_id == cluster.backup) {
                return cluster;
            }
        }
        panic!("a backup that nobody touched is not published: {:#?}", cluster.world.bucket().keys("runs/"))
    }

    /// Drops a success marker and waits for the backup that it is owed, up to the observation after it.
    async fn take(&self, dataset: &str) -> BackupId {
        self.world.advance(Duration::from_secs(5));
        self.world.bucket().put_raw(&format!("{MARKERS}{dataset}/_SUCCESS"), Vec::new());
        for _ in 0..60 {
            self.create().await;
            let run: Option<CreateRun> = self.document(&Key::CurrentRun(Function::CreateBackup));
            let named = run.and_then(|r| r.open).and_then(|o| o.named).map(|n| n.backup_id);
            if let Some(id) = named.filter(|id| self.bytes(&Key::ObservedAfter(id.clone())).is_some()) {
                return id;
            }
            self.world.advance(Duration::from_secs(10));
        }
        panic!("no backup is taken: {:#?}", self.world.bucket().keys(""))
    }

    async fn verified_and_flipped(&self) {
        let _ = self.verified().await;
        let _ = self.flipped().await;
        self.world.advance(Duration::from_mins(2));
    }

    fn patience(&self) -> Patience {
        Patience { until: self.world.now() + Duration::from_secs(40), poll: Duration::from_secs(2) }
    }

    /// One tick of create-backup.
    pub async fn create(&self) {
        let world = &self.world;
        let day = Duration::from_hours(24);
        let policy = create_policy(day);
        let ports = create_backup::Ports {
            bucket: &world.bucket(),
            markers: &world.bucket(),
            group: &world.group(),
            nodes: &world.nodes(),
            hosts: &world.hosts(),
            addresses: &world.addresses(),
            clock: &world.clock(),
        };
        let _ = create_backup::run(&ports, &policy, &Hint::Tick, self.patience()).await;
    }

    /// One tick of verify-checksums.
    pub async fn verified(&self) -> Result<VerifyReport, VerifyError> {
        self.verified_for(&Hint::Tick).await
    }

    /// One invocation of verify-checksums.
    pub async fn verified_for(&self, hint: &Hint) -> Result<VerifyReport, VerifyError> {
        let ports = verify_checksums::Ports { bucket: &self.world.bucket(), clock: &self.world.clock() };
        verify_checksums::run(&ports, &self.verify, hint, self.patience()).await
    }

    /// One tick of flip-manifest.
    pub async fn flipped(&self) -> Result<FlipReport, FlipError> {
        let ports = verify_checksums::Ports { bucket: &self.world.bucket(), clock: &self.world.clock() };
        let policy = FlipPolicy::new(World::BUCKET, CLUSTER, World::GROUP);
        flip_manifest::run(&ports, &policy, &Hint::Tick, self.patience()).await
    }

    /// One tick of drive-restore.
    pub async fn driven(&self) -> Result<drive_restore::Outcome, drive_restore::Error> {
        let world = &self.world;
        let ports = drive_restore::World {
            bucket: world.bucket(),
            markers: world.bucket(),
            group: world.group(),
            hosts: world.hosts(),
            addresses: world.addresses(),
            nodes: world.nodes(),
            clock: world.clock(),
        };
        let policy = drive_restore::Policy {
            cluster: CLUSTER.into(),
            bucket: World::BUCKET.into(),
            group: World::GROUP.into(),
            fixed_address: World::FIXED_ADDRESS.into(),
            reader_group: READER_GROUP.into(),
            writer_group: WRITER_GROUP.into(),
            marker_prefix: MARKERS.into(),
            restore: RestorePolicy::default(),
        };
        drive_restore::run(&ports, &policy, &Hint::Tick, self.patience()).await
    }

    /// The pointer, if it can be read.
    pub fn pointer(&self) -> Option<Pointer> {
        self.document(&Key::Pointer)
    }

    /// Who owns the data.
    pub fn ownership(&self) -> Option<Ownership> {
        self.document(&Key::Ownership)
    }

    /// A document, if it can be read.
    pub fn document<T: Document>(&self, key: &Key) -> Option<T> {
        decode(&key.to_string(), &self.bytes(key)?).ok()
    }

    /// The bytes at a key.
    pub fn bytes(&self, key: &Key) -> Option<Vec<u8>> {
        self.world.bucket().bytes(&key.to_string())
    }

    /// The key of an object of the newer backup.
    pub fn key(&self, path: &str) -> String {
        Key::BackupObject(self.backup.clone(), path.to_owned()).to_string()
    }

    /// The paths of the newer backup's objects.
    pub fn paths(&self) -> Vec<String> {
        let prefix = Key::backup_prefix(&self.backup);
        let keys = self.world.bucket().keys(&prefix);
        keys.iter().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// What the node of an instance holds.
    pub fn data(&self, instance: &InstanceId) -> String {
        format!("{:?}", self.world.node(instance).data())
    }
}

fn create_policy(interval: Duration) -> lifeboat_domain::create::Policy {
    lifeboat_domain::create::Policy::new(MARKERS.to_owned(), interval, Duration::from_mins(30))
}
