//! One invocation: take turns until there is nothing to do, or until it is time to go (DESIGN §2).
//!
//! While something that a function drives is in flight, one invocation looks again every poll interval, deciding anew
//! each time, and returns a minute before its deadline; the tick and events carry on.

use std::time::Duration;

use jiff::Timestamp;

use crate::ports::Clock;

/// What one turn came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn<O> {
    /// Something was done: look again at once.
    Again,
    /// Something is in flight: look again after the poll interval; the outcome is what to say when time is up.
    Waiting(O),
    /// Nothing is left to do here.
    Done(O),
}

/// How long an invocation may go on, and how often it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// When to return.
    pub until: Timestamp,
    /// How long to wait between two looks.
    pub poll: Duration,
}

/// How often an invocation may act without waiting; more is a loop that does not converge, and a defect.
pub const TURNS_MAX: u32 = 10_000;

/// Takes turns until one is done or time is up. `stuck` is what to say if turns do not converge.
pub async fn take_turns<O, E>(
    clock: &impl Clock,
    patience: Patience,
    mut turn: impl AsyncFnMut() -> Result<Turn<O>, E>,
    stuck: impl FnOnce() -> O,
) -> Result<O, E> {
    for _ in 0..TURNS_MAX {
        match turn().await? {
            Turn::Again => {}
            Turn::Done(outcome) => return Ok(outcome),
            Turn::Waiting(outcome) => {
                let next =
                    clock.now().saturating_add(jiff::SignedDuration::try_from(patience.poll).unwrap_or_default());
                match next {
                    Ok(next) if next < patience.until => clock.sleep(patience.poll).await,
                    _ => return Ok(outcome),
                }
            }
        }
    }
    Ok(stuck())
}
