//! A stack with `small.yaml` deployed and a function that answers with what it was given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use lifeboat_stack::{Functions, Instance, Node, Silent, Stack, StackOptions};
use serde_json::{Value, json};

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name)
}

pub(crate) fn options() -> StackOptions {
    StackOptions {
        template: file("small.yaml"),
        name: "small".to_owned(),
        functions: Functions::Given(BTreeMap::from([("echo".to_owned(), file("echo-bootstrap"))])),
        node: Node::None,
        ..StackOptions::default()
    }
}

/// The group starts empty and scheduled ticks are off, so that a test sees only what it causes.
pub(crate) async fn stack() -> Result<Stack> {
    Stack::start(options().parameter("DesiredCapacity", "0").knob("schedules", false), &Silent).await
}

pub(crate) async fn grow(stack: &Stack, capacity: u32) -> Result<()> {
    let group = stack.output("GroupName")?;
    stack
        .call(
            "autoscaling",
            "set_desired_capacity",
            json!({"AutoScalingGroupName": group, "DesiredCapacity": capacity}),
        )
        .await??;
    Ok(())
}

/// The only instance in this lifecycle state (and not among `but`), once there is one.
pub(crate) async fn instance_in(stack: &Stack, lifecycle: &str, but: &[&str]) -> Result<Instance> {
    let what = format!("an instance in {lifecycle}");
    stack
        .wait_for(&what, SOON, || async {
            let found = stack.instances().await?;
            Ok(found
                .into_iter()
                .find(|i| i.lifecycle.as_deref() == Some(lifecycle) && !but.contains(&i.instance.as_str())))
        })
        .await
}

/// An instance in service whose SSM agent answers.
pub(crate) async fn serving(stack: &Stack) -> Result<Instance> {
    grow(stack, 1).await?;
    let instance = instance_in(stack, "Pending:Wait", &[]).await?;
    complete(stack, "launch", &instance.instance, "CONTINUE").await??;
    stack
        .wait_for("the agent", SOON, || async {
            let now = stack.instance(&instance.instance).await?;
            Ok((now.agent && now.lifecycle.as_deref() == Some("InService")).then_some(now))
        })
        .await
}

pub(crate) async fn complete(
    stack: &Stack,
    hook: &str,
    instance: &str,
    result: &str,
) -> Result<std::result::Result<Value, lifeboat_stack::ApiError>> {
    let group = stack.output("GroupName")?;
    let request = json!({
        "AutoScalingGroupName": group, "LifecycleHookName": hook, "InstanceId": instance, "LifecycleActionResult": result});
    stack.call("autoscaling", "complete_lifecycle_action", request).await
}

/// The function's events so far: one JSON value per invocation that it printed.
pub(crate) fn events(stack: &Stack) -> Result<Vec<Value>> {
    let log = stack.function_log(stack.output("EchoFunctionName")?);
    log.lines()
        .filter_map(|line| line.strip_prefix("got "))
        .map(|text| serde_json::from_str(text).context("event"))
        .collect()
}
