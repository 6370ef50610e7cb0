//! What a case acts on: a server in one setting, its bucket, and the proxy between the two.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::mask::{self, Names};
use crate::proxy::{Proxy, until};
use crate::server::{Plan, Process};
use crate::store::Store;

mod fixture;
mod setting;
pub(crate) use fixture::{definition, object, uuid, vector};
pub use setting::{Config, Setting};

/// The operator's key in [`Setting::Keys`] and [`Setting::Rbac`].
pub(crate) const OPERATOR: &str = "operator-key";
/// The key that may only read, or, under RBAC, nothing.
pub(crate) const READER: &str = "reader-key";

/// A server, its bucket, and what lies between.
#[derive(Debug)]
pub(crate) struct World {
    /// Follows the operational mode: writes of preparations in ReadWrite, observations in ReadOnly.
    switches: bool,
    url: String,
    client: reqwest::Client,
    key: Option<String>,
    /// The process, where the suite started it.
    own: Option<Own>,
    /// The bucket, where it is known.
    store: Option<Store>,
    names: Names,
    version: std::sync::OnceLock<String>,
    state: Mutex<State>,
    /// Distinguishes this run's backup ids where the bucket is not new.
    run: String,
}

#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) plan: Mutex<Plan>,
    pub(crate) process: tokio::sync::Mutex<Option<Process>>,
    pub(crate) proxy: Proxy,
}

#[derive(Debug, Default)]
struct State {
    fixture: Option<&'static str>,
    golden: bool,
    mode: Option<&'static str>,
}

/// Why a case cannot be run here; not a failure.
#[derive(Debug)]
pub(crate) struct NotRun(pub(crate) String);

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Reply {
    /// The message of a refusal, in either shape.
    pub(crate) fn message(&self) -> &str {
        self.json["error"][0]["message"].as_str().or_else(|| self.json["message"].as_str()).unwrap_or_default()
    }
}

impl std::fmt::Display for NotRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotRun {}

impl World {
    pub(crate) fn new(
        config: Config,
        setting: Setting,
        url: String,
        own: Option<Own>,
        store: Option<Store>,
        run: &str,
    ) -> Result<Self> {
        let key = matches!(setting, Setting::Keys | Setting::Rbac).then(|| OPERATOR.to_owned());
        let mut names: Names = Vec::new();
        if let Some(store) = &store {
            names.push((format!("s3://{}/{}", store.bucket, store.prefix), "s3://BUCKET/PATH"));
            names.push((store.prefix.clone(), "PATH"));
            names.push((store.bucket.clone(), "BUCKET"));
        }
        names.push((url.trim_start_matches("http://").to_owned(), "HOST"));
        if let Some(own) = &own {
            names.push((own.proxy.address.to_string(), "S3"));
        }
        if !run.is_empty() {
            names.push((format!("-{run}"), ""));
        }
        Ok(Self {
            switches: setting == Setting::Modes || config == Config::ReadOnly,
            url,
            client: reqwest::Client::builder().no_proxy().build()?,
            key,
            own,
            store,
            names,
            version: std::sync::OnceLock::new(),
            state: Mutex::default(),
            run: run.to_owned(),
        })
    }

    /// Masks what is chance.
    pub(crate) fn mask(&self, value: &Value) -> Value {
        let version = self.version.get().map(|version| (version.clone(), "VERSION"));
        mask::value(value, &self.names.iter().cloned().chain(version).collect())
    }

    /// Says which version the server is.
    pub(crate) fn is_version(&self, version: &str) {
        let _ = self.version.set(version.to_owned());
    }

    /// A backup id of this run.
    pub(crate) fn id(&self, name: &str) -> String {
        if self.run.is_empty() { name.to_owned() } else { format!("{name}-{}", self.run) }
    }

    /// What the suite started, or why the case is not run.
    pub(crate) fn own(&self) -> Result<&Own> {
        let reason = "it stops, restarts or configures the server, or comes between it and its bucket: WEAVIATE_BIN";
        self.own.as_ref().ok_or_else(|| NotRun(reason.to_owned()).into())
    }

    /// The proxy, or why the case is not run.
    pub(crate) fn proxy(&self) -> Result<&Proxy> {
        Ok(&self.own()?.proxy)
    }

    /// The data directory of the server.
    pub(crate) fn data(&self) -> Result<std::path::PathBuf> {
        Ok(self.own()?.plan.lock().unwrap_or_else(PoisonError::into_inner).data())
    }

    /// The bucket, or why the case is not run.
    pub(crate) fn store(&self) -> Result<&Store> {
        let reason =
            "it reads or damages the bucket, and WEAVIATE_S3_ENDPOINT, _BUCKET and _PATH do not say where it is";
        self.store.as_ref().ok_or_else(|| NotRun(reason.to_owned()).into())
    }

    /// The address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// An observation: the answer as it comes, whatever it is.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply> {
        if self.switches {
            self.mode("ReadOnly").await?;
        }
        self.plain(method, path, body.map(Value::to_string), self.key.as_deref()).await
    }

    /// An observation with a body that need not be JSON, or as somebody else.
    pub(crate) async fn ask_raw(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
        kind: &str,
        key: Option<&str>,
    ) -> Result<Reply> {
        if self.switches {
            self.mode("ReadOnly").await?;
        }
        self.send(method, path, body.map(str::to_owned), kind, key).await
    }

    /// An observation in whatever mode the server is.
    pub(crate) async fn ask_in_this_mode(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply> {
        self.plain(method, path, body.map(Value::to_string), self.key.as_deref()).await
    }

    /// The status of a request whose path is sent as it is: a client library would mend dots and slashes.
    pub(crate) async fn ask_as_is(&self, method: &str, path: &str, body: &Value) -> Result<u16> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let host = self.url.trim_start_matches("http://");
        let body = body.to_string();
        let mut stream = tokio::net::TcpStream::connect(host).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer);
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        status.with_context(|| format!("no status in {text:?}"))
    }

    /// An observation, as the outcome that is compared.
    pub(crate) async fn see(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        Ok(self.seen(&self.ask(method, path, body).await?))
    }

    /// An answer as an outcome.
    pub(crate) fn seen(&self, reply: &Reply) -> Value {
        let body = if reply.json.is_null() { json!(reply.text) } else { reply.json.clone() };
        self.mask(&json!({"status": reply.status, "body": body}))
    }

    /// A preparation, which must succeed.
    pub(crate) async fn prepare(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply> {
        if self.switches {
            self.mode("ReadWrite").await?;
        }
        let reply = self.plain(method.clone(), path, body.map(Value::to_string), self.key.as_deref()).await?;
        ensure!(reply.status < 300, "{method} {path} as a preparation: {} {}", reply.status, reply.text);
        Ok(reply)
    }

    async fn plain(&self, method: Method, path: &str, body: Option<String>, key: Option<&str>) -> Result<Reply> {
        self.send(method, path, body, "application/json", key).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        kind: &str,
        key: Option<&str>,
    ) -> Result<Reply> {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.url));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.header("content-type", kind).body(body);
        }
        let reply = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = reply.status().as_u16();
        let text = reply.text().await.with_context(|| format!("{method} {path}"))?;
        Ok(Reply { status, json: serde_json::from_str(&text).unwrap_or(Value::Null), text })
    }

    /// Switches the operational mode and waits until the server has it.
    pub(crate) async fn mode(&self, wanted: &'static str) -> Result<()> {
        if self.state().mode == Some(wanted) {
            return Ok(());
        }
        let file = self.own()?.plan.lock().unwrap_or_else(PoisonError::into_inner).dir.join("overrides.yaml");
        write_mode(&file, wanted)?;
        until("the operational mode", async || {
            let reply = self.plain(Method::GET, "/v1/nodes", None, self.key.as_deref()).await?;
            Ok((reply.json["nodes"][0]["operationalMode"] == wanted).then_some(()))
        })
        .await?;
        self.state().mode = Some(wanted);
        Ok(())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the case leaves other classes behind than it found.
    pub(crate) fn spoil(&self) {
        self.state().fixture = None;
    }

    /// Before each case: nothing is held or refused any more.
    pub(crate) fn calm(&self) {
        if let Some(own) = &self.own {
            own.proxy.forget();
        }
    }

    /// Posts until the slot is free: what is over in memory still holds it while it writes its end.
    pub(crate) async fn ask_when_free(&self, path: &str, body: &Value) -> Result<Reply> {
        until("a free slot", async || {
            let reply = self.ask(Method::POST, path, Some(body)).await?;
            let busy = reply.message().ends_with("already in progress") || reply.message().contains("cancellation in");
            Ok((!busy).then_some(reply))
        })
        .await
    }

    /// Polls to the end of a create or restore; of a create also until the store has it, with its time.
    pub(crate) async fn ended(&self, path: &str) -> Result<Value> {
        until(&format!("the end of {path}"), async || {
            let reply = self.ask(Method::GET, path, None).await?;
            if reply.status != 200 {
                bail!("{path}: {} {}", reply.status, reply.text);
            }
            let in_memory = reply.json["completedAt"] == "0001-01-01T00:00:00.000Z";
            let over = matches!(reply.json["status"].as_str(), Some("SUCCESS" | "FAILED" | "CANCELED"));
            Ok((over && !in_memory).then_some(reply.json))
        })
        .await
    }

    /// Polls to the end of a restore, until the store has it too and the answer has the store's own reason: what is told
    /// from memory alone may have none.
    pub(crate) async fn restore_ended(&self, id: &str) -> Result<Value> {
        const LOOKS: u32 = 100;
        let path = format!("/v1/backups/s3/{id}/restore");
        let mut end = self.ended(&path).await?;
        let Some(store) = &self.store else { return Ok(end) };
        let key = format!("{id}/restore_config.json");
        let stored = until(&format!("the end of {path} in the store"), async || {
            let stored = store.json(&key).await?;
            let over = matches!(stored["status"].as_str(), Some("SUCCESS" | "FAILED" | "CANCELED"));
            Ok(over.then_some(stored))
        })
        .await?;
        for _ in 0..LOOKS {
            let told = end["error"].as_str().unwrap_or_default();
            if stored["error"] == told {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            end = self.ended(&path).await?;
        }
        Ok(end)
    }

    /// Waits until a create or restore has this status.
    pub(crate) async fn reaches(&self, path: &str, status: &str) -> Result<Reply> {
        until(&format!("{status} of {path}"), async || {
            let reply = self.ask(Method::GET, path, None).await?;
            Ok((reply.json["status"] == status).then_some(reply))
        })
        .await
    }

    /// Restores, and sees what comes of it: the answer, the end, and what is there then.
    pub(crate) async fn restored(&self, id: &str, body: &Value) -> Result<Value> {
        self.spoil();
        let path = format!("/v1/backups/s3/{id}/restore");
        let reply = self.ask_when_free(&path, body).await?;
        let mut outcome = json!({"answer": self.seen(&reply)});
        if reply.status == 200 && !reply.json.is_null() {
            outcome["end"] = self.mask(&self.restore_ended(id).await?);
        }
        outcome["classes"] = json!(self.counts().await?);
        Ok(outcome)
    }

    /// Objects of each class, counted by listing them.
    pub(crate) async fn counts(&self) -> Result<BTreeMap<String, u64>> {
        let schema = self.ask(Method::GET, "/v1/schema", None).await?;
        let mut counts = BTreeMap::new();
        for class in schema.json["classes"].as_array().into_iter().flatten() {
            let name = class["class"].as_str().unwrap_or_default().to_owned();
            if class["multiTenancyConfig"]["enabled"] == true {
                continue;
            }
            let path = format!("/v1/objects?class={name}&limit=1000");
            let list = self.ask(Method::GET, &path, None).await?;
            let objects = list.json["objects"].as_array().with_context(|| format!("{path}: {}", list.text))?;
            counts.insert(name, objects.len() as u64);
        }
        Ok(counts)
    }

    /// SIGKILL, then a start on the same data, with changes to the environment.
    pub(crate) async fn restart(&self, changes: &[(&str, &str)]) -> Result<()> {
        let own = self.own()?;
        let mut process = own.process.lock().await;
        drop(process.take());
        own.proxy.forget();
        let plan = {
            let mut plan = own.plan.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, value) in changes {
                plan.env.insert((*name).to_owned(), (*value).to_owned());
            }
            plan.clone()
        };
        *process = Some(plan.start().await?);
        self.state().mode = None;
        Ok(())
    }
}

/// Writes the overrides file aside and renames it into place.
pub(crate) fn write_mode(file: &Path, mode: &str) -> Result<()> {
    let aside = file.with_extension("new");
    std::fs::write(&aside, format!("operational_mode: {mode}\n"))?;
    std::fs::rename(&aside, file)?;
    Ok(())
}
