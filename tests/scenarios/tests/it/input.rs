//! What comes in from outside: events of every shape, and documents that cannot be read.

use anyhow::{Context, Result, ensure};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_stack::{Invocation, workspace_root};
use serde_json::Value;

use crate::support::{CORPUS, Cluster, Setup, case, on};

/// The cases of a function's folder, by name.
fn cases(function: Function) -> Result<Vec<String>> {
    let folder = workspace_root().join("events").join(function.name());
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder)? {
        names.extend(file?.file_name().to_string_lossy().strip_suffix(".json").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The case as it would come from the deployed bucket; the group has the name that the cases have.
fn here(cluster: &Cluster, event: &Value) -> Result<Value> {
    Ok(serde_json::from_str(&event.to_string().replace("lifeboat-bucket-1kq7z0example", cluster.bucket()))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_events_is_taken_ignored_or_refused_by_the_deployed_function_as_its_name_says() {
    on(Setup::new(), async |cluster| {
        assert_eq!(cluster.stack.output("GroupName")?, "lifeboat-weaviate");
        cluster.protect("wiki").await?;
        for function in Function::ALL {
            cluster.ticked(function).await?;
        }
        // Prune and the reading again keep their own time, by records that vouch for nothing.
        let state = async || -> Result<Vec<String>> {
            let own = ["runs/prune-backups/", "runs/verify-checksums/fixity"];
            let state = cluster.state().await?.into_iter();
            Ok(state.filter(|line| !own.iter().any(|prefix| line.starts_with(prefix))).collect())
        };
        let before = state().await?;
        let (mut taken, mut ignored, mut refused) = (0, 0, 0);
        for function in Function::ALL {
            for name in cases(function)? {
                let event = here(cluster, &case(function, &name)?)?;
                let answer = cluster.invoke(function, &event).await?;
                let told = || format!("{} {name}: {answer:?}", function.name());
                let reason = || answer.payload["reason"].as_str().filter(|reason| !reason.is_empty());
                if name.starts_with("malformed") {
                    let message = answer.payload["errorMessage"].as_str().unwrap_or_default();
                    ensure!(answer.function_error.is_some() && message.contains("event field"), "{}", told());
                    ensure!(answer.log_tail.contains("\"level\":\"ERROR\""), "{}", told());
                    refused += 1;
                } else if name.starts_with("not-for-us") {
                    ensure!(answer.function_error.is_none(), "{}", told());
                    ensure!(answer.payload["outcome"] == "ignored" && reason().is_some(), "{}", told());
                    ignored += 1;
                } else {
                    // The request that a case names is not in this bucket: saying so is an answer.
                    let gone =
                        name.starts_with("request-") && reason().is_some_and(|reason| reason.contains("is gone"));
                    let handled = gone || answer.payload["outcome"] != "ignored";
                    ensure!(answer.function_error.is_none() && handled, "{}", told());
                    taken += 1;
                }
            }
        }
        eprintln!("events: {taken} taken, {ignored} ignored, {refused} refused");
        ensure!(taken >= 15 && ignored >= 8 && refused >= 14, "{taken} {ignored} {refused}");
        let after = state().await?;
        let differ: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
        ensure!(after == before, "an event of nothing changed something: {differ:?}");
        Ok(())
    })
    .await;
}

/// The function failed, and its error names the document.
fn names(answer: &Invocation, key: &str) -> Result<()> {
    let message = answer.payload["errorMessage"].as_str().unwrap_or_default();
    ensure!(answer.function_error.is_some() && message.contains(key), "{key} is not named: {answer:?}");
    ensure!(answer.log_tail.contains("\"level\":\"ERROR\"") && answer.log_tail.contains(key), "{}", answer.log_tail);
    Ok(())
}

/// Puts bytes that are no document in the place of one; gives what was there.
async fn spoil(cluster: &Cluster, key: &Key, garbage: &str) -> Result<Vec<u8>> {
    let key = key.to_string();
    let good = cluster.bytes(&key).await?.with_context(|| format!("{key} is there"))?;
    cluster.put(&key, garbage).await?;
    Ok(good)
}

const HALF: &str = "{\"schema\": \"lifeboat/";

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_ownership_or_pointer_stops_what_depends_on_it_by_name_and_is_not_overwritten() {
    on(Setup::new(), async |cluster| {
        cluster.protect("wiki").await?;
        cluster.ticked(Function::CreateBackup).await?;
        let gate = cluster.written(&Key::Ownership.to_string());

        let owner = Key::Ownership.to_string();
        let good = spoil(cluster, &Key::Ownership, HALF).await?;
        cluster.mark("books").await?;
        for function in [Function::CreateBackup, Function::DriveRestore] {
            names(&cluster.ticked(function).await?, &owner)?;
        }
        names(&cluster.invoke(Function::FlipManifest, &gate).await?, &owner)?;
        assert_eq!(cluster.backups().await?.len(), 1, "no backup of a node that may not own the data");
        ensure!(cluster.bytes(&owner).await?.as_deref() == Some(HALF.as_bytes()), "ownership.json was overwritten");
        cluster.put(&owner, good).await?;
        // Readable again: the marker that came meanwhile gets its backup.
        cluster.tick(Function::CreateBackup).await?;
        cluster.flipped(1).await?;
        cluster.ticked(Function::CreateBackup).await?;

        let pointer = Key::Pointer.to_string();
        let from_the_future = "{\"schema\": \"lifeboat/pointer/9.0\", \"sequence\": 99}";
        for garbage in [HALF, from_the_future] {
            let good = spoil(cluster, &Key::Pointer, garbage).await?;
            names(&cluster.ticked(Function::CreateBackup).await?, &pointer)?;
            names(&cluster.invoke(Function::FlipManifest, &gate).await?, &pointer)?;
            ensure!(
                cluster.bytes(&pointer).await?.as_deref() == Some(garbage.as_bytes()),
                "the pointer was overwritten"
            );
            cluster.put(&pointer, good).await?;
        }

        // A replacement neither starts empty nor guesses: it waits under its hook until the pointer can be read.
        let good = spoil(cluster, &Key::Pointer, HALF).await?;
        let ownership = cluster.bytes(&owner).await?;
        cluster.lose_first().await?;
        cluster
            .wait("drive-restore to stop at the pointer", || async {
                let log = cluster.log(Function::DriveRestore)?;
                Ok(log.lines().any(|l| l.contains("\"ERROR\"") && l.contains(&pointer)).then_some(()))
            })
            .await?;
        cluster
            .wait("the replacement under its hook", || async {
                let instances = cluster.stack.instances().await?;
                Ok(instances.iter().any(|i| i.lifecycle.as_deref() == Some("Pending:Wait")).then_some(()))
            })
            .await?;
        names(&cluster.ticked(Function::DriveRestore).await?, &pointer)?;
        ensure!(!cluster.client.ready().await, "somebody serves");
        ensure!(cluster.bytes(&pointer).await?.as_deref() == Some(HALF.as_bytes()), "the pointer was overwritten");
        ensure!(cluster.bytes(&owner).await? == ownership, "ownership.json changed");
        cluster.put(&pointer, good).await?;
        cluster.tick(Function::DriveRestore).await?;
        cluster.serving(&[&cluster.first.instance]).await?;
        assert_eq!(cluster.client.counts().await?.values().sum::<u64>(), CORPUS.objects);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_not_the_one_that_the_pointer_pins_is_not_restored_from() {
    on(Setup::new(), async |cluster| {
        let id = cluster.protect("wiki").await?.backup_id;
        let manifest = Key::Manifest(id.clone());
        let pointer = cluster.bytes(&Key::Pointer.to_string()).await?;
        let ownership = cluster.bytes(&Key::Ownership.to_string()).await?;
        // Still a manifest of this backup, by its looks.
        let good = cluster.bytes(&manifest.to_string()).await?.context("a manifest")?;
        let spoiled = String::from_utf8(good)?.replace("\"objects\": 300", "\"objects\": 301");
        ensure!(spoiled.contains("301"), "{spoiled}");
        cluster.put(&manifest.to_string(), spoiled.as_str()).await?;
        cluster.lose_first().await?;
        let refusal = cluster
            .wait("a refusal", || async {
                Ok(cluster.closed_restores().await?.into_iter().find_map(|c| c.run.refusal))
            })
            .await?;
        eprintln!("refused: {refusal}");
        ensure!(refusal.contains(id.as_str()) && refusal.contains("manifest.json"), "{refusal}");
        ensure!(!cluster.client.ready().await, "somebody serves");
        let now = cluster.bytes(&manifest.to_string()).await?;
        ensure!(now.as_deref() == Some(spoiled.as_bytes()), "the manifest was overwritten");
        ensure!(cluster.bytes(&Key::Pointer.to_string()).await? == pointer, "the pointer changed");
        ensure!(cluster.bytes(&Key::Ownership.to_string()).await? == ownership, "ownership.json changed");
        Ok(())
    })
    .await;
}
