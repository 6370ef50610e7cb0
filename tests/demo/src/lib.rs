//! The main job, end to end on one machine, as `cargo demo` shows it and as the scenarios use it.

pub mod bucket;
pub mod client;
pub mod collections;
pub mod corpus;
pub mod docker;
pub mod journey;
pub mod report;
pub mod server;
pub mod show;
