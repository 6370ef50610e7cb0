//! What outlives a run: the launches of a generation, and what pipelines read after a recovery.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::ids::{BackupId, Generation, InstanceId};

/// `runs/restore/group.json`: the launches of a generation, counted from what Auto Scaling lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAttempts {
    /// The generation whose replacement is tried; 0 before the first.
    pub generation: u64,
    /// Every instance that was seen in the launch hook for it, in order.
    pub instances: Vec<InstanceId>,
}

impl Document for GroupAttempts {
    const KIND: &'static str = "group-attempts";
}

impl GroupAttempts {
    /// Counts this instance for this generation, once. A new generation starts a new count.
    pub fn count(&mut self, generation: u64, instance: &InstanceId) {
        if self.generation != generation {
            *self = Self { generation, instances: Vec::new() };
        }
        if !self.instances.contains(instance) {
            self.instances.push(instance.clone());
        }
    }

    /// Whether abandoning now would be the last allowed time: launches must be suspended first.
    pub fn exhausted(&self, attempts_max: usize) -> bool {
        self.instances.len() >= attempts_max
    }
}

/// `status/ready.json`: what pipelines read after a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The generation that serves.
    pub generation: Generation,
    /// The instance that serves.
    pub instance: InstanceId,
    /// The fixed address.
    pub address: String,
    /// The backup it was restored from; absent after an empty start.
    pub backup_id: Option<BackupId>,
    /// Everything indexed before this is there; absent after an empty start.
    pub data_as_of: Option<Timestamp>,
    /// Keys of success markers that are newer than the restored data: what the pipelines must run again.
    pub replay: Vec<String>,
}

impl Document for Ready {
    const KIND: &'static str = "ready";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(n: u32) -> InstanceId {
        InstanceId::parse(&format!("i-{n:017x}")).unwrap()
    }

    #[test]
    fn an_instance_is_counted_once_and_a_new_generation_starts_a_new_count() {
        let mut attempts = GroupAttempts::default();
        for n in [1, 1, 2] {
            attempts.count(4, &instance(n));
        }
        assert!(!attempts.exhausted(3));
        attempts.count(4, &instance(3));
        assert!(attempts.exhausted(3));
        attempts.count(5, &instance(4));
        assert_eq!(attempts.instances, [instance(4)]);
    }
}
