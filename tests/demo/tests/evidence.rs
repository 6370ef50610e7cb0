//! What `docs/evidence` holds: runs of real servers, each named by version, revision and the digest of its binary.

use std::path::PathBuf;

use lifeboat_demo::server::DOUBLES_GIT_HASH;
use serde_json::{Value, json};

fn dir() -> PathBuf {
    lifeboat_stack::workspace_root().join("docs/evidence")
}

/// Why a file is no evidence of a real server.
fn objection(text: &str) -> Option<String> {
    let Ok(report) = serde_json::from_str::<Value>(text) else { return Some("does not parse".into()) };
    // A report of the demo and of the Python client has them below `weaviate`, the suites have them beside their cases.
    let of = |name: &str| {
        let found = report["weaviate"][name].as_str().or_else(|| report[name].as_str());
        found.unwrap_or_default().to_owned()
    };
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let (version, revision, sha256) = (of("version"), of("git_hash"), of("binary_sha256"));
    if text.contains(DOUBLES_GIT_HASH)
        || of("kind") == "embedded"
        || matches!(of("server").as_str(), "double" | "embedded")
    {
        return Some("is of the double".into());
    }
    if version.split('.').count() != 3 || !version.starts_with("1.") {
        return Some(format!("names no version: {version:?}"));
    }
    if !(7..=40).contains(&revision.len()) || !hex(&revision) {
        return Some(format!("names no source revision: {revision:?}"));
    }
    if sha256.len() != 64 || !hex(&sha256) {
        return Some(format!("names no binary: {sha256:?}"));
    }
    let mut paths = ["home", "root", "tmp", "work", "Users", "target"].iter().map(|name| format!("/{name}/"));
    paths.find(|path| text.contains(path)).map(|path| format!("names a path of a machine: {path}"))
}

#[test]
fn every_file_of_evidence_is_of_a_real_server_and_is_in_the_index() {
    let index = std::fs::read_to_string(dir().join("README.md")).unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Notes beside the evidence, and evidence of other servers than Weaviate.
        if !name.ends_with(".json") || name.starts_with("port-contracts") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(objection(&text), None, "{name}");
        let family = name.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
        assert!(index.contains(&format!("`{family}")), "{name} is not in the index of docs/evidence/README.md");
        files += 1;
    }
    assert!(files >= 5, "{files}");
}

#[test]
fn a_report_of_the_double_is_no_evidence_whatever_version_it_plays() {
    let real = json!({"weaviate": {"kind": "binary", "name": "weaviate", "version": "1.38.11", "git_hash": "34febe578107",
        "binary_sha256": "ab".repeat(32)}, "nodes": [{"data_path": "instances/i-1/data"}]});
    assert_eq!(objection(&real.to_string()), None);
    for (field, value, said) in [
        ("git_hash", json!(DOUBLES_GIT_HASH), "of the double"),
        ("kind", json!("embedded"), "of the double"),
        ("git_hash", json!("unknown"), "no source revision"),
        ("version", json!("latest"), "no version"),
        ("binary_sha256", Value::Null, "no binary"),
        ("name", json!(["", "tmp", "weaviate"].join("/")), "a path of a machine"),
    ] {
        let mut report = real.clone();
        report["weaviate"][field] = value;
        assert!(objection(&report.to_string()).is_some_and(|why| why.contains(said)), "{field}: {report}");
    }
    assert_eq!(objection("{").as_deref(), Some("does not parse"));
}
