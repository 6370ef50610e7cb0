//! The main job, end to end on one machine, as `cargo demo` shows it and as the scenarios use it.

pub mod client;
pub mod corpus;
