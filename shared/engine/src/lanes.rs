//! The threads that hash: a bounded number of the runtime's blocking ones, as long as there is something to hash.
//! Pieces of one object are hashed in order, by one thread at a time; objects in parallel. The async threads only hand
//! pieces over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::digest::{Digests, Finding, Hashers};

/// Bytes in memory, and the part of the budget that pays for them until they are hashed.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) paid: OwnedSemaphorePermit,
}

/// The threads' work.
#[derive(Debug)]
pub(crate) struct Lanes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ready: Mutex<Ready>,
    threads_max: usize,
}

#[derive(Debug, Default)]
struct Ready {
    lanes: VecDeque<Arc<Mutex<Inbox>>>,
    /// Threads that look for lanes until there are none.
    threads: usize,
}

/// One object on its way through the threads. Dropping it forgets what was not hashed yet.
#[derive(Debug)]
pub(crate) struct Lane {
    shared: Arc<Shared>,
    inbox: Arc<Mutex<Inbox>>,
}

#[derive(Default)]
struct Inbox {
    pieces: VecDeque<Piece>,
    /// Away while a thread uses them; absent before [`Lane::start`].
    hashers: Option<Hashers>,
    /// In the queue, or at a thread.
    scheduled: bool,
    finish: Option<oneshot::Sender<Result<Digests, Finding>>>,
    dropped: bool,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("pieces", &self.pieces.len()).finish_non_exhaustive()
    }
}

impl Lanes {
    /// At most so many threads.
    pub(crate) fn new(threads_max: usize) -> Self {
        Self { shared: Arc::new(Shared { ready: Mutex::default(), threads_max: threads_max.max(1) }) }
    }

    /// An object's way through the threads.
    pub(crate) fn lane(&self) -> Lane {
        Lane { shared: Arc::clone(&self.shared), inbox: Arc::default() }
    }
}

impl Lane {
    /// What to compute; pieces that came before wait for it. A second call changes nothing.
    pub(crate) fn start(&self, hashers: impl FnOnce() -> Hashers) {
        let mut inbox = lock(&self.inbox);
        if inbox.hashers.is_none() && !inbox.scheduled {
            inbox.hashers = Some(hashers());
            self.schedule(inbox);
        }
    }

    /// The next pieces.
    pub(crate) fn push(&self, pieces: impl IntoIterator<Item = Piece>) {
        let mut inbox = lock(&self.inbox);
        inbox.pieces.extend(pieces);
        self.schedule(inbox);
    }

    /// There are no more pieces: the answer comes when all are hashed.
    pub(crate) fn finish(&self) -> oneshot::Receiver<Result<Digests, Finding>> {
        let (answer, receiver) = oneshot::channel();
        let mut inbox = lock(&self.inbox);
        inbox.finish = Some(answer);
        self.schedule(inbox);
        receiver
    }

    fn schedule(&self, mut inbox: MutexGuard<'_, Inbox>) {
        let due = inbox.hashers.is_some() && (!inbox.pieces.is_empty() || inbox.finish.is_some());
        if !due || inbox.scheduled {
            return;
        }
        inbox.scheduled = true;
        drop(inbox);
        let mut ready = lock(&self.shared.ready);
        ready.lanes.push_back(Arc::clone(&self.inbox));
        if ready.threads < self.shared.threads_max {
            ready.threads += 1;
            drop(ready);
            let shared = Arc::clone(&self.shared);
            tokio::task::spawn_blocking(move || while shared.hash_one() {});
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut inbox = lock(&self.inbox);
        inbox.dropped = true;
        inbox.pieces.clear();
    }
}

impl Shared {
    /// Takes the lane that waited longest and hashes what it has; false when there is none, and this thread is done.
    fn hash_one(&self) -> bool {
        let lane = {
            let mut ready = lock(&self.ready);
            let Some(lane) = ready.lanes.pop_front() else {
                ready.threads -= 1;
                return false;
            };
            lane
        };
        let (mut hashers, pieces) = {
            let mut inbox = lock(&lane);
            (inbox.hashers.take().expect("a lane is queued with its hashers"), std::mem::take(&mut inbox.pieces))
        };
        for Piece { bytes, paid } in pieces {
            hashers.update(&bytes);
            drop(bytes);
            drop(paid);
        }
        let mut inbox = lock(&lane);
        if inbox.dropped {
            return true;
        }
        if !inbox.pieces.is_empty() {
            inbox.hashers = Some(hashers);
            drop(inbox);
            lock(&self.ready).lanes.push_back(lane);
        } else if let Some(finish) = inbox.finish.take() {
            drop(inbox);
            // Nobody listens any more when the object was given up.
            let _ = finish.send(hashers.finish());
        } else {
            inbox.hashers = Some(hashers);
            inbox.scheduled = false;
        }
        true
    }
}

/// A poisoned lock is one whose thread panicked in the middle of nothing that matters: its object gets no answer.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::digest::EtagIs;

    fn piece(budget: &Arc<Semaphore>, bytes: Vec<u8>) -> Piece {
        let paid = Arc::clone(budget).try_acquire_many_owned(u32::try_from(bytes.len()).unwrap()).unwrap();
        Piece { bytes: bytes.into(), paid }
    }

    fn hashers() -> Hashers {
        Hashers::new(None, EtagIs::Opaque, "e")
    }

    #[tokio::test]
    async fn many_objects_at_once_are_each_hashed_in_their_own_order_and_all_memory_is_given_back() {
        let lanes = Lanes::new(4);
        let budget = Arc::new(Semaphore::new(1 << 20));
        let bytes = |object: u8| -> Vec<u8> { (0..10_000u32).map(|n| (n % 251) as u8 ^ object).collect() };
        let open: Vec<Lane> = (0..50).map(|_| lanes.lane()).collect();
        for at in 0..10 {
            for (object, lane) in (0u8..).zip(&open) {
                if at == 3 {
                    lane.start(hashers);
                }
                lane.push([piece(&budget, bytes(object)[at * 1_000..(at + 1) * 1_000].to_vec())]);
            }
        }
        for (object, lane) in (0u8..).zip(&open) {
            let digests = lane.finish().await.unwrap().unwrap();
            let expected: [u8; 32] = sha2::Digest::finalize(sha2::Sha256::new_with_prefix(bytes(object))).into();
            assert_eq!((digests.sha256, digests.size_bytes), (expected, 10_000));
        }
        assert_eq!(budget.available_permits(), 1 << 20);
    }

    use sha2::Digest as _;

    #[tokio::test]
    async fn an_object_given_up_gives_back_its_memory_without_being_hashed() {
        let lanes = Lanes::new(1);
        let budget = Arc::new(Semaphore::new(100));
        let lane = lanes.lane();
        lane.push([piece(&budget, vec![1; 60])]);
        let answer = lane.finish();
        assert_eq!(budget.available_permits(), 40);
        drop(lane);
        assert_eq!(budget.available_permits(), 100);
        assert!(answer.await.is_err());
    }
}
