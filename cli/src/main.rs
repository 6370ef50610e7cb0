//! `lifeboat`: the operator's command. It reads from the bucket, renders, and asks the functions by requests; it holds
//! no right to do what they do, and it works from outside the VPC.

#![expect(clippy::print_stdout, reason = "data goes to standard output, everything else to standard error")]

mod request;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lifeboat_adapters::aws::Aws;
use lifeboat_domain::ids::{BackupId, InvalidId};
use lifeboat_domain::runs::Action;

/// Verified backups and automatic restore for a single-node Weaviate.
///
/// Credentials, region and endpoint come from the environment, as for any AWS tool.
#[derive(Debug, Parser)]
#[command(name = "lifeboat", version)]
struct Arguments {
    /// The cluster's bucket.
    #[arg(long, env = "LIFEBOAT_BUCKET", global = true, default_value = "")]
    bucket: String,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
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
    /// Ask for the verification of a finished backup that nobody has judged yet.
    Verify {
        /// The backup.
        #[arg(value_parser = backup_id)]
        backup_id: BackupId,
        #[command(flatten)]
        why: Why,
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
    #[arg(long, env = "USER", default_value = "unknown")]
    by: String,
}

fn backup_id(text: &str) -> Result<BackupId, InvalidId> {
    BackupId::parse(text)
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("lifeboat: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<u8> {
    if arguments.bucket.is_empty() {
        anyhow::bail!("which bucket? Give --bucket NAME or LIFEBOAT_BUCKET (the stack's output BucketName)");
    }
    let bucket = Aws::from_environment().await.bucket(&arguments.bucket);
    let now = jiff::Timestamp::now();
    let (action, why) = match arguments.command {
        Command::Status { objective_minutes } => {
            let status = status::read(&bucket, now, objective_minutes).await?;
            match arguments.json {
                true => println!("{}", serde_json::to_string_pretty(&status)?),
                false => print!("{}", status.text()),
            }
            return Ok(status.verdict.exit_code());
        }
        Command::Backup { why } => (Action::Backup, why),
        Command::Restore { backup_id: Some(backup_id), why, .. } => (Action::Restore { backup_id }, why),
        Command::Restore { backup_id: None, why, .. } => (Action::AllowEmptyStart, why),
        Command::Verify { backup_id, why } => (Action::Verify { backup_id }, why),
        Command::Rollback { backup_id, why } => (Action::Rollback { to: backup_id }, why),
        Command::Approve { backup_id, why } => (Action::Approve { backup_id }, why),
        Command::Reject { backup_id, why } => (Action::Reject { backup_id }, why),
        Command::Resume { what: Resumable::Flips, why } => (Action::ResumeFlips, why),
        Command::Resume { what: Resumable::Launches, why } => (Action::ResumeLaunches, why),
    };
    let key = request::ask(&bucket, action, &why.by, &why.reason, now).await?;
    match arguments.json {
        true => println!("{}", serde_json::json!({"requested": key})),
        false => println!(
            "Asked: s3://{}/{key}\nThe function acts within a minute; `lifeboat status` shows it.",
            arguments.bucket
        ),
    }
    Ok(0)
}
