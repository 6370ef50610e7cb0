//! How much memory, how many requests, how long, how often. Decisions about retries are pure.

use std::time::Duration;

use crate::source::{Again, ReadFault};

/// What every object being read may have in memory at any time, so that each of them goes on whatever the others do.
const LEAD_BYTES: u64 = 1 << 20;
/// The smallest budget that works.
const MEMORY_BYTES_MIN: u64 = 4 << 20;

/// The bounds of an [`Engine`](crate::Engine).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Bytes of objects in memory, all together; at least 4 MiB is taken.
    pub memory_bytes: u64,
    /// Bytes that one request asks for. An object of at most so many is asked for whole, by one request.
    pub range_bytes: u64,
    /// Requests for bytes under way at once, all together, and objects begun at once.
    pub connections: usize,
    /// Threads that hash at once; 0 is one for each core that this process may use.
    pub hash_threads: usize,
    /// How often an object is read again when its bytes are not those that the store recorded: damage on the way is not
    /// damage at rest.
    pub rereads: u32,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to ask again.
    pub retries: Retries,
}

impl Default for Policy {
    /// 56 MiB, ranges of 4 MiB, 32 requests. With 30 ms to the first byte and 90 MB/s a connection (facts: aws.md §5.4)
    /// that is more than 1 GB/s, at one GET for 4 MiB.
    fn default() -> Self {
        Self {
            memory_bytes: 56 << 20,
            range_bytes: 4 << 20,
            connections: 32,
            hash_threads: 0,
            rereads: 1,
            timeouts: Timeouts::default(),
            retries: Retries::default(),
        }
    }
}

impl Policy {
    /// The policy with every bound one that works.
    pub(crate) fn bounded(mut self) -> Self {
        self.memory_bytes = self.memory_bytes.clamp(MEMORY_BYTES_MIN, 1 << 40);
        self.range_bytes = self.range_bytes.clamp(1, (self.memory_bytes / 2).min(1 << 30));
        self.connections = self.connections.clamp(1, 10_000);
        self.retries.attempts = self.retries.attempts.max(1);
        self
    }

    /// What an object of this size holds of the budget from its beginning to its end.
    pub(crate) fn lead_bytes(&self, size_bytes: u64) -> u32 {
        u32::try_from(size_bytes.clamp(1, LEAD_BYTES)).expect("at most LEAD_BYTES")
    }

    /// Threads that hash.
    pub(crate) fn hash_threads(&self) -> usize {
        match self.hash_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n.min(1_024),
        }
    }
}

/// How long a request may stay silent. Time in which the engine itself does not take bytes does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From asking to the answer's head.
    pub head: Duration,
    /// From one piece of the body to the next.
    pub idle: Duration,
    /// A body that comes more slowly than this, once it had [`Self::idle`], is cut: bytes a second.
    pub bytes_per_second_min: u64,
}

impl Default for Timeouts {
    /// 15 s to the head (the worst of a million is 10 s: facts, aws.md §5.4), 10 s between pieces, 64 KiB a second.
    fn default() -> Self {
        Self { head: Duration::from_secs(15), idle: Duration::from_secs(10), bytes_per_second_min: 64 << 10 }
    }
}

impl Timeouts {
    /// Whether a body that brought so many bytes in this time of waiting is to be cut.
    pub(crate) fn too_slow(&self, waited: Duration, received_bytes: u64) -> bool {
        let due =
            self.idle.as_millis() + u128::from(received_bytes) * 1000 / u128::from(self.bytes_per_second_min.max(1));
        waited.as_millis() > due
    }
}

/// How often and after which pauses a request is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// Attempts for one range in all, throttled ones apart.
    pub attempts: u32,
    /// Throttled attempts for one range beside those.
    pub throttled: u32,
    /// The first pause; doubled each time, and again when throttled.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for Retries {
    /// 8 attempts and 24 throttled ones, from 50 ms to 5 s: a storm of SlowDown is sat out for about a minute and a half.
    fn default() -> Self {
        Self { attempts: 8, throttled: 24, pause: Duration::from_millis(50), pause_max: Duration::from_secs(5) }
    }
}

/// The attempts made for one range so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    faults: u32,
    throttles: u32,
}

impl Tries {
    /// Attempts that failed.
    pub(crate) fn failed(self) -> u32 {
        self.faults + self.throttles
    }

    /// Counts a failed attempt: the pause before the next, or `None` when there is none. `salt` spreads requests that
    /// failed together.
    pub(crate) fn again(&mut self, retries: &Retries, fault: &ReadFault, salt: u64) -> Option<Duration> {
        let (tries, most, extra) = match fault.again {
            Again::Never => return None,
            Again::Soon => (&mut self.faults, retries.attempts.saturating_sub(1), 0),
            Again::Slower => (&mut self.throttles, retries.throttled, 2),
        };
        *tries += 1;
        if *tries > most {
            return None;
        }
        let doubled = retries.pause.saturating_mul(1 << (*tries - 1 + extra).min(20)).min(retries.pause_max);
        Some(doubled.mul_f64(0.5 + 0.5 * spread(salt, u64::from(self.faults + self.throttles))))
    }
}

/// A number from 0 to 1 that looks random and is the same each time (SplitMix64's finish).
fn spread(salt: u64, n: u64) -> f64 {
    let mut x = salt.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from(u32::try_from((x ^ (x >> 31)) >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_end_and_throttling_has_a_count_of_its_own() {
        let retries = Retries::default();
        let mut tries = Tries::default();
        let soon = ReadFault::new("cut", Again::Soon);
        let pauses: Vec<Duration> = std::iter::from_fn(|| tries.again(&retries, &soon, 7)).collect();
        assert_eq!(pauses.len(), 7, "eight attempts have seven pauses");
        for (n, pause) in (0u32..).zip(&pauses) {
            let most = retries.pause * (1 << n);
            assert!(*pause >= most / 2 && *pause <= most, "{n}: {pause:?}");
        }
        let slower = ReadFault::new("SlowDown", Again::Slower);
        let throttled: Vec<Duration> = std::iter::from_fn(|| tries.again(&retries, &slower, 7)).collect();
        assert_eq!(throttled.len(), 24, "faults before do not count");
        assert!(throttled[0] >= Duration::from_millis(100) && throttled.iter().all(|p| *p <= retries.pause_max));
        assert!(throttled.iter().sum::<Duration>() > Duration::from_secs(60), "a storm is sat out");
        assert_eq!(Tries::default().again(&retries, &ReadFault::new("denied", Again::Never), 0), None);
    }

    #[test]
    fn requests_that_failed_together_do_not_all_come_back_together() {
        let pause = |salt| {
            let fault = ReadFault::new("SlowDown", Again::Slower);
            Tries::default().again(&Retries::default(), &fault, salt).unwrap()
        };
        let pauses: std::collections::BTreeSet<Duration> = (0..100).map(pause).collect();
        assert!(pauses.len() > 90, "{}", pauses.len());
    }

    #[test]
    fn a_body_is_too_slow_only_when_it_had_its_time() {
        let timeouts = Timeouts::default();
        assert!(!timeouts.too_slow(Duration::from_secs(10), 0));
        assert!(timeouts.too_slow(Duration::from_millis(10_001), 0));
        assert!(!timeouts.too_slow(Duration::from_secs(26), 1 << 20), "64 KiB a second are enough");
        assert!(timeouts.too_slow(Duration::from_secs(27), 1 << 20));
    }

    #[test]
    fn whatever_is_asked_for_the_bounds_work_together() {
        let asked = Policy { memory_bytes: 0, range_bytes: 0, connections: 0, ..Policy::default() };
        let policy = asked.bounded();
        assert_eq!((policy.memory_bytes, policy.range_bytes, policy.connections), (4 << 20, 1, 1));
        let policy = Policy { memory_bytes: 8 << 20, range_bytes: 1 << 40, ..Policy::default() }.bounded();
        assert_eq!(policy.range_bytes, 4 << 20, "two ranges fit");
        assert_eq!(policy.lead_bytes(0), 1);
        assert_eq!(policy.lead_bytes(u64::MAX), 1 << 20);
    }
}
