//! Damage to a backup between its end and its verification: the pointer stays, and the reason is on record.

use anyhow::{Context, Result, ensure};
use lifeboat_domain::document::decode;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::manifest::Manifest;
use lifeboat_domain::runs::{Action, CloseOutcome, CreatePhase};
use lifeboat_domain::verify::{Finding, VerifyEvidence};
use serde_json::Value;

use crate::support::{Cluster, Setup, on};

/// Takes a backup on request and stops where it is finished and recorded, and nobody has begun to verify it.
async fn finished(cluster: &Cluster, request: &str) -> Result<BackupId> {
    cluster.ask(request, Action::Backup).await?;
    cluster.tick(Function::CreateBackup).await?;
    let id = cluster
        .wait("a finished backup", || async {
            let open = cluster.create_run().await?.open;
            Ok(open.filter(|open| open.phase == CreatePhase::Handed).and_then(|open| open.named).map(|n| n.backup_id))
        })
        .await
        .with_context(|| format!("the backup of request {request}"))?;
    ensure!(cluster.verdict(&id).await?.is_none() && cluster.keys(&Key::work_prefix(&id)).await?.is_empty(), "{id}");
    Ok(id)
}

/// Has the backup planned, its shards read, decided on, and closed, as the events would that are switched off.
async fn verified(cluster: &Cluster, id: &BackupId) -> Result<()> {
    let written = |key: &Key| cluster.written(&key.to_string());
    let planned = cluster.invoke(Function::VerifyChecksums, &written(&Key::backup_config(id))).await?;
    ensure!(planned.function_error.is_none(), "{planned:?}");
    for key in cluster.keys(&Key::work_prefix(id)).await? {
        let hashed = cluster.invoke(Function::VerifyChecksums, &cluster.written(&key)).await?;
        ensure!(hashed.function_error.is_none(), "{hashed:?}");
        let flipped = cluster.invoke(Function::FlipManifest, &cluster.written(&key.replace("shard-", "part-"))).await?;
        ensure!(flipped.function_error.is_none(), "{flipped:?}");
    }
    cluster.ticked(Function::CreateBackup).await.map(drop)
}

/// The chunks of a backup.
async fn chunks(cluster: &Cluster, id: &BackupId) -> Result<Vec<String>> {
    let keys = cluster.keys(&Key::backup_prefix(id)).await?;
    Ok(keys.into_iter().filter(|key| key.contains("/chunk-")).collect())
}

/// A descriptor of the backup, changed.
async fn rewritten(cluster: &Cluster, key: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
    let bytes = cluster.bytes(key).await?.with_context(|| format!("{key} is there"))?;
    let mut descriptor = serde_json::from_slice(&bytes)?;
    change(&mut descriptor);
    cluster.put(key, serde_json::to_vec(&descriptor)?).await
}

/// Holds the refusal of a backup to be complete: the verdict, the evidence, the closed backup, and the pointer's bytes.
async fn refused(cluster: &Cluster, id: &BackupId, pointer: &[u8], named: impl Fn(&Finding) -> bool) -> Result<String> {
    let verdict = cluster.verdict(id).await?.with_context(|| format!("{id} has a verdict"))?;
    assert_eq!(verdict.outcome, CloseOutcome::Failed);
    let kept = cluster.keys(&format!("manifests/{id}/evidence/verify-")).await?;
    ensure!(kept.len() == 1, "{kept:?}");
    let evidence: VerifyEvidence = decode(&kept[0], &cluster.bytes(&kept[0]).await?.context("evidence")?)?;
    ensure!(!evidence.verified && &evidence.backup_id == id, "{evidence:?}");
    let finding = evidence.findings.iter().find(|f| named(f));
    let finding = finding.with_context(|| format!("not named: {:#?}", evidence.findings))?.to_string();
    ensure!(verdict.reasons.contains(&finding), "{finding} is not in {:?}", verdict.reasons);
    let last = cluster.create_run().await?.last.context("create-backup closed it")?;
    assert_eq!((last.backup_id.as_ref(), last.outcome), (Some(id), CloseOutcome::Failed));
    ensure!(!last.reason.is_empty(), "{last:?}");
    ensure!(cluster.document::<Manifest>(&Key::Manifest(id.clone())).await?.is_none(), "{id} has a manifest");
    ensure!(cluster.bytes(&Key::Pointer.to_string()).await?.as_deref() == Some(pointer), "the pointer changed");
    Ok(finding)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_touched_before_it_was_verified_does_not_move_the_pointer_and_says_why() {
    on(Setup::new(), async |cluster| {
        cluster.protect("wiki").await?;
        cluster.ticked(Function::CreateBackup).await?;
        let pointer = cluster.bytes(&Key::Pointer.to_string()).await?.context("a pointer to hold on to")?;
        cluster.stack.s3_events(false).await?;
        let mut reasons = Vec::new();

        // A byte flipped by overwriting a chunk: as long as before.
        let id = finished(cluster, "overwrite").await?;
        let chunk = chunks(cluster, &id).await?.remove(0);
        let mut bytes = cluster.bytes(&chunk).await?.context("a chunk")?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        cluster.put(&chunk, bytes).await?;
        verified(cluster, &id).await?;
        let named = |f: &Finding| matches!(f, Finding::Overwritten { key, versions: 2 } if *key == chunk);
        reasons.push(refused(cluster, &id, &pointer, named).await?);

        // A byte flipped at rest: size, ETag and version are those of the upload.
        let id = finished(cluster, "at-rest").await?;
        let chunk = chunks(cluster, &id).await?.remove(1);
        cluster.stack.tamper(cluster.bucket(), &chunk, -20).await?;
        verified(cluster, &id).await?;
        let named = |f: &Finding| matches!(f, Finding::EtagDiffers { key, .. } if *key == chunk);
        reasons.push(refused(cluster, &id, &pointer, named).await?);

        let id = finished(cluster, "missing").await?;
        let chunk = chunks(cluster, &id).await?.remove(0);
        cluster.delete(&chunk).await?;
        verified(cluster, &id).await?;
        let named = |f: &Finding| matches!(f, Finding::ObjectMissing { key } if *key == chunk);
        reasons.push(refused(cluster, &id, &pointer, named).await?);

        let id = finished(cluster, "extra").await?;
        let extra = format!("backups/{id}/weaviate-0/Article/chunk-77");
        cluster.put(&extra, "nobody's").await?;
        verified(cluster, &id).await?;
        let named = |f: &Finding| matches!(f, Finding::Unexplained { key } if *key == extra);
        reasons.push(refused(cluster, &id, &pointer, named).await?);

        // The node's descriptor has another class than the global one.
        let id = finished(cluster, "disagree").await?;
        let node = format!("backups/{id}/weaviate-0/backup.json");
        rewritten(cluster, &node, |d| d["classes"][0]["name"] = "Elsewhere".into()).await?;
        verified(cluster, &id).await?;
        let named = |f: &Finding| matches!(f, Finding::NodeClassesDiffer { key, found, .. } if *key == node && found.contains(&"Elsewhere".to_owned()));
        reasons.push(refused(cluster, &id, &pointer, named).await?);

        // Both descriptors agree, and neither has a class that the schema had.
        let id = finished(cluster, "class").await?;
        let node = format!("backups/{id}/weaviate-0/backup.json");
        rewritten(cluster, &node, |d| {
            let classes = d["classes"].as_array_mut().expect("classes");
            classes.retain(|class| class["name"] != "Passage");
        })
        .await?;
        rewritten(cluster, &format!("backups/{id}/backup_config.json"), |d| {
            let classes = d["nodes"]["weaviate-0"]["classes"].as_array_mut().expect("classes");
            classes.retain(|class| class != "Passage");
        })
        .await?;
        for chunk in chunks(cluster, &id).await?.iter().filter(|key| key.contains("/Passage/")) {
            cluster.delete(chunk).await?;
        }
        verified(cluster, &id).await?;
        let named = |f: &Finding| matches!(f, Finding::ClassesDiffer { missing, .. } if missing == &["Passage"]);
        reasons.push(refused(cluster, &id, &pointer, named).await?);

        for reason in &reasons {
            eprintln!("refused: {reason}");
        }
        // The way that the six took is the way that a sound backup takes.
        let id = finished(cluster, "sound").await?;
        verified(cluster, &id).await?;
        let pointer = cluster.pointer().await?.context("pointer")?;
        assert_eq!((pointer.sequence.0, &pointer.backup_id), (2, &id));
        Ok(())
    })
    .await;
}
