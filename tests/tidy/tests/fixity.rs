//! docs/fixity.md is run as it stands.

use std::path::Path;
use std::process::Command;

use lifeboat_domain::ids::Sha256Digest;
use lifeboat_domain::manifest::{CatalogueRow, encode_catalogue, parse_sum_line, root_digest, self_digest, sums};
use lifeboat_tidy::{blocks, read};

/// What a block prints, run by bash in this directory.
fn run(block: &str, directory: &Path) -> String {
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", block]).current_dir(directory).output();
    let output = output.expect("bash is there");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{block}\n{error}");
    String::from_utf8(output.stdout).expect("text")
}

/// The backup of the page, as reading it gives.
fn rows(directory: &Path) -> Vec<CatalogueRow> {
    let paths =
        ["backup_config.json", "weaviate-0/Article/chunk-1", "weaviate-0/Article/chunk-2", "weaviate-0/backup.json"];
    let row = |path: &str| {
        let key = format!("backups/b_1/{path}");
        let bytes = std::fs::read(directory.join(&key)).expect("the page wrote it");
        let (size_bytes, sha256) = (bytes.len() as u64, Sha256Digest::of(&bytes));
        CatalogueRow { key, size_bytes, sha256, etag: String::new(), version_id: None }
    };
    paths.into_iter().map(row).collect()
}

#[test]
fn the_worked_example_prints_what_the_page_says_and_what_the_code_computes() {
    let directory = std::env::temp_dir().join(format!("lifeboat-fixity-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for the example");
    let page = read("docs/fixity.md");
    let (mut printed, mut whole) = (Vec::new(), Vec::new());
    for (n, (_, block)) in blocks(&page, "bash").into_iter().enumerate() {
        let said: String = block.lines().filter_map(|l| l.strip_prefix("# ")).map(|l| format!("{l}\n")).collect();
        let prints = run(&block, &directory);
        assert_eq!(prints, said, "what the block prints (left) and what the page says");
        printed.push(prints);
        if n == 0 {
            whole = rows(&directory);
        }
    }
    let [_, sums_printed, from_sums, from_bytes, from_catalogue, _, own] = printed.as_slice() else {
        panic!("the page has {} blocks", printed.len())
    };
    assert_eq!(*sums_printed, sums(&whole, "backups/b_1/"));
    assert_eq!(sums_printed.lines().filter_map(parse_sum_line).count(), whole.len());
    for root in [from_sums, from_bytes, from_catalogue] {
        assert_eq!(*root, format!("{}  -\n", root_digest(&whole)));
    }
    let manifest = std::fs::read(directory.join("manifest.json")).expect("the page wrote it");
    assert_eq!(*own, format!("{}  -\n", self_digest(&manifest)));
    // The catalogue of the page is cut, but a whole one gives the same by the same command.
    std::fs::write(directory.join("objects.ndjson"), encode_catalogue(&whole)).expect("it can be written");
    let command = from_catalogue_command(&page);
    assert_eq!(run(&command, &directory), *from_catalogue);
    assert_ne!(root_digest(&rows(&directory)), root_digest(&whole), "the page damages a chunk at the end");
    std::fs::remove_dir_all(&directory).expect("the example can be cleared away");
}

fn from_catalogue_command(page: &str) -> String {
    let line = page.lines().find(|l| l.starts_with("sed -E") && l.contains("objects.ndjson"));
    line.expect("the page has the command").to_owned()
}

#[test]
fn the_examples_of_the_formats_hold_together_by_their_digests() {
    let page = read("docs/formats.md");
    let example = |kind: &str| {
        let found = blocks(&page, "json").into_iter().find(|(heading, _)| heading == kind);
        found.unwrap_or_else(|| panic!("there is no example of {kind}")).1
    };
    let manifest = example("manifest");
    let value: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let pointer: serde_json::Value = serde_json::from_str(&example("pointer")).expect("JSON");
    assert_eq!(value["self_sha256"], self_digest(manifest.as_bytes()).as_str());
    assert_eq!(pointer["manifest"]["sha256"], Sha256Digest::of(manifest.as_bytes()).as_str());
    assert_eq!(pointer["manifest"]["size_bytes"], manifest.len());
    let lines: Vec<String> = page.lines().filter(|l| parse_sum_line(l).is_some()).map(str::to_owned).collect();
    let row = |line: &String| {
        let (sha256, path) = parse_sum_line(line).expect("filtered");
        let key = format!("backups/{}/{path}", value["backup_id"].as_str().expect("an id"));
        CatalogueRow { key, size_bytes: 0, sha256, etag: String::new(), version_id: None }
    };
    let rows: Vec<CatalogueRow> = lines.iter().map(row).collect();
    assert_eq!(value["catalogue"]["root_sha256"], root_digest(&rows).as_str());
    assert_eq!(value["catalogue"]["rows"], rows.len());
}
