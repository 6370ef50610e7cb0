//! Event in, outcome out.

use lifeboat_adapters::lambda::{Answer, HandlerError};
use lifeboat_domain::event;
use lifeboat_workflows::invocation::Patience;
use lifeboat_workflows::ports::{Bucket, Clock, Deletes};
use lifeboat_workflows::prune_backups::{self, Outcome, Ports, PrunePolicy};
use serde_json::Value;

/// Reads the event and does what is due.
pub(crate) async fn handle(
    ports: &Ports<'_, impl Bucket, impl Deletes, impl Clock>,
    policy: &PrunePolicy,
    event: &Value,
    patience: Patience,
) -> Result<Answer, HandlerError> {
    let hint = event::parse(event)?;
    Ok(answer(&prune_backups::run(ports, policy, &hint, patience).await?))
}

/// A person must look when nothing may be deleted any more.
fn answer(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Ignored { reason } => Answer::ignored(reason),
        Outcome::NotDue | Outcome::Unfinished { .. } | Outcome::Pruned { .. } => {
            Answer::of(outcome, outcome.attention())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lifeboat_adapters::event_cases::{self, Expected};
    use lifeboat_domain::keys::Function;
    use lifeboat_domain::retention::Pruned;
    use lifeboat_workflows::twins::World;

    use super::*;

    #[tokio::test]
    async fn every_case_of_events_comes_to_what_its_name_says() {
        for case in event_cases::of(Function::PruneBackups) {
            let world = World::new();
            let (bucket, clock) = (world.bucket(), world.clock());
            let ports = Ports { bucket: &bucket, deletes: &bucket, clock: &clock };
            let named = case.event.pointer("/detail/bucket/name").and_then(Value::as_str).unwrap_or("b");
            let policy = PrunePolicy {
                bucket: named.to_owned(),
                retention: Default::default(),
                every: Duration::from_secs(86_400),
            };
            let patience = Patience { until: world.now() + Duration::from_secs(60), poll: Duration::from_secs(2) };
            let answer = handle(&ports, &policy, &case.event, patience).await;
            match (case.expected, answer) {
                (Expected::Malformed, Err(error)) => assert!(error.to_string().contains("event field"), "{error}"),
                (Expected::NotForUs, Ok(answer)) => assert_eq!(answer.outcome["outcome"], "ignored", "{}", case.name),
                // The request that the case names is not in this empty bucket.
                (Expected::Taken, Ok(answer)) if case.name.starts_with("request-") => {
                    assert_eq!(answer.outcome["outcome"], "ignored", "{}", case.name);
                }
                (Expected::Taken, Ok(answer)) => assert_eq!(answer.outcome["outcome"], "pruned", "{}", case.name),
                (expected, answer) => panic!("{} is {expected:?} and comes to {answer:?}", case.name),
            }
        }
    }

    #[test]
    fn a_refusal_is_an_error_line_and_a_prune_is_not() {
        let refused = Pruned { refused: Some("a manifest cannot be read".into()), ..Pruned::default() };
        assert!(answer(&Outcome::Pruned { pruned: refused }).attention);
        assert!(!answer(&Outcome::Pruned { pruned: Pruned::default() }).attention);
    }
}
