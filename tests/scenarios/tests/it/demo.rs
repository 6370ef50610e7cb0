//! `cargo demo` as a person runs it, and its sabotage.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lifeboat_stack::{Functions, Node, Silent, Stack, StackOptions, target_dir};
use serde_json::Value;

use crate::support::{PATIENCE, SEATS, STACKS, binary};

/// Runs the demo with these arguments, beside at most one other stack, or beside none where its pace is what is tested;
/// its output, and how long it took.
async fn demo(arguments: &[&str], alone: bool) -> Result<(Output, Duration)> {
    let _seats = SEATS.acquire_many(if alone { STACKS } else { 1 }).await?;
    // The stack's own build makes every binary of the workspace, and says when this one is missing.
    let options = StackOptions {
        functions: Functions::Build(vec!["lifeboat-demo".to_owned()]),
        node: Node::None,
        ..StackOptions::default()
    };
    Stack::start_empty(options, &Silent).await?.stop();
    let begun = Instant::now();
    let child = tokio::process::Command::new(binary("lifeboat-demo"))
        .args(arguments)
        .current_dir(lifeboat_stack::workspace_root())
        .kill_on_drop(true)
        .stdin(std::process::Stdio::null())
        .output();
    let output = tokio::time::timeout(3 * PATIENCE, child).await.context("the demo did not end in time")??;
    Ok((output, begun.elapsed()))
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn report_file(name: &str) -> Result<PathBuf> {
    let dir = target_dir().join("lifeboat-scenarios");
    std::fs::create_dir_all(&dir)?;
    Ok(dir.join(format!("report-{}-{name}.json", std::process::id())))
}

fn take(file: &Path) -> Result<Value> {
    let report = serde_json::from_slice(&std::fs::read(file).with_context(|| format!("reading {}", file.display()))?)?;
    std::fs::remove_file(file)?;
    Ok(report)
}

fn number(report: &Value, path: &str) -> Result<i64> {
    report.pointer(path).and_then(Value::as_i64).with_context(|| format!("{path} is no number in {report:#}"))
}

fn text<'r>(report: &'r Value, path: &str) -> Result<&'r str> {
    let found = report.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.with_context(|| format!("{path} is no text in {report:#}"))
}

/// Holds a report of a demo that went well to what the issue names.
fn holds(report: &Value, objects: i64) -> Result<()> {
    assert_eq!((&report["ok"], &report["failures"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(text(report, "/weaviate/kind")?, "embedded");
    ensure!(text(report, "/weaviate/version")?.starts_with("1."), "{report:#}");
    // What tells the double from any real server, which has a hexadecimal number there.
    assert_eq!(text(report, "/weaviate/git_hash")?, "lifeboat-double");
    assert_eq!(text(report, "/weaviate/binary_sha256")?.len(), 64);
    let rich = text(report, "/data/profile")? == "rich";
    let sum = |of: &str| report[of].as_object().map_or(0, |m| m.values().filter_map(Value::as_i64).sum::<i64>());
    assert_eq!(
        (sum("indexed"), report["indexed"].as_object().map(serde_json::Map::len)),
        (objects, Some(if rich { 4 } else { 3 }))
    );
    assert_eq!(report["restored"], report["indexed"]);
    let counts = &report["counts"];
    assert_eq!(counts["before"], counts["after"]);
    let places = if rich { 2 + 3 + 5 } else { 2 + 3 };
    assert_eq!(counts["before"].as_object().map(serde_json::Map::len), Some(places), "collections and their tenants");

    let id = text(report, "/backup/id")?;
    ensure!(id.starts_with("weaviate_backup_"), "{id}");
    ensure!(number(report, "/backup/bytes")? > objects * 100, "{report:#}");
    // Objects of an inactive tenant are in the backup, and in no count.
    let statuses = report["tenants"].as_object().context("tenants")?;
    let inactive = statuses.iter().filter(|(_, status)| *status == "INACTIVE").map(|(place, _)| place);
    let asleep: i64 = inactive.filter_map(|place| counts["before"][place].as_i64()).sum();
    ensure!(asleep > 0, "{statuses:?}");
    assert_eq!(number(report, "/backup/objects")? + asleep, objects);
    if rich {
        let is = |status: &str| statuses.values().filter(|s| *s == status).count();
        assert_eq!((is("ACTIVE"), is("INACTIVE"), is("OFFLOADED")), (6, 2, 1), "{statuses:?}");
        assert_eq!(report["data"]["not_shown"], serde_json::json!([]));
        for (what, checked) in [("named_vectors", 200), ("references", 100)] {
            assert_eq!(report[what], serde_json::json!({"checked": checked, "failed": 0}), "{what}");
        }
        assert_eq!(report["compressed"].as_array().map(Vec::len), Some(2), "{}", report["compressed"]);
    }
    ensure!(!report.to_string().contains(&*lifeboat_stack::workspace_root().display().to_string()), "a path of ours");
    let root = text(report, "/backup/root_sha256")?;
    ensure!(root.len() == 64 && root.bytes().all(|b| b.is_ascii_hexdigit()), "{root}");
    assert_eq!((number(report, "/pointer/sequence")?, number(report, "/pointer/generation")?), (1, 1));
    assert_eq!(text(report, "/pointer/backup_id")?, id);
    ensure!(number(report, "/canaries/checked")? >= 5, "{}", report["canaries"]);
    assert_eq!(number(report, "/canaries/failed")?, 0);
    assert_eq!(
        (number(report, "/objects_by_id/checked")?, number(report, "/objects_by_id/failed")?),
        (500.min(objects), 0)
    );

    let recovery = |part: &str| number(report, &format!("/recovery/{part}_ms"));
    let parts = recovery("boot")? + recovery("weaviate_restore")? + recovery("gate")? + recovery("control_plane")?;
    assert_eq!(recovery("total")?, parts);
    ensure!(
        recovery("total")? > recovery("weaviate_restore")? && recovery("weaviate_restore")? > 0,
        "{}",
        report["recovery"]
    );
    let named = report["recovery"]["control_plane_parts"].as_object().context("the parts of the control plane")?;
    assert_eq!(named.values().filter_map(Value::as_i64).sum::<i64>(), recovery("control_plane")?);

    let nodes = report["nodes"].as_array().context("nodes")?;
    ensure!(nodes.len() == 2, "{nodes:?}");
    for of in ["instance", "pid", "data_path"] {
        ensure!(!nodes[0][of].is_null() && nodes[0][of] != nodes[1][of], "{of} in {nodes:?}");
    }
    let proof = &report["proof"];
    assert_eq!((&proof["old_data_gone"], &proof["foreign_writes"]), (&true.into(), &0.into()));
    ensure!(number(proof, "/chunks")? >= 3 && proof["chunks"] == proof["chunks_read"], "{proof}");
    ensure!(number(proof, "/gets")? >= number(proof, "/chunks")? && number(proof, "/bytes")? > 0, "{proof}");

    let timeline = report["timeline"].as_array().context("timeline")?;
    let at: Vec<i64> = timeline.iter().filter_map(|moment| moment["at_ms"].as_i64()).collect();
    ensure!(at.len() == timeline.len() && at.is_sorted() && at[0] >= 0, "{timeline:?}");
    let steps: Vec<&str> = timeline.iter().filter_map(|moment| moment["step"].as_str()).collect();
    let order = [
        "indexed",
        "marker_dropped",
        "pointer_flipped",
        "node_killed",
        "drive_restore.evidence_passed",
        "drive_restore.continued",
    ];
    let places: Vec<Option<usize>> = order.iter().map(|name| steps.iter().position(|step| step == name)).collect();
    ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "{steps:?}");
    Ok(())
}

async fn goes_well(name: &str, objects: i64, arguments: &[&str], alone: bool) -> Result<Duration> {
    let file = report_file(name)?;
    let path = file.display().to_string();
    let (output, took) = demo(&[arguments, &["--report", &path]].concat(), alone).await?;
    let (stdout, stderr) = texts(&output);
    ensure!(output.status.code() == Some(0), "{:?}\n{stdout}\n{stderr}", output.status);
    let report = take(&file)?;
    holds(&report, objects)?;
    ensure!(stdout.contains("Everything came back"), "{stdout}");
    assert_eq!(stdout.lines().filter(|line| line.trim_start().starts_with("cargo demo ")).count(), 3, "{stdout}");
    eprintln!("demo of {objects}: {took:.1?}; recovery {}", report["recovery"]);
    Ok(took)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_demo_ends_well_and_its_report_has_what_the_issue_names() -> Result<()> {
    goes_well("small", 2000, &["--objects", "2000", "--round-scale", "0.1"], false).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_of_plain_collections_ends_well_too() -> Result<()> {
    let arguments = ["--data", "plain", "--objects", "1000", "--dimensions", "16", "--round-scale", "0.1"];
    goes_well("plain", 1000, &arguments, false).await.map(drop)
}

/// Its time is printed and not asserted: a slow machine is no defect. README says what was measured.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_of_twenty_thousand_vectors_at_its_own_pace_ends_well() -> Result<()> {
    goes_well("full", 20_000, &[], true).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_job_needs_no_right_that_the_templates_own_roles_do_not_give() -> Result<()> {
    let arguments = ["--objects", "1000", "--dimensions", "16", "--round-scale", "0.1", "--enforce-iam"];
    goes_well("iam", 1000, &arguments, false).await.map(drop)
}

/// A sabotaged demo ends with code 3 and names what was broken, on the result's own stream.
async fn is_refused(kind: &str, named: &[&str]) -> Result<()> {
    let file = report_file(kind)?;
    let path = file.display().to_string();
    let arguments =
        ["--objects", "1000", "--dimensions", "16", "--round-scale", "0.1", "--sabotage", kind, "--report", &path];
    let (output, took) = demo(&arguments, false).await?;
    let (stdout, stderr) = texts(&output);
    ensure!(output.status.code() == Some(3), "{:?}\n{stdout}\n{stderr}", output.status);
    let said =
        stdout.lines().find(|line| line.starts_with("Refused, as it must be: ")).with_context(|| stdout.clone())?;
    for word in named {
        ensure!(said.contains(word), "{word:?} is not in {said:?}");
    }
    let report = take(&file)?;
    assert_eq!((&report["ok"], &report["sabotage"]["kind"]), (&false.into(), &kind.into()));
    ensure!(said.ends_with(text(&report, "/sabotage/refused")?), "{said}\n{report:#}");
    assert_eq!(report["restored"], serde_json::json!({}), "nothing serves");
    eprintln!("sabotage {kind}: {took:.1?}; {said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_of_a_chunk_is_refused_by_name() -> Result<()> {
    is_refused("chunk", &["fails T0", "/chunk-"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_chunk_is_refused_by_name() -> Result<()> {
    is_refused("delete", &["fails T0", "/chunk-"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weaviate_that_is_not_there_is_refused_by_name_and_nothing_is_started() -> Result<()> {
    let (output, took) = demo(&["--weaviate", "/nonexistent"], false).await?;
    let (stdout, stderr) = texts(&output);
    ensure!(output.status.code() == Some(2) && stdout.is_empty(), "{:?}\n{stdout}\n{stderr}", output.status);
    ensure!(stderr.contains("/nonexistent") && stderr.contains("no such binary"), "{stderr}");
    eprintln!("refused after {took:.1?}");

    let (output, _) = demo(&["--weaviate", "docker"], false).await?;
    let (_, stderr) = texts(&output);
    let engine = std::process::Command::new("docker").arg("version").output().is_ok_and(|o| o.status.success());
    if engine {
        eprintln!("NOT RUN: a Docker engine answers here, so its absence cannot be seen");
        return Ok(());
    }
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    ensure!(stderr.contains("needs a Docker engine, and none answers on "), "{stderr}");
    Ok(())
}
