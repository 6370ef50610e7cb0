//! The cases of `events/`, for the tests of the functions: each folder is a function's, each file a case, and the
//! file's name says what is to come of it.

use std::fs;
use std::path::Path;

use lifeboat_domain::event::{self, Hint, MalformedEvent};
use lifeboat_domain::keys::Function;
use serde_json::Value;

/// An event with what is to come of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file's name, without `.json`.
    pub name: String,
    /// The event.
    pub event: Value,
    /// What the name says.
    pub expected: Expected,
}

/// What is to come of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// `not-for-us*`: an ignored event with its reason.
    NotForUs,
    /// `malformed-*`: an error that names the field.
    Malformed,
    /// Any other name: a hint.
    Taken,
}

/// The cases of a function, which are read and, as far as reading alone can tell, held to their names.
///
/// # Panics
/// When `events/` has a folder of no function, a file that is no JSON case, or none for this function; when a
/// malformed case is read, or the error does not name a field; when any other case is not read.
pub fn of(function: Function) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    for folder in names(&root) {
        assert!(Function::parse(&folder).is_some(), "events/{folder} belongs to no function");
    }
    let folder = root.join(function.name());
    let cases: Vec<Case> = names(&folder).into_iter().map(|file| case(&folder, &file)).collect();
    assert!(!cases.is_empty(), "events/{} has no case", function.name());
    cases
}

fn case(folder: &Path, file: &str) -> Case {
    let shown = folder.join(file).display().to_string();
    let name = file.strip_suffix(".json").unwrap_or_else(|| panic!("{shown} is no case: its name ends otherwise"));
    let bytes = fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{shown}: {e}"));
    let event: Value = serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{shown}: {e}"));
    let expected = if name.starts_with("not-for-us") {
        Expected::NotForUs
    } else if name.starts_with("malformed-") {
        Expected::Malformed
    } else {
        Expected::Taken
    };
    match (event::parse(&event), expected) {
        (Err(MalformedEvent::Field { field } | MalformedEvent::Value { field, .. }), Expected::Malformed) => {
            assert!(!field.is_empty(), "{shown}");
        }
        (Ok(Hint::NotForUs { reason }), Expected::Taken) => panic!("{shown} is taken for none of ours: {reason}"),
        (Ok(_), Expected::NotForUs | Expected::Taken) => {}
        (read, expected) => panic!("{shown} is {expected:?} by its name, and is read as {read:?}"),
    }
    Case { name: name.to_owned(), event, expected }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.unwrap_or_else(|e| panic!("{}: {e}", folder.display())).file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = entries.map(name).filter(|n| n != "README.md").collect();
    names.sort();
    names
}
