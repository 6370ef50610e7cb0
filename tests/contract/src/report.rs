//! What a run found, for people and as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As expected.
    Pass,
    /// Otherwise than expected.
    Differ,
    /// The double, otherwise than the real server, as the list of differences says and why.
    DifferListed,
    /// Not run, for a reason.
    NotRun,
}

/// One case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// The group.
    pub group: String,
    /// The case: a sentence.
    pub case: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Value>,
    /// Why it was not run, how it differs, or why the double may differ.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// Cases by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// As expected.
    pub pass: usize,
    /// Otherwise than expected.
    pub differ: usize,
    /// The double, differing as listed.
    pub differ_listed: usize,
    /// Not run.
    pub not_run: usize,
}

/// A run of the suite.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// What this is.
    pub suite: String,
    /// `double`, or `real`.
    pub server: String,
    /// The server's own version.
    pub version: String,
    /// The server's own source revision.
    pub git_hash: String,
    /// SHA-256 of the binary, where the suite started one.
    pub binary_sha256: Option<String>,
    /// The configuration.
    pub config: String,
    /// Cases by verdict.
    pub counts: Counts,
    /// Cases.
    pub cases: Vec<Line>,
}

impl Report {
    /// Cases by verdict.
    #[must_use]
    pub fn count(cases: &[Line]) -> Counts {
        let of = |verdict: Verdict| cases.iter().filter(|line| line.verdict == verdict).count();
        Counts {
            pass: of(Verdict::Pass),
            differ: of(Verdict::Differ),
            differ_listed: of(Verdict::DifferListed),
            not_run: of(Verdict::NotRun),
        }
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let Counts { pass, differ, differ_listed, not_run } = self.counts;
        let listed =
            if self.server == "double" { format!(", {differ_listed} differ as listed") } else { String::new() };
        format!(
            "{} {} ({}), {}: {pass} pass, {differ} differ{listed}, {not_run} not run",
            self.server, self.version, self.git_hash, self.config
        )
    }

    /// The document: one line for each case, so that two runs can be compared by eye.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn to_text(&self) -> serde_json::Result<String> {
        let mut head = serde_json::to_value(self)?;
        let cases = self.cases.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<_>>>()?;
        head["cases"] = Value::Null;
        let head = serde_json::to_string_pretty(&head)?;
        Ok(head.replace("\"cases\": null", &format!("\"cases\": [\n{}\n  ]", cases.join(",\n"))) + "\n")
    }

    /// The table of cases for people: one column for each report.
    #[must_use]
    pub fn table(reports: &[Self]) -> String {
        let mut text = String::from("| group | case |");
        for report in reports {
            text.push_str(&format!(" {} {}, {} |", report.server, report.version, report.config));
        }
        text.push_str(&format!("\n|---|---|{}\n", "---|".repeat(reports.len())));
        let Some(first) = reports.first() else { return text };
        for line in &first.cases {
            text.push_str(&format!("| {} | {} |", line.group, line.case));
            for report in reports {
                let of = report
                    .cases
                    .iter()
                    .find(|other| (&other.group, &other.case) == (&line.group, &line.case))
                    .map(|other| other.verdict);
                let word = match of {
                    Some(Verdict::Pass) => "pass",
                    Some(Verdict::Differ) => "**differ**",
                    Some(Verdict::DifferListed) => "differ, listed",
                    Some(Verdict::NotRun) => "not run",
                    None => "no such case",
                };
                text.push_str(&format!(" {word} |"));
            }
            text.push('\n');
        }
        text
    }

    /// Everything that is not a pass, with its reason.
    #[must_use]
    pub fn remarks(&self) -> String {
        let mut text = String::new();
        for line in self.cases.iter().filter(|line| line.verdict != Verdict::Pass) {
            let what = match line.verdict {
                Verdict::Differ => "DIFFERS",
                Verdict::DifferListed => "differs as listed",
                Verdict::NotRun => "NOT RUN",
                Verdict::Pass => "",
            };
            text.push_str(&format!("{what}: {} / {}: {}\n", line.group, line.case, line.reason));
        }
        text
    }

    /// Why this run does not show what it must, if it does not: nothing may differ, a real server needs 60 cases that
    /// ran, and each case that did not run its reason.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        const CASES_MIN: usize = 60;
        let ran = self.counts.pass + self.counts.differ + self.counts.differ_listed;
        let silent = self.cases.iter().find(|line| line.verdict == Verdict::NotRun && line.reason.is_empty());
        if self.counts.differ > 0 {
            return Some(format!("{} cases differ", self.counts.differ));
        }
        if self.server == "real" && ran < CASES_MIN {
            return Some(format!("{ran} cases ran; fewer than {CASES_MIN} show nothing"));
        }
        silent.map(|line| format!("{} was not run, without a reason", line.case))
    }
}

/// How two documents differ, as lines of `path: expected … seen …`.
pub(crate) fn compare(expected: &Value, seen: &Value) -> String {
    let mut found = Vec::new();
    walk("", expected, seen, &mut found);
    found.join("; ")
}

fn walk(path: &str, expected: &Value, seen: &Value, found: &mut Vec<String>) {
    match (expected, seen) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeMap<&String, ()> = a.keys().chain(b.keys()).map(|name| (name, ())).collect();
            for name in names.into_keys() {
                let none = Value::String("<absent>".to_owned());
                walk(&format!("{path}/{name}"), a.get(name).unwrap_or(&none), b.get(name).unwrap_or(&none), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                walk(&format!("{path}/{at}"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}: expected {a}, seen {b}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(pass: usize, not_run: Option<&str>) -> Report {
        let line = |verdict, reason: &str| Line {
            group: "g".into(),
            case: "c".into(),
            verdict,
            outcome: None,
            reason: reason.into(),
            took_ms: 0,
        };
        let mut cases = vec![line(Verdict::Pass, ""); pass];
        cases.extend(not_run.map(|reason| line(Verdict::NotRun, reason)));
        Report {
            suite: String::new(),
            server: "real".into(),
            version: String::new(),
            git_hash: String::new(),
            binary_sha256: None,
            config: String::new(),
            counts: Report::count(&cases),
            cases,
        }
    }

    #[test]
    fn fewer_than_sixty_cases_or_one_skipped_in_silence_is_a_failure() {
        assert_eq!(report(60, None).fault(), None);
        assert_eq!(report(60, Some("no bucket")).fault(), None);
        assert!(report(59, None).fault().is_some());
        assert!(report(60, Some("")).fault().is_some());
    }

    #[test]
    fn a_difference_names_its_place() {
        let text = compare(&json!({"a": {"b": 1}, "c": 2}), &json!({"a": {"b": 3}, "c": 2}));
        assert_eq!(text, "/a/b: expected 1, seen 3");
    }
}
