//! The local stack: an AWS on this machine, good enough to deploy `template.yaml` itself and to lose a node in.
//!
//! [`Stack::start`] provisions a pinned emulator once, builds the functions, starts the emulator with our bridge loaded
//! into it (`bridge/`, Python, in-process) and deploys the template through CloudFormation. The bridge adds what the
//! emulator lacks: lifecycle hooks, interfaces that really carry traffic, Systems Manager documents that are executed, and
//! instances that are a directory with fake disks and stand-ins for the host's commands (`standins/`).
//!
//! # Guarantees
//! - Everything listens on loopback; nothing of the caller's environment reaches the emulator, a function or a host script.
//! - Nothing outlives the [`Stack`]: when it is dropped, or its process dies, every process it started is killed.
//! - Stacks are independent: as many as the machine bears run side by side, in one process or in several.
//! - Every wait has a deadline, and an error names what was waited for and quotes the emulator's log.
//!
//! # Assumptions
//! Linux (loopback is all of 127/8, `/proc`), and a `python3` of 3.10 or later with `venv`.

mod acts;
mod binaries;
mod control;
mod emulator;
mod options;
mod provision;
mod stack;
mod views;

pub use control::ApiError;
pub use options::{Functions, Node, Progress, Silent, StackOptions, Step};
pub use stack::Stack;
pub use views::{AccessLine, Container, HostCall, Instance, Invocation, KilledInstance, ModelReport};

/// The region everything is in.
pub const REGION: &str = "us-east-1";
/// The account everything is in.
pub const ACCOUNT: &str = "000000000000";

/// The python of an environment with exactly the packages of a requirements file that pins them with hashes, made if it
/// is not there yet.
///
/// # Errors
/// What is missing on this machine, or which package could not be installed.
pub fn python_with(requirements: &str) -> anyhow::Result<std::path::PathBuf> {
    provision::environment(requirements, &|_| ())
}

/// The workspace's root directory.
#[must_use]
pub fn workspace_root() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The python of the pinned environment, made if it is not there yet; its tools stand beside it.
pub fn python() -> anyhow::Result<std::path::PathBuf> {
    provision::python(&|_| ())
}

/// Where builds, the Python environment and running stacks live: `CARGO_TARGET_DIR`, or `target/` of the workspace.
#[must_use]
pub fn target_dir() -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), Into::into)
}
