//! A decorator over every port that numbers the external calls and lets the process die, or a reply get lost, at one of
//! them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lifeboat_domain::expectations::EvidenceAdapter;
use lifeboat_domain::ids::{BackupId, InstanceId, JobId, Sha256Digest};
use lifeboat_domain::weaviate::OperationStatus;

use super::calls::Call;
use crate::ports::bucket::{
    CopyOutcome, Listed, ListedVersion, Page, Pinned, PutMode, PutOutcome, ReadOutcome, Stored, VersionMarker,
};
use crate::ports::fault::{Happened, Retry};
use crate::ports::group::{GroupState, Hook, HookAnswer, HookResult};
use crate::ports::hosts::{Agent, CommandId, CommandState, ExecutionId, ExecutionState, HostDocument, SendOutcome};
use crate::ports::node::{
    Accepted, Class, Equals, Hit, Meta, NodeError, NodeInfo, ObjectView, Place, Progress, Tenant,
};
use crate::ports::{Addresses, Bucket, Deletes, Fault, Group, Hosts, Node, Nodes};

/// Where a plan strikes. Calls are numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nowhere: the calls are only recorded.
    Watch,
    /// This call has its effect, and then the process dies.
    Stop {
        /// The call's number.
        after: usize,
    },
    /// The process dies before this call has any effect.
    Before {
        /// The call's number.
        call: usize,
    },
    /// This call has its effect, and the caller only hears that it may have; the process lives.
    LostReply {
        /// The call's number.
        call: usize,
    },
}

/// What the process is told by a call that it did not live to see: everything it does from then on is in vain.
#[derive(Debug, thiserror::Error)]
#[error("the process died here (fault plan)")]
pub struct Crashed;

/// A numbered record of external calls, and where one goes wrong. A clone shares the record.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    mode: Mode,
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    calls: Vec<(Call, String)>,
    dead: bool,
}

enum Fate {
    Lives,
    DiesAfter,
    DiesBefore,
    ReplyLost,
    Dead,
}

impl FaultPlan {
    /// A plan with nothing recorded yet.
    pub fn new(mode: Mode) -> Self {
        Self { mode, record: Arc::default() }
    }

    /// The same port, with its calls numbered by this plan.
    pub fn wrap<P>(&self, port: P) -> Planned<P> {
        Planned { port, plan: self.clone() }
    }

    /// The calls so far: which, and on what. The first has number 1.
    pub fn calls(&self) -> Vec<(Call, String)> {
        self.lock().calls.clone()
    }

    /// Whether the process has died.
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, call: Call, subject: &str) -> Fate {
        let mut record = self.lock();
        if record.dead {
            return Fate::Dead;
        }
        record.calls.push((call, subject.to_owned()));
        let number = record.calls.len();
        match self.mode {
            Mode::Stop { after } if after == number => Fate::DiesAfter,
            Mode::Before { call } if call == number => {
                record.dead = true;
                Fate::DiesBefore
            }
            Mode::LostReply { call } if call == number => Fate::ReplyLost,
            Mode::Watch | Mode::Stop { .. } | Mode::Before { .. } | Mode::LostReply { .. } => Fate::Lives,
        }
    }

    pub(super) async fn run<T, E: Marked>(
        &self,
        call: Call,
        subject: &str,
        act: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        match self.next(call, subject) {
            Fate::Lives => act.await,
            Fate::ReplyLost => {
                let _ = act.await?;
                Err(E::reply_lost(call, subject))
            }
            Fate::DiesAfter => {
                let _ = act.await;
                self.lock().dead = true;
                // Whoever watches the plan drops the process here.
                tokio::task::yield_now().await;
                Err(E::crashed(call, subject))
            }
            Fate::DiesBefore | Fate::Dead => {
                tokio::task::yield_now().await;
                Err(E::crashed(call, subject))
            }
        }
    }
}

/// Whether a fault is the mark of a plan's crash.
pub fn is_crash(fault: &Fault) -> bool {
    fault.source.is::<Crashed>()
}

/// Whether a node's error is the mark of a plan's crash.
pub fn is_node_crash(error: &NodeError) -> bool {
    matches!(error, NodeError::Unknown { detail, .. } if *detail == Crashed.to_string())
}

pub(super) trait Marked {
    fn crashed(call: Call, subject: &str) -> Self;
    fn reply_lost(call: Call, subject: &str) -> Self;
}

impl Marked for Fault {
    fn crashed(call: Call, subject: &str) -> Self {
        Self::new(call.name(), subject, Happened::Maybe, Retry::No, Crashed)
    }
    fn reply_lost(call: Call, subject: &str) -> Self {
        Self::new(call.name(), subject, Happened::Maybe, Retry::Yes, "the reply was lost (fault plan)")
    }
}

impl Marked for NodeError {
    fn crashed(call: Call, _: &str) -> Self {
        Self::Unknown { what: call.name().to_owned(), detail: Crashed.to_string() }
    }
    fn reply_lost(call: Call, _: &str) -> Self {
        Self::Unknown { what: call.name().to_owned(), detail: "the reply was lost (fault plan)".to_owned() }
    }
}

/// A port under a [`FaultPlan`].
#[derive(Debug, Clone)]
pub struct Planned<P> {
    pub(super) port: P,
    pub(super) plan: FaultPlan,
}

impl<B: Bucket> Bucket for Planned<B> {
    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Stored>, Fault> {
        self.plan.run(Call::Get, key, self.port.get(key, limit_bytes)).await
    }
    async fn head(&self, key: &str) -> Result<Option<Listed>, Fault> {
        self.plan.run(Call::Head, key, self.port.head(key)).await
    }
    async fn put(&self, key: &str, body: Vec<u8>, mode: PutMode) -> Result<PutOutcome, Fault> {
        self.plan.run(Call::Put, key, self.port.put(key, body, mode)).await
    }
    async fn list(&self, prefix: &str, start_after: Option<&str>) -> Result<Page<Listed>, Fault> {
        self.plan.run(Call::List, prefix, self.port.list(prefix, start_after)).await
    }
    async fn list_versions(&self, prefix: &str, after: Option<&VersionMarker>) -> Result<Page<ListedVersion>, Fault> {
        self.plan.run(Call::ListVersions, prefix, self.port.list_versions(prefix, after)).await
    }
    async fn read(&self, object: &Pinned, offset: u64, length: u64) -> Result<ReadOutcome, Fault> {
        self.plan.run(Call::Read, &object.key, self.port.read(object, offset, length)).await
    }
    async fn copy(&self, from: &Pinned, size_bytes: u64, to: &str) -> Result<CopyOutcome, Fault> {
        self.plan.run(Call::Copy, to, self.port.copy(from, size_bytes, to)).await
    }
    async fn stored_sha256(&self, object: &Pinned) -> Result<Option<Sha256Digest>, Fault> {
        self.plan.run(Call::StoredSha256, &object.key, self.port.stored_sha256(object)).await
    }
}

impl<D: Deletes> Deletes for Planned<D> {
    async fn hide(&self, keys: &[String]) -> Result<(), Fault> {
        self.plan.run(Call::Hide, super::deletes::subject(keys), self.port.hide(keys)).await
    }
}

impl<G: Group> Group for Planned<G> {
    async fn describe(&self) -> Result<GroupState, Fault> {
        self.plan.run(Call::Describe, "", self.port.describe()).await
    }
    async fn heartbeat(&self, hook: Hook, instance: &InstanceId) -> Result<HookAnswer, Fault> {
        self.plan.run(Call::Heartbeat, instance.as_str(), self.port.heartbeat(hook, instance)).await
    }
    async fn complete(&self, hook: Hook, instance: &InstanceId, result: HookResult) -> Result<HookAnswer, Fault> {
        self.plan.run(Call::Complete, instance.as_str(), self.port.complete(hook, instance, result)).await
    }
    async fn suspend_launches(&self) -> Result<(), Fault> {
        self.plan.run(Call::SuspendLaunches, "", self.port.suspend_launches()).await
    }
    async fn resume_launches(&self) -> Result<(), Fault> {
        self.plan.run(Call::ResumeLaunches, "", self.port.resume_launches()).await
    }
}

impl<H: Hosts> Hosts for Planned<H> {
    async fn agent(&self, instance: &InstanceId) -> Result<Agent, Fault> {
        self.plan.run(Call::Agent, instance.as_str(), self.port.agent(instance)).await
    }
    async fn find(&self, instance: &InstanceId, job: &JobId) -> Result<Option<CommandId>, Fault> {
        self.plan.run(Call::Find, job.as_str(), self.port.find(instance, job)).await
    }
    async fn send(&self, instance: &InstanceId, document: HostDocument, job: &JobId) -> Result<SendOutcome, Fault> {
        self.plan.run(Call::Send, job.as_str(), self.port.send(instance, document, job)).await
    }
    async fn command(&self, instance: &InstanceId, command: &CommandId) -> Result<CommandState, Fault> {
        self.plan.run(Call::Command, &command.0, self.port.command(instance, command)).await
    }
}

impl<A: Addresses> Addresses for Planned<A> {
    async fn start_read(&self) -> Result<ExecutionId, Fault> {
        self.plan.run(Call::StartRead, "", self.port.start_read()).await
    }
    async fn start_writers(&self, attachment: &str, admitted: bool) -> Result<ExecutionId, Fault> {
        self.plan.run(Call::StartWriters, attachment, self.port.start_writers(attachment, admitted)).await
    }
    async fn start_move(&self, to: &InstanceId, expected: Option<&str>, force: bool) -> Result<ExecutionId, Fault> {
        self.plan.run(Call::StartMove, to.as_str(), self.port.start_move(to, expected, force)).await
    }
    async fn execution(&self, id: &ExecutionId) -> Result<ExecutionState, Fault> {
        self.plan.run(Call::Execution, &id.0, self.port.execution(id)).await
    }
}

impl<N: Nodes> Nodes for Planned<N> {
    type Node = Planned<N::Node>;

    fn at(&self, address: &str) -> Self::Node {
        self.plan.wrap(self.port.at(address))
    }
}

impl<N: Node> Node for Planned<N> {
    async fn ready(&self) -> Result<bool, NodeError> {
        self.plan.run(Call::Ready, "", self.port.ready()).await
    }
    async fn live(&self) -> Result<bool, NodeError> {
        self.plan.run(Call::Live, "", self.port.live()).await
    }
    async fn meta(&self) -> Result<Meta, NodeError> {
        self.plan.run(Call::Meta, "", self.port.meta()).await
    }
    async fn refuses_writes(&self) -> Result<bool, NodeError> {
        self.plan.run(Call::RefusesWrites, "", self.port.refuses_writes()).await
    }
    async fn nodes(&self) -> Result<Vec<NodeInfo>, NodeError> {
        self.plan.run(Call::NodesVerbose, "", self.port.nodes()).await
    }
    async fn schema(&self) -> Result<Vec<Class>, NodeError> {
        self.plan.run(Call::Schema, "", self.port.schema()).await
    }
    async fn aliases(&self) -> Result<BTreeMap<String, String>, NodeError> {
        self.plan.run(Call::Aliases, "", self.port.aliases()).await
    }
    async fn tenants(&self, class: &str) -> Result<Vec<Tenant>, NodeError> {
        self.plan.run(Call::Tenants, class, self.port.tenants(class)).await
    }
    async fn object(&self, place: &Place, id: &str) -> Result<Option<ObjectView>, NodeError> {
        self.plan.run(Call::Object, id, self.port.object(place, id)).await
    }
    async fn object_after(&self, place: &Place, after: &str) -> Result<Option<ObjectView>, NodeError> {
        self.plan.run(Call::ObjectAfter, after, self.port.object_after(place, after)).await
    }
    async fn evidence_adapter(&self) -> Result<EvidenceAdapter, NodeError> {
        self.plan.run(Call::EvidenceAdapter, "", self.port.evidence_adapter()).await
    }
    async fn count(&self, adapter: EvidenceAdapter, place: &Place, filter: Option<&Equals>) -> Result<u64, NodeError> {
        self.plan.run(Call::Count, &place.class, self.port.count(adapter, place, filter)).await
    }
    async fn bm25(
        &self,
        adapter: EvidenceAdapter,
        place: &Place,
        property: &str,
        query: &str,
        limit: u32,
    ) -> Result<Vec<Hit>, NodeError> {
        self.plan.run(Call::Bm25, &place.class, self.port.bm25(adapter, place, property, query, limit)).await
    }
    async fn near_object(
        &self,
        adapter: EvidenceAdapter,
        place: &Place,
        id: &str,
        vector: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Hit>, NodeError> {
        self.plan.run(Call::NearObject, &place.class, self.port.near_object(adapter, place, id, vector, limit)).await
    }
    async fn create_backup(&self, id: &BackupId, include: &[String]) -> Result<Accepted, NodeError> {
        self.plan.run(Call::CreateBackup, id.as_str(), self.port.create_backup(id, include)).await
    }
    async fn backup_status(&self, id: &BackupId) -> Result<Progress, NodeError> {
        self.plan.run(Call::BackupStatus, id.as_str(), self.port.backup_status(id)).await
    }
    async fn list_backups(&self) -> Result<Vec<(String, OperationStatus)>, NodeError> {
        self.plan.run(Call::ListBackups, "", self.port.list_backups()).await
    }
    async fn cancel_backup(&self, id: &BackupId) -> Result<(), NodeError> {
        self.plan.run(Call::CancelBackup, id.as_str(), self.port.cancel_backup(id)).await
    }
    async fn start_restore_at(
        &self,
        id: &BackupId,
        include: &[String],
        path: Option<&str>,
    ) -> Result<Accepted, NodeError> {
        self.plan.run(Call::StartRestore, id.as_str(), self.port.start_restore_at(id, include, path)).await
    }
    async fn restore_status_at(&self, id: &BackupId, path: Option<&str>) -> Result<Progress, NodeError> {
        self.plan.run(Call::RestoreStatus, id.as_str(), self.port.restore_status_at(id, path)).await
    }
    async fn delete_class(&self, class: &str) -> Result<(), NodeError> {
        self.plan.run(Call::DeleteClass, class, self.port.delete_class(class)).await
    }
    async fn delete_alias(&self, alias: &str) -> Result<(), NodeError> {
        self.plan.run(Call::DeleteAlias, alias, self.port.delete_alias(alias)).await
    }
    async fn cancel_restore(&self, id: &BackupId) -> Result<(), NodeError> {
        self.plan.run(Call::CancelRestore, id.as_str(), self.port.cancel_restore(id)).await
    }
}
