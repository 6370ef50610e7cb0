//! Starts nodes on free loopback ports, with directories that go when the test ends.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A directory of this test alone.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lifeboat-node-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub(crate) fn sub(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    pub(crate) url: String,
    client: reqwest::Client,
    key: Option<String>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node that has not been started yet.
#[derive(Debug)]
pub(crate) struct Plan {
    command: Command,
}

/// A node with the filesystem module, fast rounds and a data path below `scratch`.
pub(crate) fn plan(scratch: &Scratch, data: &str) -> Plan {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat-node"));
    command
        .env_clear()
        .args(["--host", "127.0.0.1", "--port", "0", "--scheme", "http", "--read-timeout=600s"])
        .env("CLUSTER_HOSTNAME", "weaviate-0")
        .env("PERSISTENCE_DATA_PATH", scratch.sub(data))
        .env("ENABLE_MODULES", "backup-filesystem")
        .env("BACKUP_FILESYSTEM_PATH", scratch.sub("backups"))
        .env("LIFEBOAT_NODE_ROUND_SCALE", "0.02")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    Plan { command }
}

impl Plan {
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn arg(mut self, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(value);
        self
    }

    /// Starts the node and waits for the line that says where it listens.
    pub(crate) fn start(mut self) -> Node {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let mut child = self.command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let url = loop {
            let Some(Ok(line)) = lines.next() else { panic!("the node did not start: {said:?}") };
            if let Some(rest) = line.split("listening on ").nth(1) {
                break rest.split(' ').next().unwrap().to_owned();
            }
            said.push(line);
        };
        std::thread::spawn(move || lines.for_each(drop));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Node { child, url, client, key: None }
    }

    /// Runs a node that is expected to refuse to start, and returns what it said.
    pub(crate) fn refusal(mut self) -> String {
        let mut child = self.command.spawn().unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success(), "it started");
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Node {
    pub(crate) fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub(crate) fn set_key(&mut self, key: Option<&str>) {
        self.key = key.map(str::to_owned);
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let (status, text) = self.raw(method, path, body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(crate) async fn raw(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, String) {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::DELETE, path, None).await
    }

    /// Stores `count` objects with small vectors in a plain class, which is made if absent.
    pub(crate) async fn fill(&self, class: &str, count: usize) {
        self.post(
            "/v1/schema",
            json!({"class": class, "properties": [
            {"name": "title", "dataType": ["text"]}, {"name": "n", "dataType": ["int"]}]}),
        )
        .await;
        let objects: Vec<Value> = (0..count).map(|n| object(class, n)).collect();
        let (status, answers) = self.post("/v1/batch/objects", json!({"objects": objects})).await;
        assert_eq!(status, 200);
        assert!(answers.as_array().unwrap().iter().all(|answer| answer["result"]["status"] == "SUCCESS"), "{answers}");
    }

    pub(crate) async fn count(&self, class: &str) -> i64 {
        let query = format!("{{Aggregate{{{class}{{meta{{count}}}}}}}}");
        let (status, answer) = self.post("/v1/graphql", json!({"query": query})).await;
        assert_eq!(status, 200, "{answer}");
        answer["data"]["Aggregate"][class][0]["meta"]["count"].as_i64().unwrap_or(-1)
    }

    /// Polls until the status is one of the final ones, and until the store has it too: a create that is over in memory
    /// alone still says that it ended in year 1.
    pub(crate) async fn finish(&self, path: &str) -> Value {
        for _ in 0..1000 {
            let (status, answer) = self.get(path).await;
            assert_eq!(status, 200, "{answer}");
            let in_memory = answer["completedAt"] == "0001-01-01T00:00:00.000Z";
            if !in_memory && matches!(answer["status"].as_str(), Some("SUCCESS" | "FAILED" | "CANCELED")) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} did not end");
    }

    /// Posts until the slot is free: an operation that is over in memory still holds it while it writes its end.
    async fn post_when_free(&self, path: &str, body: &Value) -> Value {
        for _ in 0..1000 {
            let (status, answer) = self.send(Method::POST, path, Some(body)).await;
            if !message(&answer).ends_with("already in progress") {
                assert_eq!(status, 200, "{answer}");
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} stays busy");
    }

    pub(crate) async fn backup(&self, id: &str) -> Value {
        self.post_when_free("/v1/backups/filesystem", &json!({"id": id})).await;
        self.finish(&format!("/v1/backups/filesystem/{id}")).await
    }

    pub(crate) async fn restore(&self, id: &str) -> Value {
        self.restore_with(id, json!({})).await
    }

    pub(crate) async fn restore_with(&self, id: &str, body: Value) -> Value {
        let path = format!("/v1/backups/filesystem/{id}/restore");
        assert_eq!(self.post_when_free(&path, &body).await["status"], "STARTED");
        self.finish(&path).await
    }

    /// Waits until the process is gone, as after a crash on purpose.
    pub(crate) fn gone(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

pub(crate) fn id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

#[expect(clippy::cast_precision_loss, reason = "small numbers of a test")]
pub(crate) fn object(class: &str, n: usize) -> Value {
    json!({"class": class, "id": id(n), "properties": {"title": format!("word{} common", n % 7), "n": n},
        "vector": [n as f32 * 0.1, 1.0, (n % 3) as f32]})
}

/// The message of a refusal in the handlers' shape.
pub(crate) fn message(answer: &Value) -> &str {
    answer["error"][0]["message"].as_str().unwrap_or_default()
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
