//! Every kind of document with its type: one line for a new one.

use lifeboat_domain::create::DoneBackup;
use lifeboat_domain::document::{Document, decode, encode};
use lifeboat_domain::expectations::{Expectations, ObservedAfter};
use lifeboat_domain::flip::{DecisionEvidence, OverrideEvidence, RequestOutcome};
use lifeboat_domain::manifest::Manifest;
use lifeboat_domain::ownership::Ownership;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::run::{ClosedRestore, GroupAttempts, Ready, RestoreRun};
use lifeboat_domain::retention::{Deleted, PruneRun, Reprieve, Tombstone};
use lifeboat_domain::runs::{CreateRun, FlipRun, Request, VerifyRun};
use lifeboat_domain::verify::fixity::{FixityEvidence, FixityRun};
use lifeboat_domain::verify::heal::HealEvidence;
use lifeboat_domain::verify::{Part, Shard, VerifyEvidence};

/// Its type is a workflow's own; nobody reads it back.
const NEVER_READ: &str = "restore-evidence";

macro_rules! kinds {
    ($($document:ty),* $(,)?) => {
        /// What the code writes after it has read this.
        pub(crate) fn again(kind: &str, text: &str) -> Result<String, String> {
            if kind == NEVER_READ {
                let value: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
                return Ok(format!("{value:#}\n"));
            }
            $(if kind == <$document>::KIND {
                let document = decode::<$document>(kind, text.as_bytes()).map_err(|e| format!("{e}: {e:?}"))?;
                return String::from_utf8(encode(&document)).map_err(|e| e.to_string());
            })*
            Err(format!("{kind} is not known to tests/tidy/tests/kinds"))
        }
    };
}

kinds! {
    Pointer, Manifest, Expectations, ObservedAfter, VerifyEvidence, DecisionEvidence, OverrideEvidence, Ownership, Ready,
    Shard, Part, CreateRun, DoneBackup, VerifyRun, FlipRun, RequestOutcome, RestoreRun, ClosedRestore, GroupAttempts,
    Request, Tombstone, Reprieve, Deleted, PruneRun, FixityEvidence, FixityRun, HealEvidence,
}

/// Whether the code reads this as a document of the kind; `None` for a kind that it never reads.
#[allow(dead_code, reason = "one of the two test binaries asks")]
pub(crate) fn reads(kind: &str, text: &str) -> Option<bool> {
    (kind != NEVER_READ).then(|| again(kind, text).is_ok())
}
