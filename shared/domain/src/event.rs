//! What starts a function, reduced to a hint: which object, which instance, or just the time (DESIGN §1.8).
//!
//! An event carries identity at most, never state. One that is not for us is a value with its reason, so that it is
//! recorded and dropped; one that is malformed is an error that names the field, so that it reaches a failure queue.
//! Shapes: facts aws.md §2.1 (Auto Scaling), §5.5 (S3 through EventBridge); the key is not URL-encoded there.

use serde_json::Value;

use crate::ids::InstanceId;

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The minute's tick or a schedule: look at everything.
    Tick,
    /// An object was created.
    ObjectCreated {
        /// Its bucket.
        bucket: String,
        /// Its key, as it is.
        key: String,
    },
    /// An instance waits in a lifecycle hook.
    LifecycleAction {
        /// Which way it goes.
        transition: Transition,
        /// Its group.
        group: String,
        /// The instance.
        instance: InstanceId,
    },
    /// Not for us, and why.
    NotForUs {
        /// The reason, for the log.
        reason: String,
    },
}

/// The way an instance goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// `autoscaling:EC2_INSTANCE_LAUNCHING`.
    Launching,
    /// `autoscaling:EC2_INSTANCE_TERMINATING`.
    Terminating,
}

/// Why an event cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedEvent {
    /// A field that its kind always has is missing or of another type.
    #[error("event field {field} is missing or is not a text; compare with events/ and the rule that sent it")]
    Field {
        /// Its path.
        field: &'static str,
    },
    /// A field has a value that cannot be.
    #[error("event field {field} has the impossible value {value:?}; compare with events/ and the rule that sent it")]
    Value {
        /// Its path.
        field: &'static str,
        /// Its value, cut to 120 characters.
        value: String,
    },
}

/// Reads an EventBridge event.
pub fn parse(event: &Value) -> Result<Hint, MalformedEvent> {
    let source = text(event, "/source", "source")?;
    let detail_type = text(event, "/detail-type", "detail-type")?;
    match (source, detail_type) {
        ("aws.events" | "aws.scheduler" | "lifeboat", "Scheduled Event") => Ok(Hint::Tick),
        ("aws.s3", "Object Created") => Ok(Hint::ObjectCreated {
            bucket: text(event, "/detail/bucket/name", "detail.bucket.name")?.to_owned(),
            key: text(event, "/detail/object/key", "detail.object.key")?.to_owned(),
        }),
        ("aws.autoscaling", "EC2 Instance-launch Lifecycle Action" | "EC2 Instance-terminate Lifecycle Action") => {
            let field = "detail.LifecycleTransition";
            let transition = match text(event, "/detail/LifecycleTransition", field)? {
                "autoscaling:EC2_INSTANCE_LAUNCHING" => Transition::Launching,
                "autoscaling:EC2_INSTANCE_TERMINATING" => Transition::Terminating,
                other => {
                    return Err(MalformedEvent::Value { field, value: cut(other) });
                }
            };
            let field = "detail.EC2InstanceId";
            let instance = text(event, "/detail/EC2InstanceId", field)?;
            Ok(Hint::LifecycleAction {
                transition,
                group: text(event, "/detail/AutoScalingGroupName", "detail.AutoScalingGroupName")?.to_owned(),
                instance: InstanceId::parse(instance)
                    .map_err(|_| MalformedEvent::Value { field, value: cut(instance) })?,
            })
        }
        _ => Ok(Hint::NotForUs { reason: format!("no function takes {detail_type:?} from {source:?}") }),
    }
}

fn text<'e>(event: &'e Value, path: &str, field: &'static str) -> Result<&'e str, MalformedEvent> {
    event.pointer(path).and_then(Value::as_str).ok_or(MalformedEvent::Field { field })
}

fn cut(value: &str) -> String {
    value.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lifecycle_event_gives_way_group_and_instance_whether_or_not_it_has_origin() {
        let event = json!({"source":"aws.autoscaling","detail-type":"EC2 Instance-launch Lifecycle Action",
            "detail":{"LifecycleTransition":"autoscaling:EC2_INSTANCE_LAUNCHING","EC2InstanceId":"i-0abc",
                      "AutoScalingGroupName":"g","LifecycleHookName":"launch","LifecycleActionToken":"t"}});
        let hint = parse(&event).unwrap();
        let instance = InstanceId::parse("i-0abc").unwrap();
        assert_eq!(hint, Hint::LifecycleAction { transition: Transition::Launching, group: "g".into(), instance });
    }

    #[test]
    fn a_missing_field_is_named() {
        let event = json!({"source":"aws.s3","detail-type":"Object Created","detail":{"bucket":{"name":"b"}}});
        assert_eq!(parse(&event), Err(MalformedEvent::Field { field: "detail.object.key" }));
        assert_eq!(parse(&json!({})), Err(MalformedEvent::Field { field: "source" }));
        assert_eq!(parse(&json!(null)), Err(MalformedEvent::Field { field: "source" }));
    }

    #[test]
    fn an_event_of_another_kind_is_not_for_us() {
        let event = json!({"source":"aws.s3","detail-type":"Object Deleted","detail":{}});
        assert!(matches!(parse(&event), Ok(Hint::NotForUs { .. })));
    }
}
