//! `runs/drive-restore/current.json`: what is intended, recorded before it is done, and when each step ended.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::ids::{BackupId, Generation, InstanceId, JobId, Sequence};
use crate::pointer::ManifestRef;

pub use super::group::{GroupAttempts, Ready};

/// The record of drive-restore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRun {
    /// The instance that is being brought up; at most one.
    pub open: Option<OpenRestore>,
    /// Instances under the terminate hook, as first seen there.
    #[serde(default)]
    pub leaving: BTreeMap<InstanceId, Leaving>,
    /// A backup that a person asked for; taken by the next choice, and never replaced by another.
    #[serde(default)]
    pub requested: Option<BackupId>,
    /// A person's one-time grant of an empty start, consumed by the choice that uses it.
    #[serde(default)]
    pub empty_grant: Option<String>,
    /// Ids of requests already acted upon, newest last.
    #[serde(default)]
    pub handled_requests: Vec<String>,
    /// The last look at the address of an owner in service.
    #[serde(default)]
    pub address_watch: Option<AddressWatch>,
}

impl Document for RestoreRun {
    const KIND: &'static str = "restore-run";
}

/// An instance under the terminate hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Whether it owned the data when it was first seen there.
    pub was_owner: bool,
    /// The function's clock then: bounds the wait, nothing safe rests on it.
    pub since: Timestamp,
}

/// An instance that is being brought up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRestore {
    /// The instance.
    pub instance: InstanceId,
    /// The generation it replaces; absent before the first.
    pub replaces: Option<Generation>,
    /// How far it is.
    pub phase: Phase,
    /// What it starts from: recorded before it is looked at closely, so that nobody deletes it meanwhile; checked once
    /// the phase is past [`Phase::Choosing`].
    pub choice: Option<Choice>,
    /// Backups that were looked at and cannot be restored, in order; each was paged.
    #[serde(default)]
    pub passed_over: Vec<PassedOver>,
    /// How often the choice was made again because the pointer moved during the restore; no attempts.
    #[serde(default)]
    pub chosen_again: u32,
    /// What is lost by a gate that opened although the pointer had moved on.
    #[serde(default)]
    pub loss: Option<Loss>,
    /// Since when a finished backup in verification is waited for.
    #[serde(default)]
    pub verifying_since: Option<Timestamp>,
    /// The host document's job and command, once intended and sent.
    pub prepare: Option<HostJob>,
    /// What the host reported.
    pub host: Option<HostReport>,
    /// How often Weaviate was asked to restore; recorded before each time.
    pub restore_asked: u32,
    /// When it was asked last.
    #[serde(default)]
    pub restore_asked_at: Option<Timestamp>,
    /// The last asking that Weaviate answered: until then another invocation may still be asking.
    #[serde(default)]
    pub restore_answered: u32,
    /// Since when the node is silent, or was before it answered again: it may have been started anew, and have forgotten
    /// the restore.
    #[serde(default)]
    pub silent_since: Option<Timestamp>,
    /// Weaviate's last refusal or failure, for the reason.
    #[serde(default)]
    pub restore_said: String,
    /// The collections that this run asked Weaviate for: what may be cleared away when a try of it failed.
    #[serde(default)]
    pub ours: BTreeSet<String>,
    /// The `restore_config.json` that was there before Weaviate was first asked, as it is set aside.
    #[serde(default)]
    pub leftover: Option<Leftover>,
    /// The move of the address under way.
    pub address: Option<AddressMove>,
    /// When each step ended, by the function's clock; the first is when the run was opened.
    pub timeline: Vec<Step>,
    /// Why it is abandoned, once decided.
    pub refusal: Option<String>,
}

impl OpenRestore {
    /// A new run for this instance.
    pub fn new(instance: InstanceId, replaces: Option<Generation>, now: Timestamp) -> Self {
        Self {
            instance,
            replaces,
            phase: Phase::Choosing,
            choice: None,
            passed_over: Vec::new(),
            chosen_again: 0,
            loss: None,
            verifying_since: None,
            prepare: None,
            host: None,
            restore_asked: 0,
            restore_asked_at: None,
            restore_answered: 0,
            silent_since: None,
            restore_said: String::new(),
            ours: BTreeSet::new(),
            leftover: None,
            address: None,
            timeline: vec![Step { at: now, step: StepName::Opened }],
            refusal: None,
        }
    }

    /// Goes on to the next phase and notes when.
    pub fn advance(&mut self, phase: Phase, step: StepName, now: Timestamp) {
        self.phase = phase;
        self.note(step, now);
    }

    /// Lets go of the choice, because the pointer names another backup by now. The host stays as it is.
    pub fn choose_again(&mut self, now: Timestamp) {
        self.chosen_again += 1;
        self.phase = Phase::Choosing;
        self.choice = None;
        self.restore_asked = 0;
        self.restore_answered = 0;
        self.restore_asked_at = None;
        self.silent_since = None;
        self.leftover = None;
        self.timeline.retain(|s| matches!(s.step, StepName::Opened | StepName::AgentOnline | StepName::ChosenAgain));
        self.timeline.push(Step { at: now, step: StepName::ChosenAgain });
    }

    /// Notes when a step ended, once.
    pub fn note(&mut self, step: StepName, now: Timestamp) {
        if self.at(step).is_none() {
            self.timeline.push(Step { at: now, step });
        }
    }

    /// When a step ended.
    pub fn at(&self, step: StepName) -> Option<Timestamp> {
        self.timeline.iter().find(|s| s.step == step).map(|s| s.at)
    }

    /// The name of a host job of this run.
    ///
    /// # Panics
    /// Never: an instance id, a word and a number make a valid job id.
    pub fn job(&self, step: &str, attempt: u32) -> JobId {
        JobId::parse(&format!("{}-{step}-{attempt}", self.instance)).expect("an instance id, a word and a number")
    }
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// What to start from is not chosen.
    Choosing,
    /// The host is being prepared.
    Preparing,
    /// Weaviate has to answer, and to be fit for the restore.
    Checking,
    /// Weaviate is being asked, or restores.
    Restoring,
    /// Evidence is being read.
    Proving,
    /// The gate is about to open: ownership is next.
    Gating,
    /// Ownership says this instance: from here on CONTINUE is the only answer ever sent for it.
    Owning,
    /// The address is its own; a request through it must be seen.
    Probing,
    /// The launch hook is being answered with CONTINUE.
    Continuing,
    /// It is being abandoned.
    Abandoning,
}

/// What a node starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Choice {
    /// Nothing, proven and permitted.
    Empty,
    /// A backup.
    Backup {
        /// The backup.
        backup_id: BackupId,
        /// Its manifest, pinned.
        manifest: ManifestRef,
        /// The pointer's sequence at the choice; absent when a person named the backup.
        sequence: Option<Sequence>,
        /// Why this one.
        #[serde(default)]
        rung: Rung,
        /// Where Weaviate reads it when not under its own prefix: the path of the healed copies.
        #[serde(default)]
        path: Option<String>,
    },
}

/// Why a backup was chosen (DESIGN §6 step 2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// The pointer names it.
    #[default]
    Pointer,
    /// It is the one that the pointer named before, and the pointer's own cannot be restored.
    Previous,
    /// It is the newest published one that can be restored.
    Newest,
    /// A person named it, and no other.
    Requested,
}

/// A backup that was looked at and not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// The backup.
    pub backup_id: BackupId,
    /// The reason's text.
    pub why: String,
}

/// A gate that opened on older data than the pointer named by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The backup that the pointer named, and that is not served.
    pub backup_id: BackupId,
    /// The pointer's sequence.
    pub sequence: Sequence,
}

/// What an earlier restore left under the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// The ETag of it; absent when there was none.
    pub etag: Option<String>,
    /// Whether it is archived and out of the way.
    pub gone: bool,
}

/// A host document's job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostJob {
    /// Its name.
    pub job: JobId,
    /// From 1.
    pub attempt: u32,
    /// Its command, once known.
    pub command: Option<String>,
    /// The last command of this job that found the host's lock taken: not to be found again.
    #[serde(default)]
    pub locked_out: Option<String>,
}

/// What `PrepareHost` reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// The instance's own address.
    pub address: String,
    /// Where the data is.
    #[serde(default)]
    pub data_path: String,
    /// Free bytes on the data volume.
    pub free_bytes: u64,
}

/// A move of the address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum AddressMove {
    /// Being read.
    Reading {
        /// The execution.
        execution: String,
    },
    /// Being moved.
    Moving {
        /// The execution.
        execution: String,
        /// When it was started.
        since: Timestamp,
    },
}

/// A look at the address of an owner in service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressWatch {
    /// When it was last begun or ended, by the function's clock: it paces the looks.
    pub at: Option<Timestamp>,
    /// The look or the repair under way.
    pub execution: Option<AddressMove>,
}

/// When a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// By the function's clock.
    pub at: Timestamp,
    /// Which.
    pub step: StepName,
}

/// The steps of a restore, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// The instance was seen in its launch hook.
    Opened,
    /// The pointer had moved when the gate was about to open, and the choice was made again.
    ChosenAgain,
    /// A backup was chosen and passed T0, or an empty start was proven.
    Chosen,
    /// The agent is online.
    AgentOnline,
    /// The host document succeeded.
    HostPrepared,
    /// Weaviate answers, and is fit.
    NodeReady,
    /// Weaviate accepted the restore.
    RestoreAsked,
    /// Weaviate says SUCCESS and shows the collections.
    RestoreDone,
    /// Counts and canaries are as recorded.
    EvidencePassed,
    /// `ownership.json` names this instance.
    OwnershipTaken,
    /// The pointer carries the new generation.
    PointerStamped,
    /// The address is attached here, with both groups.
    AddressMoved,
    /// A request through the address was seen here.
    AddressProbed,
    /// The launch hook took CONTINUE.
    Continued,
    /// The launch hook took ABANDON.
    Abandoned,
}

/// A closed run, `runs/drive-restore/done/…json`: evidence, written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedRestore {
    /// The run as it ended.
    pub run: OpenRestore,
    /// The generation that it opened; absent when it was abandoned.
    pub generation: Option<Generation>,
}

impl Document for ClosedRestore {
    const KIND: &'static str = "closed-restore";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(n: u32) -> InstanceId {
        InstanceId::parse(&format!("i-{n:017x}")).unwrap()
    }

    #[test]
    fn a_step_is_noted_when_it_first_ended() {
        let at = |s: &str| s.parse::<Timestamp>().unwrap();
        let mut run = OpenRestore::new(instance(1), None, at("2026-11-20T00:00:00Z"));
        run.advance(Phase::Preparing, StepName::Chosen, at("2026-11-20T00:00:01Z"));
        run.note(StepName::Chosen, at("2026-11-20T00:00:09Z"));
        assert_eq!(run.at(StepName::Chosen), Some(at("2026-11-20T00:00:01Z")));
        assert_eq!(run.job("prepare", 1).as_str(), "i-00000000000000001-prepare-1");
    }
}
