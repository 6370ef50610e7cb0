//! One contract for a Weaviate node: what it answers, refuses, stores and forgets, as named cases. The double must keep it
//! in every run of the tests; a real server keeps it when one is named (`WEAVIATE_BIN`, `WEAVIATE_URL`).
//!
//! Each case returns an *outcome*: the answer with everything that is chance masked, and the state that results. It is
//! compared with one expectation (`expected/*.json`), the same for both. Expectations were taken from a real 1.38.11 and
//! read against the facts; where a release or a configuration answers otherwise, that is a variant of the expectation.
//! Where the double answers otherwise and is not changed, `expected/differences.json` has what it answers, and why.
//!
//! # Guarantees
//! - Nothing is timed: a backup is under way because the proxy before its bucket holds it (`proxy`).
//! - A case that is not run has a reason, which is printed and reported.
//! - A double is never taken for a real server: the run fails if the server's own `gitHash` says otherwise.

mod cases;
mod expected;
mod mask;
mod proxy;
mod report;
mod run;
mod server;
mod store;
mod world;

pub use report::{Counts, Report, Verdict};
pub use run::{Options, Target, judge_again, run, take};
pub use server::Program;
pub use world::{Config, Setting};
