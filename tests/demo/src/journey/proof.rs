//! What proves that the data came out of the backup: the emulator's log of S3 requests, and the node's own log.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use lifeboat_domain::manifest::CatalogueRow;
use lifeboat_stack::AccessLine;
use serde::Deserialize;

use crate::report::Proof;

/// From the node's first to its last write of `restore_config.json`, in milliseconds since 1970.
pub(super) fn restore_span(log: &[AccessLine], instance: &str) -> anyhow::Result<(i64, i64)> {
    let writes =
        log.iter().filter(|l| l.principal == instance && l.method == "PUT" && l.key.ends_with("/restore_config.json"));
    let times: Vec<i64> = writes.map(|l| i64::try_from(l.at_ms)).collect::<Result<_, _>>()?;
    let first = times.iter().min().context("the new node never wrote restore_config.json: it did not restore")?;
    let last = times.iter().max().context("the new node never wrote restore_config.json: it did not restore")?;
    Ok((*first, *last))
}

/// Fills in what the new node read of the backup's chunks.
pub(super) fn reads(proof: &mut Proof, rows: &[CatalogueRow], log: &[AccessLine], instance: &str) {
    let gets: Vec<&AccessLine> = log
        .iter()
        .filter(|l| l.principal == instance && l.method == "GET" && !l.key.is_empty() && l.status < 300)
        .collect();
    let chunks: Vec<&CatalogueRow> = rows.iter().filter(|r| r.key.contains("/chunk-")).collect();
    let read: BTreeSet<&str> = chunks
        .iter()
        .filter(|row| {
            let bytes: u64 = gets.iter().filter(|l| l.key == row.key).map(|l| l.bytes_out).sum();
            bytes >= row.size_bytes
        })
        .map(|row| row.key.as_str())
        .collect();
    proof.chunks = chunks.len();
    proof.chunks_read = read.len();
    proof.gets = gets.len();
    proof.bytes = gets.iter().map(|l| l.bytes_out).sum();
}

#[derive(Deserialize)]
struct NodeRequest {
    at_ms: i64,
    method: String,
    path: String,
}

/// Requests between two times that wrote to a node, other than the restore that drive-restore asks for and what only
/// reads by POST.
pub(super) fn foreign_writes(log: &Path, since_ms: i64, until_ms: i64) -> anyhow::Result<usize> {
    let text = std::fs::read_to_string(log).with_context(|| format!("reading the node's log {}", log.display()))?;
    let mut writes = 0;
    for line in text.lines() {
        let request: NodeRequest = serde_json::from_str(line).with_context(|| format!("the node's log line {line}"))?;
        let reads = matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS")
            || ["/v1/graphql", "/v1/aggregate/", "/v1/search/"].iter().any(|p| request.path.starts_with(p));
        let restore = request.path.starts_with("/v1/backups/s3/") && request.path.ends_with("/restore");
        if (since_ms..until_ms).contains(&request.at_ms) && !reads && !restore {
            writes += 1;
        }
    }
    Ok(writes)
}
