//! create-backup: takes the backup that is owed, one at a time, and sees it to its verdict (DESIGN §2).
//!
//! # Flow
//! Observe ownership, pointer, run record and group, and what the open backup's phase needs besides; decide with
//! [`lifeboat_domain::create`]; act once; record. The phases: opened (S3's date of the record is read back and gives
//! the id), named (`expectations.json` is created), asked (recorded, then Weaviate is asked), saved (the bucket says
//! SUCCESS; `observed-after.json` is created), handed (verification and flip have it), closed with their verdict.
//!
//! Before the final backup writers are shut out, provably, as far as that is possible in time (`writers`).
//!
//! # Guarantees
//! At most one backup runs, one is owed. What is about to be asked of Weaviate is recorded first, and ids are
//! single-use, so any number of invocations, dying after any call, ask for the same one. Nothing is written when a
//! record cannot be read. A failed try is tried again, paced, then slowly and loudly.
//!
//! # Assumptions
//! S3 dates its objects by one clock. Weaviate refuses an id that it knows.
//!
//! # Errors
//! A port gave no answer, or a document cannot be understood: the next tick looks again. A silent node is no error.
//!
//! # Cost of a tick
//! With nothing to do: three keys, the group, one page of requests, and at most [`MARKER_PAGES_MAX`] pages of the marker
//! prefix, however many backups there were (R26). S3 lists by name, not by time, so the prefix is looked through from
//! its beginning; only one of more pages than that is walked over several ticks, with the place kept in the record.

mod act;
mod observe;
mod restart;
mod wishes;
mod writers;

use jiff::Timestamp;
use lifeboat_domain::create::{self, Facts, Policy};
use lifeboat_domain::event::Hint;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::runs::{CreatePhase, OpenBackup};
use serde::Serialize;

use crate::invocation::{Patience, Turn, take_turns};
use crate::ports::{Addresses, Bucket, Clock, Fault, Group, Hosts, Nodes};
use crate::store::StoreError;

pub use wishes::MARKER_PAGES_MAX;

/// What create-backup needs of the world.
#[derive(Debug)]
pub struct Ports<'a, B, M, G, N, H, A, C> {
    /// The cluster's bucket.
    pub bucket: &'a B,
    /// The bucket of the success markers; may be the same.
    pub markers: &'a M,
    /// The group.
    pub group: &'a G,
    /// Weaviate.
    pub nodes: &'a N,
    /// Run Command: to learn whether an instance is gone, and to tend the owner before its final backup.
    pub hosts: &'a H,
    /// Automation of the address: to shut its writers out, and to let them in again.
    pub addresses: &'a A,
    /// Time.
    pub clock: &'a C,
}

/// What an invocation came to: one log line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// `idle`, `waiting`, `not_for_us` or `not_converging`.
    pub decision: &'static str,
    /// Why, beginning with the reason's short name.
    pub reason: String,
    /// The open backup, if any.
    #[serde(rename = "backup.id", skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<BackupId>,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<CreatePhase>,
    /// Its attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What this invocation did, in order.
    pub steps: Vec<String>,
    /// Requests that cannot be acted upon, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused_requests: Vec<String>,
    /// Whether a person must look: to be logged as an error.
    pub attention: bool,
}

/// Why an invocation could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A document of ours could not be read, understood or written.
    #[error("create-backup cannot go on without its records")]
    Store(#[from] StoreError),
    /// Auto Scaling, SSM or a bucket gave no answer.
    #[error("create-backup cannot see what it acts upon")]
    Port(#[from] Fault),
}

/// What an invocation keeps over its turns: only for its log line.
#[derive(Debug, Default)]
struct Session {
    steps: Vec<String>,
    refused_requests: Vec<String>,
    attention: bool,
}

impl Session {
    fn did(&mut self, step: impl Into<String>) {
        self.steps.push(step.into());
    }

    fn outcome(&self, decision: &'static str, reason: String, open: Option<&OpenBackup>, attention: bool) -> Outcome {
        Outcome {
            decision,
            reason,
            backup_id: open.and_then(|o| o.named.as_ref()).map(|n| n.backup_id.clone()),
            phase: open.map(|o| o.phase),
            attempt: open.map(|o| o.attempt),
            steps: self.steps.clone(),
            refused_requests: self.refused_requests.clone(),
            attention: attention || self.attention || !self.refused_requests.is_empty(),
        }
    }
}

/// Takes the steps that can be taken now. The hint saves a wait at most: it decides nothing.
pub async fn run<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    policy: &Policy,
    hint: &Hint,
    patience: Patience,
) -> Result<Outcome, Error> {
    let mut session = Session::default();
    if let Hint::NotForUs { reason } = hint {
        return Ok(session.outcome("not_for_us", reason.clone(), None, false));
    }
    let stuck = session.outcome("not_converging", "too many turns without an end".to_owned(), None, true);
    take_turns(ports.clock, patience, async || turn(ports, policy, hint, &mut session).await, || stuck).await
}

async fn turn<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    policy: &Policy,
    hint: &Hint,
    session: &mut Session,
) -> Result<Turn<Outcome>, Error> {
    let now: Timestamp = ports.clock.now();
    let mut state = observe::state(ports, now).await?;
    if let Some(turn) = writers::tend(ports, policy, &mut state, now, session).await? {
        return Ok(turn);
    }
    let sight = observe::besides(ports, policy, hint, &state).await?;
    let decision = create::decide(
        &Facts {
            now,
            ownership: state.ownership.as_ref(),
            member: state.member.clone(),
            pointer: state.pointer.as_ref(),
            run: &state.run,
            written_at: state.written_at,
            seen: sight.seen(),
        },
        policy,
    );
    act::act(ports, state, sight, decision, now, session).await
}

#[cfg(test)]
mod tests;
