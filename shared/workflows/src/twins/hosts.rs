//! The hosts twin: agents that register late and go silent unnoticed, commands that run in their own time, jobs that a
//! host obeys once (facts: aws.md §3.1, §3.3).

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use lifeboat_domain::ids::{InstanceId, JobId, uuid_of};
use serde_json::json;

use super::World;
use super::calls::Call;
use super::events::Effect;
use super::world::{Due, Inner};
use crate::ports::hosts::{Agent, CommandId, CommandState, HostDocument, SendOutcome, TendOrder};
use crate::ports::{Fault, Hosts};

/// The hosts of a [`World`].
#[derive(Debug, Clone)]
pub struct HostsTwin {
    pub(super) world: World,
}

/// How a scripted command ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandScript {
    /// The script ends with this exit code, and the host remembers it for the job.
    Exit {
        /// Not 0.
        code: i32,
        /// What it says on its error output.
        stderr: String,
    },
    /// The script succeeds, after so many characters of output, of which SSM keeps the first.
    Loud {
        /// Of its output.
        stdout_chars: usize,
        /// Of its error output.
        stderr_chars: usize,
    },
    /// The script never ends; after the command's timeout it is `ExecutionTimedOut`, and the job was cut short.
    Hang,
    /// SSM never delivers it: it ends with these status details, such as `Undeliverable`.
    Undelivered(String),
}

/// All hosts.
#[derive(Debug, Default)]
pub(super) struct HostsModel {
    hosts: BTreeMap<InstanceId, Host>,
    commands: BTreeMap<CommandId, CommandModel>,
    scripts: BTreeMap<HostDocument, VecDeque<CommandScript>>,
}

#[derive(Debug)]
struct Host {
    address: String,
    registers_at: Timestamp,
    /// Terminated in EC2 since then: SSM soon stops to return it.
    terminated_since: Option<Timestamp>,
    /// Hung since then: nothing on it moves, and nobody is told.
    silent_since: Option<Timestamp>,
    jobs: BTreeMap<JobId, Option<(i32, String)>>,
    latest_job: Option<JobId>,
    lock: Option<CommandId>,
    accepted_via_fixed: u64,
}

#[derive(Debug)]
struct CommandModel {
    instance: InstanceId,
    document: HostDocument,
    job: JobId,
    number: u64,
    sent_at: Timestamp,
    /// The script has begun on its host.
    begun: bool,
    end: Option<CommandState>,
    script: Option<CommandScript>,
}

/// What happens to commands by themselves.
#[derive(Debug, Clone)]
pub(super) enum CommandDue {
    Starts(CommandId),
    Ends(CommandId),
    GivesUp(CommandId),
}

/// The exit code of a script that its agent stopped (facts: aws.md §3.1, `CommandStoppedPreemptively`).
const STOPPED: i32 = 137;
/// What SSM keeps of an output, and how the agent says that there was more (facts: aws.md §3.1).
const STDOUT_CHARS_MAX: usize = 24_000;
const STDERR_CHARS_MAX: usize = 8_000;
const TRUNCATED: &str = "--output truncated--";

fn kept(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let head: String = text.chars().take(chars_max - TRUNCATED.len()).collect();
    format!("{head}{TRUNCATED}")
}

impl Host {
    fn works(&self) -> bool {
        self.terminated_since.is_none() && self.silent_since.is_none()
    }
}

impl World {
    /// A person cancels a command: what runs is stopped, what has ended stays so.
    pub fn cancel_command(&self, id: &CommandId) {
        let mut inner = self.lock();
        let Some(command) = inner.hosts.commands.get_mut(id).filter(|c| c.end.is_none()) else { return };
        let code = command.begun.then_some(STOPPED);
        command.end = Some(failed("Cancelled", code, "", ""));
        let instance = command.instance.clone();
        if let Some(host) = inner.hosts.hosts.get_mut(&instance)
            && host.lock.as_ref() == Some(id)
        {
            host.lock = None;
        }
    }

    /// Makes the next command of this document end differently. Several scripts queue up in order.
    pub fn script_command(&self, document: HostDocument, script: CommandScript) {
        self.lock().hosts.scripts.entry(document).or_default().push_back(script);
    }

    /// A host's own address; of a host that is gone too.
    ///
    /// # Panics
    /// If there never was such a host.
    pub fn address_of(&self, instance: &InstanceId) -> String {
        self.lock().hosts.hosts.get(instance).expect("the host was launched once").address.clone()
    }

    /// A host hangs: nothing answers, commands never end, and SSM calls it `Online` for a while yet.
    pub fn hang_host(&self, instance: &InstanceId) {
        let mut inner = self.lock();
        let now = inner.now;
        if let Some(host) = inner.hosts.hosts.get_mut(instance) {
            host.silent_since = Some(now);
        }
    }
}

impl Inner {
    /// A host that boots now; its agent registers later.
    pub(super) fn new_host(&mut self) -> InstanceId {
        let number = self.hosts.hosts.len() + 1;
        let instance = InstanceId::parse(&format!("i-{number:017x}")).expect("hexadecimal digits after 'i-'");
        let address = format!("127.16.{}.{}", number / 250, number % 250 + 1);
        let registers_at = self.after(self.settings.agent_takes);
        let host = Host {
            address,
            registers_at,
            terminated_since: None,
            silent_since: None,
            jobs: BTreeMap::new(),
            latest_job: None,
            lock: None,
            accepted_via_fixed: 0,
        };
        self.hosts.hosts.insert(instance.clone(), host);
        instance
    }

    /// Makes an agent registered as of now.
    pub(super) fn register_agent(&mut self, instance: &InstanceId) {
        let now = self.now;
        if let Some(host) = self.hosts.hosts.get_mut(instance) {
            host.registers_at = now;
        }
    }

    /// EC2 begins to end the instance: what runs on it stops.
    pub(super) fn shut_down_host(&mut self, instance: &InstanceId) {
        let now = self.now;
        if let Some(host) = self.hosts.hosts.get_mut(instance) {
            host.terminated_since.get_or_insert(now);
        }
        self.nodes.remove(instance);
    }

    /// EC2 has ended the instance: its disks are wiped and its address is free.
    pub(super) fn end_host(&mut self, instance: &InstanceId) {
        self.shut_down_host(instance);
        self.addresses.free(instance);
    }

    /// Whether software on the host runs.
    pub(super) fn host_works(&self, instance: &InstanceId) -> bool {
        self.hosts.hosts.get(instance).is_some_and(Host::works)
    }

    /// Whether EC2 still has the instance running.
    pub(super) fn host_exists(&self, instance: &InstanceId) -> bool {
        self.hosts.hosts.get(instance).is_some_and(|h| h.terminated_since.is_none())
    }

    /// The instance with this own address.
    pub(super) fn instance_at(&self, address: &str) -> Option<InstanceId> {
        self.hosts.hosts.iter().find(|(_, h)| h.address == address).map(|(i, _)| i.clone())
    }

    /// Counts a connection that reached the host by the fixed address.
    pub(super) fn accept_via_fixed(&mut self, instance: &InstanceId) {
        if let Some(host) = self.hosts.hosts.get_mut(instance) {
            host.accepted_via_fixed += 1;
        }
    }

    fn agent(&self, instance: &InstanceId) -> Agent {
        let Some(host) = self.hosts.hosts.get(instance) else { return Agent::Absent };
        let passed = |since: Option<Timestamp>| since.map(|since| self.now.duration_since(since).unsigned_abs());
        let unlisted = passed(host.terminated_since).is_some_and(|t| t >= self.settings.terminated_listed);
        let stopped_at = host.terminated_since.into_iter().chain(host.silent_since).min().unwrap_or(self.now);
        if unlisted || host.registers_at > stopped_at {
            return Agent::Absent;
        }
        if passed(host.silent_since).is_some_and(|t| t >= self.settings.agent_stale) {
            return Agent::Lost;
        }
        Agent::Online { address: host.address.clone() }
    }

    fn send(&mut self, instance: &InstanceId, document: HostDocument, job: &JobId) -> SendOutcome {
        if self.agent(instance) == Agent::Absent || !self.host_exists(instance) {
            return SendOutcome::NotReady;
        }
        let number = self.mint();
        let id = CommandId(uuid_of(&format!("command {number}")));
        let visible = self.settings.command_visible_after;
        let command = CommandModel {
            instance: instance.clone(),
            document,
            job: job.clone(),
            number,
            sent_at: self.now,
            begun: false,
            end: None,
            script: self.hosts.scripts.get_mut(&document).and_then(VecDeque::pop_front),
        };
        self.hosts.commands.insert(id.clone(), command);
        self.later(visible, Due::Command(CommandDue::Starts(id.clone())));
        self.later(self.settings.command_timeout, Due::Command(CommandDue::GivesUp(id.clone())));
        SendOutcome::Sent(id)
    }

    fn visible(&self, command: &CommandModel) -> bool {
        self.now.duration_since(command.sent_at).unsigned_abs() >= self.settings.sight_takes
    }

    fn command_state(&self, instance: &InstanceId, id: &CommandId) -> CommandState {
        match self.hosts.commands.get(id) {
            Some(command) if command.instance == *instance && self.visible(command) => {
                command.end.clone().unwrap_or(CommandState::Running)
            }
            Some(_) | None => CommandState::NotVisible,
        }
    }

    pub(super) fn command_due(&mut self, due: CommandDue) {
        match due {
            CommandDue::Starts(id) => self.command_starts(&id),
            CommandDue::Ends(id) => self.command_ends(&id),
            CommandDue::GivesUp(id) => {
                let Some(command) = self.hosts.commands.get_mut(&id).filter(|c| c.end.is_none()) else { return };
                // The agent's timer stops a script; of a host that does not answer SSM only knows that it did not.
                let stopped = command.begun && self.hosts.hosts.get(&command.instance).is_some_and(Host::works);
                let (details, code) =
                    if stopped { ("ExecutionTimedOut", Some(STOPPED)) } else { ("DeliveryTimedOut", None) };
                command.end = Some(failed(details, code, "", ""));
                if let Some(host) = self.hosts.hosts.get_mut(&command.instance)
                    && host.lock.as_ref() == Some(&id)
                {
                    host.lock = None;
                }
            }
        }
    }

    fn command_starts(&mut self, id: &CommandId) {
        let Some(command) = self.hosts.commands.get_mut(id).filter(|c| c.end.is_none()) else { return };
        if let Some(CommandScript::Undelivered(details)) = &command.script {
            command.end = Some(failed(details, None, "", ""));
            return;
        }
        let (instance, document, job) = (command.instance.clone(), command.document, command.job.clone());
        let hangs = command.script == Some(CommandScript::Hang);
        if !self.host_works(&instance) {
            return;
        }
        if let Some(command) = self.hosts.commands.get_mut(id) {
            command.begun = true;
        }
        let takes = match document {
            HostDocument::Prepare => self.settings.prepare_takes,
            HostDocument::Probe | HostDocument::Tend(_) => self.settings.probe_takes,
        };
        if document == HostDocument::Prepare
            && let Some(end) = self.refused_or_remembered(&instance, &job)
        {
            self.end_command(id, end);
            return;
        }
        if document == HostDocument::Prepare
            && let Some(host) = self.hosts.hosts.get_mut(&instance)
        {
            host.jobs.insert(job.clone(), None);
            host.latest_job = Some(job);
            host.lock = Some(id.clone());
        }
        if !hangs {
            self.later(takes, Due::Command(CommandDue::Ends(id.clone())));
        }
    }

    /// What the host says at once: busy, superseded, or what it answered to this job before.
    fn refused_or_remembered(&self, instance: &InstanceId, job: &JobId) -> Option<CommandState> {
        let host = self.hosts.hosts.get(instance)?;
        let busy = |error: &str| {
            let answer = json!({"ok": false, "job": job.as_str(), "step": "lock", "code": 75, "error": error});
            Some(failed("Failed", Some(75), &answer.to_string(), error))
        };
        if host.lock.is_some() {
            return busy("another job is at work on this host");
        }
        match host.jobs.get(job)? {
            Some((0, stdout)) => Some(CommandState::Succeeded { stdout: stdout.clone() }),
            Some((code, stdout)) => Some(failed("Failed", Some(*code), stdout, "")),
            None if host.latest_job.as_ref() == Some(job) => None,
            None => busy("a later job has begun since"),
        }
    }

    fn command_ends(&mut self, id: &CommandId) {
        let Some(command) = self.hosts.commands.get_mut(id).filter(|c| c.end.is_none()) else { return };
        let (instance, document, job) = (command.instance.clone(), command.document, command.job.clone());
        let script = command.script.take();
        if !self.host_works(&instance) {
            return;
        }
        let (scripted, loud) = match script {
            Some(CommandScript::Exit { code, stderr }) => (Some((code, stderr)), None),
            Some(CommandScript::Loud { stdout_chars, .. }) => (None, Some("x".repeat(stdout_chars))),
            Some(CommandScript::Hang | CommandScript::Undelivered(_)) | None => (None, None),
        };
        if scripted.is_none() {
            if document == HostDocument::Prepare {
                self.start_node(&instance, None);
            }
            if let HostDocument::Tend(order) = document {
                self.tend(&instance, order);
            }
            self.effects.push(Effect::JobObeyed { instance: instance.clone(), document, job: job.clone() });
        }
        let running = self.nodes.contains_key(&instance);
        let free_bytes = self.settings.free_bytes;
        let Some(host) = self.hosts.hosts.get_mut(&instance) else { return };
        let data_path = "/workspace/weaviate/data";
        let stdout = match (&scripted, document) {
            (Some((code, error)), _) => {
                json!({"ok": false, "job": job.as_str(), "step": "scripted", "code": code, "error": error})
            }
            (None, HostDocument::Prepare) => json!({
                "ok": true, "job": job.as_str(), "address": host.address, "data_path": data_path,
                "container": "weaviate", "free_bytes": free_bytes, "pid": 4242
            }),
            (None, HostDocument::Probe) => json!({
                "ok": true, "container_running": running, "accepted_via_fixed": host.accepted_via_fixed,
                "mount_ok": true, "free_bytes": free_bytes, "data_path": data_path
            }),
            (None, HostDocument::Tend(order)) => json!({
                "ok": true, "job": job.as_str(), "order": order.name(), "reset": 3, "remaining": 0
            }),
        };
        let stdout = loud.unwrap_or_else(|| format!("{stdout}\n"));
        let (code, stderr) = scripted.unwrap_or_default();
        if document == HostDocument::Prepare {
            host.jobs.insert(job, Some((code, stdout.clone())));
            host.lock = None;
        }
        let end = match code {
            0 => CommandState::Succeeded { stdout },
            code => failed("Failed", Some(code), &stdout, &stderr),
        };
        self.end_command(id, end);
    }

    fn tend(&mut self, instance: &InstanceId, order: TendOrder) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        match order {
            TendOrder::ShutOut { read_only } => node.read_only = read_only,
            TendOrder::Readmit => node.read_only = false,
            TendOrder::Restart => self.restart_node(instance),
        }
    }

    fn end_command(&mut self, id: &CommandId, end: CommandState) {
        if let Some(command) = self.hosts.commands.get_mut(id) {
            command.end = Some(match end {
                CommandState::Succeeded { stdout } => {
                    CommandState::Succeeded { stdout: kept(&stdout, STDOUT_CHARS_MAX) }
                }
                CommandState::Failed { details, exit_code, stdout, stderr } => {
                    failed(&details, exit_code, &kept(&stdout, STDOUT_CHARS_MAX), &kept(&stderr, STDERR_CHARS_MAX))
                }
                open @ (CommandState::NotVisible | CommandState::Running) => open,
            });
        }
    }
}

fn failed(details: &str, exit_code: Option<i32>, stdout: &str, stderr: &str) -> CommandState {
    CommandState::Failed {
        details: details.to_owned(),
        exit_code,
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
    }
}

impl Hosts for HostsTwin {
    async fn agent(&self, instance: &InstanceId) -> Result<Agent, Fault> {
        self.world.call(Call::Agent, instance.as_str(), |inner| Ok(inner.agent(instance))).await
    }

    async fn find(&self, instance: &InstanceId, job: &JobId) -> Result<Option<CommandId>, Fault> {
        self.world
            .call(Call::Find, job.as_str(), |inner| {
                let commands = inner.hosts.commands.iter();
                let of_job = commands.filter(|(_, c)| c.instance == *instance && c.job == *job && inner.visible(c));
                Ok(of_job.max_by_key(|(_, c)| c.number).map(|(id, _)| id.clone()))
            })
            .await
    }

    async fn send(&self, instance: &InstanceId, document: HostDocument, job: &JobId) -> Result<SendOutcome, Fault> {
        self.world.call_again(Call::Send, job.as_str(), |inner| Ok(inner.send(instance, document, job))).await
    }

    async fn command(&self, instance: &InstanceId, command: &CommandId) -> Result<CommandState, Fault> {
        self.world.call(Call::Command, &command.0, |inner| Ok(inner.command_state(instance, command))).await
    }
}
