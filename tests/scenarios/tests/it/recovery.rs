//! Replacements: planned and not, good and bad, and with functions that die on the way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lifeboat_demo::corpus::{COLLECTIONS, Corpus};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::ownership::Origin;
use lifeboat_domain::restore::run::{GroupAttempts, Phase};
use lifeboat_domain::runs::{Action, CloseOutcome, CreatePhase};
use serde_json::json;

use crate::support::{CORPUS, Cluster, PATIENCE, Setup, on};

/// Every count and a sample of objects with their vectors, as they were indexed.
async fn holds(cluster: &Cluster, corpus: Corpus) -> Result<()> {
    for collection in &COLLECTIONS {
        let tenants: Vec<Option<&str>> = match collection.tenants {
            [] => vec![None],
            tenants => tenants.iter().map(|(name, _)| Some(*name)).collect(),
        };
        let mut found = 0;
        for tenant in tenants {
            found += cluster.client.count(collection.name, tenant).await?;
        }
        assert_eq!(found, corpus.count(collection), "{}", collection.name);
        for n in (0..corpus.count(collection)).step_by(7) {
            let document = corpus.document(collection, n);
            let (properties, vector) =
                cluster.client.object(&document).await?.with_context(|| format!("{document:?}"))?;
            assert_eq!((properties, vector), (document.properties, document.vector));
        }
    }
    Ok(())
}

/// Nothing serves: no instance in service, and the fixed address answers nobody.
async fn nothing_serves(cluster: &Cluster) -> Result<()> {
    let instances = cluster.stack.instances().await?;
    ensure!(instances.iter().all(|i| i.lifecycle.as_deref() != Some("InService")), "{instances:#?}");
    ensure!(!cluster.client.ready().await, "the fixed address answers");
    Ok(())
}

/// Waits until launches are suspended and the last replacement is closed; gives the refusals, one for each attempt.
async fn given_up(cluster: &Cluster, attempts: usize) -> Result<Vec<String>> {
    cluster
        .wait("the end of all attempts", || async {
            let closed = cluster.closed_restores().await?;
            let refusals: Vec<String> = closed.into_iter().filter_map(|c| c.run.refusal).collect();
            let suspended = cluster.group().await?["SuspendedProcesses"].clone();
            let stopped = suspended.as_array().is_some_and(|p| p.iter().any(|p| p["ProcessName"] == "Launch"));
            ensure!(refusals.len() <= attempts, "{refusals:?}");
            Ok((refusals.len() == attempts && stopped).then_some(refusals))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn drive_restore_invoked_many_times_at_once_has_one_effect_on_the_host() {
    on(Setup::new(), async |cluster| {
        let flipped = cluster.protect("wiki").await?;
        // Weaviate reads the backup's descriptors before it answers the request for a restore: here that takes a second,
        // in which others find that it was asked for, and that Weaviate knows nothing of it.
        cluster.node_knobs(&[("SLOW_STORE_MS", "500")])?;
        cluster.lose_first().await?;
        let first = cluster.first.instance.clone();
        let new = cluster
            .wait("a replacement", || async {
                Ok(cluster.stack.instances().await?.into_iter().find(|i| i.instance != first))
            })
            .await?;
        // Beside the events of both hooks: four ticks at once, and four more where the host is being prepared.
        for _ in 0..4 {
            cluster.tick(Function::DriveRestore).await?;
        }
        cluster
            .wait("the host's turn", || async {
                Ok(cluster.restore_run().await?.open.filter(|open| open.phase >= Phase::Preparing))
            })
            .await?;
        for _ in 0..4 {
            cluster.tick(Function::DriveRestore).await?;
        }
        cluster.serving(&[&first]).await?;
        holds(cluster, CORPUS).await?;
        for command in [&["docker", "run"][..], &["mkfs.xfs"]] {
            assert_eq!(cluster.host_did(&new.instance, command).await?, 1, "{command:?}");
        }
        let jobs = std::fs::read_dir(new.sandbox.join("var/lib/lifeboat/jobs"))?;
        let jobs: Vec<String> = jobs.flatten().map(|f| f.file_name().to_string_lossy().into_owned()).collect();
        assert_eq!(jobs.iter().filter(|name| name.ends_with(".answer")).count(), 1, "one job was obeyed: {jobs:?}");
        // Several may ask, because the same intent may be recorded by two; Weaviate takes one and refuses the others.
        let asked = cluster.node_requests()?;
        let asked: Vec<&String> = asked.iter().filter(|r| r.starts_with("POST") && r.contains("/restore ")).collect();
        eprintln!("nine invocations at once, or more: Weaviate was asked {} times, and took one", asked.len());
        assert_eq!(asked.iter().filter(|r| r.ends_with(" 200")).count(), 1, "{asked:?}");
        ensure!(asked.iter().all(|r| r.ends_with(" 200") || r.ends_with(" 422")), "{asked:?}");
        let (pointer, owner) =
            (cluster.pointer().await?.context("pointer")?, cluster.ownership().await?.context("owner")?);
        assert_eq!((pointer.sequence.0, pointer.generation.0, owner.generation.0), (2, 2, 2));
        assert_eq!((pointer.backup_id, owner.owner.as_str()), (flipped.backup_id, new.instance.as_str()));
        let gone = cluster
            .wait("the end of the first instance", || async {
                let there = cluster.stack.instances().await?.into_iter().find(|i| i.instance == first);
                Ok(there.is_none_or(|i| i.lifecycle.is_none()).then_some(()))
            })
            .await;
        gone.context("its terminate hook was answered")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_lost_objects_is_abandoned_three_times_and_then_launches_stop_until_a_person_resumes_them() {
    on(Setup::new(), async |cluster| {
        cluster.protect("wiki").await?;
        // Weaviate says SUCCESS over both: three objects fewer in one class, nothing at all in another.
        cluster.node_knobs(&[("RESTORE_DROPS", "Article=3"), ("RESTORE_EMPTIES", "Passage")])?;
        let pointer = cluster.bytes(&Key::Pointer.to_string()).await?;
        let ownership = cluster.bytes(&Key::Ownership.to_string()).await?;
        cluster.lose_first().await?;
        let refusals = given_up(cluster, 3).await?;
        for refusal in &refusals {
            ensure!(
                refusal.contains("the restored node fails its evidence") && refusal.contains("Article"),
                "{refusal}"
            );
        }
        eprintln!("abandoned three times: {}", refusals[0]);
        cluster
            .wait("the end of the third", || async {
                let instances = cluster.stack.instances().await?;
                Ok(instances.iter().all(|i| i.lifecycle.is_none()).then_some(()))
            })
            .await?;
        nothing_serves(cluster).await?;
        ensure!(cluster.bytes(&Key::Pointer.to_string()).await? == pointer, "the pointer changed");
        ensure!(cluster.bytes(&Key::Ownership.to_string()).await? == ownership, "ownership.json changed");
        let attempts: GroupAttempts =
            cluster.document(&Key::RestoreGroup).await?.context("the attempts are on record")?;
        let distinct: BTreeSet<_> = attempts.instances.iter().collect();
        assert_eq!((attempts.generation, distinct.len()), (1, 3), "{attempts:?}");
        let id = cluster.pointer().await?.context("pointer")?.backup_id;
        let evidence = cluster.keys(&format!("manifests/{id}/evidence/restore-")).await?;
        assert_eq!(evidence.len(), 3, "{evidence:?}");
        let told = String::from_utf8(cluster.bytes(&evidence[0]).await?.context("evidence")?)?;
        ensure!(told.contains("Article") && told.contains("Passage") && told.contains("\"passed\": false"), "{told}");

        // Repaired, and a person resumes launches.
        cluster.node_knobs(&[])?;
        cluster.ask("resume", Action::ResumeLaunches).await?;
        let but: Vec<String> = attempts.instances.iter().map(ToString::to_string).collect();
        let but: Vec<&str> = but.iter().map(String::as_str).chain([cluster.first.instance.as_str()]).collect();
        cluster.serving(&but).await?;
        holds(cluster, CORPUS).await
    })
    .await;
}

/// SIGKILLs the process of a function that is at work; how many there were.
fn kill_function(cluster: &Cluster, function: Function) -> Result<usize> {
    let name = format!("AWS_LAMBDA_FUNCTION_NAME={}", cluster.function(function)?);
    let endpoint = format!("AWS_ENDPOINT_URL={}", cluster.stack.endpoint());
    let mut killed = 0;
    for process in std::fs::read_dir("/proc")?.flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        let Ok(environment) = std::fs::read(process.path().join("environ")) else { continue };
        let has = |wanted: &str| environment.split(|b| *b == 0).any(|v| v == wanted.as_bytes());
        // This stack's own processes, told by its endpoint.
        if pid.bytes().all(|b| b.is_ascii_digit()) && has(&name) && has(&endpoint) {
            ensure!(std::process::Command::new("kill").args(["-9", &pid]).status()?.success(), "kill {pid}");
            killed += 1;
        }
    }
    Ok(killed)
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_killed_in_the_middle_of_a_backup_and_of_a_restore_are_carried_on_by_the_next_tick() {
    on(Setup::new(), async |cluster| {
        cluster.mark("wiki").await?;
        let mut killed = Vec::new();
        for phase in [CreatePhase::Named, CreatePhase::Asked] {
            let reached = cluster
                .wait("create-backup's next phase", || async {
                    let run = cluster.create_run().await?;
                    let over = run.open.is_none() && run.last.is_some();
                    Ok((over || run.open.is_some_and(|open| open.phase >= phase)).then_some(()))
                })
                .await;
            reached?;
            killed.push(("create-backup", kill_function(cluster, Function::CreateBackup)?));
            cluster.tick(Function::CreateBackup).await?;
        }
        let flipped = cluster.flipped(0).await?;
        assert_eq!((flipped.sequence.0, cluster.backups().await?.len()), (1, 1), "one backup came of it");

        cluster.lose_first().await?;
        let first = cluster.first.instance.clone();
        let phases = [Phase::Preparing, Phase::Restoring, Phase::Proving, Phase::Owning, Phase::Probing];
        for phase in phases {
            let over = cluster
                .wait("drive-restore's next phase", || async {
                    let open = cluster.restore_run().await?.open;
                    let owner = cluster.ownership().await?.map(|o| o.generation.0);
                    if open.is_none() && owner == Some(2) {
                        return Ok(Some(true));
                    }
                    Ok(open.filter(|open| open.phase >= phase).map(|_| false))
                })
                .await?;
            if over {
                break;
            }
            killed.push(("drive-restore", kill_function(cluster, Function::DriveRestore)?));
            cluster.tick(Function::DriveRestore).await?;
        }
        eprintln!("killed at work: {killed:?}");
        let of = |name: &str| killed.iter().filter(|(n, count)| *n == name && *count > 0).count();
        ensure!(of("create-backup") >= 1 && of("drive-restore") >= 3, "too few were caught at work: {killed:?}");
        let second = cluster.serving(&[&first]).await?;
        holds(cluster, CORPUS).await?;
        assert_eq!(cluster.host_did(&second.instance, &["docker", "run"]).await?, 1);
        let (pointer, owner) =
            (cluster.pointer().await?.context("pointer")?, cluster.ownership().await?.context("owner")?);
        assert_eq!((pointer.sequence.0, pointer.generation.0, owner.generation.0), (2, 2, 2));
        ensure!(
            matches!(&owner.origin, Origin::Restored { backup_id, .. } if *backup_id == flipped.backup_id),
            "{owner:?}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_replacement_takes_a_final_backup_and_loses_nothing() {
    on(Setup::new(), async |cluster| {
        cluster.protect("wiki").await?;
        // Written after the last backup, with no marker: only a final backup has it.
        let later = Corpus { objects: 360, ..CORPUS };
        cluster.client.index(&later, |_| ()).await?;
        let first = cluster.first.instance.clone();
        let request = json!({"InstanceId": first, "ShouldDecrementDesiredCapacity": false});
        cluster.stack.call("autoscaling", "terminate_instance_in_auto_scaling_group", request).await??;

        // Reads go on all the while; the longest time without an answer is what a reader notices.
        let (begun, mut answered, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        let mut last_tick: Option<Instant> = None;
        let second = loop {
            if cluster.client.ready().await {
                longest = longest.max(answered.elapsed());
                answered = Instant::now();
            }
            let owner = cluster.ownership().await?.context("owner")?;
            let instances = cluster.stack.instances().await?;
            let serves =
                |i: &&lifeboat_stack::Instance| i.instance != first && i.lifecycle.as_deref() == Some("InService");
            if let Some(found) = instances.iter().find(serves).filter(|i| owner.owner.as_str() == i.instance) {
                break found.clone();
            }
            if last_tick.is_none_or(|at| at.elapsed() > Duration::from_secs(5)) {
                cluster.tick(Function::CreateBackup).await?;
                cluster.tick(Function::DriveRestore).await?;
                last_tick = Some(Instant::now());
            }
            ensure!(begun.elapsed() < PATIENCE, "no successor came to serve; {instances:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        cluster.serving(&[&first]).await?;
        longest = longest.max(answered.elapsed());
        eprintln!("planned replacement: {:.1?}, longest time without an answer {longest:.1?}", begun.elapsed());
        holds(cluster, later).await?;
        ensure!(longest < Duration::from_secs(10), "readers were left without an answer for {longest:?}");

        let pointer = cluster.pointer().await?.context("pointer")?;
        ensure!(pointer.is_final && pointer.generation.0 == 2, "{pointer:?}");
        assert_eq!((pointer.sequence.0, pointer.totals.objects), (3, 360), "first backup, final backup, gate");
        let last = cluster.create_run().await?.last.context("the final backup is closed")?;
        assert_eq!(
            (last.is_final, last.outcome, last.instance.as_str()),
            (true, CloseOutcome::Published, first.as_str())
        );
        let owner = cluster.ownership().await?.context("owner")?;
        assert_eq!((owner.generation.0, owner.owner.as_str()), (2, second.instance.as_str()));
        ensure!(
            matches!(&owner.origin, Origin::Restored { backup_id, .. } if *backup_id == pointer.backup_id),
            "{owner:?}"
        );
        cluster.tick(Function::DriveRestore).await?;
        cluster
            .wait("the old instance to be let go, not retained", || async {
                let old = cluster.stack.instances().await?.into_iter().find(|i| i.instance == first);
                ensure!(old.as_ref().is_none_or(|i| i.lifecycle.as_deref() != Some("Terminating:Retained")), "{old:?}");
                Ok(old.is_none_or(|i| i.lifecycle.is_none() && i.state != "running").then_some(()))
            })
            .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_node_that_died_before_any_backup_is_not_replaced_by_an_empty_one_without_permission() {
    on(Setup::new(), async |cluster| {
        cluster.stack.set_parameter("AllowEmptyStart", "no");
        cluster.stack.deploy().await?;
        let ownership = cluster.bytes(&Key::Ownership.to_string()).await?;
        cluster.lose_first().await?;
        let refusals = given_up(cluster, 3).await?;
        for refusal in &refusals {
            ensure!(refusal.contains("there is no pointer") && refusal.contains("AllowEmptyStart is no"), "{refusal}");
        }
        nothing_serves(cluster).await?;
        ensure!(cluster.bytes(&Key::Ownership.to_string()).await? == ownership, "ownership.json changed");
        ensure!(cluster.pointer().await?.is_none() && cluster.backups().await?.is_empty(), "something was written");

        // A person's grant, once, and launches resumed: now it may.
        cluster.ask("grant", Action::AllowEmptyStart).await?;
        cluster.ask("resume", Action::ResumeLaunches).await?;
        cluster.serving(&[&cluster.first.instance]).await?;
        let owner = cluster.ownership().await?.context("owner")?;
        assert_eq!((owner.generation.0, &owner.origin), (2, &Origin::Empty));
        ensure!(cluster.restore_run().await?.empty_grant.is_none(), "the grant is used up");
        Ok(())
    })
    .await;
}
