//! A queue that hears what `EventBridge` matches.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use lifeboat_stack::Stack;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::bucket_calls::Ears;
use crate::small::SOON;

/// What went to a queue by way of a rule, each event once however often the queue gives it.
pub(super) struct Queue<'s> {
    stack: &'s Stack,
    url: String,
    heard: Mutex<BTreeMap<String, Value>>,
}

impl<'s> Queue<'s> {
    /// A queue for what matches the pattern from now on.
    pub(super) async fn listening(stack: &'s Stack, name: &str, pattern: &Value) -> Result<Self> {
        let made = stack.call("sqs", "create_queue", json!({"QueueName": format!("{name}-events")})).await??;
        let url = made["QueueUrl"].as_str().context("a queue's url")?.to_owned();
        stack.call("events", "put_rule", json!({"Name": name, "EventPattern": pattern.to_string()})).await??;
        let arn = format!("arn:aws:sqs:{}:{}:{name}-events", lifeboat_stack::REGION, lifeboat_stack::ACCOUNT);
        stack.call("events", "put_targets", json!({"Rule": name, "Targets": [{"Id": "1", "Arn": arn}]})).await??;
        Ok(Self { stack, url, heard: Mutex::default() })
    }

    /// Every event so far.
    pub(super) async fn events(&self) -> Result<Vec<Value>> {
        let mut heard = self.heard.lock().await;
        loop {
            let request = json!({"QueueUrl": self.url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0});
            let taken = self.stack.call("sqs", "receive_message", request).await??;
            let messages = taken["Messages"].as_array().cloned().unwrap_or_default();
            if messages.is_empty() {
                return Ok(heard.values().cloned().collect());
            }
            for message in &messages {
                let text = |name: &str| message[name].as_str().map(str::to_owned).context("a message");
                heard.insert(text("MessageId")?, serde_json::from_str(&text("Body")?)?);
                let done = json!({"QueueUrl": self.url, "ReceiptHandle": text("ReceiptHandle")?});
                self.stack.call("sqs", "delete_message", done).await??;
            }
        }
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let key = |event: &Value| event["detail"]["object"]["key"].as_str().map(str::to_owned);
        Ok(self.events().await?.iter().filter_map(key).filter(|key| key.starts_with(prefix)).collect())
    }
}

impl Ears for Queue<'_> {
    fn can_tell(&self) -> std::result::Result<(), String> {
        Ok(())
    }
    async fn told(&self, prefix: &str, last: &str) -> Vec<String> {
        let look = || async { Ok(self.keys(prefix).await?.iter().any(|key| key == last).then_some(())) };
        self.stack.wait_for("the last event", SOON, look).await.expect("it is told");
        self.keys(prefix).await.expect("the events can be read")
    }
}
