use proptest::prelude::*;

use super::*;

#[test]
fn the_id_is_minted_from_a_date_that_is_later_than_the_marker_and_was_never_used() {
    let mut world = World::new(open(CreatePhase::Opened));
    world.now = at(99);
    world.run.open.as_mut().unwrap().opened_at = at(99);
    for (marker, restamp) in [(None, false), (Some(98), false), (Some(99), true), (Some(100), true)] {
        assert_eq!(world.decide(Seen::Trigger(marker.map(at))) == Decision::Restamp, restamp, "{marker:?}");
    }
    let Decision::Name(name) = world.decide(Seen::Trigger(None)) else { panic!() };
    assert_eq!(name.recorded_at, at(99));
    world.now = at(100);
    assert!(matches!(world.decide(Seen::Trigger(Some(at(100)))), Decision::Name(_)), "not put off for ever");
    let mut last = failed(1, 99, false).last.unwrap();
    last.backup_id = Some(name.backup_id);
    world.run.last = Some(last);
    assert_eq!(world.decide(Seen::Trigger(None)), Decision::Restamp);
}

#[test]
fn before_weaviate_is_asked_a_lost_right_ends_the_try() {
    for phase in [CreatePhase::Opened, CreatePhase::Named] {
        let seen = || {
            if phase == CreatePhase::Opened { Seen::Trigger(None) } else { Seen::Before(Before::Read { empty: false }) }
        };
        let mut world = World::new(open(phase));
        world.member = MemberState::Gone;
        assert_eq!(close_code(&world.decide(seen())), "node_gone");
        world.member = MemberState::Leaving;
        assert_eq!(close_code(&world.decide(seen())), "preempted");
        world.member = MemberState::Elsewhere("Standby".into());
        assert!(matches!(world.decide(seen()), Decision::Wait(WaitReason::Elsewhere { .. })));
        world.now = at(130);
        assert_eq!(close_code(&world.decide(seen())), "not_the_owner");
        world.member = MemberState::InService;
        world.ownership.as_mut().unwrap().generation = Generation(3);
        assert_eq!(close_code(&world.decide(seen())), "not_the_owner");
    }
}

#[test]
fn weaviate_is_asked_only_with_recorded_expectations_of_this_very_backup() {
    let world = World::new(open(CreatePhase::Named));
    let mut recorded = expectations();
    assert_eq!(world.decide(Seen::Before(Before::Read { empty: false })), Decision::RecordExpectations);
    assert_eq!(world.decide(Seen::Before(Before::Recorded(&recorded))), Decision::Ask);
    recorded.generation = Generation(1);
    assert_eq!(close_code(&world.decide(Seen::Before(Before::Recorded(&recorded)))), "foreign_expectations");
    assert_eq!(close_code(&world.decide(Seen::Before(Before::Read { empty: true }))), "nothing_to_protect");
    let silent = || Seen::Before(Before::Silent("x".into()));
    assert!(matches!(world.decide(silent()), Decision::Wait(WaitReason::Evidence { overdue: false, .. })));
    let late = World { now: at(130), ..world };
    assert_eq!(close_code(&late.decide(silent())), "evidence_unreadable");
}

#[test]
fn success_counts_only_when_the_bucket_says_so_with_every_class() {
    let expected = expectations();
    let world = asked(None);
    let both = || success(&["A", "B"]);
    let told = |stored, answer| world.decide(progress(stored, answer, &expected));
    assert_eq!(told(both(), status(OperationStatus::Success)), Decision::Save);
    assert_eq!(told(both(), Answer::Silent("x".into())), Decision::Save, "the node may have died since");
    assert_eq!(close_code(&told(success(&["A"]), status(OperationStatus::Success))), "narrowed");
    assert_eq!(close_code(&told(both(), status(OperationStatus::Failed))), "contradiction");
    assert_eq!(close_code(&told(Stored::Failed("x".into()), status(OperationStatus::Success))), "failed");
    for stored in [Stored::Absent, Stored::Running, Stored::Unreadable("x".into())] {
        let decision = told(stored.clone(), status(OperationStatus::Success));
        assert!(matches!(decision, Decision::Wait(WaitReason::NotStoredYet { .. })), "{decision:?}");
        let late = World { now: at(130), ..asked(None) };
        assert_eq!(
            close_code(&late.decide(progress(stored, status(OperationStatus::Success), &expected))),
            "not_stored"
        );
    }
    assert_eq!(
        close_code(&world.decide(Seen::Progress {
            stored: both(),
            answer: Answer::NotFound,
            expected: None,
            gone: None
        })),
        "foreign_expectations"
    );
}

#[test]
fn an_unknown_or_missing_answer_is_waited_for_and_one_without_an_end_is_cancelled() {
    let expected = expectations();
    for answer in [
        status(OperationStatus::Started),
        status(OperationStatus::Unknown("DONE".into())),
        Answer::Silent("500".into()),
        Answer::Refused("401".into()),
    ] {
        let decision = asked(None).decide(progress(Stored::Running, answer.clone(), &expected));
        assert!(matches!(decision, Decision::Wait(_)), "{decision:?}");
        let late = World { now: at(129), ..asked(None) };
        assert_eq!(late.decide(progress(Stored::Running, answer, &expected)), Decision::Cancel(CancelCause::Stuck));
    }
}

#[test]
fn what_weaviate_knows_nothing_of_is_asked_for_again_under_the_same_id_until_it_is_late() {
    let expected = expectations();
    let seen = || progress(Stored::Absent, Answer::NotFound, &expected);
    assert_eq!(asked(None).decide(seen()), Decision::Post);
    assert_eq!(close_code(&World { now: at(129), ..asked(None) }.decide(seen())), "never_started");
    let mut moved = asked(None);
    moved.ownership.as_mut().unwrap().owner = instance("i-0b");
    assert_eq!(close_code(&moved.decide(seen())), "not_the_owner");
}

#[test]
fn a_cancel_ends_with_its_cause_also_when_weaviate_never_answers() {
    let expected = expectations();
    for (cause, code) in [
        (CancelCause::Stuck, "stuck"),
        (CancelCause::Preempted, "preempted"),
        (CancelCause::Narrowed { missing: vec!["B".into()] }, "narrowed"),
    ] {
        let mut world = asked(Some(cause));
        world.now = world.written_at;
        let running = || progress(Stored::Running, status(OperationStatus::Started), &expected);
        assert_eq!(world.decide(running()), Decision::CancelAgain);
        let canceled = progress(Stored::Running, status(OperationStatus::Canceled), &expected);
        assert_eq!(close_code(&world.decide(canceled)), code);
        world.now = world.written_at + jiff::SignedDuration::from_secs(30);
        assert_eq!(close_code(&world.decide(running())), code);
        let saved = world.decide(progress(success(&["A", "B"]), status(OperationStatus::Success), &expected));
        assert_eq!(
            saved == Decision::Save,
            code != "narrowed",
            "what succeeded all the same is kept, unless it lacks classes"
        );
    }
}

#[test]
fn a_node_that_is_gone_ends_the_try_before_success_and_not_after() {
    let expected = expectations();
    let gone = |stored| Seen::Progress {
        stored,
        answer: Answer::Silent("x".into()),
        expected: Some(&expected),
        gone: Some("gone".into()),
    };
    let mut world = asked(None);
    world.member = MemberState::Gone;
    assert_eq!(close_code(&world.decide(gone(Stored::Running))), "node_gone");
    assert_eq!(world.decide(gone(success(&["A", "B"]))), Decision::Save);
}

#[test]
fn a_leaving_owners_ordinary_backup_makes_way_in_every_phase_but_saved() {
    let expected = expectations();
    let leaving = |phase, seen| World { member: MemberState::Leaving, ..World::new(open(phase)) }.decide(seen);
    let running = progress(Stored::Running, status(OperationStatus::Started), &expected);
    assert_eq!(leaving(CreatePhase::Asked, running), Decision::Cancel(CancelCause::Preempted));
    let saved = progress(success(&["A", "B"]), status(OperationStatus::Success), &expected);
    assert_eq!(leaving(CreatePhase::Asked, saved), Decision::Save);
    assert_eq!(leaving(CreatePhase::Saved, Seen::After(After::Known)), Decision::RecordAfter);
    assert_eq!(close_code(&leaving(CreatePhase::Handed, Seen::Verdict(None))), "superseded");
}

#[test]
fn verification_has_a_deadline_and_every_verdict_its_end() {
    let world = World::new(open(CreatePhase::Handed));
    assert_eq!(world.decide(Seen::Verdict(None)), Decision::Wait(WaitReason::Verification));
    assert_eq!(
        close_code(&World { now: at(489), ..World::new(open(CreatePhase::Handed)) }.decide(Seen::Verdict(None))),
        "unverified"
    );
    for (outcome, code) in [
        (CloseOutcome::Published, "published"),
        (CloseOutcome::Held, "held"),
        (CloseOutcome::Refused, "refused"),
        (CloseOutcome::Failed, "verification_failed"),
    ] {
        let verdict = Some(Verdict { outcome, reasons: vec!["r".into()] });
        assert_eq!(close_code(&world.decide(Seen::Verdict(verdict))), code);
    }
}

#[test]
fn a_silent_node_after_success_is_waited_for_loudly_and_not_for_ever() {
    let silent = || Seen::After(After::Silent("x".into()));
    for (now, overdue) in [(100, false), (130, true)] {
        let Decision::Wait(reason) = (World { now: at(now), ..World::new(open(CreatePhase::Saved)) }).decide(silent())
        else {
            panic!()
        };
        assert_eq!(reason.needs_attention(), overdue);
    }
    assert_eq!(
        close_code(&World { now: at(489), ..World::new(open(CreatePhase::Saved)) }.decide(silent())),
        "after_unreadable"
    );
}

#[test]
fn the_answer_to_the_request_is_ours_busy_or_a_refusal() {
    let include = ["A".to_owned(), "B".to_owned()];
    let answer = |answer| after_post("b_1", &include, answer);
    assert!(matches!(
        answer(PostAnswer::Accepted(vec!["B".into(), "A".into()])),
        Decision::Wait(WaitReason::Running { .. })
    ));
    assert_eq!(
        answer(PostAnswer::Accepted(vec!["A".into()])),
        Decision::Cancel(CancelCause::Narrowed { missing: vec!["B".into()] })
    );
    for ours in [
        "backup \"b_1\" already exists at \"s3://x\"",
        "backup b_1 already in progress",
        "check if backup \"b_1\" exists at \"s3://x\": %!w(<nil>)",
    ] {
        assert!(
            matches!(answer(PostAnswer::Refused(ours.into())), Decision::Wait(WaitReason::Running { .. })),
            "{ours}"
        );
    }
    for busy in ["backup other already in progress", "backup blocked: runtime-reindex in flight on this shard"] {
        assert!(matches!(answer(PostAnswer::Refused(busy.into())), Decision::Wait(WaitReason::Busy { .. })), "{busy}");
    }
    for refusal in [
        "check if backup \"b_1\" exists at \"s3://x\": Access Denied",
        "class A doesn't exist",
        "no available classes to backup, there's nothing to do here",
    ] {
        assert_eq!(close_code(&answer(PostAnswer::Refused(refusal.into()))), "not_taken");
    }
    assert!(matches!(answer(PostAnswer::Silent("500".into())), Decision::Wait(WaitReason::Running { .. })));
}

#[test]
fn only_a_verdict_covers_and_only_a_failure_counts() {
    let run = open(CreatePhase::Handed);
    let published = closed(&run, &CloseReason::Published, at(100));
    assert_eq!((published.covered_through, published.attempted_through), (Some(at(98)), Some(at(98))));
    let held = closed(&run, &CloseReason::Held { reasons: vec![] }, at(100));
    assert_eq!((held.covered_through, held.attempted_through, held.owed), (Some(at(50)), Some(at(98)), None));
    let stuck = closed(&run, &CloseReason::Stuck, at(100));
    assert_eq!(
        (stuck.attempted_through, stuck.failed_attempts, stuck.owed),
        (Some(at(50)), 1, Some(Trigger::Schedule))
    );
    let way = closed(&run, &CloseReason::Superseded, at(100));
    assert_eq!((way.failed_attempts, way.owed), (0, Some(Trigger::Schedule)));
}

#[test]
fn a_descriptor_says_success_only_without_an_error_and_under_its_own_id() {
    let descriptor = |id: &str, status: &str, error: &str| -> GlobalDescriptor {
        serde_json::from_value(
            serde_json::json!({"id":id,"status":status,"error":error,"nodes":{"n":{"classes":["A"]}}}),
        )
        .unwrap()
    };
    assert_eq!(Stored::of("b", &descriptor("b", "SUCCESS", "")), success(&["A"]));
    assert!(matches!(Stored::of("b", &descriptor("b", "SUCCESS", "x")), Stored::Failed(_)));
    assert!(matches!(Stored::of("b", &descriptor("b", "CANCELED", "")), Stored::Failed(_)));
    assert!(matches!(Stored::of("b", &descriptor("c", "SUCCESS", "")), Stored::Unreadable(_)));
    for running in ["STARTED", "TRANSFERRED", "DONE"] {
        assert_eq!(Stored::of("b", &descriptor("b", running, "")), Stored::Running);
    }
}

proptest! {
    /// Whatever Weaviate says, a backup is never saved unless the bucket holds every class, and never a second id is
    /// asked for while one is open.
    #[test]
    fn no_answer_of_weaviate_alone_saves_a_backup(answer in 0_usize..9, stored in 0_usize..4, late in any::<bool>(), leaving in any::<bool>()) {
        let expected = expectations();
        let answers = ["STARTED", "SUCCESS", "FAILED", "CANCELED", "TRANSFERRING", "?"].map(|s| status(OperationStatus::parse(s)));
        let answer = answers.get(answer).cloned().unwrap_or(if answer == 6 { Answer::NotFound } else { Answer::Silent("x".into()) });
        let stored = [Stored::Absent, Stored::Running, success(&["A"]), Stored::Failed("x".into())][stored].clone();
        let mut world = asked(None);
        if late { world.now = at(200) }
        if leaving { world.member = MemberState::Leaving }
        let decision = world.decide(progress(stored, answer, &expected));
        prop_assert!(!matches!(decision, Decision::Save | Decision::Open { .. } | Decision::Hand), "{:?}", decision);
    }
}
