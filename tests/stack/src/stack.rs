//! A stack's making, its parts, and its end. What may be done to it is in `acts`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::control::{self, ApiError};
use crate::emulator::Emulator;
use crate::options::{Functions, Node, Progress, StackOptions, Step};
use crate::{binaries, provision};

/// A running local AWS with a template deployed in it.
#[derive(Debug)]
pub struct Stack {
    emulator: Option<Emulator>,
    dir: PathBuf,
    keep: bool,
    name: String,
    outputs: BTreeMap<String, String>,
    resources: BTreeMap<String, String>,
    options: StackOptions,
    binaries: BTreeMap<String, PathBuf>,
    node: Option<PathBuf>,
    took: Vec<(Step, Duration)>,
}

const ANSWER_WITHIN: Duration = Duration::from_secs(120);
static STARTED: AtomicU32 = AtomicU32::new(0);

impl Stack {
    /// Make everything and deploy the template.
    ///
    /// # Errors
    /// What could not be provisioned, built, started or deployed, by name, with the emulator's last log lines.
    pub async fn start(options: StackOptions, progress: &dyn Progress) -> Result<Self> {
        let mut stack = Self::start_empty(options, progress).await?;
        let begun = begin(progress, Step::Deploy);
        stack.deploy().await?;
        stack.took.push((Step::Deploy, end(progress, Step::Deploy, begun)));
        Ok(stack)
    }

    /// The emulator and its bridge alone, with the secrets but with no template deployed yet; see [`Self::deploy`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_empty(options: StackOptions, progress: &dyn Progress) -> Result<Self> {
        let mut took = Vec::new();
        let begun = begin(progress, Step::Provision);
        let python = blocking(|| provision::python(&|line| progress.detail(Step::Provision, line)))?;
        took.push((Step::Provision, end(progress, Step::Provision, begun)));

        let begun = begin(progress, Step::Build);
        let (mut packages, mut binaries) = match &options.functions {
            Functions::Build(packages) => (packages.clone(), BTreeMap::new()),
            Functions::Given(given) => (Vec::new(), given.clone()),
        };
        if matches!(options.node, Node::Double) {
            packages.push(DOUBLE.to_owned());
        }
        binaries.extend(blocking(|| binaries::build(&packages, &|line| progress.detail(Step::Build, line)))?);
        took.push((Step::Build, end(progress, Step::Build, begun)));

        let begun = begin(progress, Step::Emulate);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let stacks = crate::target_dir().join("lifeboat-stacks");
        forget_old(&stacks);
        let dir = stacks.join(format!("{}-{}-{number}", options.name, std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let mut knobs = options.knobs.clone();
        let node = match &options.node {
            Node::Double => binaries.remove(DOUBLE),
            Node::Binary(path) => Some(path.clone()),
            Node::None => None,
        };
        knobs.insert("node_binary".to_owned(), json!(node.clone().unwrap_or_default()));
        let emulator = Emulator::start(&python, &dir, &Value::Object(knobs).to_string(), options.enforce_iam).await?;
        let stack = Self {
            emulator: Some(emulator),
            dir,
            keep: options.keep,
            name: options.name.clone(),
            outputs: BTreeMap::new(),
            resources: BTreeMap::new(),
            options,
            binaries,
            node,
            took,
        };
        for (name, value) in &stack.options.secrets {
            stack.call("ssm", "put_parameter", json!({"Name": name, "Value": value, "Type": "SecureString"})).await??;
        }
        let mut stack = stack;
        stack.took.push((Step::Emulate, end(progress, Step::Emulate, begun)));
        Ok(stack)
    }

    /// Deploy the template of the options (again, with its parameters as they are now): change set, execute, wait.
    ///
    /// # Errors
    /// Which resource failed and why.
    pub async fn deploy(&mut self) -> Result<()> {
        let request = json!({
            "op": "deploy", "template": self.options.template, "stack": self.name, "parameters": self.options.parameters,
            "binaries": self.binaries, "seconds": self.options.deploy_within.as_secs(),
        });
        let within = self.options.deploy_within + Duration::from_secs(60);
        let done = self
            .ask_within(&request, within)
            .await?
            .with_context(|| format!("deploying {}", self.options.template.display()))?;
        self.outputs = serde_json::from_value(done["outputs"].clone()).context("outputs")?;
        self.resources = done["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|r| Some((r["logical"].as_str()?.to_owned(), r["physical"].as_str()?.to_owned())))
            .collect();
        Ok(())
    }

    /// Change template parameters for the next [`Self::deploy`].
    pub fn set_parameter(&mut self, name: &str, value: &str) {
        self.options.parameters.insert(name.to_owned(), value.to_owned());
    }

    /// The one endpoint of every service, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.emulator.as_ref().map_or("", |e| &e.ready.endpoint)
    }

    /// The region of everything.
    #[must_use]
    pub fn region(&self) -> &'static str {
        crate::REGION
    }

    /// The fixed address that the template was given.
    #[must_use]
    pub fn fixed_address(&self) -> &str {
        self.emulator.as_ref().map_or("", |e| &e.ready.fixed_address)
    }

    /// The stack's directory: logs, sandboxes, access log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the docker stand-in runs as Weaviate; `None` where the options say so.
    #[must_use]
    pub fn node_binary(&self) -> Option<&Path> {
        self.node.as_deref()
    }

    /// How long each stage of the start took.
    #[must_use]
    pub fn took(&self) -> &[(Step, Duration)] {
        &self.took
    }

    /// The template's outputs.
    #[must_use]
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }

    /// One of the template's outputs.
    ///
    /// # Errors
    /// When the template has no such output; the error lists those it has.
    pub fn output(&self, name: &str) -> Result<&str> {
        let known = || self.outputs.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.outputs
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| anyhow!("the template has no output {name}; it has {}", known()))
    }

    /// The physical id of a resource, by its logical id.
    ///
    /// # Errors
    /// When the template has no such resource.
    pub fn resource(&self, logical_id: &str) -> Result<&str> {
        self.resources
            .get(logical_id)
            .map(String::as_str)
            .ok_or_else(|| anyhow!("the template has no resource {logical_id}"))
    }

    /// SDK configuration for a caller that the access log names `tester`.
    pub async fn sdk_config(&self) -> SdkConfig {
        self.sdk_config_as("tester").await
    }

    /// SDK configuration for a caller of your own naming (letters, digits, `-`, `:`). A stack with `enforce_iam` knows no such
    /// caller: there it is [`Self::sdk_config_of_role`].
    pub async fn sdk_config_as(&self, principal: &str) -> SdkConfig {
        self.configured(Credentials::new(principal, "local", None, None, "lifeboat-stack")).await
    }

    /// SDK configuration of a role's session. In a stack with `enforce_iam` the role's policies decide what it may do.
    ///
    /// # Errors
    /// When the stack does not answer.
    pub async fn sdk_config_of_role(&self, role_arn: &str) -> Result<SdkConfig> {
        let name = role_arn.rsplit('/').next().unwrap_or(role_arn);
        let (key, secret, token): (String, String, String) =
            self.get(&json!({"op": "role_credentials", "role": role_arn, "name": name})).await?;
        Ok(self.configured(Credentials::new(key, secret, Some(token), None, "lifeboat-stack")).await)
    }

    async fn configured(&self, credentials: Credentials) -> SdkConfig {
        aws_config::defaults(BehaviorVersion::latest())
            .region(Region::from_static(crate::REGION))
            .endpoint_url(self.endpoint())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .load()
            .await
    }

    /// The end of the emulator's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.emulator.as_ref().map(Emulator::tail).unwrap_or_default()
    }

    /// Leave the directory behind when the stack ends.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// End the stack: what [`Drop`] does, said aloud.
    pub fn stop(self) {}

    pub(crate) async fn get<T: DeserializeOwned>(&self, request: &Value) -> Result<T> {
        let answer = self.ask(request).await?.with_context(|| format!("the stack refused {}", request["op"]))?;
        serde_json::from_value(answer).with_context(|| format!("the stack's answer to {}", request["op"]))
    }

    pub(crate) async fn ask(&self, request: &Value) -> Result<std::result::Result<Value, ApiError>> {
        self.ask_within(request, ANSWER_WITHIN).await
    }

    async fn ask_within(&self, request: &Value, within: Duration) -> Result<std::result::Result<Value, ApiError>> {
        let emulator = self.emulator.as_ref().context("the stack has ended")?;
        control::ask(emulator.ready.control, request, within)
            .await
            .with_context(|| format!("the emulator's log ends:\n{}", emulator.tail()))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        drop(self.emulator.take());
        // A failing test's logs are what its reader needs.
        if !self.keep && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// The package and binary of the Weaviate double.
const DOUBLE: &str = "lifeboat-node";

/// Remove what failed runs of more than a day ago left behind; directories end with their owner's pid and a number.
fn forget_old(stacks: &Path) {
    for entry in std::fs::read_dir(stacks).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.rsplit('-').nth(1).unwrap_or_default();
        let gone = !owner.is_empty() && !Path::new("/proc").join(owner).exists();
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok());
        if gone && age.is_some_and(|age| age > Duration::from_secs(86_400)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Run something that takes its time, letting the runtime's other tasks go on where it can.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    let alone = tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::CurrentThread;
    if alone { work() } else { tokio::task::block_in_place(work) }
}

fn begin(progress: &dyn Progress, step: Step) -> Instant {
    progress.begin(step);
    Instant::now()
}

fn end(progress: &dyn Progress, step: Step, begun: Instant) -> Duration {
    let took = begun.elapsed();
    progress.end(step, took);
    took
}
