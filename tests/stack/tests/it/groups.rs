//! Auto Scaling: hooks that wait, answers, timeouts, retention, and replacements that run beside what they replace.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::small::{SOON, complete, events, grow, instance_in, serving, stack};
use lifeboat_stack::Stack;

async fn group(stack: &Stack) -> Result<Value> {
    let name = stack.output("GroupName")?;
    let mut found =
        stack.call("autoscaling", "describe_auto_scaling_groups", json!({"AutoScalingGroupNames": [name]})).await??;
    Ok(found["AutoScalingGroups"][0].take())
}

/// The function's lifecycle events for an instance and a transition.
fn told(stack: &Stack, instance: &str, transition: &str) -> Result<Vec<Value>> {
    let wanted = format!("autoscaling:EC2_INSTANCE_{transition}");
    let of =
        |e: &Value| e["detail"]["EC2InstanceId"] == instance && e["detail"]["LifecycleTransition"] == wanted.as_str();
    Ok(events(stack)?.into_iter().filter(of).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_instance_waits_under_its_launch_hook_until_it_is_let_in() -> Result<()> {
    let stack = stack().await?;
    grow(&stack, 1).await?;
    let instance = instance_in(&stack, "Pending:Wait", &[]).await?;
    let event = stack
        .wait_for("the hook's event", SOON, || async { Ok(told(&stack, &instance.instance, "LAUNCHING")?.pop()) })
        .await?;
    assert_eq!(event["detail-type"], "EC2 Instance-launch Lifecycle Action");
    let token = event["detail"]["LifecycleActionToken"].as_str().context("token")?;
    let beat = json!({"AutoScalingGroupName": stack.output("GroupName")?, "LifecycleHookName": "launch", "LifecycleActionToken": token});
    stack.call("autoscaling", "record_lifecycle_action_heartbeat", beat.clone()).await??;

    complete(&stack, "launch", &instance.instance, "CONTINUE").await??;
    instance_in(&stack, "InService", &[]).await?;
    let again = complete(&stack, "launch", &instance.instance, "CONTINUE").await?.err().context("answered twice")?;
    assert_eq!(again.code, "ValidationError");
    assert!(
        again.message.contains(&format!("No active Lifecycle Action found with instance ID {}", instance.instance)),
        "{again}"
    );
    let late =
        stack.call("autoscaling", "record_lifecycle_action_heartbeat", beat).await?.err().context("late beat")?;
    assert!(late.message.contains(&format!("No active Lifecycle Action found with token {token}")), "{late}");

    let ec2 = stack.call("ec2", "describe_instances", json!({"InstanceIds": [instance.instance]})).await??;
    let ec2 = &ec2["Reservations"][0]["Instances"][0];
    assert_eq!((&ec2["InstanceType"], &ec2["ImageId"]), (&json!("c8gd.xlarge"), &json!("ami-12345678")));
    let tags: Vec<_> =
        ec2["Tags"].as_array().context("tags")?.iter().map(|t| (t["Key"].clone(), t["Value"].clone())).collect();
    for (key, value) in [("from", "template"), ("Role", "weaviate"), ("aws:autoscaling:groupName", "small-weaviate")] {
        assert!(tags.contains(&(json!(key), json!(value))), "{tags:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_launch_is_terminated_and_replaced() -> Result<()> {
    let stack = stack().await?;
    grow(&stack, 1).await?;
    let first = instance_in(&stack, "Pending:Wait", &[]).await?;
    complete(&stack, "launch", &first.instance, "ABANDON").await??;
    let second = instance_in(&stack, "Pending:Wait", &[&first.instance]).await?;
    assert_ne!(second.address, first.address);
    // The failed one is under the terminate hook meanwhile.
    assert_eq!(stack.instance(&first.instance).await?.lifecycle.as_deref(), Some("Terminating:Wait"));
    complete(&stack, "terminate", &first.instance, "CONTINUE").await??;
    stack
        .wait_for("its end", SOON, || async {
            let now = stack.instance(&first.instance).await?;
            Ok((now.state == "terminated" && now.lifecycle.is_none()).then_some(()))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_starts_while_its_predecessor_is_still_under_the_terminate_hook() -> Result<()> {
    let stack = stack().await?;
    let old = serving(&stack).await?;
    stack
        .call("autoscaling", "set_instance_health", json!({"InstanceId": old.instance, "HealthStatus": "Unhealthy"}))
        .await??;
    let new = instance_in(&stack, "Pending:Wait", &[]).await?;
    assert_eq!(stack.instance(&old.instance).await?.lifecycle.as_deref(), Some("Terminating:Wait"));
    assert_eq!(stack.instance(&old.instance).await?.state, "running");
    stack
        .wait_for("both hooks' events", SOON, || async {
            Ok((told(&stack, &old.instance, "TERMINATING")?.len() + told(&stack, &new.instance, "LAUNCHING")?.len()
                == 2)
                .then_some(()))
        })
        .await?;
    complete(&stack, "launch", &new.instance, "CONTINUE").await??;
    complete(&stack, "terminate", &old.instance, "CONTINUE").await??;
    stack
        .wait_for("one instance", SOON, || async {
            Ok((group(&stack).await?["Instances"].as_array().map(Vec::len) == Some(1)).then_some(()))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_an_instance_is_noticed_and_answered() -> Result<()> {
    let stack = stack().await?;
    let old = serving(&stack).await?;
    stack.kill_instance(&old.instance).await?;
    instance_in(&stack, "Pending:Wait", &[]).await?;
    let dead = stack.instance(&old.instance).await?;
    assert_eq!(dead.lifecycle.as_deref(), Some("Terminating:Wait"));
    assert_eq!(dead.state, "terminated");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_terminate_hook_retains_the_instance_until_a_person_lets_it_go() -> Result<()> {
    let stack = stack().await?;
    let old = serving(&stack).await?;
    let request = json!({"InstanceId": old.instance, "ShouldDecrementDesiredCapacity": false});
    stack.call("autoscaling", "terminate_instance_in_auto_scaling_group", request.clone()).await??;
    instance_in(&stack, "Terminating:Wait", &[]).await?;
    complete(&stack, "terminate", &old.instance, "ABANDON").await??;
    let kept = instance_in(&stack, "Terminating:Retained", &[]).await?;
    assert_eq!((kept.instance.as_str(), kept.state.as_str()), (old.instance.as_str(), "running"));
    stack.call("autoscaling", "terminate_instance_in_auto_scaling_group", request).await??;
    stack
        .wait_for("its end", SOON, || async {
            Ok((stack.instance(&old.instance).await?.state == "terminated").then_some(()))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_hook_ends_by_its_default() -> Result<()> {
    let mut stack = stack().await?;
    stack.set_parameter("Heartbeat", "30");
    stack.set_parameter("DesiredCapacity", "1");
    stack.set_knobs(json!({"second_ms": 20})).await?; // 30 s of heartbeat in 600 ms
    stack.deploy().await?;
    let first = instance_in(&stack, "Pending:Wait", &[]).await?;
    let second = instance_in(&stack, "Pending:Wait", &[&first.instance]).await?;
    stack
        .wait_for("retention by timeout", SOON, || async {
            let now = stack.instance(&first.instance).await?;
            Ok((now.lifecycle.as_deref() == Some("Terminating:Retained")).then_some(()))
        })
        .await?;
    assert_ne!(first.instance, second.instance);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_launch_process_starts_nothing_and_is_listed() -> Result<()> {
    let stack = stack().await?;
    let name = stack.output("GroupName")?;
    let processes = json!({"AutoScalingGroupName": name, "ScalingProcesses": ["Launch"]});
    stack.call("autoscaling", "suspend_processes", processes.clone()).await??;
    assert_eq!(group(&stack).await?["SuspendedProcesses"][0]["ProcessName"], "Launch");
    grow(&stack, 1).await?;
    tokio::time::sleep(std::time::Duration::from_millis(800)).await;
    assert!(stack.instances().await?.is_empty());
    stack.call("autoscaling", "resume_processes", processes).await??;
    instance_in(&stack, "Pending:Wait", &[]).await?;
    assert_eq!(group(&stack).await?["SuspendedProcesses"], json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_sdk_reads_every_shape_that_the_bridge_answers() -> Result<()> {
    let stack = stack().await?;
    let instance = serving(&stack).await?;
    let client = aws_sdk_autoscaling::Client::new(&stack.sdk_config().await);
    let name = stack.output("GroupName")?;
    let groups = client.describe_auto_scaling_groups().auto_scaling_group_names(name).send().await?;
    let found = groups.auto_scaling_groups().first().context("group")?;
    assert_eq!(found.desired_capacity(), Some(1));
    let member = found.instances().first().context("member")?;
    assert_eq!(member.lifecycle_state().map(|s| s.as_str().to_owned()).as_deref(), Some("InService"));
    let instances = client.describe_auto_scaling_instances().instance_ids(&instance.instance).send().await?;
    assert_eq!(instances.auto_scaling_instances()[0].auto_scaling_group_name(), Some(name));
    let activities = client.describe_scaling_activities().auto_scaling_group_name(name).send().await?;
    assert!(!activities.activities().is_empty());
    let refused = client
        .complete_lifecycle_action()
        .auto_scaling_group_name(name)
        .lifecycle_hook_name("launch")
        .lifecycle_action_result("CONTINUE")
        .instance_id(&instance.instance)
        .send()
        .await
        .err()
        .context("answered twice")?;
    let refused = aws_sdk_autoscaling::error::ProvideErrorMetadata::code(&refused).map(str::to_owned);
    assert_eq!(refused.as_deref(), Some("ValidationError"));
    Ok(())
}
