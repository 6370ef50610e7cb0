//! The contract of `Bucket`, kept by the S3 adapter against any S3 that is named by environment: MinIO, or AWS itself. The
//! twin keeps it in `lifeboat_workflows::twins`, the local stack in `tests/stack`.
//!
//! ```text
//! LIFEBOAT_CONTRACT_BUCKET=name AWS_REGION=us-east-1 AWS_ENDPOINT_URL=http://127.0.0.1:9000 \
//!   cargo test -p lifeboat-adapters --test bucket_contract -- --nocapture      # without an endpoint: AWS's own
//! ```
//!
//! `LIFEBOAT_CONTRACT_KNOWN=minio` names the differences that are listed for MinIO, `LIFEBOAT_CONTRACT_REPORT` a file
//! for the report. Objects are left behind below `contract/`.

mod bucket_calls;

use bucket_calls::{Deaf, S3Place};
use lifeboat_adapters::aws::sdk_config;
use lifeboat_workflows::twins::contract::bucket::Place as _;
use lifeboat_workflows::twins::contract::{self, Known, Report};

/// What MinIO (RELEASE.2025-09-07T16-13-09Z) does otherwise than S3; each is listed in tests/README.md too.
const MINIO: &[Known] = &[
    Known {
        case: "a key may stand beneath another key",
        reason: "MinIO keeps objects as directories and does not list what is beneath one that is an object; no two keys of ours nest",
    },
    Known {
        case: "slashes in a row are names of their own",
        reason: "MinIO refuses such names (XMinioInvalidObjectName); no key of ours has an empty segment",
    },
];

/// And where buckets have versions.
const MINIO_VERSIONED: &[Known] = &[
    MINIO[0],
    MINIO[1],
    Known {
        case: "deleting twice leaves two markers and hides nothing more",
        reason: "MinIO puts no marker on a marker, nor where no object was; S3 does, and nothing of ours counts markers",
    },
];

fn say(text: &str) {
    // Past the harness's capture: whoever reads the log must see what was not run.
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[tokio::test]
async fn an_s3_named_by_environment_keeps_the_contract_of_the_bucket() {
    let Ok(bucket) = std::env::var("LIFEBOAT_CONTRACT_BUCKET") else {
        say(
            "NOT RUN: no S3 beside the local stack's was held to the contract: LIFEBOAT_CONTRACT_BUCKET names no bucket",
        );
        return;
    };
    let config = sdk_config().await;
    let at = config.endpoint_url().unwrap_or("AWS").to_owned();
    let ears = Deaf("who hears this store's events is not known here: the local stack's EventBridge plays this case");
    let place = S3Place::new(config, &bucket, ears).await;
    let known = match std::env::var("LIFEBOAT_CONTRACT_KNOWN").as_deref() {
        Ok("minio") if place.versioned() => MINIO_VERSIONED,
        Ok("minio") => MINIO,
        Ok(other) => panic!("LIFEBOAT_CONTRACT_KNOWN is minio or absent, not {other}"),
        Err(_) => &[],
    };
    let kind = if place.versioned() { "versioned" } else { "unversioned" };
    let mut report = Report::new(format!("{at}, {kind} bucket"), known);
    let prefix = format!("contract/{}/", std::process::id());
    contract::bucket::play(&place, &prefix, &mut report).await;
    report.say();
    if let Ok(path) = std::env::var("LIFEBOAT_CONTRACT_REPORT") {
        let text = serde_json::to_string_pretty(&report.json()).expect("a report is JSON");
        std::fs::write(path, format!("{text}\n")).expect("the report can be written");
    }
    report.assert_kept();
}
