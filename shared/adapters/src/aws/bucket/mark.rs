//! The mark that each write leaves in its object's metadata.
//!
//! The SDK may have written and then, for want of a reply, have tried again and met its own object (facts: aws.md
//! §5.2). Equal bytes would not tell one's own write from that of somebody who had the same intent at the same time, and
//! then two would believe that they won; a mark does.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The metadata key, which S3 prefixes with `x-amz-meta-`.
pub(super) const METADATA: &str = "lifeboat-write";

/// Marks of one process, no two of which are equal.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    process: Arc<str>,
    count: Arc<AtomicU64>,
}

impl Marks {
    /// Marks that no other process makes: 128 random bits, from the hasher's keys.
    pub(super) fn new() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self::of(&format!("{:016x}{:016x}", random(), random()))
    }

    /// Marks of a process by this name.
    pub(super) fn of(process: &str) -> Self {
        Self { process: process.into(), count: Arc::default() }
    }

    /// The next mark.
    pub(super) fn next(&self) -> String {
        format!("{}-{}", self.process, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_marks_are_equal_over_writes_and_processes() {
        let (one, two) = (Marks::new(), Marks::new());
        assert_ne!(one.next(), one.next());
        assert_ne!(one.next(), two.next());
        let shared = one.clone();
        assert_ne!(one.next(), shared.next());
    }
}
