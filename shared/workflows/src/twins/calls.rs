//! The external calls by name, the log of them, and scripted failures.

use std::fmt;

use jiff::Timestamp;

use crate::ports::fault::{Happened, Retry};
use crate::ports::node::NodeError;
use crate::ports::{Clock, Fault};

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One kind of external call: a method of a port.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Call { $($(#[$doc])* $name,)* }

        impl Call {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The verb, as a [`Fault`] names its step.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

calls! {
    /// `Bucket::get`, by key.
    Get = "get",
    /// `Bucket::head`, by key.
    Head = "head",
    /// `Bucket::put`, by key.
    Put = "put",
    /// `Bucket::list`, by prefix.
    List = "list",
    /// `Bucket::list_versions`, by prefix.
    ListVersions = "list versions",
    /// `Bucket::read`, by key.
    Read = "read",
    /// `Bucket::copy`, by the key of the copy.
    Copy = "copy",
    /// `Bucket::stored_sha256`, by key.
    StoredSha256 = "look at the checksum of",
    /// `Deletes::hide`, by the first key.
    Hide = "hide",
    /// `Group::describe`.
    Describe = "describe group",
    /// `Group::heartbeat`, by instance.
    Heartbeat = "heartbeat",
    /// `Group::complete`, by instance.
    Complete = "complete hook",
    /// `Group::suspend_launches`.
    SuspendLaunches = "suspend launches",
    /// `Group::resume_launches`.
    ResumeLaunches = "resume launches",
    /// `Hosts::agent`, by instance.
    Agent = "describe agent",
    /// `Hosts::find`, by job.
    Find = "find command",
    /// `Hosts::send`, by job.
    Send = "send command",
    /// `Hosts::command`, by command.
    Command = "get command",
    /// `Addresses::start_read`.
    StartRead = "start to read the address",
    /// `Addresses::start_writers`, by attachment.
    StartWriters = "start to change the address's groups",
    /// `Addresses::start_move`, by instance.
    StartMove = "start to move the address",
    /// `Addresses::execution`, by execution.
    Execution = "get execution",
    /// `Node::ready`, by address, as all that follow.
    Ready = "ready",
    /// `Node::live`.
    Live = "live",
    /// `Node::meta`.
    Meta = "meta",
    /// `Node::nodes`.
    NodesVerbose = "nodes",
    /// `Node::refuses_writes`.
    RefusesWrites = "refused write",
    /// `Node::schema`.
    Schema = "schema",
    /// `Node::aliases`.
    Aliases = "aliases",
    /// `Node::tenants`.
    Tenants = "tenants",
    /// `Node::object`.
    Object = "object",
    /// `Node::object_after`.
    ObjectAfter = "object after",
    /// `Node::evidence_adapter`.
    EvidenceAdapter = "evidence adapter",
    /// `Node::count`.
    Count = "count",
    /// `Node::bm25`.
    Bm25 = "bm25",
    /// `Node::near_object`.
    NearObject = "near object",
    /// `Node::create_backup`, by address and backup.
    CreateBackup = "create backup",
    /// `Node::backup_status`.
    BackupStatus = "backup status",
    /// `Node::list_backups`.
    ListBackups = "list backups",
    /// `Node::cancel_backup`.
    CancelBackup = "cancel backup",
    /// `Node::start_restore`.
    StartRestore = "start restore",
    /// `Node::restore_status`.
    RestoreStatus = "restore status",
    /// `Node::delete_class`.
    DeleteClass = "delete class",
    /// `Node::delete_alias`.
    DeleteAlias = "delete alias",
    /// `Node::cancel_restore`.
    CancelRestore = "cancel restore",
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// Which.
    pub call: Call,
    /// On what: a key, an instance, a job, an address.
    pub subject: String,
    /// When, by the world's clock.
    pub at: Timestamp,
}

impl fmt::Display for CallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.call, self.subject)
    }
}

/// How a scripted call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It had no effect; the same call may succeed later. A node: no connection.
    Unreachable,
    /// It had no effect; the same call may succeed, more slowly. A node: as [`Failure::Unreachable`].
    Throttled,
    /// It had no effect and will not until rights change. A node: 403.
    Denied,
    /// It had its effect, and the caller does not hear of it.
    ReplyLost,
}

impl Failure {
    pub(super) fn has_effect(self) -> bool {
        self == Self::ReplyLost
    }

    pub(super) fn fault(self, call: Call, subject: &str) -> Fault {
        let (happened, retry, source) = match self {
            Self::Unreachable => (Happened::No, Retry::Yes, "scripted: no connection"),
            Self::Throttled => (Happened::No, Retry::Throttled, "scripted: SlowDown"),
            Self::Denied => (Happened::No, Retry::No, "scripted: AccessDenied"),
            Self::ReplyLost => (Happened::Maybe, Retry::Yes, "scripted: the reply was lost"),
        };
        Fault::new(call.name(), subject, happened, retry, source)
    }

    pub(super) fn node_error(self, call: Call) -> NodeError {
        let what = call.name().to_owned();
        match self {
            Self::Unreachable | Self::Throttled => {
                NodeError::Unknown { what, detail: "scripted: no connection".to_owned() }
            }
            Self::Denied => NodeError::Unauthorized { what, status: 403, message: "scripted: forbidden".to_owned() },
            Self::ReplyLost => NodeError::Unknown { what, detail: "scripted: the reply was lost".to_owned() },
        }
    }
}

/// The world's clock as a port: `sleep` moves time at once.
#[derive(Debug, Clone)]
pub struct ClockTwin {
    pub(super) world: super::World,
}

impl Clock for ClockTwin {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    async fn sleep(&self, duration: std::time::Duration) {
        tokio::task::yield_now().await;
        self.world.advance(duration);
    }
}
