//! The one state that all twins share, with its clock and what is due by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lifeboat_domain::ids::InstanceId;

use super::addresses::{AddressDue, AddressesModel, AddressesTwin};
use super::bucket::BucketTwin;
use super::calls::{Call, CallRecord, ClockTwin, Failure};
use super::events::{Effect, Event};
use super::group::{GroupDue, GroupModel, GroupTwin};
use super::hosts::{CommandDue, HostsModel, HostsTwin};
use super::node::{NodeDue, NodeModel, NodesTwin};
use super::objects::Store;
use super::settings::Settings;
use crate::ports::Fault;
use crate::ports::node::NodeError;

/// Everything outside the functions: one bucket or more, a group with its hosts, the fixed address, the nodes, and the
/// time. A clone shares the state.
#[derive(Debug, Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// The name of the cluster's bucket.
    pub const BUCKET: &'static str = "lifeboat-test";
    /// The name of the group.
    pub const GROUP: &'static str = "lifeboat-weaviate";
    /// The fixed address.
    pub const FIXED_ADDRESS: &'static str = "127.15.0.10";

    /// An empty bucket, a group that wants no instance, a detached address; 2026-11-20T12:00:00Z.
    pub fn new() -> Self {
        let now = Timestamp::from_second(1_795_176_000).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { inner: Arc::new(Mutex::new(Inner::new(now))) }
    }

    /// The cluster's bucket.
    pub fn bucket(&self) -> BucketTwin {
        self.bucket_named(Self::BUCKET)
    }

    /// Another bucket.
    pub fn bucket_named(&self, name: &str) -> BucketTwin {
        BucketTwin { world: self.clone(), name: name.to_owned() }
    }

    /// The group.
    pub fn group(&self) -> GroupTwin {
        GroupTwin { world: self.clone() }
    }

    /// The hosts.
    pub fn hosts(&self) -> HostsTwin {
        HostsTwin { world: self.clone() }
    }

    /// The fixed address.
    pub fn addresses(&self) -> AddressesTwin {
        AddressesTwin { world: self.clone() }
    }

    /// The nodes.
    pub fn nodes(&self) -> NodesTwin {
        NodesTwin { world: self.clone() }
    }

    /// The clock.
    pub fn clock(&self) -> ClockTwin {
        ClockTwin { world: self.clone() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.lock().now
    }

    /// Lets time pass, and everything happen that is due in it, in order.
    pub fn advance(&self, duration: Duration) {
        let mut inner = self.lock();
        let until = inner.after(duration);
        inner.run_until(until);
    }

    /// Changes how the world behaves from now on.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.lock().settings);
    }

    /// How the world behaves now.
    pub fn settings(&self) -> Settings {
        self.lock().settings.clone()
    }

    /// Makes the next call of this kind whose subject contains a text go wrong. Several scripts queue up in order.
    pub fn fail_next(&self, call: Call, subject_contains: &str, failure: Failure) {
        self.lock().scripted.push((call, subject_contains.to_owned(), failure));
    }

    /// Makes the next pinned read of this key come one byte short.
    pub fn cut_next_read(&self, key: &str) {
        self.lock().short_reads.push(key.to_owned());
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.lock().log.clone()
    }

    /// How many calls of a kind there were.
    pub fn count(&self, call: Call) -> usize {
        self.count_on(call, "")
    }

    /// How many calls of a kind there were whose subject contains a text.
    pub fn count_on(&self, call: Call, subject_contains: &str) -> usize {
        self.lock().log.iter().filter(|r| r.call == call && r.subject.contains(subject_contains)).count()
    }

    /// Every event so far, in order.
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// The events since the last time they were taken.
    pub fn take_events(&self) -> Vec<Event> {
        let mut inner = self.lock();
        let from = inner.events_taken;
        inner.events_taken = inner.events.len();
        inner.events[from..].to_vec()
    }

    /// Every effect so far, in order.
    pub fn effects(&self) -> Vec<Effect> {
        self.lock().effects.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of a port whose failures are [`Fault`]s.
    pub(super) async fn call<T>(
        &self,
        call: Call,
        subject: &str,
        act: impl FnOnce(&mut Inner) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        tokio::task::yield_now().await;
        let mut inner = self.lock();
        match inner.enter(call, subject) {
            None => act(&mut inner),
            Some(failure) => {
                if failure.has_effect() {
                    act(&mut inner)?;
                }
                Err(failure.fault(call, subject))
            }
        }
    }

    /// A call that the SDK tries again when its reply is lost, and whose service knows no token to tell the tries apart:
    /// what is lost has happened as often as it was tried.
    pub(super) async fn call_again<T>(
        &self,
        call: Call,
        subject: &str,
        mut act: impl FnMut(&mut Inner) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        tokio::task::yield_now().await;
        let mut inner = self.lock();
        match inner.enter(call, subject) {
            None => act(&mut inner),
            Some(failure) => {
                for _ in 0..if failure.has_effect() { super::contract::bucket::ATTEMPTS } else { 0 } {
                    act(&mut inner)?;
                }
                Err(failure.fault(call, subject))
            }
        }
    }

    /// A call of a node.
    pub(super) async fn node_call<T>(
        &self,
        call: Call,
        subject: &str,
        act: impl FnOnce(&mut Inner) -> Result<T, NodeError>,
    ) -> Result<T, NodeError> {
        tokio::task::yield_now().await;
        let mut inner = self.lock();
        match inner.enter(call, subject) {
            None => act(&mut inner),
            Some(failure) => {
                if failure.has_effect() {
                    act(&mut inner)?;
                }
                Err(failure.node_error(call))
            }
        }
    }
}

/// What happens by itself, when its time has come.
#[derive(Debug, Clone)]
pub(super) enum Due {
    Group(GroupDue),
    Command(CommandDue),
    Address(AddressDue),
    Node(InstanceId, NodeDue),
}

/// The state.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) now: Timestamp,
    pub(super) settings: Settings,
    buckets: BTreeMap<String, Store>,
    pub(super) group: GroupModel,
    pub(super) hosts: HostsModel,
    pub(super) addresses: AddressesModel,
    pub(super) nodes: BTreeMap<InstanceId, NodeModel>,
    pub(super) events: Vec<Event>,
    events_taken: usize,
    pub(super) effects: Vec<Effect>,
    log: Vec<CallRecord>,
    scripted: Vec<(Call, String, Failure)>,
    short_reads: Vec<String>,
    pub(super) written_over: Vec<(String, Vec<u8>)>,
    schedule: BTreeMap<(Timestamp, u64), Due>,
    serial: u64,
}

impl Inner {
    fn new(now: Timestamp) -> Self {
        Self {
            now,
            settings: Settings::default(),
            buckets: BTreeMap::new(),
            group: GroupModel::default(),
            hosts: HostsModel::default(),
            addresses: AddressesModel::default(),
            nodes: BTreeMap::new(),
            events: Vec::new(),
            events_taken: 0,
            effects: Vec::new(),
            log: Vec::new(),
            scripted: Vec::new(),
            short_reads: Vec::new(),
            written_over: Vec::new(),
            schedule: BTreeMap::new(),
            serial: 0,
        }
    }

    /// A bucket's contents.
    pub(super) fn store(&mut self, bucket: &str) -> &mut Store {
        self.buckets.entry(bucket.to_owned()).or_default()
    }

    /// A number that no one had before.
    pub(super) fn mint(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// The time a while from now.
    pub(super) fn after(&self, duration: Duration) -> Timestamp {
        self.now.checked_add(duration).unwrap_or(Timestamp::MAX)
    }

    /// Lets something happen later.
    pub(super) fn later(&mut self, duration: Duration, due: Due) {
        let at = (self.after(duration), self.mint());
        self.schedule.insert(at, due);
    }

    /// Notes a call, lets its time pass, and says how it goes wrong, if it does.
    fn enter(&mut self, call: Call, subject: &str) -> Option<Failure> {
        let until = self.after(self.settings.call_takes);
        self.run_until(until);
        self.log.push(CallRecord { call, subject: subject.to_owned(), at: self.now });
        let place = self.scripted.iter().position(|(c, text, _)| *c == call && subject.contains(text.as_str()))?;
        Some(self.scripted.remove(place).2)
    }

    pub(super) fn take_short_read(&mut self, key: &str) -> bool {
        let place = self.short_reads.iter().position(|k| k == key);
        place.map(|place| self.short_reads.remove(place)).is_some()
    }

    fn run_until(&mut self, until: Timestamp) {
        while let Some(first) = self.schedule.first_entry()
            && first.key().0 <= until
        {
            let ((at, _), due) = first.remove_entry();
            self.now = self.now.max(at);
            match due {
                Due::Group(due) => self.group_due(due),
                Due::Command(due) => self.command_due(due),
                Due::Address(due) => self.address_due(due),
                Due::Node(instance, due) => self.node_due(&instance, due),
            }
        }
        self.now = self.now.max(until);
    }
}
