//! The operational mode: what it lets through, and the overrides file that changes it while the node runs.

use std::path::Path;
use std::sync::RwLock;

use axum::http::Method;

use crate::version::Version;

/// The four modes of the real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    ReadWrite,
    ReadOnly,
    WriteOnly,
    ScaleOut,
}

impl Mode {
    /// Reads the exact names.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ReadWrite" => Self::ReadWrite,
            "ReadOnly" => Self::ReadOnly,
            "WriteOnly" => Self::WriteOnly,
            "ScaleOut" => Self::ScaleOut,
            _ => return None,
        })
    }

    /// As `/v1/nodes` prints it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::ReadWrite => "ReadWrite",
            Self::ReadOnly => "ReadOnly",
            Self::WriteOnly => "WriteOnly",
            Self::ScaleOut => "ScaleOut",
        }
    }

    /// Why a request is refused in this mode, if it is.
    pub(crate) fn refuses(
        self,
        method: &Method,
        path: &str,
        version: &Version,
        rest_search: bool,
    ) -> Option<&'static str> {
        let read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
        let mut segments = path.split('/').skip(1);
        if segments.next() != Some("v1") {
            return None;
        }
        let first = segments.next().unwrap_or_default();
        let search = matches!(first, "search" | "aggregate") && version.has_rest_search();
        let passes = |list: &[&str]| list.contains(&first) || (search && rest_search);
        match self {
            Self::ReadWrite => None,
            Self::ReadOnly if !read && !passes(version.read_only_whitelist()) => Some(
                "read-only mode is enabled temporally at the config level: write operations are not allowed during this time",
            ),
            Self::ScaleOut if !read && !passes(&["backups", "graphql", "replication", "mcp"]) => Some(
                "scale-out mode is enabled temporally at the config level: write operations (besides /replication) are not allowed during this time",
            ),
            Self::WriteOnly
                if search
                    || (read
                        && !["backups", "cluster", "nodes", "replication", ".well-known", "meta", "mcp"]
                            .contains(&first)) =>
            {
                Some(
                    "write-only mode is enabled temporally at the config level: read operations are not allowed during this time",
                )
            }
            Self::ReadOnly | Self::ScaleOut | Self::WriteOnly => None,
        }
    }
}

/// The mode in force.
#[derive(Debug)]
pub(crate) struct ModeSwitch {
    at_start: Mode,
    now: RwLock<Mode>,
}

impl ModeSwitch {
    /// Starts in the mode of the environment.
    pub(crate) fn new(at_start: Mode) -> Self {
        Self { at_start, now: RwLock::new(at_start) }
    }

    /// The mode in force.
    pub(crate) fn get(&self) -> Mode {
        self.now.read().map_or(self.at_start, |mode| *mode)
    }

    /// Reads the overrides file. Without the key the mode of the start applies again; a file that
    /// cannot be read or understood leaves all as it was, as in the real server.
    pub(crate) fn reload(&self, path: &Path) {
        let Ok(text) = std::fs::read_to_string(path) else { return };
        let Ok(value) = crate::config_file::parse(&text) else {
            eprintln!("lifeboat-node: runtime overrides {} not understood", path.display());
            return;
        };
        let mode = match value.get("operational_mode").and_then(serde_json::Value::as_str) {
            None => self.at_start,
            Some(text) => match Mode::parse(text) {
                Some(mode) => mode,
                None => {
                    eprintln!("lifeboat-node: unknown operational_mode {text:?}");
                    return;
                }
            },
        };
        if let Ok(mut now) = self.now.write() {
            *now = mode;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_refuses_writes_and_lets_backups_and_graphql_through() {
        let version: Version = "1.38.11".parse().unwrap();
        let refused = |method: Method, path: &str| Mode::ReadOnly.refuses(&method, path, &version, false).is_some();
        assert!(refused(Method::POST, "/v1/batch/objects"));
        assert!(refused(Method::POST, "/v1/objects"));
        assert!(!refused(Method::GET, "/v1/objects"));
        assert!(!refused(Method::POST, "/v1/graphql"));
        assert!(!refused(Method::POST, "/v1/backups/s3"));
        assert!(refused(Method::POST, "/v1/aggregate/Article"));
        let newer: Version = "1.39.7".parse().unwrap();
        assert!(Mode::ReadOnly.refuses(&Method::POST, "/v1/aggregate/Article", &newer, true).is_none());
        assert!(Mode::ReadOnly.refuses(&Method::POST, "/v1/aggregate/Article", &newer, false).is_some());
    }
}
