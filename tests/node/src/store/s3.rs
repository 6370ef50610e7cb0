//! The `backup-s3` module: Weaviate's keys, its multipart habits, and its choice of headers.
//!
//! Chunks always go up in parts of 16 MiB, even a part of 1 KB; every body carries `Content-MD5`; no checksum header of
//! the newer kind is sent. An upload that is given up leaves its parts behind.

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::Builder as HttpBuilder;
use aws_smithy_http_client::tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use md5::{Digest, Md5};

use super::{BackupStore, Place, StoreError, join};
use crate::config::S3Settings;

const PART_BYTES: usize = 16 << 20;
const CONTENT_TYPE: &str = "application/octet-stream";

/// Backups in a bucket.
#[derive(Debug)]
pub(crate) struct S3Store {
    client: Client,
    bucket: String,
    path: String,
}

impl S3Store {
    /// Makes a client from the module's settings. Nothing is sent.
    pub(crate) fn new(settings: &S3Settings) -> Self {
        let scheme = if settings.use_ssl { "https" } else { "http" };
        let http = if settings.use_ssl {
            HttpBuilder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
        } else {
            HttpBuilder::new().build_http()
        };
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(settings.region.clone()))
            .endpoint_url(format!("{scheme}://{}", settings.endpoint))
            .force_path_style(!settings.endpoint.contains("amazonaws.com"))
            .http_client(http)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(10)
                    .with_initial_backoff(Duration::from_millis(200))
                    .with_max_backoff(Duration::from_secs(1)),
            )
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config = match &settings.keys {
            Some((key, secret, token)) => {
                config.credentials_provider(Credentials::new(key, secret, token.clone(), None, "environment"))
            }
            None => config.allow_no_auth(),
        };
        Self { client: Client::from_conf(config.build()), bucket: settings.bucket.clone(), path: settings.path.clone() }
    }

    fn bucket<'a>(&'a self, place: &'a Place) -> &'a str {
        if place.bucket.is_empty() { &self.bucket } else { &place.bucket }
    }

    fn key(&self, place: &Place, key: &str) -> String {
        join(&[if place.path.is_empty() { &self.path } else { &place.path }, key])
    }

    async fn upload_parts(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<(), String> {
        let upload = self
            .client
            .create_multipart_upload()
            .bucket(bucket)
            .key(key)
            .content_type(CONTENT_TYPE)
            .send()
            .await
            .map_err(|error| text(&error))?;
        let id = upload.upload_id().ok_or("no upload id in the answer")?.to_owned();
        let result = self.send_parts(bucket, key, &id, bytes).await;
        if result.is_err() {
            let aborted = self.client.abort_multipart_upload().bucket(bucket).key(key).upload_id(&id).send().await;
            if let Err(error) = aborted {
                eprintln!("lifeboat-node: parts of {key} stay behind: {}", text(&error));
            }
        }
        result
    }

    async fn send_parts(&self, bucket: &str, key: &str, id: &str, bytes: Vec<u8>) -> Result<(), String> {
        let mut parts = Vec::new();
        for (number, part) in (1..).zip(bytes.chunks(PART_BYTES)) {
            let sent = self
                .client
                .upload_part()
                .bucket(bucket)
                .key(key)
                .upload_id(id)
                .part_number(number)
                .content_md5(md5_of(part))
                .body(ByteStream::from(part.to_vec()))
                .send()
                .await
                .map_err(|error| text(&error))?;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
        }
        self.client
            .complete_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send()
            .await
            .map_err(|error| text(&error))?;
        Ok(())
    }
}

fn md5_of(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}

/// The server's own words where there are any, else the whole chain.
fn text<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    match (error.code(), error.message()) {
        (Some("AccessDenied"), None) => "Access Denied.".to_owned(),
        (_, Some(message)) => message.to_owned(),
        (Some(code), None) => code.to_owned(),
        (None, None) => DisplayErrorContext(error).to_string(),
    }
}

impl BackupStore for S3Store {
    fn home(&self, place: &Place, id: &str) -> String {
        format!("s3://{}", join(&[self.bucket(place), &self.key(place, id)]))
    }

    fn get<'a>(&'a self, place: &'a Place, key: &'a str) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        async move {
            let (bucket, key) = (self.bucket(place), self.key(place, key));
            let answer = self.client.get_object().bucket(bucket).key(&key).send().await.map_err(|error| {
                let missing = error.raw_response().is_some_and(|response| response.status().as_u16() == 404);
                if missing {
                    StoreError::NotFound(format!(
                        "get object contents from {bucket}:{key} not found {key}: {}",
                        text(&error)
                    ))
                } else {
                    StoreError::Failed(format!("get object contents from {bucket}:{key} {key}: {}", text(&error)))
                }
            })?;
            let body = answer.body.collect().await.map_err(|error| {
                StoreError::Failed(format!("get object contents from {bucket}:{key} {key}: {error}"))
            })?;
            Ok(body.to_vec())
        }
        .boxed()
    }

    fn put<'a>(&'a self, place: &'a Place, key: &'a str, bytes: Vec<u8>) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let (bucket, key) = (self.bucket(place), self.key(place, key));
            let sent = if bytes.len() > PART_BYTES {
                self.upload_parts(bucket, &key, bytes).await
            } else {
                self.client
                    .put_object()
                    .bucket(bucket)
                    .key(&key)
                    .content_type(CONTENT_TYPE)
                    .content_md5(md5_of(&bytes))
                    .body(ByteStream::from(bytes))
                    .send()
                    .await
                    .map(|_| ())
                    .map_err(|error| text(&error))
            };
            sent.map_err(|error| StoreError::Failed(format!("put object: {bucket}:{key}: {error}")))
        }
        .boxed()
    }

    fn put_chunk<'a>(
        &'a self,
        place: &'a Place,
        key: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let (bucket, key) = (self.bucket(place), self.key(place, key));
            let since = Instant::now();
            self.upload_parts(bucket, &key, bytes).await.map_err(|error| {
                let seconds = since.elapsed().as_secs_f64();
                StoreError::Failed(format!("write object \"{key}\" failed after {seconds} seconds with: {error}"))
            })
        }
        .boxed()
    }

    fn probe<'a>(&'a self, place: &'a Place, prefix: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let key = format!("{prefix}/access-check");
            self.put(place, &key, Vec::new())
                .await
                .map_err(|error| StoreError::Failed(format!("failed to access-check s3 backup module: {error}")))?;
            self.client.delete_object().bucket(self.bucket(place)).key(self.key(place, &key)).send().await.map_err(
                |error| StoreError::Failed(format!("failed to remove access-check s3 backup module: {}", text(&error))),
            )?;
            Ok(())
        }
        .boxed()
    }

    fn directories(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        async move {
            let prefix = if self.path.is_empty() { String::new() } else { format!("{}/", join(&[&self.path])) };
            let mut names = Vec::new();
            let mut pages = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&prefix)
                .delimiter("/")
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| StoreError::Failed(format!("list objects: {}", text(&error))))?;
                names.extend(page.common_prefixes().iter().filter_map(|common| {
                    let name = common.prefix()?.strip_prefix(&prefix)?.trim_end_matches('/');
                    Some(name.to_owned())
                }));
            }
            Ok(names)
        }
        .boxed()
    }
}
