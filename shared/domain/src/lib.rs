//! The pure core of Lifeboat: identifiers, keys, documents, plans and decisions.
//!
//! Nothing here is async, talks to AWS or HTTP, or reads a clock, the environment or randomness: everything that a
//! decision depends on is an argument, and every decision is returned with its typed reason. `clippy.toml` beside this
//! crate bans the rest.

pub mod create;
pub mod document;
pub mod event;
pub mod expectations;
pub mod flip;
pub mod ids;
pub mod keys;
pub mod manifest;
pub mod ownership;
pub mod pointer;
pub mod restore;
pub mod retention;
pub mod runs;
pub mod verify;
pub mod weaviate;

pub use jiff::Timestamp;
