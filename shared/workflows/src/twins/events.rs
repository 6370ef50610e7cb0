//! What the world says of itself: events, which a test may pump, double, shuffle or drop; and effects, some of which
//! must happen at most once.

use std::fmt;

use lifeboat_domain::event::{Hint, Transition};
use lifeboat_domain::ids::{BackupId, InstanceId, JobId};
use serde_json::{Value, json};

use crate::ports::group::{Hook, HookResult};
use crate::ports::hosts::HostDocument;

/// An event as EventBridge would send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An object was created or overwritten.
    ObjectCreated {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
    },
    /// An instance has come to wait in a hook.
    LifecycleAction {
        /// Which way it goes.
        transition: Transition,
        /// Its group.
        group: String,
        /// The instance.
        instance: InstanceId,
    },
}

impl Event {
    /// What a function makes of it.
    pub fn hint(&self) -> Hint {
        match self.clone() {
            Self::ObjectCreated { bucket, key } => Hint::ObjectCreated { bucket, key },
            Self::LifecycleAction { transition, group, instance } => {
                Hint::LifecycleAction { transition, group, instance }
            }
        }
    }

    /// It as JSON, as `lifeboat_domain::event::parse` takes it.
    pub fn json(&self) -> Value {
        match self {
            Self::ObjectCreated { bucket, key } => json!({
                "source": "aws.s3", "detail-type": "Object Created",
                "detail": {"bucket": {"name": bucket}, "object": {"key": key}}
            }),
            Self::LifecycleAction { transition, group, instance } => {
                let (kind, name) = match transition {
                    Transition::Launching => ("EC2 Instance-launch Lifecycle Action", "LAUNCHING"),
                    Transition::Terminating => ("EC2 Instance-terminate Lifecycle Action", "TERMINATING"),
                };
                json!({
                    "source": "aws.autoscaling", "detail-type": kind,
                    "detail": {
                        "LifecycleTransition": format!("autoscaling:EC2_INSTANCE_{name}"),
                        "EC2InstanceId": instance.as_str(), "AutoScalingGroupName": group,
                    }
                })
            }
        }
    }
}

/// The same items in another order, which the seed decides.
pub fn shuffled<T>(seed: u64, mut items: Vec<T>) -> Vec<T> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    for last in (1..items.len()).rev() {
        // An LCG by Knuth; its high bits are good enough to shuffle a test's events.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = usize::try_from(state >> 33).unwrap_or(0) % (last + 1);
        items.swap(last, pick);
    }
    items
}

/// Something that has happened in the world because somebody asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A node got `POST /v1/backups/s3` and took it, or refused it because it had taken this id before.
    BackupAsked {
        /// The node's instance.
        instance: InstanceId,
        /// The backup.
        id: BackupId,
    },
    /// A node took `POST …/restore`.
    RestoreAsked {
        /// The node's instance.
        instance: InstanceId,
        /// The backup.
        id: BackupId,
    },
    /// A host obeyed a job. A command that found the job already done has no effect.
    JobObeyed {
        /// The host.
        instance: InstanceId,
        /// What it ran.
        document: HostDocument,
        /// The job.
        job: JobId,
    },
    /// The fixed address was attached.
    Attached {
        /// To which instance.
        instance: InstanceId,
        /// The generation in `ownership.json` at that moment; 0 when there was none to read.
        generation: u64,
    },
    /// Auto Scaling took an answer to a hook.
    HookAnswered {
        /// Which hook.
        hook: Hook,
        /// Whose.
        instance: InstanceId,
        /// The answer.
        result: HookResult,
    },
    /// The pointer was written.
    PointerWritten {
        /// With which sequence; 0 when the bytes have none.
        sequence: u64,
    },
    /// The Launch process was suspended (`true`) or resumed.
    LaunchesSuspended(bool),
}

impl Effect {
    /// Whether it may happen at most once. Probes and the Launch switch may be repeated.
    pub fn once_only(&self) -> bool {
        match self {
            Self::BackupAsked { .. }
            | Self::RestoreAsked { .. }
            | Self::Attached { .. }
            | Self::HookAnswered { .. }
            | Self::PointerWritten { .. } => true,
            Self::JobObeyed { document, .. } => *document == HostDocument::Prepare,
            Self::LaunchesSuspended(_) => false,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackupAsked { instance, id } => write!(f, "backup {id} asked of {instance}"),
            Self::RestoreAsked { instance, id } => write!(f, "restore {id} asked of {instance}"),
            Self::JobObeyed { instance, document, job } => write!(f, "{document:?} job {job} obeyed by {instance}"),
            Self::Attached { instance, generation } => write!(f, "address attached to {instance} in g{generation}"),
            Self::HookAnswered { hook, instance, .. } => write!(f, "{hook:?} hook of {instance} answered"),
            Self::PointerWritten { sequence } => write!(f, "pointer written with sequence {sequence}"),
            Self::LaunchesSuspended(on) => write!(f, "launches suspended: {on}"),
        }
    }
}
