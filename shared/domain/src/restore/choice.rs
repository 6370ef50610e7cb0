//! What a replacement starts from.

use jiff::Timestamp;

use crate::ids::{BackupId, Generation};
use crate::ownership::{Origin, Ownership};
use crate::pointer::Pointer;

use super::Refusal;
use super::run::PassedOver;

/// What to look at next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// The backup that a person named, and no other.
    Requested(BackupId),
    /// The backup that the pointer names.
    Pointed,
    /// The backup that the pointer named before.
    Previous(BackupId),
    /// The [`newest`] of what the manifests say.
    Newest,
    /// No pointer: nothing, if that is proven and permitted.
    Nothing,
    /// Nothing that may be restored is left.
    Exhausted,
}

/// Which candidate a replacement looks at next, after those that it passed over (DESIGN §6 step 2, R12).
///
/// A backup asked for by a person is never replaced by another. Neither is the one that a person rolled back to: what
/// the pointer named before is what the rollback was from.
pub fn candidate(
    requested: Option<&BackupId>,
    pointer: Option<&Pointer>,
    passed_over: &[PassedOver],
    fall_back: bool,
) -> Candidate {
    let tried = |id: &BackupId| passed_over.iter().any(|p| &p.backup_id == id);
    match (requested, pointer) {
        (Some(id), _) if tried(id) => Candidate::Exhausted,
        (Some(id), _) => Candidate::Requested(id.clone()),
        (None, None) => Candidate::Nothing,
        (None, Some(pointer)) if !tried(&pointer.backup_id) => Candidate::Pointed,
        (None, Some(pointer)) if !fall_back || pointer.flips_stopped.is_some() => Candidate::Exhausted,
        (None, Some(pointer)) => match &pointer.previous {
            Some(previous) if !tried(&previous.backup_id) => Candidate::Previous(previous.backup_id.clone()),
            Some(_) | None => Candidate::Newest,
        },
    }
}

/// A verified backup, as its manifest and its evidence say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The backup.
    pub backup_id: BackupId,
    /// The generation of the node that it was taken from.
    pub generation: Generation,
    /// Its recovery point.
    pub data_as_of: Timestamp,
    /// Whether the guard passed it, or a person waived the guard.
    pub published: bool,
}

/// The one to fall back to: published, of the highest generation, the newest of it. Excluded, tombstoned and deleted ones
/// are not to be among `known`.
pub fn newest<'k>(known: &'k [Known], passed_over: &[PassedOver]) -> Option<&'k Known> {
    known
        .iter()
        .filter(|k| k.published && passed_over.iter().all(|p| p.backup_id != k.backup_id))
        .max_by_key(|k| (k.generation, k.data_as_of, k.backup_id.as_str()))
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
    use crate::ids::{InstanceId, Sequence};
    use crate::pointer::{FlipsStopped, Previous};

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

    fn id(text: &str) -> BackupId {
        BackupId::parse(text).unwrap()
    }

    fn passed(ids: &[&str]) -> Vec<PassedOver> {
        ids.iter().map(|id| PassedOver { backup_id: self::id(id), why: "it fails T0".into() }).collect()
    }

    fn pointer(previous: Option<&str>) -> Pointer {
        let mut pointer = super::super::tests::pointer("b_2", 4);
        let before = |backup_id: &str| Previous { sequence: Sequence(3), backup_id: id(backup_id) };
        pointer.previous = previous.map(before);
        pointer
    }

    #[test]
    fn a_backup_named_by_a_person_is_never_replaced_by_another() {
        let wished = id("b");
        let pointer = pointer(Some("b_1"));
        assert_eq!(candidate(Some(&wished), Some(&pointer), &[], true), Candidate::Requested(wished.clone()));
        assert_eq!(candidate(Some(&wished), Some(&pointer), &passed(&["b"]), true), Candidate::Exhausted);
        assert_eq!(candidate(None, None, &[], true), Candidate::Nothing);
    }

    #[test]
    fn the_pointers_backup_comes_first_then_the_previous_one_then_the_newest() {
        let two = pointer(Some("b_1"));
        let next = |gone: &[&str]| candidate(None, Some(&two), &passed(gone), true);
        assert_eq!(next(&[]), Candidate::Pointed);
        assert_eq!(next(&["b_2"]), Candidate::Previous(id("b_1")));
        assert_eq!(next(&["b_2", "b_1"]), Candidate::Newest);
        assert_eq!(candidate(None, Some(&pointer(None)), &passed(&["b_2"]), true), Candidate::Newest);
        assert_eq!(candidate(None, Some(&two), &passed(&["b_2"]), false), Candidate::Exhausted, "by policy");
    }

    #[test]
    fn what_a_person_rolled_back_from_is_not_fallen_back_to() {
        let mut rolled_back = pointer(Some("bad"));
        rolled_back.flips_stopped =
            Some(FlipsStopped { by: "ada".into(), reason: "a bad import".into(), until_restored_from: id("b_2") });
        assert_eq!(candidate(None, Some(&rolled_back), &[], true), Candidate::Pointed);
        assert_eq!(candidate(None, Some(&rolled_back), &passed(&["b_2"]), true), Candidate::Exhausted);
    }

    #[test]
    fn of_the_others_only_a_published_one_is_taken_the_highest_generation_before_the_newest_date() {
        let known = |name: &str, generation: u64, hour: i64, published: bool| Known {
            backup_id: id(name),
            generation: Generation(generation),
            data_as_of: Timestamp::from_second(hour * 3600).unwrap(),
            published,
        };
        let all =
            [known("old", 1, 9, true), known("held", 2, 8, false), known("a", 2, 1, true), known("b", 2, 2, true)];
        let taken = |gone: &[&str]| newest(&all, &passed(gone)).map(|k| k.backup_id.to_string());
        assert_eq!(taken(&[]).as_deref(), Some("b"));
        assert_eq!(taken(&["b"]).as_deref(), Some("a"));
        assert_eq!(taken(&["b", "a"]).as_deref(), Some("old"));
        assert_eq!(taken(&["b", "a", "old"]), None);
    }
}
