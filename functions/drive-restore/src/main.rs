//! drive-restore: brings a replacement back to serving the same data, and answers the hooks of both directions.
//!
//! What it does is [`lifeboat_workflows::drive_restore`]; this is its shell on Lambda.

mod handler;

use lifeboat_adapters::aws::Aws;
use lifeboat_adapters::clock::SystemClock;
use lifeboat_adapters::lambda::{self, HandlerError};
use lifeboat_adapters::settings::DriveRestoreSettings;
use lifeboat_adapters::weaviate::HttpNodes;
use lifeboat_domain::keys::Function;
use lifeboat_workflows::drive_restore::World;

#[tokio::main]
async fn main() -> Result<(), HandlerError> {
    let settings: DriveRestoreSettings = lambda::cold_start(Function::DriveRestore)?;
    let aws = Aws::from_environment().await;
    let world = World {
        bucket: aws.bucket(&settings.bucket),
        markers: aws.bucket(&settings.markers.bucket),
        group: aws.group(&settings.group, Some(&settings.hooks)),
        hosts: aws.hosts(Some(&settings.hosts)),
        addresses: aws.addresses(&settings.addresses),
        nodes: HttpNodes::new(aws.parameter(&settings.operator_key)),
        clock: SystemClock,
    };
    let policy = handler::policy(&settings);
    let (world, policy) = (&world, &policy);
    lambda::serve(Function::DriveRestore, settings.poll, |event, patience| async move {
        handler::handle(world, policy, &event, patience).await
    })
    .await
}
