//! Reading the bucket as anybody with read rights would.

use anyhow::Context as _;
use aws_sdk_s3::Client;
use lifeboat_domain::document::{Document, decode};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::restore::run::ClosedRestore;
use lifeboat_stack::Stack;

/// The bucket's documents.
#[derive(Debug, Clone)]
pub struct Reader {
    s3: Client,
    bucket: String,
}

impl Reader {
    /// A reader of the bucket that the stack's template made.
    ///
    /// # Errors
    /// When the template has no such output.
    pub async fn new(stack: &Stack) -> anyhow::Result<Self> {
        Ok(Self { s3: Client::new(&stack.sdk_config().await), bucket: stack.output("BucketName")?.to_owned() })
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// An object's bytes, or `None`.
    pub async fn bytes(&self, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        match self.s3.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => Ok(Some(object.body.collect().await?.to_vec())),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {key}")),
        }
    }

    /// A document, or `None`.
    pub async fn document<T: Document>(&self, key: &Key) -> anyhow::Result<Option<T>> {
        let key = key.to_string();
        let Some(bytes) = self.bytes(&key).await? else { return Ok(None) };
        Ok(Some(decode(&key, &bytes)?))
    }

    /// Writes an object, whatever is there.
    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> anyhow::Result<()> {
        let body = body.into().into();
        self.s3
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(body)
            .send()
            .await
            .with_context(|| format!("writing {key}"))?;
        Ok(())
    }

    /// Deletes an object: a delete marker hides it.
    pub async fn delete(&self, key: &str) -> anyhow::Result<()> {
        self.s3
            .delete_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await
            .with_context(|| format!("deleting {key}"))?;
        Ok(())
    }

    /// Destroys one version of an object, as only break-glass may.
    pub async fn destroy(&self, key: &str, version_id: Option<&str>) -> anyhow::Result<()> {
        let request =
            self.s3.delete_object().bucket(&self.bucket).key(key).set_version_id(version_id.map(str::to_owned));
        request.send().await.with_context(|| format!("destroying the verified version of {key}"))?;
        Ok(())
    }

    /// The keys below a prefix, at most 1,000.
    pub async fn keys(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let page = self.s3.list_objects_v2().bucket(&self.bucket).prefix(prefix).send().await?;
        Ok(page.contents().iter().filter_map(|o| o.key().map(str::to_owned)).collect())
    }

    /// The instances whose runs of drive-restore are closed.
    pub async fn restored_instances(&self) -> anyhow::Result<Vec<String>> {
        let keys = self.keys("runs/drive-restore/done/").await?;
        Ok(keys
            .iter()
            .filter_map(|key| match Key::parse(key) {
                Some(Key::DoneRun(Function::DriveRestore, _, instance)) => Some(instance),
                _ => None,
            })
            .collect())
    }

    /// Every key of its first 1,000 with its ETag.
    pub async fn etags(&self) -> anyhow::Result<Vec<(String, String)>> {
        let page = self.s3.list_objects_v2().bucket(&self.bucket).send().await?;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Ok(page.contents().iter().map(|o| (text(o.key()), text(o.e_tag()))).collect())
    }

    /// The closed restore of an instance, or `None`.
    pub async fn closed_restore(&self, instance: &str) -> anyhow::Result<Option<ClosedRestore>> {
        for key in self.keys("runs/drive-restore/done/").await? {
            if let Some(key @ Key::DoneRun(Function::DriveRestore, _, _)) = Key::parse(&key)
                && matches!(&key, Key::DoneRun(_, _, id) if id == instance)
            {
                return self.document(&key).await;
            }
        }
        Ok(None)
    }
}
