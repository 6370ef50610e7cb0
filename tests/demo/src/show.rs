//! How a demo is shown: a bar and a spinner on a terminal, plain lines elsewhere. Everything goes to standard error;
//! standard output is for the result.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lifeboat_stack::{Progress, Step};

use crate::journey::Audience;

/// Shows steps to a person.
#[derive(Debug)]
pub struct Show {
    quiet: bool,
    bar: Option<ProgressBar>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    title: String,
    began: Instant,
    said: Instant,
}

/// On something that is not a terminal, how often progress within a step is said.
const SAY_EVERY: Duration = Duration::from_secs(5);

impl Show {
    /// Shows on standard error; `quiet` shows nothing.
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
                bar.set_style(style);
            }
            bar
        });
        let now = Instant::now();
        Self { quiet, bar, current: Mutex::new(Current { title: String::new(), began: now, said: now }) }
    }

    fn open(&self, title: &str) {
        let now = Instant::now();
        if let Ok(mut current) = self.current.lock() {
            *current = Current { title: title.to_owned(), began: now, said: now };
        }
        match &self.bar {
            Some(bar) => {
                bar.reset_elapsed();
                bar.set_message(title.to_owned());
            }
            None => self.say(&format!("… {title}")),
        }
    }

    fn within(&self, text: &str) {
        let Ok(mut current) = self.current.lock() else { return };
        match &self.bar {
            Some(bar) => bar.set_message(format!("{}: {text}", current.title)),
            None if current.said.elapsed() >= SAY_EVERY => {
                current.said = Instant::now();
                self.say(&format!("    {text}"));
            }
            None => {}
        }
    }

    fn close(&self, result: &str) {
        let Ok(current) = self.current.lock() else { return };
        let line = format!("✓ {} ({:.1} s)", current.title, current.began.elapsed().as_secs_f64());
        self.say(&line);
        if !result.is_empty() {
            self.say(&format!("    {result}"));
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Ends the show.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Show {
    fn begin(&self, step: Step) {
        self.open(step.title());
    }
    fn detail(&self, _: Step, line: &str) {
        self.within(line);
    }
    fn end(&self, _: Step, _: Duration) {
        self.close("");
    }
}

impl Audience for Show {
    fn step(&self, title: &str) {
        self.open(title);
    }
    fn advance(&self, done: u64, of: u64, unit: &str) {
        self.within(&format!("{done} of {of} {unit}"));
    }
    fn done(&self, result: &str) {
        self.close(result);
    }
    fn aside(&self, text: &str) {
        self.say(&format!("    {text}"));
    }
}
