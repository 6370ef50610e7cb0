//! `cargo demo`: the main job, end to end on this machine.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use lifeboat_demo::corpus::{Corpus, Data};
use lifeboat_demo::docker;
use lifeboat_demo::journey::{Journey, Plan, Sabotage};
use lifeboat_demo::report::Report;
use lifeboat_demo::show::Show;
use lifeboat_stack::Stack;

/// Deploys Lifeboat into an AWS emulator on this machine, indexes documents into a Weaviate node, shows backup, verify
/// and flip, destroys the node with its disk, and shows the replacement come back with the same data.
///
/// Needs Rust and Python 3, on Linux; everything else it provides itself, under target/.
///
/// Exit codes: 0 everything came back, proven; 1 something did not; 2 bad usage, or something is missing here;
/// 3 the sabotage that was asked for was refused, by name.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", version)]
struct Arguments {
    /// How many objects to index, over all collections.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=5_000_000))]
    objects: u64,
    /// Dimensions of each vector.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4096))]
    dimensions: u32,
    /// What to index: `plain` collections, or `rich` ones with references, named and compressed vectors, tenants of each
    /// activity status, and names of every allowed character.
    #[arg(long, value_enum, default_value_t = Data::Rich)]
    data: Data,
    /// Which Weaviate: `embedded` (the test double), `docker` (the real image, where an engine is found), or the path
    /// of a real `weaviate` binary.
    #[arg(long, default_value = "embedded", value_name = "embedded|docker|PATH")]
    weaviate: String,
    /// The image that `--weaviate docker` runs.
    #[arg(long, default_value = docker::IMAGE, value_name = "IMAGE")]
    image: String,
    /// Break something after the flip; the demo must then end in a named refusal and exit 3.
    #[arg(long, value_enum)]
    sabotage: Option<SabotageKind>,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Leave the stack running when done, until Ctrl-C, and its logs after that.
    #[arg(long)]
    keep: bool,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
    /// Let the emulator check signatures and IAM policies on every request: functions and instances then act under the
    /// template's own roles.
    #[arg(long)]
    enforce_iam: bool,
    /// The factor on the test double's polling rounds, which are 2 s and 10 s in the real Weaviate.
    #[arg(long, default_value_t = 1.0, hide = true)]
    round_scale: f64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SabotageKind {
    /// Flip a byte of a stored chunk.
    Chunk,
    /// Delete a chunk.
    Delete,
}

impl From<SabotageKind> for Sabotage {
    fn from(kind: SabotageKind) -> Self {
        match kind {
            SabotageKind::Chunk => Self::Chunk,
            SabotageKind::Delete => Self::Delete,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let weaviate = match weaviate(&arguments.weaviate, &arguments.image) {
        Ok(weaviate) => weaviate,
        Err(error) => {
            eprintln!("cargo demo: {error:#}");
            return ExitCode::from(2);
        }
    };
    let show = Show::new(arguments.quiet);
    let result = run(&arguments, weaviate, &show).await;
    show.finish();
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Which node to run: `None` is the test double.
fn weaviate(choice: &str, image: &str) -> anyhow::Result<Option<PathBuf>> {
    match choice {
        "embedded" => Ok(None),
        "docker" => {
            let stacks = lifeboat_stack::target_dir().join("lifeboat-stacks");
            std::fs::create_dir_all(&stacks).with_context(|| format!("creating {}", stacks.display()))?;
            let stacks = stacks.canonicalize()?;
            docker::launcher(&docker::engine()?, image, &stacks, &stacks).map(Some)
        }
        path => {
            let path = PathBuf::from(path);
            let path = path.canonicalize().with_context(|| format!("--weaviate {}: no such binary", path.display()))?;
            Ok(Some(path))
        }
    }
}

async fn run(arguments: &Arguments, weaviate: Option<PathBuf>, show: &Show) -> anyhow::Result<ExitCode> {
    let plan = Plan {
        corpus: Corpus { objects: arguments.objects, dimensions: usize::try_from(arguments.dimensions)? },
        data: arguments.data,
        weaviate,
        image: (arguments.weaviate == "docker").then(|| arguments.image.clone()),
        sabotage: arguments.sabotage.map(Into::into),
        round_scale: arguments.round_scale,
        enforce_iam: arguments.enforce_iam,
    };
    let mut journey = Journey::begin(plan, show).await?;
    if arguments.keep {
        journey.keep();
    }
    let result = travel(&mut journey, show).await;
    if let (Some(file), Ok(report)) = (&arguments.report, &result) {
        let stack = journey.stack().dir();
        let written = lifeboat_demo::report::written(report, stack, &lifeboat_stack::workspace_root())?;
        std::fs::write(file, serde_json::to_vec_pretty(&written)?)
            .with_context(|| format!("writing {}", file.display()))?;
    }
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            journey.keep();
            return Err(error.context(format!("the stack's logs are kept in {}", journey.stack().dir().display())));
        }
    };
    show.finish();
    tell(&report);
    part(arguments.keep.then(|| journey.stack()));
    if arguments.keep {
        tokio::signal::ctrl_c().await?;
    }
    Ok(match (&report.sabotage, report.ok) {
        (Some(sabotage), _) if sabotage.refused.is_some() => ExitCode::from(3),
        (None, true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What to try next; with a stack that is kept, how to look around in it.
#[expect(clippy::print_stdout, reason = "the result is what standard output is for")]
fn part(kept: Option<&Stack>) {
    match kept {
        Some(stack) => {
            println!("\nThe stack runs until Ctrl-C; its logs are in {}.", stack.dir().display());
            println!(
                "Look around with any AWS client: AWS_ENDPOINT_URL={} AWS_REGION={}",
                stack.endpoint(),
                stack.region()
            );
        }
        None => {
            println!("\nNow try:");
            println!("  cargo demo --sabotage chunk             a flipped byte is refused, by name");
            println!("  cargo demo --report report.json         the timeline and the proofs as JSON");
            println!("  cargo demo --keep                       leave it running, and look around");
        }
    }
}

async fn travel(journey: &mut Journey, show: &Show) -> anyhow::Result<Report> {
    journey.index(show).await?;
    let backup = journey.protect(show).await?;
    journey.sabotage(&backup, show).await?;
    let closed = journey.lose_the_node(show).await?;
    if closed.run.refusal.is_none() {
        journey.compare(&backup, &closed, show).await?;
    }
    Ok(journey.report(&closed))
}

#[expect(clippy::print_stdout, reason = "the result is what standard output is for")]
fn tell(report: &Report) {
    if let Some(sabotage) = &report.sabotage {
        match &sabotage.refused {
            Some(reason) => println!("\nRefused, as it must be: {reason}"),
            None => println!("\nSabotage {} was not noticed: {:?}", sabotage.kind, report.failures),
        }
        return;
    }
    let recovery = &report.recovery;
    if report.ok {
        println!("\nEverything came back: {:?}", report.restored);
    } else {
        println!("\nNot everything came back:");
        for failure in &report.failures {
            println!("  {failure}");
        }
    }
    println!(
        "Recovery {} ms = boot {} + Weaviate's restore {} + gate {} + control plane {}",
        recovery.total_ms, recovery.boot_ms, recovery.weaviate_restore_ms, recovery.gate_ms, recovery.control_plane_ms
    );
    for (part, ms) in &recovery.control_plane_parts {
        println!("    {part:36} {ms:>6}");
    }
    for missing in &report.data.not_shown {
        println!("NOT SHOWN: {missing}");
    }
    let proof = &report.proof;
    println!(
        "Proof: old data gone {}; new node read {} of {} chunks, {} bytes in {} GETs; foreign writes {:?}",
        proof.old_data_gone, proof.chunks_read, proof.chunks, proof.bytes, proof.gets, proof.foreign_writes
    );
}
