//! A server's process: which binary, with what it is told, bound to a loopback address of its own.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::proxy::until;

/// What runs.
#[derive(Debug, Clone)]
pub struct Program {
    /// The executable.
    pub binary: PathBuf,
    /// Whether it is the double.
    pub is_double: bool,
    /// The version the double plays; the real one has its own.
    pub plays: String,
}

/// A running server, which ends with the value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that a server is started with.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    /// Directory of its data, its log and its files.
    pub(crate) dir: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) args: Vec<String>,
}

/// A loopback address that no other server of this machine's runs has.
pub(crate) fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let pid = std::process::id();
    for _ in 0..50 {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.{}.{}.{}:8080", 128 + pid / 250 % 120, pid % 250, n % 250 + 1);
        let address: SocketAddr = address.parse()?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free loopback address was found")
}

fn free_port() -> Result<String> {
    Ok(TcpListener::bind("0.0.0.0:0")?.local_addr()?.port().to_string())
}

impl Plan {
    /// The environment that every server of the suite has.
    pub(crate) fn new(program: &Program, dir: &Path, s3: SocketAddr, bucket: &str, prefix: &str) -> Result<Self> {
        let address = free_address()?;
        let ip = address.ip().to_string();
        let fixed = [
            ("CLUSTER_HOSTNAME", "weaviate-0"),
            ("CLUSTER_BIND_ADDR", &ip),
            ("CLUSTER_ADVERTISE_ADDR", &ip),
            ("GRPC_PORT", &free_port()?),
            ("CLUSTER_GOSSIP_BIND_PORT", &free_port()?),
            ("CLUSTER_DATA_BIND_PORT", &free_port()?),
            ("RAFT_PORT", "8300"),
            ("RAFT_INTERNAL_RPC_PORT", "8301"),
            ("RAFT_BOOTSTRAP_EXPECT", "1"),
            ("MEMBERLIST_FAST_FAILURE_DETECTION", "true"),
            ("RAFT_DRAIN_SLEEP", "1ms"),
            ("DISABLE_TELEMETRY", "true"),
            ("GO_PROFILING_DISABLE", "true"),
            ("DEFAULT_VECTORIZER_MODULE", "none"),
            ("API_BASED_MODULES_DISABLED", "true"),
            ("EXPERIMENTAL_REST_SEARCH_ENABLED", "true"),
            ("ENABLE_MODULES", "backup-s3"),
            ("BACKUP_S3_BUCKET", bucket),
            ("BACKUP_S3_PATH", prefix),
            ("BACKUP_S3_ENDPOINT", &s3.to_string()),
            ("BACKUP_S3_USE_SSL", "false"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "node"),
            ("AWS_SECRET_ACCESS_KEY", "local-secret"),
            ("HOME", "/nonexistent"),
            ("PATH", "/usr/bin:/bin"),
        ];
        let mut env: BTreeMap<String, String> = fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        if program.is_double {
            env.insert("LIFEBOAT_NODE_ROUND_SCALE".to_owned(), "0.01".to_owned());
            env.insert("LIFEBOAT_NODE_VERSION".to_owned(), program.plays.clone());
        }
        Ok(Self { program: program.clone(), address, dir: dir.to_owned(), env, args: Vec::new() })
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts the server and waits until it is ready.
    pub(crate) async fn start(&self) -> Result<Process> {
        std::fs::create_dir_all(&self.dir)?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.program.binary);
        command
            .env_clear()
            .envs(&self.env)
            .env("PERSISTENCE_DATA_PATH", self.data())
            .args(["--scheme", "http", "--host", &self.address.ip().to_string(), "--port", "8080"])
            .args(["--read-timeout=600s", "--write-timeout=600s"])
            .args(&self.args)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("starting {}", self.program.binary.display()))?;
        let mut process = Process { child };
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{}/v1/.well-known/ready", self.address);
        until("a server that is ready", async || {
            if let Some(status) = process.child.try_wait()? {
                bail!("the server ended with {status}; its log ends:\n{}", self.log_tail());
            }
            Ok(client.get(&url).send().await.is_ok_and(|reply| reply.status().is_success()).then_some(()))
        })
        .await
        .with_context(|| format!("the server's log ends:\n{}", self.log_tail()))?;
        Ok(process)
    }

    fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    fn log_tail(&self) -> String {
        let text = String::from_utf8_lossy(&std::fs::read(self.log()).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}
