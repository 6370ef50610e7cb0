//! What a port says when it has no answer.

use std::error::Error;

use lifeboat_engine::{Again, ReadFault};

/// A call failed. It says what was tried, whether it may have happened all the same, and whether trying again helps.
#[derive(Debug, thiserror::Error)]
#[error("{step} {subject} failed")]
pub struct Fault {
    /// The step, as a verb: `put`, `send command`.
    pub step: &'static str,
    /// The key, id or address.
    pub subject: String,
    /// Whether the effect may have happened.
    pub happened: Happened,
    /// Whether the same call may succeed later.
    pub retry: Retry,
    /// What it was.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Whether the effect of a failed call may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// It did not.
    No,
    /// It may have: observe again before anything else.
    Maybe,
}

/// Whether the same call may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may.
    Yes,
    /// It will not until something is changed: rights, a name, a setting.
    No,
    /// It may, more slowly.
    Throttled,
}

impl Fault {
    /// A fault of this step on this subject.
    pub fn new(
        step: &'static str,
        subject: impl Into<String>,
        happened: Happened,
        retry: Retry,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { step, subject: subject.into(), happened, retry, source: source.into() }
    }
}

impl From<Fault> for ReadFault {
    fn from(fault: Fault) -> Self {
        let again = match fault.retry {
            Retry::Yes => Again::Soon,
            Retry::Throttled => Again::Slower,
            Retry::No => Again::Never,
        };
        let what = fault.to_string();
        Self::from_source(what, again, fault.source)
    }
}
