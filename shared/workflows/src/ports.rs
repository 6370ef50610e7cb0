//! What the workflows need of the world, in our own words. Adapters and in-memory twins pass the same contract.

pub mod bucket;
pub mod deletes;
pub mod fault;
pub mod group;
pub mod hosts;
pub mod node;

use std::time::Duration;

use jiff::Timestamp;

pub use bucket::Bucket;
pub use deletes::Deletes;
pub use fault::Fault;
pub use group::Group;
pub use hosts::{Addresses, Hosts};
pub use node::{Node, Nodes};

/// Time, injected. Safety never rests on it (DESIGN §1.12): it bounds waits and paces retries.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Returns after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}
