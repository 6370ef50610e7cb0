//! Holds a node to the contract, by hand: `cargo contract -- --weaviate PATH --config default --report FILE`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use lifeboat_contract::{Config, Options, Report, Target, judge_again, run, take};

/// Hold a Weaviate node, the double or a real one, to one contract.
#[derive(Debug, Parser)]
struct Arguments {
    /// A Weaviate binary to start. Without it and without --url: the double.
    #[arg(long, env = "WEAVIATE_BIN")]
    weaviate: Option<PathBuf>,
    /// An empty server that runs already, with anonymous access.
    #[arg(long, env = "WEAVIATE_URL", conflicts_with = "weaviate")]
    url: Option<String>,
    /// Where the backups of that server lie: endpoint.
    #[arg(long, env = "WEAVIATE_S3_ENDPOINT", requires = "url")]
    s3_endpoint: Option<String>,
    /// Its bucket.
    #[arg(long, env = "WEAVIATE_S3_BUCKET", default_value = "")]
    s3_bucket: String,
    /// Its path.
    #[arg(long, env = "WEAVIATE_S3_PATH", default_value = "")]
    s3_path: String,
    /// An S3 endpoint for a server that is started, in place of the local emulator.
    #[arg(long)]
    s3: Option<String>,
    /// The version that the double plays.
    #[arg(long, default_value = "1.38.11")]
    plays: String,
    /// The double's binary, where it is not to be built.
    #[arg(long)]
    double: Option<PathBuf>,
    /// The configuration of the server.
    #[arg(long, value_enum, default_value = "default")]
    config: Config,
    /// Only cases whose group or name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Write the table of cases here, as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Take the outcomes in these reports of real servers as what is expected, and run nothing.
    #[arg(long, num_args = 1..)]
    take: Vec<PathBuf>,
    /// Compare the outcomes in these reports once more, with the expectations as they are now, and write them again.
    #[arg(long, num_args = 1..)]
    judge: Vec<PathBuf>,
    /// Print the table of cases of these reports, a column for each, and run nothing.
    #[arg(long, num_args = 1..)]
    table: Vec<PathBuf>,
}

#[expect(clippy::print_stderr, reason = "a program for people")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn read(path: &PathBuf) -> Result<Report> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    match main_inner(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn main_inner(arguments: Arguments) -> Result<()> {
    if !arguments.take.is_empty() {
        return take(&arguments.take.iter().map(read).collect::<Result<Vec<_>>>()?);
    }
    for path in &arguments.judge {
        let mut report = read(path)?;
        judge_again(&mut report)?;
        std::fs::write(path, report.to_text()?).with_context(|| path.display().to_string())?;
        say(&format!("{}{}", report.remarks(), report.summary()));
    }
    if !arguments.judge.is_empty() {
        return Ok(());
    }
    if !arguments.table.is_empty() {
        let reports = arguments.table.iter().map(read).collect::<Result<Vec<_>>>()?;
        return Ok(write!(std::io::stdout(), "{}", Report::table(&reports))?);
    }
    let target = match (arguments.weaviate, arguments.url) {
        (Some(path), _) => Target::Binary(path),
        (None, Some(url)) => {
            let bucket = arguments
                .s3_endpoint
                .map(|endpoint| [endpoint, arguments.s3_bucket.clone(), arguments.s3_path.clone()]);
            Target::Url { url, bucket }
        }
        (None, None) => Target::Double { plays: arguments.plays, binary: arguments.double },
    };
    let partial = arguments.only.is_some();
    let options =
        Options { target, config: arguments.config, s3: arguments.s3, only: arguments.only, varied: false, say };
    let report = run(&options).await?;
    if let Some(path) = &arguments.report {
        std::fs::write(path, report.to_text()?).with_context(|| path.display().to_string())?;
    }
    say(&report.remarks());
    say(&report.summary());
    match report.fault() {
        Some(fault) if !partial => bail!("{fault}"),
        Some(fault) => say(&format!("(of a part of the suite: {fault})")),
        None => {}
    }
    Ok(())
}
