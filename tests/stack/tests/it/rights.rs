//! With `enforce_iam` policies decide, with the condition keys and resources that the bridge adds to the emulator's own.

use anyhow::{Context, Result};
use aws_sdk_s3::error::ProvideErrorMetadata;
use lifeboat_stack::{Silent, Stack};

use crate::small::{options, serving};

async fn stack() -> Result<Stack> {
    let mut options = options().parameter("DesiredCapacity", "0").knob("schedules", false);
    options.enforce_iam = true;
    Stack::start(options, &Silent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_can_insist_on_conditional_writes() -> Result<()> {
    let stack = stack().await?;
    let s3 = aws_sdk_s3::Client::new(&stack.sdk_config_of_role(stack.output("WriterRoleArn")?).await?);
    let put =
        |key: &str| s3.put_object().bucket(stack.output("BucketName").unwrap()).key(key).body(b"1".to_vec().into());
    put("anything").send().await?;
    let refused = put("pointer.json").send().await.err().context("an unconditional put was let through")?;
    assert_eq!(refused.code(), Some("AccessDenied"));
    let first = put("pointer.json").if_none_match("*").send().await?;
    put("pointer.json").if_match(first.e_tag().context("etag")?).send().await?;
    let lost = put("pointer.json").if_none_match("*").send().await.err().context("created twice")?;
    assert_eq!(lost.code(), Some("PreconditionFailed"));
    let denied = s3.list_objects_v2().bucket(stack.output("BucketName")?).send().await.err().context("listed")?;
    assert_eq!(denied.code(), Some("AccessDenied"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_for_those_who_were_given_them_on_instances_that_bear_the_tag() -> Result<()> {
    let stack = stack().await?;
    let instance = serving(&stack).await?;
    let ssm = aws_sdk_ssm::Client::new(&stack.sdk_config_of_role(stack.output("WriterRoleArn")?).await?);
    let send = || {
        let document = stack.output("OnceDocument").unwrap();
        ssm.send_command()
            .document_name(document)
            .instance_ids(&instance.instance)
            .parameters("JobId", vec!["a".to_owned()])
    };
    send().send().await?;
    let other = ssm.start_automation_execution().document_name(stack.output("AttachDocument")?).send().await;
    assert_eq!(other.err().context("not its document")?.code(), Some("AccessDeniedException"));
    let own = ssm.start_automation_execution().document_name(stack.output("ReadAddressDocument")?);
    own.parameters("NetworkInterfaceId", vec![stack.output("NetworkInterfaceId")?.to_owned()]).send().await?;
    let tags = serde_json::json!({"Resources": [instance.instance], "Tags": [{"Key": "Role"}]});
    stack.call("ec2", "delete_tags", tags).await??;
    let untagged = send().send().await.err().context("an instance without the tag")?;
    assert_eq!(untagged.code(), Some("AccessDeniedException"));
    Ok(())
}
