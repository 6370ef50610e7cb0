//! The contract, held in every run of the tests: by the double as it comes with every case, in the other configurations
//! and as another release with the cases that expect something else there; by a real server, where one is named, with
//! every case in every configuration.
//!
//! ```text
//! WEAVIATE_BIN=/path/of/weaviate cargo test -p lifeboat-contract --test contract -- --nocapture
//! ```

use std::path::PathBuf;

use anyhow::Result;
use lifeboat_contract::{Config, Options, Report, Target, run};

/// Tells the person who runs the tests.
#[expect(clippy::print_stderr, reason = "a test that did not run must not look like one that did")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn quiet(_: &str) {}

async fn held(target: Target, config: Config, varied: bool) -> Result<Report> {
    let options = Options { target, config, s3: None, only: None, varied, say: quiet };
    let report = run(&options).await?;
    say(&report.remarks());
    say(&report.summary());
    assert_eq!(report.fault(), None, "{}", report.remarks());
    Ok(report)
}

fn double(plays: &str) -> Target {
    Target::Double { plays: plays.to_owned(), binary: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_double_keeps_the_contract_as_it_comes() -> Result<()> {
    let report = held(double("1.38.11"), Config::Default, false).await?;
    assert_eq!((report.server.as_str(), report.git_hash.as_str()), ("double", "lifeboat-double"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_double_keeps_the_contract_without_graphql() -> Result<()> {
    held(double("1.38.11"), Config::NoGraphql, true).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_double_keeps_the_contract_in_read_only() -> Result<()> {
    held(double("1.38.11"), Config::ReadOnly, true).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_double_keeps_the_contract_of_the_next_release() -> Result<()> {
    held(double("1.39.0"), Config::Default, true).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_keeps_the_contract() -> Result<()> {
    let binary = std::env::var_os("WEAVIATE_BIN").map(PathBuf::from).map(Target::Binary);
    let url = std::env::var("WEAVIATE_URL").ok().map(|url| Target::Url { url, bucket: None });
    let Some(target) = binary.or(url) else {
        say("NOT RUN: no real Weaviate was held to the contract, because neither WEAVIATE_BIN nor WEAVIATE_URL is set");
        return Ok(());
    };
    let configs: &[Config] = match target {
        Target::Binary(_) => &[Config::Default, Config::NoGraphql, Config::ReadOnly],
        Target::Url { .. } | Target::Double { .. } => &[Config::Default],
    };
    for config in configs {
        held(target.clone(), *config, false).await?;
    }
    Ok(())
}
