//! Auto Scaling, Run Command and Automation: the product's adapters on the bridge, with the product's own template.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use lifeboat_adapters::aws::{AddressDocuments, AutoScalingGroup, Aws, HostDocuments, SsmAddresses, SsmHosts};
use lifeboat_adapters::settings::HookNames;
use lifeboat_domain::event::Transition;
use lifeboat_domain::ids::InstanceId;
use lifeboat_stack::{Functions, Node, Silent, Stack, StackOptions};
use lifeboat_workflows::twins::contract::bucket::{ATTEMPTS, Trouble};
use lifeboat_workflows::twins::contract::cluster::{Act, Script, Yard};
use lifeboat_workflows::twins::contract::{self, Report};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::bucket_calls::proxy::Proxy;
use super::queue::Queue;
use crate::small::file;

/// A document that does what a file in its host's sandbox says, once.
const SCRIPT: &str = r#"if [ -f "$LIFEBOAT_ROOT/behave" ]; then mv "$LIFEBOAT_ROOT/behave" "$LIFEBOAT_ROOT/behaved"; . "$LIFEBOAT_ROOT/behaved"; fi
printf '{"ok":true,"job":"%s"}\n' "$SSM_JobId""#;

/// Longer than any test.
const NEVER_MS: u64 = 3_600_000;

struct BridgeYard<'s> {
    stack: &'s Stack,
    config: SdkConfig,
    aws: Aws,
    hosts: HostDocuments,
    addresses: AddressDocuments,
    queue: Queue<'s>,
    proxies: Mutex<Vec<Proxy>>,
}

async fn stack() -> Result<Stack> {
    let names = ["create-backup", "verify-checksums", "flip-manifest", "drive-restore", "prune-backups"];
    let functions = Functions::Given(BTreeMap::from(names.map(|name| (name.to_owned(), file("echo-bootstrap")))));
    let options = StackOptions { functions, node: Node::None, name: "cluster".to_owned(), ..StackOptions::default() };
    Stack::start(options.knob("schedules", false).knob("health_ms", 100), &Silent).await
}

impl<'s> BridgeYard<'s> {
    async fn new(stack: &'s Stack) -> Result<Self> {
        let parameter = |default: &str| json!({"type": "String", "default": default, "interpolationType": "ENV_VAR"});
        let content = json!({
            "schemaVersion": "2.2",
            "parameters": {"JobId": {"type": "String", "interpolationType": "ENV_VAR"},
                "Instance": parameter(""), "Order": parameter("")},
            "mainSteps": [{"action": "aws:runShellScript", "name": "behave",
                "inputs": {"timeoutSeconds": "5", "runCommand": [SCRIPT]}}]});
        let document = json!({"Name": "contract-host", "DocumentType": "Command", "Content": content.to_string()});
        stack.call("ssm", "create_document", document).await??;
        let pattern = json!({"source": ["aws.autoscaling"]});
        let queue = Queue::listening(stack, "hooks", &pattern).await?;
        let quick = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(Duration::from_millis(10));
        let config = stack.sdk_config().await.into_builder().retry_config(quick).build();
        let output = |name: &str| stack.output(name).map(str::to_owned);
        let hosts = ["contract-host"; 3].map(str::to_owned);
        let [prepare, probe, tend] = hosts;
        Ok(Self {
            stack,
            aws: Aws::new(&config),
            config,
            hosts: HostDocuments { prepare, probe, tend },
            addresses: AddressDocuments {
                read: output("ReadAddressDocumentName")?,
                move_to: output("MoveAddressDocumentName")?,
                writers: output("SetWritersDocumentName")?,
            },
            queue,
            proxies: Mutex::default(),
        })
    }

    async fn call(&self, service: &str, api: &str, request: Value) -> Result<Value> {
        Ok(self.stack.call(service, api, request).await??)
    }

    async fn knob(&self, name: &str, value: impl Into<Value>) -> Result<()> {
        self.stack.set_knobs(json!({name: value.into()})).await.map(drop)
    }

    async fn does(&self, act: Act) -> Result<()> {
        let group = self.stack.output("GroupName")?;
        let held = |hold: bool, usual: u64| if hold { NEVER_MS } else { usual };
        match act {
            Act::Desire(count) => {
                let wanted = json!({"AutoScalingGroupName": group, "DesiredCapacity": count});
                self.call("autoscaling", "set_desired_capacity", wanted).await.map(drop)
            }
            Act::Replace(instance) => {
                let health = json!({"InstanceId": instance.as_str(), "HealthStatus": "Unhealthy"});
                self.call("autoscaling", "set_instance_health", health).await.map(drop)
            }
            Act::Kill(instance) => self.stack.kill_instance(instance.as_str()).await.map(drop),
            Act::LetGo(instance) => {
                let request = json!({"InstanceId": instance.as_str(), "ShouldDecrementDesiredCapacity": false});
                self.call("autoscaling", "terminate_instance_in_auto_scaling_group", request).await.map(drop)
            }
            Act::Hang(instance) => self.stack.hang_instance(instance.as_str()).await.map(drop),
            Act::HoldBoot(hold) => self.knob("boot_ms", held(hold, 80)).await,
            Act::HoldAgents(hold) => self.knob("agent_registers", !hold).await,
            Act::HoldSight(hold) => self.knob("visible_ms", held(hold, 0)).await,
            Act::HoldSteps(hold) => self.knob("attach_ms", held(hold, 100)).await,
            Act::Hurry(hurry) => self.knob("command_second_ms", if hurry { 20 } else { 1000 }).await,
            Act::Script(instance, script) => {
                let text = match script {
                    Script::Exit(code, line) => format!("echo '{line}' >&2; exit {code}\n"),
                    Script::Hang => "sleep 600\n".to_owned(),
                    Script::Loud(out, err) => {
                        format!(
                            "head -c {out} /dev/zero | tr '\\0' x; head -c {err} /dev/zero | tr '\\0' y >&2; exit 0\n"
                        )
                    }
                };
                let host = self.stack.instance(instance.as_str()).await?;
                std::fs::write(host.sandbox.join("behave"), text).context("the sandbox is writable")
            }
            Act::Cancel(_, command) => {
                self.call("ssm", "cancel_command", json!({"CommandId": command.0})).await.map(drop)
            }
            Act::Stop(execution) => {
                let stop = json!({"AutomationExecutionId": execution.0, "Type": "Cancel"});
                self.call("ssm", "stop_automation_execution", stop).await.map(drop)
            }
        }
    }
}

impl Yard for BridgeYard<'_> {
    type Group = AutoScalingGroup;
    type Hosts = SsmHosts;
    type Addresses = SsmAddresses;

    fn group(&self) -> AutoScalingGroup {
        let hooks = HookNames { launch: "launch".to_owned(), terminate: "terminate".to_owned() };
        self.aws.group(self.stack.output("GroupName").expect("the template has it"), Some(&hooks))
    }
    fn hosts(&self) -> SsmHosts {
        self.aws.hosts(Some(&self.hosts))
    }
    fn hosts_without_documents(&self) -> SsmHosts {
        let none = || "no-such-document".to_owned();
        self.aws.hosts(Some(&HostDocuments { prepare: none(), probe: none(), tend: none() }))
    }
    async fn unheard_hosts(&self) -> SsmHosts {
        let upstream = self.stack.endpoint().trim_start_matches("http://");
        let sends = |head: &str| head.to_ascii_lowercase().contains("x-amz-target: amazonssm.sendcommand");
        let proxy = Proxy::start(upstream, Trouble::ReplyLost { times: ATTEMPTS }, sends, None).await;
        let through = self.config.clone().into_builder().endpoint_url(format!("http://{}", proxy.address)).build();
        self.proxies.lock().await.push(proxy);
        Aws::new(&through).hosts(Some(&self.hosts))
    }
    fn addresses(&self) -> SsmAddresses {
        self.aws.addresses(&self.addresses)
    }
    async fn act(&self, act: Act) {
        let what = format!("{act:?}");
        self.does(act).await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
    }
    async fn pass(&self, seconds: u64) {
        self.stack.pass_hook_time(seconds).await.expect("time passes");
    }
    async fn breathe(&self) {
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    fn patience(&self) -> u32 {
        2400
    }
    fn a_while(&self) -> u32 {
        // Several of the group's health checks.
        16
    }
    async fn told(&self) -> Vec<(Transition, InstanceId)> {
        let mut told = Vec::new();
        for event in self.queue.events().await.expect("the events can be read") {
            let transition = match event["detail-type"].as_str() {
                Some("EC2 Instance-launch Lifecycle Action") => Transition::Launching,
                Some("EC2 Instance-terminate Lifecycle Action") => Transition::Terminating,
                _ => continue,
            };
            let id = event["detail"]["EC2InstanceId"].as_str().and_then(|id| InstanceId::parse(id).ok());
            told.push((transition, id.expect("a hook's event names its instance")));
        }
        told
    }
}

/// Operations that the product's adapters and documents use, each of which the suite must have met.
const MET: &[&str] = &[
    "autoscaling.DescribeAutoScalingGroups",
    "autoscaling.CompleteLifecycleAction",
    "autoscaling.CompleteLifecycleAction!ValidationError",
    "autoscaling.RecordLifecycleActionHeartbeat",
    "autoscaling.SuspendProcesses",
    "autoscaling.ResumeProcesses",
    "autoscaling.SetInstanceHealth",
    "autoscaling.TerminateInstanceInAutoScalingGroup",
    "autoscaling.DescribeAutoScalingInstances",
    "autoscaling.DescribeLifecycleHooks",
    "autoscaling.DescribeScalingActivities",
    "ssm.SendCommand",
    "ssm.SendCommand!InvalidInstanceId",
    "ssm.SendCommand!InvalidDocument",
    "ssm.GetCommandInvocation",
    "ssm.GetCommandInvocation!InvocationDoesNotExist",
    "ssm.ListCommandInvocations",
    "ssm.ListCommands",
    "ssm.CancelCommand",
    "ssm.DescribeInstanceInformation",
    "ssm.StartAutomationExecution",
    "ssm.GetAutomationExecution",
    "ssm.GetAutomationExecution!AutomationExecutionNotFoundException",
    "ssm.StopAutomationExecution",
    "ssm.DescribeAutomationExecutions",
    "ssm.CreateDocument",
    "ssm.DescribeDocument",
    "ssm.GetDocument",
    "ssm.ListDocuments",
    "ec2.DescribeNetworkInterfaces",
    "ec2.AttachNetworkInterface",
    "ec2.DetachNetworkInterface",
    "ec2.ModifyNetworkInterfaceAttribute",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_adapters_keep_the_contract_of_group_hosts_and_address_on_the_bridge() -> Result<()> {
    let stack = stack().await?;
    let yard = BridgeYard::new(&stack).await?;
    let mut report = Report::new("the bridge: group, hosts and address", &[]);
    contract::cluster::play(&yard, &mut report).await;
    report.say();

    // What the suite does not ask for by itself, once, while there is something to tell.
    let group = json!({"AutoScalingGroupName": stack.output("GroupName")?});
    for api in ["describe_lifecycle_hooks", "describe_scaling_activities"] {
        yard.call("autoscaling", api, group.clone()).await?;
    }
    yard.call("autoscaling", "describe_auto_scaling_instances", json!({})).await?;
    for api in ["list_commands", "describe_automation_executions", "list_documents"] {
        yard.call("ssm", api, json!({})).await?;
    }
    for api in ["describe_document", "get_document"] {
        yard.call("ssm", api, json!({"Name": "contract-host"})).await?;
    }
    let model = stack.model().await?;
    let unmet: Vec<_> = MET.iter().filter(|name| !model.checked.contains_key(**name)).collect();
    assert!(unmet.is_empty(), "the suite never met {unmet:?}: {:?}", model.checked);
    assert!(model.violations.is_empty(), "answers that the services' models do not allow: {:#?}", model.violations);
    report.assert_kept();
    Ok(())
}
