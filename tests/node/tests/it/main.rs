//! The double as others use it: the real binary, spawned with the real command line and environment.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as expected")]

mod auth;
mod backups;
mod data;
mod faults;
mod harness;
mod rich;
mod startup;
