//! The workspace's own binaries, built by a nested cargo in the profile of the running program.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What this process has built already: the sources do not change under a test run.
static BUILT: Mutex<BTreeMap<Vec<String>, BTreeMap<String, PathBuf>>> = Mutex::new(BTreeMap::new());

/// The packages' binaries, built at most once by this process: name → file. `show` gets cargo's own lines.
pub(crate) fn build(packages: &[String], show: &(dyn Fn(&str) + Sync)) -> Result<BTreeMap<String, PathBuf>> {
    // Held while building: stacks that start together wait for one build.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = built.get(packages) {
        return Ok(known.clone());
    }
    let fresh = build_now(packages, show)?;
    built.insert(packages.to_vec(), fresh.clone());
    Ok(fresh)
}

fn build_now(packages: &[String], show: &(dyn Fn(&str) + Sync)) -> Result<BTreeMap<String, PathBuf>> {
    if packages.is_empty() {
        return Ok(BTreeMap::new());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(crate::workspace_root())
        // The whole workspace, although a few packages are wanted: cargo unifies features over what is selected, and any
        // other selection than that of `cargo test` and `cargo demo` would compile the AWS crates a second time.
        .args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics", "--profile", profile()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run cargo to build the functions")?;
    let (stdout, stderr) = (child.stdout.take().context("no stdout")?, child.stderr.take().context("no stderr")?);
    let mut found = BTreeMap::new();
    let errors = std::thread::scope(|scope| {
        let errors = scope.spawn(move || {
            let mut last = Vec::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                show(line.trim());
                last.push(line);
            }
            last
        });
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            if let (Some(name), Some(file)) = (message["target"]["name"].as_str(), message["executable"].as_str()) {
                found.insert(name.to_owned(), PathBuf::from(file));
            }
        }
        errors.join().unwrap_or_default()
    });
    let status = child.wait()?;
    if !status.success() {
        let tail = errors.iter().skip(errors.len().saturating_sub(40)).cloned().collect::<Vec<_>>();
        bail!("building {packages:?} ended with {status}:\n{}", tail.join("\n"));
    }
    // Only what was asked for: a stack that brings functions of its own must not get the product's in their place.
    let wanted = packages.iter().map(|package| {
        let file =
            found.remove(package).with_context(|| format!("cargo built {package} but made no binary of that name"))?;
        Ok((package.clone(), file))
    });
    wanted.collect()
}

/// Cargo's name for the profile that this very program was built in.
fn profile() -> &'static str {
    if cfg!(debug_assertions) { "dev" } else { "release" }
}
