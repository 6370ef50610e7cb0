//! One JSON line per request, so that a demonstration can show who wrote to the node. Keys and bodies are never in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::json;

use crate::times;

/// An open log file.
#[derive(Debug)]
pub(crate) struct AccessLog {
    file: Mutex<File>,
}

/// What is known of a request before it is answered.
#[derive(Debug)]
pub(crate) struct Entry {
    at_ms: i64,
    remote: Option<String>,
    node: String,
    method: String,
    path: String,
    query: String,
}

impl Entry {
    /// Takes what is needed from the request. An `access_token` in the query is left out.
    pub(crate) fn new(request: &Request, remote: Option<SocketAddr>, node: SocketAddr) -> Self {
        let query: Vec<&str> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.starts_with("access_token="))
            .collect();
        Self {
            at_ms: times::now().as_millisecond(),
            remote: remote.map(|address| address.to_string()),
            node: node.to_string(),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: query.join("&"),
        }
    }
}

impl AccessLog {
    /// Opens the file for appending.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Mutex::new(OpenOptions::new().create(true).append(true).open(path)?) })
    }

    /// Appends one line. `user` is absent for anonymous and for refused requests.
    pub(crate) fn write(&self, entry: Entry, user: Option<String>, status: StatusCode) {
        let line = json!({
            "at_ms": entry.at_ms, "node": entry.node, "remote": entry.remote, "method": entry.method, "path": entry.path,
            "query": entry.query, "user": user, "status": status.as_u16(),
        });
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            eprintln!("lifeboat-node: access log: {error}");
        }
    }
}
