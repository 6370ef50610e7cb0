//! What the tidy tests read: the repository's own files. It needs no network, no git and none of our crates. [`schema`] reads the types.

pub mod schema;

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/")).to_owned()
}

/// A text file of the repository.
#[derive(Debug)]
pub struct SourceFile {
    /// From the root, with forward slashes.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Every text file of the repository that is written by hand, by path. What is generated or built is left out: `target`,
/// `Cargo.lock`, hidden directories but `.ci` and `.cargo`, Python's caches.
///
/// # Panics
/// If a directory cannot be listed.
pub fn files() -> Vec<SourceFile> {
    let mut found = Vec::new();
    let root = root();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let hidden = name.starts_with('.') && ![".ci", ".cargo", ".gitignore"].contains(&name.as_str());
            if hidden || ["target", "__pycache__", "Cargo.lock"].contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                found.push(SourceFile { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 100, "the repository is not at {}", root.display());
    found
}

/// One file of the repository, by path from the root.
///
/// # Panics
/// If it is not there.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The texts between single backticks, in order, outside fenced blocks.
pub fn code_spans(markdown: &str) -> Vec<String> {
    let mut fenced = false;
    let mut prose = String::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The fenced blocks of a language in a page, each with the last `###` heading above it.
pub fn blocks(markdown: &str, language: &str) -> Vec<(String, String)> {
    let fence = format!("```{language}");
    let (mut heading, mut block, mut found) = (String::new(), None::<String>, Vec::new());
    for line in markdown.lines() {
        match (&mut block, line) {
            (None, line) if line == fence => block = Some(String::new()),
            (Some(text), "```") => {
                found.push((heading.clone(), std::mem::take(text)));
                block = None;
            }
            (Some(text), line) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, line) if line.starts_with("### ") => heading = line[4..].to_owned(),
            (None, _) => {}
        }
    }
    found
}
