//! Nodes that die, that are replaced, and restores that lie.

use super::*;

#[tokio::test]
async fn a_node_that_dies_right_after_success_is_waited_for_by_its_replacement() {
    let (world, first) = cluster().await;
    let before = data(&world.node(&first));
    mark(&world, "wiki");
    tick_until(&world, "a finished backup", async || {
        all(&world).invoke(Function::CreateBackup, &Hint::Tick).await;
        let named = create_run(&world).await.open?.named?;
        let config = world.bucket().json(&Key::backup_config(&named.backup_id).to_string())?;
        (config["status"] == "SUCCESS").then_some(())
    })
    .await;
    world.kill(&first);
    let second = serving(&world, 2).await;
    assert_eq!(data(&world.node(&second)), before);
}

#[tokio::test]
async fn a_restore_that_says_success_over_missing_data_is_abandoned_with_its_reason() {
    let (world, first) = cluster().await;
    mark(&world, "wiki");
    published(&world, 0).await;
    world.set(|s| s.node.faults.empty_on_restore = Some("Article".into()));
    world.kill(&first);
    let reason = tick_until(&world, "an abandoned replacement", async || {
        let keys = world.bucket().keys("runs/drive-restore/done/");
        for key in keys.iter().filter_map(|k| Key::parse(k)) {
            let closed: ClosedRestore = store::read(&world.bucket(), &key).await.unwrap().unwrap().value;
            if closed.run.refusal.is_some() {
                return closed.run.refusal;
            }
        }
        None
    })
    .await;
    assert!(reason.contains("Article") && reason.contains("evidence"), "{reason}");
    assert_eq!(ownership(&world).await.unwrap().generation, Generation(1));
}

#[tokio::test]
async fn drive_restore_invoked_twice_at_once_has_one_effect_on_the_host() {
    let (world, first) = cluster().await;
    let before = data(&world.node(&first));
    mark(&world, "wiki");
    published(&world, 0).await;
    world.kill(&first);
    for _ in 0..120 {
        let (one, two) = (all(&world), all(&world));
        tokio::join!(
            one.invoke(Function::DriveRestore, &Hint::Tick),
            two.invoke(Function::DriveRestore, &Hint::Tick),
            two.invoke(Function::FlipManifest, &Hint::Tick),
        );
        world.advance(Duration::from_secs(20));
    }
    let second = serving(&world, 2).await;
    assert_eq!(data(&world.node(&second)), before);
    let jobs: Vec<String> = world.effects().iter().filter(|e| e.once_only()).map(ToString::to_string).collect();
    let mut once = jobs.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), jobs.len(), "something happened twice: {jobs:#?}");
}

#[tokio::test]
async fn a_planned_replacement_takes_a_final_backup_and_the_old_node_goes_only_when_the_new_one_serves() {
    let (world, first) = cluster().await;
    mark(&world, "wiki");
    published(&world, 0).await;
    world.advance(Duration::from_secs(60));
    world.node(&first).put_many("Article", None, 40);
    let before = data(&world.node(&first));
    world.replace(&first);
    let second = serving(&world, 2).await;
    assert_eq!(data(&world.node(&second)), before, "what was written after the last marker is there");
    let stamped = pointer(&world).await.unwrap();
    assert!(stamped.is_final, "{stamped:?}");
    tick_until(&world, "the first instance's end", async || (!world.instances().contains(&first)).then_some(())).await;
    let answers: Vec<String> = world.effects().iter().map(ToString::to_string).collect();
    let at = |text: String| answers.iter().position(|a| a.starts_with(&text)).unwrap_or_else(|| panic!("{answers:#?}"));
    assert!(at(format!("address attached to {second}")) < at(format!("Terminate hook of {first}")));
}

#[tokio::test]
async fn a_predecessor_that_neither_answers_nor_is_gone_is_retained_at_the_deadline_and_the_pointer_is_restored() {
    let (world, first) = cluster().await;
    mark(&world, "wiki");
    published(&world, 0).await;
    let before = data(&world.node(&first));
    world.hang_host(&first);
    world.replace(&first);
    // Two hours is the deadline; the loss is stated by the pointer that was restored.
    for _ in 0..200 {
        all(&world).tick().await;
        world.advance(Duration::from_secs(60));
    }
    let second = serving(&world, 2).await;
    assert_eq!(data(&world.node(&second)), before);
    assert_eq!(world.lifecycle(&first), Some(LifecycleState::TerminatingRetained));
}
