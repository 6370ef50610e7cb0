//! What a stack is made of, and how its making is shown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

/// Where the functions' binaries come from.
#[derive(Debug, Clone)]
pub enum Functions {
    /// Build these packages of the workspace (one binary each, of the same name), in the profile of the running program.
    Build(Vec<String>),
    /// Take these: binary name → executable file (a script with a `#!` line will do).
    Given(BTreeMap<String, PathBuf>),
}

/// What the docker stand-in runs as Weaviate.
#[derive(Debug, Clone)]
pub enum Node {
    /// The double, `lifeboat-node`, built with the functions.
    Double,
    /// This executable, with the container's arguments and exactly the container's environment.
    Binary(PathBuf),
    /// Nothing: `docker run` fails.
    None,
}

/// How to make a stack. [`StackOptions::default`] deploys the product.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// The SAM template.
    pub template: PathBuf,
    /// The CloudFormation stack's name.
    pub name: String,
    /// Template parameters. `FixedPrivateIp`, `S3Endpoint`, `S3UseSsl`, `VpcId`, `SubnetId` and `AmiId` are filled in where the
    /// template declares them and they are not given here.
    pub parameters: BTreeMap<String, String>,
    /// The functions' binaries.
    pub functions: Functions,
    /// What runs as Weaviate.
    pub node: Node,
    /// SSM `SecureString` parameters that exist before the template is deployed: name → value.
    pub secrets: BTreeMap<String, String>,
    /// Delays and switches of the bridge, over its defaults (`bridge/context.py` lists them).
    pub knobs: Map<String, Value>,
    /// Check signatures and IAM policies on every request (functions and instances then act under their roles).
    pub enforce_iam: bool,
    /// Leave the stack's directory (logs, sandboxes) behind.
    pub keep: bool,
    /// How long the deployment may take.
    pub deploy_within: Duration,
}

/// The packages that the template's functions are built from.
const FUNCTIONS: [&str; 5] = ["create-backup", "verify-checksums", "flip-manifest", "drive-restore", "prune-backups"];

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            template: crate::workspace_root().join("template.yaml"),
            name: "lifeboat".to_owned(),
            parameters: BTreeMap::new(),
            functions: Functions::Build(FUNCTIONS.map(str::to_owned).to_vec()),
            node: Node::Double,
            secrets: BTreeMap::from(
                ["operator", "indexer", "reader"]
                    .map(|role| (format!("/lifeboat/weaviate/keys/{role}"), format!("{role}-key-of-the-local-stack"))),
            ),
            knobs: Map::new(),
            enforce_iam: false,
            keep: false,
            deploy_within: Duration::from_secs(180),
        }
    }
}

impl StackOptions {
    /// Set a template parameter.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Set a knob of the bridge.
    #[must_use]
    pub fn knob(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.knobs.insert(name.to_owned(), value.into());
        self
    }
}

/// The stages of [`crate::Stack::start`], in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The pinned Python environment (only the first time on a machine).
    Provision,
    /// The functions' and the node's binaries.
    Build,
    /// The emulator's start.
    Emulate,
    /// The template's deployment.
    Deploy,
}

impl Step {
    /// A line for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Provision => "Prepare the AWS emulator",
            Self::Build => "Build the functions",
            Self::Emulate => "Start the AWS emulator",
            Self::Deploy => "Deploy the template",
        }
    }
}

/// Shown what happens while a stack is made.
pub trait Progress: Send + Sync {
    /// A stage begins.
    fn begin(&self, step: Step);
    /// Something worth showing within a stage: a crate being compiled, a package being installed.
    fn detail(&self, step: Step, line: &str);
    /// A stage is over.
    fn end(&self, step: Step, took: Duration);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: Step) {}
    fn detail(&self, _: Step, _: &str) {}
    fn end(&self, _: Step, _: Duration) {}
}
