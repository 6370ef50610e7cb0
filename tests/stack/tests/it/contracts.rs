//! The ports' contracts, kept by the product's adapters on the local stack: the same cases as the twins' and, for the
//! bucket, as any real S3's.

#[path = "../../../../shared/adapters/tests/bucket_calls/mod.rs"]
mod bucket_calls;
mod cluster;
mod queue;

use anyhow::Result;
use lifeboat_stack::{Functions, Node, Silent, Stack, StackOptions};
use lifeboat_workflows::twins::contract::{self, Report};
use serde_json::json;

use bucket_calls::S3Place;
use queue::Queue;

/// A bucket whose events go to a queue.
async fn bucket<'s>(stack: &'s Stack, name: &str, versioned: bool) -> Result<Queue<'s>> {
    stack.call("s3", "create_bucket", json!({"Bucket": name})).await??;
    if versioned {
        let status = json!({"Bucket": name, "VersioningConfiguration": {"Status": "Enabled"}});
        stack.call("s3", "put_bucket_versioning", status).await??;
    }
    let tells = json!({"Bucket": name, "NotificationConfiguration": {"EventBridgeConfiguration": {}}});
    stack.call("s3", "put_bucket_notification_configuration", tells).await??;
    let below = json!({"bucket": {"name": [name]}, "object": {"key": [{"prefix": "contract/events/"}]}});
    let pattern = json!({"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": below});
    Queue::listening(stack, name, &pattern).await
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
