//! Weaviate's own Python client against the double, and against a real server where one is named
//! (`tests/client/README.md`).

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lifeboat_stack::{Functions, Node, Silent, Stack, StackOptions};
use serde_json::{Value, json};

const BUCKET: &str = "python-client";
const REQUIREMENTS: &str = include_str!("../../client/requirements.txt");

/// A server's process, which ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> Result<String> {
    Ok(TcpListener::bind("0.0.0.0:0")?.local_addr()?.port().to_string())
}

/// Starts a server on an address of the stack's own network, with backups to the stack's S3; its address, gRPC port and key.
async fn started(stack: &Stack) -> Result<(Running, String, String)> {
    let binary = stack.node_binary().context("the stack has no node")?;
    let network = stack.fixed_address().rsplit_once(".0.").context("127.x.0.y")?.0;
    let (address, grpc) = (format!("{network}.201.1"), free_port()?);
    let log = std::fs::File::create(stack.dir().join("node.log"))?;
    let mut command = Command::new(binary);
    command
        .env_clear()
        .args(["--host", &address, "--port", "8080", "--scheme", "http"])
        .envs([("CLUSTER_HOSTNAME", "weaviate-0"), ("RAFT_BOOTSTRAP_EXPECT", "1"), ("GRPC_PORT", &*grpc)])
        .envs([("CLUSTER_BIND_ADDR", &*address), ("CLUSTER_ADVERTISE_ADDR", &*address)])
        .envs([("CLUSTER_DATA_BIND_PORT", &*free_port()?)])
        .envs([("ENABLE_MODULES", "backup-s3"), ("BACKUP_S3_BUCKET", BUCKET), ("BACKUP_S3_PATH", "backups")])
        .envs([("BACKUP_S3_ENDPOINT", stack.endpoint().trim_start_matches("http://")), ("BACKUP_S3_USE_SSL", "false")])
        .envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "node"), ("AWS_SECRET_ACCESS_KEY", "local")])
        .envs([("AUTHENTICATION_APIKEY_ENABLED", "true"), ("AUTHENTICATION_APIKEY_ALLOWED_KEYS", "a-key")])
        .envs([("AUTHENTICATION_APIKEY_USERS", "operator"), ("AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED", "false")])
        .envs([("DISABLE_TELEMETRY", "true"), ("GO_PROFILING_DISABLE", "true"), ("API_BASED_MODULES_DISABLED", "true")])
        .env("LIFEBOAT_NODE_ROUND_SCALE", "0.1")
        .env("PERSISTENCE_DATA_PATH", stack.dir().join("data"))
        .current_dir(stack.dir())
        .stdout(log.try_clone()?)
        .stderr(log)
        .stdin(Stdio::null());
    let running = Running(command.spawn().with_context(|| format!("starting {}", binary.display()))?);
    let client = lifeboat_demo::client::Client::new(&address, "a-key")?;
    stack
        .wait_for("a ready server (its log is node.log)", Duration::from_secs(300), async || {
            Ok(client.ready().await.then_some(()))
        })
        .await?;
    Ok((running, address, grpc))
}

/// Runs the script and holds every step to what it must be; the number of steps by the API that they went over.
async fn played(node: Node, grpc: bool) -> Result<(usize, usize)> {
    let python = tokio::task::block_in_place(|| lifeboat_stack::python_with(REQUIREMENTS))?;
    let options = StackOptions {
        functions: Functions::Given([].into()),
        node,
        name: "client".to_owned(),
        ..StackOptions::default()
    };
    let mut stack = Stack::start_empty(options, &Silent).await?;
    stack.call("s3", "create_bucket", json!({"Bucket": BUCKET})).await??;
    let (running, address, port) = started(&stack).await?;
    let script = lifeboat_stack::workspace_root().join("tests/client/client.py");
    let mut command = tokio::process::Command::new(python);
    command.arg("-B").arg(script).args(["--host", &address, "--port", "8080", "--grpc-port", &port, "--key", "a-key"]);
    if grpc {
        command.arg("--grpc");
    }
    let output = command.kill_on_drop(true).stdin(Stdio::null()).output().await?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("{stdout}");
    if !output.status.success() {
        stack.keep();
    }
    ensure!(output.status.success(), "{:?}\n{stdout}\n{stderr}\nlogs in {}", output.status, stack.dir().display());
    let steps: Vec<Value> = stdout
        .lines()
        .filter(|line| line.starts_with("{\"api\""))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(steps.iter().all(|step| step["ok"] == true), "{steps:?}");
    drop(running);
    if !grpc {
        let log = std::fs::read_to_string(stack.dir().join("node.log"))?;
        ensure!(
            log.contains("gRPC call /weaviate.v1.Weaviate/BatchStream refused"),
            "the double logs what it refuses: {log}"
        );
    }
    let over = |api: &str| steps.iter().filter(|step| step["api"] == api).count();
    Ok((over("rest"), over(if grpc { "grpc" } else { "refused" })))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_client_works_over_rest_and_is_refused_aloud_over_grpc() -> Result<()> {
    let (rest, refused) = played(Node::Double, false).await?;
    ensure!(rest >= 35 && refused >= 9, "{rest} calls over REST, {refused} refused");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_calls_and_those_over_grpc_work_on_a_real_server() -> Result<()> {
    let Some(path) = std::env::var_os("WEAVIATE_BIN") else {
        eprintln!("NOT RUN: the Python client's calls over gRPC, because WEAVIATE_BIN names no real server");
        return Ok(());
    };
    let path = Path::new(&path).canonicalize().with_context(|| format!("{}", PathBuf::from(&path).display()))?;
    let (rest, grpc) = played(Node::Binary(path), true).await?;
    ensure!(rest >= 35 && grpc >= 9, "{rest} calls over REST, {grpc} over gRPC");
    Ok(())
}
