//! What was written down before the kill, and what came back.

use anyhow::{Context as _, bail};
use lifeboat_domain::expectations::{AfterObservation, ObservedAfter};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::restore::run::{ClosedRestore, StepName};

use super::{Audience, Journey, proof};
use crate::corpus::{COLLECTIONS, Corpus, Document};
use crate::report::Checked;

/// Objects compared by id, with their vectors.
const COMPARED: u64 = 500;

impl Journey {
    /// Compares what came back with what was written down, and collects the proof that it came out of the backup.
    pub async fn compare(
        &mut self,
        id: &BackupId,
        closed: &ClosedRestore,
        audience: &dyn Audience,
    ) -> anyhow::Result<()> {
        audience.step("Compare counts, canaries and objects");
        let file = self.stack.dir().join("before-the-kill.json");
        let before: Vec<Kept> = serde_json::from_slice(&std::fs::read(&file)?)?;
        let statuses = self.client.tenant_statuses().await?;
        self.report.counts.after = self.client.counts().await?;
        for (place, count) in &self.report.counts.after {
            let collection = place.split('/').next().unwrap_or(place);
            *self.report.restored.entry(collection.to_owned()).or_default() += count;
        }
        let failures = &mut self.report.failures;
        if self.report.counts.after != self.report.counts.before {
            failures.push(format!(
                "counts differ: {:?} before, {:?} after",
                self.report.counts.before, self.report.counts.after
            ));
        }
        if self.report.restored != self.report.indexed {
            failures.push(format!("{:?} was indexed, {:?} came back", self.report.indexed, self.report.restored));
        }
        for collection in &COLLECTIONS {
            for (tenant, active) in collection.tenants {
                let place = format!("{}/{tenant}", collection.name);
                let wanted = if *active { "ACTIVE" } else { "INACTIVE" };
                if statuses.get(&place).map(String::as_str) != Some(wanted) {
                    failures.push(format!("tenant {place} is {:?}, not {wanted}", statuses.get(&place)));
                }
            }
        }
        let mut compared = Checked::default();
        for kept in &before {
            compared.checked += 1;
            let found = self.client.object(&kept.document(&self.plan.corpus)).await?;
            if found != Some((kept.properties.clone(), kept.vector.clone())) {
                compared.failed += 1;
                failures.push(format!("object {} of {} is not as before", kept.n, kept.collection));
            }
        }
        self.report.objects_by_id = compared;
        self.report.canaries = self.canaries(id, closed).await?;
        self.prove(id, closed).await?;
        self.report.ok = self.report.failures.is_empty();
        let canaries = self.report.canaries;
        audience.done(&format!(
            "{} objects counted, {} canaries and {} objects with vectors compared, {} differences",
            self.report.restored.values().sum::<u64>(),
            canaries.checked,
            compared.checked,
            self.report.failures.len()
        ));
        Ok(())
    }

    /// The canaries that the gate replayed, all of which must have passed for it to open.
    async fn canaries(&self, id: &BackupId, closed: &ClosedRestore) -> anyhow::Result<Checked> {
        let after: ObservedAfter =
            self.s3.document(&Key::ObservedAfter(id.clone())).await?.context("there is no observed-after.json")?;
        let checked = match &after.observation {
            AfterObservation::Node { confirmed, .. } => confirmed.len() as u64,
            AfterObservation::NodeGone { .. } => 0,
        };
        let failed = if closed.run.refusal.is_some() { checked } else { 0 };
        Ok(Checked { checked, failed })
    }

    async fn prove(&mut self, id: &BackupId, closed: &ClosedRestore) -> anyhow::Result<()> {
        let (_, rows) = self.catalogue(id).await?;
        let new = self.report.nodes.last().context("there is no new node")?.clone();
        let log = self.stack.s3_access_log()?;
        let proof = &mut self.report.proof;
        proof::reads(proof, &rows, &log, &new.instance);
        if self.plan.weaviate.is_none() {
            let killed = self.report.timeline.iter().find(|m| m.step == "node_killed").map_or(0, |m| m.at_ms);
            let since = self.began.as_millisecond() + killed;
            let until = closed.run.at(StepName::Continued).context("the gate never opened")?.as_millisecond();
            proof.foreign_writes = Some(proof::foreign_writes(&self.access_log, since, until)?);
        }
        let old = &self.report.nodes[0];
        let failures = &mut self.report.failures;
        if proof.chunks == 0 || proof.chunks_read < proof.chunks {
            failures.push(format!("the new node read {} of {} chunks", proof.chunks_read, proof.chunks));
        }
        if proof.foreign_writes.is_some_and(|writes| writes > 0) {
            failures.push(format!(
                "somebody but its own restore wrote to the new node: {:?} requests",
                proof.foreign_writes
            ));
        }
        if old.pid == new.pid || old.data_path == new.data_path {
            failures.push("the new node has the old one's process or data directory".to_owned());
        }
        Ok(())
    }

    /// Every object of the sample as it is now.
    pub(super) async fn sample(&self) -> anyhow::Result<Vec<Kept>> {
        let corpus = self.plan.corpus;
        let mut kept = Vec::new();
        for collection in &COLLECTIONS {
            let count = corpus.count(collection);
            let wanted = (COMPARED * collection.share / 10).min(count);
            for i in 0..wanted {
                let n = i * count / wanted;
                let document = corpus.document(collection, n);
                let active = collection.tenants.iter().all(|(t, active)| document.tenant != Some(t) || *active);
                if !active {
                    // An INACTIVE tenant is not read; its neighbour in an ACTIVE one stands in.
                    let next = corpus.document(collection, n + 1);
                    if n + 1 < count && next.tenant != document.tenant {
                        kept.push(self.kept(collection.name, n + 1, &next).await?);
                    }
                    continue;
                }
                kept.push(self.kept(collection.name, n, &document).await?);
            }
        }
        Ok(kept)
    }

    async fn kept(&self, collection: &str, n: u64, document: &Document) -> anyhow::Result<Kept> {
        let found = self.client.object(document).await?;
        let (properties, vector) = found.with_context(|| format!("object {n} of {collection} is not there"))?;
        if vector != document.vector {
            bail!("object {n} of {collection} has another vector than was indexed");
        }
        Ok(Kept { collection: collection.to_owned(), n, properties, vector })
    }
}

/// An object as it was before the kill.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Kept {
    collection: String,
    n: u64,
    properties: serde_json::Value,
    vector: Vec<f32>,
}

impl Kept {
    fn document(&self, corpus: &Corpus) -> Document {
        let collection = COLLECTIONS.iter().find(|c| c.name == self.collection).unwrap_or(&COLLECTIONS[0]);
        corpus.document(collection, self.n)
    }
}
