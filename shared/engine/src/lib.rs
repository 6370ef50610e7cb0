//! Reads objects of a store at the speed of the wire and hashes them, in bounded memory, without being fooled.
//!
//! One engine for whoever verifies: the workflows on Lambda, the command line, drills. It knows no AWS: a [`Source`]
//! brings listings and bytes.
//!
//! # Flow
//! [`Engine::list`] goes through a prefix. [`Engine::hash_objects`] reads objects side by side; of a large one several
//! ranges are in flight ahead of one sequential SHA-256, which runs on threads of its own and uses the CPU's SHA
//! instructions. Where the store holds a checksum of the whole object, it is recomputed too and compared; where it has
//! none, the ETag is, if it is an MD5.
//!
//! # Guarantees
//! - A digest is of bytes that came in full, each once, from the object that the listing named: every request carries
//!   its ETag and version, every byte is counted against the listed length. Whatever is otherwise is a [`Finding`], and
//!   never a digest.
//! - Memory for bytes is one budget, whatever the sizes and the number of objects.
//! - Every request has a time by which its head must come, and its body goes on; a stalled or dripping one is cut and
//!   tried again, so a reading ends: with digests, a finding, or [`Unanswered`].
//!
//! # Assumptions
//! A store that honours a pin never gives other bytes for it. A tokio runtime with its timer is running.

mod assembly;
mod digest;
mod engine;
mod lanes;
mod plan;
mod policy;
mod read;
mod source;

pub use bytes::Bytes;

pub use digest::{Digests, EtagIs, Finding, HeldTo, sha_instructions};
pub use engine::{Engine, Object, Progress, Unanswered};
pub use policy::{Policy, Retries, Timeouts};
pub use source::{
    Again, Algorithm, Answer, Ask, Description, ListedObject, Listing, Opened, Pinned, ReadFault, Recorded, Source,
};
