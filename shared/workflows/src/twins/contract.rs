//! What every port must do, in named cases that the twins, the adapters on the local stack, and the adapters on the real
//! thing all pass. A twin that is kinder than the real thing makes every result upon it worthless.
//!
//! A case that panics differs; what differs and stays is listed with its reason ([`Known`]).

#![expect(clippy::wildcard_enum_match_arm, reason = "a case says what it takes; whatever else comes differs")]

pub mod bucket;
pub mod cluster;
mod report;
pub mod twin;

pub use report::{Known, Outcome, Played, Report};
