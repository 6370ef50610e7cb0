use aws_config::retry::RetryConfig;
use lifeboat_workflows::ports::fault::{Happened, Retry};
use serde_json::{Value, json};

use super::*;
use crate::aws::tests::aws;
use crate::scripted::{Reply, Server};

fn addresses(server: &Server) -> SsmAddresses {
    let documents = AddressDocuments { read: "Read".into(), move_to: "Move".into(), writers: "Writers".into() };
    SsmAddresses::new(aws(server, RetryConfig::disabled()).ssm, &documents)
}

fn ok(body: &Value) -> Reply {
    Reply::new(200, body.to_string())
}

#[tokio::test]
async fn a_move_names_the_target_the_expected_attachment_and_force_and_nothing_else() {
    let started = || ok(&json!({"AutomationExecutionId": "x-1"}));
    let server = Server::replying([started(), started(), started()]).await;
    let a = addresses(&server);
    let to = InstanceId::parse("i-0b").unwrap();
    assert_eq!(a.start_move(&to, Some("eni-attach-1"), false).await.unwrap(), ExecutionId("x-1".into()));
    a.start_move(&to, None, true).await.unwrap();
    a.start_read().await.unwrap();
    let asked = server.asked();
    assert_eq!(
        asked[0].json(),
        json!({"DocumentName": "Move", "DocumentVersion": "$DEFAULT",
            "Parameters": {"InstanceId": ["i-0b"], "ExpectedAttachmentId": ["eni-attach-1"], "Force": ["false"]}})
    );
    assert_eq!(
        asked[1].json()["Parameters"],
        json!({"InstanceId": ["i-0b"], "ExpectedAttachmentId": ["none"], "Force": ["true"]})
    );
    assert_eq!(asked[2].json(), json!({"DocumentName": "Read", "DocumentVersion": "$DEFAULT"}));
}

#[tokio::test]
async fn a_start_whose_reply_was_lost_may_have_happened() {
    let server = Server::replying([Reply::Lost]).await;
    let to = InstanceId::parse("i-0b").unwrap();
    let fault = addresses(&server).start_move(&to, None, false).await.unwrap_err();
    assert_eq!((fault.happened, fault.retry), (Happened::Maybe, Retry::Yes));
}

#[tokio::test]
async fn each_end_of_an_execution_is_told_apart() {
    let execution = |status: &str| {
        ok(&json!({"AutomationExecution": {"AutomationExecutionStatus": status, "FailureMessage": "why",
            "Outputs": {"read.Status": ["in-use"], "read.Groups": ["sg-1", "sg-2"]}}}))
    };
    let outputs: BTreeMap<String, Vec<String>> = [
        ("read.Status".to_owned(), vec!["in-use".to_owned()]),
        ("read.Groups".to_owned(), vec!["sg-1".to_owned(), "sg-2".to_owned()]),
    ]
    .into();
    let failed = |status: &str| ExecutionState::Failed { status: status.into(), message: "why".into() };
    for (status, expected) in [
        ("Pending", ExecutionState::Running),
        ("InProgress", ExecutionState::Running),
        ("Waiting", ExecutionState::Running),
        ("Cancelling", ExecutionState::Running),
        ("Success", ExecutionState::Succeeded { outputs }),
        ("Failed", failed("Failed")),
        ("TimedOut", failed("TimedOut")),
        ("Cancelled", failed("Cancelled")),
    ] {
        let server = Server::replying([execution(status)]).await;
        assert_eq!(addresses(&server).execution(&ExecutionId("x".into())).await.unwrap(), expected);
    }
    for reply in [execution("Enchanted"), Reply::json_error(400, "AutomationExecutionNotFoundException")] {
        let server = Server::replying([reply]).await;
        assert!(addresses(&server).execution(&ExecutionId("x".into())).await.is_err());
    }
}
