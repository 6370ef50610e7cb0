//! The gate: what must hold before a restored node may be reached, and in which order (DESIGN §6 step 7).

use crate::ids::{InstanceId, Sequence};
use crate::ownership::Ownership;
use crate::pointer::Pointer;

use super::Refusal;
use super::run::Choice;

/// Whether the gate may open: the pointer is the one that was chosen, and nobody else opened a gate meanwhile.
pub fn may_open(
    choice: &Choice,
    chosen_generation: Option<u64>,
    pointer: Option<&Pointer>,
    ownership: Option<&Ownership>,
) -> Result<(), Refusal> {
    let now = ownership.map(|o| o.generation.0);
    if now != chosen_generation {
        let owner = ownership.map_or_else(|| "nobody".to_owned(), |o| o.owner.to_string());
        return Err(Refusal::OwnershipLost { owner });
    }
    match (choice, pointer) {
        (Choice::Empty, None) => Ok(()),
        (Choice::Empty, Some(pointer)) => Err(moved("nothing", None, pointer.sequence)),
        (Choice::Backup { sequence: None, .. }, _) => Ok(()),
        (Choice::Backup { backup_id, sequence, .. }, Some(pointer)) => {
            // A re-publication of the same backup under a later sequence loses nothing.
            if &pointer.backup_id == backup_id {
                Ok(())
            } else {
                Err(moved(backup_id.as_str(), *sequence, pointer.sequence))
            }
        }
        (Choice::Backup { backup_id, sequence, .. }, None) => Err(moved(backup_id.as_str(), *sequence, Sequence(0))),
    }
}

fn moved(backup_id: &str, chosen: Option<Sequence>, now: Sequence) -> Refusal {
    Refusal::PointerMoved { backup_id: backup_id.to_owned(), chosen: chosen.map_or(0, |s| s.0), now: now.0 }
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
    use super::*;
    use crate::ids::{BackupId, Generation};
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

    #[test]
    fn the_gate_stays_shut_when_another_generation_has_begun() {
        let refused = may_open(&Choice::Empty, Some(3), None, Some(&owned(4)));
        assert_eq!(refused, Err(Refusal::OwnershipLost { owner: "i-9".into() }));
        assert!(may_open(&Choice::Empty, None, None, Some(&owned(1))).is_err());
        assert_eq!(may_open(&Choice::Empty, Some(3), None, Some(&owned(3))), Ok(()));
    }

    #[test]
    fn the_gate_stays_shut_when_the_pointer_vanished() {
        let manifest = crate::pointer::ManifestRef {
            key: "m".into(),
            version_id: None,
            sha256: crate::ids::Sha256Digest::of(b""),
            size_bytes: 0,
        };
        let choice = Choice::Backup { backup_id: BackupId::parse("b").unwrap(), manifest, sequence: Some(Sequence(4)) };
        let refused = may_open(&choice, Some(3), None, Some(&owned(3)));
        assert!(matches!(refused, Err(Refusal::PointerMoved { chosen: 4, now: 0, .. })));
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
