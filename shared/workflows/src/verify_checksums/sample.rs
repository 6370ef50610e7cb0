//! Backups in a bucket as Weaviate and create-backup leave them, for the tests of verification and flip.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use lifeboat_domain::Timestamp;
use lifeboat_domain::document::{Document, encode};
use lifeboat_domain::event::Hint;
use lifeboat_domain::expectations::{
    AfterObservation, CollectionExpectation, EvidenceAdapter, Expectations, ObservedAfter,
};
use lifeboat_domain::ids::{BackupId, Generation, InstanceId, Sha256Digest};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::manifest::Trigger;
use lifeboat_domain::ownership::{Origin, Ownership};
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::runs::{
    Action, ClosedVerification, CreatePhase, CreateRun, NamedBackup, OpenBackup, Request, VerifyRun,
};
use serde_json::json;

use crate::flip_manifest::{self, FlipError, FlipPolicy, FlipReport};
use crate::invocation::Patience;
use crate::ports::{Bucket, Clock};
use crate::twins::World;
use crate::verify_checksums::{self, Ports, VerifyError, VerifyPolicy, VerifyReport};

pub(crate) const NODE: &str = "weaviate-0";
pub(crate) const CLUSTER: &str = "c";

pub(crate) fn id(name: &str) -> BackupId {
    BackupId::parse(name).unwrap()
}

/// A backup that Weaviate has finished.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) generation: u64,
    pub(crate) as_of: i64,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) chunks: usize,
    pub(crate) chunk_bytes: usize,
}

impl Sample {
    pub(crate) fn new(name: &'static str, generation: u64, as_of: i64) -> Self {
        let counts = BTreeMap::from([("Article", 100), ("Note", 20)]);
        Self { name, generation, as_of, counts, chunks: 2, chunk_bytes: 300 }
    }

    pub(crate) fn key(&self, path: &str) -> String {
        Key::BackupObject(id(self.name), path.to_owned()).to_string()
    }

    pub(crate) fn chunk(&self, class: &str, n: usize) -> String {
        self.key(&format!("{NODE}/{class}/chunk-{n}"))
    }

    pub(crate) fn recorded_at(&self) -> Timestamp {
        Timestamp::from_second(1_795_100_000 + self.as_of).unwrap()
    }

    pub(crate) fn expectations(&self) -> Expectations {
        let collection = |count| CollectionExpectation {
            definition_sha256: Sha256Digest::of(b"d"),
            count,
            tenants: BTreeMap::new(),
            canaries: Vec::new(),
        };
        Expectations {
            backup_id: id(self.name),
            generation: Generation(self.generation),
            instance: InstanceId::parse("i-0a").unwrap(),
            trigger: Trigger::Schedule,
            is_final: false,
            recorded_at: self.recorded_at(),
            weaviate_version: "1.38.11".into(),
            node_name: NODE.into(),
            adapter: EvidenceAdapter::Rest,
            collections: self.counts.iter().map(|(name, c)| ((*name).to_owned(), collection(*c))).collect(),
            freeze: None,
        }
    }

    pub(crate) fn observed(&self) -> ObservedAfter {
        ObservedAfter {
            backup_id: id(self.name),
            observation: AfterObservation::Node {
                counts: self.counts.iter().map(|(name, c)| ((*name).to_owned(), *c)).collect(),
                tenant_counts: BTreeMap::new(),
                confirmed: Vec::new(),
                changed: Vec::new(),
                queries_changed: Vec::new(),
                tenants_changed: BTreeMap::new(),
            },
        }
    }

    pub(crate) fn global(&self, status: &str) -> serde_json::Value {
        json!({"id": self.name, "status": status, "error": "", "version": "2.1", "serverVersion": "1.38.11",
            "compressionType": "zstd", "preCompressionSizeBytes": 12345, "baseBackupId": "",
            "nodes": {NODE: {"classes": self.counts.keys().collect::<Vec<_>>()}}})
    }

    pub(crate) fn node(&self) -> serde_json::Value {
        let state = json!({"physical": {"s": {"belongsToNodes": [NODE]}}}).to_string();
        let state = base64::engine::general_purpose::STANDARD.encode(state);
        let chunks: BTreeMap<String, [&str; 1]> = (1..=self.chunks).map(|n| (n.to_string(), ["s"])).collect();
        let class = |name| json!({"name": name, "chunks": chunks, "shards": [{"name": "s"}], "shardingState": state});
        let classes: Vec<_> = self.counts.keys().map(class).collect();
        json!({"id": self.name, "status": "SUCCESS", "error": "", "classes": classes})
    }

    /// Writes what Weaviate writes, in its order, and the expectations before; nothing is observed afterwards yet.
    pub(crate) fn save(&self, world: &World) {
        let bucket = world.bucket();
        bucket.put_raw(&Key::Expectations(id(self.name)).to_string(), encode(&self.expectations()));
        bucket.put_raw(&self.key("backup_config.json"), self.global("STARTED").to_string());
        for class in self.counts.keys() {
            for n in 1..=self.chunks {
                let body: Vec<u8> =
                    (0..self.chunk_bytes).map(|b| u8::try_from((b * 7 + n + class.len()) % 251).unwrap()).collect();
                bucket.put_multipart(&self.chunk(class, n), body);
            }
        }
        bucket.put_raw(&self.key(&format!("{NODE}/backup.json")), self.node().to_string());
        bucket.put_raw(&self.key("backup_config.json"), self.global("SUCCESS").to_string());
    }

    /// Writes the observation after SUCCESS.
    pub(crate) fn observe(&self, world: &World) {
        world.bucket().put_raw(&Key::ObservedAfter(id(self.name)).to_string(), encode(&self.observed()));
    }

    /// All of it, and the open run that names it, as create-backup leaves them.
    pub(crate) fn hand_over(&self, world: &World) {
        self.save(world);
        self.observe(world);
        self.name_in_run(world);
    }

    pub(crate) fn name_in_run(&self, world: &World) {
        let expectations = self.expectations();
        let open = OpenBackup {
            trigger: Trigger::Schedule,
            generation: expectations.generation,
            instance: expectations.instance,
            address: "127.16.0.2".into(),
            is_final: false,
            attempt: 1,
            phase: CreatePhase::Handed,
            named: Some(NamedBackup { backup_id: id(self.name), recorded_at: self.recorded_at() }),
            cancel: None,
            opened_at: self.recorded_at(),
            restart: None,
        };
        let run = CreateRun { open: Some(open), ..CreateRun::default() };
        world.bucket().put_raw(&Key::CurrentRun(Function::CreateBackup).to_string(), encode(&run));
    }
}

pub(crate) fn own(world: &World, generation: u64, origin: Origin) {
    let ownership = Ownership {
        cluster: CLUSTER.into(),
        generation: Generation(generation),
        owner: InstanceId::parse("i-0a").unwrap(),
        owner_address: "127.16.0.2".into(),
        origin,
        opened_at: world.now(),
    };
    world.bucket().put_raw(&Key::Ownership.to_string(), encode(&ownership));
}

pub(crate) fn restored(name: &str) -> Origin {
    Origin::Restored { backup_id: id(name), sequence: None }
}

/// A world whose empty first node is owned in generation 1.
pub(crate) fn owned() -> World {
    let world = World::new();
    own(&world, 1, Origin::Empty);
    world
}

pub(crate) fn ask(world: &World, request: &str, action: Action) {
    let request_document = Request { by: "ann".into(), reason: "bad import".into(), action };
    let key = Key::Request(Function::FlipManifest, request.to_owned());
    world.bucket().put_raw(&key.to_string(), encode(&request_document));
}

pub(crate) fn patience(world: &World) -> Patience {
    let until = world.now().saturating_add(jiff::SignedDuration::from_mins(14)).unwrap();
    Patience { until, poll: Duration::from_secs(2) }
}

pub(crate) async fn verify(world: &World, hint: &Hint) -> Result<VerifyReport, VerifyError> {
    verify_on(world, &world.bucket(), &world.clock(), hint).await
}

pub(crate) async fn verify_on(
    world: &World,
    bucket: &impl Bucket,
    clock: &impl Clock,
    hint: &Hint,
) -> Result<VerifyReport, VerifyError> {
    let policy = VerifyPolicy::new(World::BUCKET);
    verify_checksums::run(&Ports { bucket, clock }, &policy, hint, patience(world)).await
}

pub(crate) async fn flip(world: &World, hint: &Hint) -> Result<FlipReport, FlipError> {
    flip_on(world, &world.bucket(), &world.clock(), hint).await
}

pub(crate) async fn flip_on(
    world: &World,
    bucket: &impl Bucket,
    clock: &impl Clock,
    hint: &Hint,
) -> Result<FlipReport, FlipError> {
    let policy = FlipPolicy::new(World::BUCKET, CLUSTER, "g");
    flip_manifest::run(&Ports { bucket, clock }, &policy, hint, patience(world)).await
}

/// Ticks of both functions, two minutes apart.
pub(crate) async fn ticks(world: &World, count: usize) {
    for _ in 0..count {
        let _ = verify(world, &Hint::Tick).await.unwrap();
        let _ = flip(world, &Hint::Tick).await.unwrap();
        world.advance(Duration::from_mins(2));
    }
}

/// Every event to both functions, each `times` times, until there are no more.
pub(crate) async fn pump(world: &World, times: usize) {
    loop {
        let events = world.take_events();
        if events.is_empty() {
            return;
        }
        for event in events {
            for _ in 0..times {
                let _ = verify(world, &event.hint()).await.unwrap();
                let _ = flip(world, &event.hint()).await.unwrap();
            }
        }
    }
}

pub(crate) fn document<T: Document>(world: &World, key: &Key) -> Option<T> {
    let bytes = world.bucket().bytes(&key.to_string())?;
    Some(lifeboat_domain::document::decode(&key.to_string(), &bytes).unwrap())
}

pub(crate) fn pointer(world: &World) -> Option<Pointer> {
    document(world, &Key::Pointer)
}

/// What the pointer names, with its sequence.
pub(crate) fn named(world: &World) -> Option<(String, u64)> {
    pointer(world).map(|p| (p.backup_id.to_string(), p.sequence.0))
}

pub(crate) fn record(world: &World) -> VerifyRun {
    document(world, &Key::CurrentRun(Function::VerifyChecksums)).unwrap_or_default()
}

pub(crate) fn verdict(world: &World, name: &str) -> ClosedVerification {
    let record = record(world);
    assert!(!record.open.contains_key(&id(name)), "{name} is still open");
    record.closed.into_iter().find(|c| c.backup_id == id(name)).expect("there is a verdict")
}
