//! verify-checksums: reads every object of a backup in full and hashes it, in shards that many invocations share.
//!
//! What it does is [`lifeboat_workflows::verify_checksums`]; this is its shell on Lambda.

mod handler;

use lifeboat_adapters::aws::Aws;
use lifeboat_adapters::clock::SystemClock;
use lifeboat_adapters::lambda::{self, HandlerError};
use lifeboat_adapters::settings::VerifyChecksumsSettings;
use lifeboat_domain::keys::Function;
use lifeboat_workflows::verify_checksums::{Ports, VerifyPolicy};

#[tokio::main]
async fn main() -> Result<(), HandlerError> {
    let settings: VerifyChecksumsSettings = lambda::cold_start(Function::VerifyChecksums)?;
    let aws = Aws::from_environment().await;
    let ports = Ports { bucket: &aws.bucket(&settings.bucket), clock: &SystemClock };
    let policy = VerifyPolicy {
        etags: settings.etags,
        limits: settings.limits,
        fixity: settings.fixity,
        ..VerifyPolicy::new(&settings.bucket)
    };
    let (ports, policy) = (&ports, &policy);
    lambda::serve(Function::VerifyChecksums, settings.poll, |event, patience| async move {
        handler::handle(ports, policy, &event, patience).await
    })
    .await
}
