//! JSON log lines for Lambda, and the one printer of error chains.

use std::error::Error;
use std::fmt::Write as _;

use tracing_subscriber::EnvFilter;

/// The crates whose lines are ours; the level of all others is `warn`, since an SDK at `debug` shows what it sends.
const OURS: [&str; 7] = [
    "lifeboat_domain",
    "lifeboat_workflows",
    "lifeboat_adapters",
    "create_backup",
    "verify_checksums",
    "flip_manifest",
    "drive_restore",
];

/// Starts logging: one JSON object a line, on standard output, fields at the top. `level` is one of `debug`, `info`,
/// `warn`, `error` in any case (Lambda's `AWS_LAMBDA_LOG_LEVEL`); anything else is `info`. A second call does nothing.
pub fn init(level: &str) {
    let filter = EnvFilter::new(directives(level));
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_ansi(false)
        .with_target(false)
        .with_env_filter(filter)
        .finish();
    // Refused only when there is one already.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn directives(level: &str) -> String {
    let level = match level.to_ascii_lowercase().as_str() {
        level @ ("debug" | "info" | "warn" | "error") => level.to_owned(),
        _ => "info".to_owned(),
    };
    let mut directives = "warn".to_owned();
    for name in OURS {
        let _ = write!(directives, ",{name}={level}");
    }
    directives
}

/// An error with everything behind it, joined by `: `, on one line; what a cause repeats word for word is said once.
/// Called where an error is handled, and nowhere before.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            let _ = write!(text, ": {words}");
        }
        next = cause.source();
    }
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("writing the pointer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("access\ndenied")]
    struct Inner;

    #[test]
    fn a_chain_is_one_line_with_every_cause() {
        assert_eq!(chain(&Outer(Inner)), "writing the pointer: access denied");
    }

    #[test]
    fn the_level_is_for_our_crates_and_others_stay_at_warn() {
        let text = directives("DEBUG");
        assert!(text.starts_with("warn,lifeboat_domain=debug") && text.ends_with("drive_restore=debug"), "{text}");
        assert!(directives("trace").contains("lifeboat_workflows=info"));
    }
}
