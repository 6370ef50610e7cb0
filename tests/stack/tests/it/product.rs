//! The product's own template and host scripts on the stack, with functions that only echo: what the scenarios build upon.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use lifeboat_stack::{Functions, Node, Silent, Stack, StackOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::small::{SOON, file, instance_in};

async fn stack(node: Node, enforce_iam: bool) -> Result<Stack> {
    let names = ["create-backup", "verify-checksums", "flip-manifest", "drive-restore", "prune-backups"];
    let functions = Functions::Given(BTreeMap::from(names.map(|name| (name.to_owned(), file("echo-bootstrap")))));
    Stack::start(
        StackOptions { functions, node, enforce_iam, ..StackOptions::default() }.knob("schedules", false),
        &Silent,
    )
    .await
}

/// Run a document with these parameters beside those that the stack knows; the answer on stdout.
async fn run(stack: &Stack, document: &str, instance: &str, job: &str) -> Result<Value> {
    let name = stack.output(document)?;
    let described = stack.call("ssm", "describe_document", json!({"Name": name})).await??;
    let declared: Vec<_> = described["Document"]["Parameters"]
        .as_array()
        .context("parameters")?
        .iter()
        .map(|p| p["Name"].clone())
        .collect();
    let endpoint = stack.endpoint().trim_start_matches("http://");
    let image = format!("local.invalid/weaviate@sha256:{}", "0".repeat(64));
    let mut parameters = json!({
        "JobId": [job], "Instance": [instance], "Cluster": ["weaviate"], "NodeName": ["weaviate-0"], "BackupPath": ["backups"],
        "Bucket": [stack.output("BucketName")?], "Region": ["us-east-1"], "S3Endpoint": [endpoint], "S3UseSsl": ["false"],
        "Image": [image], "ImageArchiveKey": [""], "FixedAddress": [stack.fixed_address()], "ExtraModules": [""],
        "ExtraEnvironment": [""], "OperatorKeyParameter": ["/lifeboat/weaviate/keys/operator"],
        "IndexerKeyParameter": ["/lifeboat/weaviate/keys/indexer"], "ReaderKeyParameter": ["/lifeboat/weaviate/keys/reader"]});
    parameters.as_object_mut().context("parameters")?.retain(|name, _| declared.contains(&json!(name)));
    let request = json!({"DocumentName": name, "InstanceIds": [instance], "Parameters": parameters, "Comment": job});
    let sent = stack.call("ssm", "send_command", request).await??;
    let done = stack
        .wait_for(document, SOON, || async {
            let request = json!({"CommandId": sent["Command"]["CommandId"], "InstanceId": instance});
            let seen = stack.call("ssm", "get_command_invocation", request).await?.ok();
            Ok(seen.filter(|v| v["ResponseCode"].as_i64().is_some_and(|code| code >= 0)))
        })
        .await?;
    let printed = done["StandardOutputContent"].as_str().context("stdout")?;
    let last = printed.trim().lines().last().with_context(|| format!("{document} printed nothing: {done}"))?;
    serde_json::from_str(last).with_context(|| format!("{document}: {done}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_products_template_deploys_and_its_host_script_starts_a_node_that_can_be_killed() -> Result<()> {
    let stack = stack(Node::Double, false).await?;
    let launched = instance_in(&stack, "Pending:Wait", &[]).await?;
    let id = launched.instance.as_str();
    stack.wait_for("the agent", SOON, || async { Ok(stack.instance(id).await?.agent.then_some(())) }).await?;
    let prepared = run(&stack, "PrepareHostDocumentName", id, "run-1-prepare-1").await?;
    ensure!(prepared["ok"] == true, "{prepared}");
    assert_eq!(prepared["address"], launched.address);
    let again = run(&stack, "PrepareHostDocumentName", id, "run-1-prepare-1").await?;
    assert_eq!(again, prepared, "a job is obeyed once and answers the same again");

    let host = stack.instance(id).await?;
    let (pid, data) = (host.pid.context("pid")?, host.data_path.context("data path")?);
    assert_eq!(prepared["pid"], pid);
    ensure!(data.join(".lifeboat").exists(), "{}", data.display());
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ"))?;
    let own = launched.address.as_str();
    for (name, wanted) in [
        ("AWS_ACCESS_KEY_ID", id),
        ("CLUSTER_HOSTNAME", "weaviate-0"),
        ("CLUSTER_BIND_ADDR", own),
        ("CLUSTER_ADVERTISE_ADDR", own),
    ] {
        ensure!(environment.split('\0').any(|v| v == format!("{name}={wanted}")), "{name} in {environment}");
    }
    ensure!(!environment.contains("operator-key"), "a key is in the node's environment");
    let wrote = stack
        .s3_access_log()?
        .into_iter()
        .any(|l| l.principal == format!("{id}-host") && l.method == "PUT" && l.status == 200);
    ensure!(wrote, "the host's own S3 probe is not in the access log");

    let probed = run(&stack, "ProbeHostDocumentName", id, "probe").await?;
    assert_eq!(
        (&probed["container_running"], &probed["accepted_via_fixed"], &probed["mount_ok"]),
        (&json!(true), &json!(0), &json!(true))
    );

    the_fixed_address_leads_to_the_grpc_port_that_stands_for_50051(&stack, id, own, &environment).await?;
    stack.kill_node(id).await?;
    stack
        .wait_for("the container's restart", SOON, || async {
            let now = stack.instance(id).await?;
            Ok((now.pid.is_some_and(|p| p != pid) && now.containers[0].restarts == 1).then_some(()))
        })
        .await?;
    let killed = stack.kill_instance(id).await?;
    ensure!(!killed.killed.is_empty() && killed.data_paths == [data.clone()], "{killed:?}");
    ensure!(!data.exists(), "the disk survived");
    instance_in(&stack, "Pending:Wait", &[id]).await?;
    Ok(())
}

/// Two nodes cannot both have port 50051 of this computer, so each has one of its own, where the double refuses every call.
async fn the_fixed_address_leads_to_the_grpc_port_that_stands_for_50051(
    stack: &Stack,
    id: &str,
    own: &str,
    environment: &str,
) -> Result<()> {
    let port = environment.split('\0').find_map(|v| v.strip_prefix("GRPC_PORT=")).context("GRPC_PORT")?;
    assert_ne!(port, "50051");
    ensure!(speaks_http_2(TcpStream::connect((own, port.parse()?)).await?).await?, "the double's own gRPC port");
    let eni = stack.output("NetworkInterfaceId")?;
    let attach = json!({"NetworkInterfaceId": eni, "InstanceId": id, "DeviceIndex": 1});
    let attached = stack.call("ec2", "attach_network_interface", attach).await??;
    stack
        .wait_for("the fixed address", SOON, || async {
            let Ok(connection) = TcpStream::connect((stack.fixed_address(), 50051)).await else { return Ok(None) };
            Ok(speaks_http_2(connection).await?.then_some(()))
        })
        .await?;
    let detach = json!({"AttachmentId": attached["AttachmentId"]});
    stack.call("ec2", "detach_network_interface", detach).await??;
    Ok(())
}

/// Whether the other side answers HTTP/2's preface with its settings.
async fn speaks_http_2(mut connection: TcpStream) -> Result<bool> {
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    let mut frame = [0; 9];
    let read = tokio::time::timeout(SOON, connection.read_exact(&mut frame)).await;
    Ok(read.is_ok_and(|read| read.is_ok()) && frame[3] == 4)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_the_host_can_be_made_to_fail_and_the_script_says_which() -> Result<()> {
    let stack = stack(Node::None, false).await?;
    let launched = instance_in(&stack, "Pending:Wait", &[]).await?;
    let id = launched.instance.as_str();
    stack.wait_for("the agent", SOON, || async { Ok(stack.instance(id).await?.agent.then_some(())) }).await?;
    stack.host_knobs(id, json!({"mount": {"fail": 32, "times": 1}})).await?;
    let failed = run(&stack, "PrepareHostDocumentName", id, "run-1-prepare-1").await?;
    assert_eq!((&failed["ok"], &failed["step"], &failed["code"]), (&json!(false), &json!("mount"), &json!(4)));
    let calls: Vec<_> = stack.host_calls(id).await?.into_iter().map(|call| call.argv[0].clone()).collect();
    ensure!(calls.contains(&"mkfs.xfs".to_owned()) && calls.contains(&"mount".to_owned()), "{calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_role_suffices_for_the_host_script_and_for_nothing_in_the_manifests() -> Result<()> {
    let stack = stack(Node::Double, true).await?;
    let launched = instance_in(&stack, "Pending:Wait", &[]).await?;
    let id = launched.instance.as_str();
    stack.wait_for("the agent", SOON, || async { Ok(stack.instance(id).await?.agent.then_some(())) }).await?;
    let prepared = run(&stack, "PrepareHostDocumentName", id, "run-1-prepare-1").await?;
    ensure!(prepared["ok"] == true, "{prepared}");
    let role = stack.call("iam", "get_role", json!({"RoleName": stack.resource("NodeRole")?})).await??;
    let role = role["Role"]["Arn"].as_str().context("role")?;
    let s3 = aws_sdk_s3::Client::new(&stack.sdk_config_of_role(role).await?);
    let put =
        |key: &str| s3.put_object().bucket(stack.output("BucketName").unwrap()).key(key).body(b"1".to_vec().into());
    put("backups/a/backup_config.json").send().await?;
    for key in ["manifests/a/manifest.json", "latest_weaviate_backup.manifest.json", "ownership.json"] {
        ensure!(put(key).if_none_match("*").send().await.is_err(), "the node may write {key}");
    }
    Ok(())
}
