//! `--check`: what `sha256sum -c` says of a file of sums.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_domain::ids::Sha256Digest;
use lifeboat_domain::manifest::{escaped, parse_sum_line};
use lifeboat_engine::{Engine, ListedObject, Source};

use super::{Asked, NOT_WELL, Printer, Problem, Summed, WELL, read};
use crate::progress::Bar;

/// The lines of a file of sums: what it names, in its order, and how many lines are none.
fn parse(text: &str) -> (Vec<(Sha256Digest, String)>, usize) {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed: Vec<Option<(Sha256Digest, String)>> = lines.map(parse_sum_line).collect();
    let broken = parsed.iter().filter(|line| line.is_none()).count();
    (parsed.into_iter().flatten().collect(), broken)
}

/// A name as `sha256sum -c` prints it: escaped only where it has a line feed.
fn shown(name: &str) -> String {
    if name.contains('\n') { format!("\\{}", escaped(name)) } else { name.to_owned() }
}

pub(super) async fn run(
    source: &impl Source,
    engine: &Engine,
    asked: &Asked,
    listed: &[ListedObject],
    text: &str,
    printer: &mut Printer<'_>,
) -> anyhow::Result<u8> {
    let (named, broken) = parse(text);
    if named.is_empty() {
        writeln!(printer.err, "lifeboat: no properly formatted checksum lines found")?;
        return Ok(NOT_WELL);
    }
    let prefix = asked.location.prefix.as_str();
    let wanted: BTreeSet<String> = named.iter().map(|(_, name)| format!("{prefix}{name}")).collect();
    let to_read: Vec<ListedObject> = listed.iter().filter(|o| wanted.contains(&o.key)).cloned().collect();
    let others = listed.len() - to_read.len();
    let bar = Bar::of(to_read.iter().map(|o| o.size_bytes).sum());
    let mut answers: BTreeMap<String, Result<Summed, Problem>> = BTreeMap::new();
    read(source, engine, asked, to_read, &bar, |key, answer| drop(answers.insert(key, answer))).await;
    bar.end();
    let (mut differ, mut missing, mut results) = (0, 0, Vec::new());
    for (sha256, name) in &named {
        let (result, what) = match answers.get(&format!("{prefix}{name}")) {
            Some(Ok(row)) if row.sha256 == *sha256 => ("OK", String::new()),
            Some(Ok(row)) => {
                differ += 1;
                ("FAILED", format!("its SHA-256 is {}", row.sha256))
            }
            Some(Err(problem)) => {
                missing += 1;
                ("FAILED open or read", problem.what.clone())
            }
            None => {
                missing += 1;
                ("FAILED open or read", "there is no such object".to_owned())
            }
        };
        if !asked.json {
            writeln!(printer.out, "{}: {result}", shown(name))?;
        }
        if missing > 0 && result == "FAILED open or read" {
            writeln!(printer.err, "lifeboat: {}: {what}", shown(name))?;
        }
        results.push(serde_json::json!({"name": name, "result": result, "what": what}));
    }
    let well = differ + missing == 0;
    if asked.json {
        let document = serde_json::json!({
            "location": asked.location.to_string(),
            "well": well,
            "checked": results,
            "differ": differ,
            "not_read": missing,
            "not_named": others,
            "lines_not_understood": broken,
        });
        writeln!(printer.out, "{document:#}")?;
    }
    for (count, one, many) in [
        (broken, "line is improperly formatted", "lines are improperly formatted"),
        (missing, "listed object could not be read", "listed objects could not be read"),
        (differ, "computed checksum did NOT match", "computed checksums did NOT match"),
        (others, "object is not listed in the file", "objects are not listed in the file"),
    ] {
        if count > 0 {
            writeln!(printer.err, "lifeboat: WARNING: {count} {}", if count == 1 { one } else { many })?;
        }
    }
    Ok(if well { WELL } else { NOT_WELL })
}
