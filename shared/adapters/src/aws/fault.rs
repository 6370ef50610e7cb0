//! What an SDK error means to a workflow: did it happen, is it worth trying again, what was it.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use lifeboat_workflows::ports::Fault;
use lifeboat_workflows::ports::fault::{Happened, Retry};

/// What is being called, for the fault that may come of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'s> {
    /// The step, as a verb.
    pub(super) step: &'static str,
    /// The key, id or name.
    pub(super) subject: &'s str,
    /// Whether it changes anything: only then may something have happened.
    pub(super) changes: bool,
}

/// Codes that say "more slowly" (facts: aws.md §3.1, §5.4).
const THROTTLING: [&str; 9] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "RateExceeded",
    "SlowDown",
    "BandwidthLimitExceeded",
];

/// Codes of a 4xx that passes by itself: the clock, the session or the moment was wrong, not the request.
const PASSING: [&str; 7] = [
    "RequestTimeout",
    "RequestTimeoutException",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestTimeTooSkewed",
    "ResourceContention",
    "OperationAborted",
];

impl<'s> Call<'s> {
    /// A call that only reads.
    pub(super) fn reads(step: &'static str, subject: &'s str) -> Self {
        Self { step, subject, changes: false }
    }

    /// A call that changes something.
    pub(super) fn changes(step: &'static str, subject: &'s str) -> Self {
        Self { step, subject, changes: true }
    }

    /// The fault that this SDK error is; the error is kept as its source.
    pub(super) fn fault<E>(self, error: SdkError<E, HttpResponse>) -> Fault
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let (happened, retry) = classify(&error);
        let happened = if self.changes { happened } else { Happened::No };
        Fault::new(self.step, self.subject, happened, retry, error)
    }

    /// A reply that says what it cannot, or leaves out what it must have.
    pub(super) fn nonsense(self, what: &'static str) -> Fault {
        let happened = if self.changes { Happened::Maybe } else { Happened::No };
        Fault::new(self.step, self.subject, happened, Retry::Yes, what)
    }
}

fn classify<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> (Happened, Retry) {
    match error {
        SdkError::ConstructionFailure(_) => (Happened::No, Retry::No),
        SdkError::DispatchFailure(failure) if failure.is_user() => (Happened::No, Retry::No),
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code().unwrap_or_default();
            if THROTTLING.contains(&code) || status == 429 {
                (Happened::No, Retry::Throttled)
            } else if PASSING.contains(&code) {
                (Happened::No, Retry::Yes)
            } else if (400..500).contains(&status) {
                (Happened::No, Retry::No)
            } else {
                (Happened::Maybe, Retry::Yes)
            }
        }
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            (Happened::Maybe, Retry::Yes)
        }
        // Whatever the SDK adds: the enumeration is open.
        _ => (Happened::Maybe, Retry::Yes),
    }
}

/// The service's error code, if the service answered.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// The HTTP status, if there was a reply.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|r| r.status().as_u16())
}
