//! The sources keep to the rules that no compiler holds.

use std::collections::BTreeSet;
use std::process::Command;

use lifeboat_tidy::{files, read, root};

const LINES_MAX: usize = 450;

fn ends(path: &str, extensions: &[&str]) -> bool {
    extensions.iter().any(|e| path.ends_with(e))
}

#[test]
fn no_source_file_is_longer_than_a_reader_bears() {
    let governed = |path: &str| {
        let (top, rest) = path.split_once('/').unwrap_or((path, ""));
        ["shared", "functions", "cli"].contains(&top) || (top == "tests" && rest.contains("/src/"))
    };
    let long: Vec<String> = files()
        .into_iter()
        .filter(|f| governed(&f.path) && ends(&f.path, &[".rs", ".py", ".sh"]))
        .filter(|f| f.text.lines().count() > LINES_MAX)
        .map(|f| format!("{} has {} lines", f.path, f.text.lines().count()))
        .collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines: {long:#?}");
}

#[test]
fn nothing_is_left_to_be_done_in_the_sources() {
    // Spelled so that this file does not find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimple", "mented!"), concat!("to", "do!(")];
    let mut found = Vec::new();
    for file in files().iter().filter(|f| !f.path.ends_with(".md")) {
        for (line, text) in file.text.lines().enumerate() {
            if words.iter().any(|word| text.contains(word)) {
                found.push(format!("{}:{}: {}", file.path, line + 1, text.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_file_names_a_path_of_a_developers_machine_or_an_index_of_packages() {
    let machines = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let indexes = ["--index-url", "--extra-index-url", "--trusted-host", "replace-with"];
    let mut found = Vec::new();
    for file in files().iter().filter(|f| f.path != "tests/tidy/tests/sources.rs") {
        for (line, text) in file.text.lines().enumerate() {
            // In the middle of a path it is something else, such as the prefix work/ of the bucket.
            let begins = |path: &str| {
                text.match_indices(path)
                    .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || "}>*._-".contains(c)))
            };
            if machines.iter().any(|path| begins(path)) || indexes.iter().any(|word| text.contains(word)) {
                found.push(format!("{}:{}: {}", file.path, line + 1, text.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The names of the dependencies in these sections of a crate's manifest.
fn dependencies(manifest: &str, sections: &[&str]) -> BTreeSet<String> {
    let mut wanted = false;
    let mut names = BTreeSet::new();
    for line in read(manifest).lines() {
        if let Some(section) = line.trim().strip_prefix('[') {
            wanted = sections.contains(&section.trim_end_matches(']'));
        } else if wanted && line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            names.insert(name.to_owned());
        }
    }
    names
}

const ALL: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

#[test]
fn the_domain_depends_on_nothing_that_could_make_it_impure() {
    let allowed = ["base64", "jiff", "serde", "serde_json", "sha2", "thiserror"].map(str::to_owned);
    let found = dependencies("shared/domain/Cargo.toml", &["dependencies", "build-dependencies"]);
    let more: Vec<_> = found.difference(&BTreeSet::from(allowed)).cloned().collect();
    assert!(more.is_empty(), "the domain depends on {more:?}");
    let bans = read("shared/domain/clippy.toml");
    for banned in ["SystemTime::now", "Instant::now", "Timestamp::now", "thread::sleep", "env::var", "HashMap"] {
        assert!(bans.contains(banned), "shared/domain/clippy.toml no longer bans {banned}");
    }
}

#[test]
fn arrows_between_crates_point_one_way() {
    let ours = |manifest: &str| -> Vec<String> {
        dependencies(manifest, &ALL).into_iter().filter(|name| name.starts_with("lifeboat-")).collect()
    };
    assert!(ours("shared/domain/Cargo.toml").is_empty());
    let engine = dependencies("shared/engine/Cargo.toml", &["dependencies", "build-dependencies"]);
    assert!(!engine.iter().any(|name| name.starts_with("lifeboat-")), "the engine depends on {engine:?}");
    assert_eq!(ours("shared/workflows/Cargo.toml"), ["lifeboat-domain", "lifeboat-engine"]);
    assert_eq!(ours("shared/adapters/Cargo.toml"), ["lifeboat-domain", "lifeboat-engine", "lifeboat-workflows"]);
    assert!(ours("tests/node/Cargo.toml").is_empty(), "the double would share our mistakes");
    for function in functions() {
        let upward: Vec<_> = ours(&format!("functions/{function}/Cargo.toml"))
            .into_iter()
            .filter(|name| !["lifeboat-domain", "lifeboat-workflows", "lifeboat-adapters"].contains(&name.as_str()))
            .collect();
        assert!(upward.is_empty(), "{function} depends on {upward:?}");
    }
    let aws = |name: &String| name.starts_with("aws") || name.starts_with("lambda") || name == "reqwest";
    let found = dependencies("shared/workflows/Cargo.toml", &ALL);
    assert!(!found.iter().any(aws), "the workflows depend on AWS or HTTP: {found:?}");
    for file in files().iter().filter(|f| f.path.ends_with("Cargo.toml")) {
        assert!(!file.text.contains("aws-sdk-ec2"), "{} has an EC2 SDK", file.path);
    }
}

fn functions() -> BTreeSet<String> {
    below("functions")
}

/// The folders of a folder.
fn below(folder: &str) -> BTreeSet<String> {
    let prefix = format!("{folder}/");
    let paths = files().into_iter().filter_map(|f| f.path.strip_prefix(&prefix).map(str::to_owned));
    paths.filter_map(|path| path.split_once('/').map(|(name, _)| name.to_owned())).collect()
}

#[test]
fn functions_and_events_have_the_same_folders_and_the_template_the_same_functions() {
    let functions = functions();
    assert_eq!(below("events"), functions);
    let template = read("template.yaml");
    let members = read("Cargo.toml");
    for function in &functions {
        assert!(template.contains(&format!("Binary: {function}")), "{function} is not in template.yaml");
        assert!(members.contains(&format!("\"functions/{function}\"")), "{function} is not a member");
        let workflow = root().join("shared/workflows/src").join(format!("{}.rs", function.replace('-', "_")));
        assert!(workflow.exists(), "{} is missing", workflow.display());
    }
    assert_eq!(template.matches("Type: AWS::Serverless::Function").count(), functions.len());
}

#[test]
fn the_template_holds_the_hosts_scripts_byte_for_byte() {
    let output = Command::new("python3").arg(root().join("host/embed.py")).arg("--check").output();
    let output = output.expect("python3 is there: the local stack needs it too");
    assert!(output.status.success(), "run host/embed.py: {}", String::from_utf8_lossy(&output.stderr));
}
