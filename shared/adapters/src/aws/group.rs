//! Auto Scaling behind [`Group`].

use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_autoscaling::types::Instance;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use lifeboat_domain::ids::InstanceId;
use lifeboat_workflows::ports::fault::{Happened, Retry};
use lifeboat_workflows::ports::group::{GroupState, Hook, HookAnswer, HookResult, LifecycleState, Member};
use lifeboat_workflows::ports::{Fault, Group};

use super::fault::{Call, code};
use crate::settings::HookNames;

/// The process that launches instances, by Auto Scaling's name for it.
const LAUNCH: &str = "Launch";

/// An Auto Scaling group.
#[derive(Debug, Clone)]
pub struct AutoScalingGroup {
    client: Client,
    name: String,
    hooks: Option<HookNames>,
}

impl AutoScalingGroup {
    /// The group of this name. Without hooks it can be looked at, and no hook be answered: drive-restore alone answers.
    pub fn new(client: Client, name: &str, hooks: Option<HookNames>) -> Self {
        Self { client, name: name.to_owned(), hooks }
    }

    fn hook(&self, call: Call<'_>, hook: Hook) -> Result<&str, Fault> {
        let Some(hooks) = &self.hooks else {
            return Err(Fault::new(call.step, call.subject, Happened::No, Retry::No, "this function answers no hook"));
        };
        Ok(match hook {
            Hook::Launch => &hooks.launch,
            Hook::Terminate => &hooks.terminate,
        })
    }
}

impl Group for AutoScalingGroup {
    async fn describe(&self) -> Result<GroupState, Fault> {
        let call = Call::reads("describe group", &self.name);
        let reply = self
            .client
            .describe_auto_scaling_groups()
            .auto_scaling_group_names(&self.name)
            .send()
            .await
            .map_err(|e| call.fault(e))?;
        let group =
            reply.auto_scaling_groups().iter().find(|g| g.auto_scaling_group_name() == Some(&self.name)).ok_or_else(
                || {
                    let what = "there is no such group; check the function's LIFEBOAT_GROUP";
                    Fault::new(call.step, call.subject, Happened::No, Retry::No, what)
                },
            )?;
        let desired = group
            .desired_capacity()
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| call.nonsense("the group has no desired capacity"))?;
        Ok(GroupState {
            desired,
            launches_suspended: group.suspended_processes().iter().any(|p| p.process_name() == Some(LAUNCH)),
            members: group.instances().iter().map(|i| member(call, i)).collect::<Result<_, _>>()?,
        })
    }

    async fn heartbeat(&self, hook: Hook, instance: &InstanceId) -> Result<HookAnswer, Fault> {
        let call = Call::changes("heartbeat", instance.as_str());
        let reply = self
            .client
            .record_lifecycle_action_heartbeat()
            .auto_scaling_group_name(&self.name)
            .lifecycle_hook_name(self.hook(call, hook)?)
            .instance_id(instance.as_str())
            .send()
            .await;
        answer(call, reply)
    }

    async fn complete(&self, hook: Hook, instance: &InstanceId, result: HookResult) -> Result<HookAnswer, Fault> {
        let call = Call::changes("complete lifecycle action", instance.as_str());
        let reply = self
            .client
            .complete_lifecycle_action()
            .auto_scaling_group_name(&self.name)
            .lifecycle_hook_name(self.hook(call, hook)?)
            .instance_id(instance.as_str())
            .lifecycle_action_result(match result {
                HookResult::Continue => "CONTINUE",
                HookResult::Abandon => "ABANDON",
            })
            .send()
            .await;
        answer(call, reply)
    }

    async fn suspend_launches(&self) -> Result<(), Fault> {
        let call = Call::changes("suspend launches", &self.name);
        let reply = self.client.suspend_processes().auto_scaling_group_name(&self.name);
        reply.scaling_processes(LAUNCH).send().await.map(|_| ()).map_err(|e| call.fault(e))
    }

    async fn resume_launches(&self) -> Result<(), Fault> {
        let call = Call::changes("resume launches", &self.name);
        let reply = self.client.resume_processes().auto_scaling_group_name(&self.name);
        reply.scaling_processes(LAUNCH).send().await.map(|_| ()).map_err(|e| call.fault(e))
    }
}

/// "No active Lifecycle Action found" is a `ValidationError`, told from others by its message (facts: aws.md §2.2).
fn answer<T, E>(call: Call<'_>, reply: Result<T, SdkError<E, HttpResponse>>) -> Result<HookAnswer, Fault>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match reply {
        Ok(_) => Ok(HookAnswer::Accepted),
        Err(error) => {
            let message = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
            let gone = message.to_ascii_lowercase().contains("no active lifecycle action found");
            if code(&error) == Some("ValidationError") && gone {
                Ok(HookAnswer::NotActive)
            } else {
                Err(call.fault(error))
            }
        }
    }
}

fn member(call: Call<'_>, instance: &Instance) -> Result<Member, Fault> {
    let id = instance.instance_id().and_then(|id| InstanceId::parse(id).ok());
    let state = instance.lifecycle_state().map(|s| state(s.as_str()));
    Ok(Member {
        instance: id.ok_or_else(|| call.nonsense("an instance of the group has no id"))?,
        state: state.ok_or_else(|| call.nonsense("an instance of the group has no state"))?,
        healthy: instance.health_status().is_some_and(|h| h.eq_ignore_ascii_case("healthy")),
    })
}

fn state(text: &str) -> LifecycleState {
    match text {
        "Pending" => LifecycleState::Pending,
        "Pending:Wait" => LifecycleState::PendingWait,
        "Pending:Proceed" => LifecycleState::PendingProceed,
        "InService" => LifecycleState::InService,
        "Terminating" => LifecycleState::Terminating,
        "Terminating:Wait" => LifecycleState::TerminatingWait,
        "Terminating:Proceed" => LifecycleState::TerminatingProceed,
        "Terminating:Retained" => LifecycleState::TerminatingRetained,
        "Terminated" => LifecycleState::Terminated,
        other => LifecycleState::Other(other.to_owned()),
    }
}

#[cfg(test)]
mod tests;
