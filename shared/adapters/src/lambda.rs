//! What every function has around its workflow: cold start, deadline, one canonical line an invocation.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lifeboat_domain::keys::Function;
use lifeboat_workflows::invocation::Patience;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::{error, info};

use crate::logging::{self, chain};
use crate::settings::{FromVariables, LOG_LEVEL, variables_of_the_environment};

/// How long before its deadline an invocation returns: a turn that has begun may still end.
const SPARE: SignedDuration = SignedDuration::from_secs(60);
/// How long an invocation goes on at least, when the whole timeout is shorter than [`SPARE`].
const AT_LEAST: SignedDuration = SignedDuration::from_secs(1);

/// What a handler gives back.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What came of it: the function's reply, and the canonical line's `outcome`.
    pub outcome: Value,
    /// Whether a person must look: the canonical line is then an error, which an alarm counts.
    pub attention: bool,
}

impl Answer {
    /// The event was not for this function.
    pub fn ignored(reason: &str) -> Self {
        Self { outcome: json!({"outcome": "ignored", "reason": reason}), attention: false }
    }

    /// What a workflow came to.
    pub fn of(outcome: &impl Serialize, attention: bool) -> Self {
        let outcome = serde_json::to_value(outcome).unwrap_or_else(|e| json!({"unprintable_outcome": e.to_string()}));
        Self { outcome, attention }
    }
}

/// A handler's error. Its chain is printed here, at the boundary, and nowhere before.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// A failed cold start or invocation whose line has been written. Its `Debug` says no more, because the runtime logs
/// that too; Lambda's failure queue gets the whole message.
pub struct Failure {
    message: String,
}

impl Failure {
    fn new(error: &(dyn Error + 'static)) -> Self {
        Self { message: chain(error) }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed; the line before this one says why")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: "lifeboat".to_owned(), error_message: failure.message }
    }
}

/// Starts logging and reads the function's settings; what is wrong with them is logged, all of it, in one line.
pub fn cold_start<T: FromVariables>(function: Function) -> Result<T, Failure> {
    let variables = variables_of_the_environment();
    logging::init(variables.get(LOG_LEVEL).map_or("info", String::as_str));
    T::from_map(&variables).map_err(|problems| {
        error!(function = function.name(), error = %problems, "the function cannot start");
        Failure::new(&problems)
    })
}

/// How long an invocation may go on that is to be over at `deadline`.
pub fn patience(now: Timestamp, deadline: Timestamp, poll: Duration) -> Patience {
    let earliest = now.saturating_add(AT_LEAST).unwrap_or(Timestamp::MAX);
    let latest = deadline.saturating_sub(SPARE).unwrap_or(Timestamp::MIN);
    Patience { until: earliest.max(latest), poll }
}

/// Takes invocations until Lambda ends the process. The handler gets the event and how long it may go on.
pub async fn serve<H, R>(function: Function, poll: Duration, handler: H) -> Result<(), HandlerError>
where
    H: Fn(Value, Patience) -> R,
    R: Future<Output = Result<Answer, HandlerError>>,
{
    let handler = &handler;
    let invocation = service_fn(move |event: LambdaEvent<Value>| async move {
        let (event, context) = event.into_parts();
        let deadline = i64::try_from(context.deadline).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        // A deadline that cannot be read is taken for now: the invocation still does its least.
        let now = Timestamp::now();
        let patience = patience(now, deadline.unwrap_or(now), poll);
        let started = Instant::now();
        // Boxed: a workflow's future is large, and deeper than the compiler's limit for one layout.
        let answer = Box::pin(handler(event, patience)).await;
        report(function, &context.request_id, started.elapsed(), answer)
    });
    lambda_runtime::run(invocation).await
}

/// Writes the canonical line, and turns the answer into the function's reply.
fn report(
    function: Function,
    request_id: &str,
    took: Duration,
    answer: Result<Answer, HandlerError>,
) -> Result<Value, Failure> {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let name = function.name();
    match answer {
        Ok(Answer { outcome, attention: false }) => {
            info!(function = name, lambda.request_id = request_id, duration_ms, outcome = %outcome, "{name} is done");
            Ok(outcome)
        }
        Ok(Answer { outcome, attention: true }) => {
            error!(function = name, lambda.request_id = request_id, duration_ms, outcome = %outcome,
                "{name} is done, and a person must look");
            Ok(outcome)
        }
        Err(source) => {
            let failure = Failure::new(source.as_ref());
            error!(function = name, lambda.request_id = request_id, duration_ms, error = %failure, "{name} failed");
            Err(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_invocation_returns_a_minute_before_its_deadline() {
        let patience = patience(at("2026-11-20T00:00:00Z"), at("2026-11-20T00:15:00Z"), Duration::from_secs(2));
        assert_eq!(patience.until, at("2026-11-20T00:14:00Z"));
        assert_eq!(patience.poll, Duration::from_secs(2));
    }

    #[test]
    fn a_timeout_shorter_than_the_spare_minute_still_leaves_a_second() {
        let now = at("2026-11-20T00:00:00Z");
        for deadline in ["2026-11-20T00:00:30Z", "2026-11-20T00:01:00Z", "1970-01-01T00:00:00Z"] {
            assert_eq!(patience(now, at(deadline), Duration::from_secs(2)).until, at("2026-11-20T00:00:01Z"));
        }
    }

    #[test]
    fn a_failure_gives_lambda_the_whole_chain_and_the_log_a_pointer_to_its_line() {
        let source: HandlerError = Box::new(std::io::Error::other("no route"));
        let failure = report(Function::FlipManifest, "r", Duration::ZERO, Err(source)).unwrap_err();
        assert!(!format!("{failure:?}").contains("no route"));
        assert_eq!(Diagnostic::from(failure).error_message, "no route");
    }

    #[test]
    fn an_ignored_event_is_an_outcome_with_its_reason() {
        let answer = Answer::ignored("another bucket");
        let reply = report(Function::FlipManifest, "r", Duration::ZERO, Ok(answer)).unwrap();
        assert_eq!(reply, json!({"outcome": "ignored", "reason": "another bucket"}));
    }
}
