//! A cluster on the local stack whose first node serves, and what scenarios do to it and read of it.

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lifeboat_demo::bucket::Reader;
use lifeboat_demo::client::Client;
use lifeboat_demo::corpus::Corpus;
use lifeboat_domain::document::{Document, encode};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::ownership::Ownership;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::run::{ClosedRestore, RestoreRun};
use lifeboat_domain::runs::{Action, ClosedVerification, CreateRun, Request, VerifyRun};
use lifeboat_stack::{Instance, Invocation, Node, Silent, Stack, StackOptions, target_dir, workspace_root};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long anything may take; generous, because several stacks share few cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// What every scenario indexes: three collections, one with tenants.
pub(crate) const CORPUS: Corpus = Corpus { objects: 300, dimensions: 8 };

/// Stacks at a time: more than cores only makes each of them slower.
pub(crate) const STACKS: u32 = 2;
pub(crate) static SEATS: Semaphore = Semaphore::const_new(STACKS as usize);

/// How a cluster is made.
pub(crate) struct Setup {
    options: StackOptions,
    node: Vec<String>,
    real: Option<PathBuf>,
}

impl Setup {
    /// Events on, schedules off: a scenario gives the ticks itself, so that it sees only what it causes.
    pub(crate) fn new() -> Self {
        let options = StackOptions::default()
            .parameter("AllowEmptyStart", "yes")
            .parameter("PollIntervalMs", "200")
            .parameter("WeaviateImage", &format!("weaviate@sha256:{}", "0".repeat(64)))
            .parameter("ExtraEnvironment", "LIFEBOAT_NODE_ROUND_SCALE=0.1")
            .knob("schedules", false);
        Self { options, node: Vec::new(), real: None }
    }

    /// With a real server instead of the double.
    pub(crate) fn real(binary: &std::path::Path) -> Self {
        let mut setup = Self::new();
        setup.options.parameters.remove("ExtraEnvironment");
        setup.real = Some(binary.to_owned());
        setup
    }

    /// A fault or a pace of the node double from its first start on, without the prefix `LIFEBOAT_NODE_`.
    pub(crate) fn node(mut self, name: &str, value: &str) -> Self {
        self.node.push(format!("LIFEBOAT_NODE_{name}={value}"));
        self
    }
}

/// A deployed product whose first node serves and holds [`CORPUS`].
pub(crate) struct Cluster {
    pub(crate) stack: Stack,
    pub(crate) client: Client,
    /// The first node.
    pub(crate) first: Instance,
    s3: Reader,
    node_files: PathBuf,
    _seat: SemaphorePermit<'static>,
}

/// Runs a scenario on a cluster of its own. What fails leaves the stack's directory behind and names it.
pub(crate) async fn on(setup: Setup, scenario: impl AsyncFnOnce(&mut Cluster) -> Result<()>) {
    let begun = Instant::now();
    let mut cluster = Cluster::start(setup).await.expect("a cluster that serves");
    let ready = begun.elapsed();
    if let Err(error) = scenario(&mut cluster).await {
        cluster.stack.keep();
        panic!(
            "{error:#}\nthe stack's logs are in {}, the nodes' in {}",
            cluster.stack.dir().display(),
            cluster.node_files.display()
        );
    }
    eprintln!("cluster ready after {ready:.1?}, scenario over after {:.1?}", begun.elapsed());
}

impl Cluster {
    async fn start(setup: Setup) -> Result<Self> {
        let mut cluster = Self::deploy(setup).await?;
        cluster.first = cluster.serving(&[]).await?;
        cluster.client.create_collections().await?;
        cluster.client.index(&CORPUS, |_| ()).await?;
        Ok(cluster)
    }

    async fn deploy(setup: Setup) -> Result<Self> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let seat = SEATS.acquire().await?;
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let node_files = target_dir().join("lifeboat-scenarios").join(format!("{}-{number}", std::process::id()));
        std::fs::create_dir_all(&node_files)?;
        let mut options = setup.options;
        options.node = Node::Binary(match setup.real {
            Some(binary) => binary,
            None => wrapper(&node_files)?,
        });
        let key = options.secrets["/lifeboat/weaviate/keys/indexer"].clone();
        std::fs::write(node_files.join("knobs"), setup.node.join("\n"))?;
        let stack = Stack::start(options, &Silent).await?;
        let client = Client::new(stack.fixed_address(), &key)?;
        let s3 = Reader::new(&stack).await?;
        let pending = stack
            .wait_for("a first instance", PATIENCE, || async { Ok(stack.instances().await?.into_iter().next()) })
            .await?;
        Ok(Self { stack, client, first: pending, s3, node_files, _seat: seat })
    }

    /// Sets the node double's knobs for every node that starts from now on.
    pub(crate) fn node_knobs(&self, knobs: &[(&str, &str)]) -> Result<()> {
        let lines: Vec<String> = knobs.iter().map(|(name, value)| format!("LIFEBOAT_NODE_{name}={value}")).collect();
        Ok(std::fs::write(self.node_files.join("knobs"), lines.join("\n"))?)
    }

    /// Requests to all nodes so far, as `METHOD path status`.
    pub(crate) fn node_requests(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(self.node_files.join("access.ndjson")).context("the nodes' access log")?;
        text.lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line)?;
                let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
                Ok(format!("{} {} {}", text("method"), text("path"), line["status"]))
            })
            .collect()
    }

    // ---- the bucket ----------------------------------------------------------------------------------------------------------

    pub(crate) fn bucket(&self) -> &str {
        self.s3.bucket()
    }

    pub(crate) async fn bytes(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.s3.bytes(key).await
    }

    pub(crate) async fn document<T: Document>(&self, key: &Key) -> Result<Option<T>> {
        self.s3.document(key).await
    }

    pub(crate) async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> Result<()> {
        self.s3.put(key, body).await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        self.s3.delete(key).await
    }

    pub(crate) async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        self.s3.keys(prefix).await
    }

    pub(crate) async fn pointer(&self) -> Result<Option<Pointer>> {
        self.document(&Key::Pointer).await
    }

    pub(crate) async fn ownership(&self) -> Result<Option<Ownership>> {
        self.document(&Key::Ownership).await
    }

    pub(crate) async fn create_run(&self) -> Result<CreateRun> {
        Ok(self.document(&Key::CurrentRun(Function::CreateBackup)).await?.unwrap_or_default())
    }

    pub(crate) async fn restore_run(&self) -> Result<RestoreRun> {
        Ok(self.document(&Key::CurrentRun(Function::DriveRestore)).await?.unwrap_or_default())
    }

    pub(crate) async fn verdict(&self, id: &BackupId) -> Result<Option<ClosedVerification>> {
        let run: Option<VerifyRun> = self.document(&Key::CurrentRun(Function::VerifyChecksums)).await?;
        Ok(run.unwrap_or_default().closed.into_iter().find(|c| c.backup_id == *id))
    }

    /// Every closed restore, oldest first.
    pub(crate) async fn closed_restores(&self) -> Result<Vec<ClosedRestore>> {
        let mut closed = Vec::new();
        for key in self.keys("runs/drive-restore/done/").await? {
            let key = Key::parse(&key).with_context(|| format!("{key} is no key of ours"))?;
            closed.extend(self.document(&key).await?);
        }
        Ok(closed)
    }

    /// The ids of all backups that Weaviate ever wrote anything for.
    pub(crate) async fn backups(&self) -> Result<Vec<String>> {
        let mut ids: Vec<String> =
            self.keys("backups/").await?.iter().filter_map(|k| k.split('/').nth(1).map(str::to_owned)).collect();
        ids.dedup();
        Ok(ids)
    }

    /// What must not change by itself: every key with its ETag but the logs of work, and who is in the group.
    pub(crate) async fn state(&self) -> Result<Vec<String>> {
        let mut state: Vec<String> =
            self.s3.etags().await?.into_iter().map(|(key, etag)| format!("{key} {etag}")).collect();
        state.extend(self.stack.instances().await?.iter().map(|i| format!("{} {:?}", i.instance, i.lifecycle)));
        Ok(state)
    }

    // ---- what jobs and people do -----------------------------------------------------------------------------------------------

    pub(crate) async fn mark(&self, dataset: &str) -> Result<()> {
        self.put(&format!("indexing/{dataset}/_SUCCESS"), Vec::new()).await
    }

    pub(crate) async fn ask(&self, id: &str, action: Action) -> Result<()> {
        let key = Key::Request(action.function(), id.to_owned()).to_string();
        self.put(&key, encode(&Request { by: "a scenario".into(), reason: "to see it done".into(), action })).await
    }

    /// Drops a marker and waits for the flip that it leads to.
    pub(crate) async fn protect(&self, dataset: &str) -> Result<Pointer> {
        let before = self.pointer().await?.map_or(0, |p| p.sequence.0);
        self.mark(dataset).await?;
        self.flipped(before).await
    }

    /// Waits for a pointer of a higher sequence.
    pub(crate) async fn flipped(&self, before: u64) -> Result<Pointer> {
        self.wait("a flip of the pointer", || async { Ok(self.pointer().await?.filter(|p| p.sequence.0 > before)) })
            .await
    }

    // ---- functions -------------------------------------------------------------------------------------------------------------

    /// The deployed name of a function.
    pub(crate) fn function(&self, function: Function) -> Result<&str> {
        self.stack.output(&format!("{}FunctionName", logical(function)))
    }

    /// The function's tick, by its own rule; not waited for.
    pub(crate) async fn tick(&self, function: Function) -> Result<()> {
        let fired = self.stack.tick(&format!("{}FunctionTick", logical(function))).await?;
        ensure!(fired.len() == 1, "{} has the ticks {fired:?}", function.name());
        Ok(())
    }

    /// Invokes a function with an event and waits for its answer.
    pub(crate) async fn invoke(&self, function: Function, event: &Value) -> Result<Invocation> {
        self.stack.invoke(self.function(function)?, event).await
    }

    /// The tick as an invocation that is waited for: only for a function that has nothing to wait for itself.
    pub(crate) async fn ticked(&self, function: Function) -> Result<Invocation> {
        self.invoke(function, &case(function, "scheduled")?).await
    }

    /// The event that S3 sends when this key is written.
    pub(crate) fn written(&self, key: &str) -> Value {
        json!({
            "version": "0", "id": "1f3b1f9e-0000-4000-8000-000000000001", "source": "aws.s3", "detail-type": "Object Created",
            "account": lifeboat_stack::ACCOUNT, "region": lifeboat_stack::REGION, "time": "2026-11-20T03:00:00Z",
            "resources": [format!("arn:aws:s3:::{}", self.bucket())],
            "detail": {"version": "0", "bucket": {"name": self.bucket()}, "object": {"key": key, "size": 1}, "reason": "PutObject"},
        })
    }

    pub(crate) fn log(&self, function: Function) -> Result<String> {
        Ok(self.stack.function_log(self.function(function)?))
    }

    // ---- instances -------------------------------------------------------------------------------------------------------------

    /// Waits for an instance in service, not among `but`, that answers on the fixed address and owns the data.
    pub(crate) async fn serving(&self, but: &[&str]) -> Result<Instance> {
        self.wait("a node in service on the fixed address", || async {
            let instances = self.stack.instances().await?;
            let found = instances
                .into_iter()
                .find(|i| i.lifecycle.as_deref() == Some("InService") && !but.contains(&i.instance.as_str()));
            let Some(found) = found else { return Ok(None) };
            let owner = self.ownership().await?.map(|o| o.owner.to_string());
            Ok((owner.as_deref() == Some(found.instance.as_str()) && self.client.ready().await).then_some(found))
        })
        .await
    }

    /// The machine of the first node dies with its disk.
    pub(crate) async fn lose_first(&self) -> Result<()> {
        let gone = self.stack.kill_instance(&self.first.instance).await?;
        ensure!(gone.data_paths.iter().all(|path| !path.exists()), "the disk is still there: {gone:?}");
        Ok(())
    }

    pub(crate) async fn group(&self) -> Result<Value> {
        let request = json!({"AutoScalingGroupNames": [self.stack.output("GroupName")?]});
        let mut found = self.stack.call("autoscaling", "describe_auto_scaling_groups", request).await??;
        Ok(found["AutoScalingGroups"][0].take())
    }

    /// How often a host was asked for this command with this first argument.
    pub(crate) async fn host_did(&self, instance: &str, command: &[&str]) -> Result<usize> {
        let calls = self.stack.host_calls(instance).await?;
        Ok(calls
            .iter()
            .filter(|call| call.argv.iter().zip(command).filter(|(a, b)| a == b).count() == command.len())
            .count())
    }

    /// Looks until `probe` answers, at most [`PATIENCE`].
    pub(crate) async fn wait<T, F: Future<Output = Result<Option<T>>>>(
        &self,
        what: &str,
        probe: impl FnMut() -> F,
    ) -> Result<T> {
        self.stack.wait_for(what, PATIENCE, probe).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What a failing scenario's reader needs stays.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.node_files);
        }
    }
}

/// The function's logical id in the template, without `Function`.
pub(crate) fn logical(function: Function) -> &'static str {
    match function {
        Function::CreateBackup => "CreateBackup",
        Function::VerifyChecksums => "VerifyChecksums",
        Function::FlipManifest => "FlipManifest",
        Function::DriveRestore => "DriveRestore",
        Function::PruneBackups => "PruneBackups",
    }
}

/// A case of `events/`.
pub(crate) fn case(function: Function, name: &str) -> Result<Value> {
    let file = workspace_root().join("events").join(function.name()).join(format!("{name}.json"));
    let text = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// A binary of the workspace, where the stack's own build puts it.
pub(crate) fn binary(name: &str) -> PathBuf {
    target_dir().join(if cfg!(debug_assertions) { "debug" } else { "release" }).join(name)
}

/// The node double behind a script that reads its knobs at each start, so that a scenario can break a later node: the
/// template's `ExtraEnvironment` is the same for all.
fn wrapper(dir: &std::path::Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let (path, dir) = (dir.join("node"), dir.display());
    let script = format!(
        "#!/bin/sh\nset -f\nLIFEBOAT_NODE_ACCESS_LOG='{dir}/access.ndjson' exec env $(cat '{dir}/knobs') '{}' \"$@\"\n",
        binary("lifeboat-node").display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
