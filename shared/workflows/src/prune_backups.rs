//! Retention: plan, tombstone, wait, look again, delete (DESIGN §1.4; review R14).
//!
//! A run is opened by compare-and-swap, once per period or on request, and carried on by whoever comes next. What it
//! decides is [`retention::plan`]; what it does is create-only evidence and delete markers, so that doing it twice, or
//! half of it, changes nothing. Before any data goes, everything that may need it is looked at again.

mod act;
mod observe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lifeboat_domain::event::Hint;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::retention::{self, PruneRun, Pruned};
use lifeboat_domain::runs::{Action, Request, remember};
use serde::Serialize;

use crate::invocation::Patience;
use crate::ports::bucket::PutOutcome;
use crate::ports::deletes::Deletes;
use crate::ports::{Bucket, Clock, Fault};
use crate::store::{self, StoreError, Versioned};

const FUNCTION: Function = Function::PruneBackups;

/// What prune-backups needs of the world. It alone is given [`Deletes`].
#[derive(Debug, Clone, Copy)]
pub struct Ports<'a, B, D, C> {
    /// The cluster's bucket.
    pub bucket: &'a B,
    /// The same bucket, for deleting.
    pub deletes: &'a D,
    /// Bounds the invocation.
    pub clock: &'a C,
}

/// What is kept, and how often that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunePolicy {
    /// The bucket's name, as events have it.
    pub bucket: String,
    /// What is kept.
    pub retention: retention::Policy,
    /// A run is due when the record of the last is older than this, by S3's dates.
    pub every: Duration,
}

/// What an invocation came to; one line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// The event is not for prune-backups.
    Ignored {
        /// Why.
        reason: String,
    },
    /// The last run is not old enough.
    NotDue,
    /// Time was up; the next tick carries on.
    Unfinished {
        /// What was done so far.
        so_far: String,
    },
    /// A run ended.
    Pruned {
        /// How.
        pruned: Pruned,
    },
}

impl Outcome {
    /// Whether a person must look: nothing is deleted any more.
    pub fn attention(&self) -> bool {
        matches!(self, Self::Pruned { pruned } if pruned.refused.is_some())
    }
}

/// Why an invocation did not end well. Nothing is lost by it; the next one carries on.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The bucket gave no answer, or a document does not parse: then nothing is deleted.
    #[error("pruning backups")]
    Store(#[source] StoreError),
    /// Deleting failed.
    #[error("hiding the objects of {backup_id} behind delete markers")]
    Delete {
        /// The backup.
        backup_id: String,
        /// What the port says.
        #[source]
        source: Fault,
    },
    /// The store keeps no versions, so that a delete could not be taken back.
    #[error("{key} has no version: nothing is deleted in a bucket without versioning; switch it on")]
    NoVersions {
        /// An object of ours.
        key: String,
    },
}

impl From<StoreError> for PruneError {
    fn from(source: StoreError) -> Self {
        Self::Store(source)
    }
}

/// Does what is due.
///
/// # Errors
/// When the bucket gives no answer or holds what is not understood; the run stays open, and nothing else happened to any
/// backup than what its evidence says.
pub async fn run(
    ports: &Ports<'_, impl Bucket, impl Deletes, impl Clock>,
    policy: &PrunePolicy,
    hint: &Hint,
    patience: Patience,
) -> Result<Outcome, PruneError> {
    let asked = match hint {
        Hint::Tick => None,
        Hint::ObjectCreated { bucket, key } if *bucket == policy.bucket => match Key::parse(key) {
            Some(Key::Request(FUNCTION, id)) => Some(id),
            Some(_) | None => return Ok(ignored(format!("{key} is no request to prune-backups"))),
        },
        Hint::ObjectCreated { bucket, .. } => return Ok(ignored(format!("{bucket} is not our bucket"))),
        Hint::LifecycleAction { .. } => return Ok(ignored("lifecycle actions belong to drive-restore".to_owned())),
        Hint::NotForUs { reason } => return Ok(ignored(reason.clone())),
    };
    let record = record(ports.bucket).await?;
    let asked = match asked {
        Some(id) => match request(ports.bucket, &record, &id).await? {
            Ok(request) => Some((id, request)),
            Err(reason) => return Ok(ignored(reason)),
        },
        None => None,
    };
    let record = match (&record, &asked) {
        (Some(found), _) if found.value.open.is_some() => record,
        (_, Some((id, request))) => {
            open(ports.bucket, record, format!("{}: {}", request.by, request.reason), Some(id)).await?
        }
        (Some(found), None) if !passed(found.last_modified, policy.every, ports.clock.now()) => {
            return Ok(Outcome::NotDue);
        }
        (_, None) => open(ports.bucket, record, "schedule".to_owned(), None).await?,
    };
    let Some(record) = record.filter(|r| r.value.open.is_some()) else {
        return Ok(Outcome::Unfinished { so_far: "another invocation opened or closed the run".to_owned() });
    };
    act::carry_out(ports, policy, &record, patience).await
}

fn ignored(reason: String) -> Outcome {
    Outcome::Ignored { reason }
}

fn passed(since: Timestamp, span: Duration, now: Timestamp) -> bool {
    SignedDuration::try_from(span).is_ok_and(|span| now.duration_since(since) >= span)
}

async fn record(bucket: &impl Bucket) -> Result<Option<Versioned<PruneRun>>, PruneError> {
    Ok(store::read(bucket, &Key::CurrentRun(FUNCTION)).await?)
}

/// The request, or why it is none of ours.
async fn request(
    bucket: &impl Bucket,
    record: &Option<Versioned<PruneRun>>,
    id: &str,
) -> Result<Result<Request, String>, PruneError> {
    if record.as_ref().is_some_and(|r| r.value.handled_requests.iter().any(|h| h == id)) {
        return Ok(Err(format!("request {id} was acted upon already")));
    }
    let Some(found) = store::read::<Request>(bucket, &Key::Request(FUNCTION, id.to_owned())).await? else {
        return Ok(Err(format!("request {id} is gone")));
    };
    if found.value.action == Action::Prune {
        return Ok(Ok(found.value));
    }
    Ok(Err(format!("request {id} asks {} to act", found.value.action.function().name())))
}

/// Opens a run, and reads it back for S3's date of it. A lost race gives what is there now.
async fn open(
    bucket: &impl Bucket,
    record: Option<Versioned<PruneRun>>,
    why: String,
    request: Option<&String>,
) -> Result<Option<Versioned<PruneRun>>, PruneError> {
    let mut run = record.as_ref().map(|r| r.value.clone()).unwrap_or_default();
    run.open = Some(why);
    if let Some(id) = request {
        remember(&mut run.handled_requests, id);
    }
    let etag = record.as_ref().map(|r| r.etag.as_str());
    store::swap(bucket, &Key::CurrentRun(FUNCTION), etag, &run).await?;
    self::record(bucket).await
}

/// Closes the run; when another invocation did so first, that one's word stands.
async fn close(bucket: &impl Bucket, record: &Versioned<PruneRun>, pruned: &Pruned) -> Result<(), PruneError> {
    let run = PruneRun { open: None, last: Some(pruned.clone()), ..record.value.clone() };
    match store::swap(bucket, &Key::CurrentRun(FUNCTION), Some(&record.etag), &run).await? {
        PutOutcome::Written { .. } | PutOutcome::Lost => Ok(()),
    }
}
