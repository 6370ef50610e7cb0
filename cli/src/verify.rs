//! `lifeboat verify`: whether a backup is still what was verified, asked from here.

use anyhow::Context as _;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::keys::Key;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::verify::T0Level;
use lifeboat_engine::{Engine, Policy};
use lifeboat_workflows::inventory::{LoadError, Which, load_verified_manifest, t0};
use lifeboat_workflows::ports::Bucket;
use lifeboat_workflows::reread::reread;
use lifeboat_workflows::store::{self, StoreError};
use serde::Serialize;

use crate::progress::Bar;
use crate::sums::Printer;

/// The backup is what was verified.
const WHOLE: u8 = 0;
/// It is not.
const NOT_WHOLE: u8 = 1;
/// The bucket gave no answer, so nobody knows.
pub(crate) const UNKNOWN: u8 = 3;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The backup.
    pub(crate) backup_id: BackupId,
    /// T0 only.
    pub(crate) quick: bool,
    /// Print JSON.
    pub(crate) json: bool,
    /// The bounds of reading.
    pub(crate) policy: Policy,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    backup_id: BackupId,
    /// Whether nothing was found.
    whole: bool,
    /// `T0`, `T0-weak` on a store without versions, or `T1`.
    level: &'static str,
    /// The pointer's sequence, when the pointer names it.
    sequence: Option<u64>,
    /// Objects in the catalogue.
    objects: u64,
    /// Their bytes.
    size_bytes: u64,
    /// Bytes that were read.
    read_bytes: u64,
    root_sha256: String,
    findings: Vec<String>,
    unanswered: Vec<String>,
}

/// Holds documents to each other, the listing to the catalogue, and unless it is to be quick every byte.
pub(crate) async fn run(bucket: &impl Bucket, asked: &Asked, printer: &mut Printer<'_>) -> anyhow::Result<u8> {
    let pointer = store::read::<Pointer>(bucket, &Key::Pointer).await.context("reading the pointer")?;
    let pointer = pointer.map(|p| p.value).filter(|p| p.backup_id == asked.backup_id);
    let which = pointer.as_ref().map_or(Which::Backup(&asked.backup_id), Which::Pointer);
    let verified = match load_verified_manifest(bucket, which).await {
        Ok(verified) => verified,
        Err(error @ LoadError::Store(StoreError::Bucket { .. })) => return Err(error.into()),
        Err(error) => return refused(asked, &anyhow::Error::from(error), printer),
    };
    let outcome = t0(bucket, verified.manifest(), verified.rows()).await.context("listing the backup")?;
    let catalogue = &verified.manifest().catalogue;
    let mut report = Report {
        backup_id: asked.backup_id.clone(),
        whole: false,
        level: if outcome.level == T0Level::Weak { "T0-weak" } else { "T0" },
        sequence: pointer.map(|p| p.sequence.0),
        objects: catalogue.rows,
        size_bytes: catalogue.size_bytes,
        read_bytes: 0,
        root_sha256: catalogue.root_sha256.to_string(),
        findings: outcome.findings.iter().map(ToString::to_string).collect(),
        unanswered: Vec::new(),
    };
    if !asked.quick {
        report.level = "T1";
        let bar = Bar::of(catalogue.size_bytes);
        let engine = Engine::new(asked.policy.clone());
        let reread = reread(bucket, &engine, &verified, &|progress| bar.take(progress)).await;
        bar.end();
        let reread = reread.context("reading the backup")?;
        report.read_bytes = reread.size_bytes;
        report.findings.extend(reread.findings.iter().map(ToString::to_string));
        report.unanswered = reread.unanswered.into_iter().map(|u| format!("{:#}", anyhow::Error::from(u))).collect();
    }
    report.whole = report.findings.is_empty() && report.unanswered.is_empty();
    print(asked, &report, printer)
}

/// A manifest that cannot be relied upon is a verdict.
fn refused(asked: &Asked, error: &anyhow::Error, printer: &mut Printer<'_>) -> anyhow::Result<u8> {
    let finding = format!("{error:#}");
    if asked.json {
        let document = serde_json::json!({"backup_id": asked.backup_id, "whole": false, "findings": [finding]});
        writeln!(printer.out, "{document:#}")?;
    } else {
        writeln!(printer.out, "NOT WHOLE  {}", asked.backup_id)?;
        writeln!(printer.out, "  {finding}")?;
    }
    Ok(NOT_WHOLE)
}

fn print(asked: &Asked, report: &Report, printer: &mut Printer<'_>) -> anyhow::Result<u8> {
    if asked.json {
        writeln!(printer.out, "{:#}", serde_json::to_value(report)?)?;
    } else {
        let verdict = match (report.whole, report.findings.is_empty()) {
            (true, _) => "WHOLE",
            (false, false) => "NOT WHOLE",
            (false, true) => "UNKNOWN",
        };
        writeln!(printer.out, "{verdict}  {}", report.backup_id)?;
        let how = match report.level {
            "T1" => format!("read in full, {} bytes equal to the catalogue", report.read_bytes),
            level => format!("listed, nothing read ({level})"),
        };
        let named = report.sequence.map_or_else(|| "not named by the pointer".to_owned(), |n| format!("sequence {n}"));
        writeln!(printer.out, "  objects       {}, {} bytes; {how}", report.objects, report.size_bytes)?;
        writeln!(printer.out, "  pointer       {named}")?;
        writeln!(printer.out, "  root digest   {}", report.root_sha256)?;
        for finding in report.findings.iter().chain(&report.unanswered) {
            writeln!(printer.out, "  {finding}")?;
        }
    }
    Ok(match (report.findings.is_empty(), report.unanswered.is_empty()) {
        (true, true) => WHOLE,
        (false, _) => NOT_WHOLE,
        (true, false) => UNKNOWN,
    })
}

#[cfg(test)]
mod tests;
