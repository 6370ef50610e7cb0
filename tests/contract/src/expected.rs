//! Expectations: one per case, with variants where a release or a configuration answers otherwise; and the list of what
//! the double answers otherwise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::mask::once_more;
use crate::report::Report;
use crate::world::Config;

/// What a case must give. Keys are `always`, a configuration (`no-graphql`, `read-only`), a release from which on
/// (`since 1.39.0`), or both (`since 1.39.0 read-only`); the most particular one that applies counts.
pub(crate) type Variants = BTreeMap<String, Value>;

/// The expectations of all groups: group → case → variants.
pub(crate) type Expectations = BTreeMap<String, BTreeMap<String, Variants>>;

/// What the double answers otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Why the double is not changed.
    pub(crate) reason: String,
    /// What it answers: the same keys as an expectation.
    pub(crate) double: Variants,
}

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("expected")
}

fn file_of(group: &str) -> PathBuf {
    dir().join(format!("{}.json", group.to_lowercase().replace(", ", "-").replace(' ', "-")))
}

/// Reads the expectations of these groups.
pub(crate) fn read(groups: &[&str]) -> Result<Expectations> {
    let mut all = Expectations::new();
    for group in groups {
        let path = file_of(group);
        let cases = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            read => {
                let bytes = read.with_context(|| path.display().to_string())?;
                serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?
            }
        };
        let cases: BTreeMap<String, Variants> = cases;
        let masked = |variants: Variants| variants.iter().map(|(key, seen)| (key.clone(), once_more(seen))).collect();
        all.insert((*group).to_owned(), cases.into_iter().map(|(name, of)| (name, masked(of))).collect());
    }
    Ok(all)
}

/// Writes them again.
pub(crate) fn write(all: &Expectations) -> Result<()> {
    for (group, cases) in all {
        let mut text = serde_json::to_string_pretty(cases)?;
        text.push('\n');
        std::fs::write(file_of(group), text).with_context(|| group.clone())?;
    }
    Ok(())
}

/// Takes the outcomes of a real server's report as what is expected of its release and configuration.
pub(crate) fn take(all: &mut Expectations, report: &Report) {
    let config = Config::named(&report.config).unwrap_or(Config::Default);
    for line in &report.cases {
        let Some(seen) = line.outcome.as_ref().map(once_more) else { continue };
        let variants = all.entry(line.group.clone()).or_default().entry(line.case.clone()).or_default();
        if resolve(variants, &report.version, config) != Some(&seen) {
            variants.insert(variant_key(variants, &report.version, config), seen);
        }
    }
}

/// Reads the differences: case → difference.
pub(crate) fn differences() -> Result<BTreeMap<String, Difference>> {
    let path = dir().join("differences.json");
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
}

/// What applies to this release and configuration.
pub(crate) fn resolve<'a>(variants: &'a Variants, version: &str, config: Config) -> Option<&'a Value> {
    let mut best: Option<((bool, Vec<u32>), &Value)> = None;
    for (key, value) in variants {
        let (since, of) = match key.strip_prefix("since ") {
            None if key == "always" => ("", ""),
            None => ("", key.as_str()),
            Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
        };
        let applies = (of.is_empty() || of == config.name()) && numbers(since) <= numbers(version);
        let rank = (!of.is_empty(), numbers(since));
        if applies && best.as_ref().is_none_or(|(known, _)| *known < rank) {
            best = Some((rank, value));
        }
    }
    best.map(|(_, value)| value)
}

/// The key under which a new variant is recorded.
pub(crate) fn variant_key(known: &Variants, version: &str, config: Config) -> String {
    if known.is_empty() {
        return "always".to_owned();
    }
    let since = (numbers(version) >= vec![1, 39, 0]).then(|| format!("since {version}"));
    let of = (config != Config::Default).then(|| config.name().to_owned());
    match (since, of) {
        (None, None) => "always".to_owned(),
        (Some(since), Some(of)) => format!("{since} {of}"),
        (Some(one), None) | (None, Some(one)) => one,
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_most_particular_expectation_counts() {
        let keys = ["always", "since 1.39.0", "read-only", "since 1.39.0 read-only"];
        let all: Variants = keys.iter().map(|key| ((*key).to_owned(), json!(key))).collect();
        let of = |version, config| resolve(&all, version, config).unwrap().as_str().unwrap().to_owned();
        assert_eq!(of("1.38.11", Config::Default), "always");
        assert_eq!(of("1.38.11", Config::NoGraphql), "always");
        assert_eq!(of("1.38.11", Config::ReadOnly), "read-only");
        assert_eq!(of("1.39.0", Config::Default), "since 1.39.0");
        assert_eq!(of("1.40.2", Config::ReadOnly), "since 1.39.0 read-only");
    }
}
