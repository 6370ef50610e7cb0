//! The outside world behind the ports of [`lifeboat_workflows`]: S3, SSM and Auto Scaling through the AWS SDK,
//! Weaviate over HTTP, the clock, settings from the environment, and what a Lambda function needs around its workflow.
//!
//! Nothing here decides. An adapter makes one call (the SDK's own retries apart), says what came, and never turns
//! "may not look" into "is not there".

pub mod aws;
pub mod clock;
#[cfg(feature = "event-cases")]
pub mod event_cases;
pub mod lambda;
pub mod logging;
pub mod settings;
pub mod weaviate;

#[cfg(test)]
mod scripted;
