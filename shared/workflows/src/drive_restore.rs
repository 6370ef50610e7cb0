//! drive-restore: brings a replacement back, and answers the hooks of both directions (DESIGN §6).
//!
//! # Flow
//! Observe the group, `ownership.json` and the run record; answer the terminate hooks; take the instance in the launch
//! hook one step further: choose and check a backup, prepare the host, check the target, restore, prove, open the gate.
//! Each step decides with a pure function of [`lifeboat_domain::restore`], acts once, and records.
//!
//! # Guarantees
//! No gate opens without evidence. What is about to be done is recorded by compare-and-swap before it is done, so any
//! number of invocations, in any order, dying after any call, end the same. From `ownership.json` on, CONTINUE is the
//! only answer that is ever sent for an instance.
//!
//! # Assumptions
//! The host obeys a job once; Weaviate refuses a second restore while one is under way; Auto Scaling keeps an instance
//! in its hook until it is answered or its heartbeat lapses.
//!
//! # Errors
//! A port without an answer, or a document that cannot be understood. Nothing was written in place of the latter; the
//! next tick looks again.

mod abandon;
mod choosing;
mod fallback;
mod gate;
mod host;
mod leaving;
mod leftover;
mod requests;
mod restoring;
#[cfg(test)]
mod tests;
mod watch;
mod world;

pub(crate) use gate::address_state;
pub use world::{Ports, World};

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_domain::document::Document;
use lifeboat_domain::event::Hint;
use lifeboat_domain::ids::InstanceId;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::ownership::Ownership;
use lifeboat_domain::restore::run::{ClosedRestore, GroupAttempts, OpenRestore, Phase, RestoreRun, StepName};
use lifeboat_domain::restore::{RestorePolicy, Waiting};
use serde::Serialize;

use crate::inventory::LoadError;
use crate::invocation::{Patience, Turn, take_turns};
use crate::ports::bucket::PutOutcome;
use crate::ports::group::{GroupState, Hook, LifecycleState};
use crate::ports::{Clock, Fault, Group};
use crate::store::{self, StoreError, Versioned};

/// What an operator decides, and where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The cluster's name.
    pub cluster: String,
    /// The name of the cluster's bucket.
    pub bucket: String,
    /// The group's name: events of other groups are not for us.
    pub group: String,
    /// The fixed address.
    pub fixed_address: String,
    /// The address's security group for readers.
    pub reader_group: String,
    /// The address's security group for writers.
    pub writer_group: String,
    /// The prefix of the success markers.
    pub marker_prefix: String,
    /// Bounds and permissions.
    pub restore: RestorePolicy,
}

/// What an invocation came to: one line in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Outcome {
    /// The event is not for this function.
    Ignored {
        /// Why.
        reason: String,
    },
    /// Nothing is under a hook.
    Idle,
    /// Something is in flight; the tick carries on.
    Waiting {
        /// The instance.
        instance: String,
        /// For what.
        reason: Waiting,
    },
    /// A gate was opened.
    Opened {
        /// The instance.
        instance: String,
        /// Its generation.
        generation: u64,
        /// The backup it was restored from; absent after an empty start.
        backup_id: Option<String>,
        /// From the launch hook to CONTINUE, in milliseconds.
        duration_ms: i64,
    },
    /// A replacement was abandoned.
    Abandoned {
        /// The instance.
        instance: String,
        /// Why.
        reason: String,
        /// Launches of this generation so far.
        attempt: usize,
        /// Whether the group's launches are suspended now: a person must resume them.
        launches_suspended: bool,
    },
    /// Turns did not converge: a defect.
    Stuck,
}

/// Why an invocation stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A document could not be read, understood or written.
    #[error("drive-restore stops")]
    Store(#[from] StoreError),
    /// A port gave no answer.
    #[error("drive-restore gets no answer")]
    Port(#[from] Fault),
    /// A backup's documents could not be read.
    #[error("drive-restore cannot load the backup that it chose")]
    Load(#[source] LoadError),
}

/// What a turn observed.
struct Seen {
    now: Timestamp,
    group: GroupState,
    ownership: Option<Versioned<Ownership>>,
    run: RestoreRun,
    run_etag: Option<String>,
}

impl Seen {
    fn generation(&self) -> Option<u64> {
        self.ownership.as_ref().map(|o| o.value.generation.0)
    }
    fn owner(&self) -> Option<&InstanceId> {
        self.ownership.as_ref().map(|o| &o.value.owner)
    }
}

/// Brings whatever is under a hook one or more steps further, until time is up or nothing is left to do.
pub async fn run<P: Ports>(ports: &P, policy: &Policy, hint: &Hint, patience: Patience) -> Result<Outcome, Error> {
    match hint {
        Hint::NotForUs { reason } => return Ok(Outcome::Ignored { reason: reason.clone() }),
        Hint::LifecycleAction { group, .. } if group != &policy.group => {
            return Ok(Outcome::Ignored { reason: format!("lifecycle action of group {group}, not {}", policy.group) });
        }
        Hint::ObjectCreated { key, .. }
            if !matches!(Key::parse(key), Some(Key::Request(Function::DriveRestore, _))) =>
        {
            return Ok(Outcome::Ignored { reason: format!("{key} is not a request to drive-restore") });
        }
        Hint::Tick | Hint::ObjectCreated { .. } | Hint::LifecycleAction { .. } => {}
    }
    let mut heartbeats = BTreeSet::new();
    take_turns(
        ports.clock(),
        patience,
        async || turn(ports, policy, patience, &mut heartbeats).await,
        || Outcome::Stuck,
    )
    .await
}

async fn turn<P: Ports>(
    ports: &P,
    policy: &Policy,
    patience: Patience,
    heartbeats: &mut BTreeSet<(Hook, InstanceId)>,
) -> Result<Turn<Outcome>, Error> {
    let mut seen = observe(ports).await?;
    if requests::take(ports, &mut seen).await? {
        return Ok(Turn::Again);
    }
    heartbeat_once(ports, &seen.group, heartbeats).await?;
    let leaving = leaving::answer(ports, policy, &mut seen).await?;
    if leaving == Turn::Again {
        return Ok(Turn::Again);
    }
    let launching = launching(ports, policy, patience, &mut seen).await?;
    Ok(if launching == Turn::Done(Outcome::Idle) { leaving } else { launching })
}

async fn observe<P: Ports>(ports: &P) -> Result<Seen, Error> {
    let run = store::read::<RestoreRun>(ports.bucket(), &Key::CurrentRun(Function::DriveRestore)).await?;
    let (run, run_etag) = run.map_or_else(|| (RestoreRun::default(), None), |v| (v.value, Some(v.etag)));
    Ok(Seen {
        now: ports.clock().now(),
        group: ports.group().describe().await?,
        ownership: store::read(ports.bucket(), &Key::Ownership).await?,
        run,
        run_etag,
    })
}

/// Records the run; `false` when somebody else was first, and everything must be looked at again.
async fn save<P: Ports>(ports: &P, seen: &mut Seen) -> Result<bool, Error> {
    let key = Key::CurrentRun(Function::DriveRestore);
    match store::swap(ports.bucket(), &key, seen.run_etag.as_deref(), &seen.run).await? {
        PutOutcome::Written { etag, .. } => {
            seen.run_etag = Some(etag);
            Ok(true)
        }
        PutOutcome::Lost => Ok(false),
    }
}

/// One heartbeat an invocation for each instance in a hook: a tick a minute against a timer of two hours.
async fn heartbeat_once<P: Ports>(
    ports: &P,
    group: &GroupState,
    done: &mut BTreeSet<(Hook, InstanceId)>,
) -> Result<(), Error> {
    for member in &group.members {
        let hook = if member.state == LifecycleState::PendingWait {
            Hook::Launch
        } else if member.state == LifecycleState::TerminatingWait {
            Hook::Terminate
        } else {
            continue;
        };
        if done.insert((hook, member.instance.clone())) {
            ports.group().heartbeat(hook, &member.instance).await?;
        }
    }
    Ok(())
}

async fn launching<P: Ports>(
    ports: &P,
    policy: &Policy,
    patience: Patience,
    seen: &mut Seen,
) -> Result<Turn<Outcome>, Error> {
    if let Some(open) = seen.run.open.clone() {
        return match seen.group.state_of(&open.instance) {
            Some(LifecycleState::PendingWait) => bring_up(ports, policy, patience, seen, open).await,
            Some(LifecycleState::Pending) => Ok(waiting(&open.instance, Waiting::LaunchHook)),
            Some(LifecycleState::InService | LifecycleState::PendingProceed) if open.phase >= Phase::Owning => {
                if open.phase == Phase::Abandoning {
                    close(ports, seen, open, None).await
                } else {
                    // CONTINUE was taken and the reply was lost, or the hook lapsed after the gate: finish the gate.
                    bring_up(ports, policy, patience, seen, open).await
                }
            }
            // It left, by itself or by our ABANDON whose reply was lost.
            _ => close(ports, seen, open, None).await,
        };
    }
    let next = seen.group.members.iter().find(|m| m.state == LifecycleState::PendingWait);
    let Some(next) = next.map(|m| m.instance.clone()) else {
        let pending = seen.group.members.iter().find(|m| m.state == LifecycleState::Pending);
        return match pending {
            Some(m) => Ok(waiting(&m.instance, Waiting::LaunchHook)),
            None => watch::address(ports, policy, seen).await,
        };
    };
    count_attempt(ports, seen.generation().unwrap_or(0), &next).await?;
    let replaces = seen.ownership.as_ref().map(|o| o.value.generation);
    let mut open = OpenRestore::new(next.clone(), replaces, seen.now);
    if seen.owner() == Some(&next) {
        // Its gate is open already, and the record of it was closed or lost: only CONTINUE is left.
        open.replaces = seen.generation().map(|g| lifeboat_domain::ids::Generation(g.saturating_sub(1)));
        open.phase = Phase::Owning;
    }
    seen.run.open = Some(open);
    save(ports, seen).await?;
    Ok(Turn::Again)
}

async fn bring_up<P: Ports>(
    ports: &P,
    policy: &Policy,
    patience: Patience,
    seen: &mut Seen,
    open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    if matches!(open.phase, Phase::Owning | Phase::Probing)
        && gate::continue_if_late(ports, policy, seen, &open).await?
    {
        return Ok(Turn::Again);
    }
    match open.phase {
        Phase::Choosing => choosing::choose(ports, policy, patience, seen, open).await,
        Phase::Preparing => host::prepare(ports, policy, seen, open).await,
        Phase::Checking => restoring::check_target(ports, policy, seen, open).await,
        Phase::Restoring => restoring::restore(ports, policy, seen, open).await,
        Phase::Proving => restoring::prove(ports, policy, seen, open).await,
        Phase::Gating => gate::take_ownership(ports, policy, seen, open).await,
        Phase::Owning => gate::move_address(ports, policy, seen, open).await,
        Phase::Probing => gate::probe(ports, policy, patience, seen, open).await,
        Phase::Continuing => gate::proceed(ports, policy, seen, open).await,
        Phase::Abandoning => abandon::finish(ports, policy, seen, open).await,
    }
}

/// Records the run as it is now and looks again.
async fn record<P: Ports>(ports: &P, seen: &mut Seen, open: OpenRestore) -> Result<Turn<Outcome>, Error> {
    seen.run.open = Some(open);
    save(ports, seen).await?;
    Ok(Turn::Again)
}

/// Archives the run and lets go of it. The archive is written first and only once.
async fn close<P: Ports>(
    ports: &P,
    seen: &mut Seen,
    open: OpenRestore,
    generation: Option<lifeboat_domain::ids::Generation>,
) -> Result<Turn<Outcome>, Error> {
    let opened_at = open.timeline.first().map_or(seen.now, |s| s.at);
    let key = Key::DoneRun(Function::DriveRestore, opened_at, open.instance.to_string());
    store::create(ports.bucket(), &key, &ClosedRestore { run: open, generation }).await?;
    seen.run.open = None;
    save(ports, seen).await?;
    Ok(Turn::Again)
}

async fn count_attempt<P: Ports>(ports: &P, generation: u64, instance: &InstanceId) -> Result<usize, Error> {
    loop {
        let found = store::read::<GroupAttempts>(ports.bucket(), &Key::RestoreGroup).await?;
        let (mut attempts, etag) = found.map_or_else(|| (GroupAttempts::default(), None), |v| (v.value, Some(v.etag)));
        let before = attempts.clone();
        attempts.count(generation, instance);
        if attempts == before && etag.is_some() {
            return Ok(attempts.instances.len());
        }
        let put = store::swap(ports.bucket(), &Key::RestoreGroup, etag.as_deref(), &attempts).await?;
        if put != PutOutcome::Lost {
            return Ok(attempts.instances.len());
        }
    }
}

fn waiting(instance: &InstanceId, reason: Waiting) -> Turn<Outcome> {
    Turn::Waiting(Outcome::Waiting { instance: instance.to_string(), reason })
}

/// Whether more than `limit` has passed since a step ended.
fn overdue(open: &OpenRestore, since: StepName, now: Timestamp, limit: Duration) -> bool {
    let since = open.at(since).or_else(|| open.timeline.first().map(|s| s.at));
    since.is_some_and(|since| elapsed(since, now) > limit)
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// Writes a document by compare-and-swap until it is there, reading anew after each lost race.
async fn overwrite<P: Ports, T: Document + PartialEq>(ports: &P, key: &Key, document: &T) -> Result<(), Error> {
    loop {
        let found = store::read::<T>(ports.bucket(), key).await?;
        if found.as_ref().is_some_and(|v| &v.value == document) {
            return Ok(());
        }
        let etag = found.map(|v| v.etag);
        if store::swap(ports.bucket(), key, etag.as_deref(), document).await? != PutOutcome::Lost {
            return Ok(());
        }
    }
}
