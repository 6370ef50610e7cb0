//! A plain client of Weaviate's REST API, as an indexing job or a reader would have it. It shares no code with the
//! functions, so that what it finds is found independently of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::collections::{OFFLOADED_OBJECTS, OFFLOADED_TENANT};
use crate::corpus::{Collection, Corpus, Data, Document};

/// Objects in one batch.
const BATCH: usize = 500;

/// A client with a key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
    data: Data,
}

/// An object as the node shows it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Stored {
    /// Its properties, references among them.
    pub properties: Value,
    /// Its vector without a name; empty where it has named ones.
    pub vector: Vec<f32>,
    /// Its named vectors.
    pub named: BTreeMap<String, Vec<f32>>,
}

impl Client {
    /// A client of the node at this address, for the plain collections.
    pub fn new(address: &str, key: &str) -> anyhow::Result<Self> {
        // The client wants a provider even for plain HTTP; a second installation is refused, and the first one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build()?;
        Ok(Self { http, base: format!("http://{address}:8080/v1"), key: key.to_owned(), data: Data::Plain })
    }

    /// The same for the collections of a profile.
    #[must_use]
    pub fn of(self, data: Data) -> Self {
        Self { data, ..self }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("{method} {path} on {}", self.base))?;
        let status = response.status();
        let text = response.text().await?;
        let value =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        Ok((status, value))
    }

    async fn ok(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let (status, value) = self.call(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("{method} {path} gave {status}: {value}");
        }
        Ok(value)
    }

    /// Whether the node says that it is ready.
    pub async fn ready(&self) -> bool {
        matches!(self.call(Method::GET, "/.well-known/ready", None).await, Ok((StatusCode::OK, _)))
    }

    /// The version and source revision of the node.
    pub async fn version(&self) -> anyhow::Result<(String, String)> {
        let meta = self.ok(Method::GET, "/meta", None).await?;
        let nodes = self.ok(Method::GET, "/nodes", None).await?;
        let text = |v: &Value| v.as_str().unwrap_or("unknown").to_owned();
        Ok((text(&meta["version"]), text(&nodes["nodes"][0]["gitHash"])))
    }

    /// Creates the collections and their tenants, all ACTIVE for now.
    pub async fn create_collections(&self) -> anyhow::Result<()> {
        for collection in self.data.collections() {
            self.ok(Method::POST, "/schema", Some(&collection.definition())).await?;
            if !collection.tenants.is_empty() {
                let tenants: Vec<Value> = collection.tenants.iter().map(|(name, _)| json!({"name": name})).collect();
                self.ok(Method::POST, &format!("/schema/{}/tenants", collection.name), Some(&json!(tenants))).await?;
            }
        }
        Ok(())
    }

    /// Deactivates the tenants that are to be INACTIVE.
    pub async fn settle_tenants(&self) -> anyhow::Result<()> {
        for collection in self.data.collections() {
            let inactive: Vec<Value> = collection
                .tenants
                .iter()
                .filter(|(_, active)| !active)
                .map(|(name, _)| json!({"name": name, "activityStatus": "INACTIVE"}))
                .collect();
            if !inactive.is_empty() {
                self.ok(Method::PUT, &format!("/schema/{}/tenants", collection.name), Some(&json!(inactive))).await?;
            }
        }
        Ok(())
    }

    /// Writes all objects of the corpus, in batches; `done` hears how many are written.
    pub async fn index(&self, corpus: &Corpus, mut done: impl FnMut(u64)) -> anyhow::Result<()> {
        let mut written = 0;
        for collection in self.data.collections() {
            let numbers: Vec<u64> = (0..corpus.count(collection)).collect();
            for batch in numbers.chunks(BATCH) {
                let objects: Vec<Value> = batch.iter().map(|n| object(&corpus.document(collection, *n))).collect();
                self.write(&objects).await?;
                written += batch.len() as u64;
                done(written);
            }
        }
        Ok(())
    }

    async fn write(&self, objects: &[Value]) -> anyhow::Result<()> {
        let answer = self.ok(Method::POST, "/batch/objects", Some(&json!({"objects": objects}))).await?;
        let results = answer.as_array().context("a batch answers with a list")?;
        for result in results {
            if let Some(errors) = result.pointer("/result/errors").filter(|e| !e.is_null()) {
                bail!("object {} was not taken: {errors}", result["id"]);
            }
        }
        if results.len() != objects.len() {
            bail!("a batch of {} objects was answered with {} results", objects.len(), results.len());
        }
        Ok(())
    }

    /// An object with its vector without a name, or `None`.
    pub async fn object(&self, document: &Document) -> anyhow::Result<Option<(Value, Vec<f32>)>> {
        Ok(self.stored(document).await?.map(|stored| (stored.properties, stored.vector)))
    }

    /// An object with all of its vectors, or `None`.
    pub async fn stored(&self, document: &Document) -> anyhow::Result<Option<Stored>> {
        let tenant = document.tenant.map_or_else(String::new, |t| format!("&tenant={t}"));
        let path = format!("/objects/{}/{}?include=vector{tenant}", document.collection, document.id);
        let (status, mut value) = self.call(Method::GET, &path, None).await?;
        match status {
            StatusCode::OK => Ok(Some(Stored {
                properties: value["properties"].take(),
                vector: or_empty(value["vector"].take())?,
                named: or_empty(value["vectors"].take())?,
            })),
            StatusCode::NOT_FOUND => Ok(None),
            other => bail!("GET {path} gave {other}: {value}"),
        }
    }

    /// The modules that the node has.
    pub async fn modules(&self) -> anyhow::Result<Vec<String>> {
        let meta = self.ok(Method::GET, "/meta", None).await?;
        Ok(meta["modules"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect())
    }

    /// Makes a tenant with a few objects and has the node move it off itself; `None` when the node says that it cannot,
    /// which leaves no tenant behind.
    pub async fn offload(&self, corpus: &Corpus, collection: &Collection) -> anyhow::Result<Option<()>> {
        let tenants = format!("/schema/{}/tenants", collection.name);
        self.ok(Method::POST, &tenants, Some(&json!([{"name": OFFLOADED_TENANT}]))).await?;
        let objects: Vec<Value> = (0..OFFLOADED_OBJECTS)
            .map(|n| Document { tenant: Some(OFFLOADED_TENANT), ..corpus.document(collection, n) })
            .map(|document| object(&document))
            .collect();
        self.write(&objects).await?;
        let away = json!([{"name": OFFLOADED_TENANT, "activityStatus": "OFFLOADED"}]);
        let (status, said) = self.call(Method::PUT, &tenants, Some(&away)).await?;
        if status.is_success() {
            return Ok(Some(()));
        }
        if status != StatusCode::UNPROCESSABLE_ENTITY || !said.to_string().contains("offload-s3 module is not enabled")
        {
            bail!("PUT {tenants} gave {status}: {said}");
        }
        self.ok(Method::DELETE, &tenants, Some(&json!([OFFLOADED_TENANT]))).await?;
        Ok(None)
    }

    /// Whether every loaded shard of each collection says that its vectors are compressed.
    pub async fn compressed(&self) -> anyhow::Result<BTreeMap<String, bool>> {
        let nodes = self.ok(Method::GET, "/nodes?output=verbose", None).await?;
        let mut compressed = BTreeMap::new();
        for shard in nodes["nodes"][0]["shards"].as_array().into_iter().flatten().filter(|s| s["loaded"] == true) {
            let class = shard["class"].as_str().unwrap_or_default().to_owned();
            *compressed.entry(class).or_insert(true) &= shard["compressed"] == true;
        }
        Ok(compressed)
    }

    /// The exact count by aggregation.
    pub async fn count(&self, collection: &str, tenant: Option<&str>) -> anyhow::Result<u64> {
        let tenant = tenant.map_or_else(String::new, |t| format!("(tenant: {})", json!(t)));
        let query = format!("{{ Aggregate {{ {collection}{tenant} {{ meta {{ count }} }} }} }}");
        let answer = self.ok(Method::POST, "/graphql", Some(&json!({"query": query}))).await?;
        if let Some(errors) = answer.get("errors").filter(|e| !e.is_null()) {
            bail!("counting {collection}{tenant}: {errors}");
        }
        let count = answer.pointer(&format!("/data/Aggregate/{collection}/0/meta/count"));
        count.and_then(Value::as_u64).with_context(|| format!("no count for {collection}{tenant} in {answer}"))
    }

    /// The exact counts of everything that can be counted, by collection or `collection/tenant`. A tenant that is
    /// INACTIVE is woken for it, counted, and put back: this is the demo's own database, not an operator's.
    pub async fn counts(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        for collection in self.data.collections() {
            if collection.tenants.is_empty() {
                counts.insert(collection.name.to_owned(), self.count(collection.name, None).await?);
                continue;
            }
            for (tenant, active) in collection.tenants {
                if !active {
                    self.set_status(collection, tenant, "ACTIVE").await?;
                }
                let count = self.count(collection.name, Some(tenant)).await?;
                counts.insert(format!("{}/{tenant}", collection.name), count);
                if !active {
                    self.set_status(collection, tenant, "INACTIVE").await?;
                }
            }
        }
        Ok(counts)
    }

    async fn set_status(&self, collection: &Collection, tenant: &str, status: &str) -> anyhow::Result<()> {
        let body = json!([{"name": tenant, "activityStatus": status}]);
        self.ok(Method::PUT, &format!("/schema/{}/tenants", collection.name), Some(&body)).await?;
        Ok(())
    }

    /// The activity status of each tenant, by `collection/tenant`.
    pub async fn tenant_statuses(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut statuses = BTreeMap::new();
        for collection in self.data.collections().iter().filter(|c| !c.tenants.is_empty()) {
            let tenants = self.ok(Method::GET, &format!("/schema/{}/tenants", collection.name), None).await?;
            for tenant in tenants.as_array().context("tenants are a list")? {
                let name = tenant["name"].as_str().unwrap_or_default();
                // Weaviate answers HOT and COLD to ACTIVE and INACTIVE.
                let status = match tenant["activityStatus"].as_str().unwrap_or_default() {
                    "HOT" | "ACTIVE" => "ACTIVE",
                    "COLD" | "INACTIVE" => "INACTIVE",
                    "FROZEN" | "OFFLOADED" => "OFFLOADED",
                    other => other,
                };
                statuses.insert(format!("{}/{name}", collection.name), status.to_owned());
            }
        }
        Ok(statuses)
    }
}

/// What is not there is empty.
fn or_empty<T: serde::de::DeserializeOwned + Default>(value: Value) -> anyhow::Result<T> {
    if value.is_null() { Ok(T::default()) } else { serde_json::from_value(value).context("reading a vector") }
}

fn object(document: &Document) -> Value {
    let mut object = json!({
        "class": document.collection,
        "id": document.id,
        "properties": document.properties,
    });
    if document.named.is_empty() {
        object["vector"] = json!(document.vector);
    } else {
        object["vectors"] = json!(document.named);
    }
    if let Some(tenant) = document.tenant {
        object["tenant"] = json!(tenant);
    }
    object
}
