//! The names of all checks, read out of the sources: a check that is added there is missed here until something
//! provokes it.

use std::collections::BTreeSet;

use lifeboat_tidy::read;

/// Checks that no stored change can meet first, and why.
pub const BEYOND: [(&str, &str); 4] = [
    ("backup_too_large", "a bound of numbers: it takes more than 1,000 shards"),
    ("restore_refuses", "said by the scheduled re-reading of what T0 found there"),
    ("t0: EmptyCatalogue", "an empty catalogue is refused as a proof before T0 sees it"),
    (
        "unfinished",
        "a bound of tries and time, and no change: shards that nobody can read, in verify_checksums' own tests",
    ),
];

/// The variants of an enum, in the order of the source.
fn variants(file: &str, name: &str) -> Vec<String> {
    let text = read(file);
    let start = text.find(&format!("pub enum {name} {{")).unwrap_or_else(|| panic!("{file} has no enum {name}"));
    let body = &text[start..start + text[start..].find("\n}\n").expect("it ends")];
    let named = body.lines().filter_map(|line| line.strip_prefix("    ")).filter(|l| l.starts_with(char::is_uppercase));
    named.map(|line| line.chars().take_while(|c| c.is_alphanumeric()).collect()).collect()
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (n, c) in name.chars().enumerate() {
        if c.is_uppercase() && n > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// The texts that a file gives to `differs`, or to a constant of it.
fn texts(file: &str) -> Vec<String> {
    let text = read(file);
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let calls = code.split("differs(").skip(1).filter_map(|call| call.split(")").next());
    let consts = code.lines().filter(|line| line.starts_with("const ") && line.contains(": &str = "));
    calls.chain(consts).filter_map(|call| call.split('"').nth(1)).map(str::to_owned).collect()
}

/// Every check of the verifier, by the name that [`crate::judge`] gives it.
pub fn all() -> BTreeSet<String> {
    let verify = "shared/domain/src/verify";
    let mut checks: BTreeSet<String> =
        variants(&format!("{verify}/finding.rs"), "Finding").iter().map(|v| snake(v)).collect();
    for variant in variants(&format!("{verify}/t0.rs"), "T0Finding") {
        if variant == "Differs" {
            checks.extend(["size", "ETag"].map(|what| format!("t0: Differs {what}")));
        } else {
            checks.insert(format!("t0: {variant}"));
        }
    }
    for file in [format!("{verify}/proof.rs"), "shared/workflows/src/history.rs".to_owned()] {
        checks.extend(texts(&file).into_iter().map(|what| format!("proof: {what}")));
    }
    checks.extend(texts("shared/domain/src/manifest.rs").into_iter().map(|what| format!("catalogue: {what}")));
    checks.extend(
        ["catalogue: a row", "document: malformed", "document: unknown schema", "proof: is missing"].map(str::to_owned),
    );
    assert!(checks.len() > 50, "{checks:#?}");
    checks
}
