//! A backup is open: what is its next step?

use super::{
    After, Answer, Before, CloseReason, Decision, Facts, MemberState, Policy, Seen, Stored, Verdict, WaitReason, since,
};
use crate::expectations::Expectations;
use crate::ids::BackupId;
use crate::runs::{CancelCause, CloseOutcome, CreatePhase, NamedBackup, OpenBackup};
use crate::weaviate::OperationStatus;

/// How long a backup is recorded anew for a later date, at most: a marker that is written every second must not put
/// it off for ever.
const RESTAMP_SECS_MAX: u64 = 30;

pub(super) fn decide(facts: &Facts<'_>, open: &OpenBackup, policy: &Policy) -> Decision {
    let make_way = facts.member == MemberState::Leaving && !open.is_final;
    if matches!(open.phase, CreatePhase::Opened | CreatePhase::Named) {
        // Nothing was asked of Weaviate: nothing is left behind.
        if let Some(decision) = unentitled(facts, open, policy) {
            return decision;
        }
        if make_way {
            return Decision::Close(CloseReason::Preempted);
        }
    }
    let age = since(facts.written_at, facts.now);
    let overdue = age >= policy.stall;
    match (&facts.seen, open.phase) {
        (Seen::Trigger(trigger_at), CreatePhase::Opened) => {
            let id = BackupId::mint(facts.written_at, open.generation, open.attempt);
            let used = facts.run.last.as_ref().and_then(|last| last.backup_id.as_ref()) == Some(&id);
            let covers = trigger_at.is_none_or(|at| at < facts.written_at);
            if used || (!covers && since(open.opened_at, facts.now).as_secs() < RESTAMP_SECS_MAX) {
                Decision::Restamp
            } else {
                Decision::Name(NamedBackup { backup_id: id, recorded_at: facts.written_at })
            }
        }
        (Seen::Before(before), CreatePhase::Named) => match before {
            Before::Recorded(expectations) if is_of(expectations, open) => Decision::Ask,
            Before::Recorded(_) => Decision::Close(CloseReason::ForeignExpectations),
            Before::Read { empty: true } => {
                let pointer_has_objects = facts.pointer.is_some_and(|p| p.totals.objects > 0);
                Decision::Close(CloseReason::NothingToProtect { pointer_has_objects })
            }
            Before::Read { empty: false } => Decision::RecordExpectations,
            Before::Silent(detail) if overdue => {
                Decision::Close(CloseReason::EvidenceUnreadable { detail: detail.clone() })
            }
            Before::Silent(detail) => Decision::Wait(WaitReason::Evidence { detail: detail.clone(), overdue: false }),
        },
        (Seen::Progress { stored, answer, expected, gone }, CreatePhase::Asked) => {
            let told = Told { stored, answer, expected: *expected, gone: gone.as_deref() };
            asked(facts, open, &told, policy, make_way)
        }
        (Seen::After(after), CreatePhase::Saved) => match after {
            After::Recorded => Decision::Hand,
            After::Known => Decision::RecordAfter,
            After::Silent(detail) if age >= policy.verification_max => {
                Decision::Close(CloseReason::AfterUnreadable { detail: detail.clone() })
            }
            After::Silent(detail) => Decision::Wait(WaitReason::Evidence { detail: detail.clone(), overdue }),
        },
        (Seen::Verdict(verdict), CreatePhase::Handed) => match verdict {
            Some(verdict) => Decision::Close(end(verdict)),
            None if make_way => Decision::Close(CloseReason::Superseded),
            None if age >= policy.verification_max => Decision::Close(CloseReason::Unverified),
            None => Decision::Wait(WaitReason::Verification),
        },
        // What was looked at is of another phase: look again.
        (
            Seen::Wishes { .. }
            | Seen::Trigger(_)
            | Seen::Before(_)
            | Seen::Progress { .. }
            | Seen::After(_)
            | Seen::Verdict(_),
            CreatePhase::Opened | CreatePhase::Named | CreatePhase::Asked | CreatePhase::Saved | CreatePhase::Handed,
        ) => Decision::Wait(WaitReason::Running { detail: "the phase changed meanwhile".into() }),
    }
}

/// Why nothing may be asked of this node, if so (R18).
fn unentitled(facts: &Facts<'_>, open: &OpenBackup, policy: &Policy) -> Option<Decision> {
    let owns = facts.ownership.is_some_and(|o| o.owner == open.instance && o.generation == open.generation);
    let not_the_owner = |detail: String| Some(Decision::Close(CloseReason::NotTheOwner { detail }));
    match &facts.member {
        MemberState::Gone => {
            let proof = format!("Auto Scaling does not list {} any more", open.instance);
            Some(Decision::Close(CloseReason::NodeGone { proof }))
        }
        _ if !owns => not_the_owner(format!("{} does not own generation {}", open.instance, open.generation)),
        MemberState::InService | MemberState::Leaving => None,
        MemberState::Elsewhere(state) if since(facts.written_at, facts.now) < policy.stall => {
            Some(Decision::Wait(WaitReason::Elsewhere { state: state.clone() }))
        }
        MemberState::Elsewhere(state) => not_the_owner(format!("{} is {state}", open.instance)),
    }
}

fn is_of(expectations: &Expectations, open: &OpenBackup) -> bool {
    open.named.as_ref().is_some_and(|n| n.backup_id == expectations.backup_id)
        && expectations.instance == open.instance
        && expectations.generation == open.generation
        && expectations.is_final == open.is_final
        && !expectations.collections.is_empty()
}

/// What the bucket and the node say of a backup that was asked for.
struct Told<'a> {
    stored: &'a Stored,
    answer: &'a Answer,
    expected: Option<&'a Expectations>,
    gone: Option<&'a str>,
}

fn asked(facts: &Facts<'_>, open: &OpenBackup, told: &Told<'_>, policy: &Policy, make_way: bool) -> Decision {
    let age = since(facts.written_at, facts.now);
    let failed = |error: &str| {
        Decision::Close(match &open.cancel {
            Some(cause) => CloseReason::cancelled(cause),
            None => CloseReason::Failed { error: error.to_owned() },
        })
    };
    match told.stored {
        Stored::Success { classes } => return saved(open, told, classes),
        Stored::Failed(error) => return failed(error),
        Stored::Absent | Stored::Unreadable(_) | Stored::Running => {}
    }
    if let Some(proof) = told.gone {
        return Decision::Close(CloseReason::NodeGone { proof: proof.to_owned() });
    }
    match told.answer {
        Answer::Status(OperationStatus::Failed | OperationStatus::Canceled, error) => return failed(error),
        Answer::Status(OperationStatus::Success, _) if open.cancel.is_none() => {
            // It is announced from memory before it is written, and the write can fail (facts: weaviate.md §8.2).
            let stored = format!("{:?}", told.stored);
            return if age >= policy.stall {
                Decision::Close(CloseReason::NotStored { stored })
            } else {
                Decision::Wait(WaitReason::NotStoredYet { stored })
            };
        }
        Answer::Status(..) | Answer::NotFound | Answer::Refused(_) | Answer::Silent(_) => {}
    }
    if let Some(cause) = &open.cancel {
        return if age >= policy.cancel_patience {
            Decision::Close(CloseReason::cancelled(cause))
        } else {
            Decision::CancelAgain
        };
    }
    if make_way {
        return Decision::Cancel(CancelCause::Preempted);
    }
    match told.answer {
        Answer::NotFound => match unentitled(facts, open, policy) {
            Some(decision) => decision,
            None if open.is_final && needs_restart(facts, open, policy) => Decision::Restart,
            None if age >= policy.stall => Decision::Close(CloseReason::NeverStarted),
            None => Decision::Post,
        },
        Answer::Status(..) | Answer::Silent(_) | Answer::Refused(_) if age >= policy.stall => {
            Decision::Cancel(CancelCause::Stuck)
        }
        Answer::Status(status, _) => Decision::Wait(WaitReason::Running { detail: format!("{status:?}") }),
        Answer::Silent(detail) => Decision::Wait(WaitReason::Running { detail: detail.clone() }),
        Answer::Refused(message) => Decision::Wait(WaitReason::StatusRefused { message: message.clone() }),
    }
}

/// Whether Weaviate is to be restarted before it is asked again: it has refused for long enough, or the restart is under way.
fn needs_restart(facts: &Facts<'_>, open: &OpenBackup, policy: &Policy) -> bool {
    match &open.restart {
        Some(restart) => !restart.over,
        None => since(facts.written_at, facts.now) >= policy.busy_patience,
    }
}

/// The bucket says SUCCESS without an error.
fn saved(open: &OpenBackup, told: &Told<'_>, classes: &[String]) -> Decision {
    if let Some(CancelCause::Narrowed { missing }) = &open.cancel {
        return Decision::Close(CloseReason::Narrowed { missing: missing.clone() });
    }
    if let Answer::Status(status @ (OperationStatus::Failed | OperationStatus::Canceled), error) = told.answer {
        return Decision::Close(CloseReason::Contradiction { answer: format!("{status:?} {error}") });
    }
    let Some(expected) = told.expected else {
        return Decision::Close(CloseReason::ForeignExpectations);
    };
    let missing: Vec<String> = expected.collections.keys().filter(|c| !classes.contains(c)).cloned().collect();
    if missing.is_empty() { Decision::Save } else { Decision::Close(CloseReason::Narrowed { missing }) }
}

fn end(verdict: &Verdict) -> CloseReason {
    let reasons = verdict.reasons.clone();
    match verdict.outcome {
        CloseOutcome::Published => CloseReason::Published,
        CloseOutcome::Held => CloseReason::Held { reasons },
        CloseOutcome::Refused => CloseReason::Refused { reasons },
        CloseOutcome::Failed | CloseOutcome::NothingToProtect => CloseReason::VerificationFailed { reasons },
    }
}
