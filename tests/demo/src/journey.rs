//! The main job, step by step: index, mark, back up, verify, flip, lose the node, come back, compare.

mod compare;
mod proof;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lifeboat_domain::Timestamp;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::manifest::{CatalogueRow, Manifest, decode_catalogue};
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::run::{ClosedRestore, StepName};
use lifeboat_stack::{Instance, Node, Progress, Stack, StackOptions};

use crate::bucket::Reader;
use crate::client::Client;
use crate::corpus::{Corpus, Data};
use crate::report::{Backup, DataView, Moment, NodeView, PointerView, Report, Sabotaged, Witnessed, recovery};
use crate::server::{self, Chosen};

/// How long any one step of the journey may take, beside what its objects take.
const PATIENCE: Duration = Duration::from_secs(180);
/// Objects that a second of patience more is given for.
const OBJECTS_PER_SECOND: u64 = 200;

/// The key that the demo indexes and reads with.
const INDEXER_KEY: &str = "/lifeboat/weaviate/keys/indexer";

/// What to show.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What to index.
    pub corpus: Corpus,
    /// Which collections.
    pub data: Data,
    /// Which Weaviate: `None` is the test double.
    pub weaviate: Option<PathBuf>,
    /// The image that `weaviate` launches, where it is a launcher.
    pub image: Option<String>,
    /// What to break after the flip.
    pub sabotage: Option<Sabotage>,
    /// The factor on the double's polling rounds of 2 s and 10 s.
    pub round_scale: f64,
    /// Whether the emulator checks signatures and IAM policies.
    pub enforce_iam: bool,
}

/// What to break after the flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A chunk, overwritten with the same bytes but one. Weaviate itself restores such a chunk with SUCCESS and wrong
    /// vectors: it does not read the checksum at the end of a gzip stream.
    Chunk,
    /// A chunk, deleted: a delete marker hides it.
    Delete,
}

/// Shown what happens.
pub trait Audience: Progress {
    /// A step of the journey begins.
    fn step(&self, title: &str);
    /// Something of the current step is done: how much of how much, in what.
    fn advance(&self, done: u64, of: u64, unit: &str);
    /// The current step is over, with its result in a line.
    fn done(&self, result: &str);
    /// Something that a person must not overlook.
    fn aside(&self, text: &str);
}

/// A journey under way.
#[derive(Debug)]
pub struct Journey {
    stack: Stack,
    plan: Plan,
    client: Client,
    s3: Reader,
    access_log: PathBuf,
    began: Timestamp,
    report: Report,
}

impl Journey {
    /// Deploys the template, and waits for the first node to start empty and to serve on the fixed address.
    pub async fn begin(plan: Plan, audience: &dyn Audience) -> anyhow::Result<Self> {
        let began = Timestamp::now();
        let access_log = std::env::temp_dir().join(format!(
            "lifeboat-node-access-{}-{}.ndjson",
            std::process::id(),
            began.as_nanosecond()
        ));
        let mut options = StackOptions::default()
            .parameter("AllowEmptyStart", "yes")
            .parameter("PollIntervalMs", "200")
            .parameter("WeaviateImage", &format!("weaviate@sha256:{}", "0".repeat(64)));
        options.enforce_iam = plan.enforce_iam;
        if plan.weaviate.is_none() && plan.data == Data::Rich {
            // A real server would also need a bucket and a helper program for it.
            options = options.parameter("ExtraModules", "offload-s3");
        }
        options.node = match &plan.weaviate {
            None => Node::Double,
            Some(path) => Node::Binary(path.clone()),
        };
        if plan.weaviate.is_none() {
            options = options.parameter(
                "ExtraEnvironment",
                &format!(
                    "LIFEBOAT_NODE_ROUND_SCALE={};LIFEBOAT_NODE_ACCESS_LOG={}",
                    plan.round_scale,
                    access_log.display()
                ),
            );
        }
        let key = options.secrets.get(INDEXER_KEY).cloned().context("the stack has no indexer key")?;
        let stack = Stack::start(options, audience).await?;
        let client = Client::new(stack.fixed_address(), &key)?.of(plan.data);
        let s3 = Reader::new(&stack).await?;
        let mut journey = Self { stack, plan, client, s3, access_log, began, report: Report::default() };
        audience.step("First node: starts empty, with proof and permission");
        let node = journey.serving(None).await?;
        let (version, git_hash) = journey.client.version().await?;
        let chosen = match (&journey.plan.weaviate, &journey.plan.image) {
            (None, _) => Chosen::Embedded,
            (Some(_), Some(image)) => Chosen::Image(image.clone()),
            (Some(_), None) => Chosen::Binary,
        };
        let file = journey.stack.node_binary().context("the stack runs no node")?;
        let server = server::identify(&chosen, file, &version, &git_hash)?;
        audience.done(&format!(
            "{} serves on {} (Weaviate {version}, {git_hash}, {} {})",
            node.instance,
            journey.stack.fixed_address(),
            server.kind,
            server.name
        ));
        journey.report.weaviate = server;
        journey.report.data = DataView {
            profile: format!("{:?}", journey.plan.data).to_lowercase(),
            dimensions: journey.plan.corpus.dimensions,
            not_shown: Vec::new(),
        };
        journey.report.nodes.push(view(&node)?);
        journey.note("first_node_serves");
        Ok(journey)
    }

    /// Leave the stack's directory behind.
    pub fn keep(&mut self) {
        self.stack.keep();
    }

    /// The stack underneath.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The client that indexes and reads.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The bucket's documents.
    pub fn documents(&self) -> &Reader {
        &self.s3
    }

    /// Indexes the corpus.
    pub async fn index(&mut self, audience: &dyn Audience) -> anyhow::Result<()> {
        let corpus = self.plan.corpus;
        audience.step("Index documents");
        self.client.create_collections().await?;
        let began = Instant::now();
        self.client.index(&corpus, |done| audience.advance(done, corpus.objects, "objects")).await?;
        self.client.settle_tenants().await?;
        let offloads = match self.plan.data.collections().iter().find(|c| c.name == "Note") {
            Some(notes) if self.plan.data == Data::Rich => self.client.offload(&corpus, notes).await?.is_some(),
            _ => true,
        };
        if !offloads {
            let missing = "an OFFLOADED tenant: this node says that its offload-s3 module is not enabled";
            audience.aside(&format!("NOT SHOWN: {missing}"));
            self.report.data.not_shown.push(missing.to_owned());
        }
        for collection in self.plan.data.collections() {
            self.report.indexed.insert(collection.name.to_owned(), corpus.count(collection));
        }
        audience.done(&format!(
            "{} objects with {} dimensions in {} collections, {:.1} s",
            corpus.objects,
            corpus.dimensions,
            self.plan.data.collections().len(),
            began.elapsed().as_secs_f64()
        ));
        self.note("indexed");
        Ok(())
    }

    /// Drops the success marker and waits until the pointer names the backup that it asked for.
    pub async fn protect(&mut self, audience: &dyn Audience) -> anyhow::Result<BackupId> {
        audience.step("Drop _SUCCESS: back up, verify, flip");
        let before = self.s3.document::<Pointer>(&Key::Pointer).await?.map_or(0, |p| p.sequence.0);
        self.s3.put("indexing/demo/_SUCCESS", Vec::new()).await?;
        self.note("marker_dropped");
        let pointer = self
            .stack
            .wait_for("a flip of the pointer", self.patience(), async || {
                let pointer = self.s3.document::<Pointer>(&Key::Pointer).await?;
                Ok(pointer.filter(|p| p.sequence.0 > before))
            })
            .await?;
        self.note("pointer_flipped");
        let id = pointer.backup_id.clone();
        let (manifest, rows) = self.catalogue(&id).await?;
        self.report.backup = Backup {
            id: id.to_string(),
            objects: manifest.totals.objects,
            bytes: manifest.totals.size_bytes,
            root_sha256: manifest.catalogue.root_sha256.to_string(),
        };
        self.report.pointer =
            PointerView { sequence: pointer.sequence.0, generation: pointer.generation.0, backup_id: id.to_string() };
        audience.done(&format!(
            "{id}: {} objects of S3, {} bytes, every one read and hashed; pointer sequence {}",
            rows.len(),
            manifest.totals.size_bytes,
            pointer.sequence
        ));
        Ok(id)
    }

    async fn catalogue(&self, id: &BackupId) -> anyhow::Result<(Manifest, Vec<CatalogueRow>)> {
        let manifest: Manifest = self
            .s3
            .document(&Key::Manifest(id.clone()))
            .await?
            .context("the pointer names a backup without a manifest")?;
        let bytes = self.s3.bytes(&manifest.catalogue.key).await?.context("the manifest has no catalogue")?;
        let rows = decode_catalogue(&manifest.catalogue, &bytes)?;
        Ok((manifest, rows))
    }

    /// Breaks what the plan says.
    pub async fn sabotage(&mut self, id: &BackupId, audience: &dyn Audience) -> anyhow::Result<()> {
        let Some(kind) = self.plan.sabotage else { return Ok(()) };
        audience.step("Sabotage");
        let (_, rows) = self.catalogue(id).await?;
        let chunk = rows.iter().filter(|r| r.key.contains("/chunk-")).max_by_key(|r| r.size_bytes);
        let chunk = chunk.context("the backup has no chunk to break")?.clone();
        match kind {
            Sabotage::Chunk => {
                let mut bytes = self.s3.bytes(&chunk.key).await?.context("the chunk is gone")?;
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                self.s3.put(&chunk.key, bytes).await?;
            }
            Sabotage::Delete => self.s3.delete(&chunk.key).await?,
        }
        // With the verified version still there it would be healed, and the demo would end well.
        self.s3.destroy(&chunk.key, chunk.version_id.as_deref()).await?;
        self.report.sabotage = Some(Sabotaged { kind: format!("{kind:?}").to_lowercase(), refused: None });
        audience.done(&format!("{kind:?} of {} ({} bytes)", chunk.key, chunk.size_bytes));
        self.note("sabotaged");
        Ok(())
    }

    /// Writes down what is there, kills the node with its disk, and waits for the replacement to serve, or to be
    /// abandoned. `Some` is the closed run of the replacement.
    pub async fn lose_the_node(&mut self, audience: &dyn Audience) -> anyhow::Result<ClosedRestore> {
        audience.step("Write down what is there, before the kill");
        self.report.counts.before = self.client.counts().await?;
        let file = self.stack.dir().join("before-the-kill.json");
        let objects = self.sample().await?;
        std::fs::write(&file, serde_json::to_vec(&objects)?)?;
        audience.done(&format!("{} objects with vectors in {}", objects.len(), file.display()));

        audience.step("Kill the node and its disk");
        let old = self.report.nodes[0].clone();
        let killed_at = Timestamp::now();
        self.note("node_killed");
        let before = self.s3.restored_instances().await?;
        let killed = self.stack.kill_instance(&old.instance).await?;
        let gone = killed.data_paths.contains(&old.data_path) && !old.data_path.exists();
        self.report.proof.old_data_gone = gone;
        if !gone {
            bail!("the data directory {} is still there after the kill", old.data_path.display());
        }
        audience.done(&format!("{}: process {} killed, {} deleted", old.instance, old.pid, old.data_path.display()));

        audience.step("Replacement: launch hook, restore, evidence, gate");
        let (replacement, agent_at) = self.replacement(&old.instance, &before).await?;
        let closed = self
            .stack
            .wait_for("the end of the restore", self.patience(), async || self.s3.closed_restore(&replacement).await)
            .await?;
        if let Some(refusal) = &closed.run.refusal {
            self.note("replacement_abandoned");
            if let Some(sabotage) = &mut self.report.sabotage {
                sabotage.refused = Some(refusal.clone());
            }
            audience.done(&format!("{replacement} was refused: {refusal}"));
            self.report.failures.push(format!("the replacement was abandoned: {refusal}"));
            return Ok(closed);
        }
        // Where the harness was too slow to see the agent, the function's own note of it has to do.
        let agent_at = agent_at.or_else(|| closed.run.at(StepName::AgentOnline));
        let agent_at = agent_at.context("the restore ended well on an instance whose agent was never seen")?;
        let new = self.serving(Some(&old.instance)).await?;
        self.note("replacement_serves");
        self.report.nodes.push(view(&new)?);
        let (restore_began, restore_ended) = proof::restore_span(&self.stack.s3_access_log()?, &new.instance)?;
        let seen = Witnessed {
            killed: killed_at.as_millisecond(),
            agent: agent_at.as_millisecond(),
            restore_began,
            restore_ended,
        };
        self.report.recovery = recovery(&seen, &closed);
        audience.done(&format!(
            "{} serves on {} after {} ms",
            new.instance,
            self.stack.fixed_address(),
            self.report.recovery.total_ms
        ));
        Ok(closed)
    }

    /// Waits for an instance other than `old` whose agent is up, and says when it was seen. A replacement whose
    /// backup fails T0 is refused beside its boot, often before it has an agent, and may be gone again before anybody
    /// looks: the record of its run stays, so that is looked for too, and then there is no such time.
    async fn replacement(&self, old: &str, before: &[String]) -> anyhow::Result<(String, Option<Timestamp>)> {
        self.stack
            .wait_for("a replacement with an agent, or one that was refused", PATIENCE, async || {
                let instances = self.stack.instances().await?;
                if let Some(up) = instances.into_iter().find(|i| i.instance != old && i.agent) {
                    return Ok(Some((up.instance, Some(Timestamp::now()))));
                }
                let closed = self.s3.restored_instances().await?;
                Ok(closed.into_iter().find(|instance| !before.contains(instance)).map(|instance| (instance, None)))
            })
            .await
    }

    /// Waits until an instance other than `not` is in service and serves on the fixed address.
    async fn serving(&self, not: Option<&str>) -> anyhow::Result<Instance> {
        self.stack
            .wait_for("a node in service on the fixed address", PATIENCE, async || {
                let instances = self.stack.instances().await?;
                let serving = instances
                    .into_iter()
                    .find(|i| Some(i.instance.as_str()) != not && i.lifecycle.as_deref() == Some("InService"));
                Ok(match serving {
                    Some(instance) if self.client.ready().await => Some(instance),
                    _ => None,
                })
            })
            .await
    }

    /// How long a step that carries every object may take.
    fn patience(&self) -> Duration {
        PATIENCE + Duration::from_secs(self.plan.corpus.objects / OBJECTS_PER_SECOND)
    }

    fn note(&mut self, step: &str) {
        let at_ms = Timestamp::now().as_millisecond() - self.began.as_millisecond();
        self.report.timeline.push(Moment { at_ms, step: step.to_owned() });
    }

    /// Adds the steps that the functions noted, and gives the report.
    pub fn report(&mut self, closed: &ClosedRestore) -> Report {
        for step in &closed.run.timeline {
            let at_ms = step.at.as_millisecond() - self.began.as_millisecond();
            let name =
                serde_json::to_value(step.step).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
            self.report.timeline.push(Moment { at_ms, step: format!("drive_restore.{name}") });
        }
        self.report.timeline.sort_by_key(|m| m.at_ms);
        self.report.clone()
    }
}

fn view(instance: &Instance) -> anyhow::Result<NodeView> {
    Ok(NodeView {
        instance: instance.instance.clone(),
        pid: instance.pid.with_context(|| format!("{} runs no node", instance.instance))?,
        data_path: instance
            .data_path
            .clone()
            .with_context(|| format!("{} has no data directory", instance.instance))?,
    })
}
