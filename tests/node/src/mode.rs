//! The operational mode: what it lets through, and the overrides file that changes it while the node runs.
//!
//! As seen on the real server: a value that is not one of the four is kept as it is, shown in `/v1/nodes`, and lets
//! everything through; a file that is not there at the start is never read; a file that breaks or goes leaves the last value.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use axum::http::Method;

use crate::version::Version;

/// The mode of a server that was told nothing.
pub(crate) const READ_WRITE: &str = "ReadWrite";

/// Whether `OPERATIONAL_MODE` may say this; anything else is ignored.
pub(crate) fn is_mode(text: &str) -> bool {
    matches!(text, READ_WRITE | "ReadOnly" | "WriteOnly" | "ScaleOut")
}

/// Why a request is refused in this mode, if it is. `path` is as it was sent, dots and double slashes included.
pub(crate) fn refusal(
    mode: &str,
    method: &Method,
    path: &str,
    version: &Version,
    rest_search: bool,
) -> Option<&'static str> {
    let read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    let mut segments = path.split('/').skip(1);
    // The real server looks at the first segments as they are, and so lets `//v1/objects` pass.
    if segments.next() != Some("v1") || !version.has_modes() {
        return None;
    }
    let first = segments.next().unwrap_or_default();
    let search = matches!(first, "search" | "aggregate") && version.has_rest_search()
        || first == "search" && version.has_near_text();
    let passes = |list: &[&str]| list.contains(&first) || (search && rest_search);
    match mode {
        "ReadOnly" if !read && !passes(version.read_only_whitelist()) => Some(
            "read-only mode is enabled temporally at the config level: write operations are not allowed during this time",
        ),
        "ScaleOut" if !read && !passes(&["backups", "graphql", "replication", "mcp"]) => Some(
            "scale-out mode is enabled temporally at the config level: write operations (besides /replication) are not allowed during this time",
        ),
        "WriteOnly"
            if search
                || (read
                    && !["backups", "cluster", "nodes", "replication", ".well-known", "meta", "mcp"]
                        .contains(&first)) =>
        {
            Some(
                "write-only mode is enabled temporally at the config level: read operations are not allowed during this time",
            )
        }
        _ => None,
    }
}

/// The mode in force.
#[derive(Debug)]
pub(crate) struct ModeSwitch {
    at_start: String,
    now: RwLock<String>,
    watching: AtomicBool,
}

impl ModeSwitch {
    /// Starts in the mode of the environment.
    pub(crate) fn new(at_start: &str) -> Self {
        Self { at_start: at_start.to_owned(), now: RwLock::new(at_start.to_owned()), watching: AtomicBool::new(false) }
    }

    /// The mode in force.
    pub(crate) fn get(&self) -> String {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the overrides file was there when it was first read.
    pub(crate) fn is_watching(&self) -> bool {
        self.watching.load(Ordering::Relaxed)
    }

    /// Reads the overrides file; false when that was not possible. Without the key the mode of the start applies again.
    pub(crate) fn reload(&self, path: &Path) -> bool {
        let Ok(text) = std::fs::read_to_string(path) else { return false };
        self.watching.store(true, Ordering::Relaxed);
        let Ok(value) = crate::config_file::parse(&text) else {
            eprintln!("lifeboat-node: runtime overrides {} not understood", path.display());
            return false;
        };
        let mode = value.get("operational_mode").and_then(serde_json::Value::as_str).unwrap_or(&self.at_start);
        mode.clone_into(&mut self.now.write().unwrap_or_else(PoisonError::into_inner));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(version: &str, method: &Method, path: &str, rest_search: bool) -> bool {
        refusal("ReadOnly", method, path, &version.parse().unwrap(), rest_search).is_some()
    }

    #[test]
    fn read_only_refuses_writes_and_leaks_where_the_real_one_leaks() {
        let now = "1.38.11";
        for path in ["/v1/batch/objects", "/v1/objects", "/v1//objects", "/v1/aggregate/A"] {
            assert!(refused(now, &Method::POST, path, false), "{path}");
        }
        for path in ["/v1/graphql", "/v1/backups/s3", "//v1/objects", "/./v1/objects", "/v1/backups/../objects"] {
            assert!(!refused(now, &Method::POST, path, false), "{path}");
        }
        assert!(!refused(now, &Method::GET, "/v1/objects", false));
        assert!(!refused("1.34.4", &Method::POST, "/v1/objects", false));
    }

    #[test]
    fn rest_search_passes_read_only_only_where_it_exists_and_is_on() {
        for (version, flag, is_refused) in
            [("1.38.11", true, false), ("1.38.11", false, true), ("1.39.0", true, true), ("1.39.7", true, false)]
        {
            assert_eq!(refused(version, &Method::POST, "/v1/aggregate/A", flag), is_refused, "{version} {flag}");
        }
    }

    #[test]
    fn a_mode_that_does_not_exist_lets_everything_through() {
        let version = "1.38.11".parse().unwrap();
        assert!(refusal("Readonly", &Method::POST, "/v1/objects", &version, false).is_none());
    }
}
