//! The engine: one budget, one set of connections, one set of threads, for any number of objects.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;

use crate::digest::{Digests, EtagIs, Finding};
use crate::lanes::Lanes;
use crate::policy::{Policy, Tries};
use crate::read::{Reading, Shared, Stop};
use crate::source::{ListedObject, Pinned, ReadFault, Source};

/// Reads and hashes within its [`Policy`]. Whatever goes through one engine shares its bounds.
#[derive(Debug)]
pub struct Engine {
    policy: Policy,
    memory: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    lanes: Lanes,
}

/// An object to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Which, exactly.
    pub pinned: Pinned,
    /// Its listed bytes.
    pub size_bytes: u64,
    /// What its ETag is: recomputed where the store has no checksum of the whole.
    pub etag_is: EtagIs,
}

impl Object {
    /// A listed object on a store without versions. An ETag that looks like an MD5 is *not* taken for one.
    pub fn listed(listed: ListedObject) -> Self {
        let ListedObject { key, size_bytes, etag } = listed;
        Self { pinned: Pinned { key, etag, version_id: None }, size_bytes, etag_is: EtagIs::Opaque }
    }
}

/// What has just happened, for whoever shows it. It is called often, from the task that reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes came.
    Bytes(u64),
    /// An object is read from its beginning once more: its bytes will come again.
    Reread {
        /// All its bytes.
        size_bytes: u64,
    },
    /// A request is made again.
    Retried,
}

/// The store gave no answer about an object, however often it was asked: that is no verdict about its bytes.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {what} had no answer in {attempts} attempts")]
pub struct Unanswered {
    /// The object, or the prefix.
    pub key: String,
    /// What was asked for.
    pub what: String,
    /// How often.
    pub attempts: u32,
    /// How the last attempt ended.
    #[source]
    pub source: ReadFault,
}

impl Engine {
    /// An engine with these bounds. It hashes on blocking threads of the runtime that reads.
    pub fn new(policy: Policy) -> Self {
        let policy = policy.bounded();
        let memory = usize::try_from(policy.memory_bytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            memory: Arc::new(Semaphore::new(memory)),
            connections: Arc::new(Semaphore::new(policy.connections)),
            lanes: Lanes::new(policy.hash_threads()),
            policy,
        }
    }

    /// The bounds as they are in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Every current object below a prefix, in key order.
    pub fn list<'e, S: Source>(
        &'e self,
        source: &'e S,
        prefix: &'e str,
    ) -> impl Stream<Item = Result<ListedObject, Unanswered>> + 'e {
        let pages = futures::stream::try_unfold(Some(None::<String>), move |after| async move {
            let Some(after) = after else { return Ok(None) };
            let listing = self.page(source, prefix, after.as_deref()).await?;
            let last = listing.objects.last().map(|o| o.key.clone());
            let next = last.filter(|_| listing.more).map(Some);
            let objects = listing.objects.into_iter().map(Ok);
            Ok::<_, Unanswered>(Some((futures::stream::iter(objects), next)))
        });
        pages.try_flatten()
    }

    async fn page<S: Source>(
        &self,
        source: &S,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<crate::source::Listing, Unanswered> {
        let mut tries = Tries::default();
        loop {
            let page = tokio::time::timeout(self.policy.timeouts.head, source.page(prefix, after)).await;
            let silent = || ReadFault::new("no page came in time", crate::Again::Soon);
            let fault = match page.unwrap_or_else(|_| Err(silent())) {
                Ok(listing) if listing.more && listing.objects.is_empty() => {
                    ReadFault::new("an empty page says that more follow", crate::Again::Soon)
                }
                Ok(listing) if after.is_some_and(|a| listing.objects.iter().any(|o| o.key.as_str() <= a)) => {
                    ReadFault::new("a page repeats what came before it", crate::Again::Soon)
                }
                Ok(listing) => return Ok(listing),
                Err(fault) => fault,
            };
            match tries.again(&self.policy.retries, &fault, 0) {
                Some(pause) => source.pause(pause).await,
                None => {
                    let (key, what) = (prefix.to_owned(), format!("the listing after {}", after.unwrap_or("nothing")));
                    return Err(Unanswered { key, what, attempts: tries.failed().max(1), source: fault });
                }
            }
        }
    }

    /// Reads one object in full. A finding says what is wrong with it; an error, that there is no verdict.
    pub async fn hash_object<S: Source>(
        &self,
        source: &S,
        object: &Object,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Result<Digests, Finding>, Unanswered> {
        let mut rereads = 0;
        loop {
            let lane = Some(self.lanes.lane());
            let stop = match Reading::new(&self.shared(), source, object, progress, lane).run().await {
                Ok(digests) => return Ok(Ok(digests.expect("a reading with a lane has digests"))),
                Err(stop) => stop,
            };
            let finding = match stop {
                Stop::Finding(finding) => finding,
                Stop::Unanswered(unanswered) => return Err(unanswered),
            };
            let lasting = matches!(finding, Finding::Changed | Finding::Missing);
            if lasting || rereads == self.policy.rereads {
                return Ok(Err(finding));
            }
            rereads += 1;
            progress(Progress::Reread { size_bytes: object.size_bytes });
        }
    }

    /// Reads objects side by side, as [`Self::hash_object`] does, and gives each as it is done, in no order. Objects are
    /// taken from `objects` as there is room, so there may be any number.
    pub fn hash_objects<'e, S: Source>(
        &'e self,
        source: &'e S,
        objects: impl Stream<Item = Object> + 'e,
        progress: &'e (dyn Fn(Progress) + Sync),
    ) -> impl Stream<Item = (Object, Result<Result<Digests, Finding>, Unanswered>)> + 'e {
        objects
            .map(move |object| async move {
                let answer = self.hash_object(source, &object, progress).await;
                (object, answer)
            })
            .buffer_unordered(self.policy.connections)
    }

    /// Reads objects exactly as [`Self::hash_objects`] and computes nothing: what the wire and the client alone cost.
    /// Gives the bytes that came.
    pub async fn drain_objects<S: Source>(
        &self,
        source: &S,
        objects: impl Stream<Item = Object>,
    ) -> Result<u64, Unanswered> {
        let drained = objects.map(|object| async move {
            match Reading::new(&self.shared(), source, &object, &|_| {}, None).run().await {
                Ok(_) => Ok(object.size_bytes),
                Err(Stop::Unanswered(unanswered)) => Err(unanswered),
                Err(Stop::Finding(finding)) => {
                    let source = ReadFault::from_source("there is a finding", crate::Again::Never, finding);
                    let (key, what) = (object.pinned.key.clone(), "the whole".to_owned());
                    Err(Unanswered { key, what, attempts: 1, source })
                }
            }
        });
        drained.buffer_unordered(self.policy.connections).try_fold(0, async |sum, n| Ok(sum + n)).await
    }

    fn shared(&self) -> Shared<'_> {
        Shared { policy: &self.policy, memory: &self.memory, connections: &self.connections }
    }
}
