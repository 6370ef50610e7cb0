//! Sending a request and reading its reply within bounds.

use std::sync::Once;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use tokio::sync::Mutex;

use lifeboat_workflows::ports::node::NodeError;

use super::KeySource;
use super::reply::Reply;
use super::request::{Method, Request};
use crate::aws::Secret;
use crate::logging::chain;

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(3);

/// What sends. It keeps no connection, follows no redirect and goes through no proxy: the key is for the node alone.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    client: reqwest::Client,
}

impl Connection {
    pub(super) fn new() -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Refused only when another part of the process installed one first, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(0)
            .redirect(Policy::none())
            .no_proxy()
            // Nodes are asked over plain HTTP inside the VPC, so no certificate store has to be found and read.
            .tls_certs_only([])
            .build()
            .expect("a client without certificates, proxies and files always builds");
        Self { client }
    }

    pub(super) async fn send(&self, base: &str, request: &Request, key: Option<&Secret>) -> Result<Reply, NodeError> {
        let url = format!("{base}{}", request.path);
        let mut sending = match request.method {
            Method::Get => self.client.get(url),
            Method::Post => self.client.post(url),
            Method::Delete => self.client.delete(url),
        }
        .timeout(request.timeout);
        if let Some(key) = key {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()))
                .map_err(|_| request.unknown("the operator key has characters that no header can carry"))?;
            bearer.set_sensitive(true);
            sending = sending.header(AUTHORIZATION, bearer);
        }
        if let Some(body) = &request.body {
            sending = sending.json(body);
        }
        let mut response = sending.send().await.map_err(|e| request.unknown(chain(&e)))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|e| request.unknown(chain(&e)))? {
            if body.len() + part.len() > request.limit_bytes {
                return Err(request.unknown(format!("the reply ({status}) is over {} bytes", request.limit_bytes)));
            }
            body.extend_from_slice(&part);
        }
        Ok(Reply { status, body })
    }
}

/// The operator's key, read from its source when it is first used and again when Weaviate refuses it.
#[derive(Debug)]
pub(super) struct KeyCache<K> {
    source: K,
    pub(super) cached: Mutex<Option<Secret>>,
}

impl<K: KeySource> KeyCache<K> {
    pub(super) fn new(source: K) -> Self {
        Self { source, cached: Mutex::new(None) }
    }

    pub(super) async fn get(&self, request: &Request) -> Result<Secret, NodeError> {
        let mut cached = self.cached.lock().await;
        if let Some(key) = cached.as_ref() {
            return Ok(key.clone());
        }
        let key = self.read(request).await?;
        *cached = Some(key.clone());
        Ok(key)
    }

    /// The key instead of one that was refused; `None` when the source still has the same.
    pub(super) async fn replacement(&self, request: &Request, refused: &Secret) -> Result<Option<Secret>, NodeError> {
        let mut cached = self.cached.lock().await;
        if let Some(newer) = cached.as_ref().filter(|key| *key != refused) {
            return Ok(Some(newer.clone()));
        }
        let key = self.read(request).await?;
        *cached = Some(key.clone());
        Ok(Some(key).filter(|key| key != refused))
    }

    async fn read(&self, request: &Request) -> Result<Secret, NodeError> {
        let key = self.source.key().await;
        key.map_err(|fault| request.unknown(format!("the operator key cannot be read: {}", chain(&fault))))
    }
}
