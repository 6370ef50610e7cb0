//! The bucket, seen and changed behind the server's back.

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use serde_json::Value;

/// A bucket and the path below which the server keeps its backups.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    client: Client,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
}

/// How to reach an S3 endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) endpoint: String,
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl Store {
    pub(crate) fn new(access: &Access, bucket: &str, prefix: &str) -> Self {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .endpoint_url(&access.endpoint)
            .force_path_style(true)
            .credentials_provider(Credentials::new(&access.key, &access.secret, None, None, "lifeboat-contract"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        Self { client: Client::from_conf(config), bucket: bucket.to_owned(), prefix: prefix.to_owned() }
    }

    /// Makes the bucket, if it is not there.
    pub(crate) async fn make_bucket(&self) -> Result<()> {
        if self.client.head_bucket().bucket(&self.bucket).send().await.is_err() {
            self.client.create_bucket().bucket(&self.bucket).send().await.context("make the bucket")?;
        }
        Ok(())
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.prefix)
    }

    /// Keys below the path that begin with this, sorted.
    pub(crate) async fn list(&self, begin: &str) -> Result<Vec<String>> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(self.key(begin));
        let listed = request.send().await.with_context(|| format!("list {begin}"))?;
        let own = format!("{}/", self.prefix);
        Ok(listed.contents().iter().filter_map(|o| Some(o.key()?.strip_prefix(&own)?.to_owned())).collect())
    }

    /// An object.
    pub(crate) async fn get(&self, key: &str) -> Result<Vec<u8>> {
        let request = self.client.get_object().bucket(&self.bucket).key(self.key(key));
        let object = request.send().await.with_context(|| format!("read {key}"))?;
        Ok(object.body.collect().await?.into_bytes().to_vec())
    }

    /// An object that is JSON.
    pub(crate) async fn json(&self, key: &str) -> Result<Value> {
        serde_json::from_slice(&self.get(key).await?).with_context(|| format!("parse {key}"))
    }

    /// Its ETag without quotes, and its content type.
    pub(crate) async fn head(&self, key: &str) -> Result<(String, String)> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.key(key));
        let head = request.send().await.with_context(|| format!("look at {key}"))?;
        let etag = head.e_tag().unwrap_or_default().trim_matches('"').to_owned();
        Ok((etag, head.content_type().unwrap_or_default().to_owned()))
    }

    /// Writes an object.
    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let request = self.client.put_object().bucket(&self.bucket).key(self.key(key)).body(bytes.into());
        request.send().await.with_context(|| format!("write {key}"))?;
        Ok(())
    }

    /// Changes a field of an object that is JSON.
    pub(crate) async fn set(&self, key: &str, field: &str, value: Value) -> Result<()> {
        let mut document = self.json(key).await?;
        document[field] = value;
        self.put(key, document.to_string().into_bytes()).await
    }

    /// Removes an object.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let request = self.client.delete_object().bucket(&self.bucket).key(self.key(key));
        request.send().await.with_context(|| format!("remove {key}"))?;
        Ok(())
    }
}
