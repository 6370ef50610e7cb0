//! A Weaviate node over HTTP (facts: weaviate.md §1, §4, §11).

use std::collections::BTreeMap;

use jiff::Timestamp;
use lifeboat_domain::expectations::{EvidenceAdapter, TenantStatus};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::weaviate::OperationStatus;
use serde_json::Value;

/// Makes nodes of addresses.
pub trait Nodes: Send + Sync {
    /// A node.
    type Node: Node;
    /// The node at this IP address, port 8080.
    fn at(&self, address: &str) -> Self::Node;
}

/// One Weaviate node. Every call has a timeout and a bound on the body it reads; a key that is refused is read again
/// once from where it is kept.
pub trait Node: Send + Sync {
    /// `GET /v1/.well-known/ready`: 200 is true, 503 is false. No authentication.
    fn ready(&self) -> impl Future<Output = Result<bool, NodeError>> + Send;
    /// `GET /v1/.well-known/live`. No authentication.
    fn live(&self) -> impl Future<Output = Result<bool, NodeError>> + Send;
    /// `GET /v1/meta`.
    fn meta(&self) -> impl Future<Output = Result<Meta, NodeError>> + Send;
    /// `GET /v1/nodes?output=verbose`. Its object counts are never evidence (DESIGN §4).
    fn nodes(&self) -> impl Future<Output = Result<Vec<NodeInfo>, NodeError>> + Send;
    /// Whether the node refuses writes in its present mode: asks it to delete an object of a class that cannot exist, which
    /// changes nothing where it is allowed.
    fn refuses_writes(&self) -> impl Future<Output = Result<bool, NodeError>> + Send;
    /// `GET /v1/schema`, sorted by name.
    fn schema(&self) -> impl Future<Output = Result<Vec<Class>, NodeError>> + Send;
    /// `GET /v1/aliases`: alias to collection. Empty where the version has none.
    fn aliases(&self) -> impl Future<Output = Result<BTreeMap<String, String>, NodeError>> + Send;
    /// `GET /v1/schema/{class}/tenants`, sorted by name.
    fn tenants(&self, class: &str) -> impl Future<Output = Result<Vec<Tenant>, NodeError>> + Send;
    /// An object with its vectors.
    fn object(&self, place: &Place, id: &str) -> impl Future<Output = Result<Option<ObjectView>, NodeError>> + Send;
    /// The first object after this id by the list cursor, which need not exist; `None` at the end.
    fn object_after(
        &self,
        place: &Place,
        after: &str,
    ) -> impl Future<Output = Result<Option<ObjectView>, NodeError>> + Send;
    /// Which evidence API works here, found by asking: REST where the version has it, else GraphQL.
    fn evidence_adapter(&self) -> impl Future<Output = Result<EvidenceAdapter, NodeError>> + Send;
    /// The exact count by aggregation, of all objects or of those whose property equals a value.
    fn count(
        &self,
        adapter: EvidenceAdapter,
        place: &Place,
        filter: Option<&Equals>,
    ) -> impl Future<Output = Result<u64, NodeError>> + Send;
    /// The best hits by BM25 on one property, best first.
    fn bm25(
        &self,
        adapter: EvidenceAdapter,
        place: &Place,
        property: &str,
        query: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Hit>, NodeError>> + Send;
    /// The nearest objects to an object, nearest first, itself included; by a named vector, which must be named where
    /// the class has several, or by the one without a name.
    fn near_object(
        &self,
        adapter: EvidenceAdapter,
        place: &Place,
        id: &str,
        vector: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Hit>, NodeError>> + Send;
    /// `POST /v1/backups/s3`, with an explicit class list.
    fn create_backup(
        &self,
        id: &BackupId,
        include: &[String],
    ) -> impl Future<Output = Result<Accepted, NodeError>> + Send;
    /// `GET /v1/backups/s3/{id}`.
    fn backup_status(&self, id: &BackupId) -> impl Future<Output = Result<Progress, NodeError>> + Send;
    /// `GET /v1/backups/s3`: id and status of all; reads the store.
    fn list_backups(&self) -> impl Future<Output = Result<Vec<(String, OperationStatus)>, NodeError>> + Send;
    /// `DELETE /v1/backups/s3/{id}`: cancels; an unknown id is success.
    fn cancel_backup(&self, id: &BackupId) -> impl Future<Output = Result<(), NodeError>> + Send;
    /// `POST /v1/backups/s3/{id}/restore`, with an explicit class list. A `path` stands in place of the node's own prefix
    /// for backups.
    fn start_restore_at(
        &self,
        id: &BackupId,
        include: &[String],
        path: Option<&str>,
    ) -> impl Future<Output = Result<Accepted, NodeError>> + Send;
    /// `GET /v1/backups/s3/{id}/restore`, of the restore that was asked for with this path.
    fn restore_status_at(
        &self,
        id: &BackupId,
        path: Option<&str>,
    ) -> impl Future<Output = Result<Progress, NodeError>> + Send;
    /// [`start_restore_at`](Self::start_restore_at) the node's own prefix.
    fn start_restore(
        &self,
        id: &BackupId,
        include: &[String],
    ) -> impl Future<Output = Result<Accepted, NodeError>> + Send {
        self.start_restore_at(id, include, None)
    }
    /// [`restore_status_at`](Self::restore_status_at) the node's own prefix.
    fn restore_status(&self, id: &BackupId) -> impl Future<Output = Result<Progress, NodeError>> + Send {
        self.restore_status_at(id, None)
    }
    /// `DELETE /v1/schema/{class}`, with everything in it; one that is not there is success.
    fn delete_class(&self, class: &str) -> impl Future<Output = Result<(), NodeError>> + Send;
    /// `DELETE /v1/aliases/{alias}`; one that is not there is success.
    fn delete_alias(&self, alias: &str) -> impl Future<Output = Result<(), NodeError>> + Send;
    /// `DELETE /v1/backups/s3/{id}/restore`. Not id-safe: it cancels whatever restore is under way.
    fn cancel_restore(&self, id: &BackupId) -> impl Future<Output = Result<(), NodeError>> + Send;
}

/// A collection, or a tenant of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The collection.
    pub class: String,
    /// The tenant, for a multi-tenant collection.
    pub tenant: Option<String>,
}

/// A property that equals a text, integer or boolean.
#[derive(Debug, Clone, PartialEq)]
pub struct Equals {
    /// The property.
    pub property: String,
    /// The value.
    pub value: Value,
}

/// Why a node gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// 404.
    #[error("Weaviate knows no {what} (404): {message}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// Weaviate's message.
        message: String,
    },
    /// 401 with a fresh key, or 403.
    #[error(
        "Weaviate refuses the operator key for {what} ({status}): {message}; check the key parameter and its rights"
    )]
    Unauthorized {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
        /// Weaviate's message.
        message: String,
    },
    /// Any other 4xx: Weaviate understood, and will not.
    #[error("Weaviate refuses {what} ({status}): {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
        /// Weaviate's message.
        message: String,
    },
    /// No answer, a timeout, a 5xx, or a body that does not parse: it may have happened, it may be fine.
    #[error("no usable answer from Weaviate to {what}: {detail}")]
    Unknown {
        /// What was asked for.
        what: String,
        /// What came.
        detail: String,
    },
}

/// `GET /v1/meta`.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// The version.
    pub version: String,
    /// The modules, by name, with what they say of themselves.
    pub modules: BTreeMap<String, Value>,
}

/// A node of `GET /v1/nodes`.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// `HEALTHY`, `UNHEALTHY`, `UNAVAILABLE`, `TIMEOUT`.
    pub status: String,
    /// Its version.
    pub version: String,
    /// The source revision it was built from.
    pub git_hash: String,
    /// Vectors queued for indexing, over all shards.
    pub vector_queue_length: u64,
    /// Shards that are not ready.
    pub shards_not_ready: u64,
    /// Its operational mode as it says it, such as `ReadWrite`; absent where the version has none.
    pub operational_mode: Option<String>,
}

/// A class of the schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Whether it has tenants.
    pub multi_tenant: bool,
    /// Its definition, as Weaviate gave it.
    pub definition: Value,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Its activity status.
    pub status: TenantStatus,
}

/// An object as read.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectView {
    /// Its id.
    pub id: String,
    /// Its properties.
    pub properties: Value,
    /// Its vectors, by name; `default` is the unnamed one.
    pub vectors: BTreeMap<String, Vec<f32>>,
    /// When it was last changed, by the node's clock.
    pub updated_at: Option<Timestamp>,
}

/// A search hit.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The object's id.
    pub id: String,
    /// Its BM25 score, or 0.
    pub score: f64,
}

/// Weaviate's answer to a create or restore.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The classes that it took; may be fewer than asked for (facts: weaviate.md §5).
    pub classes: Vec<String>,
    /// The status.
    pub status: OperationStatus,
}

/// The status of a create or restore: a hint.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The status.
    pub status: OperationStatus,
    /// Weaviate's error text, empty when there is none.
    pub error: String,
}
