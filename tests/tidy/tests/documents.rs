//! What the documentation says is so.

mod kinds;

use std::collections::BTreeSet;

use lifeboat_tidy::{blocks, code_spans, files, read, root};
use serde_json::Value;

/// The heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for file in files().iter().filter(|f| f.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let links = file.text.match_indices("](").filter_map(|(at, _)| file.text[at + 2..].split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.contains("://") && !link.starts_with("mailto:")) {
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root().join(&file.path) } else { root().join(folder).join(path) };
            let there = match std::fs::read_to_string(&target) {
                _ if fragment.is_empty() => target.exists(),
                Ok(text) => text.lines().any(|l| l.starts_with('#') && anchor(l.trim_start_matches('#')) == fragment),
                Err(_) => false,
            };
            if !there {
                broken.push(format!("{}: {link}", file.path));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Whether a source has a test function of this name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        let above =
            lines[at.saturating_sub(4)..at].iter().rev().take_while(|l| l.starts_with('#') || l.starts_with("//"));
        function.is_some_and(|f| f.starts_with(&format!("{name}(")))
            && above.into_iter().any(|l| l.starts_with("#[test") || l.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_test_that_the_documentation_names_exists() {
    let mut missing = Vec::new();
    let mut named = 0;
    for file in files().iter().filter(|f| f.path.ends_with(".md")) {
        for span in code_spans(&file.text) {
            let Some((path, test)) = span.split_once(".rs::") else { continue };
            named += 1;
            let source = std::fs::read_to_string(root().join(format!("{path}.rs"))).unwrap_or_default();
            if !has_test(&source, test) {
                missing.push(format!("{} names {span}", file.path));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named > 40, "only {named} tests are named");
}

#[test]
fn every_invariant_names_a_test_that_holds_it() {
    let text = read("ARCHITECTURE.md");
    for number in 1..=12 {
        let start = text.find(&format!("\n**{number}. ")).unwrap_or_else(|| panic!("invariant {number} is missing"));
        let end =
            text[start..].find(&format!("\n**{}. ", number + 1)).map_or_else(|| text[start..].find("\n## "), Some);
        let invariant = &text[start..start + end.unwrap_or(text.len() - start)];
        assert!(invariant.contains(".rs::"), "invariant {number} names no test");
    }
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let missing: Vec<String> = code_spans(&read("ARCHITECTURE.md"))
        .into_iter()
        .filter(|span| span.starts_with("shared/") || span.starts_with("tests/") || span.starts_with("docs/"))
        .filter(|span| !span.contains("::") && !span.contains('{') && !span.contains('<') && !span.contains(' '))
        .filter(|span| !root().join(span).exists())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_gate_ends_with_the_test_command_of_the_readme() {
    let gate = read(".ci/run");
    let mut commands =
        gate.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#') && !l.starts_with("step "));
    let last = commands.next_back().expect(".ci/run has commands").to_owned();
    let readme = read("README.md");
    let shown = readme.lines().find(|line| line.starts_with("cargo test")).expect("the README shows a test command");
    assert_eq!(shown.split('#').next().map(str::trim), Some(last.as_str()));
}

/// The JSON blocks of docs/formats.md, each with the heading above it.
fn examples() -> Vec<(String, String)> {
    blocks(&read("docs/formats.md"), "json")
}

/// After a field was added: `LIFEBOAT_REWRITE_EXAMPLES=yes cargo test -p lifeboat-tidy` writes the examples anew.
#[test]
fn every_example_is_what_the_code_writes() {
    let rewrite = std::env::var("LIFEBOAT_REWRITE_EXAMPLES").is_ok_and(|v| v == "yes");
    let mut text = read("docs/formats.md");
    for (heading, example) in examples().into_iter().filter(|(heading, _)| heading != "objects.ndjson") {
        let value: Value = serde_json::from_str(&example).unwrap_or_else(|e| panic!("{heading}: {e}"));
        let schema = value["schema"].as_str().unwrap_or_default();
        assert!(schema.starts_with(&format!("lifeboat/{heading}/")), "{heading} shows {schema}");
        let written = kinds::again(&heading, &example);
        let written = written.unwrap_or_else(|error| panic!("{heading}: {error}"));
        if rewrite {
            text = text.replace(&example, &written);
        } else {
            let first = written.lines().zip(example.lines()).find(|(is, was)| is != was);
            assert!(
                written == example,
                "{heading}: the code writes another line, {first:?}; LIFEBOAT_REWRITE_EXAMPLES=yes"
            );
        }
    }
    if rewrite {
        std::fs::write(root().join("docs/formats.md"), text).expect("docs/formats.md can be written");
    }
}

#[test]
fn every_kind_of_document_in_the_sources_is_described() {
    let mut kinds = BTreeSet::new();
    for file in files().iter().filter(|f| f.path.starts_with("shared/") && f.path != "shared/domain/src/document.rs") {
        for line in file.text.lines().filter(|l| l.trim_start().starts_with("const KIND: &'static str = ")) {
            kinds.extend(line.split('"').nth(1).map(str::to_owned));
        }
    }
    let described: BTreeSet<String> =
        examples().into_iter().map(|(heading, _)| heading).filter(|h| h != "objects.ndjson").collect();
    assert_eq!(described, kinds);
}
