use proptest::prelude::*;

use super::*;

#[test]
fn only_a_marker_that_is_not_strictly_older_than_a_verdict_is_owed() {
    let world = World::new(covered(90));
    for (minute, owed) in [(89, false), (90, true), (91, true)] {
        let decision = world.wishes(Some(minute), &[]);
        assert_eq!(
            matches!(&decision, Decision::Open { trigger: Trigger::Marker { .. }, attempt: 1, .. }),
            owed,
            "{decision:?}"
        );
    }
    assert_eq!(world.wishes(None, &[]), Decision::Idle(IdleReason::NothingOwed { due_at: at(150) }));
}

#[test]
fn a_held_backup_covers_what_asked_for_it_so_it_is_not_taken_over_and_over() {
    let mut run = covered(10);
    run.attempted_through = Some(at(95));
    let world = World::new(run);
    assert_eq!(idle_code(&world.wishes(Some(94), &[94])), "nothing_owed");
}

#[test]
fn the_schedule_asks_when_the_newest_backup_is_an_interval_old_or_there_is_none() {
    let schedule = |run| matches!(World::new(run).wishes(None, &[]), Decision::Open { trigger: Trigger::Schedule, .. });
    assert!(schedule(CreateRun::default()));
    assert!(schedule(covered(40)));
    assert!(!schedule(covered(41)));
}

#[test]
fn a_request_is_acted_upon_once_and_does_not_wait_for_an_older_failure() {
    let world = World::new(failed(3, 99, false));
    let decision = world.wishes(Some(95), &[96, 97]);
    let Decision::Open { trigger: Trigger::Request { id, .. }, attempt: 1, requests, is_final: false } = decision
    else {
        panic!("{decision:?}")
    };
    assert_eq!((id.as_str(), requests.as_slice()), ("r96", &["r96".to_owned(), "r97".to_owned()][..]));
    let mut again = World::new(failed(3, 99, false));
    again.run.handled_requests = requests;
    assert_eq!(idle_code(&again.wishes(None, &[96, 97])), "paced");
}

#[test]
fn failed_tries_are_paced_then_slow_and_loud_and_never_stop() {
    for (attempts, pause_minutes, exhausted) in
        [(1, 1, false), (2, 5, false), (3, 15, false), (4, 60, true), (9, 60, true)]
    {
        let mut world = World::new(failed(attempts, 100, false));
        world.now = at(100 + pause_minutes) - jiff::SignedDuration::from_secs(1);
        let Decision::Idle(reason) = world.wishes(Some(99), &[]) else { panic!("{attempts}") };
        assert_eq!(
            (idle_code(&Decision::Idle(reason.clone())).as_str(), reason.needs_attention()),
            ("paced", exhausted)
        );
        world.now = at(100 + pause_minutes);
        assert!(matches!(world.wishes(Some(99), &[]), Decision::Open { attempt, .. } if attempt == attempts + 1));
    }
}

#[test]
fn a_failed_try_is_owed_still_when_nobody_asks_any_more() {
    let mut world = World::new(failed(1, 98, false));
    world.run.owed = Some(Trigger::Request { id: "r".into(), by: "ann".into() });
    assert!(matches!(world.wishes(None, &[]), Decision::Open { trigger: Trigger::Request { .. }, attempt: 2, .. }));
}

#[test]
fn another_owners_failures_and_debts_are_not_this_ones() {
    let mut world = World::new(failed(4, 100, true));
    world.run.last.as_mut().unwrap().instance = instance("i-0b");
    assert_eq!(idle_code(&world.wishes(None, &[])), "nothing_owed");
    assert!(matches!(world.wishes(Some(95), &[]), Decision::Open { attempt: 1, .. }));
}

#[test]
fn nothing_is_opened_for_anybody_but_the_owner_in_service_or_under_its_terminate_hook() {
    let mut world = World::new(CreateRun::default());
    for member in [
        MemberState::Elsewhere("Pending:Wait".into()),
        MemberState::Elsewhere("Terminating:Retained".into()),
        MemberState::Gone,
    ] {
        world.member = member;
        assert_eq!(idle_code(&world.wishes(Some(99), &[99])), "not_the_owner");
    }
    world.ownership = None;
    assert_eq!(idle_code(&world.wishes(Some(99), &[99])), "no_owner");
}

#[test]
fn an_owner_under_its_hook_gets_one_final_backup() {
    let mut world = World::new(covered(99));
    world.member = MemberState::Leaving;
    assert!(matches!(
        world.wishes(None, &[]),
        Decision::Open { is_final: true, attempt: 1, trigger: Trigger::Terminate { .. }, .. }
    ));
    for outcome in [CloseOutcome::Published, CloseOutcome::Held, CloseOutcome::Refused, CloseOutcome::NothingToProtect]
    {
        world.run = failed(0, 99, true);
        world.run.last.as_mut().unwrap().outcome = outcome;
        assert_eq!(idle_code(&world.wishes(Some(99), &[])), "final_taken");
        assert_eq!(
            final_backup(&world.run, &instance(OWNER), &policy()),
            FinalBackup::Taken { backup_id: None, outcome }
        );
    }
    world.run = failed(4, 99, false);
    assert!(
        matches!(world.wishes(None, &[]), Decision::Open { is_final: true, attempt: 1, .. }),
        "ordinary failures do not count"
    );
}

#[test]
fn a_final_backup_is_tried_again_until_its_tries_are_used_up_and_then_only_when_asked() {
    let mut world = World::new(failed(1, 99, true));
    world.member = MemberState::Leaving;
    assert!(matches!(world.wishes(None, &[]), Decision::Open { is_final: true, attempt: 2, .. }));
    assert_eq!(final_backup(&world.run, &instance(OWNER), &policy()), FinalBackup::NotYet);
    world.run.failed_attempts = 4;
    world.now = at(100_000);
    let Decision::Idle(reason) = world.wishes(Some(99), &[]) else { panic!() };
    assert!(reason.needs_attention() && reason.to_string().starts_with("final_failed"));
    assert!(matches!(final_backup(&world.run, &instance(OWNER), &policy()), FinalBackup::Failed { .. }));
    assert!(matches!(world.wishes(None, &[99]), Decision::Open { is_final: true, attempt: 1, .. }));
}

proptest! {
    /// Markers in any order, some again, each turn some minutes later: the number of backups never exceeds the number
    /// of turns in which a new marker came, and in the end every marker is strictly older than a backup's date.
    #[test]
    fn however_many_markers_come_all_are_covered_and_no_backup_is_taken_for_nothing(turns in prop::collection::vec(prop::option::of(0_i64..3), 1..20)) {
        let mut world = World::new(covered(0));
        let (mut newest, mut due, mut taken) = (None, 0, 0);
        for (turn, marker) in turns.iter().chain([&None]).enumerate() {
            let now = i64::try_from(turn).unwrap() * 10 + 5;
            world.now = at(now);
            if let Some(earlier) = marker {
                newest = newest.max(Some(now - earlier));
                due += 1;
            }
            if let Decision::Open { trigger, is_final, attempt, requests } = world.wishes(newest, &[]) {
                if matches!(trigger, Trigger::Marker { .. }) { taken += 1 } else { due += 1; taken += 1 }
                let run = opened(&world.run, &ownership(), trigger, is_final, attempt, &requests, world.now);
                let name = NamedBackup { backup_id: BackupId::parse("b").unwrap(), recorded_at: at(now + 1) };
                world.run = closed(&named(&run, name), &CloseReason::Published, at(now + 2));
            }
        }
        prop_assert!(taken <= due);
        prop_assert!(newest.is_none_or(|newest| world.run.covered_through > Some(at(newest))));
    }
}
