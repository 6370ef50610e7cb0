//! What a replacement starts from.

use crate::ids::BackupId;
use crate::ownership::{Origin, Ownership};
use crate::pointer::Pointer;

use super::Refusal;

/// What to look at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// The backup that a person named, and no other.
    Requested(BackupId),
    /// The backup that the pointer names.
    Pointed,
    /// No pointer: nothing, if that is proven and permitted.
    Nothing,
}

/// Which candidate a replacement looks at. A backup asked for by a person is never replaced by another (R12).
pub fn candidate(requested: Option<&BackupId>, pointer: Option<&Pointer>) -> Candidate {
    match (requested, pointer) {
        (Some(id), _) => Candidate::Requested(id.clone()),
        (None, Some(_)) => Candidate::Pointed,
        (None, None) => Candidate::Nothing,
    }
}

/// What the bucket shows about an earlier life. Each is the number of versions and delete markers found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierLife {
    /// Under the pointer's key.
    pub pointer: usize,
    /// Below `manifests/`.
    pub manifests: usize,
    /// Below `backups/`.
    pub backups: usize,
}

/// Whether a node may start empty: it needs proof (no trace of an earlier life) and permission (DESIGN §1.6).
pub fn empty_start(life: &EarlierLife, ownership: Option<&Ownership>, permitted: bool) -> Result<(), Refusal> {
    let mut against = Vec::new();
    for (count, place) in
        [(life.pointer, "the pointer's key"), (life.manifests, "manifests/"), (life.backups, "backups/")]
    {
        if count > 0 {
            against.push(format!("{count} versions or delete markers under {place}"));
        }
    }
    if let Some(Origin::Restored { backup_id, .. }) = ownership.map(|o| &o.origin) {
        against.push(format!("ownership.json says that {backup_id} was restored"));
    }
    if !permitted {
        against.push("AllowEmptyStart is no and nobody granted one: `lifeboat restore --empty --reason …`".to_owned());
    }
    if against.is_empty() { Ok(()) } else { Err(Refusal::NoBackup { why: against.join("; ") }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Generation, InstanceId};

    const CLEAN: EarlierLife = EarlierLife { pointer: 0, manifests: 0, backups: 0 };

    fn owner(origin: Origin) -> Ownership {
        Ownership {
            cluster: "c".into(),
            generation: Generation(1),
            owner: InstanceId::parse("i-1").unwrap(),
            owner_address: "10.0.0.1".into(),
            origin,
            opened_at: "2026-11-20T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn an_empty_start_needs_proof_and_permission() {
        assert_eq!(empty_start(&CLEAN, None, true), Ok(()));
        assert_eq!(empty_start(&CLEAN, Some(&owner(Origin::Empty)), true), Ok(()));
        assert!(empty_start(&CLEAN, None, false).is_err());
    }

    #[test]
    fn any_trace_of_an_earlier_life_forbids_an_empty_start_whatever_is_permitted() {
        for life in [
            EarlierLife { pointer: 1, ..CLEAN },
            EarlierLife { manifests: 1, ..CLEAN },
            EarlierLife { backups: 1, ..CLEAN },
        ] {
            assert!(empty_start(&life, None, true).is_err(), "{life:?}");
        }
        let restored = owner(Origin::Restored { backup_id: BackupId::parse("b").unwrap(), sequence: None });
        assert!(empty_start(&CLEAN, Some(&restored), true).is_err());
    }

    #[test]
    fn a_backup_named_by_a_person_is_never_replaced_by_another() {
        let id = BackupId::parse("b").unwrap();
        assert_eq!(candidate(Some(&id), None), Candidate::Requested(id.clone()));
        assert_eq!(candidate(None, None), Candidate::Nothing);
    }
}
