//! The contract of `Bucket`, played by the S3 adapter against a running store: an emulator, or S3 itself. The twin
//! passes the same cases (`lifeboat_workflows::twins::contract`).
//!
//! ```text
//! LIFEBOAT_CONTRACT_BUCKET=name LIFEBOAT_CONTRACT_VERSIONED=yes AWS_ENDPOINT_URL=http://127.0.0.1:4566 \
//!   cargo test -p lifeboat-adapters --test bucket_contract -- --ignored
//! ```

use aws_sdk_s3::Client;
use lifeboat_adapters::aws::{Aws, sdk_config};
use lifeboat_workflows::twins::contract::{self, Meddler};

/// Somebody who goes round the port.
struct Outsider {
    client: Client,
    bucket: String,
}

impl Meddler for Outsider {
    async fn overwrite(&self, key: &str, body: Vec<u8>) {
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(body.into());
        put.send().await.expect("the store takes it");
    }

    async fn delete(&self, key: &str) {
        self.client.delete_object().bucket(&self.bucket).key(key).send().await.expect("the store takes it");
    }
}

#[tokio::test]
#[ignore = "asks a running store, named by LIFEBOAT_CONTRACT_BUCKET"]
async fn s3_keeps_the_contract_of_the_bucket() {
    let name = std::env::var("LIFEBOAT_CONTRACT_BUCKET").expect("LIFEBOAT_CONTRACT_BUCKET names a bucket");
    let versioned = std::env::var("LIFEBOAT_CONTRACT_VERSIONED").is_ok_and(|v| v == "yes");
    let config = sdk_config().await;
    let bucket = Aws::new(&config).bucket(&name);
    let outsider = Outsider { client: Client::new(&config), bucket: name };
    // Cases leave their objects behind, so each run works below a prefix of its own.
    let run = format!("contract/{}/", std::process::id());
    contract::bucket(&bucket, &format!("{run}a/"), versioned).await;
    contract::bucket_meddled(&bucket, &outsider, &format!("{run}b/"), versioned).await;
}
