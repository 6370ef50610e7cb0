//! Reads variables one by one, keeping every problem, so that one error can list them all.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

/// Everything that is wrong with a function's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSettings {
    /// Each problem, in the order of the settings struct.
    pub problems: Vec<Problem>,
}

/// One variable that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its name.
    pub variable: &'static str,
    /// Its value, cut to 120 characters; `None` when it is not set.
    pub found: Option<String>,
    /// What it must be.
    pub rule: &'static str,
}

impl std::error::Error for InvalidSettings {}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the function's environment is wrong; set in template.yaml:")?;
        for problem in &self.problems {
            write!(f, " {problem};")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            None => write!(f, "{} is not set, it must be {}", self.variable, self.rule),
            Some(found) => write!(f, "{} is {found:?}, it must be {}", self.variable, self.rule),
        }
    }
}

/// Reads variables and keeps the problems. A wrong value is replaced by a stand-in that never leaves [`Reader::finish`].
#[derive(Debug)]
pub(super) struct Reader<'v> {
    variables: &'v BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl<'v> Reader<'v> {
    pub(super) fn new(variables: &'v BTreeMap<String, String>) -> Self {
        Self { variables, problems: Vec::new() }
    }

    /// A text that must be set.
    pub(super) fn text(&mut self, name: &'static str, rule: &'static str, valid: impl Fn(&str) -> bool) -> String {
        self.parsed(name, rule, String::new(), |t| valid(t).then(|| t.to_owned()))
    }

    /// A text that must be set, whose wrong value is not shown: somebody may have put a secret there.
    pub(super) fn unshown_text(
        &mut self,
        name: &'static str,
        rule: &'static str,
        valid: impl Fn(&str) -> bool,
    ) -> String {
        let before = self.problems.len();
        let text = self.text(name, rule, valid);
        for problem in &mut self.problems[before..] {
            problem.found = problem.found.take().map(|_| "(not shown)".to_owned());
        }
        text
    }

    /// A value that must be set.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        rule: &'static str,
        stand_in: T,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let found = self.variables.get(name);
        match found.and_then(|t| parse(t)) {
            Some(value) => value,
            None => self.problem(name, found, rule, stand_in),
        }
    }

    /// A number in a range, with a default.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        rule: &'static str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> u32 {
        let Some(found) = self.variables.get(name) else {
            return default;
        };
        match found.parse().ok().filter(|n| range.contains(n)) {
            Some(number) => number,
            None => self.problem(name, Some(found), rule, default),
        }
    }

    /// `yes` or `no`, with a default.
    pub(super) fn yes_or_no(&mut self, name: &'static str, default: bool) -> bool {
        match self.variables.get(name).map(String::as_str) {
            None => default,
            Some("yes") => true,
            Some("no") => false,
            Some(other) => self.problem(name, Some(&other.to_owned()), "yes or no", default),
        }
    }

    fn problem<T>(&mut self, variable: &'static str, found: Option<&String>, rule: &'static str, stand_in: T) -> T {
        let found = found.map(|t| t.chars().take(120).collect());
        self.problems.push(Problem { variable, found, rule });
        stand_in
    }

    /// The settings, if there was no problem.
    pub(super) fn finish<T>(self, settings: T) -> Result<T, InvalidSettings> {
        if self.problems.is_empty() { Ok(settings) } else { Err(InvalidSettings { problems: self.problems }) }
    }
}
