//! What the tests of the adapters share: clients that ask a scripted server.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};

use super::*;
use crate::scripted::{Reply, Server};
use crate::weaviate::KeySource as _;

/// Three attempts without waiting between them.
pub(crate) fn retrying() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(1))
}

/// Clients of a scripted server.
pub(crate) fn aws(server: &Server, retries: RetryConfig) -> Aws {
    Aws::new(
        &SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{}", server.address))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("a", "s", None, None, "test")))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .timeout_config(timeouts())
            .retry_config(retries)
            .build(),
    )
}

#[tokio::test]
async fn a_parameter_is_read_decrypted_and_never_shown() {
    let server = Server::replying([Reply::new(200, r#"{"Parameter":{"Name":"/k","Value":"wvk-1\n"}}"#)]).await;
    let key = aws(&server, RetryConfig::disabled()).parameter("/k").key().await.unwrap();
    assert_eq!(key.expose(), "wvk-1");
    assert_eq!(format!("{key:?}"), "Secret(…)");
    let asked = &server.asked()[0];
    assert_eq!(asked.header("x-amz-target"), Some("AmazonSSM.GetParameter"));
    assert_eq!(asked.json(), serde_json::json!({"Name": "/k", "WithDecryption": true}));
}

#[tokio::test]
async fn a_parameter_that_is_missing_or_empty_is_a_fault() {
    for reply in [
        Reply::json_error(400, "ParameterNotFound"),
        Reply::json_error(400, "AccessDeniedException"),
        Reply::new(200, r#"{"Parameter":{"Name":"/k","Value":" "}}"#),
    ] {
        let server = Server::replying([reply]).await;
        assert!(aws(&server, RetryConfig::disabled()).parameter("/k").key().await.is_err());
    }
}
