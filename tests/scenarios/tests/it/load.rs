//! Readers and writers that never stop: what clients of the fixed address notice of a replacement.
//!
//! Each client has a source address of its own, by which the stack tells readers from writers, keeps its connections open
//! as a real client does, and makes a new one when its old one ends. A write counts as acknowledged when Weaviate said of
//! every object of its batch that it is stored; the ids of those are what must be there in the end.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The collection that is written to.
pub(crate) const CLASS: &str = "Load";
/// Objects of a batch.
const BATCH: u64 = 200;
/// Writers and readers at once.
const WRITERS: u8 = 3;
const READERS: u8 = 2;

/// Clients at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    writers: JoinSet<Vec<Instant>>,
    readers: JoinSet<Vec<Instant>>,
}

struct Shared {
    base: String,
    key: String,
    stop: AtomicBool,
    next: AtomicU64,
    refused: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
}

/// What the clients noticed.
pub(crate) struct Noticed {
    /// Numbers of the objects that were acknowledged.
    pub(crate) acknowledged: BTreeSet<u64>,
    /// Batches that got no acknowledgement.
    pub(crate) refused: u64,
    /// The longest time between two answers to readers.
    pub(crate) read_gap: Duration,
    /// The longest time between two acknowledgements to writers.
    pub(crate) write_gap: Duration,
    /// How many reads were answered.
    pub(crate) reads: usize,
}

/// The source addresses of the writers and of the readers of a stack.
pub(crate) fn addresses(fixed: &str) -> Result<(Vec<String>, Vec<String>)> {
    let octet = fixed.split('.').nth(1).context("an IPv4 address")?;
    let of = |group: u8, n: u8| (1..=n).map(|k| format!("127.{octet}.{group}.{k}")).collect();
    Ok((of(201, WRITERS), of(202, READERS)))
}

/// A client whose requests come from this address.
fn client(from: &str) -> Result<reqwest::Client> {
    let from: IpAddr = from.parse()?;
    let builder = reqwest::Client::builder().local_address(from).no_proxy();
    Ok(builder.connect_timeout(Duration::from_millis(500)).timeout(Duration::from_secs(10)).build()?)
}

fn id_of(number: u64) -> String {
    format!("10ad0000-0000-4000-8000-{number:012x}")
}

impl Load {
    /// Creates the collection and lets the clients begin.
    pub(crate) async fn start(fixed: &str, key: &str) -> Result<Self> {
        let shared = Arc::new(Shared {
            base: format!("http://{fixed}:8080/v1"),
            key: key.to_owned(),
            stop: AtomicBool::new(false),
            next: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            acknowledged: Mutex::default(),
        });
        let (writers, readers) = addresses(fixed)?;
        let class = json!({"class": CLASS, "vectorizer": "none", "properties": [{"name": "n", "dataType": ["int"]}]});
        let made = client(&writers[0])?.post(format!("{}/schema", shared.base)).bearer_auth(key).json(&class);
        let status = made.send().await?.status();
        ensure!(status.is_success(), "creating {CLASS} gave {status}");
        let (mut of_writers, mut of_readers) = (JoinSet::new(), JoinSet::new());
        for from in &writers {
            of_writers.spawn(write(shared.clone(), client(from)?));
        }
        for from in &readers {
            of_readers.spawn(read(shared.clone(), client(from)?));
        }
        Ok(Self { shared, writers: of_writers, readers: of_readers })
    }

    /// Objects acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.shared.acknowledged().len()
    }

    /// Ends the clients, and tells what they noticed.
    pub(crate) async fn end(self) -> Noticed {
        self.shared.stop.store(true, Ordering::Relaxed);
        let (writes, reads) = (self.writers.join_all().await.concat(), self.readers.join_all().await.concat());
        Noticed {
            acknowledged: std::mem::take(&mut *self.shared.acknowledged()),
            refused: self.shared.refused.load(Ordering::Relaxed),
            reads: reads.len(),
            read_gap: longest(reads),
            write_gap: longest(writes),
        }
    }
}

impl Shared {
    fn acknowledged(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.acknowledged.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn longest(mut times: Vec<Instant>) -> Duration {
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// Writes batches of objects that were never written before, so that an id was acknowledged or it was not.
async fn write(shared: Arc<Shared>, client: reqwest::Client) -> Vec<Instant> {
    let mut times = Vec::new();
    while !shared.over() {
        let first = shared.next.fetch_add(BATCH, Ordering::Relaxed);
        let object =
            |n: u64| json!({"class": CLASS, "id": id_of(n), "properties": {"n": n}, "vector": [1.0, 0.5, 0.25, 0.125]});
        let objects: Vec<Value> = (first..first + BATCH).map(object).collect();
        let request = client.post(format!("{}/batch/objects", shared.base)).bearer_auth(&shared.key);
        let answer = async {
            let reply =
                request.json(&json!({"objects": objects})).send().await.ok().filter(|r| r.status().is_success())?;
            reply.json::<Vec<Value>>().await.ok()
        };
        let stored = |r: &Value| r["result"]["status"] == "SUCCESS" && r["result"]["errors"].is_null();
        match answer.await.filter(|results| results.len() as u64 == BATCH && results.iter().all(stored)) {
            Some(_) => {
                times.push(Instant::now());
                shared.acknowledged().extend(first..first + BATCH);
            }
            None => {
                shared.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times
}

/// Counts, again and again.
async fn read(shared: Arc<Shared>, client: reqwest::Client) -> Vec<Instant> {
    let (mut times, question) = (Vec::new(), format!("{{ Aggregate {{ {CLASS} {{ meta {{ count }} }} }} }}"));
    while !shared.over() {
        let request = client.post(format!("{}/graphql", shared.base)).bearer_auth(&shared.key);
        let answer = async {
            let reply = request.json(&json!({"query": question})).send().await.ok()?;
            reply.json::<Value>().await.ok()?["data"]["Aggregate"][CLASS][0]["meta"]["count"].as_u64()
        };
        if answer.await.is_some() {
            times.push(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    times
}

/// One write by a client that never wrote before; its status.
pub(crate) async fn first_write(fixed: &str, key: &str) -> Result<reqwest::StatusCode> {
    let (writers, _) = addresses(fixed)?;
    let object = json!({"class": CLASS, "id": "10adffff-0000-4000-8000-000000000000", "properties": {"n": 1}, "vector": [1, 1, 1, 1]});
    let request = client(&writers[0])?.post(format!("http://{fixed}:8080/v1/objects")).bearer_auth(key).json(&object);
    Ok(request.send().await?.status())
}

/// The numbers of all objects that the node shows, by the list cursor.
pub(crate) async fn stored(fixed: &str, key: &str) -> Result<BTreeSet<u64>> {
    let (_, readers) = addresses(fixed)?;
    let (client, mut found, mut after) = (client(&readers[0])?, BTreeSet::new(), String::new());
    loop {
        let url = format!("http://{fixed}:8080/v1/objects?class={CLASS}&limit=5000&after={after}");
        let page: Value = client.get(url).bearer_auth(key).send().await?.error_for_status()?.json().await?;
        let ids: Vec<&str> =
            page["objects"].as_array().into_iter().flatten().filter_map(|o| o["id"].as_str()).collect();
        let Some(last) = ids.last() else { return Ok(found) };
        after = (*last).to_owned();
        found.extend(ids.iter().filter_map(|id| u64::from_str_radix(id.rsplit('-').next()?, 16).ok()));
    }
}
