//! The engine against stores that fail, lie, stall and change, in virtual time.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most acts are of no concern to most steps")]

mod hostile;
mod property;
mod scripted;
