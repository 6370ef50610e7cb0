//! Cancelling. Cancelling a restore is not safe by id: it marks whatever restore holds the slot.

use super::layout::{GLOBAL_BACKUP_FILE, GLOBAL_RESTORE_FILE};
use super::request::{check_id, is_valid_id};
use super::{Backups, Target};
use crate::auth::User;
use crate::errors::Refusal;
use crate::store::Place;
use crate::times;

impl Backups {
    /// `DELETE /v1/backups/{backend}/{id}`: stops a running create; a stale STARTED stays as it is.
    pub(crate) async fn cancel_create(
        &self,
        user: &User,
        backend: &str,
        id: &str,
        place: Place,
    ) -> Result<(), Refusal> {
        let target = self.target(backend, "provider", id, place)?;
        let meta = if is_valid_id(id) { target.meta(GLOBAL_BACKUP_FILE).await.ok() } else { None };
        let classes = meta.as_ref().map(|meta| meta.classes()).unwrap_or_default();
        self.auth.allow_backups(user, 'D', &classes)?;
        check_id(id)?;
        self.probe_for_cancel(&target).await?;
        match meta.map(|meta| meta.status).as_deref() {
            Some("CANCELED") => return Ok(()),
            Some("SUCCESS") => return Err(Refusal::unprocessable(format!("backup {id:?} already succeeded"))),
            _ => {}
        }
        self.creating.abort(id);
        Ok(())
    }

    /// `DELETE /v1/backups/{backend}/{id}/restore`.
    pub(crate) async fn cancel_restore(
        &self,
        user: &User,
        backend: &str,
        id: &str,
        place: Place,
    ) -> Result<(), Refusal> {
        let target = self.target(backend, "provider", id, place)?;
        let mut meta = if is_valid_id(id) { target.meta(GLOBAL_RESTORE_FILE).await.ok() } else { None };
        let classes = match &meta {
            Some(meta) => meta.classes(),
            None if is_valid_id(id) => {
                target.meta(GLOBAL_BACKUP_FILE).await.map(|meta| meta.classes()).unwrap_or_default()
            }
            None => Vec::new(),
        };
        self.auth.allow_backups(user, 'D', &classes)?;
        check_id(id)?;
        self.probe_for_cancel(&target).await?;
        if let Some(meta) = &mut meta {
            match meta.status.as_str() {
                "CANCELED" | "CANCELLING" => return Ok(()),
                "SUCCESS" => return Err(Refusal::unprocessable(format!("restore {id:?} already succeeded"))),
                "FINALIZING" => {
                    return Err(Refusal::unprocessable(format!(
                        "restore {id:?} is applying schema changes and cannot be cancelled"
                    )));
                }
                _ => {}
            }
            "CANCELLING".clone_into(&mut meta.status);
            if let Err(error) = target.put_meta(GLOBAL_RESTORE_FILE, meta).await {
                eprintln!("lifeboat-node: failed to write cancelling status: {error}");
                return Ok(());
            }
            self.restore.set("CANCELLING");
            self.knobs.at("restore-cancelling").await;
        }
        self.restoring.abort(id);
        self.restore.set("CANCELED");
        if let Some(mut meta) = meta {
            "CANCELED".clone_into(&mut meta.status);
            "restore canceled by user".clone_into(&mut meta.error);
            meta.completed_at = times::now();
            if let Err(error) = target.put_meta(GLOBAL_RESTORE_FILE, &meta).await {
                eprintln!("lifeboat-node: failed to write canceled status: {error}");
            }
        }
        Ok(())
    }

    async fn probe_for_cancel(&self, target: &Target) -> Result<(), Refusal> {
        self.probe(target, &target.id).await.map_err(|error| Refusal::internal(format!("init uploader: {error}")))
    }
}
