//! From a success marker to the pointer, whatever becomes of events.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::manifest::{Manifest, Trigger};
use lifeboat_domain::runs::{Action, CloseOutcome, CreatePhase};

use crate::support::{Cluster, Setup, on};

/// Nothing more is owed: create-backup says so when it is asked.
async fn nothing_owed(cluster: &Cluster) -> Result<()> {
    let said = cluster.ticked(Function::CreateBackup).await?;
    ensure!(said.function_error.is_none() && said.payload["decision"] == "idle", "{said:?}");
    ensure!(said.payload.to_string().contains("nothing_owed"), "{said:?}");
    Ok(())
}

/// What the pointer names is what its manifest says was proven.
async fn proven(cluster: &Cluster, objects: u64) -> Result<Manifest> {
    let pointer = cluster.pointer().await?.context("there is a pointer")?;
    let manifest: Manifest =
        cluster.document(&Key::Manifest(pointer.backup_id.clone())).await?.context("a pointer names a manifest")?;
    assert_eq!((&manifest.backup_id, &manifest.totals), (&pointer.backup_id, &pointer.totals));
    assert_eq!((manifest.totals.objects, manifest.totals.collections), (objects, 3));
    let listed = cluster.keys(&Key::backup_prefix(&pointer.backup_id)).await?;
    assert_eq!(manifest.catalogue.rows, listed.len() as u64, "every object of the backup is catalogued: {listed:?}");
    Ok(manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_marker_three_times_is_one_backup_and_one_during_a_backup_is_one_after_it() {
    // Some 20 calls to the store, each late by this: a backup lasts some seconds.
    let setup = Setup::new().node("SLOW_STORE_MS", "250");
    on(setup, async |cluster| {
        for _ in 0..3 {
            cluster.mark("wiki").await?;
        }
        let first = cluster.flipped(0).await?;
        proven(cluster, 300).await?;
        nothing_owed(cluster).await?;
        assert_eq!((first.sequence.0, cluster.backups().await?.len()), (1, 1));

        cluster.mark("books").await?;
        let running = cluster
            .wait("a backup that Weaviate takes", || async {
                let open = cluster.create_run().await?.open;
                Ok(open.filter(|open| open.phase == CreatePhase::Asked).and_then(|open| open.named))
            })
            .await?;
        // S3's dates are whole seconds: a marker of the same second would be covered by nothing anyway.
        let later = SystemTime::from(running.recorded_at) + Duration::from_millis(1100);
        cluster.wait("the next second", || async { Ok((SystemTime::now() > later).then_some(())) }).await?;
        cluster.mark("films").await?;
        let open = cluster.create_run().await?.open.context("the backup is still running")?;
        assert_eq!(open.named.map(|n| n.backup_id), Some(running.backup_id), "the marker came during the backup");

        // create-backup leaves verification to others, and closes at its next tick, which finds the second marker.
        cluster.flipped(1).await?;
        cluster.tick(Function::CreateBackup).await?;
        let last = cluster.flipped(2).await?;
        nothing_owed(cluster).await?;
        assert_eq!((last.sequence.0, cluster.backups().await?.len()), (3, 3));
        let manifest = proven(cluster, 300).await?;
        ensure!(
            matches!(&manifest.trigger, Trigger::Marker { key, .. } if key == "indexing/films/_SUCCESS"),
            "{:?}",
            manifest.trigger
        );
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_s3_event_off_ticks_alone_take_a_backup_from_the_marker_to_the_flip() {
    on(Setup::new(), async |cluster| {
        cluster.stack.s3_events(false).await?;
        cluster.stack.other_events(false).await?;
        let before = cluster.stack.counts().await?;
        cluster.mark("wiki").await?;
        let begun = Instant::now();
        let mut last: Option<Instant> = None;
        let mut rounds = 0;
        // A shard that nobody read for a minute is read by the tick: this takes a little longer than that.
        let pointer = loop {
            if let Some(pointer) = cluster.pointer().await? {
                break pointer;
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(180),
                "ticks alone did not flip the pointer in three minutes"
            );
            if last.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
                for function in Function::ALL {
                    cluster.tick(function).await?;
                }
                (last, rounds) = (Some(Instant::now()), rounds + 1);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        eprintln!("ticks alone: {rounds} rounds, {:.1?} from marker to flip", begun.elapsed());
        assert_eq!(pointer.sequence.0, 1);
        proven(cluster, 300).await?;
        let after = cluster.stack.counts().await?;
        for kind in ["s3_events", "other_events"] {
            assert_eq!(after[kind], before[kind], "{kind} were delivered");
        }
        ensure!(after["s3_events_dropped"].as_u64() > Some(5), "{after}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_delivered_twice_changes_nothing() {
    on(Setup::new(), async |cluster| {
        cluster.stack.set_knobs(serde_json::json!({"event_copies": 2})).await?;
        let flipped = cluster.protect("wiki").await?;
        nothing_owed(cluster).await?;
        assert_eq!((flipped.sequence.0, cluster.backups().await?.len()), (1, 1));
        cluster.lose_first().await?;
        let second = cluster.serving(&[&cluster.first.instance]).await?;
        let counts = cluster.client.counts().await?;
        assert_eq!(counts.values().sum::<u64>(), 300, "{counts:?}");
        let (pointer, owner) =
            (cluster.pointer().await?.context("pointer")?, cluster.ownership().await?.context("owner")?);
        assert_eq!((pointer.sequence.0, pointer.generation.0, pointer.backup_id), (2, 2, flipped.backup_id));
        assert_eq!((owner.generation.0, owner.owner.as_str()), (2, second.instance.as_str()));
        assert_eq!(cluster.host_did(&second.instance, &["docker", "run"]).await?, 1);
        let closed = cluster.closed_restores().await?;
        assert_eq!(closed.iter().map(|c| c.generation.map(|g| g.0)).collect::<Vec<_>>(), [Some(1), Some(2)]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_a_new_sequence_and_no_later_backup_moves_the_pointer_until_a_person_resumes_flips() {
    on(Setup::new(), async |cluster| {
        let first = cluster.protect("wiki").await?;
        cluster.ticked(Function::CreateBackup).await?;
        let second = cluster.protect("books").await?;
        cluster.ticked(Function::CreateBackup).await?;
        cluster.ask("back", Action::Rollback { to: first.backup_id.clone() }).await?;
        let rolled = cluster.flipped(second.sequence.0).await?;
        assert_eq!((rolled.sequence.0, &rolled.backup_id), (3, &first.backup_id));
        let overridden = rolled.overridden.clone().context("a person stands behind it")?;
        assert_eq!((overridden.by.as_str(), overridden.replaces), ("a scenario", Some(second.backup_id.clone())));
        ensure!(rolled.flips_stopped.is_some(), "{rolled:?}");

        // A newer backup is taken, verified and kept, and the pointer stays.
        let written = cluster.bytes(&Key::Pointer.to_string()).await?;
        cluster.mark("films").await?;
        let third = cluster
            .wait("a verdict on the third backup", || async {
                let run = cluster.create_run().await?;
                let id = run.open.and_then(|open| open.named).map(|named| named.backup_id);
                let Some(id) = id.filter(|id| *id != second.backup_id) else { return Ok(None) };
                cluster.verdict(&id).await
            })
            .await?;
        ensure!(matches!(third.outcome, CloseOutcome::Refused | CloseOutcome::Held), "{third:?}");
        ensure!(!third.reasons.is_empty() && third.reasons.iter().all(|reason| !reason.is_empty()), "{third:?}");
        eprintln!("after a rollback: {:?}, {:?}", third.outcome, third.reasons);
        cluster.ticked(Function::CreateBackup).await?;
        ensure!(cluster.bytes(&Key::Pointer.to_string()).await? == written, "the pointer moved");

        cluster.ask("forward", Action::ResumeFlips).await?;
        let resumed = cluster.flipped(rolled.sequence.0).await?;
        ensure!(resumed.flips_stopped.is_none(), "{resumed:?}");
        cluster.ticked(Function::CreateBackup).await?;
        cluster.mark("songs").await?;
        let last = cluster
            .wait("a flip to a newer backup", || async {
                Ok(cluster.pointer().await?.filter(|p| p.data_as_of > second.data_as_of && p.flips_stopped.is_none()))
            })
            .await?;
        ensure!(last.sequence > resumed.sequence || last.backup_id != first.backup_id, "{last:?}");
        proven(cluster, 300).await.map(drop)
    })
    .await;
}
