//! Weaviate over HTTP behind [`Node`].
//!
//! Requests are built and replies are read without I/O, in the modules below; what is here only sends. Every call has a
//! timeout and reads a bounded body over a connection of its own: a pooled one would go on reaching the old host after
//! the fixed address has moved. What is not clearly an answer is [`NodeError::Unknown`]: a timeout, a 5xx, an empty 200
//! (a panic in Weaviate gives one), a body that does not parse (facts: weaviate.md §1.5, §8).

mod backups;
mod evidence;
mod graphql;
mod http;
mod objects;
mod reply;
mod request;
mod search;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lifeboat_domain::expectations::EvidenceAdapter;
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::weaviate::OperationStatus;
use lifeboat_workflows::ports::node::{
    Accepted, Class, Equals, Hit, Meta, NodeError, NodeInfo, ObjectView, Place, Progress, Tenant,
};
use lifeboat_workflows::ports::{Fault, Node, Nodes};

pub use crate::aws::Secret;
use http::{Connection, KeyCache};
use reply::Reply;
use request::Request;

/// The REST port of every node.
pub const REST_PORT: u16 = 8080;

/// Where the operator's API key is kept.
pub trait KeySource: Send + Sync {
    /// The key as it is there now.
    fn key(&self) -> impl Future<Output = Result<Secret, Fault>> + Send;
}

/// Makes nodes of addresses; they share one key, read when it is first used.
#[derive(Debug)]
pub struct HttpNodes<K> {
    connection: Connection,
    keys: Arc<KeyCache<K>>,
    port: u16,
}

impl<K: KeySource> HttpNodes<K> {
    /// Nodes that take the key of this source, on [`REST_PORT`].
    pub fn new(keys: K) -> Self {
        Self::on_port(keys, REST_PORT)
    }

    /// Nodes on another port.
    pub fn on_port(keys: K, port: u16) -> Self {
        Self { connection: Connection::new(), keys: Arc::new(KeyCache::new(keys)), port }
    }
}

impl<K: KeySource> Nodes for HttpNodes<K> {
    type Node = HttpNode<K>;

    fn at(&self, address: &str) -> HttpNode<K> {
        let base = address
            .parse::<IpAddr>()
            .map(|ip| format!("http://{}", SocketAddr::new(ip, self.port)))
            .map_err(|_| address.chars().take(120).collect());
        HttpNode { connection: self.connection.clone(), keys: Arc::clone(&self.keys), base }
    }
}

/// One node.
#[derive(Debug)]
pub struct HttpNode<K> {
    connection: Connection,
    keys: Arc<KeyCache<K>>,
    /// `http://<ip>:<port>`, or the text that is no IP address.
    base: Result<String, String>,
}

impl<K: KeySource> HttpNode<K> {
    /// Sends a request and gives the reply whatever its status; reads the key again, once, when it is refused.
    async fn exchange(&self, request: &Request) -> Result<Reply, NodeError> {
        let base = self.base.as_ref().map_err(|text| request.unknown(format!("{text:?} is not an IP address")))?;
        if !request.authenticated {
            return self.connection.send(base, request, None).await;
        }
        let key = self.keys.get(request).await?;
        let reply = self.connection.send(base, request, Some(&key)).await?;
        if reply.status != 401 {
            return Ok(reply);
        }
        match self.keys.replacement(request, &key).await? {
            Some(fresh) => self.connection.send(base, request, Some(&fresh)).await,
            None => Ok(reply),
        }
    }

    /// Sends a request that must succeed, and gives the body.
    async fn body(&self, request: &Request) -> Result<Vec<u8>, NodeError> {
        reply::success(request, self.exchange(request).await?)
    }

    async fn yes_or_no(&self, request: &Request) -> Result<bool, NodeError> {
        let reply = self.exchange(request).await?;
        if reply.status == 503 {
            return Ok(false);
        }
        reply::success(request, reply).map(|_| true)
    }

    /// Where the probe of the evidence API counts: a collection without tenants, else an active tenant of one with.
    async fn countable(&self) -> Result<Option<Place>, NodeError> {
        let classes = self.schema().await?;
        if let Some(class) = classes.iter().find(|c| !c.multi_tenant) {
            return Ok(Some(Place { class: class.name.clone(), tenant: None }));
        }
        for class in classes {
            if let Some(tenant) = evidence::active(&self.tenants(&class.name).await?) {
                return Ok(Some(Place { class: class.name, tenant: Some(tenant) }));
            }
        }
        Ok(None)
    }
}

impl<K: KeySource> Node for HttpNode<K> {
    async fn ready(&self) -> Result<bool, NodeError> {
        self.yes_or_no(&request::ready()).await
    }

    async fn live(&self) -> Result<bool, NodeError> {
        self.yes_or_no(&request::live()).await
    }

    async fn meta(&self) -> Result<Meta, NodeError> {
        let request = request::meta();
        objects::meta(&request, &self.body(&request).await?)
    }

    async fn nodes(&self) -> Result<Vec<NodeInfo>, NodeError> {
        let request = request::nodes();
        objects::nodes(&request, &self.body(&request).await?)
    }

    async fn refuses_writes(&self) -> Result<bool, NodeError> {
        let request = request::idle_write();
        let reply = self.exchange(&request).await?;
        let said = String::from_utf8_lossy(&reply.body).contains("read-only mode");
        match reply.status {
            503 if said => Ok(true),
            200..=299 | 404 | 422 => Ok(false),
            _ => reply::success(&request, reply).map(|_| false),
        }
    }

    async fn schema(&self) -> Result<Vec<Class>, NodeError> {
        let request = request::schema();
        objects::schema(&request, &self.body(&request).await?)
    }

    async fn aliases(&self) -> Result<BTreeMap<String, String>, NodeError> {
        let request = request::aliases();
        match self.body(&request).await {
            // The version has no aliases.
            Err(NodeError::NotFound { .. }) => Ok(BTreeMap::new()),
            body => objects::aliases(&request, &body?),
        }
    }

    async fn tenants(&self, class: &str) -> Result<Vec<Tenant>, NodeError> {
        let request = request::tenants(class);
        objects::tenants(&request, &self.body(&request).await?)
    }

    async fn object(&self, place: &Place, id: &str) -> Result<Option<ObjectView>, NodeError> {
        let request = request::object(place, id);
        let reply = self.exchange(&request).await?;
        if reply.status == 404 && !reply.is_unknown_path() {
            return Ok(None);
        }
        objects::object(&request, &reply::success(&request, reply)?).map(Some)
    }

    async fn object_after(&self, place: &Place, after: &str) -> Result<Option<ObjectView>, NodeError> {
        let request = request::object_after(place, after);
        objects::first_object(&request, &self.body(&request).await?)
    }

    async fn evidence_adapter(&self) -> Result<EvidenceAdapter, NodeError> {
        let Some(place) = self.countable().await? else {
            // Nothing can be counted, so nothing will be: what the version is known for has to do.
            return Ok(evidence::of_version(&self.meta().await?.version));
        };
        let request = search::count(&place, None)?;
        let reply = self.exchange(&request).await?;
        if evidence::rest_answers(&request, &reply)? {
            return Ok(EvidenceAdapter::Rest);
        }
        match self.count(EvidenceAdapter::Graphql, &place, None).await {
            Ok(_) => Ok(EvidenceAdapter::Graphql),
            Err(NodeError::Refused { status, message, .. }) => Err(evidence::neither(&reply, status, &message)),
            Err(NodeError::NotFound { message, .. }) => Err(evidence::neither(&reply, 404, &message)),
            Err(error) => Err(error),
        }
    }

    async fn count(&self, adapter: EvidenceAdapter, place: &Place, filter: Option<&Equals>) -> Result<u64, NodeError> {
        match adapter {
            EvidenceAdapter::Rest => {
                let request = search::count(place, filter)?;
                search::read_count(&request, &self.body(&request).await?)
            }
            EvidenceAdapter::Graphql => {
                let request = graphql::count(place, filter)?;
                graphql::read_count(&request, place, &self.body(&request).await?)
            }
        }
    }

    async fn bm25(
        &self,
        adapter: EvidenceAdapter,
        place: &Place,
        property: &str,
        query: &str,
        limit: u32,
    ) -> Result<Vec<Hit>, NodeError> {
        match adapter {
            EvidenceAdapter::Rest => {
                let request = search::bm25(place, property, query, limit);
                search::read_hits(&request, &self.body(&request).await?)
            }
            EvidenceAdapter::Graphql => {
                let request = graphql::bm25(place, property, query, limit)?;
                graphql::read_hits(&request, place, &self.body(&request).await?)
            }
        }
    }

    async fn near_object(
        &self,
        adapter: EvidenceAdapter,
        place: &Place,
        id: &str,
        vector: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Hit>, NodeError> {
        match adapter {
            EvidenceAdapter::Rest => {
                let request = search::near_object(place, id, vector, limit);
                search::read_hits(&request, &self.body(&request).await?)
            }
            EvidenceAdapter::Graphql => {
                let request = graphql::near_object(place, id, vector, limit)?;
                graphql::read_hits(&request, place, &self.body(&request).await?)
            }
        }
    }

    async fn create_backup(&self, id: &BackupId, include: &[String]) -> Result<Accepted, NodeError> {
        let request = backups::create(id, include)?;
        backups::accepted(&request, &self.body(&request).await?)
    }

    async fn backup_status(&self, id: &BackupId) -> Result<Progress, NodeError> {
        let request = backups::create_status(id);
        backups::progress(&request, &self.body(&request).await?)
    }

    async fn list_backups(&self) -> Result<Vec<(String, OperationStatus)>, NodeError> {
        let request = backups::list();
        backups::listed(&request, &self.body(&request).await?)
    }

    async fn cancel_backup(&self, id: &BackupId) -> Result<(), NodeError> {
        let request = backups::cancel_create(id);
        self.body(&request).await.map(|_| ())
    }

    async fn start_restore_at(
        &self,
        id: &BackupId,
        include: &[String],
        path: Option<&str>,
    ) -> Result<Accepted, NodeError> {
        let request = backups::restore(id, include, path)?;
        backups::accepted(&request, &self.body(&request).await?)
    }

    async fn restore_status_at(&self, id: &BackupId, path: Option<&str>) -> Result<Progress, NodeError> {
        let request = backups::restore_status(id, path);
        backups::progress(&request, &self.body(&request).await?)
    }

    async fn delete_class(&self, class: &str) -> Result<(), NodeError> {
        let request = request::delete_class(class);
        self.body(&request).await.map(|_| ())
    }

    async fn delete_alias(&self, alias: &str) -> Result<(), NodeError> {
        let request = request::delete_alias(alias);
        match self.body(&request).await {
            Err(NodeError::NotFound { .. }) => Ok(()),
            body => body.map(|_| ()),
        }
    }

    async fn cancel_restore(&self, id: &BackupId) -> Result<(), NodeError> {
        let request = backups::cancel_restore(id);
        self.body(&request).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests;
