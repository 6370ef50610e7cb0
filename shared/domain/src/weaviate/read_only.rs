//! What Weaviate's ReadOnly mode refuses and what it lets through, by version.
//!
//! Read from the source at every tag from 1.33.0 to 1.39.0, and measured on real servers where `docs/evidence` has a
//! `freeze-<version>.json`; `tests` below holds the two together. No version's mode is a freeze by itself: a stream of
//! batches and a few spellings of a path write through it on every one.

use super::ServerVersion;
use crate::expectations::EvidenceAdapter;

/// What `GET /v1/nodes` says while the mode is in force. Any other spelling in the overrides file lets every write
/// through, and is shown there as it was written.
pub const OPERATIONAL_MODE: &str = "ReadOnly";

/// A way to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WritePath {
    /// `POST /v1/objects` and `/v1/batch/objects`.
    Rest,
    /// gRPC `BatchObjects` on 50051.
    UnaryGrpc,
    /// gRPC `BatchObjects` through `/v1/grpc-web/` on 8080.
    GrpcWeb,
    /// gRPC `BatchStream`, on a stream that is opened in the mode.
    NewStream,
    /// gRPC `BatchStream`, on a stream that was open before.
    OpenStream,
    /// `POST //v1/objects`: the gate looks at the first segment as it was sent.
    DoubleSlash,
    /// `POST /./v1/objects`.
    DotSegment,
    /// `POST /v1/backups/../objects`: what begins like a backup is let through.
    BehindBackups,
}

impl WritePath {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Rest,
        Self::UnaryGrpc,
        Self::GrpcWeb,
        Self::NewStream,
        Self::OpenStream,
        Self::DoubleSlash,
        Self::DotSegment,
        Self::BehindBackups,
    ];

    /// Its name in the evidence files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::UnaryGrpc => "unary_grpc",
            Self::GrpcWeb => "grpc_web",
            Self::NewStream => "new_stream",
            Self::OpenStream => "open_stream",
            Self::DoubleSlash => "double_slash",
            Self::DotSegment => "dot_segment",
            Self::BehindBackups => "behind_backups",
        }
    }
}

/// What the mode of a version does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOnly {
    /// Whether REST search and aggregate pass it, where the version has them and their flag is on; GraphQL always does.
    pub rest_search: bool,
    /// Writes that get through it.
    pub lets_through: &'static [WritePath],
}

impl ReadOnly {
    /// Whether evidence can be read by this API while the mode is in force.
    pub fn lets_evidence_through(&self, adapter: EvidenceAdapter) -> bool {
        match adapter {
            EvidenceAdapter::Graphql => true,
            EvidenceAdapter::Rest => self.rest_search,
        }
    }
}

/// Measured on 1.38.11 and 1.39.0; the gates are the same in the source of the others.
const LEAKS: &[WritePath] = &[
    WritePath::NewStream,
    WritePath::OpenStream,
    WritePath::DoubleSlash,
    WritePath::DotSegment,
    WritePath::BehindBackups,
];

/// One row: from this version, before that one.
type Row = (ServerVersion, ServerVersion, ReadOnly);

const fn v(major: u32, minor: u32, patch: u32) -> ServerVersion {
    ServerVersion(major, minor, patch)
}

/// Before 1.34.5 there is no mode. What is newer than the last row is not known, so it gets no mode: a mode that shut
/// out the evidence would make the final backup fail.
const TABLE: &[Row] = &[
    (v(1, 34, 5), v(1, 38, 10), ReadOnly { rest_search: false, lets_through: LEAKS }),
    (v(1, 38, 10), v(1, 39, 0), ReadOnly { rest_search: true, lets_through: LEAKS }),
    (v(1, 39, 0), v(1, 39, 7), ReadOnly { rest_search: false, lets_through: LEAKS }),
    (v(1, 39, 7), v(1, 41, 0), ReadOnly { rest_search: true, lets_through: LEAKS }),
];

/// What ReadOnly does on this version; `None` where there is no such mode, or nothing is known of it.
pub fn read_only(version: ServerVersion) -> Option<ReadOnly> {
    TABLE.iter().find(|(from, before, _)| (*from..*before).contains(&version)).map(|(.., mode)| *mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<ReadOnly> {
        read_only(ServerVersion::parse(text).unwrap())
    }

    #[test]
    fn evidence_passes_read_only_by_graphql_always_and_by_rest_search_where_the_version_lets_it() {
        for (version, rest) in [
            ("1.34.5", false),
            ("1.38.9", false),
            ("1.38.10", true),
            ("1.38.11", true),
            ("1.39.0", false),
            ("1.39.7", true),
        ] {
            let mode = of(version).unwrap();
            assert!(mode.lets_evidence_through(EvidenceAdapter::Graphql), "{version}");
            assert_eq!(mode.lets_evidence_through(EvidenceAdapter::Rest), rest, "{version}");
        }
    }

    #[test]
    fn a_version_without_the_mode_or_that_nobody_looked_at_gets_none() {
        for version in ["1.33.18", "1.34.4", "1.41.0", "2.0.0"] {
            assert_eq!(of(version), None, "{version}");
        }
    }

    #[test]
    fn no_version_is_known_whose_read_only_is_a_freeze() {
        assert!(TABLE.iter().all(|(.., mode)| mode.lets_through.contains(&WritePath::NewStream)));
    }

    /// `docs/evidence/freeze-<version>.json`, written by the scenario `freeze` (`tests/client/freeze.py`) from a real server.
    #[test]
    fn the_table_says_of_each_measured_version_what_was_measured() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/evidence");
        let mut measured = 0;
        for file in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if !(name.starts_with("freeze-") && name.ends_with(".json")) {
                continue;
            }
            let text = std::fs::read_to_string(file.path()).unwrap();
            let evidence: serde_json::Value = serde_json::from_str(&text).unwrap();
            let version = evidence["version"].as_str().unwrap();
            let mode = of(version).unwrap_or_else(|| panic!("{name}: the table has no row for {version}"));
            for path in WritePath::ALL {
                let got_through = evidence["read_only_alone"][path.name()]["stored"].as_bool();
                let said = mode.lets_through.contains(&path);
                assert_eq!(got_through, Some(said), "{name}: {} in ReadOnly", path.name());
                let shut_out = evidence["shut_out"][path.name()]["stored"].as_bool();
                assert_eq!(shut_out, Some(false), "{name}: {} with writers shut out", path.name());
            }
            measured += 1;
        }
        eprintln!("{measured} evidence files of a freeze");
    }
}
