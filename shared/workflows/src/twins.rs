//! In-memory twins of the ports: one [`World`] with a manual clock, never kinder than what it stands for.
//!
//! Time moves by `sleep`, by [`World::advance`] and a little by every call; whatever is due by then happens in its order:
//! agents register, hooks time out, commands and executions end, backups and restores go through their rounds.
//!
//! ```ignore
//! let (world, instance) = World::serving();
//! world.node(&instance).seed();
//! let node = world.nodes().at(&world.address_of(&instance));
//! node.create_backup(&id, &[]).await?;
//! world.clock().sleep(Duration::from_secs(3)).await;
//! assert_eq!(node.backup_status(&id).await?.status, OperationStatus::Success);
//! ```

mod addresses;
mod bucket;
mod calls;
pub mod contract;
mod crash;
mod deletes;
mod events;
mod group;
mod hosts;
mod node;
mod objects;
mod plan;
mod settings;
mod source;
mod world;

#[cfg(test)]
mod tests;

pub use addresses::{AddressesTwin, READER_GROUP, WRITER_GROUP};
pub use bucket::BucketTwin;
pub use calls::{Call, CallRecord, ClockTwin, Failure};
pub use crash::{CrashReport, INVOCATIONS_MAX, PlannedPorts, for_each_crash_point, until_death};
pub use events::{Effect, Event, shuffled};
pub use group::GroupTwin;
pub use hosts::{CommandScript, HostsTwin};
pub use node::{ClassData, NodeFaults, NodeHandle, NodeTwin, NodesTwin, ObjectData, ShardData, object_id};
pub use objects::{PART_BYTES, etag_of, multipart_etag_of};
pub use plan::{Crashed, FaultPlan, Mode, Planned, is_crash, is_node_crash};
pub use settings::{NodeSettings, Settings};
pub use world::World;
