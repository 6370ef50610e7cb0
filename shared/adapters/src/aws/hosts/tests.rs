use aws_config::retry::RetryConfig;
use serde_json::json;

use super::*;
use crate::aws::tests::aws;
use crate::scripted::{Reply, Server};

fn hosts(server: &Server) -> SsmHosts {
    let documents = HostDocuments { prepare: "Prepare".into(), probe: "Probe".into(), tend: "Tend".into() };
    aws(server, RetryConfig::disabled()).hosts(Some(&documents))
}

fn ok(body: serde_json::Value) -> Reply {
    Reply::new(200, body.to_string())
}

fn i() -> InstanceId {
    InstanceId::parse("i-0a").unwrap()
}

fn job() -> JobId {
    JobId::parse("run-prepare-1").unwrap()
}

#[tokio::test]
async fn an_agent_is_absent_online_or_lost() {
    let info = |status: &str| json!({"InstanceInformationList": [{"InstanceId": "i-0a", "PingStatus": status, "IPAddress": "10.0.0.7"}]});
    for (reply, agent) in [
        (json!({"InstanceInformationList": []}), Agent::Absent),
        (info("Online"), Agent::Online { address: "10.0.0.7".into() }),
        (info("ConnectionLost"), Agent::Lost),
        (info("SomethingNew"), Agent::Lost),
    ] {
        let server = Server::replying([ok(reply)]).await;
        assert_eq!(hosts(&server).agent(&i()).await.unwrap(), agent);
        assert_eq!(server.asked()[0].json(), json!({"Filters": [{"Key": "InstanceIds", "Values": ["i-0a"]}]}));
    }
}

#[tokio::test]
async fn a_command_names_its_document_version_and_carries_the_job_as_comment_and_parameter() {
    let sent = || ok(json!({"Command": {"CommandId": "c-1"}}));
    let server = Server::replying([sent(), sent()]).await;
    let h = hosts(&server);
    let outcome = h.send(&i(), HostDocument::Prepare, &job()).await.unwrap();
    assert_eq!(outcome, SendOutcome::Sent(CommandId("c-1".into())));
    h.send(&i(), HostDocument::Probe, &job()).await.unwrap();
    let asked = server.asked();
    assert_eq!(
        asked[0].json(),
        json!({"DocumentName": "Prepare", "DocumentVersion": "$DEFAULT", "InstanceIds": ["i-0a"],
            "Comment": "run-prepare-1", "TimeoutSeconds": 120,
            "Parameters": {"JobId": ["run-prepare-1"], "Instance": ["i-0a"]}})
    );
    assert_eq!(asked[1].json()["Parameters"], json!({"JobId": ["run-prepare-1"]}));
    assert_eq!(asked[1].json()["DocumentName"], "Probe");
}

#[tokio::test]
async fn an_instance_that_ssm_does_not_know_is_not_ready_and_other_refusals_are_faults() {
    let server = Server::replying([Reply::json_error(400, "InvalidInstanceId")]).await;
    assert_eq!(hosts(&server).send(&i(), HostDocument::Prepare, &job()).await.unwrap(), SendOutcome::NotReady);
    for (reply, happened, retry) in [
        (Reply::json_error(400, "InvalidDocument"), Happened::No, Retry::No),
        (Reply::json_error(400, "ThrottlingException"), Happened::No, Retry::Throttled),
        (Reply::json_error(500, "InternalServerError"), Happened::Maybe, Retry::Yes),
        (Reply::Lost, Happened::Maybe, Retry::Yes),
        (ok(json!({})), Happened::Maybe, Retry::Yes),
    ] {
        let server = Server::replying([reply]).await;
        let fault = hosts(&server).send(&i(), HostDocument::Prepare, &job()).await.unwrap_err();
        assert_eq!((fault.happened, fault.retry), (happened, retry));
    }
}

#[tokio::test]
async fn a_command_is_found_by_its_comment_over_all_pages_and_the_newest_counts() {
    let invocation =
        |id: &str, comment: &str, at: u32| json!({"CommandId": id, "Comment": comment, "RequestedDateTime": at});
    let first = json!({"CommandInvocations": [invocation("c-9", "other", 9)], "NextToken": "t"});
    let second =
        json!({"CommandInvocations": [invocation("c-1", "run-prepare-1", 1), invocation("c-2", "run-prepare-1", 2)]});
    let server = Server::replying([ok(first), ok(second)]).await;
    assert_eq!(hosts(&server).find(&i(), &job()).await.unwrap(), Some(CommandId("c-2".into())));
    assert_eq!(server.asked()[0].json()["InstanceId"], "i-0a");
    assert_eq!(server.asked()[1].json()["NextToken"], "t");
    let server = Server::replying([ok(json!({"CommandInvocations": []}))]).await;
    assert_eq!(hosts(&server).find(&i(), &job()).await.unwrap(), None);
}

#[tokio::test]
async fn each_end_of_a_command_is_told_apart() {
    let state = |status: &str, details: &str, code: i32| {
        ok(json!({"Status": status, "StatusDetails": details, "ResponseCode": code,
            "StandardOutputContent": "{\"ok\":true}", "StandardErrorContent": "e"}))
    };
    let failed = |details: &str, exit_code| CommandState::Failed {
        details: details.into(),
        exit_code,
        stdout: "{\"ok\":true}".into(),
        stderr: "e".into(),
    };
    for (reply, expected) in [
        (state("Pending", "Pending", -1), CommandState::Running),
        (state("Delayed", "Delayed", -1), CommandState::Running),
        (state("Cancelling", "Cancelling", -1), CommandState::Running),
        (state("Success", "Success", 0), CommandState::Succeeded { stdout: "{\"ok\":true}".into() }),
        (state("Failed", "Failed", 75), failed("Failed", Some(75))),
        (state("TimedOut", "DeliveryTimedOut", -1), failed("DeliveryTimedOut", None)),
        (state("Failed", "Undeliverable", -1), failed("Undeliverable", None)),
        (state("Cancelled", "", -1), failed("Cancelled", None)),
        (Reply::json_error(400, "InvocationDoesNotExist"), CommandState::NotVisible),
    ] {
        let server = Server::replying([reply]).await;
        assert_eq!(hosts(&server).command(&i(), &CommandId("c".into())).await.unwrap(), expected);
    }
    let server = Server::replying([state("Enchanted", "", 0)]).await;
    assert!(hosts(&server).command(&i(), &CommandId("c".into())).await.is_err());
}

#[tokio::test]
async fn a_function_without_documents_sends_nothing() {
    let server = Server::replying([]).await;
    let fault = aws(&server, RetryConfig::disabled()).hosts(None).send(&i(), HostDocument::Probe, &job()).await;
    assert_eq!(fault.unwrap_err().retry, Retry::No);
    assert!(server.asked().is_empty());
}
