//! The double, and a real Weaviate where one is given, answer every call of the product's HTTP adapter alike. Both run
//! with the arguments and the keys' file of the host script, and back up to the stack's S3.
//!
//! ```text
//! LIFEBOAT_WEAVIATE=/path/of/weaviate cargo test -p lifeboat-stack --test node_contract -- --nocapture
//! ```

#[path = "../../../shared/adapters/tests/node_calls/mod.rs"]
mod node_calls;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use lifeboat_stack::{Functions, Node, Silent, Stack, StackOptions};
use node_calls::{Server, say};
use serde_json::json;

const BUCKET: &str = "contract";

/// The emulator, with a bucket and nothing deployed.
async fn stack(node: Node) -> Result<Stack> {
    let functions = Functions::Given([].into());
    let options = StackOptions { functions, node, name: "contract".to_owned(), ..StackOptions::default() };
    let stack = Stack::start_empty(options, &Silent).await?;
    stack.call("s3", "create_bucket", json!({"Bucket": BUCKET})).await??;
    Ok(stack)
}

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

async fn started(stack: &Stack, extra: &[(&str, &str)]) -> Result<(Running, Server)> {
    let binary = stack.node_binary().context("the stack has no node")?;
    let network = stack.fixed_address().rsplit_once(".0.").context("127.x.0.y")?.0;
    let address = format!("{network}.200.1");
    let keys = stack.dir().join("keys.json");
    let apikey =
        json!({"enabled": true, "allowed_keys": ["operator-key", "reader-key"], "users": ["operator", "reader"]});
    let rights = json!({"enabled": true, "users": ["operator"], "read_only_users": ["reader"]});
    let content = json!({"authentication": {"anonymous_access": {"enabled": false}, "apikey": apikey},
        "authorization": {"admin_list": rights}});
    std::fs::write(&keys, content.to_string())?;
    let log = std::fs::File::create(stack.dir().join("node.log"))?;
    let endpoint = stack.endpoint().trim_start_matches("http://");
    let mut command = Command::new(binary);
    command
        .env_clear()
        .args(["--host", &address, "--port", "8080", "--scheme", "http", "--config-file"])
        .arg(&keys)
        .envs([
            ("CLUSTER_HOSTNAME", "weaviate-0"),
            ("CLUSTER_BIND_ADDR", &address),
            ("CLUSTER_ADVERTISE_ADDR", &address),
        ])
        .envs([
            ("GRPC_PORT", &*free_port()?),
            ("CLUSTER_DATA_BIND_PORT", &*free_port()?),
            ("RAFT_BOOTSTRAP_EXPECT", "1"),
        ])
        .envs([("ENABLE_MODULES", "backup-s3"), ("BACKUP_S3_BUCKET", BUCKET), ("BACKUP_S3_PATH", "backups")])
        .envs([("BACKUP_S3_ENDPOINT", endpoint), ("BACKUP_S3_USE_SSL", "false"), ("BACKUP_SKIP_ACCESS_CHECK", "true")])
        .envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "node"), ("AWS_SECRET_ACCESS_KEY", "local")])
        .envs([
            ("AUTHENTICATION_APIKEY_ENABLED", "true"),
            ("DISABLE_TELEMETRY", "true"),
            ("GO_PROFILING_DISABLE", "true"),
        ])
        .envs(extra.iter().copied())
        .env("PERSISTENCE_DATA_PATH", stack.dir().join("data"))
        .current_dir(stack.dir())
        .stdout(log.try_clone()?)
        .stderr(log)
        .stdin(Stdio::null());
    let running = Running(command.spawn().with_context(|| format!("starting {}", binary.display()))?);
    let address: SocketAddr = format!("{address}:8080").parse()?;
    let url = format!("http://{address}/v1/.well-known/ready");
    let client = reqwest::Client::builder().no_proxy().build()?;
    stack
        .wait_for("a ready server (its log is node.log)", Duration::from_secs(60), || async {
            Ok(client.get(&url).send().await.is_ok_and(|reply| reply.status().is_success()).then_some(()))
        })
        .await?;
    Ok((running, Server { address, key: "operator-key".to_owned(), reader_key: Some("reader-key".to_owned()) }))
}

/// Plays all calls twice: by GraphQL alone, and with the REST search that some versions have behind a flag.
async fn play(binary: Node) -> Result<()> {
    // reqwest wants a provider even for plain HTTP; a second installation is refused, and the first one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for flag in ["false", "true"] {
        let stack = stack(binary.clone()).await?;
        let extra = [("EXPERIMENTAL_REST_SEARCH_ENABLED", flag), ("LIFEBOAT_NODE_ROUND_SCALE", "0.2")];
        let (running, server) = started(&stack, &extra).await?;
        node_calls::play(&server).await;
        drop(running);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_double_answers_every_call_as_the_adapter_reads_it() -> Result<()> {
    play(Node::Double).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_answers_every_call_as_the_double_does() -> Result<()> {
    let Some(path) = std::env::var_os("LIFEBOAT_WEAVIATE") else {
        say("NOT RUN: no real Weaviate was held to the same, because LIFEBOAT_WEAVIATE names no binary");
        return Ok(());
    };
    let path = Path::new(&path).canonicalize().with_context(|| format!("{}", PathBuf::from(&path).display()))?;
    play(Node::Binary(path)).await
}
