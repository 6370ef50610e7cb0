//! Event in, outcome out.

use lifeboat_adapters::lambda::{Answer, HandlerError};
use lifeboat_domain::event;
use lifeboat_workflows::invocation::Patience;
use lifeboat_workflows::ports::{Bucket, Clock};
use lifeboat_workflows::verify_checksums::{self, Ports, VerifyAct, VerifyPolicy, VerifyReport};
use serde_json::{Value, json};

/// Reads the event and verifies what it, or the record, points at.
pub(crate) async fn handle(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &VerifyPolicy,
    event: &Value,
    patience: Patience,
) -> Result<Answer, HandlerError> {
    let hint = event::parse(event)?;
    Ok(answer(&verify_checksums::run(ports, policy, &hint, patience).await?))
}

fn answer(report: &VerifyReport) -> Answer {
    if let [VerifyAct::Ignored { reason }] = report.acts.as_slice() {
        return Answer::ignored(reason);
    }
    Answer::of(&json!({"outcome": "handled", "report": report.to_string()}), report.attention())
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
        for case in event_cases::of(Function::VerifyChecksums) {
            let bucket = case.event.pointer("/detail/bucket/name").and_then(Value::as_str).unwrap_or("b");
            let policy = VerifyPolicy::new(bucket);
            let patience = Patience { until: world.now(), poll: Duration::from_secs(2) };
            let answer = handle(&ports, &policy, &case.event, patience).await;
            match (case.expected, answer) {
                (Expected::Malformed, Err(error)) => assert!(error.to_string().contains("event field"), "{error}"),
                (Expected::NotForUs, Ok(answer)) => assert_eq!(answer.outcome["outcome"], "ignored", "{}", case.name),
                // The request that the case names is not in this empty bucket.
                (Expected::Taken, Ok(answer)) if case.name.starts_with("request-") => {
                    assert_eq!(answer.outcome["outcome"], "ignored", "{}", case.name);
                }
                (Expected::Taken, Ok(answer)) => assert_eq!(answer.outcome["outcome"], "handled", "{}", case.name),
                // The shard that the case names is not in this empty bucket.
                (Expected::Taken, Err(_)) => {}
                (expected, answer) => panic!("{} is {expected:?} and comes to {answer:?}", case.name),
            }
        }
    }

    #[test]
    fn a_failed_backup_is_an_error_line_and_a_planned_one_is_not() {
        let backup_id = BackupId::parse("b").unwrap();
        let report = |act| VerifyReport { acts: vec![act] };
        assert!(answer(&report(VerifyAct::Failed { backup_id: backup_id.clone(), findings: vec![] })).attention);
        let planned = answer(&report(VerifyAct::Planned { backup_id, shards: 3 }));
        assert!(!planned.attention);
        assert_eq!(planned.outcome["outcome"], "handled");
    }
}
