//! Named cases and what became of them.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde_json::{Value, json};

/// A difference that is known and stays, with its reason.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The case.
    pub case: &'static str,
    /// Why it differs, and why that is borne.
    pub reason: &'static str,
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It held.
    Pass,
    /// It did not: what was expected and seen.
    Differs(String),
    /// It did not, as was known: the reason.
    Known(&'static str),
    /// It was not played, because of this.
    NotRun(String),
}

/// A case that is over.
#[derive(Debug, Clone)]
pub struct Played {
    /// Its name, a sentence.
    pub case: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// All cases that were played at one place.
#[derive(Debug)]
pub struct Report {
    place: String,
    known: &'static [Known],
    played: Vec<Played>,
}

impl Report {
    /// A report of a place, with the differences that are known of it.
    pub fn new(place: impl Into<String>, known: &'static [Known]) -> Self {
        Self { place: place.into(), known, played: Vec::new() }
    }

    /// Plays a case: a panic is a difference. A case that is known to differ must differ.
    ///
    /// # Panics
    /// When a name is given twice.
    pub async fn case(&mut self, case: &'static str, play: impl Future<Output = ()>) {
        let begun = Instant::now();
        let end = AssertUnwindSafe(play).catch_unwind().await;
        let known = self.known.iter().find(|k| k.case == case);
        let outcome = match (end, known) {
            (Ok(()), None) => Outcome::Pass,
            (Ok(()), Some(known)) => {
                Outcome::Differs(format!("it holds, though it is listed as a difference: {}", known.reason))
            }
            (Err(_), Some(known)) => Outcome::Known(known.reason),
            (Err(panic), None) => Outcome::Differs(words(panic.as_ref())),
        };
        self.note(case, outcome, begun.elapsed());
    }

    /// Says that a case cannot be played here, and why.
    ///
    /// # Panics
    /// When a name is given twice.
    pub fn not_run(&mut self, case: &'static str, reason: impl Into<String>) {
        self.note(case, Outcome::NotRun(reason.into()), Duration::ZERO);
    }

    fn note(&mut self, case: &'static str, outcome: Outcome, took: Duration) {
        assert!(self.played.iter().all(|p| p.case != case), "two cases are called {case}");
        self.played.push(Played { case, outcome, took });
    }

    /// The cases so far, in order.
    pub fn played(&self) -> &[Played] {
        &self.played
    }

    /// How many cases came to an outcome.
    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.played.iter().filter(|p| is(&p.outcome)).count()
    }

    /// One line: pass, differ, not run.
    pub fn summary(&self) -> String {
        format!(
            "{}: {} pass, {} differ ({} as listed), {} not run",
            self.place,
            self.count(|o| *o == Outcome::Pass),
            self.count(|o| matches!(o, Outcome::Differs(_) | Outcome::Known(_))),
            self.count(|o| matches!(o, Outcome::Known(_))),
            self.count(|o| matches!(o, Outcome::NotRun(_))),
        )
    }

    /// As evidence is kept.
    pub fn json(&self) -> Value {
        let cases = self.played.iter().map(|p| {
            let (outcome, text) = match &p.outcome {
                Outcome::Pass => ("pass", None),
                Outcome::Differs(text) => ("differs", Some(text.as_str())),
                Outcome::Known(reason) => ("differs as listed", Some(*reason)),
                Outcome::NotRun(reason) => ("not run", Some(reason.as_str())),
            };
            let mut case = json!({"case": p.case, "outcome": outcome, "took_ms": p.took.as_millis()});
            if let Some(text) = text {
                case["because"] = json!(text);
            }
            case
        });
        json!({
            "place": self.place,
            "pass": self.count(|o| *o == Outcome::Pass),
            "differ": self.count(|o| matches!(o, Outcome::Differs(_) | Outcome::Known(_))),
            "not_run": self.count(|o| matches!(o, Outcome::NotRun(_))),
            "cases": cases.collect::<Vec<_>>(),
        })
    }

    /// Says the counts, and whatever did not pass, past the test harness's capture: who reads a log must see them.
    pub fn say(&self) {
        use std::io::Write as _;
        let lines = self.to_string();
        let lines: Vec<&str> = lines.lines().filter(|line| !line.starts_with("  pass ")).collect();
        // A log that cannot be written to is no reason to fail.
        let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
    }

    /// Nothing differs but what is listed.
    ///
    /// # Panics
    /// With every case that differs.
    pub fn assert_kept(&self) {
        assert!(self.count(|o| matches!(o, Outcome::Differs(_))) == 0, "{self}");
        let played = |k: &&Known| self.played.iter().any(|p| p.case == k.case);
        let stale: Vec<&str> = self.known.iter().filter(|k| !played(k)).map(|k| k.case).collect();
        assert!(stale.is_empty(), "listed as differences, but no cases: {stale:?}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for played in &self.played {
            match &played.outcome {
                Outcome::Pass => writeln!(f, "  pass     {}", played.case)?,
                Outcome::Differs(text) => writeln!(f, "  DIFFERS  {}: {text}", played.case)?,
                Outcome::Known(reason) => writeln!(f, "  differs  {} (listed: {reason})", played.case)?,
                Outcome::NotRun(reason) => writeln!(f, "  NOT RUN  {}: {reason}", played.case)?,
            }
        }
        f.write_str(&self.summary())
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_difference_counts_unless_it_is_listed_and_a_listed_one_that_holds_is_a_difference() {
        const LISTED: &[Known] = &[Known { case: "b", reason: "so" }, Known { case: "c", reason: "gone" }];
        let mut report = Report::new("somewhere", LISTED);
        report.case("a", async {}).await;
        report.case("b", async { panic!("{} is not {}", 1, 2) }).await;
        report.not_run("d", "no door");
        assert_eq!(report.summary(), "somewhere: 1 pass, 1 differ (1 as listed), 1 not run");
        report.case("c", async {}).await;
        assert!(matches!(&report.played()[3].outcome, Outcome::Differs(text) if text.contains("gone")), "{report}");
        report.case("e", async { panic!("no") }).await;
        assert_eq!(report.json()["cases"][4]["because"], "no");
        assert_eq!((&report.json()["pass"], &report.json()["differ"]), (&json!(1), &json!(3)));
    }

    #[tokio::test]
    #[should_panic(expected = "DIFFERS  a: no")]
    async fn what_differs_unlisted_fails_by_its_name() {
        let mut report = Report::new("somewhere", &[]);
        report.case("a", async { panic!("no") }).await;
        report.assert_kept();
    }
}
