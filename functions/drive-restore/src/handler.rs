//! Event in, outcome out.

use lifeboat_adapters::lambda::{Answer, HandlerError};
use lifeboat_adapters::settings::DriveRestoreSettings;
use lifeboat_domain::event;
use lifeboat_domain::restore::RestorePolicy;
use lifeboat_workflows::drive_restore::{self, Outcome, Policy, Ports};
use lifeboat_workflows::invocation::Patience;
use serde_json::Value;

/// What the settings say of restores.
pub(crate) fn policy(settings: &DriveRestoreSettings) -> Policy {
    Policy {
        cluster: settings.cluster.clone(),
        bucket: settings.bucket.clone(),
        group: settings.group.clone(),
        fixed_address: settings.address.address.to_string(),
        reader_group: settings.address.reader_group.clone(),
        writer_group: settings.address.writer_group.clone(),
        marker_prefix: settings.markers.prefix.clone(),
        restore: RestorePolicy {
            allow_empty_start: settings.allow_empty_start,
            fall_back: settings.fall_back,
            predecessor_deadline: settings.predecessor_deadline,
            ..RestorePolicy::default()
        },
    }
}

/// Reads the event and brings whatever is under a hook further.
pub(crate) async fn handle(
    ports: &impl Ports,
    policy: &Policy,
    event: &Value,
    patience: Patience,
) -> Result<Answer, HandlerError> {
    let hint = event::parse(event)?;
    Ok(answer(&drive_restore::run(ports, policy, &hint, patience).await?))
}

/// A person must look at a replacement that was abandoned, and at turns that do not converge.
fn answer(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Ignored { reason } => Answer::ignored(reason),
        Outcome::Abandoned { .. } | Outcome::Stuck => Answer::of(outcome, true),
        Outcome::Idle | Outcome::Waiting { .. } | Outcome::Opened { .. } => Answer::of(outcome, false),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use lifeboat_adapters::aws::{AddressDocuments, HostDocuments};
    use lifeboat_adapters::event_cases::{self, Expected};
    use lifeboat_adapters::settings::{FixedAddress, HookNames, Markers};
    use lifeboat_domain::keys::Function;
    use lifeboat_workflows::drive_restore::World as Wired;
    use lifeboat_workflows::twins::World;

    use super::*;

    fn settings() -> DriveRestoreSettings {
        DriveRestoreSettings {
            cluster: "weaviate".into(),
            bucket: "b".into(),
            markers: Markers { bucket: "b".into(), prefix: "indexing/".into() },
            group: "lifeboat-weaviate".into(),
            hooks: HookNames { launch: "launch".into(), terminate: "terminate".into() },
            address: FixedAddress {
                address: Ipv4Addr::new(10, 0, 2, 15),
                reader_group: "sg-1".into(),
                writer_group: "sg-2".into(),
            },
            operator_key: "/k".into(),
            hosts: HostDocuments { prepare: "p".into(), probe: "q".into(), ..HostDocuments::default() },
            addresses: AddressDocuments { read: "r".into(), move_to: "m".into(), ..AddressDocuments::default() },
            allow_empty_start: true,
            fall_back: true,
            predecessor_deadline: Duration::from_secs(60),
            poll: Duration::from_secs(2),
        }
    }

    #[tokio::test]
    async fn every_case_of_events_comes_to_what_its_name_says() {
        let world = World::new();
        let ports = Wired {
            bucket: world.bucket(),
            markers: world.bucket(),
            group: world.group(),
            hosts: world.hosts(),
            addresses: world.addresses(),
            nodes: world.nodes(),
            clock: world.clock(),
        };
        for case in event_cases::of(Function::DriveRestore) {
            let patience = Patience { until: world.now(), poll: Duration::from_secs(2) };
            let answer = handle(&ports, &policy(&settings()), &case.event, patience).await;
            match (case.expected, answer) {
                (Expected::Malformed, Err(error)) => assert!(error.to_string().contains("event field"), "{error}"),
                (Expected::NotForUs, Ok(answer)) => assert_eq!(answer.outcome["outcome"], "ignored", "{}", case.name),
                (Expected::Taken, Ok(answer)) => assert_eq!(answer.outcome["decision"], "idle", "{}", case.name),
                (expected, answer) => panic!("{} is {expected:?} and comes to {answer:?}", case.name),
            }
        }
    }

    #[test]
    fn the_policy_takes_permissions_and_deadlines_from_the_settings() {
        let policy = policy(&settings());
        assert_eq!(policy.fixed_address, "10.0.2.15");
        assert!(policy.restore.allow_empty_start);
        assert_eq!(policy.restore.predecessor_deadline, Duration::from_secs(60));
        assert_eq!(policy.restore.attempts_max, RestorePolicy::default().attempts_max);
    }

    #[test]
    fn an_abandoned_replacement_is_an_error_line() {
        let abandoned = Outcome::Abandoned {
            instance: "i-0a".into(),
            reason: "no evidence".into(),
            attempt: 1,
            launches_suspended: false,
        };
        assert!(answer(&abandoned).attention && answer(&Outcome::Stuck).attention);
        assert!(!answer(&Outcome::Idle).attention);
    }
}
