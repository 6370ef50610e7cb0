//! Events lost, doubled and shuffled, and functions killed after any call.

use super::*;

#[tokio::test]
async fn ticks_alone_do_the_whole_job_from_a_marker_to_a_replacement_with_the_same_data() {
    let (world, first) = cluster().await;
    let before = data(&world.node(&first));
    mark(&world, "wiki");
    let flipped = published(&world, 0).await;
    assert_eq!((flipped.sequence.0, flipped.generation), (1, Generation(1)));
    world.kill(&first);
    let second = serving(&world, 2).await;
    assert_ne!(first, second);
    assert_eq!(data(&world.node(&second)), before, "the replacement holds what the first node held");
    let stamped = pointer(&world).await.unwrap();
    assert_eq!((stamped.sequence.0, stamped.generation), (2, Generation(2)));
    assert_eq!(stamped.backup_id, flipped.backup_id);
    let attached = format!("{:?}", world.attachment());
    assert!(attached.contains(second.as_str()), "{attached}");
    tick_until(&world, "the first instance's end", async || (!world.instances().contains(&first)).then_some(())).await;
}

#[tokio::test]
async fn every_event_twice_and_in_any_order_ends_the_same() {
    for seed in 0..8 {
        let (world, first) = cluster().await;
        let before = data(&world.node(&first));
        world.take_events();
        mark(&world, "wiki");
        let mut killed = false;
        for round in 0..400_u64 {
            let events: Vec<Event> = world.take_events().into_iter().flat_map(|e| [e.clone(), e]).collect();
            for event in shuffled(seed ^ round, events) {
                for function in listeners(&event) {
                    all(&world).invoke(function, &event.hint()).await;
                }
            }
            world.advance(Duration::from_secs(5));
            if pointer(&world).await.is_some() && !killed {
                killed = true;
                world.kill(&first);
            }
            if round % 12 == 11 {
                all(&world).tick().await;
            }
        }
        let second = serving(&world, 2).await;
        assert_eq!(data(&world.node(&second)), before, "seed {seed}");
        assert_eq!(world.count(Call::CreateBackup), 1, "seed {seed}: one marker is one backup");
        assert_eq!(pointer(&world).await.unwrap().sequence.0, 2, "seed {seed}");
    }
}

/// Waits within a closure that cannot.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// What of a recovery counts: who owns, serves and is reached, from which backup, and that nothing is left open.
async fn end_state(world: &World) -> String {
    let (owner, pointer) = (ownership(world).await, pointer(world).await);
    let serves = owner.as_ref().map(|o| (o.generation, world.lifecycle(&o.owner)));
    let held = owner.as_ref().map(|o| format!("{:?}", world.attachment()).contains(o.owner.as_str()));
    let in_service = |o: &&Ownership| world.lifecycle(&o.owner) == Some(LifecycleState::InService);
    let data = owner.as_ref().filter(in_service).map(|o| data(&world.node(&o.owner)));
    let run: Option<store::Versioned<lifeboat_domain::restore::run::RestoreRun>> =
        store::read(&world.bucket(), &Key::CurrentRun(Function::DriveRestore)).await.unwrap();
    let idle = run.is_some_and(|r| r.value.open.is_none());
    let pointer = pointer.map(|p| (p.sequence, p.generation, p.backup_id));
    format!("{serves:?} attached {held:?} idle {idle} {pointer:?} members {} {data:?}", world.instances().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_killed_after_any_of_its_calls_is_finished_by_the_next_ticks() {
    let report = for_each_crash_point(
        || {
            wait(async {
                let (world, first) = cluster().await;
                mark(&world, "wiki");
                published(&world, 0).await;
                world.kill(&first);
                world.advance(Duration::from_secs(60));
                world
            })
        },
        async |_, ports| planned(ports).tick().await,
        |world| wait(end_state(world)),
    )
    .await;
    eprintln!("killed at {} calls in {} runs", report.points, report.runs);
    assert!(report.points > 100, "{report:?}");
    assert!(
        report.end.contains("Some((Generation(2), Some(InService))) attached Some(true) idle true"),
        "{}",
        report.end
    );
}
