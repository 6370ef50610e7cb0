//! What the server remembers of a running operation: the coordinator's slot, and the participant behind it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::times;

/// The coordinator's slot: one create and one restore at a time.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    now: Option<Held>,
    /// When the last operation began: the refusal of an unknown id prints it.
    last_started: Option<Timestamp>,
    /// The last failure outlives its slot, for one id.
    failed: Option<(String, String)>,
}

/// A held slot, as a poll sees it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) started_at: Timestamp,
    pub(crate) status: String,
    pub(crate) error: String,
}

impl Slot {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, while the slot is held.
    pub(crate) fn get(&self) -> Option<Held> {
        self.inner().now.clone()
    }

    /// The status, empty when the slot is free.
    pub(crate) fn status(&self) -> String {
        self.get().map(|held| held.status).unwrap_or_default()
    }

    /// Takes the slot, or names the id that holds it.
    pub(crate) fn take(&self, id: &str, path: String) -> Result<(), String> {
        let mut inner = self.inner();
        if let Some(held) = &inner.now {
            return Err(held.id.clone());
        }
        if inner.failed.as_ref().is_some_and(|(failed, _)| failed == id) {
            inner.failed = None;
        }
        let started_at = times::now();
        inner.last_started = Some(started_at);
        inner.now =
            Some(Held { id: id.to_owned(), path, started_at, status: "STARTED".to_owned(), error: String::new() });
        Ok(())
    }

    /// When the last operation began; the zero time if there was none since the start.
    pub(crate) fn last_started(&self) -> Timestamp {
        self.inner().last_started.unwrap_or_else(times::zero)
    }

    /// Frees the slot, whoever holds it.
    pub(crate) fn release(&self) {
        self.inner().now = None;
    }

    /// Sets the status of whoever holds the slot; nothing follows CANCELED.
    pub(crate) fn set(&self, status: &str) {
        if let Some(held) = &mut self.inner().now
            && held.status != "CANCELED"
        {
            status.clone_into(&mut held.status);
            held.error.clear();
        }
    }

    /// Ends the operation as failed, with its reason.
    pub(crate) fn fail(&self, reason: &str) {
        let mut inner = self.inner();
        if let Some(held) = &mut inner.now
            && held.status != "CANCELED"
        {
            "FAILED".clone_into(&mut held.status);
            reason.clone_into(&mut held.error);
            inner.failed = inner.now.as_ref().map(|held| (held.id.clone(), reason.to_owned()));
        }
    }

    /// Why the operation with this id failed, after its slot was freed.
    pub(crate) fn failure_of(&self, id: &str) -> Option<String> {
        self.inner().failed.as_ref().filter(|(failed, _)| failed == id).map(|(_, reason)| reason.clone())
    }
}

/// How a participant's work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failed(String),
    Canceled(String),
}

/// The participant's side: one operation at a time, its cancellation, and how the last one ended.
#[derive(Debug, Default)]
pub(crate) struct Participant {
    inner: Mutex<Work>,
}

#[derive(Debug, Default)]
struct Work {
    id: Option<String>,
    cancel: Option<watch::Sender<bool>>,
    last: Option<(String, Outcome)>,
}

/// Tells a running operation to stop.
pub(crate) type Cancelled = watch::Receiver<bool>;

impl Participant {
    fn inner(&self) -> MutexGuard<'_, Work> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books the participant, or names the id that has it.
    pub(crate) fn book(&self, id: &str) -> Result<Cancelled, String> {
        let mut work = self.inner();
        if let Some(busy) = &work.id {
            return Err(busy.clone());
        }
        let (sender, receiver) = watch::channel(false);
        work.id = Some(id.to_owned());
        work.cancel = Some(sender);
        Ok(receiver)
    }

    /// Stops the operation with this id; nothing if another, or none, runs.
    pub(crate) fn abort(&self, id: &str) {
        let work = self.inner();
        if work.id.as_deref() == Some(id)
            && let Some(cancel) = &work.cancel
        {
            cancel.send_replace(true);
        }
    }

    /// Whether the operation with this id runs and was told to stop.
    pub(crate) fn is_stopping(&self, id: &str) -> bool {
        let work = self.inner();
        work.id.as_deref() == Some(id) && work.cancel.as_ref().is_some_and(|cancel| *cancel.borrow())
    }

    /// Ends the operation.
    pub(crate) fn finish(&self, id: &str, outcome: Outcome) {
        let mut work = self.inner();
        work.id = None;
        work.cancel = None;
        work.last = Some((id.to_owned(), outcome));
    }

    /// Frees the participant without an outcome: the coordinator gave up before it began.
    pub(crate) fn unbook(&self) {
        let mut work = self.inner();
        work.id = None;
        work.cancel = None;
    }

    /// How the operation with this id ended, if it did.
    pub(crate) fn outcome(&self, id: &str) -> Option<Outcome> {
        let work = self.inner();
        if work.id.as_deref() == Some(id) {
            return None;
        }
        work.last.as_ref().filter(|(last, _)| last == id).map(|(_, outcome)| outcome.clone())
    }
}

/// Whether the operation was told to stop.
pub(crate) fn is_cancelled(cancelled: &Cancelled) -> bool {
    *cancelled.borrow()
}

/// Resolves when the operation is told to stop, never otherwise.
pub(crate) async fn until_cancelled(cancelled: &Cancelled) {
    let mut cancelled = cancelled.clone();
    if cancelled.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
