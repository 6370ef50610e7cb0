//! AWS behind the ports: one HTTP client, one configuration, one adapter a port.
//!
//! Credentials, region and endpoint come as everywhere in AWS (`AWS_REGION`, `AWS_ENDPOINT_URL`, …). An endpoint whose
//! host is an IP literal is asked in path style; the SDK's endpoint rules see to that.

mod addresses;
mod bucket;
mod fault;
mod group;
mod hosts;
mod parameter;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

pub use addresses::{AddressDocuments, SsmAddresses};
pub use bucket::S3Bucket;
pub use group::AutoScalingGroup;
pub use hosts::{HostDocuments, SsmHosts};
pub use parameter::{ParameterKey, Secret};

use crate::settings::HookNames;

/// The clients of the services, made once at cold start and cheap to clone.
#[derive(Debug, Clone)]
pub struct Aws {
    s3: aws_sdk_s3::Client,
    ssm: aws_sdk_ssm::Client,
    autoscaling: aws_sdk_autoscaling::Client,
}

impl Aws {
    /// The clients of this process's environment.
    pub async fn from_environment() -> Self {
        Self::new(&sdk_config().await)
    }

    /// The clients of this process's environment, with what a person says.
    pub async fn connected(connection: &Connection) -> Self {
        Self::new(&sdk_config_for(connection).await)
    }

    /// The clients of a configuration.
    pub fn new(config: &SdkConfig) -> Self {
        Self {
            s3: aws_sdk_s3::Client::new(config),
            ssm: aws_sdk_ssm::Client::new(config),
            autoscaling: aws_sdk_autoscaling::Client::new(config),
        }
    }

    /// A bucket.
    pub fn bucket(&self, name: &str) -> S3Bucket {
        S3Bucket::new(self.s3.clone(), name)
    }

    /// The Auto Scaling group; with its hooks, for the function that answers them.
    pub fn group(&self, name: &str, hooks: Option<&HookNames>) -> AutoScalingGroup {
        AutoScalingGroup::new(self.autoscaling.clone(), name, hooks.cloned())
    }

    /// The hosts; with the documents, for the function that sends them.
    pub fn hosts(&self, documents: Option<&HostDocuments>) -> SsmHosts {
        SsmHosts::new(self.ssm.clone(), documents.cloned())
    }

    /// The fixed address.
    pub fn addresses(&self, documents: &AddressDocuments) -> SsmAddresses {
        SsmAddresses::new(self.ssm.clone(), documents)
    }

    /// A secret in Parameter Store, or through it in Secrets Manager, read when it is used.
    pub fn parameter(&self, name: &str) -> ParameterKey {
        ParameterKey::new(self.ssm.clone(), name)
    }
}

/// How long calls may take. Whatever waits longer is looked at again by the next turn (facts: aws.md §4.3, the SDK by
/// itself bounds the connection only).
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_secs(10))
        .operation_attempt_timeout(Duration::from_secs(12))
        .operation_timeout(Duration::from_secs(30))
        .build()
}

/// What a person says instead of the environment and the configuration files, as for the AWS CLI.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// `--profile`.
    pub profile: Option<String>,
    /// `--region`.
    pub region: Option<String>,
    /// `--endpoint-url`.
    pub endpoint_url: Option<String>,
}

/// The configuration of every client: one HTTP client, bounded calls, three attempts with backoff.
pub async fn sdk_config() -> SdkConfig {
    sdk_config_for(&Connection::default()).await
}

/// The same with what a person says.
pub async fn sdk_config_for(connection: &Connection) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
    if let Some(profile) = &connection.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &connection.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &connection.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader
        .http_client(http)
        .timeout_config(timeouts())
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(Duration::from_secs(10)).build(),
        )
        .app_name(AppName::new("lifeboat").expect("the name has letters only"))
        .load()
        .await
}

#[cfg(test)]
pub(crate) mod tests;
