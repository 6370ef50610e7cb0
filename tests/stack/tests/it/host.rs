//! Run Command: documents executed by bash on the instance, with the agent's limits and Systems Manager's refusals.

use anyhow::{Context, Result};
use lifeboat_stack::{ApiError, Stack};
use serde_json::{Value, json};

use crate::small::{SOON, serving, stack};

async fn send(stack: &Stack, instance: &str, parameters: Value) -> Result<Result<String, ApiError>> {
    let request = json!({
        "DocumentName": stack.output("OnceDocument")?, "InstanceIds": [instance], "Parameters": parameters,
        "Comment": "run-1-prepare-1"});
    Ok(stack
        .call("ssm", "send_command", request)
        .await?
        .map(|sent| sent["Command"]["CommandId"].as_str().unwrap_or_default().to_owned()))
}

async fn finished(stack: &Stack, instance: &str, command: &str) -> Result<Value> {
    let request = json!({"CommandId": command, "InstanceId": instance});
    stack
        .wait_for("the command's end", SOON, || async {
            let seen = stack.call("ssm", "get_command_invocation", request.clone()).await?;
            let over = |v: &Value| {
                !["Pending", "InProgress", "Cancelling"].contains(&v["Status"].as_str().unwrap_or_default())
            };
            Ok(seen.ok().filter(over))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_executed_once_for_each_command_with_its_parameters() -> Result<()> {
    let stack = stack().await?;
    let instance = serving(&stack).await?;
    let command = send(&stack, &instance.instance, json!({"JobId": ["run-1"]})).await??;
    let early = stack
        .call("ssm", "get_command_invocation", json!({"CommandId": command, "InstanceId": instance.instance}))
        .await?
        .err()
        .context("visible at once")?;
    assert_eq!(early.code, "InvocationDoesNotExist");
    let done = finished(&stack, &instance.instance, &command).await?;
    assert_eq!((&done["Status"], &done["ResponseCode"]), (&json!("Success"), &json!(0)));
    let printed: Value = serde_json::from_str(done["StandardOutputContent"].as_str().context("stdout")?)?;
    assert_eq!(printed["job"], "run-1");
    assert_eq!(std::fs::read_to_string(instance.sandbox.join("jobs"))?, "run-1\n");
    let listed = stack.call("ssm", "list_commands", json!({"InstanceId": instance.instance})).await??;
    assert_eq!(listed["Commands"][0]["Comment"], "run-1-prepare-1");
    let details = json!({"CommandId": command, "Details": true});
    let listed = stack.call("ssm", "list_command_invocations", details).await??;
    assert_eq!(listed["CommandInvocations"][0]["CommandPlugins"][0]["Name"], "once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_timeouts_and_cancellation_end_as_on_aws() -> Result<()> {
    let stack = stack().await?;
    stack.set_knobs(json!({"command_second_ms": 100})).await?;
    let instance = serving(&stack).await?;
    let id = &instance.instance;
    let failed = send(&stack, id, json!({"JobId": ["a"], "Code": ["3"]})).await??;
    let failed = finished(&stack, id, &failed).await?;
    assert_eq!((&failed["Status"], &failed["ResponseCode"]), (&json!("Failed"), &json!(3)));

    let slow = send(&stack, id, json!({"JobId": ["b"], "Code": ["sleep"], "executionTimeout": ["5"]})).await??;
    let slow = finished(&stack, id, &slow).await?;
    assert_eq!((&slow["Status"], &slow["StatusDetails"]), (&json!("TimedOut"), &json!("ExecutionTimedOut")));

    let stopped = send(&stack, id, json!({"JobId": ["c"], "Code": ["sleep"], "executionTimeout": ["600"]})).await??;
    stack
        .wait_for("its start", SOON, || async {
            let seen =
                stack.call("ssm", "get_command_invocation", json!({"CommandId": stopped, "InstanceId": id})).await?;
            Ok(seen.ok().filter(|v| v["Status"] == "InProgress"))
        })
        .await?;
    stack.call("ssm", "cancel_command", json!({"CommandId": stopped})).await??;
    assert_eq!(finished(&stack, id, &stopped).await?["Status"], "Cancelled");

    let loud = send(&stack, id, json!({"JobId": ["d"], "Code": ["loud"]})).await??;
    let loud = finished(&stack, id, &loud).await?;
    assert_eq!(loud["StandardOutputContent"].as_str().map(str::len), Some(24_000));
    assert_eq!(loud["StandardErrorContent"].as_str().map(str::len), Some(8_000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_systems_manager_refuses_is_refused_here() -> Result<()> {
    let stack = stack().await?;
    let instance = serving(&stack).await?;
    let id = &instance.instance;
    for (parameters, why) in [
        (json!({"JobId": ["a; rm -rf /"]}), "pattern"),
        (json!({"JobId": ["a"], "Code": ["7"]}), "allowed values"),
        (json!({"JobId": ["a"], "Other": ["7"]}), "unknown"),
        (json!({}), "missing"),
    ] {
        assert_eq!(send(&stack, id, parameters).await?.err().context(why)?.code, "InvalidParameters", "{why}");
    }
    let unknown = json!({"DocumentName": "no-such", "InstanceIds": [id]});
    assert_eq!(stack.call("ssm", "send_command", unknown).await?.err().context("document")?.code, "InvalidDocument");
    let automation = json!({"DocumentName": "no-such"});
    let refused = stack.call("ssm", "start_automation_execution", automation).await?.err().context("definition")?;
    assert_eq!(refused.code, "AutomationDefinitionNotFoundException");
    stack.kill_instance(id).await?;
    assert_eq!(send(&stack, id, json!({"JobId": ["a"]})).await?.err().context("dead")?.code, "InvalidInstanceId");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_registers_late_and_an_unregistered_one_is_not_listed() -> Result<()> {
    let stack = stack().await?;
    stack.set_knobs(json!({"agent_ms": 2000})).await?;
    crate::small::grow(&stack, 1).await?;
    let instance = crate::small::instance_in(&stack, "Pending:Wait", &[]).await?;
    let filter = json!({"Filters": [{"Key": "InstanceIds", "Values": [instance.instance]}]});
    let listed = stack.call("ssm", "describe_instance_information", filter.clone()).await??;
    assert_eq!(listed["InstanceInformationList"], json!([]));
    assert_eq!(
        send(&stack, &instance.instance, json!({"JobId": ["a"]})).await?.err().context("sent")?.code,
        "InvalidInstanceId"
    );
    let seen = stack
        .wait_for("the agent", SOON, || async {
            let listed = stack.call("ssm", "describe_instance_information", filter.clone()).await??;
            Ok(listed["InstanceInformationList"].as_array().and_then(|l| l.first().cloned()))
        })
        .await?;
    assert_eq!((&seen["PingStatus"], &seen["IPAddress"]), (&json!("Online"), &json!(instance.address)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_sdk_reads_what_run_command_and_automation_answer() -> Result<()> {
    let stack = stack().await?;
    let instance = serving(&stack).await?;
    let ssm = aws_sdk_ssm::Client::new(&stack.sdk_config().await);
    let sent = ssm
        .send_command()
        .document_name(stack.output("OnceDocument")?)
        .instance_ids(&instance.instance)
        .parameters("JobId", vec!["sdk".to_owned()])
        .send()
        .await?;
    let id = sent.command().and_then(|c| c.command_id()).context("id")?.to_owned();
    finished(&stack, &instance.instance, &id).await?;
    let got = ssm.get_command_invocation().command_id(&id).instance_id(&instance.instance).send().await?;
    assert_eq!(got.response_code(), 0);
    let listed = ssm.list_command_invocations().command_id(&id).details(true).send().await?;
    assert_eq!(listed.command_invocations()[0].command_plugins()[0].response_code(), 0);
    let value = ssm.get_parameter().name("/lifeboat/weaviate/keys/operator").with_decryption(true).send().await?;
    assert_eq!(value.parameter().and_then(|p| p.value()), Some("operator-key-of-the-local-stack"));
    Ok(())
}
