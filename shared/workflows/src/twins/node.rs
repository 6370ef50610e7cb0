//! The nodes twin: a small Weaviate on each instance, reached by the instance's own address, or by the fixed one while
//! that is attached and open.

mod backup;
mod data;
mod model;
mod restore;
mod search;

use std::collections::BTreeMap;

use lifeboat_domain::expectations::EvidenceAdapter;
use lifeboat_domain::ids::{BackupId, InstanceId};
use lifeboat_domain::weaviate::OperationStatus;
use serde_json::json;

use super::World;
use super::calls::Call;
use super::world::Inner;
use crate::ports::node::{
    Accepted, Class, Equals, Hit, Meta, NodeError, NodeInfo, ObjectView, Place, Progress, Tenant,
};
use crate::ports::{Node, Nodes};

pub use data::{ClassData, ObjectData, ShardData};
pub(super) use model::NodeModel;
pub use model::{NodeFaults, NodeHandle, object_id};

/// The nodes of a [`World`].
#[derive(Debug, Clone)]
pub struct NodesTwin {
    pub(super) world: World,
}

/// Whatever answers at an address of a [`World`].
#[derive(Debug, Clone)]
pub struct NodeTwin {
    world: World,
    address: String,
}

/// What happens on a node by itself; the number is the operation's.
#[derive(Debug, Clone)]
pub(super) enum NodeDue {
    CreateRound(u64),
    CreateFinal(u64, u64),
    RestoreRound(u64),
    RestoreApply(u64),
}

impl Nodes for NodesTwin {
    type Node = NodeTwin;

    fn at(&self, address: &str) -> NodeTwin {
        NodeTwin { world: self.world.clone(), address: address.to_owned() }
    }
}

impl Inner {
    pub(super) fn node_due(&mut self, instance: &InstanceId, due: NodeDue) {
        if !self.host_works(instance) {
            return;
        }
        match due {
            NodeDue::CreateRound(number) => self.create_round(instance, number),
            NodeDue::CreateFinal(number, bytes) => self.create_final(instance, number, bytes),
            NodeDue::RestoreRound(number) => self.restore_round(instance, number),
            NodeDue::RestoreApply(number) => self.restore_apply(instance, number),
        }
    }

    /// The instance whose node a connection to this address arrives at.
    fn connect(&mut self, call: Call, address: &str) -> Result<InstanceId, NodeError> {
        let no = |detail: &str| NodeError::Unknown { what: call.name().to_owned(), detail: detail.to_owned() };
        let fixed = address == World::FIXED_ADDRESS;
        let instance = if fixed { self.addresses.arrives_at() } else { self.instance_at(address) };
        let instance = instance.filter(|i| self.host_works(i)).ok_or_else(|| no("timed out"))?;
        if fixed {
            self.accept_via_fixed(&instance);
        }
        let now = self.now;
        match self.nodes.get(&instance) {
            Some(node) if node.faults.unreachable => Err(no("timed out")),
            Some(node) if node.listens_at <= now => Ok(instance),
            Some(_) | None => Err(no("connection refused")),
        }
    }
}

impl NodeModel {
    fn is_ready(&self, now: jiff::Timestamp) -> bool {
        self.ready_at <= now && !self.faults.not_ready
    }
}

impl NodeTwin {
    /// A request that needs no key.
    async fn open<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut Inner, &InstanceId) -> Result<T, NodeError>,
    ) -> Result<T, NodeError> {
        self.world
            .node_call(call, &self.address, |inner| {
                let instance = inner.connect(call, &self.address)?;
                act(inner, &instance)
            })
            .await
    }

    /// A request with the key, to a node that is ready. `of` is added to the subject in the log.
    async fn request<T>(
        &self,
        call: Call,
        of: &str,
        act: impl FnOnce(&mut Inner, &InstanceId) -> Result<T, NodeError>,
    ) -> Result<T, NodeError> {
        let subject = if of.is_empty() { self.address.clone() } else { format!("{} {of}", self.address) };
        self.world
            .node_call(call, &subject, |inner| {
                let instance = inner.connect(call, &self.address)?;
                let now = inner.now;
                let what = call.name().to_owned();
                match inner.nodes.get(&instance) {
                    Some(node) if !node.is_ready(now) => {
                        Err(NodeError::Unknown { what, detail: "HTTP 503: not ready".to_owned() })
                    }
                    Some(node) if node.faults.unauthorized => {
                        let message = "unauthorized: invalid api key".to_owned();
                        Err(NodeError::Unauthorized { what, status: 401, message })
                    }
                    Some(_) | None => act(inner, &instance),
                }
            })
            .await
    }

    /// A request that only looks at the node.
    async fn look<T>(
        &self,
        call: Call,
        of: &str,
        act: impl FnOnce(&NodeModel) -> Result<T, NodeError>,
    ) -> Result<T, NodeError> {
        self.request(call, of, |inner, instance| {
            let gone = || NodeError::Unknown { what: call.name().to_owned(), detail: "no node".to_owned() };
            act(inner.nodes.get(instance).ok_or_else(gone)?)
        })
        .await
    }
}

fn view(id: &str, object: &ObjectData) -> ObjectView {
    ObjectView {
        id: id.to_owned(),
        properties: object.properties.clone(),
        vectors: object.vectors(),
        updated_at: Some(object.updated_at),
    }
}

impl Node for NodeTwin {
    async fn ready(&self) -> Result<bool, NodeError> {
        self.open(Call::Ready, |inner, instance| {
            let now = inner.now;
            Ok(inner.nodes.get(instance).is_some_and(|node| node.is_ready(now)))
        })
        .await
    }

    async fn live(&self) -> Result<bool, NodeError> {
        self.open(Call::Live, |_, _| Ok(true)).await
    }

    async fn meta(&self) -> Result<Meta, NodeError> {
        self.look(Call::Meta, "", |node| {
            let of_s3 = json!({
                "bucketName": World::BUCKET, "endpoint": "s3.us-east-1.amazonaws.com", "rootName": "backups", "useSSL": true
            });
            let mut modules = BTreeMap::from([("backup-s3".to_owned(), of_s3)]);
            modules.extend(node.settings.modules.iter().map(|name| (name.clone(), json!({}))));
            Ok(Meta { version: node.settings.version.clone(), modules })
        })
        .await
    }

    async fn nodes(&self) -> Result<Vec<NodeInfo>, NodeError> {
        self.request(Call::NodesVerbose, "", |inner, instance| {
            let now = inner.now;
            let of_node = |node: &NodeModel| NodeInfo {
                name: node.settings.name.clone(),
                status: "HEALTHY".to_owned(),
                version: node.settings.version.clone(),
                git_hash: node.settings.git_hash.clone(),
                vector_queue_length: if node.queue_until > now { 100 } else { 0 },
                shards_not_ready: node.faults.shards_not_ready,
                operational_mode: Some(if node.read_only { "ReadOnly" } else { "ReadWrite" }.to_owned()),
            };
            Ok(inner.nodes.get(instance).map(of_node).into_iter().collect())
        })
        .await
    }

    async fn refuses_writes(&self) -> Result<bool, NodeError> {
        self.look(Call::RefusesWrites, "", |node| Ok(node.read_only)).await
    }

    async fn schema(&self) -> Result<Vec<Class>, NodeError> {
        self.look(Call::Schema, "", |node| {
            let class = |(name, class): (&String, &ClassData)| Class {
                name: name.clone(),
                multi_tenant: class.multi_tenant,
                definition: class.definition.clone(),
            };
            Ok(node.classes.iter().map(class).collect())
        })
        .await
    }

    async fn aliases(&self) -> Result<BTreeMap<String, String>, NodeError> {
        self.look(Call::Aliases, "", |node| Ok(node.aliases.clone())).await
    }

    async fn tenants(&self, class: &str) -> Result<Vec<Tenant>, NodeError> {
        self.look(Call::Tenants, class, |node| {
            let found = node.class("tenants", class)?;
            if !found.multi_tenant {
                return Err(search::refused(
                    "tenants",
                    422,
                    format!("multi-tenancy is not enabled for class {class:?}"),
                ));
            }
            let tenant =
                |(name, shard): (&String, &ShardData)| Tenant { name: name.clone(), status: shard.status.clone() };
            Ok(found.shards.iter().map(tenant).collect())
        })
        .await
    }

    async fn object(&self, place: &Place, id: &str) -> Result<Option<ObjectView>, NodeError> {
        self.look(Call::Object, id, |node| Ok(node.objects("object", place)?.get(id).map(|o| view(id, o)))).await
    }

    async fn object_after(&self, place: &Place, after: &str) -> Result<Option<ObjectView>, NodeError> {
        self.look(Call::ObjectAfter, after, |node| {
            let mut objects = node.objects("object after", place)?.iter();
            Ok(objects.find(|(id, _)| id.as_str() > after).map(|(id, o)| view(id, o)))
        })
        .await
    }

    async fn evidence_adapter(&self) -> Result<EvidenceAdapter, NodeError> {
        self.look(Call::EvidenceAdapter, "", |node| {
            Ok(if node.settings.rest_search { EvidenceAdapter::Rest } else { EvidenceAdapter::Graphql })
        })
        .await
    }

    async fn count(&self, adapter: EvidenceAdapter, place: &Place, filter: Option<&Equals>) -> Result<u64, NodeError> {
        self.look(Call::Count, &place.class, |node| {
            node.has("count", adapter)?;
            node.count(place, filter)
        })
        .await
    }

    async fn bm25(
        &self,
        adapter: EvidenceAdapter,
        place: &Place,
        property: &str,
        query: &str,
        limit: u32,
    ) -> Result<Vec<Hit>, NodeError> {
        self.look(Call::Bm25, &place.class, |node| {
            node.has("bm25", adapter)?;
            node.bm25(place, property, query, limit)
        })
        .await
    }

    async fn near_object(
        &self,
        adapter: EvidenceAdapter,
        place: &Place,
        id: &str,
        vector: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Hit>, NodeError> {
        self.look(Call::NearObject, &place.class, |node| {
            node.has("near object", adapter)?;
            node.near_object(place, id, vector, limit)
        })
        .await
    }

    async fn create_backup(&self, id: &BackupId, include: &[String]) -> Result<Accepted, NodeError> {
        self.request(Call::CreateBackup, id.as_str(), |inner, i| inner.create_backup(i, id, include)).await
    }

    async fn backup_status(&self, id: &BackupId) -> Result<Progress, NodeError> {
        self.request(Call::BackupStatus, id.as_str(), |inner, i| inner.backup_status(i, id)).await
    }

    async fn list_backups(&self) -> Result<Vec<(String, OperationStatus)>, NodeError> {
        self.request(Call::ListBackups, "", |inner, _| inner.list_backups()).await
    }

    async fn cancel_backup(&self, id: &BackupId) -> Result<(), NodeError> {
        self.request(Call::CancelBackup, id.as_str(), |inner, i| inner.cancel_backup(i, id)).await
    }

    async fn start_restore_at(
        &self,
        id: &BackupId,
        include: &[String],
        path: Option<&str>,
    ) -> Result<Accepted, NodeError> {
        self.request(Call::StartRestore, id.as_str(), |inner, i| inner.start_restore(i, id, include, path)).await
    }

    async fn restore_status_at(&self, id: &BackupId, path: Option<&str>) -> Result<Progress, NodeError> {
        self.request(Call::RestoreStatus, id.as_str(), |inner, i| inner.restore_status(i, id, path)).await
    }

    async fn delete_class(&self, class: &str) -> Result<(), NodeError> {
        self.request(Call::DeleteClass, class, |inner, i| inner.delete_class(i, class)).await
    }

    async fn delete_alias(&self, alias: &str) -> Result<(), NodeError> {
        self.request(Call::DeleteAlias, alias, |inner, i| inner.delete_alias(i, alias)).await
    }

    async fn cancel_restore(&self, id: &BackupId) -> Result<(), NodeError> {
        self.request(Call::CancelRestore, id.as_str(), |inner, i| inner.cancel_restore(i, id)).await
    }
}
