//! Recorded and made-up replies, served over a real connection.

mod evidence;
mod replies;
mod transport;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use lifeboat_workflows::ports::fault::{Happened, Retry};
use serde_json::Value;

use super::*;
use crate::scripted::{Reply, Server};

/// Keys that change each time they are read, up to the last.
#[derive(Debug)]
struct Keys {
    keys: Vec<&'static str>,
    reads: AtomicUsize,
}

impl KeySource for Keys {
    async fn key(&self) -> Result<Secret, Fault> {
        let n = self.reads.fetch_add(1, Ordering::SeqCst);
        let key = self.keys.get(n).or(self.keys.last());
        key.map(|k| Secret::new(k))
            .ok_or_else(|| Fault::new("get parameter", "/k", Happened::No, Retry::No, "AccessDenied"))
    }
}

fn node_with(server: &Server, keys: &[&'static str]) -> HttpNode<Keys> {
    let keys = Keys { keys: keys.to_vec(), reads: AtomicUsize::new(0) };
    HttpNodes::on_port(keys, server.address.port()).at("127.0.0.1")
}

fn node(server: &Server) -> HttpNode<Keys> {
    node_with(server, &["wvk-1"])
}

/// A recorded exchange.
fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/weaviate/samples/{name}.json"));
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}"))).unwrap()
}

/// The reply of a recorded exchange.
fn recorded(name: &str) -> Reply {
    let sample = sample(name);
    let status = u16::try_from(sample["status"].as_u64().unwrap()).unwrap();
    let body = Some(&sample["body"]).filter(|b| !b.is_null()).map(|b| b.to_string().into_bytes()).unwrap_or_default();
    Reply::new(status, body)
}

/// A server that gives recorded replies.
async fn replaying(names: &[&str]) -> Server {
    Server::replying(names.iter().map(|n| recorded(n))).await
}

fn place(class: &str, tenant: Option<&str>) -> Place {
    Place { class: class.into(), tenant: tenant.map(str::to_owned) }
}

fn backup(id: &str) -> BackupId {
    BackupId::parse(id).unwrap()
}
