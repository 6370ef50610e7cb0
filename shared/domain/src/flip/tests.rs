use std::collections::BTreeMap;

use super::*;
use crate::document::decode;
use crate::ids::InstanceId;
use crate::manifest::GuardDecision;
use crate::ownership::Origin;
use crate::verify::sample::{at, id, proof};

const CLUSTER: &str = "c";

/// A cluster's pointer and ownership, changed only by decisions.
#[derive(Debug, Clone)]
struct State {
    pointer: Option<Pointer>,
    ownership: Option<Ownership>,
    proofs: BTreeMap<BackupId, VerifiedManifest>,
}

fn owner(generation: u64, origin: Origin) -> Ownership {
    Ownership {
        cluster: CLUSTER.into(),
        generation: Generation(generation),
        owner: InstanceId::parse("i-0a").unwrap(),
        owner_address: "127.16.0.2".into(),
        origin,
        opened_at: at(0),
    }
}

fn restored(backup: &str) -> Origin {
    Origin::Restored { backup_id: id(backup), sequence: None }
}

const BOSS: Asked<'static> = Asked { request: "r1", by: "ann", reason: "bad import" };

impl State {
    fn new() -> Self {
        Self { pointer: None, ownership: Some(owner(1, Origin::Empty)), proofs: BTreeMap::new() }
    }

    fn knows(mut self, name: &str, generation: u64, as_of: i64, objects: u64) -> Self {
        self.proofs.insert(id(name), proof(name, generation, as_of, &[("Article", objects)]));
        self
    }

    fn world(&self) -> World<'_> {
        World {
            cluster: CLUSTER,
            pointer: self.pointer.as_ref(),
            ownership: self.ownership.as_ref(),
            baseline: self.pointer.as_ref().and_then(|p| self.proofs.get(&p.backup_id)),
        }
    }

    fn candidate(&self, name: &str) -> Candidate {
        let proof = &self.proofs[&id(name)];
        Candidate::of(proof.expectations(), proof.observed_after())
    }

    fn decide(&self, name: &str) -> Decision {
        decide(&self.candidate(name), &self.world(), Limits::default())
    }

    /// Writes a decided flip.
    fn write(&mut self, decision: Decision) -> &Pointer {
        let Decision::Flip(flip) = decision else { panic!("not a flip: {decision:?}") };
        self.pointer = Some(flip.compose(&self.proofs[flip.backup_id()], CLUSTER, at(9999)).unwrap());
        self.pointer.as_ref().unwrap()
    }

    fn flipped(mut self, name: &str) -> Self {
        let decision = self.decide(name);
        self.write(decision);
        self
    }
}

fn texts(decision: &Decision) -> String {
    match decision {
        Decision::Hold { reasons } => reasons.iter().map(ToString::to_string).collect(),
        Decision::Refuse { reasons } => reasons.iter().map(ToString::to_string).collect(),
        Decision::Wait(reason) => reason.to_string(),
        Decision::Flip(_) | Decision::AlreadyPublished => format!("{decision:?}"),
    }
}

#[test]
fn the_first_backup_is_sequence_one_and_each_later_one_the_next_naming_what_it_replaced() {
    let state = State::new().knows("a", 1, 10, 100).knows("b", 1, 20, 100).flipped("a");
    let pointer = state.pointer.clone().unwrap();
    assert_eq!((pointer.sequence, pointer.generation, pointer.previous), (Sequence(1), Generation(1), None));
    assert_eq!((pointer.data_as_of, pointer.totals.objects), (at(10), 100));
    let state = state.flipped("b");
    let pointer = state.pointer.unwrap();
    assert_eq!(pointer.sequence, Sequence(2));
    assert_eq!(pointer.previous.unwrap(), Previous { sequence: Sequence(1), backup_id: id("a") });
    assert_eq!(pointer.overridden, None);
}

#[test]
fn the_guard_refuses_by_name_what_would_move_the_pointer_back() {
    let base = || State::new().knows("a", 1, 10, 100).knows("b", 1, 20, 100).flipped("b");
    let stopped = FlipsStopped { by: "ann".into(), reason: "bad".into(), until_restored_from: id("b") };
    type Change = Box<dyn Fn(&mut State)>;
    let cases: Vec<(&str, &str, Change)> = vec![
        ("a", "its data is as of", Box::new(|_| {})),
        ("same", "its data is as of", Box::new(|s| *s = s.clone().knows("same", 1, 20, 100))),
        (
            "late",
            "the data is owned by generation 2",
            Box::new(|s| {
                *s = s.clone().knows("late", 1, 30, 100);
                s.ownership = Some(owner(2, restored("b")));
            }),
        ),
        (
            "next",
            "the pointer stands for generation 3",
            Box::new(|s| {
                *s = s.clone().knows("next", 1, 30, 100);
                s.pointer.as_mut().unwrap().generation = Generation(3);
            }),
        ),
        ("new", "the data is owned by generation 1", Box::new(|s| *s = s.clone().knows("new", 2, 30, 100))),
        (
            "next",
            "ann stopped flips",
            Box::new(move |s| {
                *s = s.clone().knows("next", 1, 30, 100);
                s.pointer.as_mut().unwrap().flips_stopped = Some(stopped.clone());
            }),
        ),
        ("none", "its expectations are empty", Box::new(|s| *s = s.clone().knows("none", 1, 30, 0))),
        (
            "next",
            "the pointer is of cluster",
            Box::new(|s| {
                *s = s.clone().knows("next", 1, 30, 100);
                s.pointer.as_mut().unwrap().cluster = "other".into();
            }),
        ),
        (
            "next",
            "ownership.json is of cluster",
            Box::new(|s| {
                *s = s.clone().knows("next", 1, 30, 100);
                s.ownership.as_mut().unwrap().cluster = "other".into();
            }),
        ),
    ];
    for (name, says, change) in cases {
        let mut state = base();
        change(&mut state);
        let decision = state.decide(name);
        assert!(matches!(decision, Decision::Refuse { .. }), "{says}: {decision:?}");
        assert!(texts(&decision).contains(says), "{says}: {}", texts(&decision));
        assert!(matches!(decision.recorded(), Some(GuardDecision::Refuse { .. })));
    }
}

#[test]
fn nothing_is_decided_while_nobody_owns_the_data() {
    let mut state = State::new().knows("a", 1, 10, 100);
    state.ownership = None;
    let decision = state.decide("a");
    assert!(matches!(decision, Decision::Wait(WaitReason::NoOwnership)));
    assert_eq!(decision.recorded(), None);
}

#[test]
fn what_the_pointer_names_or_named_just_before_is_published_already() {
    let state = State::new().knows("a", 1, 10, 100).knows("b", 1, 20, 100).flipped("a");
    assert_eq!(state.decide("a"), Decision::AlreadyPublished);
    let state = state.flipped("b");
    assert_eq!(state.decide("a"), Decision::AlreadyPublished);
    assert_eq!(state.decide("b"), Decision::AlreadyPublished);
}

#[test]
fn a_backup_that_shrank_is_held_and_one_at_the_limit_is_not() {
    let base = State::new().knows("a", 1, 10, 1000).flipped("a");
    for (objects, held) in [(1000, false), (900, false), (899, true), (1, true), (2000, false)] {
        let state = base.clone().knows("b", 1, 20, objects);
        let decision = state.decide("b");
        assert_eq!(matches!(decision, Decision::Hold { .. }), held, "{objects}: {decision:?}");
    }
    let mut state = base;
    state.proofs.insert(id("b"), proof("b", 1, 20, &[("Other", 1000)]));
    let decision = state.decide("b");
    assert!(texts(&decision).contains("[\"Article\"]"), "{}", texts(&decision));
}

#[test]
fn approval_waives_a_hold_and_nothing_else_and_names_both_backups() {
    let state = State::new().knows("a", 1, 10, 1000).knows("b", 1, 20, 5).flipped("a");
    assert!(matches!(state.decide("b"), Decision::Hold { .. }));
    let mut approved = state.clone();
    let decision = approve(&state.candidate("b"), &state.world(), BOSS);
    let overridden = approved.write(decision).overridden.clone().unwrap();
    assert_eq!((overridden.by.as_str(), overridden.reason.as_str()), ("ann", "bad import"));
    assert_eq!((overridden.replaces, overridden.chosen), (Some(id("a")), id("b")));
    assert_eq!(approved.pointer.as_ref().unwrap().published_by, "flip-manifest for request r1");

    let mut late = state;
    late.ownership = Some(owner(2, restored("a")));
    let decision = approve(&late.candidate("b"), &late.world(), BOSS);
    assert!(texts(&decision).contains("owned by generation 2"), "{decision:?}");
    assert_eq!(approve(&approved.candidate("b"), &approved.world(), BOSS), Decision::AlreadyPublished);
}

#[test]
fn a_rollback_rises_in_sequence_stops_flips_and_its_gate_lifts_the_stop() {
    let mut state = State::new().knows("a", 1, 10, 100).knows("b", 1, 20, 100).flipped("a").flipped("b");
    let decision = rollback(&state.candidate("a"), &state.world(), BOSS);
    let pointer = state.write(decision).clone();
    assert_eq!((pointer.sequence, pointer.backup_id.clone()), (Sequence(3), id("a")));
    assert_eq!(pointer.flips_stopped.unwrap().until_restored_from, id("a"));
    assert_eq!(pointer.overridden.unwrap().replaces, Some(id("b")));

    // The schedule's next backup of the bad node changes nothing.
    state = state.knows("c", 1, 30, 100);
    assert!(texts(&state.decide("c")).contains("ann stopped flips"));
    assert!(texts(&approve(&state.candidate("c"), &state.world(), BOSS)).contains("lifeboat resume flips"));

    // Another node's gate does not lift it, the one restored from it does.
    let mut other = state.clone();
    other.ownership = Some(owner(2, restored("b")));
    let decision = restamp(&other.world());
    assert!(other.write(decision).flips_stopped.is_some());
    state.ownership = Some(owner(2, restored("a")));
    let decision = restamp(&state.world());
    let pointer = state.write(decision).clone();
    assert_eq!((pointer.sequence, pointer.generation), (Sequence(4), Generation(2)));
    assert_eq!((pointer.flips_stopped, pointer.overridden), (None, None));
    state = state.knows("d", 2, 40, 100).flipped("d");
    assert_eq!(state.pointer.unwrap().sequence, Sequence(5));
}

#[test]
fn a_rollback_to_an_older_lineage_keeps_the_pointers_generation() {
    let mut state = State::new().knows("a", 1, 10, 100).flipped("a").knows("b", 2, 20, 100);
    state.ownership = Some(owner(2, restored("a")));
    let decision = restamp(&state.world());
    state.write(decision);
    state = state.flipped("b");
    let decision = rollback(&state.candidate("a"), &state.world(), BOSS);
    assert_eq!(state.write(decision).generation, Generation(2));
}

#[test]
fn a_rollback_needs_a_pointer_another_backup_and_something_in_it() {
    let state = State::new().knows("a", 1, 10, 100);
    let refused = |state: &State, name: &str| texts(&rollback(&state.candidate(name), &state.world(), BOSS));
    assert!(refused(&state, "a").contains("nothing was ever published"));
    let state = state.flipped("a").knows("none", 1, 5, 0);
    assert!(refused(&state, "a").contains("names it already"));
    assert!(refused(&state, "none").contains("expectations are empty"));
}

#[test]
fn resume_lifts_a_stop_once_and_is_refused_without_one() {
    let mut state = State::new().knows("a", 1, 10, 100).knows("b", 1, 20, 100).flipped("a").flipped("b");
    let decision = rollback(&state.candidate("a"), &state.world(), BOSS);
    state.write(decision);
    let decision = resume(&state.world(), BOSS);
    let pointer = state.write(decision).clone();
    assert_eq!((pointer.flips_stopped, pointer.backup_id, pointer.sequence), (None, id("a"), Sequence(4)));
    assert!(texts(&resume(&state.world(), BOSS)).contains("flips are not stopped"));
    assert!(texts(&resume(&State::new().world(), BOSS)).contains("nothing was ever published"));
}

#[test]
fn a_gate_restamps_the_same_backup_or_records_why_it_is_another() {
    let mut state = State::new().knows("a", 1, 10, 100).knows("b", 1, 20, 100).flipped("a").flipped("b");
    assert_eq!(gate(&state.world()), Gate::NotDue);
    state.ownership = Some(owner(2, restored("b")));
    assert_eq!(gate(&state.world()), Gate::Due { backup_id: id("b") });
    let mut fallback = state.clone();
    let decision = restamp(&state.world());
    let pointer = state.write(decision).clone();
    assert_eq!((pointer.overridden, pointer.previous.unwrap().backup_id), (None, id("a")));
    assert_eq!(gate(&state.world()), Gate::NotDue, "a second time there is nothing to do");

    fallback.ownership = Some(owner(2, restored("a")));
    let decision = restamp(&fallback.world());
    let pointer = fallback.write(decision).clone();
    let overridden = pointer.overridden.unwrap();
    assert_eq!((overridden.replaces, overridden.chosen), (Some(id("b")), id("a")));
    assert_eq!((pointer.backup_id, pointer.generation), (id("a"), Generation(2)));
    fallback = fallback.knows("late", 1, 30, 100);
    assert!(texts(&fallback.decide("late")).contains("owned by generation 2"));
}

#[test]
fn an_owner_that_started_empty_or_without_a_record_restamps_nothing() {
    let mut state = State::new().knows("a", 1, 10, 100).flipped("a");
    state.ownership = Some(owner(2, Origin::Empty));
    assert_eq!(gate(&state.world()), Gate::NotDue);
    state.ownership = None;
    assert_eq!(gate(&state.world()), Gate::NotDue);
    assert_eq!(restamp(&state.world()), Decision::AlreadyPublished);
}

#[test]
fn the_lower_count_of_a_live_backup_is_what_it_surely_has() {
    use crate::expectations::AfterObservation;
    let proof = proof("a", 1, 10, &[("Article", 100), ("Note", 10)]);
    let mut observed = proof.observed_after().clone();
    if let AfterObservation::Node { counts, .. } = &mut observed.observation {
        *counts = BTreeMap::from([("Article".to_owned(), 40), ("Other".to_owned(), 9)]);
    }
    assert_eq!(Candidate::of(proof.expectations(), &observed).objects, 40);
    observed.observation = AfterObservation::NodeGone { proof: "gone".into() };
    assert_eq!(Candidate::of(proof.expectations(), &observed).objects, 110);
}

#[test]
fn a_pointer_is_composed_only_from_proof_of_its_own_backup_and_stays_small_whatever_people_write() {
    let state = State::new().knows("a", 1, 10, 100).knows("b", 1, 20, 100).flipped("a");
    let Decision::Flip(flip) = state.decide("b") else { panic!() };
    let refused = flip.compose(&state.proofs[&id("a")], CLUSTER, at(1));
    assert!(matches!(refused, Err(ComposeError::OtherBackup { .. })));
    assert!(matches!(flip.compose(&state.proofs[&id("b")], "x", at(1)), Err(ComposeError::OtherCluster { .. })));

    for text in ["ä".repeat(9000), "\"\\".repeat(9000), "\u{1}\n".repeat(9000)] {
        let asked = Asked { request: "r", by: &text, reason: &text };
        let Decision::Flip(flip) = rollback(&state.candidate("b"), &state.world(), asked) else { panic!() };
        let pointer = flip.compose(&state.proofs[&id("b")], CLUSTER, at(1)).unwrap();
        let bytes = encode(&pointer);
        assert!(bytes.len() as u64 <= POINTER_BYTES_MAX, "{}", bytes.len());
        assert_eq!(decode::<Pointer>("k", &bytes).unwrap(), pointer);
    }
}

/// Whatever happens in whatever order, the pointer rises in sequence and never falls in lineage; it goes back in data
/// only with a recorded override; and a decision applied is not decided again.
#[test]
fn over_random_histories_the_pointer_never_goes_back_by_itself() {
    for seed in 0..60u64 {
        let mut random = seed.wrapping_mul(2).wrapping_add(1);
        let mut pick = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        let mut state = State::new();
        let mut names: Vec<String> = Vec::new();
        for step in 0..40i64 {
            if pick(3) == 0 || names.is_empty() {
                let name = format!("b{step}");
                let generation = state.ownership.as_ref().unwrap().generation.0.saturating_sub(pick(2)).max(1);
                let as_of = step * 10 - i64::try_from(pick(60)).unwrap();
                state = state.knows(&name, generation, as_of, 90 + pick(20));
                names.push(name);
            }
            let name = names[usize::try_from(pick(names.len() as u64)).unwrap()].clone();
            let before = state.pointer.clone();
            let decision = match pick(8) {
                0 => rollback(&state.candidate(&name), &state.world(), BOSS),
                1 => approve(&state.candidate(&name), &state.world(), BOSS),
                2 => resume(&state.world(), BOSS),
                3 => {
                    if gate(&state.world()) == Gate::NotDue {
                        let next = state.ownership.as_ref().unwrap().generation.0 + 1;
                        state.ownership = Some(owner(next, restored(&name)));
                    }
                    restamp(&state.world())
                }
                _ => state.decide(&name),
            };
            let Decision::Flip(flip) = decision else { continue };
            let automatic = flip.published_by == "flip-manifest";
            let written = state.write(Decision::Flip(flip)).clone();
            let context = format!("seed {seed} step {step}: {before:?} -> {written:?}");
            assert_eq!(written.sequence.0, before.as_ref().map_or(0, |p| p.sequence.0) + 1, "{context}");
            if let Some(before) = &before {
                assert!(written.generation >= before.generation, "{context}");
                assert!(written.data_as_of >= before.data_as_of || written.overridden.is_some(), "{context}");
                if automatic {
                    assert!(written.data_as_of > before.data_as_of, "{context}");
                    assert!(before.flips_stopped.is_none(), "{context}");
                }
            }
            if automatic {
                assert_eq!(written.generation, state.ownership.as_ref().unwrap().generation, "{context}");
                assert_eq!(state.decide(written.backup_id.as_str()), Decision::AlreadyPublished, "{context}");
            }
        }
    }
}
