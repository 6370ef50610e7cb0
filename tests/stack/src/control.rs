//! The tests' own door into the bridge: a line of JSON out, a line of JSON back (`bridge/control.py`).

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A refusal, with the service's own code where an AWS API refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The error code, such as `ValidationError` or `InvalidNetworkInterface.InUse`.
    pub code: String,
    /// The service's words.
    pub message: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ApiError {}

/// Ask the bridge. The outer result is about reaching it, the inner one is its answer.
pub(crate) async fn ask(port: u16, request: &Value, within: Duration) -> Result<std::result::Result<Value, ApiError>> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("the stack does not answer")?;
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        let mut line = String::new();
        if BufReader::new(stream).read_line(&mut line).await? == 0 {
            bail!("the stack closed the connection");
        }
        Ok(serde_json::from_str::<Value>(&line)?)
    };
    let mut answer = tokio::time::timeout(within, exchange)
        .await
        .map_err(|_| anyhow!("no answer within {within:?}"))
        .and_then(|done| done)
        .with_context(|| format!("asking the stack for {}", request["op"]))?;
    if answer.get("error").is_some() {
        let text = |key: &str| answer["error"][key].as_str().unwrap_or_default().to_owned();
        return Ok(Err(ApiError { code: text("code"), message: text("message") }));
    }
    Ok(Ok(answer["ok"].take()))
}
