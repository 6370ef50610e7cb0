//! Deploying, invoking, and ending without a trace.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::small::{SOON, events, instance_in, options, stack};
use lifeboat_stack::{Silent, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn a_sam_template_with_every_kind_of_resource_we_use_deploys() -> Result<()> {
    let stack = stack().await?;
    for logical_id in ["Address", "OnceDocument", "ReadAddressDocument", "ReadIngress", "Group", "EchoFunction"] {
        stack.resource(logical_id)?;
    }
    let described = stack.call("ec2", "describe_network_interfaces", json!({})).await??;
    let address = &described["NetworkInterfaces"][0];
    assert_eq!(address["PrivateIpAddress"], stack.fixed_address());
    assert_eq!(address["Status"], "available");
    assert_eq!(address["Groups"][0]["GroupId"], stack.output("ReadGroup")?);
    let hooks = stack
        .call("autoscaling", "describe_lifecycle_hooks", json!({"AutoScalingGroupName": stack.output("GroupName")?}))
        .await??;
    let names: Vec<_> =
        hooks["LifecycleHooks"].as_array().context("hooks")?.iter().map(|h| h["LifecycleHookName"].clone()).collect();
    assert_eq!(names, ["launch", "terminate"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_sees_its_own_environment_and_nothing_of_the_hosts() -> Result<()> {
    let stack = stack().await?;
    let answer = stack.invoke(stack.output("EchoFunctionName")?, &json!({"a": 1})).await?;
    assert_eq!(answer.function_error, None);
    assert_eq!(answer.payload["event"]["a"], 1);
    assert_eq!(answer.payload["greeting"], "hello");
    assert_eq!(answer.payload["endpoint"], stack.endpoint());
    let names: Vec<&str> = answer.payload["environment"].as_str().context("environment")?.split_whitespace().collect();
    assert!(names.contains(&"AWS_LAMBDA_LOG_GROUP_NAME"), "{names:?}");
    for leaked in ["HOME", "CARGO", "LIFEBOAT_STACK_DIR", "GATEWAY_PORT", "TMPDIR"] {
        assert!(!names.contains(&leaked), "{leaked} leaked: {names:?}");
    }
    let failed = stack.invoke(stack.output("EchoFunctionName")?, &json!("please-fail")).await?;
    assert_eq!(failed.function_error.as_deref(), Some("Unhandled"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_fire_on_request_and_not_when_they_are_off() -> Result<()> {
    let stack = stack().await?;
    assert_eq!(stack.tick("Tick").await?.len(), 1);
    stack.wait_for("the tick", SOON, || async { Ok((events(&stack)?.len() == 1).then_some(())) }).await?;
    assert_eq!(events(&stack)?[0], json!({"tick": true}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_failure_ends_in_the_functions_failure_queue() -> Result<()> {
    let stack = stack().await?;
    let body = json!({"base64": "cGxlYXNlLWZhaWw="});
    let bucket = stack.output("BucketName")?;
    let key = "backups/please-fail/backup_config.json";
    stack.call("s3", "put_object", json!({"Bucket": bucket, "Key": key, "Body": body})).await??;
    let queue = json!({"QueueUrl": stack.output("FailureQueueUrl")?});
    stack
        .wait_for("the failed event in the queue", SOON, || async {
            let found = stack.call("sqs", "receive_message", queue.clone()).await??;
            Ok(found["Messages"][0]["Body"].as_str().filter(|text| text.contains(key)).map(|_| ()))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stacks_run_side_by_side_with_addresses_of_their_own() -> Result<()> {
    let (one, two) = tokio::try_join!(stack(), stack())?;
    assert_ne!(one.endpoint(), two.endpoint());
    assert_ne!(one.fixed_address(), two.fixed_address());
    crate::small::grow(&one, 1).await?;
    let instance = instance_in(&one, "Pending:Wait", &[]).await?;
    assert!(instance.address.starts_with(one.fixed_address().trim_end_matches("0.10")), "{}", instance.address);
    assert!(two.instances().await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_the_stack() -> Result<()> {
    let stack = stack().await?;
    let instance = crate::small::serving(&stack).await?;
    stack.invoke(stack.output("EchoFunctionName")?, &json!({})).await?;
    let request = json!({
        "DocumentName": stack.output("OnceDocument")?, "InstanceIds": [instance.instance],
        "Parameters": {"JobId": ["outlive"], "Code": ["sleep"], "executionTimeout": ["600"]}});
    stack.call("ssm", "send_command", request).await??;
    let dir = stack.dir().to_path_buf();
    stack
        .wait_for("the sleep", SOON, || async {
            Ok(mentions(&dir).iter().any(|c| c.contains("_script.sh")).then_some(()))
        })
        .await?;
    stack.stop();
    assert_eq!(mentions(&dir), Vec::<String>::new());
    assert!(!dir.exists());
    Ok(())
}

/// Not a test: what the next one starts in a process of its own, to kill it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "holds a stack until it is killed; run by a_killed_owner_leaves_nothing_behind"]
async fn hold_a_stack_until_killed() -> Result<()> {
    let mut stack = stack().await?;
    stack.keep();
    crate::small::serving(&stack).await?;
    std::fs::write(
        std::env::var("LIFEBOAT_TEST_HELD").context("LIFEBOAT_TEST_HELD")?,
        stack.dir().to_string_lossy().as_bytes(),
    )?;
    std::future::pending::<()>().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_leaves_nothing_behind() -> Result<()> {
    let told = std::env::temp_dir().join(format!("lifeboat-held-{}", std::process::id()));
    let mut owner = std::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "stacks::hold_a_stack_until_killed", "--ignored"])
        .env("LIFEBOAT_TEST_HELD", &told)
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let deadline = std::time::Instant::now() + 3 * SOON;
    while !told.exists() && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let dir = std::path::PathBuf::from(std::fs::read_to_string(&told).context("the owner did not start its stack")?);
    std::fs::remove_file(&told)?;
    assert!(!mentions(&dir).is_empty());
    owner.kill()?;
    owner.wait()?;
    while !mentions(&dir).is_empty() && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(mentions(&dir), Vec::<String>::new());
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_with_a_type_that_nobody_serves_fails_by_name() -> Result<()> {
    let mut options = options();
    options.template = std::env::temp_dir().join(format!("lifeboat-unserved-{}.yaml", std::process::id()));
    std::fs::write(&options.template, "Resources: {Lost: {Type: AWS::EC2::CapacityReservation}}\n")?;
    let failed = Stack::start(options.clone(), &Silent).await;
    std::fs::remove_file(&options.template)?;
    let text = format!("{:#}", failed.err().context("it deployed")?);
    assert!(text.contains("AWS::EC2::CapacityReservation"), "{text}");
    Ok(())
}

/// Command lines of the processes whose environment or arguments name the directory.
fn mentions(dir: &Path) -> Vec<String> {
    let needle = dir.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy() == std::process::id().to_string() {
            continue;
        }
        let read = |name: &str| {
            String::from_utf8_lossy(&std::fs::read(entry.path().join(name)).unwrap_or_default()).into_owned()
        };
        let (arguments, environment) = (read("cmdline"), read("environ"));
        if arguments.contains(&needle) || environment.contains(&needle) {
            found.push(arguments.replace('\0', " "));
        }
    }
    found
}
