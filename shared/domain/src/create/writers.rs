//! Shutting the writers out before the final backup, provably (DESIGN §6 "Old node" step 1, R2, R19, M2).
//!
//! The state wanted is a level: out while the owner is under its terminate hook, in while it is in service. Each step is
//! recorded before it is done, and the next is decided from what is read, so any number of invocations end the same.
//!
//! Out is proved by three things together: the address carries its readers' group alone, read back; every connection to
//! it that was there before the last reset is gone; and two exact counts, [`Policy::settle`] apart with a reset between
//! them, are equal. Where the version's ReadOnly mode lets the evidence through it is set besides, read back, and a
//! write is seen refused. Weaviate's own batch rate proves nothing: it never falls back to 0 (facts found: real server).

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::MemberState;
use crate::ids::{InstanceId, JobId, Sha256Digest};
use crate::ownership::Ownership;
use crate::restore::gate::AddressState;
use crate::runs::{CloseOutcome, CreateRun};

/// What must be known to shut writers out, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The security group that opens the address to readers.
    pub reader_group: String,
    /// The one that opens it to writers.
    pub writer_group: String,
    /// The least time between the two counts. A change of security groups takes effect within seconds, unannounced: the
    /// reset between the counts ends what came in meanwhile.
    pub settle: Duration,
    /// After this the final backup is taken without the proof, and is called live.
    pub patience: Duration,
}

impl Policy {
    /// The defaults, for an address with these groups.
    pub fn new(reader_group: String, writer_group: String) -> Self {
        Self { reader_group, writer_group, settle: Duration::from_secs(5), patience: Duration::from_secs(600) }
    }
}

/// What is to be done about the writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Nothing: they are as they should be, as far as is on record.
    Nothing,
    /// Record that they are to be shut out.
    ShutOut,
    /// Record that they are to be let in again.
    Readmit,
    /// Take the next step of what is on record.
    Step,
    /// Let go of a record of an instance that does not own the data any more.
    Forget,
}

/// Decides what is to be done about the writers.
pub fn todo(run: &CreateRun, ownership: Option<&Ownership>, member: &MemberState) -> Todo {
    let Some(ownership) = ownership else { return Todo::Nothing };
    if run.open.as_ref().is_some_and(|open| open.instance != ownership.owner) {
        // What was looked at is another instance.
        return Todo::Nothing;
    }
    match (&run.writers, member) {
        (Some(writers), _) if writers.instance != ownership.owner => Todo::Forget,
        (None, MemberState::Leaving) if !final_is_over(run, ownership) => Todo::ShutOut,
        (Some(writers), MemberState::Leaving) if writers.wanted == Wanted::In => Todo::ShutOut,
        (Some(writers), MemberState::Leaving) if writers.is_over() => Todo::Nothing,
        (Some(_), MemberState::Leaving) => Todo::Step,
        (Some(writers), MemberState::InService) if writers.wanted == Wanted::Out => Todo::Readmit,
        (Some(_), MemberState::InService) => Todo::Step,
        // A retained instance stays shut: what would be written to it no backup would ever hold.
        (Some(_) | None, MemberState::Elsewhere(_) | MemberState::Gone)
        | (None, MemberState::Leaving | MemberState::InService) => Todo::Nothing,
    }
}

fn final_is_over(run: &CreateRun, ownership: &Ownership) -> bool {
    let of_owner = run.last.as_ref().filter(|last| last.is_final && last.instance == ownership.owner);
    of_owner.is_some_and(|last| last.outcome != CloseOutcome::Failed)
}

/// Whether writers are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Shut out.
    Out,
    /// Let in again: the replacement was called off.
    In,
}

/// The record of it, in `runs/create-backup/current.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writers {
    /// The instance.
    pub instance: InstanceId,
    /// What is wanted.
    pub wanted: Wanted,
    /// The function's clock when it was first wanted: bounds the wait, nothing safe rests on it.
    pub since: Timestamp,
    /// The step that is under way.
    pub step: Step,
    /// The groups of the address before anything was changed.
    pub groups_before: Option<Vec<String>>,
    /// The groups as last read; empty when the address is not attached to the instance.
    pub groups: Vec<String>,
    /// Jobs given to the host so far; part of their names.
    pub jobs: u32,
    /// Resets that the host has reported, and connections that they ended.
    pub resets: Resets,
    /// Whether ReadOnly is set with it: only where the version lets the evidence through.
    pub read_only: Option<bool>,
    /// The last exact count.
    pub counted: Option<Counted>,
    /// The proof, once there is one.
    pub proof: Option<Freeze>,
    /// Why there will be none.
    pub gave_up: Option<String>,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// The address is being read.
    Look {
        /// The execution, once started.
        execution: Option<String>,
    },
    /// The groups of the address are being changed.
    Address {
        /// The execution.
        execution: String,
    },
    /// The host resets connections and sets the mode.
    Host {
        /// The job.
        job: JobId,
        /// Its command, once known.
        command: Option<String>,
    },
    /// Objects are being counted.
    Count,
    /// Over.
    Done,
}

/// Resets of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resets {
    /// How many resets left nothing that was there before them.
    pub times: u32,
    /// Connections that they ended.
    pub connections: u64,
}

/// An exact count of everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The function's clock after it.
    pub at: Timestamp,
    /// Objects over all collections.
    pub objects: u64,
    /// Digest of the count of each collection and tenant.
    pub sha256: Sha256Digest,
    /// Resets before it.
    pub after_resets: u32,
}

/// The proof that nobody wrote between it and the end of the final backup; it goes into `expectations.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// When it was complete, by the function's clock.
    pub at: Timestamp,
    /// The groups that the address carried, read back; empty when it was not attached to the instance at all.
    pub groups: Vec<String>,
    /// The resets.
    pub resets: Resets,
    /// Objects in both counts.
    pub objects: u64,
    /// Seconds between the two counts.
    pub counts_apart_s: u64,
    /// Whether ReadOnly was in force and a write was seen refused; false where the version would refuse the evidence too.
    pub read_only: bool,
}

impl Writers {
    /// A new record: nothing is done yet.
    pub fn new(instance: InstanceId, wanted: Wanted, now: Timestamp) -> Self {
        Self {
            instance,
            wanted,
            since: now,
            step: Step::Look { execution: None },
            groups_before: None,
            groups: Vec::new(),
            jobs: 0,
            resets: Resets::default(),
            read_only: None,
            counted: None,
            proof: None,
            gave_up: None,
        }
    }

    /// Whether nothing more is to be done.
    pub fn is_over(&self) -> bool {
        self.step == Step::Done
    }

    /// The next job for the host. Its name carries the time of the first wish, so that no job of another life is found.
    ///
    /// # Panics
    /// Never: an instance id, a word and numbers make a valid job id.
    pub fn next_job(&mut self) {
        self.jobs += 1;
        let word = match self.wanted {
            Wanted::Out => "out",
            Wanted::In => "in",
        };
        let name = format!("{}-writers-{word}-{}-{}", self.instance, self.since.as_second(), self.jobs);
        self.step = Step::Host { job: JobId::parse(&name).expect("an instance id, a word and numbers"), command: None };
    }

    /// Ends it without a proof.
    pub fn give_up(&mut self, why: String) {
        self.gave_up = Some(why);
        self.step = Step::Done;
    }
}

/// What to do about the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressTodo {
    /// Change its groups, if it is still attached so.
    Change {
        /// The attachment that was seen.
        attachment: String,
    },
    /// It is as it should be.
    Right,
}

/// Decides from where the address is and what it carries. Not attached to the instance, it leads no client to it.
pub fn address(state: &AddressState, instance: &InstanceId, wanted: Wanted, policy: &Policy) -> AddressTodo {
    let Some((attachment, _)) = state.attachment.as_ref().filter(|(_, holder)| holder == instance) else {
        return AddressTodo::Right;
    };
    let has = |group: &String| state.groups.contains(group);
    let right = match wanted {
        Wanted::Out => state.groups.len() == 1 && has(&policy.reader_group),
        Wanted::In => has(&policy.reader_group) && has(&policy.writer_group),
    };
    if right { AddressTodo::Right } else { AddressTodo::Change { attachment: attachment.clone() } }
}

/// What a count comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountTodo {
    /// It is the first, or it differs from the one before: remember it, let time pass, and reset once more.
    Remember,
    /// Time passes: the next reset and count come later.
    Wait,
    /// Reset again: the time has passed.
    Reset,
    /// Equal, with a reset between: proved.
    Proved {
        /// Seconds between the two.
        apart_s: u64,
    },
}

/// Whether to count at all now. The pace is: count, wait, reset, count.
pub fn before_count(writers: &Writers, now: Timestamp, policy: &Policy) -> CountTodo {
    match &writers.counted {
        Some(counted) if counted.after_resets >= writers.resets.times => {
            if super::since(counted.at, now) < policy.settle { CountTodo::Wait } else { CountTodo::Reset }
        }
        Some(_) | None => CountTodo::Remember,
    }
}

/// What a count that was just made comes to.
pub fn after_count(writers: &Writers, now: &Counted, policy: &Policy) -> CountTodo {
    match &writers.counted {
        Some(before) if before.sha256 == now.sha256 && super::since(before.at, now.at) >= policy.settle => {
            CountTodo::Proved { apart_s: super::since(before.at, now.at).as_secs() }
        }
        Some(_) | None => CountTodo::Remember,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Generation;
    use crate::ownership::Origin;
    use crate::runs::ClosedBackup;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn id(text: &str) -> InstanceId {
        InstanceId::parse(text).unwrap()
    }

    fn owned() -> Ownership {
        Ownership {
            cluster: "c".into(),
            generation: Generation(2),
            owner: id("i-0a"),
            owner_address: "127.16.0.1".into(),
            origin: Origin::Empty,
            opened_at: at(0),
        }
    }

    fn run(writers: Option<Writers>) -> CreateRun {
        CreateRun { writers, ..CreateRun::default() }
    }

    fn policy() -> Policy {
        Policy::new("r".into(), "w".into())
    }

    #[test]
    fn writers_are_shut_out_of_an_owner_that_leaves_and_let_in_when_it_is_back_in_service() {
        let owned = owned();
        let of = |writers: &Option<Writers>, member: MemberState| todo(&run(writers.clone()), Some(&owned), &member);
        assert_eq!(of(&None, MemberState::InService), Todo::Nothing);
        assert_eq!(of(&None, MemberState::Leaving), Todo::ShutOut);
        let mut out = Writers::new(id("i-0a"), Wanted::Out, at(0));
        assert_eq!(of(&Some(out.clone()), MemberState::Leaving), Todo::Step);
        assert_eq!(of(&Some(out.clone()), MemberState::InService), Todo::Readmit);
        out.step = Step::Done;
        assert_eq!(of(&Some(out.clone()), MemberState::Leaving), Todo::Nothing);
        assert_eq!(of(&Some(out.clone()), MemberState::InService), Todo::Readmit, "called off after the proof too");
        assert_eq!(of(&Some(out), MemberState::Elsewhere("Terminating:Retained".into())), Todo::Nothing);
        let back = Writers::new(id("i-0a"), Wanted::In, at(0));
        assert_eq!(of(&Some(back.clone()), MemberState::InService), Todo::Step);
        assert_eq!(of(&Some(back), MemberState::Leaving), Todo::ShutOut);
        let other = Writers::new(id("i-0b"), Wanted::Out, at(0));
        assert_eq!(of(&Some(other), MemberState::InService), Todo::Forget, "the data has another owner now");
    }

    #[test]
    fn an_owner_whose_final_backup_is_over_is_not_shut_out_again() {
        let last = ClosedBackup {
            backup_id: None,
            recorded_at: None,
            outcome: CloseOutcome::Published,
            reason: String::new(),
            is_final: true,
            instance: id("i-0a"),
            closed_at: at(0),
        };
        let closed = CreateRun { last: Some(last), ..CreateRun::default() };
        assert_eq!(todo(&closed, Some(&owned()), &MemberState::Leaving), Todo::Nothing);
    }

    #[test]
    fn the_address_is_shut_only_with_its_readers_group_alone() {
        let here = |groups: &[&str]| AddressState {
            attachment: Some(("eni-attach-1".into(), id("i-0a"))),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        };
        let change = AddressTodo::Change { attachment: "eni-attach-1".into() };
        for (groups, wanted, expected) in [
            (&["r", "w"][..], Wanted::Out, change.clone()),
            (&["r"], Wanted::Out, AddressTodo::Right),
            (&["w"], Wanted::Out, change.clone()),
            (&["r", "x"], Wanted::Out, change.clone()),
            (&["r"], Wanted::In, change.clone()),
            (&["w", "r"], Wanted::In, AddressTodo::Right),
        ] {
            assert_eq!(address(&here(groups), &id("i-0a"), wanted, &policy()), expected, "{groups:?} {wanted:?}");
        }
        assert_eq!(address(&here(&["r", "w"]), &id("i-0b"), Wanted::Out, &policy()), AddressTodo::Right);
    }

    #[test]
    fn two_counts_prove_only_when_they_are_equal_and_apart_with_a_reset_between() {
        let count = |second: i64, of: &str, after_resets: u32| Counted {
            at: at(second),
            objects: 1,
            sha256: Sha256Digest::of(of.as_bytes()),
            after_resets,
        };
        let mut writers = Writers::new(id("i-0a"), Wanted::Out, at(0));
        writers.resets.times = 1;
        assert_eq!(before_count(&writers, at(0), &policy()), CountTodo::Remember);
        assert_eq!(after_count(&writers, &count(0, "a", 1), &policy()), CountTodo::Remember);
        writers.counted = Some(count(0, "a", 1));
        assert_eq!(before_count(&writers, at(4), &policy()), CountTodo::Wait);
        assert_eq!(before_count(&writers, at(5), &policy()), CountTodo::Reset);
        writers.resets.times = 2;
        assert_eq!(after_count(&writers, &count(6, "b", 2), &policy()), CountTodo::Remember, "somebody wrote");
        assert_eq!(after_count(&writers, &count(6, "a", 2), &policy()), CountTodo::Proved { apart_s: 6 });
        assert_eq!(after_count(&writers, &count(3, "a", 2), &policy()), CountTodo::Remember, "too close together");
    }

    #[test]
    fn each_job_has_a_name_of_its_own() {
        let mut writers = Writers::new(id("i-0a"), Wanted::Out, at(0));
        writers.next_job();
        let first = writers.step.clone();
        writers.next_job();
        assert_ne!(first, writers.step);
        assert!(matches!(first, Step::Host { job, .. } if job.as_str() == "i-0a-writers-out-1795000000-1"));
    }
}
