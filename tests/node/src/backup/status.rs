//! Polls and the list. A poll is answered from memory while the slot holds that id, else from the store; the list always from the store.

use std::sync::atomic::Ordering;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::layout::{DistributedDescriptor, GLOBAL_BACKUP_FILE, GLOBAL_RESTORE_FILE};
use super::slots::Slot;
use super::{Backups, MetaError, Target};
use crate::auth::User;
use crate::errors::Refusal;
use crate::store::Place;
use crate::times;

/// What a poll found.
#[derive(Debug)]
struct Status {
    path: String,
    started_at: Timestamp,
    completed_at: Timestamp,
    status: String,
    error: String,
    size: u64,
    base: String,
}

impl Backups {
    /// `GET /v1/backups/{backend}/{id}`.
    pub(crate) async fn create_status(
        &self,
        user: &User,
        backend: &str,
        id: &str,
        place: Place,
    ) -> Result<Value, Refusal> {
        let target = self.target(backend, "provider", id, place)?;
        let found = self.poll(user, &target, &self.create, GLOBAL_BACKUP_FILE).await?;
        let mut answer = json!({"backend": backend, "id": id, "path": found.path, "status": found.status});
        if self.knobs.version.status_has_times() {
            answer["startedAt"] = json!(times::rest(found.started_at));
            answer["completedAt"] = json!(times::rest(found.completed_at));
        }
        if !found.error.is_empty() {
            answer["error"] = json!(found.error);
        }
        if found.size > 0 {
            answer["size"] = json!(gib(found.size));
        }
        if !found.base.is_empty() && self.auth.is_root(user) {
            answer["incremental_base_backup_id"] = json!(found.base);
        }
        Ok(answer)
    }

    /// `GET /v1/backups/{backend}/{id}/restore`. A backend that is off is a 500 here, for this call declares no 422.
    pub(crate) async fn restore_status(
        &self,
        user: &User,
        backend: &str,
        id: &str,
        place: Place,
    ) -> Result<Value, Refusal> {
        let target = self
            .target(backend, "provider", id, place)
            .map_err(|refusal| Refusal::internal(refusal.message().to_owned()))?;
        let found = self.poll(user, &target, &self.restore, GLOBAL_RESTORE_FILE).await?;
        let mut answer = json!({"backend": backend, "id": id, "path": found.path, "status": found.status});
        if !found.error.is_empty() {
            answer["error"] = json!(found.error);
        }
        Ok(answer)
    }

    async fn poll(&self, user: &User, target: &Target, slot: &Slot, file: &str) -> Result<Status, Refusal> {
        let injected = &self.knobs.status_500;
        if injected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(Refusal::internal("injected failure of a status poll"));
        }
        if self.knobs.version.status_reads_store() {
            match target.meta(file).await {
                Ok(meta) => self.auth.allow_backups(user, 'R', &meta.classes())?,
                Err(MetaError::Unreadable(_)) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(Refusal::internal(error.to_string())),
            }
        }
        if let Some(held) = slot.get()
            && held.id == target.id
        {
            return Ok(Status {
                path: held.path,
                started_at: held.started_at,
                completed_at: times::zero(),
                status: held.status,
                error: held.error,
                size: 0,
                base: String::new(),
            });
        }
        let meta = target.meta(file).await.map_err(|error| {
            if error.is_missing() {
                Refusal::not_found(format!(
                    "coordinator cannot get status: metadata not found: \"\": {error} store: {{{}{}}}",
                    times::go(slot.last_started()),
                    self.knobs.version.blanks_in_state()
                ))
            } else {
                let store = times::go(slot.last_started());
                Refusal::internal(format!(
                    "coordinator cannot get status: \"\": {error} store: {{{store}{}}}",
                    self.knobs.version.blanks_in_state()
                ))
            }
        })?;
        let mut found = Status {
            path: target.home(),
            started_at: meta.started_at,
            completed_at: meta.completed_at,
            status: meta.status,
            error: meta.error,
            size: meta.size,
            base: meta.base,
        };
        let is_final = matches!(found.status.as_str(), "SUCCESS" | "FAILED" | "CANCELED");
        if self.knobs.version.keeps_failures()
            && !is_final
            && let Some(reason) = slot.failure_of(&target.id)
        {
            "FAILED".clone_into(&mut found.status);
            found.error = reason;
        }
        Ok(found)
    }

    /// `GET /v1/backups/{backend}`: every backup of the configured bucket and path, newest first unless asked otherwise.
    pub(crate) async fn list(&self, user: &User, backend: &str, ascending: bool) -> Result<Value, Refusal> {
        if !self.knobs.version.lists_backups() {
            return Err(Refusal::internal("not implemented"));
        }
        let target = self.target(backend, "backend", "", Place::default())?;
        let ids = target.store.directories().await.map_err(|error| Refusal::internal(error.to_string()))?;
        let reads = ids.into_iter().map(|id| {
            let target = Target { id, ..target.clone() };
            async move { (target.home(), target.meta(GLOBAL_BACKUP_FILE).await) }
        });
        let read: Vec<_> = stream::iter(reads).buffer_unordered(32).collect().await;
        let mut found: Vec<DistributedDescriptor> = Vec::new();
        for (home, meta) in read {
            match meta {
                Ok(meta) => found.push(meta),
                Err(error) if error.is_missing() => {}
                Err(MetaError::Unreadable(text)) => {
                    let key =
                        home.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).map_or(&*home, |(_, key)| key);
                    let reason = text.rsplit_once(": ").map_or(&*text, |(_, reason)| reason);
                    return Err(Refusal::internal(format!(
                        "unmarshal descriptor \"{key}/{GLOBAL_BACKUP_FILE}\": {reason}"
                    )));
                }
                Err(error) => return Err(Refusal::internal(error.to_string())),
            }
        }
        found.sort_by_key(|meta| meta.started_at);
        if !ascending {
            found.reverse();
        }
        let items: Vec<Value> = found
            .into_iter()
            .filter(|meta| self.auth.allow_backups(user, 'R', &meta.classes()).is_ok())
            .map(|meta| self.item(user, &meta))
            .collect();
        Ok(Value::Array(items))
    }

    fn item(&self, user: &User, meta: &DistributedDescriptor) -> Value {
        let mut item = json!({"id": meta.id, "classes": meta.classes(), "status": meta.status});
        if self.knobs.version.status_has_times() {
            item["startedAt"] = json!(times::rest(meta.started_at));
            item["completedAt"] = json!(times::rest(meta.completed_at));
        }
        if meta.size > 0 {
            item["size"] = json!(gib(meta.size));
        }
        if !meta.base.is_empty() && self.auth.is_root(user) {
            item["incremental_base_backup_id"] = json!(meta.base);
        }
        item
    }
}

#[expect(clippy::cast_precision_loss, reason = "the API's own unit: a float of GiB")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
