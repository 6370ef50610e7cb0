//! The gate: what must hold before a restored node may be reached, and in which order (DESIGN §6 step 7).

use std::time::Duration;

use crate::ids::{BackupId, InstanceId, Sequence};
use crate::ownership::Ownership;
use crate::pointer::Pointer;

use super::Refusal;
use super::run::{Choice, Loss, PassedOver};

/// Whether the gate may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// It may, and what the pointer names by now is not served: there is no time left to choose again.
    OpenWithLoss(Loss),
    /// The pointer names another backup by now: choose again. That is no attempt.
    ChooseAgain {
        /// What it names.
        pointer: BackupId,
    },
    /// It may not.
    Refuse(Refusal),
}

/// What the gate is decided on, all freshly read.
#[derive(Debug, Clone, Copy)]
pub struct AtGate<'a> {
    /// What was restored.
    pub choice: &'a Choice,
    /// What was looked at and cannot be restored.
    pub passed_over: &'a [PassedOver],
    /// The owner's generation at the choice.
    pub replaces: Option<u64>,
    /// The pointer.
    pub pointer: Option<&'a Pointer>,
    /// Who owns the data.
    pub ownership: Option<&'a Ownership>,
    /// Whether there is time to choose again.
    pub time_left: bool,
}

/// Decides: nobody else opened a gate meanwhile, and the pointer is the one that was chosen by. A flip or an approval
/// that moved it is followed while the time allows (DESIGN §6 step 7).
pub fn may_open(at: AtGate<'_>) -> Gate {
    let now = at.ownership.map(|o| o.generation.0);
    if now != at.replaces {
        let owner = at.ownership.map_or_else(|| "nobody".to_owned(), |o| o.owner.to_string());
        return Gate::Refuse(Refusal::OwnershipLost { owner });
    }
    let (restored, chosen) = match at.choice {
        // What a person named is served, whatever the pointer says; the re-stamp records both.
        Choice::Backup { sequence: None, .. } => return Gate::Open,
        Choice::Empty => (None, None),
        Choice::Backup { backup_id, sequence, .. } => (Some(backup_id), *sequence),
    };
    let moved = |now: Sequence| {
        let backup_id = restored.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        Gate::Refuse(Refusal::PointerMoved { backup_id, chosen: chosen.map_or(0, |s| s.0), now: now.0 })
    };
    match at.pointer {
        None if restored.is_none() => Gate::Open,
        None => moved(Sequence(0)),
        // A re-publication of the same backup under a later sequence loses nothing.
        Some(pointer) if Some(&pointer.backup_id) == restored => Gate::Open,
        // Fallen back to another one, and nothing has changed since.
        Some(pointer) if Some(pointer.sequence) == chosen => Gate::Open,
        Some(pointer) if at.passed_over.iter().any(|p| p.backup_id == pointer.backup_id) => Gate::Open,
        Some(pointer) if at.time_left => Gate::ChooseAgain { pointer: pointer.backup_id.clone() },
        // An empty node never stands before a backup.
        Some(pointer) if restored.is_none() => moved(pointer.sequence),
        Some(pointer) => Gate::OpenWithLoss(Loss { backup_id: pointer.backup_id.clone(), sequence: pointer.sequence }),
    }
}

/// Whether the launch hook is answered with CONTINUE before the gate is done: the instance owns the data, so it must not
/// be ended by a hook that runs out; the rest of the gate is finished in service.
pub fn continue_early(owned_for: Duration, gate_deadline: Duration) -> bool {
    owned_for > gate_deadline
}

/// Where the address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressState {
    /// The attachment and the instance that it is to; `None` when detached.
    pub attachment: Option<(String, InstanceId)>,
    /// The security groups that the address carries.
    pub groups: Vec<String>,
}

/// What to do about the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressStep {
    /// Attached here, with its readers' and writers' groups.
    Here,
    /// To be moved; the attachment that this decision saw goes along, and another one found stops the move (R16).
    Move {
        /// The attachment seen; `None`: detached.
        expected: Option<String>,
    },
}

/// Decides from where the address is. Attached here but without one of its groups is also a move: the document
/// attaches nothing then and gives the groups back.
pub fn address(state: &AddressState, instance: &InstanceId, reader_group: &str, writer_group: &str) -> AddressStep {
    let has = |group: &str| state.groups.iter().any(|g| g == group);
    match &state.attachment {
        Some((_, to)) if to == instance && has(reader_group) && has(writer_group) => AddressStep::Here,
        Some((attachment, _)) => AddressStep::Move { expected: Some(attachment.clone()) },
        None => AddressStep::Move { expected: None },
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::Rung;
    use super::super::tests::pointer;
    use super::*;
    use crate::ids::Generation;
    use crate::ownership::Origin;

    fn id(n: u8) -> InstanceId {
        InstanceId::parse(&format!("i-{n}")).unwrap()
    }

    fn owned(generation: u64) -> Ownership {
        Ownership {
            cluster: "c".into(),
            generation: Generation(generation),
            owner: id(9),
            owner_address: "a".into(),
            origin: Origin::Empty,
            opened_at: "2026-11-20T00:00:00Z".parse().unwrap(),
        }
    }

    fn chose(backup_id: &str, sequence: Option<u64>) -> Choice {
        let manifest = super::super::tests::pointer(backup_id, 1).manifest;
        let backup_id = BackupId::parse(backup_id).unwrap();
        Choice::Backup { backup_id, manifest, sequence: sequence.map(Sequence), rung: Rung::default(), path: None }
    }

    fn at<'a>(choice: &'a Choice, pointer: Option<&'a Pointer>, ownership: &'a Ownership) -> AtGate<'a> {
        AtGate { choice, passed_over: &[], replaces: Some(3), pointer, ownership: Some(ownership), time_left: true }
    }

    #[test]
    fn the_gate_stays_shut_when_another_generation_has_begun() {
        let refused = may_open(at(&Choice::Empty, None, &owned(4)));
        assert_eq!(refused, Gate::Refuse(Refusal::OwnershipLost { owner: "i-9".into() }));
        let owner = owned(1);
        let first = AtGate { replaces: None, ..at(&Choice::Empty, None, &owner) };
        assert!(matches!(may_open(first), Gate::Refuse(Refusal::OwnershipLost { .. })));
        assert_eq!(may_open(at(&Choice::Empty, None, &owned(3))), Gate::Open);
    }

    #[test]
    fn the_gate_stays_shut_when_the_pointer_vanished_or_a_backup_came_over_an_empty_start() {
        let owner = owned(3);
        let refused = may_open(at(&chose("b", Some(4)), None, &owner));
        assert!(matches!(refused, Gate::Refuse(Refusal::PointerMoved { chosen: 4, now: 0, .. })), "{refused:?}");
        let flipped = pointer("b", 1);
        let refused = may_open(AtGate { time_left: false, ..at(&Choice::Empty, Some(&flipped), &owner) });
        assert!(matches!(refused, Gate::Refuse(Refusal::PointerMoved { chosen: 0, now: 1, .. })), "{refused:?}");
    }

    #[test]
    fn a_pointer_that_moved_is_followed_while_there_is_time_and_then_the_loss_is_stated() {
        let (owner, moved, choice) = (owned(3), pointer("c", 5), chose("b", Some(4)));
        let c = BackupId::parse("c").unwrap();
        assert_eq!(may_open(at(&choice, Some(&moved), &owner)), Gate::ChooseAgain { pointer: c.clone() });
        let late = AtGate { time_left: false, ..at(&choice, Some(&moved), &owner) };
        assert_eq!(may_open(late), Gate::OpenWithLoss(Loss { backup_id: c.clone(), sequence: Sequence(5) }));
        let empty = may_open(at(&Choice::Empty, Some(&moved), &owner));
        assert_eq!(empty, Gate::ChooseAgain { pointer: c.clone() });
        // It cannot be restored: that was found out before.
        let passed = [PassedOver { backup_id: c, why: "it fails T0".into() }];
        assert_eq!(may_open(AtGate { passed_over: &passed, ..at(&choice, Some(&moved), &owner) }), Gate::Open);
    }

    #[test]
    fn a_pointer_that_names_the_same_backup_again_or_did_not_move_since_the_choice_is_no_move() {
        let owner = owned(3);
        assert_eq!(may_open(at(&chose("b", Some(4)), Some(&pointer("b", 6)), &owner)), Gate::Open);
        assert_eq!(may_open(at(&chose("fallen_back_to", Some(4)), Some(&pointer("c", 4)), &owner)), Gate::Open);
        assert_eq!(may_open(at(&chose("a_persons", None), Some(&pointer("c", 9)), &owner)), Gate::Open);
    }

    #[test]
    fn an_owner_is_never_left_to_a_hook_that_runs_out() {
        let half_an_hour = Duration::from_secs(1800);
        assert!(!continue_early(half_an_hour, half_an_hour));
        assert!(continue_early(half_an_hour + Duration::from_secs(1), half_an_hour));
    }

    #[test]
    fn the_address_is_here_only_with_both_groups() {
        let state = |groups: &[&str]| AddressState {
            attachment: Some(("eni-attach-1".into(), id(1))),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        };
        assert_eq!(address(&state(&["r", "w"]), &id(1), "r", "w"), AddressStep::Here);
        let expected = Some("eni-attach-1".to_owned());
        assert_eq!(address(&state(&["r"]), &id(1), "r", "w"), AddressStep::Move { expected: expected.clone() });
        assert_eq!(address(&state(&["r", "w"]), &id(2), "r", "w"), AddressStep::Move { expected });
        let detached = AddressState { attachment: None, groups: vec![] };
        assert_eq!(address(&detached, &id(1), "r", "w"), AddressStep::Move { expected: None });
    }
}
