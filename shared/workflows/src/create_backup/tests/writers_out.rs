//! Writers are shut out before the final backup, provably, and let in again; a backup that hangs makes way.

use lifeboat_domain::create::writers::Wanted;
use lifeboat_domain::expectations::compare::consistency;
use lifeboat_domain::manifest::Consistency;

use super::*;
use crate::ports::hosts::{HostDocument, TendOrder};
use crate::twins::CommandScript;

/// A seeded owner in service that holds the fixed address, open to everybody.
fn holding() -> (World, InstanceId) {
    let (world, instance) = serving();
    world.attach_address(&instance);
    world.set_address_groups(&[READER_GROUP, WRITER_GROUP]);
    (world, instance)
}

fn expectations(world: &World) -> Expectations {
    let id = record(world).open.and_then(|open| open.named).unwrap().backup_id;
    get(world, &Key::Expectations(id))
}

#[tokio::test]
async fn the_final_backup_is_counted_only_after_the_proof_that_writers_are_shut_out() {
    let (world, instance) = holding();
    world.replace(&instance);
    world.advance(MINUTE);
    let outcome = invoke(&world).await;
    assert_eq!(outcome.phase, Some(CreatePhase::Handed), "{outcome:?}");
    assert_eq!(world.address_groups(), [READER_GROUP]);
    assert!(world.node(&instance).is_read_only(), "1.38.11 lets GraphQL through");
    let writers = record(&world).writers.unwrap();
    assert_eq!(writers.groups_before.as_deref(), Some(&[READER_GROUP.to_owned(), WRITER_GROUP.to_owned()][..]));
    let expected = expectations(&world);
    let freeze = expected.freeze.clone().expect("the proof goes with the backup");
    assert_eq!(
        (freeze.groups.as_slice(), freeze.resets.times, freeze.read_only),
        (&[READER_GROUP.to_owned()][..], 2, true)
    );
    assert!(freeze.counts_apart_s >= 5);
    let after: ObservedAfter = get(&world, &Key::ObservedAfter(expected.backup_id.clone()));
    assert_eq!(consistency(&expected, &after), Consistency::Exact);
    let unproved = Expectations { freeze: None, ..expected };
    assert_eq!(consistency(&unproved, &after), Consistency::Live, "equal counts alone are no proof for a final backup");
}

#[tokio::test]
async fn a_writer_that_comes_in_between_two_counts_is_reset_and_counted_until_nothing_changes() {
    let (world, instance) = holding();
    world.replace(&instance);
    world.advance(MINUTE);
    let mut resets = 0;
    for _ in 0..200 {
        let outcome = invoke_for(&world, &Hint::Tick, Duration::ZERO).await.unwrap();
        if outcome.phase == Some(CreatePhase::Handed) {
            break;
        }
        let writers = record(&world).writers;
        let times = writers.as_ref().map_or(0, |w| w.resets.times);
        if times > resets && times < 4 {
            resets = times;
            let id = format!("00000000-0000-4000-8000-00000000000{times}");
            world.node(&instance).put("Note", None, &id, json!({}), &[]);
        }
        world.advance(Duration::from_secs(2));
    }
    let freeze = expectations(&world).freeze.unwrap();
    assert!(freeze.resets.times > 3, "{freeze:?}");
}

#[tokio::test]
async fn a_version_whose_read_only_would_refuse_the_evidence_is_shut_out_without_it() {
    let (world, instance) = holding();
    world.node(&instance).set(|s| s.version = "1.34.4".into());
    world.replace(&instance);
    world.advance(MINUTE);
    invoke(&world).await;
    assert!(!world.node(&instance).is_read_only());
    let freeze = expectations(&world).freeze.unwrap();
    assert!(!freeze.read_only);
}

#[tokio::test]
async fn without_a_proof_in_time_the_final_backup_is_taken_all_the_same_and_called_live() {
    let (world, instance) = holding();
    let order = HostDocument::Tend(TendOrder::ShutOut { read_only: true });
    for _ in 0..400 {
        world.script_command(order, CommandScript::Exit { code: 10, stderr: "no INET_DIAG_DESTROY".into() });
    }
    world.replace(&instance);
    world.advance(MINUTE);
    let mut attention = false;
    for _ in 0..3 {
        attention |= invoke(&world).await.attention;
    }
    let writers = record(&world).writers.unwrap();
    assert!(writers.gave_up.is_some() && attention, "{writers:?}");
    let expected = expectations(&world);
    assert_eq!(expected.freeze, None);
    let after: ObservedAfter = get(&world, &Key::ObservedAfter(expected.backup_id.clone()));
    assert_eq!(consistency(&expected, &after), Consistency::Live);
}

#[tokio::test]
async fn writers_are_let_in_again_when_the_owner_is_back_in_service() {
    let (world, instance) = holding();
    // As a replacement leaves it that was called off after the proof.
    let mut writers = lifeboat_domain::create::writers::Writers::new(instance.clone(), Wanted::Out, world.now());
    writers.step = lifeboat_domain::create::writers::Step::Done;
    let run = CreateRun { writers: Some(writers), ..record(&world) };
    put(&world, &Key::CurrentRun(Function::CreateBackup), &run);
    world.set_address_groups(&[READER_GROUP]);
    invoke(&world).await;
    assert_eq!(world.address_groups(), [READER_GROUP, WRITER_GROUP]);
    assert!(!world.node(&instance).is_read_only());
    assert_eq!(record(&world).writers, None);
}

#[tokio::test]
async fn a_backup_that_hangs_and_cannot_be_cancelled_makes_way_by_a_restart_of_the_container() {
    let (world, instance) = holding();
    world.node(&instance).faults(|f| (f.hang_create, f.wedge_create) = (true, true));
    mark(&world);
    let hung = until_asked(&world).await;
    world.node(&instance).faults(|f| f.hang_create = false);
    world.replace(&instance);
    world.advance(MINUTE);
    let mut outcome = invoke(&world).await;
    for _ in 0..5 {
        outcome = invoke(&world).await;
    }
    assert_eq!(outcome.phase, Some(CreatePhase::Handed), "{outcome:?}");
    let open = record(&world).open.unwrap();
    assert!(open.is_final && open.restart.is_some_and(|restart| restart.over), "{outcome:?}");
    assert_ne!(outcome.backup_id, Some(hung));
    assert!(expectations(&world).freeze.is_some(), "the restart comes back in the same mode");
    judge(&world, CloseOutcome::Published);
    invoke(&world).await;
    assert_eq!(record(&world).last.unwrap().outcome, CloseOutcome::Published);
}
