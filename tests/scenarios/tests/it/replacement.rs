//! A planned replacement: nothing acknowledged is lost, and readers hardly notice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lifeboat_domain::create::writers::Freeze;
use lifeboat_domain::expectations::Expectations;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::manifest::{Consistency, Manifest};
use lifeboat_stack::Instance;
use serde_json::json;

use crate::load::{self, Load};
use crate::support::{Cluster, PATIENCE, Setup, on};

/// The indexer's key, as the stack's options have it.
pub(crate) fn key() -> String {
    lifeboat_stack::StackOptions::default().secrets["/lifeboat/weaviate/keys/indexer"].clone()
}

/// How many writes are acknowledged before the replacement begins; more go on all the while. `LIFEBOAT_LOAD_OBJECTS` asks for
/// another number, and for the bounds on time too, which a busy machine cannot promise.
fn objects() -> (usize, bool) {
    match std::env::var("LIFEBOAT_LOAD_OBJECTS").ok().and_then(|n| n.parse().ok()) {
        Some(objects) => (objects, true),
        None => (6_000, false),
    }
}

/// Ends the first instance as a person or an instance refresh would, and waits for its successor, with the minute's ticks
/// given faster.
async fn replace(cluster: &Cluster) -> Result<Instance> {
    let first = cluster.first.instance.clone();
    let request = json!({"InstanceId": first, "ShouldDecrementDesiredCapacity": false});
    cluster.stack.call("autoscaling", "terminate_instance_in_auto_scaling_group", request).await??;
    let (begun, mut last_tick) = (Instant::now(), None::<Instant>);
    loop {
        if last_tick.is_none_or(|at| at.elapsed() > Duration::from_secs(5)) {
            cluster.tick(Function::CreateBackup).await?;
            cluster.tick(Function::DriveRestore).await?;
            last_tick = Some(Instant::now());
        }
        let owner = cluster.ownership().await?.context("owner")?.owner;
        let instances = cluster.stack.instances().await?;
        let serves = |i: &&Instance| i.instance == owner.as_str() && i.lifecycle.as_deref() == Some("InService");
        if owner.as_str() != first
            && let Some(found) = instances.iter().find(serves)
        {
            return Ok(found.clone());
        }
        ensure!(begun.elapsed() < PATIENCE * 2, "no successor came to serve; {instances:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The groups of the fixed address.
async fn groups(cluster: &Cluster) -> Result<Vec<String>> {
    let id = cluster.stack.output("NetworkInterfaceId")?;
    let found =
        cluster.stack.call("ec2", "describe_network_interfaces", json!({"NetworkInterfaceIds": [id]})).await??;
    let groups = found["NetworkInterfaces"][0]["Groups"].as_array().context("groups")?.clone();
    Ok(groups.iter().filter_map(|g| g["GroupId"].as_str().map(str::to_owned)).collect())
}

/// Readers and writers are told apart by where they come from.
async fn tell_clients_apart(cluster: &Cluster) -> Result<()> {
    let (writers, readers) = load::addresses(cluster.stack.fixed_address())?;
    let mut knob = serde_json::Map::new();
    for (addresses, group) in [(writers, "WriterSecurityGroupId"), (readers, "ReaderSecurityGroupId")] {
        let group = cluster.stack.output(group)?;
        knob.extend(addresses.into_iter().map(|address| (address, json!([group]))));
    }
    cluster.stack.set_knobs(json!({"client_groups": knob})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_replacement_under_constant_reads_and_writes_loses_no_acknowledged_write() {
    on(Setup::new(), async |cluster| {
        let (wanted, strict) = objects();
        tell_clients_apart(cluster).await?;
        let fixed = cluster.stack.fixed_address().to_owned();
        let clients = Load::start(&fixed, &key()).await?;
        let enough = || async { Ok((clients.acknowledged() >= wanted).then_some(())) };
        cluster.stack.wait_for("acknowledged writes", PATIENCE * 5, enough).await?;
        let begun = Instant::now();
        let second = replace(cluster).await?;
        let took = begun.elapsed();
        // Writers that were shut out are let in again by the gate itself.
        let before = clients.acknowledged();
        cluster
            .wait("writes to the successor", || async { Ok((clients.acknowledged() > before).then_some(())) })
            .await?;
        ensure!(load::first_write(&fixed, &key()).await?.is_success(), "a writer's first write was refused");
        let noticed = clients.end().await;

        let there = load::stored(&fixed, &key()).await?;
        let lost: Vec<&u64> = noticed.acknowledged.difference(&there).collect();
        eprintln!(
            "acknowledged {} (batches without: {}), reads {}, lost {}, replacement {} ms, read_gap_ms {}, write_gap_ms {}",
            noticed.acknowledged.len(),
            noticed.refused,
            noticed.reads,
            lost.len(),
            took.as_millis(),
            noticed.read_gap.as_millis(),
            noticed.write_gap.as_millis(),
        );
        ensure!(lost.is_empty(), "{} acknowledged writes are lost: {:?}", lost.len(), &lost[..lost.len().min(5)]);
        ensure!(noticed.refused > 0, "nobody ever shut the writers out");
        let bound = Duration::from_secs(if strict { 2 } else { 20 });
        ensure!(noticed.read_gap <= bound, "readers were left without an answer for {:?}", noticed.read_gap);

        // The record says what was done, and by which groups it was proved.
        let id = cluster.create_run().await?.last.and_then(|last| last.backup_id).context("the final backup")?;
        let expected: Expectations = cluster.document(&Key::Expectations(id.clone())).await?.context("expectations")?;
        let Freeze { groups: shut, resets, read_only, objects, .. } = expected.freeze.context("the proof")?;
        let counted: u64 = expected.collections.values().map(|c| c.count).sum();
        let reader = cluster.stack.output("AddressReadSecurityGroupId")?.to_owned();
        let writer = cluster.stack.output("AddressWriteSecurityGroupId")?.to_owned();
        assert_eq!((shut, read_only, objects), (vec![reader.clone()], true, counted));
        ensure!(resets.times >= 2 && resets.connections > 0, "{resets:?}");
        let manifest: Manifest = cluster.document(&Key::Manifest(id)).await?.context("manifest")?;
        assert_eq!(manifest.consistency, Consistency::Exact);
        let mut open = groups(cluster).await?;
        open.sort();
        let mut both = vec![reader, writer];
        both.sort();
        assert_eq!(open, both, "on {}", second.instance);
        Ok(())
    })
    .await;
}
