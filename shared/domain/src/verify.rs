//! What makes a backup's bytes proof: the listing, Weaviate's descriptors, and every object read in full
//! (DESIGN §1.1, §5; facts: weaviate.md §2.9).
//!
//! It decides what must be read, in which shards, and what the results amount to. It refuses a backup on the first
//! doubt: each [`Finding`] blocks, there are no warnings among them.

pub mod descriptors;
pub mod etag;
pub mod finding;
pub mod fixity;
pub mod heal;
pub mod inventory;
pub mod plan;
pub mod proof;
pub mod t0;

pub use etag::{EtagMeaning, EtagRecipe};
pub use finding::{Finding, Note, VerifyEvidence};
pub use inventory::Inventory;
pub use plan::{Fold, Part, Shard, ShardObject};
pub use proof::{ProofError, VerifiedBackup, VerifiedManifest};
pub use t0::{T0Finding, T0Level, T0Outcome, T0Summary};

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
