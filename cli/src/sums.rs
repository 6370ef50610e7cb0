//! `lifeboat sums`: what `sha256sum` would print of a prefix after a download, without the download, and `-c` of it.

mod check;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::pin::pin;

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use lifeboat_domain::ids::Sha256Digest;
use lifeboat_domain::manifest::{CatalogueRow, escaped, root_digest, sum_line};
use lifeboat_engine::{Engine, HeldTo, ListedObject, Object, Policy, Source};
use serde::Serialize;

use crate::progress::Bar;

/// Whether everything is well; sha256sum's exit codes.
pub(crate) const WELL: u8 = 0;
/// A digest that differs, an object that is missing, a bucket without an answer.
pub(crate) const NOT_WELL: u8 = 1;

/// Where to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The bucket.
    pub(crate) bucket: String,
    /// Empty, or with a final slash: names are relative to it.
    pub(crate) prefix: String,
}

impl Location {
    /// Parses `s3://BUCKET/PREFIX`; the prefix is taken for a folder.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("s3://").ok_or_else(|| format!("{text:?} is not s3://BUCKET/PREFIX"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(format!("{text:?} names no bucket"));
        }
        let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
        Ok(Self { bucket: bucket.to_owned(), prefix: format!("{prefix}{slash}") })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Where.
    pub(crate) location: Location,
    /// The text of the file to check against.
    pub(crate) check: Option<String>,
    /// Print JSON.
    pub(crate) json: bool,
    /// The bounds.
    pub(crate) policy: Policy,
}

/// Where to print: data, and everything else.
pub(crate) struct Printer<'a> {
    /// Standard output.
    pub(crate) out: &'a mut (dyn Write + Send),
    /// Standard error.
    pub(crate) err: &'a mut (dyn Write + Send),
}

/// An object that was read.
#[derive(Debug, Clone, Serialize)]
struct Summed {
    name: String,
    key: String,
    size_bytes: u64,
    sha256: Sha256Digest,
    /// What of S3's own the bytes were held to: a full-object checksum, the ETag, or nothing.
    held_to: String,
}

/// An object of which there is no digest.
#[derive(Debug, Clone, Serialize)]
struct Problem {
    name: String,
    what: String,
}

/// Prints the sums of a prefix, or checks them.
pub(crate) async fn run(source: &impl Source, asked: &Asked, printer: &mut Printer<'_>) -> anyhow::Result<u8> {
    let engine = Engine::new(asked.policy.clone());
    let prefix = asked.location.prefix.as_str();
    let listed: Vec<ListedObject> = engine.list(source, prefix).try_collect().await.context("listing")?;
    // What is named like the folder itself is no file in it, as for every tool that downloads.
    let listed: Vec<ListedObject> = listed.into_iter().filter(|o| !o.key.ends_with('/')).collect();
    match &asked.check {
        Some(text) => check::run(source, &engine, asked, &listed, text, printer).await,
        None if listed.is_empty() => bail!("there is nothing under {}", asked.location),
        None => print(source, &engine, asked, listed, printer).await,
    }
}

async fn print(
    source: &impl Source,
    engine: &Engine,
    asked: &Asked,
    listed: Vec<ListedObject>,
    printer: &mut Printer<'_>,
) -> anyhow::Result<u8> {
    let order: Vec<String> = listed.iter().map(|o| o.key.clone()).collect();
    let (mut summed, mut problems) = (BTreeMap::new(), BTreeMap::new());
    let (mut next, mut failed) = (0, None);
    let bar = Bar::of(listed.iter().map(|o| o.size_bytes).sum());
    read(source, engine, asked, listed, &bar, |key, answer| {
        match answer {
            Ok(row) => drop(summed.insert(key, row)),
            Err(problem) => drop(problems.insert(key, problem)),
        }
        // In the order of the listing, each as soon as it is known.
        while let Some(key) = order.get(next) {
            let line = match (summed.get(key), problems.get(key)) {
                (Some(row), _) => sum_line(&row.sha256, &escaped(&row.name)),
                (None, Some(_)) => String::new(),
                (None, None) => break,
            };
            next += 1;
            if !asked.json && !line.is_empty() {
                bar.aside(|| failed = writeln!(printer.out, "{line}").err().or(failed.take()));
            }
        }
    })
    .await;
    bar.end();
    if let Some(error) = failed {
        return Err(error).context("writing the sums");
    }
    let rows: Vec<Summed> = summed.into_values().collect();
    let problems: Vec<Problem> = problems.into_values().collect();
    if asked.json {
        let document = serde_json::json!({
            "location": asked.location.to_string(),
            "complete": problems.is_empty(),
            "objects": rows,
            "problems": problems,
            "size_bytes": rows.iter().map(|r| r.size_bytes).sum::<u64>(),
            "root_sha256": root(&rows),
        });
        writeln!(printer.out, "{document:#}")?;
    }
    for problem in &problems {
        writeln!(printer.err, "lifeboat: {}: {}", escaped(&problem.name), problem.what)?;
    }
    Ok(if problems.is_empty() { WELL } else { NOT_WELL })
}

fn root(rows: &[Summed]) -> Sha256Digest {
    let row = |row: &Summed| CatalogueRow {
        key: row.key.clone(),
        size_bytes: row.size_bytes,
        sha256: row.sha256.clone(),
        etag: String::new(),
        version_id: None,
    };
    root_digest(&rows.iter().map(row).collect::<Vec<_>>())
}

/// Reads objects, and gives each as it comes.
async fn read(
    source: &impl Source,
    engine: &Engine,
    asked: &Asked,
    listed: Vec<ListedObject>,
    bar: &Bar,
    mut each: impl FnMut(String, Result<Summed, Problem>),
) {
    let progress = |progress| bar.take(progress);
    let objects = futures::stream::iter(listed).map(Object::listed);
    let mut answers = pin!(engine.hash_objects(source, objects, &progress));
    while let Some((object, answer)) = answers.next().await {
        let key = object.pinned.key;
        let name = key.strip_prefix(&asked.location.prefix).unwrap_or(&key).to_owned();
        let answer = match answer {
            Ok(Ok(digests)) => Ok(Summed {
                name,
                key: key.clone(),
                size_bytes: digests.size_bytes,
                sha256: Sha256Digest::from_raw(&digests.sha256),
                held_to: match digests.held_to {
                    HeldTo::Checksum(algorithm) => algorithm.to_string(),
                    HeldTo::Etag => "ETag".to_owned(),
                    HeldTo::Nothing => "nothing".to_owned(),
                },
            }),
            Ok(Err(finding)) => Err(Problem { name, what: finding.to_string() }),
            Err(unanswered) => Err(Problem { name, what: chain(&unanswered) }),
        };
        each(key, answer);
    }
}

/// An error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
