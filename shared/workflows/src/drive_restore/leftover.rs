//! What an earlier restore left under the backup: `restore_config.json`. One that says CANCELLING wedges the id for good,
//! one that says SUCCESS is easily believed (facts: weaviate.md §8). It is archived word for word as
//! `manifests/<id>/evidence/leftover-<time>.json`, and then taken out of the way, before
//! Weaviate is first asked; whatever is found there afterwards is Weaviate's own word.

use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{BACKUP_PATH, Key};
use lifeboat_domain::restore::run::{Leftover, OpenRestore};

use super::{Error, Outcome, Ports, Seen, record};
use crate::invocation::Turn;
use crate::ports::bucket::PutMode;
use crate::ports::{Bucket, Deletes};
use crate::store;

/// Takes the next step; `None` when nothing is in the way any more.
pub(super) async fn set_aside<P: Ports>(
    ports: &P,
    seen: &mut Seen,
    mut open: OpenRestore,
    id: &BackupId,
    path: Option<&str>,
) -> Result<Option<Turn<Outcome>>, Error> {
    if open.leftover.as_ref().is_some_and(|l| l.gone) {
        return Ok(None);
    }
    let key = format!("{}/{id}/restore_config.json", path.unwrap_or(BACKUP_PATH));
    let found = ports.bucket().get(&key, store::DOCUMENT_BYTES_MAX).await?;
    let etag = found.as_ref().map(|f| f.etag.clone());
    let Some(intended) = &open.leftover else {
        // Intent first. What comes there later is not this one.
        open.leftover = Some(Leftover { gone: etag.is_none(), etag });
        return record(ports, seen, open).await.map(Some);
    };
    if let Some(found) = found.filter(|_| etag == intended.etag) {
        let archive = Key::Evidence(id.clone(), "leftover".to_owned(), found.last_modified);
        store::put(ports.bucket(), &archive, found.body, PutMode::Create).await?;
        ports.bucket().hide(&[key]).await?;
    }
    open.leftover = Some(Leftover { etag: None, gone: true });
    record(ports, seen, open).await.map(Some)
}
