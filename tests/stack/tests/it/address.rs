//! The fixed address: one attachment at a time, moved by Automation, and traffic that follows it.

use std::time::Duration;

use anyhow::{Context, Result};
use lifeboat_stack::Stack;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::small::{SOON, serving, stack};

async fn automate(stack: &Stack, document: &str, parameters: Value) -> Result<Value> {
    let request = json!({"DocumentName": stack.output(document)?, "Parameters": parameters});
    let started = stack.call("ssm", "start_automation_execution", request).await??;
    stack
        .wait_for("the automation's end", SOON, || async {
            let mut seen = stack.call("ssm", "get_automation_execution", started.clone()).await??;
            let execution = seen["AutomationExecution"].take();
            let over = !["Pending", "InProgress"]
                .contains(&execution["AutomationExecutionStatus"].as_str().unwrap_or_default());
            Ok(over.then_some(execution))
        })
        .await
}

async fn interface(stack: &Stack) -> Result<Value> {
    let id = stack.output("NetworkInterfaceId")?;
    let mut found = stack.call("ec2", "describe_network_interfaces", json!({"NetworkInterfaceIds": [id]})).await??;
    Ok(found["NetworkInterfaces"][0].take())
}

/// A node in miniature: answers every line with its own name until the connection ends.
async fn node(address: &str, name: &'static str) -> Result<()> {
    let listener = TcpListener::bind((address, 8080)).await.with_context(|| format!("{address}:8080"))?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while client.read(&mut buffer).await.is_ok_and(|n| n > 0)
                    && client.write_all(name.as_bytes()).await.is_ok()
                {}
            });
        }
    });
    Ok(())
}

async fn ask(connection: &mut TcpStream) -> Result<String> {
    connection.write_all(b"who\n").await?;
    let mut buffer = [0; 64];
    let n = tokio::time::timeout(Duration::from_secs(5), connection.read(&mut buffer)).await??;
    Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn automation_attaches_the_address_and_a_second_attachment_is_refused() -> Result<()> {
    let stack = stack().await?;
    let instance = serving(&stack).await?;
    let eni = stack.output("NetworkInterfaceId")?;
    let before = automate(&stack, "ReadAddressDocument", json!({"NetworkInterfaceId": [eni]})).await?;
    assert_eq!(before["Outputs"]["read.Status"], json!(["available"]));
    // AWS's words for an output of a step that did not run.
    let none = "No output available yet because the step is not successfully executed";
    assert_eq!(before["Outputs"]["readAttachment.InstanceId"], json!([none]));

    let attach = json!({"NetworkInterfaceId": [eni], "InstanceId": [instance.instance]});
    let done = automate(&stack, "AttachDocument", attach).await?;
    assert_eq!(done["AutomationExecutionStatus"], "Success", "{done}");
    let after = automate(&stack, "ReadAddressDocument", json!({"NetworkInterfaceId": [eni]})).await?;
    assert_eq!(after["Outputs"]["readAttachment.InstanceId"], json!([instance.instance]));

    let again = json!({"NetworkInterfaceId": [eni], "InstanceId": [instance.instance], "DeviceIndex": ["2"]});
    let refused = automate(&stack, "AttachDocument", again).await?;
    assert_eq!(refused["AutomationExecutionStatus"], "Failed");
    assert!(
        refused["FailureMessage"].as_str().context("message")?.contains("InvalidNetworkInterface.InUse"),
        "{refused}"
    );

    let listed = stack.call("ec2", "describe_instances", json!({"InstanceIds": [instance.instance]})).await??;
    let interfaces =
        listed["Reservations"][0]["Instances"][0]["NetworkInterfaces"].as_array().context("interfaces")?.clone();
    let indexes: Vec<_> = interfaces.iter().map(|i| i["Attachment"]["DeviceIndex"].clone()).collect();
    assert_eq!(indexes, [0, 1]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_follows_the_address_and_ends_with_the_attachment() -> Result<()> {
    let stack = stack().await?;
    let instance = serving(&stack).await?;
    node(&instance.address, "first").await?;
    let eni = stack.output("NetworkInterfaceId")?;
    assert!(TcpStream::connect((stack.fixed_address(), 8080)).await.is_err(), "reachable before it is attached");
    automate(&stack, "AttachDocument", json!({"NetworkInterfaceId": [eni], "InstanceId": [instance.instance]})).await?;

    let mut connection = TcpStream::connect((stack.fixed_address(), 8080)).await?;
    assert_eq!(ask(&mut connection).await?, "first");
    assert_eq!(stack.instance(&instance.instance).await?.accepted.get("8080"), Some(&1));

    // Without a group that admits clients new connections are refused; an open one lives on, as under a security group.
    let groups = json!({"NetworkInterfaceId": eni, "Groups": [stack.output("WriteGroup")?]});
    stack.call("ec2", "modify_network_interface_attribute", groups).await??;
    assert!(TcpStream::connect((stack.fixed_address(), 8080)).await.is_err(), "admitted by a group without rules");
    assert_eq!(ask(&mut connection).await?, "first");
    let groups =
        json!({"NetworkInterfaceId": eni, "Groups": [stack.output("ReadGroup")?, stack.output("WriteGroup")?]});
    stack.call("ec2", "modify_network_interface_attribute", groups).await??;
    TcpStream::connect((stack.fixed_address(), 8080)).await?;

    let attachment = interface(&stack).await?["Attachment"]["AttachmentId"].clone();
    stack.call("ec2", "detach_network_interface", json!({"AttachmentId": attachment})).await??;
    assert_eq!(interface(&stack).await?["Attachment"]["Status"], "detaching");
    assert!(ask(&mut connection).await.map_or(true, |answer| answer.is_empty()), "the connection survived");
    assert!(TcpStream::connect((stack.fixed_address(), 8080)).await.is_err(), "reachable after it was detached");
    stack
        .wait_for("available", SOON, || async { Ok((interface(&stack).await?["Status"] == "available").then_some(())) })
        .await?;
    let gone = stack
        .call("ec2", "detach_network_interface", json!({"AttachmentId": attachment}))
        .await?
        .err()
        .context("detached twice")?;
    assert_eq!(gone.code, "InvalidAttachmentID.NotFound");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_free_again_when_its_instance_dies() -> Result<()> {
    let stack = stack().await?;
    let instance = serving(&stack).await?;
    let eni = stack.output("NetworkInterfaceId")?;
    automate(&stack, "AttachDocument", json!({"NetworkInterfaceId": [eni], "InstanceId": [instance.instance]})).await?;
    stack.kill_instance(&instance.instance).await?;
    let free = stack
        .wait_for("available", SOON, || async {
            Ok(Some(interface(&stack).await?).filter(|i| i["Status"] == "available"))
        })
        .await?;
    assert_eq!(free["PrivateIpAddress"], stack.fixed_address());
    Ok(())
}
