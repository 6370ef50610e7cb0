//! flip-manifest: composes the immutable manifest of a verified backup, and moves the pointer.
//!
//! What it does is [`lifeboat_workflows::flip_manifest`]; this is its shell on Lambda.

mod handler;

use lifeboat_adapters::aws::Aws;
use lifeboat_adapters::clock::SystemClock;
use lifeboat_adapters::lambda::{self, HandlerError};
use lifeboat_adapters::settings::FlipManifestSettings;
use lifeboat_domain::keys::Function;
use lifeboat_workflows::flip_manifest::{FlipPolicy, Ports};

#[tokio::main]
async fn main() -> Result<(), HandlerError> {
    let settings: FlipManifestSettings = lambda::cold_start(Function::FlipManifest)?;
    let aws = Aws::from_environment().await;
    let ports = Ports { bucket: &aws.bucket(&settings.bucket), clock: &SystemClock };
    let policy = FlipPolicy::new(&settings.bucket, &settings.cluster, &settings.group);
    let (ports, policy) = (&ports, &policy);
    lambda::serve(Function::FlipManifest, settings.poll, |event, patience| async move {
        handler::handle(ports, policy, &event, patience).await
    })
    .await
}
