//! `lifeboat`: the operator's command. It reads from the bucket, renders, and asks the functions by requests; it holds
//! no right to do what they do, and it works from outside the VPC. What it reads it can also verify.

#![expect(clippy::print_stdout, reason = "data goes to standard output, everything else to standard error")]

mod progress;
mod request;
mod status;
mod sums;
#[cfg(test)]
mod twin_backup;
mod verify;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use lifeboat_adapters::aws::{Aws, Connection};
use lifeboat_domain::ids::{BackupId, InvalidId};
use lifeboat_domain::runs::Action;
use lifeboat_engine::Policy;
use sums::{Location, Printer};

/// Verified backups and automatic restore for a single-node Weaviate.
///
/// `lifeboat status` says what is protected and as of when; begin there. What changes something is a request: it is
/// written into the bucket with its reason, and the function that owns the action acts upon it within a minute.
///
/// Credentials, region and endpoint come as for the AWS CLI: from the environment and its configuration files, or by
/// --profile, --region and --endpoint-url. Data goes to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "lifeboat", version)]
struct Arguments {
    /// The cluster's bucket: the output BucketName of the stack.
    #[arg(long, env = "LIFEBOAT_BUCKET", global = true, default_value = "", hide_env_values = true)]
    bucket: String,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// A profile of the AWS configuration files.
    #[arg(long, global = true)]
    profile: Option<String>,
    /// The region, instead of the configured one.
    #[arg(long, global = true)]
    region: Option<String>,
    /// Another S3 than AWS's: http://127.0.0.1:4566
    #[arg(long, global = true, value_name = "URL")]
    endpoint_url: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is protected, as of when, and what is under way.
    ///
    /// Exit codes: 0 protected; 10 older than the objective; 11 flips are stopped or a backup is held; 12 a restore is
    /// under way; 13 nothing is protected; 1 no answer, or a document that cannot be understood.
    Status {
        /// The recovery point objective in minutes: older data is stale.
        #[arg(long, default_value_t = 120)]
        objective_minutes: i64,
    },
    /// Ask for a backup now.
    Backup {
        #[command(flatten)]
        why: Why,
    },
    /// Ask that the next replacement restores this backup and no other, or that the next first node may start empty.
    Restore {
        /// The backup.
        #[arg(required_unless_present = "empty", conflicts_with = "empty", value_parser = backup_id)]
        backup_id: Option<BackupId>,
        /// Grant one empty start. It still needs proof that there never was a backup.
        #[arg(long)]
        empty: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Say whether a backup is still exactly what was verified.
    ///
    /// Holds pointer, manifest, catalogue, expectations and SHA256SUMS to each other and the listing to the catalogue
    /// (T0), and reads every object at its pinned version, held to its SHA-256 (T1). Changes nothing.
    ///
    /// Exit codes: 0 whole; 1 not whole, with what is wrong; 3 the bucket gave no answer, so nobody knows; 2 the
    /// arguments are wrong.
    Verify {
        /// The backup.
        #[arg(value_parser = backup_id)]
        backup_id: BackupId,
        /// Only list (T0): one request for each 1,000 versions, no object is read.
        #[arg(long, conflicts_with = "ask")]
        quick: bool,
        /// Do not read here: ask verify-checksums to judge a finished backup that nobody has judged yet.
        #[arg(long, requires = "reason")]
        ask: bool,
        /// With --ask: why; kept on record.
        #[arg(long)]
        reason: Option<String>,
        /// With --ask: who; kept on record as claimed.
        #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true)]
        by: String,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// Print the SHA256SUMS of any prefix without downloading it, or check one.
    ///
    /// Names are relative to the prefix, as `sha256sum` prints them in a directory that the prefix was copied to: line
    /// feeds, carriage returns and backslashes are escaped, and `sha256sum -c` there takes the output. Every object is
    /// pinned by its ETag while it is read, and held to S3's own checksum of the whole object where there is one.
    ///
    /// Exit codes are those of sha256sum: 0 all is well; 1 a digest differs, an object is missing or could not be read,
    /// or nothing was there to check; 2 the arguments are wrong.
    Sums {
        /// s3://BUCKET/PREFIX, taken for a folder.
        #[arg(value_parser = Location::parse)]
        location: Location,
        /// Check against this file instead of printing; - is standard input.
        #[arg(long, value_name = "FILE")]
        check: Option<PathBuf>,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// Name an older backup as latest, and stop automatic flips until a node was restored from it.
    Rollback {
        /// The backup.
        #[arg(value_parser = backup_id)]
        backup_id: BackupId,
        #[command(flatten)]
        why: Why,
    },
    /// Publish a held backup.
    Approve {
        /// The backup.
        #[arg(value_parser = backup_id)]
        backup_id: BackupId,
        #[command(flatten)]
        why: Why,
    },
    /// Close a hold without publishing.
    Reject {
        /// The backup.
        #[arg(value_parser = backup_id)]
        backup_id: BackupId,
        #[command(flatten)]
        why: Why,
    },
    /// Let something go on that was stopped.
    Resume {
        /// What: `flips` after a rollback, `launches` after too many failed replacements.
        #[arg(value_enum)]
        what: Resumable,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Resumable {
    /// Automatic flips of the pointer.
    Flips,
    /// The group's launches.
    Launches,
}

#[derive(Debug, clap::Args)]
struct Why {
    /// Why; kept on record.
    #[arg(long)]
    reason: String,
    /// Who; kept on record as claimed.
    #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true)]
    by: String,
}

/// The bounds of reading.
#[derive(Debug, clap::Args)]
struct Bounds {
    /// Requests under way at once.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// Memory for bytes under way, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    memory: u32,
}

impl Bounds {
    fn policy(&self) -> Policy {
        Policy {
            memory_bytes: u64::from(self.memory) << 20,
            connections: usize::from(self.concurrency),
            ..Policy::default()
        }
    }
}

fn backup_id(text: &str) -> Result<BackupId, InvalidId> {
    BackupId::parse(text)
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let verifies = matches!(arguments.command, Command::Verify { ask: false, .. });
    match run(arguments).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("lifeboat: {error:#}");
            if verifies { ExitCode::from(verify::UNKNOWN) } else { ExitCode::FAILURE }
        }
    }
}

/// A file, or standard input.
fn text_of(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("reading standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

async fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let Arguments { bucket: name, json, profile, region, endpoint_url, command } = arguments;
    let connection = Connection { profile, region, endpoint_url };
    let mut printer = Printer { out: &mut std::io::stdout(), err: &mut std::io::stderr() };
    if let Command::Sums { location, check, bounds } = command {
        let check = check.map(|path| text_of(&path)).transpose()?;
        let bucket = Aws::connected(&connection).await.bucket(&location.bucket);
        let asked = sums::Asked { location, check, json, policy: bounds.policy() };
        return sums::run(&bucket, &asked, &mut printer).await;
    }
    if name.is_empty() {
        anyhow::bail!("which bucket? Give --bucket NAME or LIFEBOAT_BUCKET (the stack's output BucketName)");
    }
    let bucket = Aws::connected(&connection).await.bucket(&name);
    let now = jiff::Timestamp::now();
    let (action, why) = match command {
        Command::Sums { .. } => unreachable!("done above"),
        Command::Status { objective_minutes } => {
            let status = status::read(&bucket, now, objective_minutes).await?;
            match json {
                true => println!("{}", serde_json::to_string_pretty(&status)?),
                false => print!("{}", status.text()),
            }
            return Ok(status.verdict.exit_code());
        }
        Command::Verify { backup_id, quick, ask: false, bounds, .. } => {
            let asked = verify::Asked { backup_id, quick, json, policy: bounds.policy() };
            return verify::run(&bucket, &asked, &mut printer).await;
        }
        Command::Verify { backup_id, reason, by, .. } => {
            (Action::Verify { backup_id }, Why { reason: reason.unwrap_or_default(), by })
        }
        Command::Backup { why } => (Action::Backup, why),
        Command::Restore { backup_id: Some(backup_id), why, .. } => (Action::Restore { backup_id }, why),
        Command::Restore { backup_id: None, why, .. } => (Action::AllowEmptyStart, why),
        Command::Rollback { backup_id, why } => (Action::Rollback { to: backup_id }, why),
        Command::Approve { backup_id, why } => (Action::Approve { backup_id }, why),
        Command::Reject { backup_id, why } => (Action::Reject { backup_id }, why),
        Command::Resume { what: Resumable::Flips, why } => (Action::ResumeFlips, why),
        Command::Resume { what: Resumable::Launches, why } => (Action::ResumeLaunches, why),
    };
    let key = request::ask(&bucket, action, &why.by, &why.reason, now).await?;
    match json {
        true => println!("{}", serde_json::json!({"requested": key})),
        false => println!("Asked: s3://{name}/{key}\nThe function acts within a minute; `lifeboat status` shows it."),
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_every_command_says_what_it_does() {
        Arguments::command().debug_assert();
        for command in Arguments::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        }
    }
}
