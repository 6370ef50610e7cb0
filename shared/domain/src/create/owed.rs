//! No backup is open: is one owed?

use jiff::{SignedDuration, Timestamp};

use super::{Asking, Decision, Facts, IdleReason, MemberState, Policy, Seen, since};
use crate::manifest::Trigger;
use crate::ownership::Ownership;
use crate::runs::{CloseOutcome, ClosedBackup};

pub(super) fn decide(facts: &Facts<'_>, policy: &Policy) -> Decision {
    let Some(ownership) = facts.ownership else {
        return Decision::Idle(IdleReason::NoOwner);
    };
    let not_the_owner = |state: &str| {
        Decision::Idle(IdleReason::NotTheOwner { instance: ownership.owner.to_string(), state: state.to_owned() })
    };
    let tries = Tries::of(facts, ownership);
    match &facts.member {
        MemberState::InService => in_service(facts, &tries, policy),
        MemberState::Leaving => leaving(facts, ownership, &tries, policy),
        MemberState::Elsewhere(state) => not_the_owner(state),
        MemberState::Gone => not_the_owner("gone"),
    }
}

/// What was tried for this owner, and who asks anew.
struct Tries<'a> {
    /// The newest closed try of this owner; another owner's says nothing about it.
    last: Option<&'a ClosedBackup>,
    /// Tries in a row that failed.
    failed: u32,
    /// Requests that no try was made for. A person who asks is not made to wait for an older failure.
    fresh: Vec<&'a Asking>,
    /// What is strictly older than this is covered.
    covered: Option<Timestamp>,
}

impl<'a> Tries<'a> {
    fn of(facts: &'a Facts<'_>, ownership: &Ownership) -> Self {
        let run = facts.run;
        let last = run.last.as_ref().filter(|last| last.instance == ownership.owner);
        let covered = super::covered(run, facts.pointer);
        let requests = match &facts.seen {
            Seen::Wishes { requests, .. } => requests.as_slice(),
            Seen::Trigger(_) | Seen::Before(_) | Seen::Progress { .. } | Seen::After(_) | Seen::Verdict(_) => &[],
        };
        let fresh = requests
            .iter()
            .filter(|r| covered.is_none_or(|covered| r.written_at >= covered))
            .filter(|r| !run.handled_requests.contains(&r.id))
            .collect();
        Self { last, failed: last.map_or(0, |_| run.failed_attempts), fresh, covered }
    }

    fn open(&self, trigger: Trigger, is_final: bool, anew: bool) -> Decision {
        let attempt = if anew { 1 } else { self.failed + 1 };
        Decision::Open { trigger, is_final, attempt, requests: self.fresh.iter().map(|r| r.id.clone()).collect() }
    }

    /// The pause that is still to be kept, if any.
    fn pause(&self, facts: &Facts<'_>, policy: &Policy) -> Option<Decision> {
        let last = self.last.filter(|_| self.failed > 0)?;
        let pause = policy.pause_after(self.failed);
        (since(last.closed_at, facts.now) < pause).then(|| {
            Decision::Idle(IdleReason::Paced {
                failed: self.failed,
                until: later(last.closed_at, pause),
                last: last.reason.clone(),
                exhausted: self.failed >= policy.attempts_max,
            })
        })
    }
}

fn in_service(facts: &Facts<'_>, tries: &Tries<'_>, policy: &Policy) -> Decision {
    if let Some(asking) = tries.fresh.first() {
        return tries.open(Trigger::Request { id: asking.id.clone(), by: asking.by.clone() }, false, true);
    }
    let marker = match &facts.seen {
        Seen::Wishes { marker, .. } => marker.as_ref(),
        Seen::Trigger(_) | Seen::Before(_) | Seen::Progress { .. } | Seen::After(_) | Seen::Verdict(_) => None,
    };
    let marker = marker
        .filter(|m| tries.covered.is_none_or(|covered| m.written_at >= covered))
        .map(|m| Trigger::Marker { key: m.key.clone(), dataset: m.dataset.clone() });
    let scheduled =
        || tries.covered.is_none_or(|newest| since(newest, facts.now) >= policy.interval).then_some(Trigger::Schedule);
    // The debt of a failed try outlives what asked for it, such as a request that is remembered as handled.
    let debt =
        || facts.run.owed.clone().filter(|_| tries.last.is_some()).filter(|t| !matches!(t, Trigger::Terminate { .. }));
    match marker.or_else(scheduled).or_else(debt) {
        Some(trigger) => tries.pause(facts, policy).unwrap_or_else(|| tries.open(trigger, false, false)),
        None => {
            let due_at = tries.covered.map_or(facts.now, |newest| later(newest, policy.interval));
            Decision::Idle(IdleReason::NothingOwed { due_at })
        }
    }
}

fn leaving(facts: &Facts<'_>, ownership: &Ownership, tries: &Tries<'_>, policy: &Policy) -> Decision {
    let trigger = Trigger::Terminate { instance: ownership.owner.clone() };
    let Some(last) = tries.last.filter(|last| last.is_final) else {
        return tries.open(trigger, true, true);
    };
    match last.outcome {
        CloseOutcome::Published | CloseOutcome::Held | CloseOutcome::Refused | CloseOutcome::NothingToProtect => {
            Decision::Idle(IdleReason::FinalTaken { backup_id: last.backup_id.clone(), outcome: last.outcome })
        }
        CloseOutcome::Failed if !tries.fresh.is_empty() => tries.open(trigger, true, true),
        CloseOutcome::Failed if tries.failed >= policy.attempts_max => {
            Decision::Idle(IdleReason::FinalFailed { failed: tries.failed, last: last.reason.clone() })
        }
        CloseOutcome::Failed => tries.pause(facts, policy).unwrap_or_else(|| tries.open(trigger, true, false)),
    }
}

fn later(then: Timestamp, by: std::time::Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| then.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}
