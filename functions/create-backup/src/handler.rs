//! Event in, outcome out.

use lifeboat_adapters::lambda::{Answer, HandlerError};
use lifeboat_adapters::settings::CreateBackupSettings;
use lifeboat_domain::create::{Policy, writers};
use lifeboat_domain::event::{self, Hint};
use lifeboat_domain::keys::{Function, Key, marker_dataset};
use lifeboat_workflows::create_backup::{self, Ports};
use lifeboat_workflows::invocation::Patience;
use lifeboat_workflows::ports::{Addresses, Bucket, Clock, Group, Hosts, Nodes};
use serde_json::Value;

/// Reads the event and takes the steps that can be taken now.
pub(crate) async fn handle<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    settings: &CreateBackupSettings,
    event: &Value,
    patience: Patience,
) -> Result<Answer, HandlerError> {
    let hint = event::parse(event)?;
    if let Some(reason) = not_for_us(settings, &hint) {
        return Ok(Answer::ignored(&reason));
    }
    let policy = Policy::new(settings.markers.prefix.clone(), settings.backup_interval, settings.stall)
        .shutting_out(writers::Policy::new(settings.reader_group.clone(), settings.writer_group.clone()));
    let outcome = create_backup::run(ports, &policy, &hint, patience).await?;
    Ok(Answer::of(&outcome, outcome.attention))
}

fn not_for_us(settings: &CreateBackupSettings, hint: &Hint) -> Option<String> {
    match hint {
        Hint::NotForUs { reason } => Some(reason.clone()),
        Hint::LifecycleAction { group, .. } if *group != settings.group => {
            Some(format!("lifecycle action of group {group}, not {}", settings.group))
        }
        Hint::ObjectCreated { bucket, key }
            if !is_marker(settings, bucket, key) && !is_request(settings, bucket, key) =>
        {
            Some(format!("{bucket}/{key} is neither a success marker nor a request to create-backup"))
        }
        Hint::Tick | Hint::ObjectCreated { .. } | Hint::LifecycleAction { .. } => None,
    }
}

fn is_marker(settings: &CreateBackupSettings, bucket: &str, key: &str) -> bool {
    bucket == settings.markers.bucket && marker_dataset(&settings.markers.prefix, key).is_some()
}

fn is_request(settings: &CreateBackupSettings, bucket: &str, key: &str) -> bool {
    bucket == settings.bucket && matches!(Key::parse(key), Some(Key::Request(Function::CreateBackup, _)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lifeboat_adapters::aws::{AddressDocuments, HostDocuments};
    use lifeboat_adapters::event_cases::{self, Expected};
    use lifeboat_adapters::settings::Markers;
    use lifeboat_workflows::twins::World;
    use serde_json::json;

    use super::*;

    /// Settings that own what the cases name.
    fn settings(cases: &[event_cases::Case]) -> CreateBackupSettings {
        let named = |case: &str, path: &str| {
            let case = cases.iter().find(|c| c.name == case).unwrap_or_else(|| panic!("there is a case {case}"));
            case.event.pointer(path).and_then(Value::as_str).expect("the case has the field").to_owned()
        };
        CreateBackupSettings {
            bucket: named("request-backup", "/detail/bucket/name"),
            markers: Markers { bucket: named("success-marker", "/detail/bucket/name"), prefix: "indexing/".into() },
            group: named("old-node-terminating", "/detail/AutoScalingGroupName"),
            operator_key: "/k".into(),
            reader_group: "sg-0a".into(),
            writer_group: "sg-0b".into(),
            hosts: HostDocuments::default(),
            addresses: AddressDocuments::default(),
            backup_interval: Duration::from_secs(3_600),
            stall: Duration::from_secs(1_800),
            poll: Duration::from_secs(2),
        }
    }

    async fn handled(settings: &CreateBackupSettings, event: &Value) -> Result<Answer, HandlerError> {
        let world = World::new();
        let ports = Ports {
            bucket: &world.bucket(),
            markers: &world.bucket_named("markers"),
            group: &world.group(),
            nodes: &world.nodes(),
            hosts: &world.hosts(),
            addresses: &world.addresses(),
            clock: &world.clock(),
        };
        handle(&ports, settings, event, Patience { until: world.now(), poll: settings.poll }).await
    }

    #[tokio::test]
    async fn every_case_of_events_comes_to_what_its_name_says() {
        let cases = event_cases::of(Function::CreateBackup);
        let settings = settings(&cases);
        for case in &cases {
            let answer = handled(&settings, &case.event).await;
            match (case.expected, answer) {
                (Expected::Malformed, Err(error)) => assert!(error.to_string().contains("event field"), "{error}"),
                (Expected::NotForUs, Ok(answer)) => assert_eq!(answer.outcome["outcome"], "ignored", "{}", case.name),
                (Expected::Taken, Ok(answer)) => assert_eq!(answer.outcome["decision"], "idle", "{}", case.name),
                (expected, answer) => panic!("{} is {expected:?} and comes to {answer:?}", case.name),
            }
        }
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_an_error_not_an_answer() {
        let settings = settings(&event_cases::of(Function::CreateBackup));
        let world = World::new();
        world.bucket().put_raw("ownership.json", "{");
        let ports = Ports {
            bucket: &world.bucket(),
            markers: &world.bucket_named("markers"),
            group: &world.group(),
            nodes: &world.nodes(),
            hosts: &world.hosts(),
            addresses: &world.addresses(),
            clock: &world.clock(),
        };
        let tick = json!({"source": "lifeboat", "detail-type": "Scheduled Event"});
        let patience = Patience { until: world.now(), poll: settings.poll };
        assert!(handle(&ports, &settings, &tick, patience).await.is_err());
    }
}
