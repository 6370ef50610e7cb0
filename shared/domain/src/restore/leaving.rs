//! What the terminate hook of an instance is answered with, and when.

use std::time::Duration;

use serde::Serialize;

use crate::runs::CloseOutcome;

/// What is known of an instance under the terminate hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingFacts {
    /// Whether it owned the data when it came under the hook.
    pub was_owner: bool,
    /// Whether a successor owns the data and has taken the address: until then this one serves reads.
    pub successor_serves: bool,
    /// Whether it is proved gone: SSM does not list it, and its own address does not answer.
    pub gone: bool,
    /// How its final backup ended; `None` while there is none.
    pub final_backup: Option<CloseOutcome>,
    /// Whether it had nothing to save: an empty database needs no final backup.
    pub nothing_to_save: bool,
    /// Whether its final backup was verified and kept, and only not published because a person's rollback stops flips.
    pub kept_under_stop: bool,
    /// Whether another instance is wanted: DesiredCapacity is at least 1.
    pub successor_expected: bool,
    /// How long it has been under the hook.
    pub waited: Duration,
}

/// The answer to a terminate hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeavingAnswer {
    /// Let it go.
    Continue(ContinueReason),
    /// Keep it: its data may be the last good copy. Retained by the group's lifecycle policy, and paged.
    Retain(RetainReason),
    /// Heartbeat, and look again.
    Wait(LeavingWait),
}

/// Why an instance may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContinueReason {
    /// It never owned the data: a failed replacement.
    NeverOwned,
    /// It is proved gone: nothing is left to keep.
    ProvedGone,
    /// Its final backup was published, and no successor is expected or one serves.
    FinalPublished,
    /// It had nothing to save.
    NothingToSave,
    /// Its final backup is verified and kept under a rollback's stop: a person decided what is served instead.
    KeptUnderStop,
}

/// Why an instance is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RetainReason {
    /// Its final backup was not published by the deadline.
    FinalNotPublished,
    /// No successor came to serve by the deadline.
    NoSuccessor,
}

/// What a terminate hook waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeavingWait {
    /// Its final backup.
    FinalBackup,
    /// A successor to open its gate: until then it serves reads.
    Successor,
}

/// Decides. Only an instance that owned the data is waited for; it goes only when its final backup was published or
/// it is proved gone; otherwise it is retained at the deadline (DESIGN §6 step 8).
pub fn answer(facts: &LeavingFacts, deadline: Duration) -> LeavingAnswer {
    use LeavingAnswer as A;
    let late = facts.waited >= deadline;
    let kept = facts.final_backup == Some(CloseOutcome::Refused) && facts.kept_under_stop;
    let saved = facts.final_backup == Some(CloseOutcome::Published) || facts.nothing_to_save || kept;
    match facts {
        f if !f.was_owner => A::Continue(ContinueReason::NeverOwned),
        f if f.gone => A::Continue(ContinueReason::ProvedGone),
        f if saved && (!f.successor_expected || f.successor_serves) => A::Continue(match f {
            f if f.nothing_to_save => ContinueReason::NothingToSave,
            _ if kept => ContinueReason::KeptUnderStop,
            _ => ContinueReason::FinalPublished,
        }),
        _ if saved && late => A::Retain(RetainReason::NoSuccessor),
        _ if saved => A::Wait(LeavingWait::Successor),
        _ if late => A::Retain(RetainReason::FinalNotPublished),
        _ => A::Wait(LeavingWait::FinalBackup),
    }
}

/// Whether a refusal's text says that flips are stopped by a rollback ([`crate::flip::RefuseReason::FlipsStopped`]): the run
/// record keeps verdicts as text.
pub fn is_stopped_by_a_rollback(reason: &str) -> bool {
    reason.contains(" stopped flips by a rollback to ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(7200);

    fn owner() -> LeavingFacts {
        LeavingFacts {
            was_owner: true,
            successor_serves: false,
            gone: false,
            final_backup: None,
            nothing_to_save: false,
            kept_under_stop: false,
            successor_expected: true,
            waited: Duration::ZERO,
        }
    }

    #[test]
    fn a_failed_replacement_is_let_go_at_once() {
        let facts = LeavingFacts { was_owner: false, ..owner() };
        assert_eq!(answer(&facts, DEADLINE), LeavingAnswer::Continue(ContinueReason::NeverOwned));
    }

    #[test]
    fn an_owner_that_answers_goes_only_after_a_published_final_backup_and_a_serving_successor() {
        assert_eq!(answer(&owner(), DEADLINE), LeavingAnswer::Wait(LeavingWait::FinalBackup));
        let saved = LeavingFacts { final_backup: Some(CloseOutcome::Published), ..owner() };
        assert_eq!(answer(&saved, DEADLINE), LeavingAnswer::Wait(LeavingWait::Successor));
        let replaced = LeavingFacts { successor_serves: true, ..saved };
        assert_eq!(answer(&replaced, DEADLINE), LeavingAnswer::Continue(ContinueReason::FinalPublished));
    }

    #[test]
    fn an_owner_whose_final_backup_failed_was_held_or_never_came_is_retained_at_the_deadline() {
        for outcome in [None, Some(CloseOutcome::Failed), Some(CloseOutcome::Held), Some(CloseOutcome::Refused)] {
            for successor_serves in [true, false] {
                let facts = LeavingFacts { final_backup: outcome, successor_serves, waited: DEADLINE, ..owner() };
                assert_eq!(answer(&facts, DEADLINE), LeavingAnswer::Retain(RetainReason::FinalNotPublished));
            }
        }
    }

    #[test]
    fn an_owner_whose_final_backup_is_kept_under_a_rollbacks_stop_goes_once_a_successor_serves() {
        let kept = LeavingFacts { final_backup: Some(CloseOutcome::Refused), kept_under_stop: true, ..owner() };
        assert_eq!(answer(&kept, DEADLINE), LeavingAnswer::Wait(LeavingWait::Successor));
        let replaced = LeavingFacts { successor_serves: true, ..kept };
        assert_eq!(answer(&replaced, DEADLINE), LeavingAnswer::Continue(ContinueReason::KeptUnderStop));
        let reason = crate::flip::RefuseReason::FlipsStopped {
            by: "ann".into(),
            reason: "bad data".into(),
            until: crate::ids::BackupId::parse("b").unwrap(),
        };
        assert!(is_stopped_by_a_rollback(&format!("refused: {reason}")));
        let other = crate::flip::RefuseReason::EmptyExpectations;
        assert!(!is_stopped_by_a_rollback(&format!("refused: {other}")));
    }

    #[test]
    fn an_owner_that_is_gone_is_not_waited_for() {
        let facts = LeavingFacts { gone: true, ..owner() };
        assert_eq!(answer(&facts, DEADLINE), LeavingAnswer::Continue(ContinueReason::ProvedGone));
    }
}
