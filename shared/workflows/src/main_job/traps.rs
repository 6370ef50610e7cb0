//! Weaviate's own traps (facts: weaviate.md §3, §8), and what keeps a host from taking a restore.

use super::*;
use crate::twins::Failure;

/// A cluster with one published backup, whose node is about to be lost; what it held.
async fn protected() -> (World, InstanceId, BackupId, String) {
    let (world, first) = cluster().await;
    mark(&world, "wiki");
    let id = published(&world, 0).await.backup_id;
    let before = data(&world.node(&first));
    (world, first, id, before)
}

/// The instance whose restore Weaviate has accepted.
async fn under_way(world: &World) -> InstanceId {
    loop {
        let open = reached(world, Phase::Restoring).await;
        if open.restore_answered > 0 {
            return open.instance;
        }
        world.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn what_an_earlier_restore_left_is_archived_and_then_out_of_the_way() {
    // CANCELLING wedges the id for good; SUCCESS is easily believed; FAILED ends a restore that never was.
    for status in ["CANCELLING", "SUCCESS", "FAILED", "TRANSFERRING"] {
        let (world, first, id, before) = protected().await;
        let left = format!("{{\"id\": \"{id}\", \"status\": \"{status}\", \"error\": \"of another time\"}}");
        let key = format!("backups/{id}/restore_config.json");
        world.bucket().put_raw(&key, left.clone());
        world.kill(&first);
        let second = serving(&world, 2).await;
        assert_eq!(data(&world.node(&second)), before, "{status}");
        let archived = world.bucket().keys(&format!("manifests/{id}/evidence/leftover-"));
        let [archived] = &archived[..] else { panic!("{status}: {archived:?}") };
        assert_eq!(world.bucket().bytes(archived).as_deref(), Some(left.as_bytes()), "{status}");
        assert_eq!(world.count(Call::StartRestore), 1, "{status}");
        assert_eq!(closed(&world).await.len(), 2, "{status}: the first start, and one restore");
    }
}

#[tokio::test]
async fn a_node_that_is_started_anew_in_the_middle_of_a_restore_is_asked_again_and_comes_back_with_all_data() {
    let (world, first, _, before) = protected().await;
    world.set(|s| s.node.rounds = 3);
    world.kill(&first);
    let second = under_way(&world).await;
    world.node(&second).restart();
    assert_eq!(serving(&world, 2).await, second);
    assert_eq!(data(&world.node(&second)), before);
}

#[tokio::test]
async fn a_restart_that_nobody_saw_is_noticed_too() {
    let (world, first, _, before) = protected().await;
    world.set(|s| s.node.rounds = 3);
    world.kill(&first);
    let second = under_way(&world).await;
    world.node(&second).restart();
    // Back before anybody looks.
    world.advance(Duration::from_secs(30));
    assert_eq!(serving(&world, 2).await, second);
    assert_eq!(data(&world.node(&second)), before);
}

#[tokio::test]
async fn a_restore_that_failed_once_is_asked_again_and_one_that_is_refused_says_why() {
    let (world, first, _, before) = protected().await;
    world.set(|s| s.node.faults.fail_restore = Some("connection reset by peer".into()));
    world.kill(&first);
    let second = serving(&world, 2).await;
    assert_eq!(data(&world.node(&second)), before);
    assert_eq!(world.count(Call::StartRestore), 2);

    let (world, first, _, _) = protected().await;
    world.set(|s| s.node.faults.refuse_restore = Some("no such luck".into()));
    world.kill(&first);
    let why = refusal(&world).await;
    assert!(why.contains("ended as refused") && why.contains("no such luck"), "{why}");
}

#[tokio::test]
async fn a_node_that_takes_fewer_classes_than_asked_for_is_refused() {
    let (world, first, _, _) = protected().await;
    world.set(|s| s.node.faults.narrow_to = Some(vec!["Note".into()]));
    world.kill(&first);
    let why = refusal(&world).await;
    assert!(why.contains("the key's rights are too narrow"), "{why}");
}

#[tokio::test]
async fn a_target_that_is_not_fit_is_refused_before_anything_is_downloaded() {
    type Spoil = fn(&World);
    let cases: [(&str, Spoil); 3] = [
        ("use a larger instance type", |w| w.set(|s| s.free_bytes = 10)),
        ("set NodeName to the backup's", |w| w.set(|s| s.node.name = "another".into())),
        ("an older or unknown version", |w| w.set(|s| s.node.version = "1.37.0".into())),
    ];
    for (says, spoil) in cases {
        let (world, first, _, _) = protected().await;
        spoil(&world);
        world.kill(&first);
        let why = refusal(&world).await;
        assert!(why.contains(says), "{why}");
        assert_eq!(world.count(Call::StartRestore), 0, "{says}");
    }
}

#[tokio::test]
async fn a_class_or_alias_in_the_way_that_is_not_ours_is_refused_and_left_as_it_is() {
    for (says, alias) in [("collection Stranger", false), ("alias stranger", true)] {
        let (world, first, _, _) = protected().await;
        world.kill(&first);
        let second = reached(&world, Phase::Preparing).await.instance;
        world.start_node(&second);
        if alias {
            world.node(&second).add_alias("stranger", "Article");
        } else {
            world.node(&second).add_class("Stranger", false, "cosine");
        }
        let why = refusal(&world).await;
        assert!(why.contains("not empty") && why.contains(says), "{why}");
        assert_eq!((world.count(Call::DeleteClass), world.count(Call::DeleteAlias)), (0, 0));
    }
}

#[tokio::test]
async fn queues_are_waited_for_after_success_and_not_for_ever() {
    let (world, first, _, before) = protected().await;
    world.set(|s| s.node.faults.queue_after_restore = Duration::from_secs(600));
    world.kill(&first);
    let second = serving(&world, 2).await;
    assert_eq!(data(&world.node(&second)), before);

    let (world, first, _, _) = protected().await;
    world.set(|s| s.node.faults.shards_not_ready = 2);
    world.kill(&first);
    reached(&world, Phase::Proving).await;
    for _ in 0..6 {
        all(&world).invoke(Function::DriveRestore, &Hint::Tick).await;
        world.advance(Duration::from_secs(3600));
    }
    let why = refusal(&world).await;
    assert!(why.contains("2 shards are not ready"), "{why}");
}

#[tokio::test]
async fn a_node_that_falls_silent_is_given_its_time_and_then_refused_by_name() {
    for (phase, says) in [(Phase::Restoring, "did not answer"), (Phase::Proving, "gives no evidence")] {
        let (world, first, _, _) = protected().await;
        world.set(|s| s.node.faults.queue_after_restore = Duration::from_secs(60));
        world.kill(&first);
        under_way(&world).await;
        let second = reached(&world, phase).await.instance;
        world.node(&second).faults(|f| f.unreachable = true);
        for _ in 0..6 {
            all(&world).invoke(Function::DriveRestore, &Hint::Tick).await;
            world.advance(Duration::from_secs(3600));
        }
        let why = refusal(&world).await;
        assert!(why.contains(says), "{phase:?}: {why}");
    }
}

#[tokio::test]
async fn a_host_whose_agent_never_comes_keeps_its_heartbeat_and_then_fails_by_name() {
    let (world, first, _, _) = protected().await;
    world.set(|s| s.agent_takes = Duration::from_secs(24 * 3600));
    world.kill(&first);
    let open = reached(&world, Phase::Preparing).await;
    let beats = world.count_on(Call::Heartbeat, open.instance.as_str());
    all(&world).tick().await;
    assert!(world.count_on(Call::Heartbeat, open.instance.as_str()) > beats);
    let why = refusal(&world).await;
    assert!(why.contains("did not register in time"), "{why}");
}

#[tokio::test]
async fn a_command_whose_reply_is_lost_is_found_by_its_name_and_obeyed_once() {
    let (world, first, _, _) = protected().await;
    world.kill(&first);
    world.fail_next(Call::Send, "-prepare-1", Failure::ReplyLost);
    let second = serving(&world, 2).await;
    // The SDK may have sent it more than once before the reply was lost; the host obeys the name once.
    let name = format!("{second}-prepare-1");
    assert!(world.count_on(Call::Find, &name) >= 2);
    let obeyed = world.effects().iter().filter(|e| e.to_string().contains(&format!("job {name} obeyed"))).count();
    assert_eq!((obeyed, world.count_on(Call::Send, &format!("{second}-prepare-2"))), (1, 0));
}

#[tokio::test]
async fn an_owner_whose_gate_takes_too_long_is_continued_and_its_gate_is_finished_in_service() {
    let (world, first, _, before) = protected().await;
    world.kill(&first);
    reached(&world, Phase::Owning).await;
    world.set(|s| s.automation_step_takes = Duration::from_secs(3600));
    let second = tick_until(&world, "the hook's answer", async || {
        let owner = ownership(&world).await.unwrap().owner;
        (owner != first && world.lifecycle(&owner) == Some(LifecycleState::InService)).then_some(owner)
    })
    .await;
    assert!(restore_run(&world).await.open.is_some(), "the gate is not done");
    world.set(|s| s.automation_step_takes = Duration::from_secs(1));
    world.advance(Duration::from_secs(6 * 3600));
    tick_until(&world, "the end of the gate", async || restore_run(&world).await.open.is_none().then_some(())).await;
    assert_eq!(world.attachment().map(|(_, to)| to), Some(second.clone()));
    assert_eq!(data(&world.node(&second)), before);
}

#[tokio::test]
async fn an_owner_in_service_behind_a_readers_only_address_is_repaired_by_the_tick() {
    let (world, first, _, _) = protected().await;
    world.set_address_groups(&[READER_GROUP]);
    tick_until(&world, "both groups", async || {
        let groups = world.address_groups();
        (groups.len() == 2 && groups.iter().any(|g| g == WRITER_GROUP)).then_some(())
    })
    .await;
    let reads = world.count(Call::StartRead);
    for _ in 0..10 {
        all(&world).invoke(Function::DriveRestore, &Hint::Tick).await;
        world.advance(Duration::from_secs(60));
    }
    assert!(world.count(Call::StartRead) <= reads + 1, "it is looked at every quarter of an hour");
    assert_eq!(world.attachment().map(|(_, to)| to), Some(first));
}
