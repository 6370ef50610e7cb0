//! The twins as places of the contracts.

use std::time::Duration;

use lifeboat_domain::event::{Hint, Transition};
use lifeboat_domain::ids::InstanceId;

use super::bucket::{ATTEMPTS, Place, Trouble};
use super::cluster::{Act, Script, Yard};
use crate::ports::hosts::HostDocument;
use crate::twins::{
    AddressesTwin, BucketTwin, Call, CommandScript, Event, Failure, GroupTwin, HostsTwin, Settings, World,
};

/// The bucket's twin as a place.
#[derive(Debug)]
pub struct TwinPlace(World);

impl TwinPlace {
    /// The cluster's bucket of a world, as that world's settings make it.
    pub fn new(world: World) -> Self {
        Self(world)
    }
}

impl Place for TwinPlace {
    type Bucket = BucketTwin;

    fn writer(&self) -> BucketTwin {
        self.0.bucket()
    }
    fn versioned(&self) -> bool {
        self.0.settings().versioned
    }
    fn page_size(&self, entries: Option<usize>) {
        self.0.set(|s| s.page_size = entries.unwrap_or(1000));
    }
    fn can_trouble(&self) -> Result<(), String> {
        Ok(())
    }
    async fn troubled(&self, trouble: Trouble) -> BucketTwin {
        let bucket = self.0.bucket();
        match trouble {
            // What the adapter's own retries absorb, a workflow never sees.
            Trouble::ReplyLost { times } if times < ATTEMPTS => {}
            Trouble::ReplyLost { .. } => self.0.fail_next(Call::Put, "", Failure::ReplyLost),
            Trouble::Overtaken { key, by } => drop(bucket.put_raw(&key, by)),
            Trouble::WrittenOver { key, by } => bucket.write_over_next_put(&key, by),
            Trouble::Damaged => self.0.fail_next(Call::Put, "", Failure::Denied),
        }
        bucket
    }
    async fn overwrite(&self, key: &str, body: Vec<u8>) {
        self.0.bucket().put_raw(key, body);
    }
    async fn upload(&self, key: &str, parts: Vec<Vec<u8>>) -> String {
        self.0.bucket().put_parts(key, &parts)
    }
    async fn delete(&self, key: &str) {
        self.0.bucket().delete(key);
    }
    async fn delete_version(&self, key: &str, version_id: &str) {
        self.0.bucket().delete_version(key, version_id);
    }
    fn can_tell(&self) -> Result<(), String> {
        Ok(())
    }
    async fn told(&self, prefix: &str, _: &str) -> Vec<String> {
        let keys = self.0.events().into_iter().filter_map(|e| match e {
            Event::ObjectCreated { key, .. } if key.starts_with(prefix) => Some(key),
            Event::ObjectCreated { .. } | Event::LifecycleAction { .. } => None,
        });
        keys.collect()
    }
}

/// The twins of group, hosts and address as a yard.
#[derive(Debug)]
pub struct TwinYard(pub World);

impl Yard for TwinYard {
    type Group = GroupTwin;
    type Hosts = HostsTwin;
    type Addresses = AddressesTwin;

    fn group(&self) -> GroupTwin {
        self.0.group()
    }
    fn hosts(&self) -> HostsTwin {
        self.0.hosts()
    }
    fn hosts_without_documents(&self) -> HostsTwin {
        // The twin's documents are an enumeration: what SSM says of another one is what is said here.
        self.0.fail_next(Call::Send, "", Failure::Denied);
        self.0.hosts()
    }
    async fn unheard_hosts(&self) -> HostsTwin {
        self.0.fail_next(Call::Send, "", Failure::ReplyLost);
        self.0.hosts()
    }
    fn addresses(&self) -> AddressesTwin {
        self.0.addresses()
    }
    async fn act(&self, act: Act) {
        let (world, by_default) = (&self.0, Settings::default());
        let long = Duration::from_secs(3600 * 24 * 365);
        let held = |hold: bool, usual: Duration| if hold { long } else { usual };
        match act {
            Act::Desire(count) => world.set_desired(count),
            Act::Replace(instance) => world.replace(&instance),
            Act::Kill(instance) => world.kill(&instance),
            Act::LetGo(instance) => world.let_go(&instance),
            Act::Hang(instance) => world.hang_host(&instance),
            Act::HoldBoot(hold) => world.set(|s| s.boot_takes = held(hold, by_default.boot_takes)),
            Act::HoldAgents(hold) => world.set(|s| s.agent_takes = held(hold, by_default.agent_takes)),
            Act::HoldSight(hold) => world.set(|s| s.sight_takes = held(hold, by_default.sight_takes)),
            Act::HoldSteps(hold) => {
                world.set(|s| s.automation_step_takes = held(hold, by_default.automation_step_takes));
            }
            Act::Hurry(hurry) => {
                world.set(|s| {
                    let minute = Duration::from_secs(60);
                    s.command_timeout = if hurry { minute } else { by_default.command_timeout };
                });
            }
            Act::Script(_, script) => world.script_command(HostDocument::Probe, scripted(script)),
            Act::Cancel(_, command) => world.cancel_command(&command),
            Act::Stop(execution) => world.stop_execution(&execution),
        }
    }
    async fn pass(&self, seconds: u64) {
        self.0.advance(Duration::from_secs(seconds));
    }
    async fn breathe(&self) {
        self.0.advance(Duration::from_secs(1));
    }
    fn patience(&self) -> u32 {
        3600
    }
    fn a_while(&self) -> u32 {
        120
    }
    async fn told(&self) -> Vec<(Transition, InstanceId)> {
        let told = self.0.events().into_iter().filter_map(|e| match e.hint() {
            Hint::LifecycleAction { transition, instance, .. } => Some((transition, instance)),
            _ => None,
        });
        told.collect()
    }
}

fn scripted(script: Script) -> CommandScript {
    match script {
        Script::Exit(code, stderr) => CommandScript::Exit { code, stderr },
        Script::Hang => CommandScript::Hang,
        Script::Loud(stdout_chars, stderr_chars) => CommandScript::Loud { stdout_chars, stderr_chars },
    }
}
