//! Reads one object: several ranges in flight ahead of one sequential consumer.
//!
//! # Memory
//! Each object being read holds its lead from beginning to end; pieces of the first unfinished range are paid for from
//! it, so every object always goes on. A range that is read ahead is paid for in full before it is asked for, so it
//! never waits for memory while it holds a connection. Together that is at most the budget, and cannot deadlock.
//!
//! # Guarantees
//! Every piece is counted against its range, every range against the size that the listing gave, and every request is
//! pinned: what is handed on, in order, is the object's bytes, each exactly once, or the object has a finding.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::assembly::Assembly;
use crate::digest::{Digests, Finding, Hashers};
use crate::lanes::{Lane, Piece};
use crate::plan::{Announced, Range, Ranges, Refused, ask, check};
use crate::policy::{Policy, Tries};
use crate::source::{Again, Answer, Ask, Opened, Pinned, ReadFault, Recorded, Source};
use crate::{Object, Progress, Unanswered};

/// Why an object is not read to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something is wrong with it.
    Finding(Finding),
    /// The store gave no answer.
    Unanswered(Unanswered),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}

/// What reads share.
#[derive(Debug)]
pub(crate) struct Shared<'e> {
    pub(crate) policy: &'e Policy,
    pub(crate) memory: &'e Arc<Semaphore>,
    pub(crate) connections: &'e Arc<Semaphore>,
}

type Reservation = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// One reading of one object.
pub(crate) struct Reading<'e, S> {
    shared: &'e Shared<'e>,
    source: &'e S,
    object: &'e Object,
    progress: &'e (dyn Fn(Progress) + Sync),
    /// Hashes; absent when the bytes are only read.
    lane: Option<Lane>,
    /// What the pieces of the first unfinished range are paid from.
    lead: Arc<Semaphore>,
    lead_bytes: u32,
    order: Mutex<Assembly<Piece>>,
}

/// How a range pays for its pieces.
enum Funds {
    Lead,
    Reserved(OwnedSemaphorePermit),
}

const NEVER_CLOSED: &str = "the engine never closes its semaphores";

impl<'e, S: Source> Reading<'e, S> {
    pub(crate) fn new(
        shared: &'e Shared<'e>,
        source: &'e S,
        object: &'e Object,
        progress: &'e (dyn Fn(Progress) + Sync),
        lane: Option<Lane>,
    ) -> Self {
        let lead_bytes = shared.policy.lead_bytes(object.size_bytes);
        let lead = Arc::new(Semaphore::new(lead_bytes as usize));
        Self { shared, source, object, progress, lane, lead, lead_bytes, order: Mutex::new(Assembly::new()) }
    }

    /// Reads it to its end; digests are absent when there is no lane.
    pub(crate) async fn run(self) -> Result<Option<Digests>, Stop> {
        let memory = Arc::clone(self.shared.memory);
        let _lead = memory.acquire_many_owned(self.lead_bytes).await.expect(NEVER_CLOSED);
        let ranges = Ranges::new(self.object.size_bytes, self.shared.policy.range_bytes);
        if ranges.count() == 1 {
            // One request brings bytes and record.
            self.fetch(ranges.get(0).expect("there is one"), Funds::Lead).await?;
        } else {
            let describe = async {
                match &self.lane {
                    Some(_) => self.describe().await,
                    None => Ok(()),
                }
            };
            futures::try_join!(describe, self.all(ranges))?;
        }
        let Some(lane) = &self.lane else { return Ok(None) };
        let digests = lane.finish().await.expect("a thread that hashes does not panic")?;
        let (expected_bytes, received_bytes) = (self.object.size_bytes, digests.size_bytes);
        if received_bytes != expected_bytes {
            return Err(Finding::WrongLength { expected_bytes, received_bytes }.into());
        }
        Ok(Some(digests))
    }

    /// Reads all ranges: the first unfinished one always, others as the budget allows, in their order.
    async fn all(&self, ranges: Ranges) -> Result<(), Stop> {
        let mut flying = FuturesUnordered::new();
        let mut next = ranges.get(0);
        let mut reservation: Option<Reservation> = None;
        loop {
            if let Some(range) = next.filter(|range| range.index == self.frontier()) {
                reservation = None;
                flying.push(self.fetch(range, Funds::Lead));
                next = ranges.get(range.index + 1);
            }
            if let Some(range) = next.filter(|_| reservation.is_none()) {
                let bytes = u32::try_from(range.length).expect("a range is at most 1 GiB");
                reservation = Some(Arc::clone(self.shared.memory).acquire_many_owned(bytes).boxed());
            }
            let reserved = async {
                match &mut reservation {
                    Some(reservation) => reservation.await.expect(NEVER_CLOSED),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                done = flying.next() => match done {
                    Some(done) => done?,
                    None => return Ok(()),
                },
                reserved = reserved => {
                    let range = next.expect("only a range that is there is paid for");
                    reservation = None;
                    flying.push(self.fetch(range, Funds::Reserved(reserved)));
                    next = ranges.get(range.index + 1);
                }
            }
        }
    }

    fn frontier(&self) -> u64 {
        self.order.lock().unwrap_or_else(PoisonError::into_inner).frontier()
    }

    /// Asks what the store recorded, and has the hashing begin.
    async fn describe(&self) -> Result<(), Stop> {
        let pinned = &self.object.pinned;
        let description = self
            .retrying("its description", 0, async |_| {
                let described = timeout(self.shared.policy.timeouts.head, self.source.describe(pinned)).await;
                let described = here(described.unwrap_or_else(|_| Err(silent())), self.object.size_bytes)?;
                let (expected_bytes, received_bytes) = (self.object.size_bytes, described.size_bytes);
                if received_bytes != expected_bytes {
                    return Err(Trouble::Finding(Finding::WrongLength { expected_bytes, received_bytes }));
                }
                Ok(described)
            })
            .await?;
        self.start(description.recorded);
        Ok(())
    }

    fn start(&self, recorded: Option<Recorded>) {
        if let Some(lane) = &self.lane {
            lane.start(|| Hashers::new(recorded, self.object.etag_is, &self.object.pinned.etag));
        }
    }

    /// Reads one range to its end.
    async fn fetch(&self, range: Range, mut funds: Funds) -> Result<(), Stop> {
        let what = format!("bytes {}+{}", range.offset, range.length);
        let mut got = 0;
        self.retrying(&what, range.index, async |first| {
            let connections = Arc::clone(self.shared.connections);
            let _connection = connections.acquire_owned().await.expect(NEVER_CLOSED);
            if !first {
                (self.progress)(Progress::Retried);
            }
            self.attempt(range, &mut got, &mut funds).await
        })
        .await?;
        let turn = self.order.lock().unwrap_or_else(PoisonError::into_inner).complete(range.index);
        if let Some(lane) = self.lane.as_ref().filter(|_| !turn.is_empty()) {
            lane.push(turn);
        }
        Ok(())
    }

    /// One request: goes on where the last one broke off.
    async fn attempt(&self, range: Range, got: &mut u64, funds: &mut Funds) -> Result<(), Trouble> {
        let (object, timeouts) = (self.object, &self.shared.policy.timeouts);
        let asked = ask(range, *got, object.size_bytes);
        let opened = timeout(timeouts.head, self.source.open(&object.pinned, asked)).await;
        let opened = here(opened.unwrap_or_else(|_| Err(silent())), object.size_bytes)?;
        let Opened { offset, length, size_bytes, recorded, mut body } = opened;
        check(asked, Announced { offset, length, size_bytes }, object.size_bytes).map_err(|refused| match refused {
            Refused::Fault(fault) => Trouble::Fault(fault),
            Refused::WrongSize(received_bytes) => {
                Trouble::Finding(Finding::WrongLength { expected_bytes: object.size_bytes, received_bytes })
            }
        })?;
        if asked == Ask::Whole {
            self.start(recorded);
        }
        let (mut waited, mut received) = (Duration::ZERO, 0u64);
        while *got < range.length {
            let since = Instant::now();
            let piece = timeout(timeouts.idle, body.next()).await.map_err(|_| {
                Trouble::Fault(ReadFault::new(format!("it stalled after {got} of {} bytes", range.length), Again::Soon))
            })?;
            waited += since.elapsed();
            let bytes = match piece {
                Some(Ok(bytes)) => bytes,
                Some(Err(fault)) => return Err(Trouble::Fault(fault)),
                None => {
                    let what = format!("it ended after {got} of {} bytes", range.length);
                    return Err(Trouble::Fault(ReadFault::new(what, Again::Soon)));
                }
            };
            received += bytes.len() as u64;
            *got += bytes.len() as u64;
            if *got > range.length {
                return Err(Trouble::Fault(too_many(range)));
            }
            (self.progress)(Progress::Bytes(bytes.len() as u64));
            self.deliver(range.index, bytes, funds).await;
            if *got < range.length && timeouts.too_slow(waited, received) {
                let what = format!("it is too slow: {received} bytes in {} s", waited.as_secs());
                return Err(Trouble::Fault(ReadFault::new(what, Again::Soon)));
            }
        }
        // What is there already may not be more; nobody waits for it.
        match body.next().now_or_never() {
            Some(Some(Ok(more))) if !more.is_empty() => Err(Trouble::Fault(too_many(range))),
            Some(_) | None => Ok(()),
        }
    }

    /// Hands a piece on when it is its turn; waits until there is memory for it.
    async fn deliver(&self, index: u64, mut bytes: Bytes, funds: &mut Funds) {
        let Some(lane) = &self.lane else { return };
        while !bytes.is_empty() {
            let now = bytes.split_to(bytes.len().min(self.lead_bytes as usize));
            let many = u32::try_from(now.len()).expect("at most the lead");
            let paid = match funds {
                Funds::Lead => Arc::clone(&self.lead).acquire_many_owned(many).await.expect(NEVER_CLOSED),
                Funds::Reserved(all) => all.split(now.len()).expect("a range is paid for in full"),
            };
            // A piece that waits is copied: it may be a small part of a large buffer, and that is not what was paid for.
            let bytes = if index == self.frontier() { now } else { Bytes::copy_from_slice(&now) };
            let turn = self.order.lock().unwrap_or_else(PoisonError::into_inner).piece(index, Piece { bytes, paid });
            if let Some(piece) = turn {
                lane.push([piece]);
            }
        }
    }

    /// Tries until there is an answer, a finding, or no attempt left.
    async fn retrying<T>(
        &self,
        what: &str,
        salt: u64,
        mut attempt: impl AsyncFnMut(bool) -> Result<T, Trouble>,
    ) -> Result<T, Stop> {
        let mut tries = Tries::default();
        loop {
            let fault = match attempt(tries.failed() == 0).await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Finding(finding)) => return Err(Stop::Finding(finding)),
                Err(Trouble::Fault(fault)) => fault,
            };
            match tries.again(&self.shared.policy.retries, &fault, salt) {
                Some(pause) => self.source.pause(pause).await,
                None => {
                    let Pinned { key, .. } = &self.object.pinned;
                    let (key, what, attempts) = (key.clone(), what.to_owned(), tries.failed().max(1));
                    return Err(Stop::Unanswered(Unanswered { key, what, attempts, source: fault }));
                }
            }
        }
    }
}

/// How an attempt failed.
enum Trouble {
    Finding(Finding),
    Fault(ReadFault),
}

fn too_many(range: Range) -> ReadFault {
    ReadFault::new(format!("more than the {} bytes asked for came", range.length), Again::Never)
}

fn silent() -> ReadFault {
    ReadFault::new("no answer came in time", Again::Soon)
}

fn here<T>(answer: Result<Answer<T>, ReadFault>, expected_bytes: u64) -> Result<T, Trouble> {
    match answer {
        Ok(Answer::Here(answer)) => Ok(answer),
        Ok(Answer::Changed) => Err(Trouble::Finding(Finding::Changed)),
        Ok(Answer::Missing) => Err(Trouble::Finding(Finding::Missing)),
        Ok(Answer::BeyondEnd) => Err(Trouble::Finding(Finding::WrongLength { expected_bytes, received_bytes: 0 })),
        Err(fault) => Err(Trouble::Fault(fault)),
    }
}
