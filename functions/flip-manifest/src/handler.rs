//! Event in, outcome out.

use lifeboat_adapters::lambda::{Answer, HandlerError};
use lifeboat_domain::event;
use lifeboat_workflows::flip_manifest::{self, FlipAct, FlipPolicy, FlipReport, Ports};
use lifeboat_workflows::invocation::Patience;
use lifeboat_workflows::ports::{Bucket, Clock};
use serde_json::{Value, json};

/// Reads the event and decides whatever can be decided now.
pub(crate) async fn handle(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &FlipPolicy,
    event: &Value,
    patience: Patience,
) -> Result<Answer, HandlerError> {
    let hint = event::parse(event)?;
    Ok(answer(&flip_manifest::run(ports, policy, &hint, patience).await?))
}

/// A person must look at what waits for one, at what is no proof, and at a request that was not done.
fn answer(report: &FlipReport) -> Answer {
    if let [FlipAct::Ignored { reason }] = report.acts.as_slice() {
        return Answer::ignored(reason);
    }
    let attention = report.acts.iter().any(|act| match act {
        FlipAct::Held { .. } | FlipAct::Failed { .. } => true,
        FlipAct::Request { done, .. } => !done,
        FlipAct::Ignored { .. }
        | FlipAct::Waiting { .. }
        | FlipAct::Published { .. }
        | FlipAct::AlreadyPublished { .. }
        | FlipAct::Refused { .. }
        | FlipAct::Restamped { .. } => false,
    });
    Answer::of(&json!({"outcome": "handled", "report": report.to_string()}), attention)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lifeboat_adapters::event_cases::{self, Expected};
    use lifeboat_domain::ids::BackupId;
    use lifeboat_domain::keys::Function;
    use lifeboat_workflows::twins::World;

    use super::*;

    #[tokio::test]
    async fn every_case_of_events_comes_to_what_its_name_says() {
        let world = World::new();
        let ports = Ports { bucket: &world.bucket(), clock: &world.clock() };
        for case in event_cases::of(Function::FlipManifest) {
            let bucket = case.event.pointer("/detail/bucket/name").and_then(Value::as_str).unwrap_or("b");
            let policy = FlipPolicy::new(bucket, "weaviate", World::GROUP);
            let patience = Patience { until: world.now(), poll: Duration::from_secs(2) };
            let answer = handle(&ports, &policy, &case.event, patience).await;
            match (case.expected, answer) {
                (Expected::Malformed, Err(error)) => assert!(error.to_string().contains("event field"), "{error}"),
                (Expected::NotForUs, Ok(answer)) => assert_eq!(answer.outcome["outcome"], "ignored", "{}", case.name),
                (Expected::Taken, Ok(answer)) => assert_eq!(answer.outcome["outcome"], "handled", "{}", case.name),
                (expected, answer) => panic!("{} is {expected:?} and comes to {answer:?}", case.name),
            }
        }
    }

    #[test]
    fn what_waits_for_a_person_is_an_error_line_and_a_flip_is_not() {
        let backup_id = BackupId::parse("b").unwrap();
        let report = |act| FlipReport { acts: vec![act] };
        assert!(answer(&report(FlipAct::Held { backup_id: backup_id.clone(), reasons: vec![] })).attention);
        assert!(answer(&report(FlipAct::Request { id: "r".into(), done: false, outcome: "no".into() })).attention);
        assert!(!answer(&report(FlipAct::AlreadyPublished { backup_id })).attention);
        assert_eq!(answer(&FlipReport::default()).outcome["report"], "nothing to decide");
    }
}
