//! prune-backups: lets go of what the policy no longer asks for, by tombstone, grace and a second look.
//!
//! What it does is [`lifeboat_workflows::prune_backups`]; this is its shell on Lambda.

mod handler;

use std::time::Duration;

use lifeboat_adapters::aws::Aws;
use lifeboat_adapters::clock::SystemClock;
use lifeboat_adapters::lambda::{self, HandlerError};
use lifeboat_adapters::settings::PruneBackupsSettings;
use lifeboat_domain::keys::Function;
use lifeboat_workflows::prune_backups::{Ports, PrunePolicy};

/// How often retention looks.
const EVERY: Duration = Duration::from_secs(86_400);

#[tokio::main]
async fn main() -> Result<(), HandlerError> {
    let settings: PruneBackupsSettings = lambda::cold_start(Function::PruneBackups)?;
    let aws = Aws::from_environment().await;
    let bucket = aws.bucket(&settings.bucket);
    let ports = Ports { bucket: &bucket, deletes: &bucket, clock: &SystemClock };
    let policy = PrunePolicy { bucket: settings.bucket.clone(), retention: settings.retention, every: EVERY };
    let (ports, policy) = (&ports, &policy);
    lambda::serve(Function::PruneBackups, settings.poll, |event, patience| async move {
        handler::handle(ports, policy, &event, patience).await
    })
    .await
}
