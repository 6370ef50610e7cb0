//! The ports' contracts, kept by the product's adapters on the local stack: the same cases as the twins' and, for the
//! bucket, as any real S3's.

#[path = "../../../../shared/adapters/tests/bucket_calls/mod.rs"]
mod bucket_calls;

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context, Result};
use lifeboat_stack::{Functions, Node, Silent, Stack, StackOptions};
use lifeboat_workflows::twins::contract::{self, Report};
use serde_json::{Value, json};

use bucket_calls::{Ears, S3Place};

use crate::small::SOON;

/// What went to a queue, by way of `EventBridge`.
struct Queue<'s> {
    stack: &'s Stack,
    url: String,
    heard: Mutex<BTreeMap<String, String>>,
}

impl Queue<'_> {
    /// Takes what is there; whether there was anything.
    async fn take(&self) -> Result<bool> {
        let request = json!({"QueueUrl": self.url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0});
        let taken = self.stack.call("sqs", "receive_message", request).await??;
        let messages = taken["Messages"].as_array().cloned().unwrap_or_default();
        for message in &messages {
            let text = |name: &str| message[name].as_str().map(str::to_owned).context("a message");
            let event: Value = serde_json::from_str(&text("Body")?)?;
            let key = event["detail"]["object"]["key"].as_str().context("a key")?.to_owned();
            self.heard.lock().expect("nobody panics while holding it").insert(text("MessageId")?, key);
            let done = json!({"QueueUrl": self.url, "ReceiptHandle": text("ReceiptHandle")?});
            self.stack.call("sqs", "delete_message", done).await??;
        }
        Ok(!messages.is_empty())
    }

    async fn all(&self, prefix: &str, last: &str) -> Result<Vec<String>> {
        let below = || -> Vec<String> {
            let heard = self.heard.lock().expect("nobody panics while holding it");
            heard.values().filter(|key| key.starts_with(prefix)).cloned().collect()
        };
        self.stack
            .wait_for("the last event", SOON, || async {
                self.take().await?;
                Ok(below().iter().any(|key| key == last).then_some(()))
            })
            .await?;
        while self.take().await? {}
        Ok(below())
    }
}

impl Ears for Queue<'_> {
    fn can_tell(&self) -> std::result::Result<(), String> {
        Ok(())
    }
    async fn told(&self, prefix: &str, last: &str) -> Vec<String> {
        self.all(prefix, last).await.expect("the events can be read")
    }
}

/// A bucket whose events go to a queue.
async fn bucket<'s>(stack: &'s Stack, name: &str, versioned: bool) -> Result<Queue<'s>> {
    stack.call("s3", "create_bucket", json!({"Bucket": name})).await??;
    if versioned {
        let status = json!({"Bucket": name, "VersioningConfiguration": {"Status": "Enabled"}});
        stack.call("s3", "put_bucket_versioning", status).await??;
    }
    let tells = json!({"Bucket": name, "NotificationConfiguration": {"EventBridgeConfiguration": {}}});
    stack.call("s3", "put_bucket_notification_configuration", tells).await??;
    let made = stack.call("sqs", "create_queue", json!({"QueueName": format!("{name}-events")})).await??;
    let url = made["QueueUrl"].as_str().context("a queue's url")?.to_owned();
    let below = json!({"bucket": {"name": [name]}, "object": {"key": [{"prefix": "contract/events/"}]}});
    let pattern = json!({"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": below});
    stack.call("events", "put_rule", json!({"Name": name, "EventPattern": pattern.to_string()})).await??;
    let arn = format!("arn:aws:sqs:{}:{}:{name}-events", lifeboat_stack::REGION, lifeboat_stack::ACCOUNT);
    stack.call("events", "put_targets", json!({"Rule": name, "Targets": [{"Id": "1", "Arn": arn}]})).await??;
    Ok(Queue { stack, url, heard: Mutex::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_s3_adapter_keeps_the_contract_of_the_bucket_on_the_local_stack() -> Result<()> {
    let functions = Functions::Given([].into());
    let options = StackOptions { functions, node: Node::None, name: "contract".to_owned(), ..StackOptions::default() };
    let stack = Stack::start_empty(options, &Silent).await?;
    for (name, versioned) in [("contract-versioned", true), ("contract-plain", false)] {
        let ears = bucket(&stack, name, versioned).await?;
        let place = S3Place::new(stack.sdk_config().await, name, ears).await;
        let mut report = Report::new(format!("the local stack, {name}"), &[]);
        contract::bucket::play(&place, "contract/", &mut report).await;
        report.say();
        report.assert_kept();
    }
    Ok(())
}
