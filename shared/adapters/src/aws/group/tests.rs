use aws_config::retry::RetryConfig;

use super::*;
use crate::aws::tests::aws;
use crate::scripted::{Reply, Server};

fn group(server: &Server) -> AutoScalingGroup {
    let hooks = HookNames { launch: "launch".into(), terminate: "terminate".into() };
    aws(server, RetryConfig::disabled()).group("g", Some(&hooks))
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = format!("<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>");
    Reply::new(status, body)
}

fn done(operation: &str) -> Reply {
    Reply::new(200, format!("<{operation}Response><{operation}Result/></{operation}Response>"))
}

fn i(id: &str) -> InstanceId {
    InstanceId::parse(id).unwrap()
}

#[tokio::test]
async fn the_group_is_described_with_every_state_and_the_suspended_launch() {
    let member = |id: &str, state: &str, health: &str| {
        format!(
            "<member><InstanceId>{id}</InstanceId><LifecycleState>{state}</LifecycleState>\
             <HealthStatus>{health}</HealthStatus><AvailabilityZone>a</AvailabilityZone>\
             <ProtectedFromScaleIn>false</ProtectedFromScaleIn></member>"
        )
    };
    let body = format!(
        "<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups><member>\
         <AutoScalingGroupName>g</AutoScalingGroupName><DesiredCapacity>1</DesiredCapacity>\
         <SuspendedProcesses><member><ProcessName>Launch</ProcessName></member></SuspendedProcesses>\
         <Instances>{}{}{}{}</Instances></member></AutoScalingGroups></DescribeAutoScalingGroupsResult>\
         </DescribeAutoScalingGroupsResponse>",
        member("i-0a", "Terminating:Wait", "Unhealthy"),
        member("i-0b", "Pending:Wait", "Healthy"),
        member("i-0c", "Terminating:Retained", "Healthy"),
        member("i-0d", "Quarantined", "Healthy"),
    );
    let server = Server::replying([Reply::new(200, body)]).await;
    let state = group(&server).describe().await.unwrap();
    assert_eq!(state.desired, 1);
    assert!(state.launches_suspended);
    assert_eq!(state.state_of(&i("i-0a")), Some(&LifecycleState::TerminatingWait));
    assert_eq!(state.state_of(&i("i-0b")), Some(&LifecycleState::PendingWait));
    assert_eq!(state.state_of(&i("i-0c")), Some(&LifecycleState::TerminatingRetained));
    assert_eq!(state.state_of(&i("i-0d")), Some(&LifecycleState::Other("Quarantined".into())));
    assert_eq!(state.members.iter().map(|m| m.healthy).collect::<Vec<_>>(), [false, true, true, true]);
}

#[tokio::test]
async fn a_group_that_is_not_there_is_a_fault_not_an_empty_group() {
    let body = "<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups/>\
                </DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>";
    let server = Server::replying([Reply::new(200, body)]).await;
    let fault = group(&server).describe().await.unwrap_err();
    assert_eq!(fault.retry, Retry::No);
}

#[tokio::test]
async fn a_hook_is_answered_by_instance_and_name() {
    let server = Server::replying([done("CompleteLifecycleAction"), done("RecordLifecycleActionHeartbeat")]).await;
    let g = group(&server);
    assert_eq!(g.complete(Hook::Launch, &i("i-0a"), HookResult::Abandon).await.unwrap(), HookAnswer::Accepted);
    assert_eq!(g.heartbeat(Hook::Terminate, &i("i-0a")).await.unwrap(), HookAnswer::Accepted);
    let asked = server.asked();
    for part in ["LifecycleHookName=launch", "InstanceId=i-0a", "LifecycleActionResult=ABANDON"] {
        assert!(asked[0].body.contains(part), "{part} in {}", asked[0].body);
    }
    assert!(asked[1].body.contains("LifecycleHookName=terminate"), "{}", asked[1].body);
}

#[tokio::test]
async fn only_the_words_of_no_active_action_are_not_active() {
    let words = "No active Lifecycle Action found with instance ID i-0a";
    let server = Server::replying([error(400, "ValidationError", words)]).await;
    assert_eq!(group(&server).heartbeat(Hook::Launch, &i("i-0a")).await.unwrap(), HookAnswer::NotActive);
    for (reply, happened, retry) in [
        (error(400, "ValidationError", "1 validation error detected"), Happened::No, Retry::No),
        (error(400, "Throttling", "Rate exceeded"), Happened::No, Retry::Throttled),
        (error(500, "ResourceContention", "pending"), Happened::No, Retry::Yes),
        (Reply::Lost, Happened::Maybe, Retry::Yes),
    ] {
        let server = Server::replying([reply]).await;
        let fault = group(&server).complete(Hook::Launch, &i("i-0a"), HookResult::Continue).await.unwrap_err();
        assert_eq!((fault.happened, fault.retry), (happened, retry));
    }
}

#[tokio::test]
async fn launches_are_suspended_and_resumed_alone() {
    let server = Server::replying([done("SuspendProcesses"), done("ResumeProcesses")]).await;
    let g = group(&server);
    g.suspend_launches().await.unwrap();
    g.resume_launches().await.unwrap();
    for asked in server.asked() {
        assert!(asked.body.contains("ScalingProcesses.member.1=Launch"), "{}", asked.body);
        assert!(!asked.body.contains("member.2"), "{}", asked.body);
    }
}

#[tokio::test]
async fn a_function_without_hooks_answers_none() {
    let server = Server::replying([]).await;
    let g = aws(&server, RetryConfig::disabled()).group("g", None);
    let fault = g.complete(Hook::Launch, &i("i-0a"), HookResult::Abandon).await.unwrap_err();
    assert_eq!((fault.happened, fault.retry), (Happened::No, Retry::No));
    assert!(g.heartbeat(Hook::Launch, &i("i-0a")).await.is_err());
    assert!(server.asked().is_empty());
}
