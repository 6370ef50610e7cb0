//! What a replacement starts from when the pointer's backup cannot be restored, or the pointer moves meanwhile.

use lifeboat_domain::restore::run::{Choice, Rung};

use super::*;

/// A cluster with so many published backups, each of 10 objects more than the one before; the ids, oldest first.
async fn with_backups(count: u64) -> (World, InstanceId, Vec<BackupId>) {
    let (world, first) = cluster().await;
    let mut ids = Vec::new();
    for n in 0..count {
        world.advance(Duration::from_secs(120));
        world.node(&first).put_many("Article", None, 40 + 10 * u16::try_from(n).unwrap());
        mark(&world, &format!("set{n}"));
        ids.push(published(&world, n).await.backup_id);
    }
    (world, first, ids)
}

/// The key of a chunk of Article in a backup.
fn chunk(world: &World, id: &BackupId) -> String {
    let keys = world.bucket().keys(&format!("backups/{id}/"));
    keys.into_iter().find(|k| k.contains("/Article/chunk-")).expect("the backup has a chunk of Article")
}

fn articles(world: &World, instance: &InstanceId) -> usize {
    world.node(instance).data()["Article"].shards.values().map(|shard| shard.objects.len()).sum()
}

async fn opened(world: &World) -> OpenRestore {
    closed(world).await.into_iter().rfind(|c| c.generation.is_some()).expect("a gate was opened").run
}

fn rung(run: &OpenRestore) -> (String, Rung, Option<String>) {
    match run.choice.clone() {
        Some(Choice::Backup { backup_id, rung, path, .. }) => (backup_id.to_string(), rung, path),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_overwritten_or_hidden_backup_is_healed_and_restored_from_its_verified_versions() {
    type Damage = fn(&World, &str);
    let cases: [Damage; 2] =
        [|w, key| drop(w.bucket().put_raw(key, b"somebody's".to_vec())), |w, key| w.bucket().delete(key)];
    for damage in cases {
        let (world, first, ids) = with_backups(2).await;
        let before = data(&world.node(&first));
        damage(&world, &chunk(&world, &ids[1]));
        world.kill(&first);
        let second = serving(&world, 2).await;
        assert_eq!(data(&world.node(&second)), before);
        let run = opened(&world).await;
        assert_eq!(rung(&run), (ids[1].to_string(), Rung::Pointer, Some("healed".to_owned())));
        assert!(run.passed_over.is_empty(), "{:?}", run.passed_over);
        let evidence = world.bucket().keys(&format!("manifests/{}/evidence/heal-", ids[1]));
        assert_eq!(evidence.len(), 1, "it is on record");
        assert_eq!(pointer(&world).await.unwrap().backup_id, ids[1]);
    }
}

#[tokio::test]
async fn when_the_pointers_backup_is_lost_the_previous_one_is_restored_and_the_pointer_says_so() {
    let (world, first, ids) = with_backups(2).await;
    world.bucket().erase(&chunk(&world, &ids[1]));
    world.kill(&first);
    let second = serving(&world, 2).await;
    assert_eq!(articles(&world, &second), 40);
    let run = opened(&world).await;
    assert_eq!(rung(&run), (ids[0].to_string(), Rung::Previous, None));
    let [passed] = &run.passed_over[..] else { panic!("{:?}", run.passed_over) };
    assert!(passed.backup_id == ids[1] && passed.why.contains("fails T0"), "{passed:?}");
    let now = pointer(&world).await.unwrap();
    assert_eq!((now.generation, &now.backup_id), (Generation(2), &ids[0]));
    let overridden = now.overridden.expect("the re-stamp names both");
    assert_eq!((overridden.replaces.as_ref(), &overridden.chosen), (Some(&ids[1]), &ids[0]));
}

#[tokio::test]
async fn when_the_previous_one_is_lost_too_the_newest_published_one_that_is_not_excluded_is_restored() {
    let (world, first, ids) = with_backups(4).await;
    for lost in &ids[2..] {
        world.bucket().erase(&chunk(&world, lost));
    }
    let excluded = format!("manifests/{}/evidence/exclude-2026-11-20t120000z.json", ids[1]);
    world.bucket().put_raw(&excluded, b"{}");
    world.kill(&first);
    let second = serving(&world, 2).await;
    assert_eq!(articles(&world, &second), 40);
    let run = opened(&world).await;
    assert_eq!(rung(&run), (ids[0].to_string(), Rung::Newest, None));
    assert_eq!(run.passed_over.len(), 2, "{:?}", run.passed_over);
}

#[tokio::test]
async fn a_backup_with_a_tombstone_is_left_alone_whoever_names_it() {
    let (world, first, ids) = with_backups(2).await;
    let tombstone = format!("manifests/{}/evidence/tombstone-2026-11-20t120000z.json", ids[1]);
    world.bucket().put_raw(&tombstone, b"{}");
    world.kill(&first);
    serving(&world, 2).await;
    let run = opened(&world).await;
    assert_eq!(rung(&run).0, ids[0].to_string());
    assert!(run.passed_over[0].why.contains("tombstone"), "{:?}", run.passed_over);

    let (world, first, ids) = with_backups(1).await;
    let tombstone = format!("manifests/{}/evidence/tombstone-2026-11-20t120000z.json", ids[0]);
    world.bucket().put_raw(&tombstone, b"{}");
    ask(&world, "r1", Action::Restore { backup_id: ids[0].clone() });
    world.kill(&first);
    let why = refusal(&world).await;
    assert!(why.contains("tombstone") && why.contains("a person named it"), "{why}");
}

#[tokio::test]
async fn when_every_backup_is_lost_launches_are_suspended_before_the_last_time_and_nothing_starts_empty() {
    let (world, first, ids) = with_backups(2).await;
    for lost in &ids {
        world.bucket().erase(&chunk(&world, lost));
    }
    let owner = world.bucket().bytes(&Key::Ownership.to_string());
    world.kill(&first);
    let refusals = tick_until(&world, "three abandoned replacements", async || {
        let closed = closed(&world).await;
        let refusals: Vec<String> = closed.into_iter().filter_map(|c| c.run.refusal).collect();
        (refusals.len() == 3).then_some(refusals)
    })
    .await;
    for refusal in refusals {
        assert!(refusal.contains(ids[0].as_str()) && refusal.contains(ids[1].as_str()), "{refusal}");
        assert!(refusal.contains("no other published backup"), "{refusal}");
    }
    let told: Vec<String> = world.effects().iter().map(ToString::to_string).collect();
    let suspended = told.iter().position(|e| e.contains("suspended")).unwrap_or_else(|| panic!("{told:#?}"));
    let last = told.iter().rposition(|e| e.contains("Launch hook")).unwrap_or_else(|| panic!("{told:#?}"));
    assert!(suspended < last, "{told:#?}");
    world.advance(Duration::from_secs(3600));
    all(&world).tick().await;
    assert_eq!(closed(&world).await.len(), 4, "the first node and three replacements");
    assert_eq!(world.bucket().bytes(&Key::Ownership.to_string()), owner);
}

#[tokio::test]
async fn what_a_person_rolled_back_from_is_not_restored_in_place_of_what_they_chose() {
    let (world, first, ids) = with_backups(2).await;
    ask(&world, "r1", Action::Rollback { to: ids[0].clone() });
    published(&world, 2).await;
    world.bucket().erase(&chunk(&world, &ids[0]));
    world.kill(&first);
    let why = refusal(&world).await;
    assert!(why.contains("fails T0") && why.contains("a person rolled back to it"), "{why}");
}

#[tokio::test]
async fn a_pointer_that_moves_between_choice_and_gate_is_followed_on_the_same_instance() {
    let (world, first, ids) = with_backups(2).await;
    world.kill(&first);
    let open = reached(&world, Phase::Restoring).await;
    assert_eq!(rung(&open).0, ids[1].to_string());
    // A person's rollback moves the pointer as a flip or an approval would.
    ask(&world, "r1", Action::Rollback { to: ids[0].clone() });
    published(&world, 2).await;
    let second = serving(&world, 2).await;
    assert_eq!(second, open.instance, "it is no attempt");
    assert_eq!(articles(&world, &second), 40);
    let run = opened(&world).await;
    assert_eq!((run.chosen_again, rung(&run).0, run.loss), (1, ids[0].to_string(), None));
    let now = pointer(&world).await.unwrap();
    assert_eq!((&now.backup_id, now.flips_stopped), (&ids[0], None), "the stop ends with the node restored from it");
}

#[tokio::test]
async fn an_abandoned_replacement_is_gone_within_a_tick_and_delays_nothing() {
    let (world, first, _) = with_backups(1).await;
    world.set(|s| s.node.faults.empty_on_restore = Some("Article".into()));
    world.kill(&first);
    refusal(&world).await;
    world.set(|s| s.node.faults.empty_on_restore = None);
    let bad = closed(&world).await.into_iter().find(|c| c.run.refusal.is_some()).unwrap().run.instance;
    tick_until(&world, "the next one", async || world.instances().into_iter().find(|i| *i != bad && *i != first)).await;
    let before = world.now();
    let second = serving(&world, 2).await;
    assert!(second != bad && !world.instances().contains(&bad), "{:?}", world.instances());
    let took = world.now().duration_since(before).as_secs();
    assert!(took < 600, "it took {took} s");
}
