//! What was written down before the kill, and what came back.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use lifeboat_domain::expectations::{AfterObservation, ObservedAfter};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::restore::run::{ClosedRestore, StepName};

use super::{Audience, Journey, Plan, proof};
use crate::client::Stored;
use crate::collections::{Collection, Data, OFFLOADED_TENANT};
use crate::corpus::{Corpus, Document};
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
        for collection in self.plan.data.collections() {
            for (tenant, active) in collection.tenants {
                let place = format!("{}/{tenant}", collection.name);
                let wanted = if *active { "ACTIVE" } else { "INACTIVE" };
                if statuses.get(&place).map(String::as_str) != Some(wanted) {
                    failures.push(format!("tenant {place} is {:?}, not {wanted}", statuses.get(&place)));
                }
            }
        }
        if self.plan.data == Data::Rich && self.report.data.not_shown.is_empty() {
            let found = statuses.get(&format!("Note/{OFFLOADED_TENANT}"));
            if found.map(String::as_str) != Some("OFFLOADED") {
                failures.push(format!("tenant Note/{OFFLOADED_TENANT} is {found:?}, not OFFLOADED"));
            }
        }
        self.report.tenants = statuses;
        let compressed = self.client.compressed().await?;
        for collection in self.plan.data.collections().iter().filter(|c| c.compressed()) {
            match compressed.get(collection.name) {
                Some(true) => self.report.compressed.push(collection.name.to_owned()),
                other => self.report.failures.push(format!("{} is not compressed: {other:?}", collection.name)),
            }
        }
        let (mut compared, mut named, mut references) = (Checked::default(), Checked::default(), Checked::default());
        for kept in &before {
            let found = self.client.stored(&kept.document(&self.plan)?).await?;
            compared.add(1, found.as_ref() == Some(&kept.stored));
            let found = found.as_ref();
            named.add(kept.stored.named.len() as u64, found.is_some_and(|f| f.named == kept.stored.named));
            if let Some(beacons) = kept.stored.properties["of_article"].as_array() {
                let now = found.map(|f| &f.properties["of_article"]);
                references.add(beacons.len() as u64, now.and_then(|n| n.as_array()) == Some(beacons));
            }
            if found != Some(&kept.stored) {
                let what = format!("object {} of {} is not as before", kept.n, kept.collection);
                self.report.failures.push(what);
            }
        }
        (self.report.objects_by_id, self.report.named_vectors, self.report.references) = (compared, named, references);
        self.report.canaries = self.canaries(id, closed).await?;
        self.prove(id, closed).await?;
        self.report.ok = self.report.failures.is_empty();
        let canaries = self.report.canaries;
        audience.done(&format!(
            "{} objects counted; {} canaries, {} objects with their vectors ({} named) and {} references compared; {} differences",
            self.report.restored.values().sum::<u64>(),
            canaries.checked,
            compared.checked,
            named.checked,
            references.checked,
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
        let mut kept = Vec::new();
        for collection in self.plan.data.collections() {
            for n in sampled(&self.plan.corpus, collection) {
                let document = self.plan.corpus.document(collection, n);
                let stored = self.client.stored(&document).await?;
                let stored = stored.with_context(|| format!("object {n} of {} is not there", collection.name))?;
                if !is_as_indexed(&stored, &document) {
                    bail!("object {n} of {} is not what was indexed: {stored:?}", collection.name);
                }
                kept.push(Kept { collection: collection.name.to_owned(), n, stored });
            }
        }
        Ok(kept)
    }
}

/// The objects of a collection that are compared, spread over it and over its tenants in turn; an INACTIVE tenant is not
/// read.
fn sampled(corpus: &Corpus, collection: &Collection) -> BTreeSet<u64> {
    let count = corpus.count(collection);
    let wanted = (COMPARED * collection.share / 10).min(count);
    let stride = (collection.tenants.len() as u64).max(1);
    let awake: Vec<u64> =
        (0..stride.min(count)).filter(|n| collection.is_awake(corpus.document(collection, *n).tenant)).collect();
    let mut sample = BTreeSet::new();
    for (i, of_tenant) in (0..wanted).zip(awake.iter().cycle()) {
        let at = i * count / wanted;
        let from = at - at % stride + of_tenant;
        let rounds = count / stride + 1;
        let places = (0..rounds).map(|round| (from + round * stride) % (rounds * stride));
        sample.extend(places.filter(|n| *n < count).find(|n| !sample.contains(n)));
    }
    sample
}

/// Whether a stored object is what was sent: links beside references are the server's own.
fn is_as_indexed(stored: &Stored, document: &Document) -> bool {
    let mut properties = stored.properties.clone();
    for reference in properties["of_article"].as_array_mut().into_iter().flatten() {
        reference.as_object_mut().map(|fields| fields.remove("href"));
    }
    if properties["of_article"].is_null() {
        properties.as_object_mut().map(|fields| fields.remove("of_article"));
    }
    properties == document.properties && stored.vector == document.vector && stored.named == document.named
}

/// An object as it was before the kill.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Kept {
    collection: String,
    n: u64,
    stored: Stored,
}

impl Kept {
    fn document(&self, plan: &Plan) -> anyhow::Result<Document> {
        let collection = plan.data.collections().iter().find(|c| c.name == self.collection);
        Ok(plan.corpus.document(collection.with_context(|| self.collection.clone())?, self.n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_hundred_different_objects_of_every_tenant_that_is_awake_are_compared() {
        for objects in [1_000, 2_000, 20_000, 200_000] {
            let corpus = Corpus { objects, dimensions: 1 };
            for data in [Data::Plain, Data::Rich] {
                let mut all = 0;
                for collection in data.collections() {
                    let sample = sampled(&corpus, collection);
                    let tenants: BTreeSet<_> =
                        sample.iter().filter_map(|n| corpus.document(collection, *n).tenant).collect();
                    let awake = collection.tenants.iter().filter(|(_, active)| *active);
                    assert_eq!(tenants, awake.map(|(name, _)| *name).collect(), "{data:?} {objects}");
                    all += sample.len();
                }
                assert_eq!(all, 500, "{data:?} {objects}");
            }
        }
    }
}
