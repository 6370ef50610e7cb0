//! create-backup: decides whether a backup is owed by the node that owns the data, and sees it to its verdict.
//!
//! What it does is [`lifeboat_workflows::create_backup`]; this is its shell on Lambda.

mod handler;

use lifeboat_adapters::aws::Aws;
use lifeboat_adapters::clock::SystemClock;
use lifeboat_adapters::lambda::{self, HandlerError};
use lifeboat_adapters::settings::CreateBackupSettings;
use lifeboat_adapters::weaviate::HttpNodes;
use lifeboat_domain::keys::Function;
use lifeboat_workflows::create_backup::Ports;

#[tokio::main]
async fn main() -> Result<(), HandlerError> {
    let settings: CreateBackupSettings = lambda::cold_start(Function::CreateBackup)?;
    let aws = Aws::from_environment().await;
    let ports = Ports {
        bucket: &aws.bucket(&settings.bucket),
        markers: &aws.bucket(&settings.markers.bucket),
        group: &aws.group(&settings.group, None),
        nodes: &HttpNodes::new(aws.parameter(&settings.operator_key)),
        hosts: &aws.hosts(Some(&settings.hosts)),
        addresses: &aws.addresses(&settings.addresses),
        clock: &SystemClock,
    };
    let (ports, settings) = (&ports, &settings);
    lambda::serve(Function::CreateBackup, settings.poll, |event, patience| async move {
        handler::handle(ports, settings, &event, patience).await
    })
    .await
}
