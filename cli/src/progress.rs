//! How far a reading is, on a terminal; nothing on a pipe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lifeboat_engine::Progress;

/// A bar on standard error: bytes, rate, time left. It is not drawn where standard error is no terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// For so many bytes.
    pub(crate) fn of(size_bytes: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(size_bytes), ProgressDrawTarget::stderr());
        let template = "{wide_bar} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }

    /// What has just happened.
    pub(crate) fn take(&self, progress: Progress) {
        match progress {
            Progress::Bytes(bytes) => self.0.inc(bytes),
            Progress::Reread { size_bytes } => self.0.set_position(self.0.position().saturating_sub(size_bytes)),
            Progress::Retried => {}
        }
    }

    /// Prints a line above the bar, to where it belongs.
    pub(crate) fn aside(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}
