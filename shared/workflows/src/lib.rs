//! The workflows: observe, decide (in [`lifeboat_domain`]), act once, record. Generic over [`ports`]; no AWS types.

pub mod create_backup;
pub mod drive_restore;
pub mod evidence;
pub mod flip_manifest;
pub mod heal;
mod history;
pub mod inventory;
pub mod invocation;
#[cfg(test)]
mod main_job;
pub mod ports;
pub mod prune_backups;
pub mod reread;
pub mod standing;
pub mod store;
#[cfg(any(test, feature = "twins"))]
pub mod twins;
pub mod verify_checksums;
