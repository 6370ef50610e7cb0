//! The fixed address's twin: one interface, attached to one instance at a time, moved by executions that take their
//! time and stop when they find another attachment than they were told (DESIGN §6 step 7).

use std::collections::BTreeMap;

use lifeboat_domain::ids::{Generation, InstanceId, hex, uuid_of};
use lifeboat_domain::keys::Key;
use lifeboat_domain::ownership::Ownership;

use super::World;
use super::calls::Call;
use super::events::Effect;
use super::world::{Due, Inner};
use crate::ports::fault::{Happened, Retry};
use crate::ports::hosts::{ExecutionId, ExecutionState};
use crate::ports::{Addresses, Fault};

/// The fixed address of a [`World`].
#[derive(Debug, Clone)]
pub struct AddressesTwin {
    pub(super) world: World,
}

/// What AWS gives for an output of a step that did not run: it is not absent.
const NO_OUTPUT: &str = "No output available yet because the step is not successfully executed";

/// The security group that admits the address's readers.
pub const READER_GROUP: &str = "sg-0readers";
/// The security group that admits the address's writers.
pub const WRITER_GROUP: &str = "sg-0writers";

/// The interface and its executions.
#[derive(Debug, Default)]
pub(super) struct AddressesModel {
    attachment: Option<(String, InstanceId)>,
    /// It was asked to let go, and its host has not.
    detaching: bool,
    groups: Vec<String>,
    executions: BTreeMap<ExecutionId, ExecutionModel>,
    failing: Vec<(String, String)>,
}

#[derive(Debug)]
struct ExecutionModel {
    state: ExecutionState,
    work: Work,
}

#[derive(Debug, Clone)]
enum Work {
    Read,
    Move { to: InstanceId, expected: Option<String>, force: bool },
    Writers { attachment: String, admitted: bool },
}

/// The next step of an execution.
#[derive(Debug, Clone)]
pub(super) struct AddressDue {
    execution: ExecutionId,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Look,
    Detached,
    GivesUp,
    Attach,
    Admit,
}

impl AddressesModel {
    /// The instance has ended: the interface is free again.
    pub(super) fn free(&mut self, instance: &InstanceId) {
        if self.attachment.as_ref().is_some_and(|(_, i)| i == instance) {
            self.attachment = None;
            self.detaching = false;
        }
    }

    /// Where a client's connection to the fixed address arrives.
    pub(super) fn arrives_at(&self) -> Option<InstanceId> {
        let (_, instance) = self.attachment.as_ref()?;
        (!self.groups.is_empty() && !self.detaching).then(|| instance.clone())
    }
}

impl World {
    /// The attachment: its id and instance.
    pub fn attachment(&self) -> Option<(String, InstanceId)> {
        self.lock().addresses.attachment.clone()
    }

    /// The security groups of the interface.
    pub fn address_groups(&self) -> Vec<String> {
        self.lock().addresses.groups.clone()
    }

    /// Sets the security groups, as `lifeboat` or a person may. None at all: no client gets through.
    pub fn set_address_groups(&self, groups: &[&str]) {
        self.lock().addresses.groups = groups.iter().map(|g| (*g).to_owned()).collect();
    }

    /// Attaches the address at once, outside every document: the first start of a test, or a meddler.
    pub fn attach_address(&self, instance: &InstanceId) {
        let mut inner = self.lock();
        inner.attach(instance);
    }

    /// A person stops an execution: what it has done stays done.
    pub fn stop_execution(&self, id: &ExecutionId) {
        let mut inner = self.lock();
        if inner.addresses.executions.get(id).is_some_and(|e| e.state == ExecutionState::Running) {
            inner.fail(id, "Cancelled", "");
        }
    }

    /// Makes the next execution end so, with its status (`Failed`, `TimedOut`, `Cancelled`) and message.
    pub fn fail_next_execution(&self, status: &str, message: &str) {
        self.lock().addresses.failing.push((status.to_owned(), message.to_owned()));
    }
}

impl Inner {
    fn attach(&mut self, instance: &InstanceId) {
        let number = self.mint();
        let id = format!("eni-attach-{}", &hex(&number.to_be_bytes())[..16]);
        self.addresses.attachment = Some((id, instance.clone()));
        self.addresses.detaching = false;
    }

    fn start(&mut self, work: Work) -> ExecutionId {
        let number = self.mint();
        let id = ExecutionId(uuid_of(&format!("execution {number}")));
        self.addresses.executions.insert(id.clone(), ExecutionModel { state: ExecutionState::Running, work });
        self.step_later(&id, Step::Look);
        id
    }

    fn step_later(&mut self, execution: &ExecutionId, step: Step) {
        let takes = match step {
            Step::GivesUp => self.settings.detach_timeout,
            Step::Look | Step::Detached | Step::Attach | Step::Admit => self.settings.automation_step_takes,
        };
        self.later(takes, Due::Address(AddressDue { execution: execution.clone(), step }));
    }

    fn end(&mut self, id: &ExecutionId, state: ExecutionState) {
        if let Some(execution) = self.addresses.executions.get_mut(id) {
            execution.state = state;
        }
    }

    fn fail(&mut self, id: &ExecutionId, status: &str, message: impl Into<String>) {
        self.end(id, ExecutionState::Failed { status: status.to_owned(), message: message.into() });
    }

    pub(super) fn address_due(&mut self, due: AddressDue) {
        let AddressDue { execution: id, step } = due;
        let Some(execution) = self.addresses.executions.get(&id) else { return };
        if execution.state != ExecutionState::Running {
            return;
        }
        if matches!(step, Step::Look)
            && let Some((status, message)) = self.addresses.failing.first().cloned()
        {
            self.addresses.failing.remove(0);
            self.fail(&id, &status, message);
            return;
        }
        match execution.work.clone() {
            Work::Read => {
                let outputs = self.read_outputs();
                self.end(&id, ExecutionState::Succeeded { outputs });
            }
            Work::Writers { attachment, admitted } => self.set_writers(&id, &attachment, admitted),
            Work::Move { to, expected, force } => self.move_step(&id, step, &to, expected.as_deref(), force),
        }
    }

    fn read_outputs(&self) -> BTreeMap<String, Vec<String>> {
        let mut outputs = BTreeMap::new();
        let status = match (&self.addresses.attachment, self.addresses.detaching) {
            (None, _) => "available",
            (Some(_), true) => "detaching",
            (Some(_), false) => "in-use",
        };
        outputs.insert("read.Status".to_owned(), vec![status.to_owned()]);
        outputs.insert("read.Groups".to_owned(), self.addresses.groups.clone());
        let (attachment, instance) = match &self.addresses.attachment {
            Some((attachment, instance)) => (attachment.clone(), instance.to_string()),
            // The step that would have asked did not run.
            None => (NO_OUTPUT.to_owned(), NO_OUTPUT.to_owned()),
        };
        outputs.insert("readAttachment.AttachmentId".to_owned(), vec![attachment]);
        outputs.insert("readAttachment.InstanceId".to_owned(), vec![instance]);
        outputs
    }

    fn set_writers(&mut self, id: &ExecutionId, attachment: &str, admitted: bool) {
        match &self.addresses.attachment {
            Some((found, _)) if found == attachment => {
                let groups = if admitted { &[READER_GROUP, WRITER_GROUP][..] } else { &[READER_GROUP] };
                self.addresses.groups = groups.iter().map(|g| (*g).to_owned()).collect();
                let outputs = BTreeMap::from([
                    ("confirm.AttachmentId".to_owned(), vec![attachment.to_owned()]),
                    ("confirm.Groups".to_owned(), self.addresses.groups.clone()),
                ]);
                self.end(id, ExecutionState::Succeeded { outputs });
            }
            found => {
                let found = found.as_ref().map_or("none", |(found, _)| found.as_str()).to_owned();
                self.fail(id, "Failed", format!("expected attachment {attachment}, found {found}"));
            }
        }
    }

    fn move_step(&mut self, id: &ExecutionId, step: Step, to: &InstanceId, expected: Option<&str>, force: bool) {
        let attachment = self.addresses.attachment.clone();
        match step {
            Step::Look => match attachment {
                Some((_, instance)) if instance == *to => self.step_later(id, Step::Admit),
                Some((found, instance)) if expected == Some(found.as_str()) => {
                    // A guest that does not answer does not let go of a device.
                    let lets_go = force || self.host_works(&instance);
                    self.addresses.detaching = true;
                    self.step_later(id, if lets_go { Step::Detached } else { Step::GivesUp });
                }
                None if expected.is_none() || self.settings.stale_move_attaches_when_detached => {
                    self.step_later(id, Step::Attach);
                }
                found => {
                    let found = found.map_or("none".to_owned(), |(attachment, _)| attachment);
                    let message = format!("expected attachment {}, found {found}", expected.unwrap_or("none"));
                    self.fail(id, "Failed", message);
                }
            },
            Step::GivesUp => self.fail(id, "TimedOut", "the interface did not become available"),
            Step::Detached => {
                // Only what was asserted is detached: an attachment id never comes back.
                if attachment.is_some_and(|(found, _)| expected == Some(found.as_str())) {
                    self.addresses.attachment = None;
                    self.addresses.detaching = false;
                }
                self.step_later(id, Step::Attach);
            }
            Step::Attach => {
                if let Some((_, instance)) = attachment {
                    self.fail(id, "Failed", format!("InvalidNetworkInterface.InUse: in use by {instance}"));
                } else if self.host_exists(to) {
                    self.attach(to);
                    let generation = self.generation().0;
                    self.effects.push(Effect::Attached { instance: to.clone(), generation });
                    self.step_later(id, Step::Admit);
                } else {
                    self.fail(id, "Failed", format!("IncorrectState: instance {to} is not running"));
                }
            }
            Step::Admit => match attachment {
                Some((_, instance)) if instance == *to => {
                    self.addresses.groups = vec![READER_GROUP.to_owned(), WRITER_GROUP.to_owned()];
                    let confirmed = self
                        .read_outputs()
                        .into_iter()
                        .filter_map(|(name, values)| Some((format!("confirm.{}", name.split_once('.')?.1), values)));
                    let outputs = confirmed.collect();
                    self.end(id, ExecutionState::Succeeded { outputs });
                }
                Some(_) | None => self.fail(id, "Failed", format!("the interface is not attached to {to} any more")),
            },
        }
    }

    fn generation(&mut self) -> Generation {
        let key = Key::Ownership.to_string();
        let bytes = self.store(World::BUCKET).bytes(&key).unwrap_or_default();
        lifeboat_domain::document::decode::<Ownership>(&key, &bytes).map_or(Generation(0), |o| o.generation)
    }
}

impl Addresses for AddressesTwin {
    async fn start_read(&self) -> Result<ExecutionId, Fault> {
        self.world.call_again(Call::StartRead, "", |inner| Ok(inner.start(Work::Read))).await
    }

    async fn start_writers(&self, attachment: &str, admitted: bool) -> Result<ExecutionId, Fault> {
        let work = Work::Writers { attachment: attachment.to_owned(), admitted };
        self.world.call_again(Call::StartWriters, attachment, |inner| Ok(inner.start(work.clone()))).await
    }

    async fn start_move(
        &self,
        to: &InstanceId,
        expected_attachment: Option<&str>,
        force: bool,
    ) -> Result<ExecutionId, Fault> {
        let expected = expected_attachment.map(str::to_owned);
        let work = Work::Move { to: to.clone(), expected, force };
        self.world.call_again(Call::StartMove, to.as_str(), |inner| Ok(inner.start(work.clone()))).await
    }

    async fn execution(&self, id: &ExecutionId) -> Result<ExecutionState, Fault> {
        self.world
            .call(Call::Execution, &id.0, |inner| {
                let state = inner.addresses.executions.get(id).map(|e| e.state.clone());
                state.ok_or_else(|| {
                    let text = "AutomationExecutionNotFoundException";
                    Fault::new(Call::Execution.name(), &id.0, Happened::No, Retry::No, text)
                })
            })
            .await
    }
}
