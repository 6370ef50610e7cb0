//! The S3 adapter as a place of the bucket's contract, for an endpoint given by configuration. Shared by the test that
//! asks any S3 and the one that asks the local stack.

pub(crate) mod proxy;

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeSerializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsInput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Input;
use aws_sdk_s3::types::{BucketVersioningStatus, CompletedMultipartUpload, CompletedPart};
use lifeboat_adapters::aws::S3Bucket;
use lifeboat_workflows::twins::contract::bucket::{ATTEMPTS, Place, Trouble};

use proxy::{Other, Proxy};

/// Whoever hears the store's events.
pub(crate) trait Ears: Sync {
    /// Whether there are any; if not, why.
    fn can_tell(&self) -> Result<(), String>;
    /// As [`Place::told`].
    fn told(&self, prefix: &str, last: &str) -> impl Future<Output = Vec<String>> + Send;
}

/// Nobody, with the reason.
#[allow(dead_code, reason = "the stack hears its events")]
pub(crate) struct Deaf(pub(crate) &'static str);

impl Ears for Deaf {
    fn can_tell(&self) -> Result<(), String> {
        Err(self.0.to_owned())
    }
    async fn told(&self, _: &str, _: &str) -> Vec<String> {
        Vec::new()
    }
}

/// A bucket of an S3, with the adapter of the product.
pub(crate) struct S3Place<E> {
    config: SdkConfig,
    client: Client,
    bucket: String,
    versioned: bool,
    page: Arc<AtomicI32>,
    ears: E,
    proxies: Mutex<Vec<Proxy>>,
}

/// Asks for smaller pages than the adapter does.
#[derive(Debug)]
struct SmallPages(Arc<AtomicI32>);

impl Intercept for SmallPages {
    fn name(&self) -> &'static str {
        "small pages"
    }
    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let page = Some(self.0.load(Ordering::SeqCst)).filter(|n| *n > 0);
        if let Some(page) = page {
            if let Some(input) = context.input_mut().downcast_mut::<ListObjectsV2Input>() {
                input.max_keys = Some(page);
            } else if let Some(input) = context.input_mut().downcast_mut::<ListObjectVersionsInput>() {
                input.max_keys = Some(page);
            }
        }
        Ok(())
    }
}

impl<E: Ears> S3Place<E> {
    /// A bucket; whether it has versions is asked of it.
    pub(crate) async fn new(config: SdkConfig, bucket: &str, ears: E) -> Self {
        let quick = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(Duration::from_millis(10));
        let config = config.into_builder().retry_config(quick).build();
        let page = Arc::new(AtomicI32::new(0));
        let client = client(&config, &page, None);
        let versioning = client.get_bucket_versioning().bucket(bucket).send().await.expect("the bucket is there");
        let versioned = versioning.status() == Some(&BucketVersioningStatus::Enabled);
        Self { config, client, bucket: bucket.to_owned(), versioned, page, ears, proxies: Mutex::default() }
    }
}

fn client(config: &SdkConfig, page: &Arc<AtomicI32>, through: Option<&Proxy>) -> Client {
    let mut builder = aws_sdk_s3::config::Builder::from(config).interceptor(SmallPages(Arc::clone(page)));
    if let Some(proxy) = through {
        // Of the client, not of the configuration: there an endpoint of the environment would win.
        builder = builder.endpoint_url(format!("http://{}", proxy.address));
    }
    Client::from_conf(builder.build())
}

impl<E: Ears> Place for S3Place<E> {
    type Bucket = S3Bucket;

    fn writer(&self) -> S3Bucket {
        S3Bucket::new(self.client.clone(), &self.bucket)
    }
    fn versioned(&self) -> bool {
        self.versioned
    }
    fn page_size(&self, entries: Option<usize>) {
        let entries = entries.map_or(0, |n| i32::try_from(n).expect("small"));
        self.page.store(entries, Ordering::SeqCst);
    }
    fn can_trouble(&self) -> Result<(), String> {
        match self.config.endpoint_url() {
            Some(url) if url.starts_with("http://") => Ok(()),
            _ => Err("replies are cut by a proxy that reads plain HTTP, and this endpoint has TLS".to_owned()),
        }
    }
    async fn troubled(&self, trouble: Trouble) -> S3Bucket {
        let url = self.config.endpoint_url().expect("asked before");
        let upstream = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let other = Other { client: self.client.clone(), bucket: self.bucket.clone() };
        let proxy = Proxy::start(&upstream, trouble, |head| head.starts_with("PUT "), Some(other)).await;
        let client = client(&self.config, &self.page, Some(&proxy));
        self.proxies.lock().expect("nobody panics while holding it").push(proxy);
        S3Bucket::new(client, &self.bucket)
    }
    async fn overwrite(&self, key: &str, body: Vec<u8>) {
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(body.into());
        put.send().await.expect("the store takes it");
    }
    async fn upload(&self, key: &str, parts: Vec<Vec<u8>>) -> String {
        let (client, bucket) = (&self.client, &self.bucket);
        let begun = client.create_multipart_upload().bucket(bucket).key(key).send().await.expect("an upload begins");
        let id = begun.upload_id().expect("an upload has an id");
        let mut done = Vec::new();
        for (number, part) in (1..).zip(parts) {
            let upload = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
            let reply = upload.body(part.into()).send().await.expect("a part is taken");
            let etag = reply.e_tag().expect("a part has an ETag");
            let crc = reply.checksum_crc32().map(str::to_owned);
            done.push(CompletedPart::builder().part_number(number).e_tag(etag).set_checksum_crc32(crc).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(done)).build();
        let complete = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
        let reply = complete.multipart_upload(parts).send().await.expect("the upload is completed");
        reply.e_tag().expect("an object has an ETag").to_owned()
    }
    async fn delete(&self, key: &str) {
        self.client.delete_object().bucket(&self.bucket).key(key).send().await.expect("the store takes it");
    }
    async fn delete_version(&self, key: &str, version_id: &str) {
        let delete = self.client.delete_object().bucket(&self.bucket).key(key).version_id(version_id);
        delete.send().await.expect("the store takes it");
    }
    fn can_tell(&self) -> Result<(), String> {
        self.ears.can_tell()
    }
    async fn told(&self, prefix: &str, last: &str) -> Vec<String> {
        self.ears.told(prefix, last).await
    }
}
