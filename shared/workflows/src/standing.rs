//! What people and prune said of a backup, looked up.

use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::retention::Standing;

use crate::ports::Bucket;
use crate::store::StoreError;

/// How a backup stands now, from one listing of its evidence. Whoever wants to use a backup records that it does before
/// it looks here, and leaves one with a tombstone alone: so either it sees the tombstone, or prune, which looks again
/// after the grace, sees the record (review R14).
///
/// # Errors
/// When the bucket gives no answer.
pub async fn of(bucket: &impl Bucket, backup_id: &BackupId) -> Result<Standing, StoreError> {
    let prefix = Key::evidence_prefix(backup_id);
    let mut standing = Standing::default();
    let mut after: Option<String> = None;
    loop {
        let page = bucket.list(&prefix, after.as_deref()).await;
        let page = page.map_err(|source| StoreError::Bucket { key: prefix.clone(), source })?;
        for listed in &page.entries {
            if let Some(key) = Key::parse(&listed.key) {
                standing.take(&key);
            }
        }
        after = page.entries.last().map(|e| e.key.clone());
        if !page.more || after.is_none() {
            return Ok(standing);
        }
    }
}
