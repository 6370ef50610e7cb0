//! The report of a demo, `--report FILE`: what happened, when, and what proves it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lifeboat_domain::restore::run::{ClosedRestore, StepName};
use serde::Serialize;
use serde_json::Value;

/// Everything a demo found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Whether everything that was indexed came back, and every proof holds.
    pub ok: bool,
    /// Why not; empty when `ok`.
    pub failures: Vec<String>,
    /// Which Weaviate.
    pub weaviate: Weaviate,
    /// What was indexed, by kind, and what of it cannot be shown on this node.
    pub data: DataView,
    /// Objects by collection, as indexed.
    pub indexed: BTreeMap<String, u64>,
    /// The published backup.
    pub backup: Backup,
    /// The pointer after the backup.
    pub pointer: PointerView,
    /// Objects by collection on the replacement; tenants summed.
    pub restored: BTreeMap<String, u64>,
    /// Counts by collection or `collection/tenant`, before the kill and after the recovery.
    pub counts: Counts,
    /// The canaries that the gate checked.
    pub canaries: Checked,
    /// Objects compared by id, with their vectors, against a file written before the kill.
    pub objects_by_id: Checked,
    /// Named vectors among them.
    pub named_vectors: Checked,
    /// References among them.
    pub references: Checked,
    /// The activity status of each tenant on the replacement, by `collection/tenant`.
    pub tenants: BTreeMap<String, String>,
    /// Collections whose every shard says on the replacement that its vectors are compressed.
    pub compressed: Vec<String>,
    /// The node before and after.
    pub nodes: Vec<NodeView>,
    /// What proves that the data came out of the backup.
    pub proof: Proof,
    /// What happened when, in milliseconds since the demo began.
    pub timeline: Vec<Moment>,
    /// The recovery, in parts.
    pub recovery: Recovery,
    /// What was broken on purpose, and the reason by which it was refused.
    pub sabotage: Option<Sabotaged>,
}

/// Which Weaviate.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Weaviate {
    /// `embedded` (the test double, also where its path was given), `docker` (an image) or `binary` (any other server).
    pub kind: String,
    /// The name of the binary's file, or the image.
    pub name: String,
    /// What it says of itself.
    pub version: String,
    /// The source revision that it says it was built from; `unknown` where it says none.
    pub git_hash: String,
    /// The SHA-256 of the binary; `None` for an image.
    pub binary_sha256: Option<String>,
}

/// What was indexed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DataView {
    /// `plain` or `rich`.
    pub profile: String,
    /// Dimensions of each vector; a second named one has a quarter.
    pub dimensions: usize,
    /// What this node could not show, and why.
    pub not_shown: Vec<String>,
}

/// The published backup.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Backup {
    /// Its id.
    pub id: String,
    /// Weaviate objects.
    pub objects: u64,
    /// Bytes in S3.
    pub bytes: u64,
    /// The root digest of its catalogue.
    pub root_sha256: String,
}

/// The pointer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PointerView {
    /// Its sequence.
    pub sequence: u64,
    /// Its generation.
    pub generation: u64,
    /// The backup that it names.
    pub backup_id: String,
}

/// Counts before and after.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Before the kill.
    pub before: BTreeMap<String, u64>,
    /// After the recovery.
    pub after: BTreeMap<String, u64>,
}

/// How many were checked, and how many failed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Checked {
    /// Checked.
    pub checked: u64,
    /// Not as before.
    pub failed: u64,
}

impl Checked {
    /// Adds what was checked together.
    pub(crate) fn add(&mut self, checked: u64, same: bool) {
        self.checked += checked;
        self.failed += if same { 0 } else { checked };
    }
}

/// A node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeView {
    /// The instance.
    pub instance: String,
    /// The process.
    pub pid: u32,
    /// The data directory.
    pub data_path: PathBuf,
}

/// What proves that the data came out of the backup, and from nowhere else.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Proof {
    /// The old data directory was gone before the new node started.
    pub old_data_gone: bool,
    /// Chunks in the catalogue.
    pub chunks: usize,
    /// Chunks that the new node read whole, at least once, by the emulator's own log.
    pub chunks_read: usize,
    /// GETs of the new node.
    pub gets: usize,
    /// Bytes that they gave.
    pub bytes: u64,
    /// Requests that wrote to the new node before its gate opened, other than its own restore; `None` where the server
    /// keeps no log of requests (a real Weaviate).
    pub foreign_writes: Option<usize>,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Moment {
    /// Milliseconds since the demo began.
    pub at_ms: i64,
    /// What.
    pub step: String,
}

/// The recovery in milliseconds. `control_plane_ms` is the total minus the others, never clipped; its parts follow it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// From the kill to CONTINUE.
    pub total_ms: i64,
    /// From the kill to the replacement's agent online: detection, launch and boot.
    pub boot_ms: i64,
    /// From the node's first to its last write of `restore_config.json`: Weaviate's own restore.
    pub weaviate_restore_ms: i64,
    /// From the evidence to CONTINUE.
    pub gate_ms: i64,
    /// What this project adds to the three.
    pub control_plane_ms: i64,
    /// What it is made of.
    pub control_plane_parts: BTreeMap<&'static str, i64>,
}

/// What was broken on purpose.
#[derive(Debug, Clone, Serialize)]
pub struct Sabotaged {
    /// What was done.
    pub kind: String,
    /// The refusal's text; `None` when nobody noticed.
    pub refused: Option<String>,
}

/// When, in milliseconds since 1970, the harness saw things by itself.
#[derive(Debug, Clone, Copy)]
pub struct Witnessed {
    /// The kill.
    pub killed: i64,
    /// The replacement's agent online.
    pub agent: i64,
    /// The node's first write of `restore_config.json`.
    pub restore_began: i64,
    /// Its last.
    pub restore_ended: i64,
}

/// The report as it is written: paths below the stack's directory are relative to it, and no other path of this machine
/// is named.
///
/// # Errors
/// When the report is no JSON.
pub fn written(report: &Report, stack: &Path, workspace: &Path) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(report)?;
    let hidden = [(format!("{}/", stack.display()), ""), (workspace.display().to_string(), "<workspace>")];
    mask(&mut value, &hidden);
    Ok(value)
}

fn mask(value: &mut Value, hidden: &[(String, &str)]) {
    match value {
        Value::String(text) => {
            for (path, shown) in hidden {
                *text = text.replace(path, shown);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, hidden)),
        Value::Object(fields) => fields.values_mut().for_each(|field| mask(field, hidden)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Splits a recovery into its parts: what the harness witnessed, and what the closed run noted.
pub fn recovery(seen: &Witnessed, closed: &ClosedRestore) -> Recovery {
    let at = |step: StepName| closed.run.at(step).map_or(seen.killed, |t| t.as_millisecond());
    let total_ms = at(StepName::Continued) - seen.killed;
    let boot_ms = seen.agent - seen.killed;
    let weaviate_restore_ms = seen.restore_ended - seen.restore_began;
    let gate_ms = at(StepName::Continued) - at(StepName::EvidencePassed);
    let parts = [
        ("agent_seen_and_backup_chosen_ms", at(StepName::AgentOnline).max(at(StepName::Chosen)) - seen.agent),
        ("host_document_ms", at(StepName::HostPrepared) - at(StepName::AgentOnline).max(at(StepName::Chosen))),
        ("node_ready_and_target_check_ms", at(StepName::NodeReady) - at(StepName::HostPrepared)),
        ("restore_asked_ms", seen.restore_began - at(StepName::NodeReady)),
        ("restore_end_discovered_ms", at(StepName::RestoreDone) - seen.restore_ended),
        ("evidence_ms", at(StepName::EvidencePassed) - at(StepName::RestoreDone)),
    ];
    Recovery {
        total_ms,
        boot_ms,
        weaviate_restore_ms,
        gate_ms,
        control_plane_ms: total_ms - boot_ms - weaviate_restore_ms - gate_ms,
        control_plane_parts: parts.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_domain::Timestamp;
    use lifeboat_domain::ids::{Generation, InstanceId};
    use lifeboat_domain::restore::run::{OpenRestore, Phase};

    #[test]
    fn a_written_report_names_no_path_of_this_machine() {
        let mut report = Report::default();
        report.nodes.push(NodeView { instance: "i".into(), pid: 1, data_path: "/w/target/s/7/data".into() });
        report.failures.push("cannot read /w/tests".into());
        let value = written(&report, Path::new("/w/target/s/7"), Path::new("/w")).unwrap();
        assert_eq!(value["nodes"][0]["data_path"], "data");
        assert_eq!(value["failures"][0], "cannot read <workspace>/tests");
        assert!(!value.to_string().contains("/w/"));
    }

    #[test]
    fn the_parts_of_the_control_plane_sum_to_what_the_total_leaves_over() {
        let at = |ms: i64| Timestamp::from_millisecond(ms).unwrap();
        let mut run = OpenRestore::new(InstanceId::parse("i-1").unwrap(), Some(Generation(1)), at(1_100));
        for (ms, step) in [
            (1_150, StepName::Chosen),
            (1_320, StepName::AgentOnline),
            (1_900, StepName::HostPrepared),
            (2_000, StepName::NodeReady),
            (2_050, StepName::RestoreAsked),
            (4_100, StepName::RestoreDone),
            (4_300, StepName::EvidencePassed),
            (5_000, StepName::Continued),
        ] {
            run.advance(Phase::Gating, step, at(ms));
        }
        let closed = ClosedRestore { run, generation: Some(Generation(2)) };
        let seen = Witnessed { killed: 1_000, agent: 1_300, restore_began: 2_040, restore_ended: 4_040 };
        let parts = recovery(&seen, &closed);
        assert_eq!(parts.total_ms, 4_000);
        assert_eq!(parts.control_plane_ms, 4_000 - 300 - 2_000 - 700);
        assert_eq!(parts.control_plane_parts.values().sum::<i64>(), parts.control_plane_ms);
    }
}
