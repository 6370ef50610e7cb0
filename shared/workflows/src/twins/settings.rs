//! How the world behaves.

use std::time::Duration;

use super::node::NodeFaults;

/// How the world behaves. The defaults are what AWS and Weaviate do by their facts sheets, on the slow side.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long every call takes.
    pub call_takes: Duration,
    /// Entries of a page of a listing.
    pub page_size: usize,
    /// Whether buckets keep versions.
    pub versioned: bool,
    /// The largest object that is copied in one piece, and so with a SHA-256 of all its bytes.
    pub whole_copy_bytes_max: u64,
    /// Whether a put whose condition fails, but whose very bytes are there already, is `Written` instead of `Lost`. False
    /// is what the S3 adapter does, by the mark that each write leaves; true is an adapter that only compares bytes, with
    /// which two writers of equal bytes both believe that they won. Workflows must bear both.
    pub identical_put_counts_as_written: bool,
    /// From a launch to `Pending:Wait`.
    pub boot_takes: Duration,
    /// From a launch to the SSM agent's registration.
    pub agent_takes: Duration,
    /// From `Proceed` to the next state, and from the wish to launch to the launch.
    pub proceed_takes: Duration,
    /// From a death that nobody asked for to Auto Scaling's notice of it.
    pub health_check_takes: Duration,
    /// From `Terminating:Proceed` to the instance's end, when its address is freed too.
    pub terminate_takes: Duration,
    /// A hook's timer, restarted by a heartbeat.
    pub heartbeat_timeout: Duration,
    /// A hook's limit, whatever the heartbeats.
    pub hook_limit: Duration,
    /// Whether an instance whose launch hook was abandoned meets the terminate hook (facts do not say; the harder one
    /// is the default).
    pub terminate_hook_after_launch_abandon: bool,
    /// How long SSM calls a silent agent `Online`.
    pub agent_stale: Duration,
    /// How long SSM goes on to list a terminated instance as `Online`; commands to it are refused at once.
    pub terminated_listed: Duration,
    /// From a send until the command starts.
    pub command_visible_after: Duration,
    /// From a send until the command can be seen.
    pub sight_takes: Duration,
    /// Free bytes of a host's data volume, as it reports them.
    pub free_bytes: u64,
    /// How long a Prepare takes.
    pub prepare_takes: Duration,
    /// How long a Probe takes.
    pub probe_takes: Duration,
    /// When a command that does not end is given up.
    pub command_timeout: Duration,
    /// How long each step of an Automation takes.
    pub automation_step_takes: Duration,
    /// Whether a move that expects an attachment goes on when it finds the address detached. The port says that it
    /// stops; a document that only asserts what is attached goes on.
    pub stale_move_attaches_when_detached: bool,
    /// When an Automation gives up waiting for a detachment.
    pub detach_timeout: Duration,
    /// What nodes are like that are started from now on.
    pub node: NodeSettings,
}

/// What a node is like.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// `CLUSTER_HOSTNAME`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its source revision.
    pub git_hash: String,
    /// Whether it has the REST search API, and not GraphQL alone.
    pub rest_search: bool,
    /// `BACKUP_SKIP_ACCESS_CHECK`.
    pub skip_access_check: bool,
    /// Objects per chunk; a shard with more has several chunks, a shard with none has one all the same.
    pub chunk_objects_max: usize,
    /// Rounds after which a create or restore is done: the first at 2 s, the others 10 s apart.
    pub rounds: u32,
    /// From the start of the container until it listens.
    pub listens_after: Duration,
    /// From the start of the container until it is ready.
    pub ready_after: Duration,
    /// Modules of `/v1/meta`, beside `backup-s3`.
    pub modules: Vec<String>,
    /// What goes wrong on it from its start.
    pub faults: NodeFaults,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            call_takes: Duration::from_millis(10),
            page_size: 1000,
            versioned: true,
            whole_copy_bytes_max: 5 << 30,
            identical_put_counts_as_written: false,
            boot_takes: Duration::from_secs(5),
            agent_takes: Duration::from_secs(30),
            proceed_takes: Duration::from_secs(1),
            health_check_takes: Duration::from_secs(10),
            terminate_takes: Duration::from_secs(30),
            heartbeat_timeout: Duration::from_secs(7200),
            hook_limit: Duration::from_secs(172_800),
            terminate_hook_after_launch_abandon: true,
            agent_stale: Duration::from_secs(300),
            terminated_listed: Duration::from_secs(60),
            command_visible_after: Duration::from_secs(1),
            sight_takes: Duration::from_secs(1),
            free_bytes: 200 << 30,
            prepare_takes: Duration::from_secs(20),
            probe_takes: Duration::from_secs(1),
            command_timeout: Duration::from_secs(7200),
            automation_step_takes: Duration::from_secs(2),
            stale_move_attaches_when_detached: false,
            detach_timeout: Duration::from_secs(120),
            node: NodeSettings {
                name: "weaviate-0".to_owned(),
                version: "1.38.11".to_owned(),
                git_hash: "34febe5".to_owned(),
                rest_search: false,
                skip_access_check: true,
                chunk_objects_max: 10,
                rounds: 1,
                listens_after: Duration::from_secs(1),
                ready_after: Duration::from_secs(5),
                modules: Vec::new(),
                faults: NodeFaults::default(),
            },
        }
    }
}
