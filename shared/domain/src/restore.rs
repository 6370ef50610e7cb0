//! How a replacement comes back, decided: pure functions of what was observed (DESIGN §6).
//!
//! `run` holds the record that carries intent over invocations; the other modules each answer one question of a
//! restore, with a typed reason. The shell in `lifeboat_workflows::drive_restore` asks them in order.

pub mod choice;
pub mod gate;
pub mod group;
pub mod leaving;
pub mod progress;
pub mod run;
pub mod target;

use std::time::Duration;

use serde::Serialize;

/// What an operator decides about restores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePolicy {
    /// Whether a first node may start empty without a person's grant.
    pub allow_empty_start: bool,
    /// Whether another published backup is restored when the pointer's cannot be, nor healed. It is paged either way.
    pub fall_back: bool,
    /// Launches per generation; before the last one is abandoned, launches are suspended.
    pub attempts_max: usize,
    /// How long a final backup of the predecessor, or a backup still in verification, is waited for.
    pub predecessor_deadline: Duration,
    /// How long a SUCCESS backup of this generation that is still being verified is waited for.
    pub verification_deadline: Duration,
    /// How long an instance may take until its agent registers.
    pub agent_deadline: Duration,
    /// How long a host may take until Weaviate answers.
    pub node_deadline: Duration,
    /// How long Weaviate may take for the restore itself.
    pub restore_deadline: Duration,
    /// How long vector queues may take to drain, and evidence to be read, after the restore.
    pub evidence_deadline: Duration,
    /// From when the run was opened, how long a pointer that moves is followed; then the loss is stated.
    pub choose_again_deadline: Duration,
    /// How long the gate may take after ownership was taken, before the launch hook is answered without waiting for it.
    pub gate_deadline: Duration,
    /// How often the address of an owner in service is looked at.
    pub address_watch: Duration,
    /// Free bytes wanted on the data volume for each byte of the backup before compression, in hundredths.
    pub disk_margin_percent: u64,
    /// How long a detach may take before the address is taken by force.
    pub detach_patience: Duration,
}

impl Default for RestorePolicy {
    fn default() -> Self {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        Self {
            allow_empty_start: false,
            fall_back: true,
            attempts_max: 3,
            predecessor_deadline: minutes(120),
            verification_deadline: minutes(15),
            agent_deadline: minutes(15),
            node_deadline: minutes(15),
            restore_deadline: minutes(12 * 60),
            evidence_deadline: minutes(4 * 60),
            choose_again_deadline: minutes(6 * 60),
            gate_deadline: minutes(30),
            address_watch: minutes(15),
            disk_margin_percent: 120,
            detach_patience: minutes(1),
        }
    }
}

/// The limit of a lifecycle hook, whatever the heartbeats: 100 timeouts or 48 hours, the smaller (facts: aws.md §2).
pub const HOOK_LIMIT: Duration = Duration::from_secs(48 * 3600);

impl RestorePolicy {
    /// The longest that a replacement can take until its launch hook is answered, choosing again included. Everything is
    /// to be decided before [`HOOK_LIMIT`]: a hook that runs out abandons, whoever owns the data.
    pub fn longest(&self) -> Duration {
        let waits = self.predecessor_deadline + self.verification_deadline;
        let host = self.agent_deadline + 2 * self.node_deadline;
        let restore = self.restore_deadline + self.evidence_deadline;
        waits + self.choose_again_deadline.max(host + restore) + host + restore + self.gate_deadline
    }
}

/// What a restore waits for. Not a failure: the tick looks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "waiting_for")]
pub enum Waiting {
    /// The predecessor's final backup.
    FinalBackup {
        /// The predecessor.
        predecessor: String,
    },
    /// A finished backup of this generation that is still being verified.
    Verification {
        /// The backup.
        backup_id: String,
    },
    /// The copies of a backup's verified versions, from which it will be restored.
    Healing {
        /// The backup.
        backup_id: String,
        /// Objects copied.
        done: u64,
        /// Of how many.
        of: u64,
    },
    /// The instance to reach its launch hook.
    LaunchHook,
    /// The instance's agent.
    Agent,
    /// The host document.
    HostDocument {
        /// Its job.
        job: String,
    },
    /// Weaviate to answer on the instance's own address.
    NodeReady,
    /// Weaviate's restore.
    Restore {
        /// What Weaviate says.
        status: String,
    },
    /// Vector queues to drain and shards to become ready.
    Queues {
        /// Vectors queued.
        vectors: u64,
        /// Shards not ready.
        shards: u64,
    },
    /// The restored node to give its evidence.
    Evidence,
    /// flip-manifest to re-stamp the pointer.
    PointerStamp,
    /// The address to move.
    Address,
    /// A request through the fixed address to be seen by the host.
    Probe,
    /// A successor to open its gate, before the predecessor may go.
    Successor,
    /// Auto Scaling to launch again: launches are suspended, a person is asked to resume them.
    LaunchesSuspended,
}

/// Why a replacement is abandoned. Each is paged and recorded with its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refused")]
pub enum Refusal {
    /// No pointer, and an empty start is not proven or not permitted.
    #[error("there is no pointer, and an empty start is refused: {why}")]
    NoBackup {
        /// What stands against an empty start.
        why: String,
    },
    /// The chosen backup's objects are not what its catalogue says.
    #[error("backup {backup_id} fails T0: {first} ({findings} findings); it must not be restored")]
    FailsT0 {
        /// The backup.
        backup_id: String,
        /// How many objects are wrong.
        findings: usize,
        /// The first of them.
        first: String,
    },
    /// It failed T0, and its verified versions cannot be copied either.
    #[error("backup {backup_id} fails T0 and cannot be healed: {first} ({findings} findings)")]
    CannotBeHealed {
        /// The backup.
        backup_id: String,
        /// How many objects are wrong.
        findings: usize,
        /// The first of them.
        first: String,
    },
    /// It is to be deleted.
    #[error("backup {backup_id} has a tombstone of {since}: it is about to be deleted")]
    Tombstoned {
        /// The backup.
        backup_id: String,
        /// Since when.
        since: String,
    },
    /// A person excluded it.
    #[error("backup {backup_id} was excluded by a person; `lifeboat include` takes that back")]
    Excluded {
        /// The backup.
        backup_id: String,
    },
    /// Nothing that may be restored is left.
    #[error("{first}; {rest}")]
    NothingUsable {
        /// Why the first choice cannot be restored.
        first: String,
        /// What became of the others.
        rest: String,
    },
    /// The chosen backup's documents do not agree with their digests.
    #[error("backup {backup_id} has documents that do not agree: {what}")]
    Unusable {
        /// The backup.
        backup_id: String,
        /// Which, and how.
        what: String,
    },
    /// The agent did not register in time.
    #[error("the agent of the instance did not register in time; look at its system log and instance profile")]
    AgentSilent,
    /// The host document failed.
    #[error("the host document failed with {details} (exit code {exit_code:?}): {stderr}")]
    HostFailed {
        /// SSM's status details.
        details: String,
        /// The script's exit code.
        exit_code: Option<i32>,
        /// The end of its error output.
        stderr: String,
    },
    /// Weaviate did not answer in time.
    #[error("Weaviate did not answer on {address} in time; look at the container's log")]
    NodeSilent {
        /// The instance's own address.
        address: String,
    },
    /// The target cannot take this restore.
    #[error("the target cannot take the restore: {why}")]
    TargetUnfit {
        /// What is wrong with it.
        why: String,
    },
    /// Weaviate refused or failed the restore.
    #[error("Weaviate's restore of {backup_id} ended as {status}: {error}")]
    RestoreFailed {
        /// The backup.
        backup_id: String,
        /// Weaviate's status.
        status: String,
        /// Weaviate's error.
        error: String,
    },
    /// Weaviate did not end in time.
    #[error("Weaviate's restore of {backup_id} did not end in time (last status {status})")]
    RestoreStuck {
        /// The backup.
        backup_id: String,
        /// The last status.
        status: String,
    },
    /// Vector queues did not drain in time.
    #[error("after the restore {vectors} vectors are queued and {shards} shards are not ready, and it does not end")]
    IndexStuck {
        /// Vectors queued.
        vectors: u64,
        /// Shards not ready.
        shards: u64,
    },
    /// The node gave no evidence in time.
    #[error("the restored node gives no evidence: {last}")]
    EvidenceSilent {
        /// Its last answer.
        last: String,
    },
    /// The restored node does not show what was recorded.
    #[error("the restored node fails its evidence: {first} ({findings} findings)")]
    EvidenceFailed {
        /// How many findings.
        findings: usize,
        /// The first.
        first: String,
    },
    /// The pointer named another backup when the gate was about to open.
    #[error("the pointer moved from sequence {chosen} to {now} while {backup_id} was being restored")]
    PointerMoved {
        /// The backup restored.
        backup_id: String,
        /// The sequence at the choice.
        chosen: u64,
        /// The sequence at the gate.
        now: u64,
    },
    /// Somebody else owns the data now.
    #[error("another instance, {owner}, opened its gate first")]
    OwnershipLost {
        /// The owner.
        owner: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BackupId, Generation, Sequence, Sha256Digest};
    use crate::pointer::{ManifestRef, Pointer, VerificationLevel};

    /// A pointer to this backup.
    pub(super) fn pointer(backup_id: &str, sequence: u64) -> Pointer {
        let at = "2026-11-20T00:00:00Z".parse().unwrap();
        Pointer {
            cluster: "c".into(),
            generation: Generation(3),
            sequence: Sequence(sequence),
            backup_id: BackupId::parse(backup_id).unwrap(),
            manifest: ManifestRef { key: "m".into(), version_id: None, sha256: Sha256Digest::of(b""), size_bytes: 0 },
            verification: VerificationLevel::T1,
            verified_at: at,
            data_as_of: at,
            is_final: false,
            totals: Default::default(),
            previous: None,
            published_at: at,
            published_by: "flip-manifest".into(),
            overridden: None,
            flips_stopped: None,
        }
    }

    #[test]
    fn everything_is_decided_before_the_hooks_limit() {
        let longest = RestorePolicy::default().longest();
        assert!(longest < HOOK_LIMIT, "{longest:?}");
    }
}
